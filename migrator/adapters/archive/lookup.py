"""Finds activations in an archive by the hashes of ids that each part keeps: one frame is read for each that is there.

Source: `docs/archive-format.md`. Of documents that stand in several parts of the chain the newest counts.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import accumulate, groupby
from operator import itemgetter

from migrator.activations.document import Form, read_document
from migrator.adapters.archive.catalog import chain_parts
from migrator.adapters.archive.format import Frame, id_hash, read_line
from migrator.adapters.archive.manifest import Manifest
from migrator.adapters.archive.parts import Part
from migrator.adapters.archive.superseded import as_numbers
from migrator.adapters.base import Slice
from migrator.adapters.questions import Found, WantedId


def look_up(
    chain: Sequence[Manifest], part_of: Callable[[Slice], Part], form: Form, wanted: Sequence[WantedId]
) -> Iterator[Found]:
    """The newest versions in a chain of what is wanted; `part_of` opens the part of a slice."""
    found: dict[str, Found] = {}
    for manifest, at in chain_parts(chain):
        note = manifest.parts[at]
        ids = {id for each in wanted for id in each.ids(tuple(note.namespaces))}
        slice = Slice(key=note.name, spec={"backup": manifest.backup, "part": note.name})
        found |= _look_up(part_of(slice), form, ids)
    yield from found.values()


def _look_up(part: Part, form: Form, ids: set[str]) -> dict[str, Found]:
    hashes = {as_numbers(id_hash(id))[0] for id in ids}
    found: dict[str, Found] = {}
    frames = part.index.frames
    ends = list(accumulate(frame.note.documents for frame in frames))
    for line, value in enumerate(as_numbers(part.hashes())):
        if value in hashes:
            frame = bisect_right(ends, line)
            lines = part.lines(frames[frame])
            id, body, index = read_line(lines[line - ends[frame]], form)
            document = read_document(id, body, form, index=index)
            if id in ids and document is not None:
                found[id] = document
    return found


def find_lines(parts: Sequence[Part], ids: Sequence[str]) -> dict[int, tuple[int, int]]:
    """Where the newest versions of some documents stand: by the hash of the id, the number of the part and the line."""
    wanted = set(as_numbers(b"".join(map(id_hash, ids))))
    places: dict[int, tuple[int, int]] = {}
    for order, part in enumerate(parts):  # a later one is newer
        hashes = as_numbers(part.hashes())
        if not wanted.isdisjoint(hashes):
            places.update((value, (order, line)) for line, value in enumerate(hashes) if value in wanted)
    return places


def frames_with(parts: Sequence[Part], places: Sequence[tuple[int, int]]) -> Iterator[tuple[Part, Frame, list[int]]]:
    """The frames in which some sorted places are, with the lines in them."""
    for order, of_part in groupby(places, key=itemgetter(0)):
        frames = parts[order].index.frames
        firsts = [0, *accumulate(frame.note.documents for frame in frames)]
        for at, of_frame in groupby((line for _, line in of_part), key=partial(bisect_right, firsts)):
            yield parts[order], frames[at - 1], [line - firsts[at - 1] for line in of_frame]
