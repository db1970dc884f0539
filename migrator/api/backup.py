"""`migrator.backup`: what the command `migrator backup` does, for programs.

A source and an archive enter, a backup is in the archive afterwards: a full one, or one that continues the newest
complete backup of the same source. Knows no command line.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING, Unpack

import msgspec

from migrator.activations.document import Form
from migrator.activations.selection import Selection, SelectionSpec
from migrator.adapters.archive import LEVEL, PART_BYTES, ArchiveWriter, open_writer
from migrator.adapters.archive.catalog import Catalog, read_catalog
from migrator.adapters.archive.manifest import Manifest, count_rejected, incompleteness
from migrator.adapters.archive.opening import open_place
from migrator.adapters.base import Reader, SupportsCatchUp
from migrator.adapters.shared.patience import persist
from migrator.adapters.wrappers.retrying import RetryingWriter
from migrator.api.copy import carry, make_spec
from migrator.api.executing import Order, executor_for
from migrator.api.opening import open_reader_for, resolve_store
from migrator.api.run import Run, WritingKeywords
from migrator.engine.report import Report
from migrator.engine.state.checkpoint import Checkpoint, JobSpec
from migrator.errors import ArchiveDamaged, MigratorError, NotFound, UsageError
from migrator.events import BackupResumed, BackupStarted, ClockBehind, FullBackup, RejectedBefore, Tell
from migrator.settings.stores import Store
from migrator.text.arguments import argument

if TYPE_CHECKING:
    from migrator.adapters.base import Description, Token

MODES = ("auto", "full", "incremental")
_LEAST_PART_BYTES = 64 * 1024


class BackupReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup's run did, and the backup itself; None where it was a dry run."""

    report: Report
    backup: Manifest | None


def backup(
    source: Store | str,
    archive: Store | str,
    *,
    wanted: SelectionSpec = SelectionSpec(),  # noqa: B008  a frozen value
    mode: str = "auto",
    level: int = LEVEL,
    part_bytes: int = PART_BYTES,
    encrypt_to: Sequence[str] = (),
    file_mode: int | None = None,
    **keywords: Unpack[WritingKeywords],
) -> BackupReport:
    """Back up the activations of a store into an archive, resuming an interrupted one.

    `mode` is `full`, `incremental` (on the newest complete backup of the same source and selection; refused where
    there is none), or `auto`: incremental where that can be. `level` is Zstandard's, `part_bytes` about the size of a
    file. `encrypt_to` are public keys of age to encrypt to, by default those of the store. `file_mode`, such as 0o640,
    says who may read the files of a folder; by default their owner, and the group where the folder has the setgid bit.
    Everything else, and what is raised, as for `copy`.
    """
    run = Run(**keywords)
    store, target = resolve_store(source, "source", run.tell), resolve_store(archive, "target", run.tell)
    _check_arguments(target, mode, level, part_bytes, file_mode)
    selection = wanted.fix(now_ms=run.now_ms)
    target = msgspec.structs.replace(target, encrypt_to=tuple(sorted(set(encrypt_to or target.encrypt_to))))
    writer = open_writer(target, level=level, part_bytes=part_bytes, file_mode=file_mode, clock=run.clock)
    with open_reader_for(store, run) as reader, closing(writer):
        order = Order(
            encrypt_to=target.encrypt_to,
            level=level,
            part_bytes=part_bytes,
            file_mode=file_mode,
        )
        try:
            with executor_for(run, store, target, order) as executor:
                report = carry(
                    reader,
                    RetryingWriter(writer, run.policy),
                    _spec(store, target, wanted, mode, run),
                    selection,
                    run,
                    begin=partial(_begin, reader, writer, target, mode, selection, run),
                    executor=executor,
                )
        except NotFound:
            with suppress(MigratorError):
                writer.give_up()
            raise
        return BackupReport(report=report, backup=writer.manifest)


def _begin(
    reader: Reader,
    writer: ArchiveWriter,
    target: Store,
    mode: str,
    selection: Selection,
    run: Run,
    checkpoint: Checkpoint,
) -> Token:
    """Choose what a new backup continues; one that was interrupted is resumed as it was begun."""
    if checkpoint.state == "unfinished":
        run.tell(BackupResumed())
        return None
    if checkpoint.shortfall and mode == "incremental":
        raise UsageError(
            f"{argument('mode', mode)}: the newest backup of this job lacks documents; make a full backup first"
        )
    chosen = "full" if checkpoint.shortfall else mode  # what is missing isn't newer than its snapshot
    checkpoint.forget()
    catalog = _read_catalog(target, run)
    parent = _parent(catalog, chosen, reader, selection, bool(target.encrypt_to), run.tell)
    writer.continue_from(parent.backup if parent else None)
    _report_start(catalog, parent, target, run.tell)
    return parent.snapshot if parent else None


def _check_arguments(target: Store, mode: str, level: int, part_bytes: int, file_mode: int | None) -> None:
    if target.location.kind != "archive":
        raise UsageError(
            f"{target.location.printed}: not an archive; back up to one, such as archive:/var/backups/openwhisk"
        )
    if target.location.backup or target.location.at:
        raise UsageError(f"{target.location.printed}: remove backup and at, which select a backup to read")
    if mode not in MODES:
        raise UsageError(f"{argument('mode', mode)}: give one of {', '.join(MODES)}")
    if not 1 <= level <= 22:
        raise UsageError(f"{argument('level', level)}: give a Zstandard level from 1 to 22")
    if part_bytes < _LEAST_PART_BYTES:
        raise UsageError(f"{argument('part_bytes')}: give {_LEAST_PART_BYTES // 1024} KiB or more")
    if file_mode is not None and (file_mode & ~0o666 or file_mode & 0o600 != 0o600):
        given = argument("file_mode", f"{file_mode:o}")
        raise UsageError(f"{given}: give a mode such as 0600, 0640 or 0644, which its owner can use")


def _read_catalog(archive: Store, run: Run) -> Catalog | None:
    """The backups that are there, None where there is no archive yet; a clock that is behind them is reported."""
    # The place answered before, and each backup is a request or two: one refusal mustn't end the run.
    listing = f"{archive.location.printed}: listing backups"
    catalog = persist(run.policy, lambda: _catalog_or_none(archive), listing)
    if catalog is not None and (behind := _clock_behind(catalog, run.now_ms)):
        run.tell(behind)
    return catalog


def _report_start(catalog: Catalog | None, parent: Manifest | None, archive: Store, tell: Tell) -> None:
    if catalog is not None and parent is not None:
        rejected = count_rejected(catalog.chain(parent, archive.location.printed))
        if rejected:  # which this backup's report won't count, nor its exit code tell
            tell(RejectedBefore(rejected))
    kind = "incremental" if parent else "full"
    tell(BackupStarted(kind, parent.backup if parent else "", bool(archive.encrypt_to)))


def _catalog_or_none(archive: Store) -> Catalog | None:
    place = open_place(archive.location.path)
    with closing(place):
        try:
            return read_catalog(place)
        except NotFound:
            return None


def _clock_behind(catalog: Catalog, now_ms: int) -> ClockBehind | None:
    """An event where the clock stands before the end of a backup that is there; order doesn't depend on it."""
    latest = max(catalog.backups, key=lambda each: each.ended_ms, default=None)
    if latest is None or latest.ended_ms <= now_ms:
        return None
    return ClockBehind(now_ms, latest.backup, latest.ended_ms)


def _parent(
    catalog: Catalog | None,
    mode: str,
    reader: Reader,
    selection: Selection,
    encrypted: bool,
    tell: Tell,
) -> Manifest | None:
    """The backup that a new one continues, None for a full one. Says why where one was to be expected.

    A chain is encrypted as a whole or not at all, so that one look tells whether a restore needs a key. What was
    encrypted before isn't stored openly because an option was forgotten: that must be said by the mode `full`.
    """
    if mode == "full":
        return None
    source = reader.describe()
    if catalog is not None and not encrypted:
        _refuse_open(catalog, source)
    reason = "there is no backup of this source in the archive"
    if not isinstance(reader, SupportsCatchUp):
        reason = f"{source.location} can't list what is new since the last backup"
    elif catalog is not None:
        for each in reversed(catalog.backups):
            other = _other(each, source, reader.form, selection)
            if other is None and encrypted != bool(each.encryption):
                other = "isn't encrypted" if encrypted else "is encrypted"
            if other is None:
                try:
                    chain = catalog.chain(each, source.location)
                except ArchiveDamaged as error:
                    reason = str(error)
                    continue
                # What a link lacks isn't newer than its snapshot, so that no increment would bring it.
                lacks = [f"builds on {link.backup}, which {what}" for link in chain if (what := incompleteness(link))]
                if not lacks:
                    return each
                other = lacks[0]
            reason = f"backup {each.backup} {other}"
    if mode == "incremental":
        raise UsageError(f"{argument('mode', mode)}: {reason}; make a full backup first")
    if catalog is not None and catalog.backups:
        tell(FullBackup(reason))
    return None


def _refuse_open(catalog: Catalog, source: Description) -> None:
    """Raise where the newest backup of a store is encrypted, whatever its selection."""
    same = [
        each
        for each in catalog.backups
        if each.source.location == source.location
        or (source.identity is not None and each.source.identity == source.identity)
    ]
    newest = same[-1] if same else None
    if newest is not None and newest.encryption:
        raise UsageError(
            f"backup {newest.backup} of this source is encrypted; give {argument('encrypt_to')} again, "
            f"or {argument('mode', 'full')} to start a chain without encryption"
        )


def _other(backup: Manifest, source: Description, form: Form, selection: Selection) -> str | None:
    """Why a backup can't be continued, as the end of a sentence; None where it can."""
    was = backup.source
    if (was.product, was.identity) != (source.product, source.identity):
        return f"is of another store ({was.location}), or the store was replaced since"
    if backup.form is not form:
        return f"has documents in the form of {backup.form}"
    if backup.selection != selection:
        return "has another selection"
    return None


def _spec(source: Store, archive: Store, wanted: SelectionSpec, mode: str, run: Run) -> JobSpec:
    request = run.request(
        "backup",
        source,
        archive,
        wanted,
        mode=mode if mode != "auto" else None,
        encrypt_to=archive.encrypt_to,
    )
    return make_spec(source, archive, msgspec.to_builtins(wanted), request)
