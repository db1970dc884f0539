"""Finds activations in CouchDB by their keys; where the namespace isn't known, in all that the keys tell.

No view is asked, since that would build it: a list is found by reading.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from migrator.adapters.couchdb import CouchDBReader
from migrator.adapters.couchdb.client import Client
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
    id: str = ""
    value: _Value | None = None  # None: no such key


class _Rows(msgspec.Struct):
    rows: list[_Row]


class CouchDBFinder:
    """A database."""

    def __init__(self, store: Store) -> None:
        self._client = Client(store)

    def look_up(self, wanted: Sequence[WantedId]) -> list[Found]:
        self._client.about()
        names: Sequence[str] = ()
        if any(each.namespace is None for each in wanted):
            names, is_complete = namespaces(self._client, most_looks=_LOOKS)
            if not is_complete:
                raise LimitReached(f"{self._client.location}: it has too many namespaces; give NAMESPACE/ID")
        keys = [id for each in wanted for id in each.ids(names)]
        found: list[Found] = []
        for at in range(0, len(keys), _KEYS):
            body = self._client.docs_by_id(keys[at : at + _KEYS], with_docs=False)
            rows = self._client.understand(body, _Rows, "_all_docs").rows
            there = [row.id for row in rows if row.value is not None and not row.value.deleted]
            found += filter(None, map(self._document, there))
        return found

    def _document(self, id: str) -> Found | None:
        body = self._client.document(id)
        return None if body is None else read_document(id, body.strip(), Form.COUCHDB)

    def newest(self, selection: Selection, limit: int) -> list[Document]:
        return newest_by_reading(CouchDBReader(self._client, page_bytes=_PAGE_BYTES), selection, limit)

    def close(self) -> None:
        self._client.close()
