"""Reads an archive: the state that a chain of backups ends with, each document once, in its newest version.

A slice is a part. Its frames are read some at a time; those that can't hold anything selected aren't read at all: the
manifest tells it of parts, the index of frames. Every frame is checked as it is read (its checksum, its size, its
number of lines), so that damage is never copied. The order of parts doesn't matter: which documents are
superseded is known before.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from functools import cached_property
from itertools import accumulate

import msgspec
from typing_extensions import override

from migrator.activations.document import Form, Given, own_id
from migrator.activations.part import Part as Share
from migrator.activations.selection import Selection
from migrator.adapters.archive.catalog import Catalog, chain_parts, read_catalog
from migrator.adapters.archive.custody import busy, lost
from migrator.adapters.archive.format import Frame, id_hash, read_line, read_lines
from migrator.adapters.archive.lookup import find_lines, frames_with, look_up
from migrator.adapters.archive.manifest import Manifest, PartNote, count_rejected, id_ms, incompleteness
from migrator.adapters.archive.order import contradiction
from migrator.adapters.archive.parts import Part
from migrator.adapters.archive.places import Place
from migrator.adapters.archive.probe import probe_by_manifests, reasons_by_manifests
from migrator.adapters.archive.superseded import Newest, as_numbers
from migrator.adapters.archive.volume import volume
from migrator.adapters.base import (
    Abilities,
    Batch,
    Description,
    Plan,
    Reader,
    Slice,
    SupportsCount,
    SupportsFetch,
    SupportsNamespaces,
    SupportsParts,
    Token,
)
from migrator.adapters.questions import (
    Finding,
    Found,
    Probe,
    SupportsCustody,
    SupportsLookup,
    SupportsProbe,
    SupportsReasons,
    SupportsVolume,
    Volume,
    WantedId,
)
from migrator.adapters.shared.paging import Page, PageSize
from migrator.adapters.shared.probe_counts import probe_of, read_all
from migrator.errors import ArchiveDamaged, UsageError
from migrator.events.watching import Stop
from migrator.text.arguments import argument
from migrator.text.decoding import UNREADABLE, convert
from migrator.text.units import counted


class _Chosen(msgspec.Struct, frozen=True):
    """The backup that is read, and all that it needs."""

    chain: tuple[Manifest, ...]  # the full one first
    orders: dict[tuple[str, str], int]  # of the parts, by backup and name: a higher one is newer

    @property
    def last(self) -> Manifest:
        return self.chain[-1]


class ArchiveReader(
    Reader,
    SupportsFetch,
    SupportsNamespaces,
    SupportsCount,
    SupportsParts,
    SupportsProbe,
    SupportsLookup,
    SupportsReasons,
    SupportsVolume,
    SupportsCustody,
):
    """Reads the newest backup of an archive with its chain, or that of `backup`, or the newest as of `at_ms`."""

    abilities = Abilities()

    def __init__(
        self,
        place: Place,
        *,
        backup: str | None = None,
        at_ms: int | None = None,
        page_bytes: int = 4_000_000,
        folder: str | None = None,
        part: Share | None = None,
    ) -> None:
        """`folder` is where it lies, if that is on this machine. With a `part` some of the chain's files are read."""
        self._share = part
        if part is not None:
            self.abilities = Abilities(partial=True)
        self._place = place
        self._folder = folder
        self._backup = backup
        self._at_ms = at_ms
        self._page_bytes = page_bytes
        self._lock = threading.Lock()

    @cached_property
    def _catalog(self) -> Catalog:
        return read_catalog(self._place)

    @cached_property
    def _chosen(self) -> _Chosen:
        where = self._place.printed
        if self._backup is not None:
            last = self._catalog.find(self._backup, where)
        elif self._at_ms is not None:
            last = self._catalog.as_of(self._at_ms, where)
        else:
            last = self._catalog.newest(where)
        if self._backup is None:
            self._refuse_older(last)
        chain = self._catalog.chain(last, where)
        parts = chain_parts(chain)
        return _Chosen(
            chain, {(manifest.backup, manifest.parts[at].name): order for order, (manifest, at) in enumerate(parts)}
        )

    def _refuse_older(self, last: Manifest) -> None:
        """Raise where one that can't be read may be newer than the last that can: an older state must be chosen."""
        for backup, reason in self._catalog.damaged:
            if self._catalog.may_be_newer(backup, last) and (self._at_ms is None or id_ms(backup) <= self._at_ms):
                raise ArchiveDamaged(
                    f"{reason}, so the newest state is unknown. {argument('backup', last.backup)} reads the newest "
                    "backup that is whole, and `migrator archive check repair=True` saves what is left of this one"
                )

    @property
    def form(self) -> Form:
        return self._chosen.last.form

    @property
    def chain(self) -> tuple[Manifest, ...]:
        """The backups that are read, the full one first."""
        return self._chosen.chain

    def describe(self) -> Description:
        """As the contract has it; `AccessDenied` also where a backup of the chain is encrypted, and no key fits."""
        for manifest in self._chosen.chain:
            if manifest.encryption and manifest.parts:
                self._place.unlock(manifest.folder + manifest.parts[0].name)
        return Description(
            location=f"{self._place.printed}?backup={self._chosen.last.backup}",
            product="archive",
            version=str(self._catalog.head.version),
            identity={"archive": self._catalog.head.archive},
        )

    # -- plans --------------------------------------------------------------------------------------------------

    def in_part(self, part: Share) -> ArchiveReader:
        """Every so many of the chain's files, which never change. Raises `UsageError` where no backup was named.

        Parts that each took the newest backup of their moment would read different states.
        """
        if self._backup is None:
            raise UsageError(
                f"{self._place.printed}: give {argument('backup')} as well: parts that start while a backup is made "
                "would read different ones"
            )
        return ArchiveReader(
            self._place, backup=self._backup, page_bytes=self._page_bytes, folder=self._folder, part=part
        )

    def _is_read(self, manifest: Manifest, note: PartNote, selection: Selection) -> bool:
        share = self._share
        if share is not None and self._chosen.orders[manifest.backup, note.name] % share.of != share.number - 1:
            return False
        return _may_hold(selection, note.first_ms, note.last_ms, note.namespaces)

    @override
    def plan(self, selection: Selection, *, slice_documents: int) -> Plan:
        slices = tuple(
            Slice(
                key=f"{manifest.backup}/{part.name}",
                spec={"backup": manifest.backup, "part": part.name},
                documents=part.documents,
            )
            for manifest in self._chosen.chain
            for part in manifest.parts
            if self._is_read(manifest, part, selection)
        )
        where = self._place.printed
        lacks = [
            f"{where}: backup {link.backup} {what}" for link in self._chosen.chain if (what := incompleteness(link))
        ]
        warnings = [*lacks, *(reason for _, reason in self._catalog.damaged), *self._other_lines()]
        if rejected := count_rejected(self._chosen.chain):
            were = counted(rejected, "document was", "documents were")
            warnings.append(f"{where}: {were} rejected when the backup was made, and not included")
        if self._backup is None and (told := contradiction(self._catalog.backups)):
            warnings.append(f"{where}: {told}")
        return Plan(slices=slices, snapshot=self._chosen.last.backup, warnings=tuple(warnings), incomplete=bool(lacks))

    def _other_lines(self) -> Iterator[str]:
        """A sentence for each other source or selection of which there are backups, unless a backup was named."""
        if self._backup is not None:
            return
        last = self._chosen.last
        known = [each for each in self._catalog.backups if self._at_ms is None or each.ended_ms <= self._at_ms]
        newest = {each.line: each for each in known}
        for line, other in sorted(newest.items()):
            if line != last.line:
                what = "another selection of " if other.source.location == last.source.location else ""
                yield (
                    f"{self._place.printed} also holds backups of {what}{other.source.location}, which aren't read; "
                    f"{argument('backup', other.backup)} chooses the newest of them"
                )

    def namespaces(self) -> Mapping[str, int | None]:
        held: Counter[str] = Counter()
        for manifest in self._chosen.chain:
            for part in manifest.parts:
                held.update(part.namespaces)
        return held

    def count(self, selection: Selection) -> int | None:
        """What the parts and frames that may hold something selected have, superseded versions included."""
        return sum(
            part.documents
            for manifest in self._chosen.chain
            for part in manifest.parts
            if self._is_read(manifest, part, selection)
        )

    # -- reading ------------------------------------------------------------------------------------------------

    def part_of(self, slice: Slice) -> Part:
        """The part that a slice is. Raises `ArchiveDamaged` where it isn't one of the chain any more."""
        for manifest in self._chosen.chain:
            for note in manifest.parts:
                if (manifest.backup, note.name) == (slice.spec["backup"], slice.spec["part"]):
                    return Part(self._place, manifest, note)
        raise ArchiveDamaged(f"{self._place.printed}: {slice.key} isn't a part of the chain that is read")

    def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
        part = self.part_of(slice)
        order = self._chosen.orders[slice.spec["backup"], slice.spec["part"]]
        frames = part.index.frames
        lines_before = [0, *accumulate(frame.note.documents for frame in frames)]
        # Hashes are looked at only where something newer may stand.
        hashes = as_numbers(part.hashes()) if self._has_newer(order) else None
        own = hashes if hashes is not None and order in self._newer_orders else ()
        at = 0 if after is None else convert(after, int)
        while at < len(frames):
            count = self._page(frames, at, selection)
            if count == 0:
                at += 1
                continue
            page, size_bytes = Page(self.form, selection), 0
            for number, raw in enumerate(part.contents(frames[at : at + count]), at):
                size_bytes += frames[number].raw_bytes
                dropped: Set[int] = frozenset()
                if hashes is not None:
                    first, end = lines_before[number : number + 2]
                    dropped = set(self._newest.superseded(order, first, hashes[first:end], own))
                with self._naming(part):
                    given = read_lines(raw, self.form)
                    page.take_all(_but(dropped, given, page) if dropped else given)
            del raw, given  # a frame may hold a document of 100 MB, and the page has it too
            at += count
            yield page.batch(at, size_bytes=size_bytes)
        part.prove()

    def _page(self, frames: Sequence[Frame], at: int, selection: Selection) -> int:
        """How many frames from `at` on are read at once: up to a page of them, none that can't hold a selected one."""
        # Half as much again as of a server, whose answer is held beside its documents.
        count, size_bytes, most_bytes = 0, 0, self._page_bytes * 3 // 2
        for frame in frames[at:]:
            note = frame.note
            if not _may_hold(selection, note.first_ms, note.last_ms, note.namespaces):
                break
            if count and size_bytes + frame.raw_bytes > most_bytes:
                break
            count += 1
            size_bytes += frame.raw_bytes
        return count

    # -- by id --------------------------------------------------------------------------------------------------

    def fetch(self, ids: Sequence[str], after: Token, selection: Selection) -> Iterator[Batch]:
        done = 0 if after is None else convert(after, int)
        size = PageSize(aim_bytes=self._page_bytes)
        parts = [Part(self._place, manifest, manifest.parts[at]) for manifest, at in chain_parts(self._chosen.chain)]
        places = find_lines(parts, ids[done:])
        while done < len(ids):
            chosen = ids[done : done + size.documents]
            page, found, size_bytes = Page(self.form, selection), 0, 0
            hashes = set(as_numbers(b"".join(map(id_hash, chosen))))
            for part, frame, lines in frames_with(parts, sorted(places[each] for each in hashes & places.keys())):
                held = part.lines(frame)
                found += len(lines)
                size_bytes += sum(len(held[line]) for line in lines)
                with self._naming(part):
                    page.take_all(read_line(held[line], self.form) for line in lines)
            size.saw(found, size_bytes)
            done += len(chosen)
            yield page.batch(done, size_bytes=size_bytes)

    @contextmanager
    def _naming(self, part: Part) -> Iterator[None]:
        """Name the part where a line of it is no document."""
        try:
            yield
        except UNREADABLE as error:
            raise ArchiveDamaged(f"{self._place.printed}: {part.name}: a line is no document: {error}") from error

    # -- custody ------------------------------------------------------------------------------------------------

    def lost(self) -> str | None:
        return lost(self._place, self._catalog.head.archive, self._chosen.chain)

    def busy(self) -> str | None:
        return busy(self._place)

    # -- what is newer ------------------------------------------------------------------------------------------

    @cached_property
    def _newer_orders(self) -> frozenset[int]:
        """The orders of all parts but those of the bulk of the full backup."""
        parts = chain_parts(self._chosen.chain)
        return frozenset(
            order
            for order, (manifest, at) in enumerate(parts)
            if manifest.parent is not None or manifest.parts[at].layer > 0
        )

    def _has_newer(self, order: int) -> bool:
        """Whether a document of a part may stand again in a newer part, or in a later line of its own."""
        return any(newer >= order for newer in self._newer_orders)

    @property
    def _newest(self) -> Newest:
        with self._lock:
            return self._loaded_newest

    @cached_property
    def _loaded_newest(self) -> Newest:
        parts = chain_parts(self._chosen.chain)
        newer = [(order, parts[order]) for order in sorted(self._newer_orders)]
        newest = Newest(sum(manifest.parts[at].documents for _, (manifest, at) in newer))
        for order, (manifest, at) in newer:
            newest.add(order, Part(self._place, manifest, manifest.parts[at]).hashes())
        return newest

    # -- questions ----------------------------------------------------------------------------------------------

    def probe(self, *, exact: bool, stop: Stop | None = None) -> Probe:
        found = probe_by_manifests(self.chain, self.describe())
        return probe_of(read_all(self, stop), found) if exact else found

    def look_up(self, wanted: Sequence[WantedId]) -> Iterator[Found]:
        return look_up(self.chain, self.part_of, self.form, wanted)

    @override
    def reasons(self, wanted: Sequence[WantedId]) -> Sequence[Finding]:
        return reasons_by_manifests(self.chain)

    @override
    def volume(self, selection: Selection, *, exact: bool, stop: Stop) -> Volume:
        return volume(self.chain, self._folder)

    def close(self) -> None:
        self._place.close()


def _but(dropped: Set[int], given: Iterable[Given], page: Page) -> Iterator[Given]:
    """All but those of some numbers, which the page counts as filtered."""
    for number, each in enumerate(given):
        if number not in dropped:
            yield each
            continue
        id, body, _ = each
        page.filter((own_id(body) if id is None else id).partition("/")[0])


def _may_hold(selection: Selection, first_ms: int, last_ms: int, namespaces: Collection[str]) -> bool:
    """Whether something selected may be where these starts and namespaces are."""
    if selection.since_ms is not None and last_ms < selection.since_ms:
        return False
    if selection.until_ms is not None and first_ms >= selection.until_ms:
        return False
    return any(map(selection.takes_namespace, namespaces))
