"""Documents by their ids, in whichever index behind the pattern they stand.

Ids enter, hits with the bytes of `_source` leave. Indices are found by a search for the ids alone, so that a document
is also found in another index than OpenWhisk's rule gives; the bytes come by `_mget`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from migrator.activations.document import Form
from migrator.activations.selection import Selection
from migrator.adapters.base import Batch
from migrator.adapters.elasticsearch.answers import Shards, check_shards
from migrator.adapters.elasticsearch.client import WHOLE, Cause, Client, index_paths, printable_path
from migrator.adapters.elasticsearch.counting import Total, exact, names_index
from migrator.adapters.elasticsearch.hits import take
from migrator.adapters.shared.http import TooLarge, Undecodable
from migrator.adapters.shared.paging import Pace, Page, PageSize
from migrator.errors import Unavailable
from migrator.text.decoding import UNREADABLE, decoder
from migrator.text.units import counted

_RIGHT = "the index privilege read"
_IDS = 500  # looked for with one search
_PLACES = 2  # requested, for each id; where some have more, fewer ids are requested
_MOST_PLACES = 1_000  # of one id
WINDOW_LIMIT = re.compile(r"(?:Result window|Batch size) is too large.* less than or equal to: \[(\d+)\]")
"""Source: the refusals of `index.max_result_window`, of a search and of a scroll, the same on all versions."""


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where a document stands."""

    index: str
    type: str  # named by servers of version 6 and 7
    id: str
    routing: str | None = None  # without which a document that was stored with one isn't found by its id


class _Located(msgspec.Struct, gc=False):
    index: str = msgspec.field(name="_index")
    id: str = msgspec.field(name="_id")
    type: str = msgspec.field(name="_type", default="_doc")
    routing: str | None = msgspec.field(name="_routing", default=None)


class _Hits(msgspec.Struct):
    total: int | Total
    hits: list[_Located]


class _Search(msgspec.Struct):
    timed_out: bool
    hits: _Hits
    shards: Shards = msgspec.field(name="_shards")


class _Got(msgspec.Struct, gc=False):
    index: str = msgspec.field(name="_index")
    id: str = msgspec.field(name="_id")
    found: bool = False
    source: msgspec.Raw = msgspec.field(name="_source", default=msgspec.Raw(b""))
    error: Cause | None = None


class _GotAll(msgspec.Struct):
    docs: list[_Got]


_got_all = decoder(_GotAll)


class _Fetched(NamedTuple):
    """What stands under some of the ids."""

    rows: int  # of the ids
    places: Sequence[Place]
    sources: Sequence[bytes | None]
    size_bytes: int


def fetch_pages(
    client: Client,
    indices: Collection[str],
    ids: Sequence[str],
    done: int,
    selection: Selection,
    page_size: PageSize,
) -> Iterator[Batch]:
    """The documents of ids, in whichever of some indices that were refreshed; a position is how many ids are done."""
    pace = Pace(page_size)
    while done < len(ids):
        left = ids[done:]

        def fetch(asked: int, bound_bytes: int | None, left: Sequence[str] = left) -> _Fetched:
            places = list(locate(client, indices, left[:asked]))
            sources, size_bytes = get(client, places, bound_bytes=bound_bytes) if places else ([], 0)
            return _Fetched(min(asked, len(left)), places, sources, size_bytes)

        def alone(left: Sequence[str] = left) -> _Fetched:
            places = list(locate(client, indices, left[:1]))
            sources = [
                fetch_source(client, each.index, each.id, type=each.type, routing=each.routing) for each in places
            ]
            return _Fetched(1, places, sources, sum(len(source or b"") for source in sources))

        found = pace.next(fetch, alone, left=len(left))
        page = Page(Form.ELASTICSEARCH, selection)
        for place, source in zip(found.places, found.sources, strict=True):
            if source is not None:
                take(page, place.index, place.id, source)
        done += found.rows
        yield page.batch(done, size_bytes=found.size_bytes)


def locate(client: Client, indices: Collection[str], ids: Sequence[str]) -> Iterator[Place]:
    """Where the documents of these ids stand, among indices that were refreshed, whatever their routing."""
    among = frozenset(indices)
    for path in index_paths(sorted(among)):
        for first in range(0, len(ids), _IDS):
            yield from _locate(client, path, list(ids[first : first + _IDS]), among)


def _locate(client: Client, path: str, ids: list[str], among: frozenset[str]) -> Iterator[Place]:
    try:
        yield from search_ids(client, path, ids, among)
    except TooLarge:
        if len(ids) == 1:
            raise
        half = len(ids) // 2
        yield from _locate(client, path, ids[:half], among)
        yield from _locate(client, path, ids[half:], among)


def search_ids(
    client: Client, path: str, ids: Sequence[str], among: frozenset[str], *, query: Any = None, shard: int | None = None
) -> list[Place]:
    """The places that a search for ids gives, of a further query and of a single shard if any are given.

    Raises `TooLarge` where fewer ids must be requested at once: the request is too large for a proxy, or there are
    more hits than the index gives.
    """
    size = _PLACES * len(ids) if len(ids) > 1 else _MOST_PLACES
    wanted = [{"ids": {"values": list(ids)}}, *([query] if query else [])]
    body = {"query": {"bool": {"filter": wanted}}, "size": size, "_source": False, "sort": ["_doc"]}
    where = f"/{path}/_search"
    try:
        answer = client.call(
            "POST",
            f"{where}?{WHOLE}" + ("" if shard is None else f"&preference=_shards:{shard}"),
            body=msgspec.json.encode({**body, "track_total_hits": True}),
            splits=True,
            right=_RIGHT,
        )
    except TooLarge as error:
        if len(ids) == 1:
            raise Unavailable(str(error)) from error
        raise
    except Unavailable as error:
        if len(ids) == 1 or WINDOW_LIMIT.search(str(error)) is None:
            raise
        raise TooLarge(str(error)) from error
    found = client.understand(answer, _Search, where)
    expected = 1 if shard is not None else max(1, found.shards.total)
    searched = f"{client.location}: a search for ids in {printable_path(path)}"
    check_shards(searched, found.shards, expected=expected, timed_out=found.timed_out)
    total, hits = exact(client, where, found.hits.total), found.hits.hits
    if total > size and len(ids) > 1:
        raise TooLarge(f"{client.location}: {where}: {counted(total, 'place')} of {counted(len(ids), 'id')}")
    asked = frozenset(ids)
    places = [Place(hit.index, hit.type, hit.id, hit.routing) for hit in hits]
    if len(places) != total:
        places_of = f"{counted(len(places), 'place')} of {counted(len(ids), 'id')}"
        raise client.malformed_answer(where, f"{places_of}, of {total} that it counts")
    if len({(place.index, place.id, place.routing) for place in places}) < total:
        raise client.malformed_answer(where, "a place twice")
    if strange := next((place for place in places if place.id not in asked or place.index not in among), None):
        raise client.malformed_answer(where, f"{strange.id} in {strange.index}, which wasn't asked for")
    return places


def get(client: Client, places: Sequence[Place], *, bound_bytes: int | None) -> tuple[list[bytes | None], int]:
    """The `_source` of each place, None where nothing is there any more; and the size of the answer.

    Raises `TooLarge` while an answer for several grows beyond its bound, or the request itself is refused as too
    large, and `Undecodable` where one of them may be no JSON.
    """
    sources, size_bytes = _get(client, places, bound_bytes=bound_bytes)
    if gone := [at for at, source in enumerate(sources) if source is None]:
        # The places were reported a moment ago; that they are empty is believed when it is said twice.
        again, more_bytes = _get(client, [places[at] for at in gone], bound_bytes=bound_bytes)
        size_bytes += more_bytes
        for at, source in zip(gone, again, strict=True):
            sources[at] = source
    return sources, size_bytes


def _get(client: Client, places: Sequence[Place], *, bound_bytes: int | None) -> tuple[list[bytes | None], int]:
    try:
        body = _ask(client, places, bound_bytes=bound_bytes)
    except Unavailable as error:
        if not names_index(error) or len({place.index for place in places}) == 1:
            raise
        return _get_by_index(client, places, bound_bytes=bound_bytes)
    try:
        docs = _got_all.decode(body).docs
    except UNREADABLE as error:
        raise Undecodable(str(error)) from error
    if [(got.index, got.id) for got in docs] != [(place.index, place.id) for place in places]:
        raise client.malformed_answer("/_mget", f"not the {counted(len(places), 'document')} asked for, in their order")
    for place, got in zip(places, docs, strict=True):
        if got.error is not None and got.error.type != "index_not_found_exception":
            raise Unavailable(f"{client.location}: index {place.index}: {got.error}")
    return [bytes(got.source) if got.found else None for got in docs], len(body)


def _get_by_index(
    client: Client, places: Sequence[Place], *, bound_bytes: int | None
) -> tuple[list[bytes | None], int]:
    sources: list[bytes | None] = [None] * len(places)
    size_bytes = 0
    for positions in positions_by(place.index for place in places).values():
        found, more_bytes = _get(client, [places[at] for at in positions], bound_bytes=bound_bytes)
        size_bytes += more_bytes
        for at, source in zip(positions, found, strict=True):
            sources[at] = source
    return sources, size_bytes


def positions_by(indices: Iterable[str]) -> dict[str, list[int]]:
    """Where in a sequence each index stands."""
    positions: dict[str, list[int]] = {}
    for at, index in enumerate(indices):
        positions.setdefault(index, []).append(at)
    return positions


def _ask(client: Client, places: Sequence[Place], *, bound_bytes: int | None) -> bytes:
    try:
        return _ask_at(client, places, names_indices=True, bound_bytes=bound_bytes)
    except Unavailable as error:
        if not names_index(error) or len({place.index for place in places}) > 1:
            raise
    return _ask_at(client, places, names_indices=False, bound_bytes=bound_bytes)


def _ask_at(client: Client, places: Sequence[Place], *, names_indices: bool, bound_bytes: int | None) -> bytes:
    path, body = multi_get(client, places, names_indices=names_indices)
    answer = client.call("POST", path, body=body, bound_bytes=bound_bytes, splits=len(places) > 1, right=_RIGHT)
    return answer.body


def multi_get(client: Client, places: Sequence[Place], *, names_indices: bool) -> tuple[str, bytes]:
    """Path and body of the request for documents; without the names of indices all must be in the same."""
    typed = client.server().is_typed
    wanted = [
        ({"_index": place.index} if names_indices else {})
        | {"_id": place.id}
        | ({"_type": place.type} if typed else {})
        | ({"routing": place.routing} if place.routing is not None else {})
        for place in places
    ]
    path = "/_mget" if names_indices else f"/{index_paths([places[0].index])[0]}/_mget"
    return path, msgspec.json.encode({"docs": wanted})


def fetch_source(
    client: Client, index: str, id: str, *, type: str = "_doc", routing: str | None = None
) -> bytes | None:
    """The bytes of one document as they were stored, whatever they are; None where it isn't there.

    Asked in the body: an id holds a slash, and behind a proxy that decodes `%2F` in a path nothing is found.
    """
    place = Place(index, type, id, routing)
    try:
        ((source,), _) = get(client, [place], bound_bytes=None)
    except Undecodable:
        body = _ask(client, [place], bound_bytes=None)
    else:
        return source
    # Quotes inside a string are escaped, so the first `"_source":` is the name, and it is the last of its document.
    head, _, tail = body.partition(b'"_source":')
    source, end, _ = tail.rpartition(b"}]}")
    if not end or b'"_id":' + msgspec.json.encode(id) not in head:
        raise client.malformed_answer("/_mget", "the answer was cut")
    return source
