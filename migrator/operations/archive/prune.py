"""Deletes the backups of an archive that a retention doesn't keep.

An archive and a `Retention` enter; what was kept and what was deleted leave. What is decided is `retention`'s; this
module asks it, and deletes in an order in which every instant leaves whole chains: what builds on a backup goes first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping

import msgspec

from migrator.adapters.archive.catalog import delete_backup
from migrator.adapters.archive.contents import Contents, open_archive, read_contents
from migrator.adapters.archive.manifest import id_ms
from migrator.adapters.archive.places import Place
from migrator.api.opening import resolve_store
from migrator.events import BackupDeleted, Tell
from migrator.operations.archive.retention import Candidate, Retention, Verdict, ago_ms, choose
from migrator.settings.stores import Store


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to one backup, or would in a dry run."""

    backup: str
    state: str  # as `BackupEntry.state`
    kept: bool
    reasons: tuple[str, ...]
    size_bytes: int


class PruneReport(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of every backup, the oldest first."""

    archive: str
    dry_run: bool
    backups: tuple[Pruned, ...]

    @property
    def deleted(self) -> tuple[Pruned, ...]:
        return tuple(each for each in self.backups if not each.kept)


def prune_archive(
    archive: Store | str,
    retention: Retention,
    *,
    dry_run: bool = False,
    unfinished_older_than: str | None = None,
    keep: Collection[str] = (),
    tell: Tell = lambda _: None,
    clock: Callable[[], float] = time.time,
) -> PruneReport:
    """Delete what a retention doesn't keep; with `dry_run` only say what would be deleted.

    `unfinished_older_than` is an age such as `7d`: unfinished backups that were begun longer ago, and what
    interrupted deletions left, go too. Without it they stay, with what they build on. `keep` are ids of backups that
    stay in any case. Raises `UsageError` for a retention that keeps nothing or can't be, else what the archive's place
    raises.
    """
    retention.check()
    store = resolve_store(archive, "target", tell)
    now_ms = int(clock() * 1000)
    begun_before_ms = None
    if unfinished_older_than is not None:
        begun_before_ms = ago_ms(unfinished_older_than, now_ms=now_ms, option="unfinished-older-than")
    with open_archive(store) as place:
        contents = read_contents(place)
        verdicts = _verdicts(contents, retention, keep, now_ms=now_ms, begun_before_ms=begun_before_ms)
        report = PruneReport(
            archive=place.printed,
            dry_run=dry_run,
            backups=tuple(
                Pruned(
                    backup=each.backup,
                    state=each.state,
                    kept=verdicts[each.backup].keep,
                    reasons=verdicts[each.backup].reasons,
                    size_bytes=each.size_bytes,
                )
                for each in contents.backups
            ),
        )
        if not dry_run:
            _delete(place, contents, {each.backup for each in report.deleted}, tell)
    return report


def _verdicts(
    contents: Contents, retention: Retention, keep: Collection[str], *, now_ms: int, begun_before_ms: int | None
) -> Mapping[str, Verdict]:
    """A verdict on every backup, whole or not."""
    gone = {
        each.backup
        for each in contents.backups
        if each.state in ("unfinished", "remains")
        and begun_before_ms is not None
        and id_ms(each.backup) < begun_before_ms
    }
    continued = {each.parent for each in contents.backups if each.state == "unfinished" and each.backup not in gone}
    candidates = [
        Candidate(
            backup=each.backup,
            ended_ms=each.manifest.ended_ms,
            place=place,
            just_made=each.backup in keep,
            parent=each.manifest.parent,
            line=each.manifest.line,
            good=each.state == "complete",
            continued=each.backup in continued,
        )
        for place, each in enumerate(contents.backups)
        if each.manifest is not None
    ]
    # A damaged one counts for no rule, and keeps what it seems to build on: it may be saved with it.
    candidates += [
        Candidate(
            backup=each.backup,
            ended_ms=id_ms(each.backup),
            place=place,
            parent=each.parent,
            good=False,
            just_made=each.backup in keep,
        )
        for place, each in enumerate(contents.backups)
        if each.state == "damaged"
    ]
    verdicts = {each.backup: each for each in choose(candidates, retention, now_ms=now_ms)}
    for each in contents.backups:
        if each.backup not in verdicts:
            kept = each.backup not in gone
            reason = (each.reason or each.state) if kept else f"{each.state}, and started too long ago"
            verdicts[each.backup] = Verdict(backup=each.backup, keep=kept, reasons=(reason,))
    return verdicts


def _delete(place: Place, contents: Contents, dropped: Collection[str], tell: Tell) -> None:
    """Delete backups, those that build on others first, so that no instant leaves a chain without its beginning."""
    parents = {each.backup: each.parent for each in contents.backups}

    def depth(backup: str) -> int:
        count, link = 0, parents.get(backup)
        while link is not None and count <= len(parents):
            count, link = count + 1, parents.get(link)
        return count

    for backup in sorted(dropped, key=lambda each: (depth(each), each), reverse=True):
        delete_backup(place, backup)
        tell(BackupDeleted(place.printed, backup))
