"""What a target holds under the ids of documents that are to be written.

Documents with their addresses enter, what is stored there leaves. Every answer is compared with what was requested:
one that tells of other documents, or not of all, is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import msgspec

from migrator.activations.document import Document, Form, read_document
from migrator.adapters.elasticsearch.client import Cause, Client, advice, index_paths
from migrator.adapters.elasticsearch.counting import names_index
from migrator.adapters.elasticsearch.destinations import Address
from migrator.adapters.elasticsearch.fetching import Place, fetch_source, multi_get, positions_by, search_ids
from migrator.adapters.shared.http import TooLarge
from migrator.errors import AnswerLost, RequestRefused, Unavailable
from migrator.text.decoding import UNREADABLE, decoder
from migrator.text.units import counted

Addressed: TypeAlias = tuple[Address, Document]
Versions: TypeAlias = dict[tuple[str, str], tuple[int, int]]
"""Sequence number and primary term of documents, by index and id: what names one version of each."""

MOST_HITS = 10_000  # of one search, by default of every server
_IDS = 500  # looked for with one search


class _Got(msgspec.Struct, gc=False):
    index: str = msgspec.field(name="_index", default="")
    id: str = msgspec.field(name="_id", default="")
    found: bool | None = None
    source: msgspec.Raw = msgspec.field(name="_source", default=msgspec.Raw(b""))
    number: int | None = msgspec.field(name="_seq_no", default=None)
    term: int | None = msgspec.field(name="_primary_term", default=None)
    error: Cause | None = None


class _GotAll(msgspec.Struct):
    docs: list[_Got]


_got_all = decoder(_GotAll)


def by_index(addressed: Sequence[Addressed]) -> dict[str, list[int]]:
    """Where in a sequence the documents of each index stand."""
    return positions_by(address.index for address, _ in addressed)


class Lookup:
    """Looks documents up in a target; remembers how large requests may be and what form they must have."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._most_ids = MOST_HITS
        self._names_indices = True

    # -- by address ---------------------------------------------------------------------------------------------

    def fetch(self, addressed: Sequence[Addressed], versions: Versions | None = None) -> list[Document | None]:
        """What is stored at the addresses, in their order. Reads what isn't refreshed yet as well.

        The versions are put into `versions`, as far as the server tells them.
        """
        found: list[Document | None] = []
        first = 0
        while first < len(addressed):
            part = addressed[first : first + self._most_ids]
            found += self._fetch(part, versions) if self._names_indices else self._fetch_by_index(part, versions)
            first += len(part)
        return found

    def _fetch_by_index(self, addressed: Sequence[Addressed], versions: Versions | None) -> list[Document | None]:
        found: list[Document | None] = [None] * len(addressed)
        for positions in by_index(addressed).values():
            for at, stored in zip(positions, self._fetch([addressed[at] for at in positions], versions), strict=True):
                found[at] = stored
        return found

    def _fetch(self, addressed: Sequence[Addressed], versions: Versions | None) -> list[Document | None]:
        places = [Place(address.index, "_doc", document.id, address.routing) for address, document in addressed]
        path, body = multi_get(self._client, places, names_indices=self._names_indices)
        # What is there may be larger than what shall come; the answer is bounded all the same.
        bound_bytes = 4 * sum(document.size_bytes for _, document in addressed) + 1_000_000
        try:
            answer = self._client.call(
                "POST",
                path,
                body=body,
                bound_bytes=bound_bytes if len(addressed) > 1 else None,
                holds_documents=True,
                splits=True,
                right="the index privilege read",
            )
            found = _got_all.decode(answer.body).docs
        except RequestRefused as refusal:
            if self._names_indices and names_index(refusal):
                self._names_indices = False
                return self._fetch_by_index(addressed, versions)
            # Nothing but ids was sent, so no document is at fault.
            raise Unavailable(str(refusal)) from refusal
        except AnswerLost:
            if len(addressed) == 1:
                raise
            return self._apart(addressed, versions, remember=True)  # some links carry only small answers
        except TooLarge:
            return self._apart(addressed, versions, remember=True)
        except UNREADABLE:
            return self._apart(addressed, versions)
        if len(found) != len(addressed):
            raise self._client.malformed_answer(
                path, f"{counted(len(found), 'document')} instead of {len(addressed):,}"
            )
        if versions is not None:
            versions.update(
                ((got.index, got.id), (got.number, got.term))
                for got in found
                if got.found and got.number is not None and got.term is not None
            )
        return [self._stored(path, each, got) for each, got in zip(addressed, found, strict=True)]

    def _apart(
        self, addressed: Sequence[Addressed], versions: Versions | None, *, remember: bool = False
    ) -> list[Document | None]:
        """Ask for half: one of them can't be decoded, or they or their ids are too many for one request."""
        if len(addressed) > 1:
            half = len(addressed) // 2
            if remember:
                self._most_ids = min(self._most_ids, half)
            return self._fetch(addressed[:half], versions) + self._fetch(addressed[half:], versions)
        ((address, document),) = addressed
        source = fetch_source(self._client, address.index, document.id, routing=address.routing)
        return [None if source is None else _as_stored(address.index, document, source)]

    def _stored(self, path: str, addressed: Addressed, got: _Got) -> Document | None:
        address, document = addressed
        if got.index != address.index or got.id != document.id:
            raise self._client.malformed_answer(
                path, f"{got.index}/{got.id} where {address.index}/{document.id} was asked for"
            )
        if got.error is not None:
            if got.error.type == "index_not_found_exception":
                return None
            raise Unavailable(f"{self._client.location}: index {address.index}: {got.error}{advice(got.error)}")
        if got.found is None:
            raise self._client.malformed_answer(path, f"it doesn't say whether {document.id} exists")
        return _as_stored(address.index, document, bytes(got.source)) if got.found else None

    # -- by search ----------------------------------------------------------------------------------------------

    def locate(self, indices: Sequence[str], ids: Sequence[str]) -> dict[str, list[Address]]:
        """Where the documents of these ids stand, among indices that were refreshed, whatever their routing."""
        places: dict[str, list[Address]] = {}
        for path in index_paths(indices):
            for place in self.search(path, ids, frozenset(indices)):
                places.setdefault(place.id, []).append(Address(place.index, place.routing))
        return places

    def search(
        self, path: str, ids: Sequence[str], indices: frozenset[str], *, query: Any = None, shard: int | None = None
    ) -> Iterator[Place]:
        """As `search_ids`, for any number of ids."""
        first = 0
        while first < len(ids):
            some = ids[first : first + min(self._most_ids, _IDS)]
            try:
                yield from search_ids(self._client, path, some, indices, query=query, shard=shard)
            except (TooLarge, AnswerLost) as error:
                if isinstance(error, AnswerLost) and len(some) == 1:
                    raise
                self._most_ids = max(1, len(some) // 2)
                continue
            first += len(some)


def _as_stored(index: str, document: Document, source: bytes) -> Document:
    """What is stored in the place of a document, whatever it is."""
    if source == document.body:
        return document
    read = read_document(document.id, source, Form.ELASTICSEARCH, index=index)
    return read if isinstance(read, Document) else msgspec.structs.replace(document, body=source, index=index)
