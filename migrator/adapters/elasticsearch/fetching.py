"""Documents by their ids, in whichever index behind the pattern they stand.

Ids enter, hits with the bytes of `_source` leave. Indices are found by a search for the ids alone, so that a document
is also found in another index than OpenWhisk's rule gives; the bytes come by `_mget`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from urllib.parse import quote

import msgspec

from migrator.adapters.elasticsearch.client import Cause, Client, index_paths
from migrator.errors import Unavailable

_IDS = 500  # looked for with one search
_MOST_HITS = 10_000  # of one search, by default of every server


class UndecodableError(Exception):
    """An answer arrived whole and isn't JSON that can be read; a document in it may be the cause."""


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where a document stands."""

    index: str
    type: str  # named by servers of version 6 and 7
    id: str


class _Located(msgspec.Struct, gc=False):
    index: str = msgspec.field(name="_index")
    id: str = msgspec.field(name="_id")
    type: str = msgspec.field(name="_type", default="_doc")


class _Hits(msgspec.Struct):
    hits: list[_Located]


class _Shards(msgspec.Struct):
    total: int
    successful: int


class _Search(msgspec.Struct):
    timed_out: bool
    shards: _Shards = msgspec.field(name="_shards")
    hits: _Hits


class _Got(msgspec.Struct, gc=False):
    found: bool = False
    source: msgspec.Raw = msgspec.field(name="_source", default=msgspec.Raw(b""))
    error: Cause | None = None


class _GotAll(msgspec.Struct):
    docs: list[_Got]


_got_all = msgspec.json.Decoder(_GotAll)


def locate(client: Client, indices: Collection[str], ids: Sequence[str]) -> Iterator[Place]:
    """Where the documents of these ids stand, among indices that were refreshed."""
    for path in index_paths(sorted(indices)):
        for first in range(0, len(ids), _IDS):
            some = list(ids[first : first + _IDS])
            asked = {"query": {"ids": {"values": some}}, "size": _MOST_HITS, "_source": False, "sort": ["_doc"]}
            where = f"/{path}/_search?allow_partial_search_results=false&request_cache=false"
            found = client.ask("POST", where, _Search, body=asked, right="the index privilege read")
            if found.timed_out or found.shards.total != found.shards.successful:
                raise Unavailable(f"{client.location}: a search for ids in {path} is incomplete")
            if len(found.hits.hits) == _MOST_HITS:
                raise client.garbled(where, f"{len(some)} ids stand in {_MOST_HITS} places or more")
            yield from (Place(hit.index, hit.type, hit.id) for hit in found.hits.hits)


def get(client: Client, places: Sequence[Place], *, bound_bytes: int | None) -> tuple[list[bytes | None], int]:
    """The `_source` of each place, None where nothing is there any more; and the size of the answer.

    Raises `TooLarge` while an answer for several grows beyond its bound, `UndecodableError` where one of them may be
    no JSON.
    """
    typed = client.server().is_typed
    wanted = [{"_index": place.index, "_id": place.id} | ({"_type": place.type} if typed else {}) for place in places]
    answer = client.call(
        "POST",
        "/_mget",
        body=msgspec.json.encode({"docs": wanted}),
        bound_bytes=bound_bytes,
        right="the index privilege read",
    )
    try:
        docs = _got_all.decode(answer.body).docs
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise UndecodableError(str(error)) from error
    if len(docs) != len(places):
        raise client.garbled("/_mget", f"{len(docs)} documents where {len(places)} were asked for")
    for place, got in zip(places, docs, strict=True):
        if got.error is not None and got.error.type != "index_not_found_exception":
            raise Unavailable(f"{client.location}: index {place.index}: {got.error}")
    return [bytes(got.source) if got.found else None for got in docs], len(answer.body)


def fetch_source(
    client: Client, index: str, id: str, *, type: str = "_doc", routing: str | None = None
) -> bytes | None:
    """The bytes of one document as they were stored, by themselves; None where it isn't there."""
    index, id = quote(index, safe=""), quote(id, safe="")
    typed = client.server().is_typed
    path = f"/{index}/{quote(type, safe='')}/{id}/_source" if typed else f"/{index}/_source/{id}"
    path += "" if routing is None else f"?routing={quote(routing, safe='')}"
    answer = client.call("GET", path, accept=(404,), right="the index privilege read")
    return answer.body if answer.status == 200 else None
