"""Finds activations in an archive by the hashes of ids that each part keeps: one frame is read for each that is there.

Source: `docs/archive-format.md`. Of documents that stand in several parts of the chain the newest counts.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

from migrator.activations.document import Document, read_document
from migrator.activations.selection import Selection
from migrator.adapters.archive import ArchiveReader
from migrator.adapters.archive.catalog import chain_parts
from migrator.adapters.archive.format import id_hash, read_line
from migrator.adapters.archive.parts import Part
from migrator.adapters.archive.superseded import as_numbers
from migrator.adapters.base import Slice
from migrator.adapters.questions import Found, WantedId
from migrator.adapters.shared.lookup_by_reading import newest_by_reading


class ArchiveFinder:
    """The newest state of an archive, or the one that its location names."""

    def __init__(self, reader: ArchiveReader) -> None:
        self._reader = reader

    def look_up(self, wanted: Sequence[WantedId]) -> Iterator[Found]:
        found: dict[str, Found] = {}
        for manifest, at in chain_parts(self._reader.chain):
            note = manifest.parts[at]
            ids = {id for each in wanted for id in each.ids(tuple(note.namespaces))}
            hashes = {as_numbers(id_hash(id))[0] for id in ids}
            slice = Slice(key=note.name, spec={"backup": manifest.backup, "part": note.name})
            found |= self._look_up(self._reader.part_of(slice), ids, hashes)
        yield from found.values()

    def _look_up(self, part: Part, ids: set[str], hashes: set[int]) -> dict[str, Found]:
        found: dict[str, Found] = {}
        frames = part.index.frames
        ends = list(accumulate(frame.note.documents for frame in frames))
        for line, value in enumerate(as_numbers(part.hashes())):
            if value in hashes:
                frame = bisect_right(ends, line)
                lines = part.lines([frames[frame]])[0]
                id, body, index = read_line(lines[line - ends[frame]], self._reader.form)
                document = read_document(id, body, self._reader.form, index=index)
                if id in ids and document is not None:
                    found[id] = document
        return found

    def newest(self, selection: Selection, limit: int) -> Iterator[Document]:
        return newest_by_reading(self._reader, selection, limit)

    def close(self) -> None:
        self._reader.close()
