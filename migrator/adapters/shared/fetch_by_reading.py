"""Documents by their ids from a store that can only be read from its beginning to its end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from migrator.activations.document import Document, Rejection
from migrator.activations.selection import Selection
from migrator.adapters.base import Batch, Reader, Token

_SLICE_DOCUMENTS = 100_000


def fetch_by_reading(reader: Reader, ids: Sequence[str], after: Token, selection: Selection) -> Iterator[Batch]:
    """What `Reader.fetch` gives, by one reading of everything; of several versions the last counts.

    All that is found is held at once, so that many ids are better requested in parts.
    """
    if after == len(ids):
        return
    wanted = set(ids)
    found: dict[str, Document | Rejection] = {}
    for slice in reader.plan(selection, slice_documents=_SLICE_DOCUMENTS).slices:
        for batch in reader.read(slice, None, selection):
            items: list[Document | Rejection] = [*batch.documents, *batch.rejections]
            found.update((item.id, item) for item in items if item.id in wanted)
    documents = tuple(item for item in found.values() if isinstance(item, Document))
    yield Batch(
        documents=documents,
        position=len(ids),
        rejections=tuple(item for item in found.values() if isinstance(item, Rejection)),
        size_bytes=sum(document.size_bytes for document in documents),
    )
