"""Finds activations in CouchDB by their keys; where the namespace isn't known, in all that the keys tell.

No view is asked, since that would build it: a list is found by reading.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
            there = self._present(some)
            there |= self._present([key for key in some if key not in there])  # what isn't there is looked for twice
            for key in some:
                if key in there and (found := self._document(key)):
                    yield found

    def _present(self, keys: Sequence[str]) -> set[str]:
        return {row.key for row in self._client.revisions(keys) if not row.is_absent}

    def _document(self, id: str) -> Found | None:
        found = self._client.document(id)
        return None if found is None else read_document(id, found.body, Form.COUCHDB)

    def newest(self, selection: Selection, limit: int) -> Iterator[Document]:
        return newest_by_reading(CouchDBReader(self._client, page_bytes=_PAGE_BYTES), selection, limit)

    def close(self) -> None:
        self._client.close()
