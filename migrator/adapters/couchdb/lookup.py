"""Finds activations in CouchDB by their keys; where the namespace isn't known, in all that the keys tell.

No view is asked, since that would build it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from migrator.activations.document import Form, read_document
from migrator.adapters.couchdb.client import Client
from migrator.adapters.couchdb.namespaces import Namespaces, namespaces, namespaces_downwards
from migrator.adapters.questions import Found, WantedId
from migrator.errors import LimitReached

_LOOKS = 20_000  # at keys, for the names of namespaces
_KEYS = 1_000  # in one request


class Lookup:
    """A database that is searched."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def look_up(self, wanted: Sequence[WantedId]) -> Iterator[Found]:
        self._client.about()
        names: tuple[str, ...] = ()
        bare = [each for each in wanted if each.namespace is None]
        if bare:
            names = self._names(namespaces)
        met: set[WantedId] = set()
        for found in self._look_up([id for each in wanted for id in each.ids(names)]):
            met |= {each for each in bare if each.is_met_by(found.id)}
            yield found
        if lacking := [each for each in bare if each not in met]:
            # That they are in none of the namespaces is only believed where all are known: they are listed again.
            others = [name for name in self._names(namespaces_downwards) if name not in names]
            yield from self._look_up([id for each in lacking for id in each.ids(others)])

    def _names(self, listed: Callable[..., Namespaces]) -> tuple[str, ...]:
        names, is_complete = listed(self._client, most_looks=_LOOKS)
        if not is_complete:
            raise LimitReached(f"{self._client.location}: it has too many namespaces; give NAMESPACE/ID")
        return names

    def _look_up(self, keys: Sequence[str]) -> Iterator[Found]:
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
