"""What a schedule does when it is due: one try of a backup, a copy or a verification, and what follows a backup.

A schedule enters, a `Done` leaves; `check_backup`, `purge_source` and `prune_backups` follow in this order. Raises what
the tasks raise. Knows nothing of locks, retries and notifications.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from migrator.errors import ArchiveDamaged, NotFound, UsageError, VerificationError
from migrator.events import BackupDamaged, LoginWarning, Tell
from migrator.scheduling.planning import is_full_due
from migrator.settings.config import load, resolve
from migrator.settings.locations import parse_location
from migrator.text.units import counted

if TYPE_CHECKING:
    from migrator.activations.selection import SelectionSpec
    from migrator.api.run import RunKeywords
    from migrator.engine.report import Report
    from migrator.events.watching import Stop
    from migrator.operations.archive.retention import Retention
    from migrator.scheduling.files import Schedule
    from migrator.scheduling.schema import Check, Purging
    from migrator.scheduling.state import State
    from migrator.settings.config import Role
    from migrator.settings.stores import Secret, Store


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What a task came to; the fields are those of `state.Run`."""

    exit_code: int
    report: dict[str, Any]  # as the command prints it as JSON
    job: str = ""
    documents: int = 0
    size_bytes: int = 0
    rejected: int = 0
    differing: int = 0
    backup: str = ""
    mode: str = ""
    backup_bytes: int = 0
    backup_documents: int = 0


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What a task is given besides its schedule."""

    state: Path
    config: Path | None
    stop: Stop
    tell: Tell
    clock: Callable[[], float]


def perform(schedule: Schedule, known: State, moment_s: float, context: Context) -> Done:
    """Do what the schedule asks for, once. A job that was cut short is resumed."""
    if schedule.task == "backup":
        return _back_up(schedule, known, moment_s, context)
    if schedule.task == "copy":
        return _copy(schedule, context)
    return _verify(schedule, context)


def _back_up(schedule: Schedule, known: State, moment_s: float, context: Context) -> Done:
    from migrator.api.backup import backup
    from migrator.rendering.report import report_as_dict

    source, archive = _store(schedule.source, "source", context), _store(schedule.target, "target", context)
    made = backup(
        source,
        archive,
        wanted=schedule.wanted,
        mode=_mode(schedule, known, moment_s, source, archive, context),
        max_rejects=schedule.limits.max_rejects,
        **_keywords(schedule, context),
    )
    assert made.backup is not None
    return msgspec.structs.replace(
        _done(made.report),
        report={**report_as_dict(made.report), "backup": msgspec.to_builtins(made.backup)},
        backup=made.backup.backup,
        mode=made.backup.mode,
        backup_bytes=made.backup.size_bytes,
        backup_documents=made.backup.documents,
    )


def _mode(schedule: Schedule, known: State, moment_s: float, source: Store, archive: Store, context: Context) -> str:
    """Whether a full backup is due; else what the schedule says."""
    if schedule.mode != "auto":
        return schedule.mode
    if known.last_backup and known.last_backup.chain_damaged:
        context.tell(BackupDamaged())
        return "full"
    if schedule.full_every_s is None:
        return "auto"
    last_full_s = _last_full(source, archive, schedule.wanted, max(moment_s, context.clock()))
    return "full" if is_full_due(schedule.trigger, moment_s, last_full_s, schedule.full_every_s) else "auto"


def _last_full(source: Store, archive: Store, wanted: SelectionSpec, now_s: float) -> float | None:
    """When the newest full backup of the same began; the archive is asked, so that every machine knows.

    One that began later than now was made while a clock was ahead, and would put off the next one for as long.
    """
    from migrator.adapters.archive.catalog import read_catalog
    from migrator.adapters.archive.opening import open_place

    with closing(open_place(archive.location.path)) as place:
        try:
            backups = read_catalog(place).backups
        except NotFound:
            return None
    same = (source.location.identity, wanted.namespaces, wanted.names)
    full = [each for each in backups if each.mode == "full" and each.began_ms <= now_s * 1000]
    return max(
        (
            each.began_ms / 1000
            for each in full
            if (_identity(each.source.location), each.selection.namespaces, each.selection.names) == same
        ),
        default=None,
    )


def _identity(location: str) -> str:
    """That of a location as a manifest has it, which may be spelled otherwise than the schedule's."""
    try:
        return parse_location(location).location.identity
    except UsageError:
        return location


def _copy(schedule: Schedule, context: Context) -> Done:
    from migrator.api.copy import copy

    report = copy(
        _store(schedule.source, "source", context),
        _store(schedule.target, "target", context),
        wanted=schedule.wanted,
        on_conflict=schedule.on_conflict,
        max_rejects=schedule.limits.max_rejects,
        **_keywords(schedule, context),
    )
    return _done(report)


def _verify(schedule: Schedule, context: Context) -> Done:
    from migrator.api.verify import verify
    from migrator.rendering.command_line import command
    from migrator.rendering.verification import verification_as_dict

    found = verify(
        _store(schedule.source, "source", context),
        _store(schedule.target, "target", context),
        wanted=schedule.wanted,
        allow_extra=schedule.allow_extra,
        **_keywords(schedule, context),
    )
    totals = found.totals
    if not found.agrees:
        raise VerificationError(
            f"{found.a.location} and {found.b.location} differ: {totals.missing:,} missing, {totals.extra:,} extra, "
            f"{totals.different:,} different; see them with: {command(found.request)}"
        )
    return Done(exit_code=found.exit_code, report=verification_as_dict(found), documents=found.run_read)


def _keywords(schedule: Schedule, context: Context) -> RunKeywords:
    """What a schedule says of every run of it, whatever it carries."""
    return {
        "jobs": schedule.limits.jobs,
        "max_rate": schedule.limits.max_rate,
        "retry_for_s": schedule.failure.retry_for,
        "state": context.state,
        "stop": context.stop,
        "tell": context.tell,
        "clock": context.clock,
    }


def _done(report: Report) -> Done:
    from migrator.rendering.report import report_as_dict

    return Done(
        exit_code=report.exit_code,
        report=report_as_dict(report),
        job=report.job,
        documents=report.run_read,
        size_bytes=report.totals.size_bytes,
        rejected=report.rejected,
        differing=report.differing,
    )


# -- after a backup ---------------------------------------------------------------------------------------------


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What a check of the archive found."""

    trouble: str = ""  # empty where everything is whole
    chain_is_whole: bool = True  # the newest backup and all that it builds on


def check_backup(schedule: Schedule, backup: str, how: Check, context: Context) -> Checked:
    """Check the archive of a schedule after a backup; what is wrong elsewhere in it counts as well."""
    from migrator.operations.archive.check import check_archive
    from migrator.rendering.archive import finding_line

    archive = _store(schedule.target, "target", context)
    report = check_archive(
        archive,
        quick=how.kind == "quick",
        sample=how.percent / 100 if how.kind == "sample" else None,
        jobs=schedule.limits.jobs,
        stop=context.stop,
        tell=context.tell,
    )
    if not report.findings:
        return Checked()
    more = f" and {counted(len(report.findings) - 1, 'more finding')}" if len(report.findings) > 1 else ""
    return Checked(
        trouble=f"{report.archive}: the check ({how}) found: {finding_line(report.findings[0])}{more}; "
        "nothing was deleted; run `migrator archive check`",
        chain_is_whole=not any(each.piece.startswith(_chain(archive, backup)) for each in report.findings),
    )


def _chain(archive: Store, backup: str) -> tuple[str, ...]:
    """The folders of a backup and of all that it builds on; every folder where that can't be determined any more."""
    from migrator.adapters.archive.catalog import read_catalog
    from migrator.adapters.archive.opening import open_place

    with closing(open_place(archive.location.path)) as place:
        try:
            catalog = read_catalog(place)
            chain = catalog.chain(catalog.find(backup, place.printed), place.printed)
        except (ArchiveDamaged, NotFound):
            return ("",)
    return tuple(each.folder for each in chain)


class Purged(msgspec.Struct, frozen=True, kw_only=True):
    """What a purge after a backup came to."""

    removed: int
    kept: int  # old enough, and not proven
    exit_code: int
    report: dict[str, Any]


def purge_source(schedule: Schedule, purging: Purging, context: Context) -> Purged:
    """Remove from the source what is old, and held by the archive that was backed up to."""
    from migrator.api.purge import purge
    from migrator.rendering.purge import purge_as_dict

    keywords = _keywords(schedule, context)
    keywords["max_rate"] = purging.max_rate
    report = purge(
        _store(schedule.source, "source", context),
        _store(schedule.target, "target", context),
        older_than=f"{purging.older_than:.0f}s",
        namespaces=schedule.wanted.namespaces,
        logs_only=purging.logs_only,
        compact=purging.compact,
        purge_tombstones=purging.purge_tombstones,
        **keywords,
    )
    totals = report.totals
    return Purged(removed=totals.removed, kept=totals.kept, exit_code=report.exit_code, report=purge_as_dict(report))


def prune_backups(schedule: Schedule, retention: Retention, made: str, context: Context) -> tuple[str, ...]:
    """Delete what retention doesn't keep, never the backup `made` by this run; the ids of what went."""
    from migrator.operations.archive.prune import prune_archive

    archive = _store(schedule.target, "target", context)
    report = prune_archive(archive, retention, keep=(made,), tell=context.tell, clock=context.clock)
    return tuple(each.backup for each in report.deleted)


# -- stores -----------------------------------------------------------------------------------------------------


def _store(text: Secret, role: Role, context: Context) -> Store:
    """The store of a schedule's end. The configuration is read again by every run: a login may have changed."""
    found, warnings = resolve(text.reveal(), role, load(context.config))
    for warning in warnings:
        context.tell(LoginWarning(warning))
    return found
