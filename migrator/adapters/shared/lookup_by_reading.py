"""Finds by reading: for stores that can't be asked, and for lists that no index of keys gives.

A `Reader` enters, documents leave. Memory holds as many documents as are requested.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence

from migrator.activations.document import Document
from migrator.activations.selection import Selection
from migrator.adapters.base import Reader
from migrator.adapters.questions import Found, WantedId
from migrator.adapters.shared.whole import read_whole
from migrator.errors import Incomplete


def look_up_by_reading(reader: Reader, wanted: Sequence[WantedId]) -> Iterator[Found]:
    """All documents that are one of the wanted activations, from the namespaces that these name."""
    namespaces = {each.namespace for each in wanted}
    selection = Selection(namespaces=() if None in namespaces else tuple(filter(None, namespaces)))
    for found in _read(reader, selection, with_rejections=True):
        if any(each.is_met_by(found.id) for each in wanted):
            yield found


def newest_by_reading(reader: Reader, selection: Selection, limit: int) -> Iterator[Document]:
    """The newest of a selection, kept while all of it goes by; those of what was read too, where not all could be."""
    newest: list[tuple[int, str, Document]] = []
    incomplete: Incomplete | None = None
    try:
        for found in _read(reader, selection):
            if isinstance(found, Document):
                heapq.heappush(newest, (found.start_ms, found.id, found))
                if len(newest) > limit:
                    heapq.heappop(newest)
    except Incomplete as error:
        incomplete = error
    for _, _, document in sorted(newest, key=lambda each: each[:2], reverse=True):
        yield document
    if incomplete:
        raise incomplete


def _read(reader: Reader, selection: Selection, *, with_rejections: bool = False) -> Iterator[Found]:
    for batch in read_whole(reader, selection):
        yield from batch.documents
        if with_rejections:
            yield from batch.rejections
