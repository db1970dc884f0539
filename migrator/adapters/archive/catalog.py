"""What backups an archive holds, and which of them a reader or a writer goes on from.

A place enters, manifests and chains leave. Reads `archive.json` and manifests, never a part.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import msgspec

from migrator.adapters.archive.manifest import (
    ARCHIVE,
    BACKUPS,
    MANIFEST,
    SUMS,
    ArchiveHead,
    Manifest,
    folder_of,
    id_ms,
    is_junk,
    is_own,
    printable,
    prove_manifest,
    read_head,
    read_manifest,
)
from migrator.adapters.archive.order import in_order
from migrator.adapters.archive.places import Place
from migrator.errors import ArchiveDamaged, NotFound, UsageError
from migrator.text.decoding import UNREADABLE, decode
from migrator.text.units import counted

_READERS = 8  # of manifests, which in a bucket each take a round trip or two


class Unproven(msgspec.Struct, frozen=True):
    """What is in a manifest that can't be believed; a reason to be careful, never to do something."""

    number: int | None = None
    parent: str | None = None


class Catalog(msgspec.Struct, frozen=True):
    """An archive as its manifests tell it, the oldest backup first: by the chain, not by the clock (`order`)."""

    head: ArchiveHead
    backups: tuple[Manifest, ...]
    unfinished: tuple[str, ...] = ()  # ids of folders without a manifest: running, or interrupted
    damaged: tuple[tuple[str, str], ...] = ()  # ids of backups whose manifest can't be read, and why
    incomplete: tuple[tuple[str, str], ...] = ()  # ids of backups of which a part is missing or cut, and which
    unproven: tuple[tuple[str, Unproven], ...] = ()  # ids of damaged backups, and what their manifests seem to say

    def find(self, backup: str, where: str) -> Manifest:
        """The backup whose id begins with a text. Raises `NotFound`."""
        found = [each for each in self.backups if each.backup.startswith(backup)]
        if len(found) != 1:
            some = f"{counted(len(found), 'backup')} begin with" if found else "there is no backup"
            raise NotFound(f"{where}: {some} {backup!r}; `migrator archive list` shows them")
        return found[0]

    def as_of(self, moment_ms: int, where: str) -> Manifest:
        """The newest backup that was complete at a moment, by the clocks that made them. Raises `NotFound`."""
        found = [each for each in self.backups if each.ended_ms <= moment_ms]
        if not found:
            raise NotFound(f"{where}: no backup was complete at that time; `migrator archive list` shows them")
        return found[-1]

    def newest(self, where: str) -> Manifest:
        """The newest complete backup. Raises `NotFound`, and `ArchiveDamaged` where none can be read."""
        if self.damaged and not self.backups:
            raise ArchiveDamaged(f"{self.damaged[-1][1]}; `migrator archive check repair=True` saves what is intact")
        if not self.backups:
            raise NotFound(f"{where}: it holds no complete backup{'' if not self.unfinished else ' yet'}")
        return self.backups[-1]

    def may_be_newer(self, damaged: str, than: Manifest) -> bool:
        """Whether a backup whose manifest can't be read may be newer than one that can.

        It isn't where a backup that is no newer continues it, or where `than` names it as there before.
        """
        if damaged in than.clock_ahead:
            return False
        if any(each.parent == damaged for each in self.backups[: self.backups.index(than) + 1]):
            return False
        number = dict(self.unproven).get(damaged, Unproven()).number or 0
        return id_ms(damaged) >= id_ms(than.backup) or number > (than.number or number)

    def chain(self, backup: Manifest, where: str) -> tuple[Manifest, ...]:
        """A backup with all that it needs, the full one first. Raises `ArchiveDamaged` where a piece is missing."""
        by_id = {each.backup: each for each in self.backups}
        incomplete = dict(self.incomplete)
        chain = [backup]
        while (parent := chain[-1].parent) is not None:
            if parent not in by_id:
                why = dict(self.damaged).get(parent, "it isn't there")
                raise ArchiveDamaged(f"{where}: backup {chain[-1].backup} continues {parent}, but {why}")
            chain.append(by_id[parent])
            if by_id[parent].form is not backup.form or len(chain) > len(by_id):
                raise ArchiveDamaged(f"{where}: the chain of backup {backup.backup} is broken at {parent}")
        for each in chain:
            if each.backup in incomplete:
                raise ArchiveDamaged(
                    f"{where}: {incomplete[each.backup]}; `migrator archive check repair=True` saves what is intact"
                )
        return tuple(reversed(chain))


def read_catalog(place: Place) -> Catalog:
    """What an archive holds. Raises `NotFound` where there is none.

    A manifest that can't be read is listed as damaged; one of a later version is refused.
    """
    if not place.exists():
        raise NotFound(f"{place.printed}: there is no archive; check the path, or create one with `migrator backup`")
    try:
        data = place.read(ARCHIVE)
    except NotFound:
        raise NotFound(f"{place.printed}: it isn't an archive: {ARCHIVE} is missing") from None
    head = read_head(data, f"{place.printed}: {ARCHIVE}")
    folders = pieces(place)
    named = sorted(backup for backup, sizes in folders.items() if MANIFEST in sizes)
    with ThreadPoolExecutor(_READERS, thread_name_prefix="catalog") as pool:
        found = dict(zip(named, pool.map(lambda each: _read_backup(place, each, head), named), strict=True))
    backups = in_order([each for each in found.values() if isinstance(each, Manifest)])
    damaged = [(backup, each) for backup, each in found.items() if isinstance(each, _Damaged)]
    incomplete: list[tuple[str, str]] = []
    for manifest in backups:
        sizes = folders[manifest.backup]
        wrong = [part for part in manifest.parts if sizes.get(part.name) != part.size_bytes]
        if wrong:
            has = sizes.get(wrong[0].name)
            what = "is missing" if has is None else f"has {counted(has, 'byte')} instead of {wrong[0].size_bytes:,}"
            incomplete.append((manifest.backup, f"{manifest.folder}{wrong[0].name} {what}"))
    return Catalog(
        head,
        tuple(backups),
        unfinished=tuple(sorted(backup for backup, sizes in folders.items() if MANIFEST not in sizes)),
        damaged=tuple((backup, each.reason) for backup, each in damaged),
        incomplete=tuple(incomplete),
        unproven=tuple((backup, each.says) for backup, each in damaged),
    )


class _Damaged(msgspec.Struct, frozen=True):
    """Why a manifest can't be believed, and what seems to stand in it."""

    reason: str
    says: Unproven


def _read_backup(place: Place, backup: str, head: ArchiveHead) -> Manifest | _Damaged | None:
    """The manifest of a backup; None where it was deleted meanwhile."""
    folder = folder_of(backup)
    where = f"{place.printed}: {folder}{MANIFEST}"
    data = b""
    try:
        data = place.read(folder + MANIFEST)
        try:
            sums = place.read(folder + SUMS)
        except NotFound:
            if place.size(folder + MANIFEST) is None:
                return None
            raise ArchiveDamaged(f"{where}: it can't be verified, since {SUMS} is missing") from None
        try:
            prove_manifest(data, sums, where)
        except ArchiveDamaged:
            with suppress(UsageError):  # what is wrong with it tells more than its hash
                read_manifest(data, where, archive=head.archive, backup=backup)
            raise
        return read_manifest(data, where, archive=head.archive, backup=backup)
    except NotFound:
        return None
    except ArchiveDamaged as error:
        return _Damaged(str(error), _says(data))


def _says(data: bytes) -> Unproven:
    try:
        return decode(data, Unproven)
    except UNREADABLE:
        return Unproven()


def pieces(place: Place) -> dict[str, dict[str, int]]:
    """The pieces of each backup's folder, by its id, with their sizes."""
    found: dict[str, dict[str, int]] = {}
    for name, size in place.names(BACKUPS):
        backup, _, piece = name.removeprefix(BACKUPS).partition("/")
        if is_own(name):
            found.setdefault(backup, {})[piece] = size
    return found


def head_or_new(place: Place) -> ArchiveHead:
    """The head of an archive; where there is none yet, one is written.

    Raises `NotFound` where something else lies there, so that no folder of other things becomes an archive.
    """
    if place.size(ARCHIVE) is not None:
        return read_head(place.read(ARCHIVE), f"{place.printed}: {ARCHIVE}")
    if place.exists() and (used := next((name for name, _ in place.names("") if not is_junk(name)), None)) is not None:
        raise NotFound(
            f"{place.printed}: neither an archive nor empty: it contains {printable(used)}; "
            "give an empty folder or an archive"
        )
    head = ArchiveHead(archive=secrets.token_hex(16))
    place.write(ARCHIVE, head.encode())
    return head


def delete_backup(place: Place, backup: str) -> None:
    """Remove a backup; its manifest goes first, so that it never seems whole while it isn't."""
    folder = folder_of(backup)
    place.delete(folder + MANIFEST)
    place.sweep(folder)
    for name, _ in list(place.names(folder)):
        if is_own(name):
            place.delete(name)


def chain_parts(chain: Sequence[Manifest]) -> list[tuple[Manifest, int]]:
    """The parts of a chain from the oldest on: each one's manifest, and its place in the list of parts there.

    What is in a later one is newer. Within a layer of a full backup no document stands twice.
    """
    return [
        (manifest, number)
        for manifest in chain
        for number, part in sorted(enumerate(manifest.parts), key=lambda each: (each[1].layer, each[1].name))
    ]
