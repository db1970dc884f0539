"""Writes a backup: documents as lines in frames, frames in parts, and the manifest last.

Documents of one form enter, write-once parts and a manifest leave. Each thread fills a part of its own; a part is
durable when it is closed, and its receipt is what the manifest will say of it. Knows nothing of how its place stores
bytes.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from typing_extensions import override

from migrator.activations.document import Document, Form
from migrator.adapters.archive.catalog import head_or_new, read_catalog
from migrator.adapters.archive.format import FRAME_BYTES, storable
from migrator.adapters.archive.lane import Lane, Receipt
from migrator.adapters.archive.manifest import (
    ARCHIVE,
    MANIFEST,
    SUMS,
    UNFINISHED,
    ArchiveHead,
    Manifest,
    PartNote,
    SourceNote,
    folder_of,
    is_own,
    make_sums,
    new_backup_id,
    part_name,
    part_number,
    read_head,
    uneven_counts,
)
from migrator.adapters.archive.order import backups_after, next_number
from migrator.adapters.archive.places import Place
from migrator.adapters.base import (
    Completion,
    Description,
    Refusal,
    SupportsBuffer,
    SupportsJoining,
    SupportsReceipts,
    Token,
    WriteOutcome,
    Writer,
)
from migrator.errors import ArchiveDamaged, LimitReached, NotFound
from migrator.text.arguments import argument
from migrator.text.decoding import convert

PART_BYTES = 32 << 20
PART_S = 30.0
MOST_PARTS = 999_999  # as their names have six digits
LEVEL = 3


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """What is fixed when a backup begins; it is in its folder until the manifest is."""

    backup: str
    parent: str | None = None  # the backup that this one continues
    encryption: str | None = None


class ArchiveWriter(Writer, SupportsReceipts, SupportsBuffer, SupportsJoining):
    """Writes one backup of an archive, a full one unless it continues another."""

    form: Form | None = None

    def __init__(
        self,
        place: Place,
        *,
        encryption: str | None = None,
        level: int = LEVEL,
        part_bytes: int = PART_BYTES,
        part_s: float = PART_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._place = place
        self._begun = Begun(backup="", encryption=encryption)
        self._level = level
        self._part_bytes = part_bytes
        self._part_s = part_s
        self._clock = clock
        self._lock = threading.Lock()
        self._next = ""  # the id of a backup of which the beginning hasn't succeeded yet
        self._number = 0  # of the newest part
        self._allotted: deque[int] | None = None  # for parts of a backup that several writers write
        self._lanes: list[Lane] = []
        self._mine = threading.local()
        self.manifest: Manifest | None = None  # of the backup, once it exists

    def continue_from(self, parent: str | None) -> None:
        """Make the backup that `prepare` will begin an incremental one on `parent`, or a full one."""
        self._begun = msgspec.structs.replace(self._begun, parent=parent)

    @property
    def backup(self) -> str:
        """The id of the backup that is written; empty before `prepare` or `resume`."""
        return self._begun.backup

    def describe(self) -> Description:
        head = self._head()
        return Description(
            location=self._place.printed,
            product="archive",
            version=str(head.version) if head else "1",
            identity={"archive": head.archive} if head else {},
        )

    def _head(self) -> ArchiveHead | None:
        if self._place.size(ARCHIVE) is None:
            return None
        return read_head(self._place.read(ARCHIVE), f"{self._place.printed}: {ARCHIVE}")

    def prepare(self) -> Token:
        """Begin a new backup, in a new archive where there is none. After an exception it can be called again."""
        head_or_new(self._place)
        # What a request that failed may have written all the same is written again, under the same id.
        self._next = self._next or new_backup_id(self._clock())
        begun = msgspec.structs.replace(self._begun, backup=self._next)
        self._place.write(folder_of(begun.backup) + UNFINISHED, msgspec.json.encode(begun))
        self._begun, self._next = begun, ""
        token: Token = msgspec.to_builtins(begun)
        return token

    def give_up(self) -> None:
        """Take back a backup that was begun and holds nothing; the parts of others stay for a run that goes on."""
        if self.backup and not self._number and self.manifest is None:
            self._place.delete(folder_of(self.backup) + UNFINISHED)

    def resume(self, prepared: Token, receipts: Sequence[tuple[int, Token]]) -> Refusal | None:
        """Drop what no receipt speaks of: those parts, or pieces of them, are written again.

        A backup that is started over is a full one: all of the source is read for it.
        """
        self._begun = convert(prepared, Begun)
        if (refusal := self._go_on(receipts)) is not None:
            self.continue_from(None)
        return refusal

    def _go_on(self, receipts: Sequence[tuple[int, Token]]) -> Refusal | None:
        known = {receipt.name: receipt for _, receipt in _read_receipts(receipts)}
        folder = folder_of(self.backup)
        if self._head() is None:
            return Refusal.ARCHIVE_GONE
        if self._find_lost_parent():
            return Refusal.PARENT_GONE
        there = self._there()
        if not {UNFINISHED, MANIFEST} & there.keys():
            return Refusal.BACKUP_GONE
        if _first_lost(known.values(), there) is not None:
            return Refusal.PART_GONE
        # No name is given twice, not even that of a part which is dropped below.
        self._number = max((part_number(name) for name in there if name.startswith("part-")), default=0)
        if UNFINISHED not in there:
            # The checkpoint doesn't know yet that the backup was finished, so it isn't.
            self._place.write(folder + UNFINISHED, msgspec.json.encode(self._begun))
        for name in (MANIFEST, SUMS, *sorted(there.keys() - known.keys() - {MANIFEST, SUMS, UNFINISHED})):
            self._place.delete(folder + name)
        self._place.sweep(folder)
        return None

    # -- several writers ------------------------------------------------------------------------------------------

    def highest_number(self) -> int:
        """That of the newest part that lies in the backup's folder or was begun by this writer."""
        there = (part_number(name) for name in self._there() if name.startswith("part-"))
        return max((self._number, *there))

    def join(self, prepared: Token) -> None:
        self._begun = convert(prepared, Begun)
        self._allotted = deque()

    def allot(self, numbers: Sequence[int]) -> None:
        with self._lock:
            if self._allotted is None:
                self._number = max(self._number, numbers[0] - 1)  # the one writer that gives numbers itself
            else:
                self._allotted += numbers

    def sweep(self, receipts: Sequence[tuple[int, Token]]) -> None:
        """Delete the parts that aren't committed. One that is stored later has a name that no manifest lists."""
        known = {receipt.name for _, receipt in _read_receipts(receipts)}
        folder = folder_of(self.backup)
        for name in sorted(self._there().keys() - known - {MANIFEST, SUMS, UNFINISHED}):
            self._place.delete(folder + name)
        self._place.sweep(folder)

    # -- writing ------------------------------------------------------------------------------------------------

    @override
    def write(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
        """Nothing is there before: every document is written that can be read again, and the others are rejected.

        After an exception none of them was taken.
        """
        lane = self._lane()
        lane.drain(FRAME_BYTES)
        written, rejected = storable(documents)
        lane.take(written)
        return WriteOutcome(written=tuple(written), rejected=tuple(rejected))

    def due(self) -> bool:
        return self._lane().is_due(self._part_bytes, self._part_s)

    def flush(self) -> Token:
        """Close this thread's part; None where nothing was written. Raises `NotFound` where nobody waits for it."""
        receipt = self._lane().close()
        if receipt is not None and self._allotted is not None:
            self._refuse_late(folder_of(self.backup) + receipt.name)
        token: Token = msgspec.to_builtins(receipt) if receipt else None
        return token

    def _refuse_late(self, name: str) -> None:
        """Take a part back that another process has completed the backup without: this one was given up, and slept.

        Whoever completes a backup has the receipts of all that is in it, so no part in it is ever deleted here.
        """
        if self._place.size(folder_of(self.backup) + UNFINISHED) is None:
            self._place.delete(name)
            raise NotFound(
                f"{self._place.printed}: backup {self.backup} was completed or deleted while {name} was written; the "
                "part was deleted again"
            )

    def _lane(self) -> Lane:
        lane: Lane | None = getattr(self._mine, "lane", None)
        if lane is None:
            lane = self._mine.lane = Lane(self._place, self._next_name, self._level)
            with self._lock:
                self._lanes.append(lane)
        return lane

    def _next_name(self) -> str:
        with self._lock:
            if self._allotted is not None:
                if not self._allotted:
                    raise AssertionError("a part was begun without a number for it")
                self._number = self._allotted.popleft()
            else:
                self._number += 1
            if self._number > MOST_PARTS:
                raise LimitReached(
                    f"{self._place.printed}: backup {self.backup} would have more than {MOST_PARTS:,} parts; start it "
                    f"over with {argument('restart')} and a larger {argument('part_bytes')}"
                )
            return folder_of(self.backup) + part_name(self._number, self._begun.encryption)

    # -- the end ------------------------------------------------------------------------------------------------

    def finish(self, completion: Completion) -> None:
        """Write the hashes, then the manifest: now the backup exists. After `Unavailable` it can be called again.

        A prune or a hand may have deleted some of it while it was written; then it doesn't come to exist. Nor does it
        where its parts don't hold what the accounts say.
        """
        manifest = self._manifest(completion)
        if (uneven := uneven_counts(manifest)) is not None:
            raise ArchiveDamaged(
                f"{self._place.printed}: backup {self.backup} can't be completed: {uneven}; "
                f"run the same command with {argument('restart')} to start it over"
            )
        if (lost := self._find_lost_parent() or _first_lost(manifest.parts, self._there())) is not None:
            raise ArchiveDamaged(
                f"{self._place.printed}: {lost} was deleted or changed while backup {self.backup} was being written; "
                "run the same command to start the backup over"
            )
        data = manifest.encode()
        self._place.write(manifest.folder + SUMS, make_sums(manifest, hashlib.sha256(data).hexdigest()))
        self._place.write(manifest.folder + MANIFEST, data)
        self._place.delete(manifest.folder + UNFINISHED)
        self.manifest = manifest

    def _manifest(self, completion: Completion) -> Manifest:
        head = self._head()
        if head is None or completion.form is None:
            raise NotFound(
                f"{self._place.printed}: the archive no longer exists; start over with {argument('restart')}"
            )
        source, snapshot_s = completion.source, completion.snapshot_s
        catalog = read_catalog(self._place)
        # One of the same id is this one, as an attempt wrote it whose answer was lost.
        others = [each for each in catalog.backups if each.backup != self.backup]
        ended_ms = int(self._clock() * 1000)
        return Manifest(
            archive=head.archive,
            backup=self.backup,
            mode="incremental" if self._begun.parent else "full",
            parent=self._begun.parent,
            form=completion.form,
            source=SourceNote(
                location=source.location, product=source.product, version=source.version, identity=source.identity
            ),
            selection=completion.selection,
            began_ms=int(completion.began_s * 1000),
            ended_ms=ended_ms,
            snapshot_ms=int(snapshot_s * 1000) if snapshot_s is not None else None,
            snapshot=completion.snapshot,
            encryption=self._begun.encryption,
            counts=completion.counts,
            deleted=completion.deleted,
            warnings=completion.warnings,
            unread=completion.unread,
            number=next_number(others),
            clock_ahead=backups_after(
                ended_ms, [each.backup for each in others] + [backup for backup, _ in catalog.damaged], others
            ),
            parts=sorted(
                (receipt.note(round) for round, receipt in _read_receipts(completion.receipts)),
                key=lambda part: part.name,
            ),
        )

    def _there(self) -> dict[str, int]:
        """The sizes of what lies in the backup's folder, by name."""
        folder = folder_of(self.backup)
        return {name.removeprefix(folder): size for name, size in self._place.names(folder) if is_own(name)}

    def _find_lost_parent(self) -> str | None:
        """The backup that this one continues, where it isn't there any more."""
        parent = self._begun.parent
        if parent is None or self._place.size(folder_of(parent) + MANIFEST) is not None:
            return None
        return f"backup {parent}"

    def close(self) -> None:
        for lane in self._lanes:
            lane.drop()
        self._place.close()


def _first_lost(parts: Iterable[Receipt | PartNote], there: Mapping[str, int]) -> str | None:
    """The first part that doesn't lie there in its size."""
    return next((each.name for each in parts if there.get(each.name) != each.size_bytes), None)


def _read_receipts(receipts: Sequence[tuple[int, Token]]) -> list[tuple[int, Receipt]]:
    return [(round, convert(receipt, Receipt)) for round, receipt in receipts]
