"""A reader that gives activations under the ids by which OpenWhisk looks them up: NAMESPACE/ACTIVATION_ID.

A reader enters; the same documents leave, those under other ids (made by Elasticsearch, or the activation id alone)
under the right ones. What can't be understood keeps its id.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from typing_extensions import override

from migrator.activations.document import MENDED_ID, ODD_ID, Document, Form, Rejection
from migrator.activations.selection import Selection
from migrator.adapters.base import Batch, News, Plan, Reader, Slice, Token
from migrator.adapters.questions import SupportsLookup, SupportsNewest
from migrator.adapters.shared.fetch_by_reading import fetch_by_reading
from migrator.adapters.wrappers.forwarding import ForwardingReader
from migrator.events.watching import Stop
from migrator.text.decoding import decoder


class _Header(msgspec.Struct):
    activation_id: str = msgspec.field(name="activationId")


_header = decoder(_Header)
_fields = decoder(dict[str, msgspec.Raw])


class MendingReader(ForwardingReader):
    """Gives what the inner reader gives, under mended ids."""

    withholds = (SupportsLookup, SupportsNewest)  # the store would answer with the ids that it has

    def __init__(self, inner: Reader) -> None:
        super().__init__(inner)
        # Two documents may come under one id: one that was right, and one that was mended.
        # And what is under neither of the ids that are looked up is found by reading everything.
        self.abilities = msgspec.structs.replace(inner.abilities, unique_ids=False, looks_up=False)

    # -- plans --------------------------------------------------------------------------------------------------

    def _wider(self, selection: Selection) -> Selection:
        """CouchDB is examined where ids begin with the namespaces, and those to be mended don't."""
        if self.form is not Form.COUCHDB or not selection.namespaces:
            return selection
        return msgspec.structs.replace(selection, namespaces=())

    @override
    def plan(self, selection: Selection, *, slice_documents: int) -> Plan:
        return self._inner.plan(self._wider(selection), slice_documents=slice_documents)

    @override
    def catch_up(self, snapshot: Token, selection: Selection, *, slice_documents: int) -> Plan:
        return self._inner.catch_up(snapshot, self._wider(selection), slice_documents=slice_documents)

    @override
    def news(self, snapshot: Token, selection: Selection, *, wait_s: float, stop: Stop) -> News:
        return self._inner.news(snapshot, self._wider(selection), wait_s=wait_s, stop=stop)

    @override
    def plan_verification(self, selection: Selection, *, slice_documents: int) -> Plan:
        return self._inner.plan_verification(self._wider(selection), slice_documents=slice_documents)

    # -- reading ------------------------------------------------------------------------------------------------

    @override
    def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
        position = after
        for batch in self._inner.read(slice, after, selection):
            yield from _mend_batch(batch, position)
            position = batch.position

    @override
    def fetch(self, ids: Sequence[str], after: Token, selection: Selection) -> Iterator[Batch]:
        """By the ids and by the activation ids alone; what is under neither is looked for by reading all.

        All that is found is held at once, as where a store can only be read.
        """
        if after == len(ids):
            return
        wanted = dict.fromkeys(ids)
        documents: list[Document] = []
        rejections: list[Rejection] = []
        asked = list(dict.fromkeys(each for id in wanted for each in (id, id.rpartition("/")[2]) if each))
        for batch in self._inner.fetch(asked, None, selection):
            documents += (mended for each in batch.documents if (mended := mend(each)).id in wanted)
            rejections += (each for each in batch.rejections if each.id in wanted)
        known = {*(each.id for each in documents), *(each.id for each in rejections)}
        if left := [id for id in wanted if id not in known]:
            for batch in fetch_by_reading(self, left, None, selection):
                documents += batch.documents
                rejections += batch.rejections
        yield Batch(
            documents=tuple(documents),
            rejections=tuple(rejections),
            position=len(ids),
            size_bytes=sum(each.size_bytes for each in documents),
        )


def mend(document: Document) -> Document:
    """The same document under the id by which OpenWhisk looks it up."""
    if ODD_ID not in document.remarks:
        return document
    id = f"{document.namespace}/{_header.decode(document.body).activation_id}"
    body = document.body
    if document.form is Form.COUCHDB:
        fields = _fields.decode(body)
        if "_id" in fields:
            fields["_id"] = msgspec.Raw(msgspec.json.encode(id))
        body = msgspec.json.encode(fields)
    remarks = tuple(MENDED_ID if each == ODD_ID else each for each in document.remarks)
    return msgspec.structs.replace(document, id=id, body=body, remarks=remarks)


def _mend_batch(batch: Batch, before: Token) -> Iterator[Batch]:
    """A batch with mended ids; where one comes twice the second has a batch of its own.

    Only the last has the position after all of them: what was given until then is read again after an interruption.
    """
    if not any(ODD_ID in each.remarks for each in batch.documents):
        yield batch
        return
    rounds: list[dict[str, Document]] = [{}]
    for document in map(mend, batch.documents):
        for each in rounds:
            if document.id not in each:
                each[document.id] = document
                break
        else:
            rounds.append({document.id: document})
    for documents in rounds[:-1]:
        yield Batch(documents=tuple(documents.values()), position=before)
    yield msgspec.structs.replace(batch, documents=tuple(rounds[-1].values()))
