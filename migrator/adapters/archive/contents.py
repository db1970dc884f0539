"""What lies in an archive, whole or not: each backup with its state, its place in a chain, and its size.

A place enters, its `Contents` leave. Reads manifests and the sizes of pieces, never a part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager

import msgspec

from migrator.adapters.archive.catalog import Catalog, read_catalog
from migrator.adapters.archive.manifest import BACKUPS, UNFINISHED, ArchiveHead, Manifest, folder_of
from migrator.adapters.archive.opening import open_contents, open_place
from migrator.adapters.archive.places import Place
from migrator.adapters.archive.writer import Begun
from migrator.errors import ArchiveDamaged, NotFound, UsageError
from migrator.settings.stores import Store
from migrator.text.decoding import decode

STATES = {
    "complete": "it and everything it builds on are there",
    "unfinished": "it is being written, or was interrupted; the command that started it resumes it",
    "incomplete": "a part is missing or cut",
    "broken": "a backup it builds on isn't complete",
    "damaged": "its manifest can't be read, or doesn't match SHA256SUMS",
    "remains": "it has no manifest: the manifest was lost, or a deletion was interrupted",
}
"""What can be said of a backup without reading its parts."""


class BackupEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A backup as it lies there."""

    backup: str
    state: str  # one of `STATES`
    manifest: Manifest | None = None  # None where it can't be read, or isn't there yet
    begun: Begun | None = None  # of an unfinished one
    seems_to_continue: str | None = None  # of a damaged one: the parent that is in its manifest
    reason: str | None = None  # why it isn't complete
    size_bytes: int = 0  # of all that lies in its folder

    @property
    def parent(self) -> str | None:
        known = self.manifest or self.begun
        return known.parent if known else self.seems_to_continue


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """An archive, the oldest backup first, by the chain; one without a manifest stands where its id would have it."""

    printed: str
    head: ArchiveHead
    backups: tuple[BackupEntry, ...]


@contextmanager
def open_archive(archive: Store) -> Iterator[Place]:
    """The place of an archive's location, with the bytes as they lie there. Raises `UsageError` for anything else."""
    check_kind(archive)
    with closing(open_place(archive.location.path)) as place:
        yield place


@contextmanager
def open_archive_contents(archive: Store) -> Iterator[Place]:
    """The same place, in which encrypted parts can be read with the store's key."""
    check_kind(archive)
    with closing(open_contents(archive.location.path, archive.identity_file)) as place:
        yield place


def check_kind(store: Store) -> None:
    if store.location.kind != "archive":
        raise UsageError(f"{store.location.printed}: it isn't an archive; write archive:/var/backups/openwhisk")


def read_contents(place: Place) -> Contents:
    """What lies in an archive. Raises as `read_catalog`."""
    catalog = read_catalog(place)
    sizes: Counter[str] = Counter()
    for name, size in place.names(BACKUPS):
        sizes[name.removeprefix(BACKUPS).partition("/")[0]] += size
    unproven, incomplete = dict(catalog.unproven), dict(catalog.incomplete)
    found = [
        BackupEntry(
            backup=backup,
            state="damaged",
            reason=reason,
            seems_to_continue=unproven[backup].parent,
            size_bytes=sizes[backup],
        )
        for backup, reason in catalog.damaged
    ]
    for manifest in catalog.backups:
        state, reason = "complete", None
        if manifest.backup in incomplete:
            state, reason = "incomplete", incomplete[manifest.backup]
        elif (reason := _why_broken(catalog, manifest, place.printed)) is not None:
            state = "broken"
        found.append(
            BackupEntry(
                backup=manifest.backup,
                state=state,
                manifest=manifest,
                reason=reason,
                size_bytes=sizes[manifest.backup],
            )
        )
    found += [_entry_unfinished(place, backup, sizes[backup]) for backup in catalog.unfinished]
    return Contents(printed=place.printed, head=catalog.head, backups=tuple(_in_order(catalog, found)))


def _in_order(catalog: Catalog, found: list[BackupEntry]) -> list[BackupEntry]:
    order = {manifest.backup: number for number, manifest in enumerate(catalog.backups, 1)}

    def key(each: BackupEntry) -> tuple[int, str]:
        if each.backup in order:
            return order[each.backup], ""
        return max((number for backup, number in order.items() if backup < each.backup), default=0), each.backup

    return sorted(found, key=key)


def _why_broken(catalog: Catalog, manifest: Manifest, where: str) -> str | None:
    try:
        catalog.chain(manifest, where)
    except ArchiveDamaged as error:
        return str(error)
    return None


def _entry_unfinished(place: Place, backup: str, size_bytes: int) -> BackupEntry:
    """A folder without a manifest: with the writer's note it is unfinished."""
    state, begun = "unfinished", None
    try:
        begun = decode(place.read(folder_of(backup) + UNFINISHED), Begun)
    except NotFound:
        state = "remains"
    except msgspec.MsgspecError:
        pass  # what it builds on isn't known, and it can't be resumed
    return BackupEntry(backup=backup, state=state, begun=begun, reason=STATES[state], size_bytes=size_bytes)
