"""Finds activations in CouchDB by their keys; where the namespace isn't known, in all that the keys tell.

No view is asked, since that would build it: a list is found by reading.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from migrator.adapters.couchdb import CouchDBReader
from migrator.adapters.couchdb.client import Client, Undecodable
from migrator.adapters.couchdb.namespaces import namespaces
from migrator.errors import LimitReached
from migrator.locations import Store
from migrator.operations.find.reading import newest_by_reading
from migrator.operations.find.values import Found, WantedId
from migrator.records import Document, Form, Selection, read_document

_LOOKS = 20_000  # at keys, for the names of namespaces
_KEYS = 1_000  # in one request
_PAGE_BYTES = 4_000_000


class _Value(msgspec.Struct):
    deleted: bool = False


class _Row(msgspec.Struct):
    key: str
    id: str | None = None
    value: _Value | None = None
    error: str | None = None  # "not_found": no such key
    doc: msgspec.Raw = msgspec.Raw(b"null")

    @property
    def is_there(self) -> bool:
        return self.value is not None and not self.value.deleted


class _Rows(msgspec.Struct):
    rows: list[_Row]


_rows = msgspec.json.Decoder(_Rows)


class CouchDBFinder:
    """A database."""

    def __init__(self, store: Store) -> None:
        self._client = Client(store)

    def look_up(self, wanted: Sequence[WantedId]) -> Iterator[Found]:
        self._client.about()
        names: Sequence[str] = ()
        if any(each.namespace is None for each in wanted):
            names, is_complete = namespaces(self._client, most_looks=_LOOKS)
            if not is_complete:
                raise LimitReached(f"{self._client.location}: it has too many namespaces; give NAMESPACE/ID")
        keys = [id for each in wanted for id in each.ids(names)]
        for at in range(0, len(keys), _KEYS):
            some = keys[at : at + _KEYS]
            rows = self._answered(self._client.docs_by_id(some, with_docs=False), some)
            for row in rows:
                if row.is_there and (found := self._document(row.key)):
                    yield found

    def _answered(self, body: bytes, keys: Sequence[str]) -> list[_Row]:
        """A row for each key, in their order; nothing is concluded from an answer about something else."""
        rows = self._client.decode_page(_rows, body, "_all_docs").rows
        if [row.key for row in rows] != list(keys):
            raise self._client.garbled("_all_docs", f"it has {len(rows)} rows for {len(keys)} keys, or for others")
        for row in rows:
            if (row.value is None and row.error != "not_found") or (row.value is not None and row.id != row.key):
                raise self._client.garbled("_all_docs", f"{row.key}: {row.error or f'it is about {row.id}'}")
        return rows

    def _document(self, id: str) -> Found | None:
        """The document, asked for in the body: a proxy that decodes `%2F` in a path makes every one of them a 404."""
        try:
            (row,) = self._answered(self._client.docs_by_id([id], with_docs=True, conflicts=True), [id])
        except Undecodable:
            body = self._client.document(id)
        else:
            if not row.is_there:
                return None  # it was deleted just now: two answers about this key say so
            body = None if row.doc == b"null" else bytes(row.doc)
        if body is None:
            raise self._client.garbled("_all_docs", f"{id} is there, and comes without its document")
        return read_document(id, body.strip(), Form.COUCHDB)

    def newest(self, selection: Selection, limit: int) -> Iterator[Document]:
        return newest_by_reading(CouchDBReader(self._client, page_bytes=_PAGE_BYTES), selection, limit)

    def close(self) -> None:
        self._client.close()
