"""Finds by reading: for stores that can't be asked, and for lists that no index of keys gives.

A `Reader` enters, documents leave. Memory holds as many documents as are asked for.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence

from migrator.adapters.base import Reader
from migrator.operations.find.values import Found, WantedId
from migrator.records import Document, Selection

_SLICE_DOCUMENTS = 20_000


class ReadingFinder:
    """Any store, read from end to end."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def look_up(self, wanted: Sequence[WantedId]) -> list[Found]:
        namespaces = {each.namespace for each in wanted}
        selection = Selection(namespaces=() if None in namespaces else tuple(filter(None, namespaces)))
        return [
            found
            for found in _read(self._reader, selection, with_rejections=True)
            if any(each.is_met_by(found.id) for each in wanted)
        ]

    def newest(self, selection: Selection, limit: int) -> list[Document]:
        return newest_by_reading(self._reader, selection, limit)

    def close(self) -> None:
        self._reader.close()


def newest_by_reading(reader: Reader, selection: Selection, limit: int) -> list[Document]:
    """The newest of a selection, kept while all of it goes by."""
    documents = (found for found in _read(reader, selection) if isinstance(found, Document))
    return heapq.nlargest(limit, documents, key=lambda document: (document.start_ms, document.id))


def _read(reader: Reader, selection: Selection, *, with_rejections: bool = False) -> Iterator[Found]:
    for slice in reader.plan(selection, slice_documents=_SLICE_DOCUMENTS).slices:
        for batch in reader.read(slice, None, selection):
            yield from batch.documents
            if with_rejections:
                yield from batch.rejections
