"""Finds activations in Elasticsearch by search, and fetches them with their own bytes.

Looks into every index of the pattern, also those where OpenWhisk wouldn't look. What was stored within the last second
may not be found yet, since nothing is refreshed here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from migrator.activations.document import Document, Form, read_document
from migrator.activations.selection import Selection
from migrator.adapters.base import Reader
from migrator.adapters.elasticsearch.client import WHOLE, Client, index_paths
from migrator.adapters.elasticsearch.fetching import fetch_source
from migrator.adapters.elasticsearch.indices import Index, select
from migrator.adapters.elasticsearch.names import expressions
from migrator.adapters.elasticsearch.rights import why_hidden
from migrator.adapters.elasticsearch.shards import closed_error, paths_of, without_closed
from migrator.adapters.questions import Found, WantedId
from migrator.adapters.shared.lookup_by_reading import newest_by_reading
from migrator.errors import AccessDenied, Incomplete
from migrator.text.decoding import UNREADABLE, decode
from migrator.text.units import counted

_COPIES = 20  # of one id, in different namespaces or indices
_LOOKED_UP = 50  # ids in one search, so that it takes no more hits than a lowered index.max_result_window gives
_PAGE = 200
_WINDOW = 10_000  # what a search gives page by page; Source: index.max_result_window
_RIGHT = "the index privilege read"


class _Hit(msgspec.Struct):
    id: str = msgspec.field(name="_id")
    index: str = msgspec.field(name="_index")
    type: str = msgspec.field(name="_type", default="_doc")
    routing: str | None = msgspec.field(name="_routing", default=None)
    source: msgspec.Raw = msgspec.field(name="_source", default=msgspec.Raw(b"{}"))


class _Hits(msgspec.Struct):
    hits: list[_Hit]


class _Answer(msgspec.Struct):
    hits: _Hits


class _Counted(msgspec.Struct):
    count: int


class Lookup:
    """The indices behind a pattern, which are searched."""

    def __init__(self, client: Client, pattern: str) -> None:
        self._client = client
        self._pattern = pattern

    def look_up(self, wanted: Sequence[WantedId]) -> Iterator[Found]:
        indices, closed = self._indices(Selection())
        for path, shards in paths_of(indices):
            for first in range(0, len(wanted), _LOOKED_UP):
                for hit in self._hits(path, shards, wanted[first : first + _LOOKED_UP]):
                    if hit.index not in indices:
                        raise self._client.malformed_answer(
                            "_search", f"a hit is of {hit.index}, which wasn't asked for"
                        )
                    if document := self._document(hit, indices[hit.index].shards):
                        yield document
        self._check_seen(Selection(), closed)

    def _indices(self, selection: Selection) -> tuple[Mapping[str, Index], tuple[str, ...]]:
        self._client.server()
        held, _ = select(self._client, self._pattern, selection)
        return without_closed(self._client, held)

    def _check_seen(self, selection: Selection, closed: tuple[str, ...]) -> None:
        """Raise where something that may hold what is looked for wasn't examined."""
        if closed:
            raise closed_error(self._client, closed)
        if told := why_hidden(self._client, expressions(self._pattern, selection)):
            raise AccessDenied(f"{self._client.location}: {told}")

    def _hits(self, path: str, shards: int, wanted: Sequence[WantedId]) -> list[_Hit]:
        """Where the wanted stand: a search and a count must agree, since nothing else tells that there is no more."""
        ids = [str(each) for each in wanted if each.namespace]
        bare = [each.activation_id for each in wanted if not each.namespace]
        query = {
            "bool": {
                "should": [{"ids": {"values": ids}}, *({"match": {"activationId": each}} for each in bare)],
                "minimum_should_match": 1,
            }
        }
        asked = {"query": query, "size": _COPIES * len(wanted), "_source": False}
        hits = self._client.search(path, _Answer, shards=shards, body=asked).hits.hits
        if len(hits) == asked["size"]:
            some = counted(len(hits), "document")
            raise Incomplete(f"{self._client.location}: {some} and more match; search for fewer at once")
        if len({(hit.index, hit.id, hit.routing) for hit in hits}) < len(hits):
            raise self._client.malformed_answer("_search", "it gives a document twice")
        matching = self._client.ask("POST", f"/{path}/_count", _Counted, body={"query": query}, right=_RIGHT).count
        if matching > len(hits):
            match = counted(matching, "document matches", "documents match")
            raise Incomplete(f"{self._client.location}: {match}, and the search gives {len(hits):,}")
        return [hit for hit in hits if any(each.is_met_by(hit.id) for each in wanted)]

    def _document(self, hit: _Hit, shards: int) -> Found | None:
        """The document with its own bytes; requested in a body, since a proxy may decode a path."""
        path = index_paths([hit.index])[0]
        answer = self._client.call(
            "POST",
            f"/{path}/_search?{WHOLE}",
            body=msgspec.json.encode({"query": {"ids": {"values": [hit.id]}}, "size": _COPIES}),
            right=_RIGHT,
        )
        body: bytes | None
        try:
            hits = decode(answer.body, _Answer).hits.hits
        except UNREADABLE:  # it is no JSON that can be read
            body = fetch_source(self._client, hit.index, hit.id, type=hit.type, routing=hit.routing)
        else:
            self._client.check_searched(answer, path, shards=shards, size=_COPIES)
            body = next((bytes(each.source) for each in hits if (each.id, each.routing) == (hit.id, hit.routing)), None)
        if body is None:
            raise Incomplete(f"{self._client.location}: {hit.id} was found in {hit.index}, and then it wasn't")
        return read_document(hit.id, body.strip(), Form.ELASTICSEARCH, index=hit.index)

    def newest(self, selection: Selection, limit: int, reader: Reader) -> Iterator[Document]:
        """By search, page after page; where that doesn't lead far enough, by reading."""
        found: list[Document] = []
        indices, closed = self._indices(selection)
        for path, shards in paths_of(indices):
            of_path = self._newest(path, shards, selection, limit)
            if of_path is None:
                yield from newest_by_reading(reader, selection, limit)
                return
            found += of_path
        found.sort(key=lambda document: (document.start_ms, document.id), reverse=True)
        yield from found[:limit]
        self._check_seen(selection, closed)

    def _newest(self, path: str, shards: int, selection: Selection, limit: int) -> list[Document] | None:
        """The newest in some indices; None where a search can't tell."""
        found: list[Document] = []
        asked = {
            "query": _query(selection),
            "sort": [{"start": {"order": "desc", "unmapped_type": "long"}}],
            "size": _PAGE,
        }
        for first in range(0, _WINDOW, _PAGE):
            answer = self._client.call(
                "POST",
                f"/{path}/_search?{WHOLE}",
                body=msgspec.json.encode({**asked, "from": first}),
                accept=(400,),  # `start` is mapped as something that can't be sorted
                right=_RIGHT,
            )
            try:
                hits = decode(answer.body, _Answer).hits.hits if answer.status == 200 else None
            except UNREADABLE:
                hits = None
            if hits is None:
                return None
            self._client.check_searched(answer, path, shards=shards, size=_PAGE, first=first)
            for hit in hits:
                document = read_document(
                    hit.id, bytes(hit.source), Form.ELASTICSEARCH, index=hit.index, with_path=selection.needs_path
                )
                if isinstance(document, Document) and selection.takes(document):
                    found.append(document)
            if len(hits) < _PAGE or len(found) >= limit:
                return found[:limit]
        return None


def _query(selection: Selection) -> dict[str, Any]:
    """Something that takes all that is selected, and more: text is searched word by word."""
    filters: list[dict[str, Any]] = [{"exists": {"field": "activationId"}}]
    span = {"gte": selection.since_ms, "lt": selection.until_ms}
    given = {name: moment for name, moment in span.items() if moment is not None}
    if given:
        filters.append({"range": {"start": given}})
    words = [name.rpartition("/")[2] for name in selection.names]
    if words and not any(set(word) & set("*?[") for word in words):
        filters.append({"bool": {"should": [{"match": {"name": word}} for word in words]}})
    return {"bool": {"filter": filters}}
