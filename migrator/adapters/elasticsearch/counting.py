"""What a server counts, shard by shard, without giving a document: what the pages of a reader are compared with.

Queries about shards enter, numbers leave. Many shards are asked with one request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from migrator.adapters.elasticsearch.answers import Shards, check_shards
from migrator.adapters.elasticsearch.client import Cause, Client, cause_of, index_paths
from migrator.adapters.shared.http import TooLarge
from migrator.errors import Unavailable
from migrator.text.units import counted

_SEARCHES = 200  # in one request
_RIGHT = "the index privilege read"


class ShardQuery(msgspec.Struct, frozen=True):
    """What is asked of one shard."""

    index: str
    shard: int
    query: dict[str, Any]


class Total(msgspec.Struct, frozen=True):
    """How many documents a search found, from version 7 on."""

    value: int
    relation: str = "eq"


class Told(msgspec.Struct, frozen=True):
    """What a shard answers: how many documents a query finds, and the highest sequence number among them."""

    documents: int
    highest: int | None


class _Count(msgspec.Struct):
    count: int


class _CountOfShards(_Count):
    shards: Shards = msgspec.field(name="_shards")


class _Hit(msgspec.Struct):
    sort: tuple[int]


class _Hits(msgspec.Struct):
    total: int | Total
    hits: list[_Hit]


class _Response(msgspec.Struct):
    timed_out: bool = False
    shards: Shards = msgspec.field(name="_shards", default=Shards())
    hits: _Hits | None = None
    error: Cause | None = None


class _Responses(msgspec.Struct):
    responses: list[_Response]


def names_index(refusal: object) -> bool:
    """Whether a server refused a request for naming indices in its body: they may be set up to want them in the path.

    Source: `rest.action.multi.allow_explicit_index: false`, for `_bulk`, `_mget` and `_msearch`.
    """
    return "explicit index in" in str(refusal)


def numbers(above: int, last: int | None = None) -> dict[str, Any]:
    """The documents of the sequence numbers (above, last]."""
    return {"range": {"_seq_no": {"gt": above} if last is None else {"gt": above, "lte": last}}}


def exact(client: Client, path: str, total: int | Total) -> int:
    """A total as a number; raises `Unavailable` where the server only says "or more"."""
    if isinstance(total, int):
        return total
    if total.relation != "eq":
        raise client.malformed_answer(path, f"a total of {total.value} or more where an exact one was asked for")
    return total.value


def count_in_shard(client: Client, asked: ShardQuery) -> int:
    """How many documents of a shard a query finds."""
    where = f"/{quote(asked.index, safe='')}/_count"
    path = f"{where}?preference=_shards:{asked.shard}"
    answer = client.call("POST", path, body=msgspec.json.encode({"query": asked.query}), right=_RIGHT)
    found = client.understand(answer, _CountOfShards, where)
    check_shards(f"{client.location}: {where} of shard {asked.shard}", found.shards, expected=1)
    return found.count


def ask_shards(client: Client, asked: Sequence[ShardQuery]) -> list[Told]:
    """What each shard answers, in the order of the queries."""
    told: list[Told] = []
    for first in range(0, len(asked), _SEARCHES):
        told += _ask_some(client, asked[first : first + _SEARCHES])
    return told


def _ask_some(client: Client, asked: Sequence[ShardQuery]) -> list[Told]:
    try:
        answer = client.call(
            "POST", "/_msearch", body=_lines(asked), ndjson=True, accept=(400,), splits=True, right=_RIGHT
        )
    except TooLarge as error:
        if len(asked) == 1:
            raise Unavailable(str(error)) from error
        half = len(asked) // 2
        return _ask_some(client, asked[:half]) + _ask_some(client, asked[half:])
    if answer.status == 400:
        if not names_index(refusal := cause_of(answer.body)):
            raise Unavailable(f"{client.location}: POST /_msearch: 400 {refusal}")
        return [_ask_alone(client, each) for each in asked]
    responses = client.understand(answer, _Responses, "/_msearch").responses
    if len(responses) != len(asked):
        answers = f"{counted(len(responses), 'answer')} to {counted(len(asked), 'search', 'searches')}"
        raise client.malformed_answer("/_msearch", answers)
    return [_parse_counts(client, each, response) for each, response in zip(asked, responses, strict=True)]


def _ask_alone(client: Client, asked: ShardQuery) -> Told:
    path = f"/{quote(asked.index, safe='')}/_search?preference=_shards:{asked.shard}&request_cache=false"
    return _parse_counts(client, asked, client.ask("POST", path, _Response, body=_body(asked), right=_RIGHT))


def _body(asked: ShardQuery) -> dict[str, Any]:
    order = [{"_seq_no": {"order": "desc"}}]
    return {"query": asked.query, "size": 1, "_source": False, "sort": order, "track_total_hits": True}


def _lines(asked: Sequence[ShardQuery]) -> bytes:
    lines: list[bytes] = []
    for each in asked:
        header = {"index": each.index, "preference": f"_shards:{each.shard}", "request_cache": False}
        lines += [msgspec.json.encode(header), msgspec.json.encode(_body(each))]
    return b"\n".join([*lines, b""])


def _parse_counts(client: Client, asked: ShardQuery, response: _Response) -> Told:
    which = f"{asked.index}[{asked.shard}]"
    if response.error is not None or response.hits is None:
        raise Unavailable(f"{client.location}: {which}: {response.error or 'a search without an answer'}")
    where = f"{client.location}: a count of {which}"
    check_shards(where, response.shards, expected=1, timed_out=response.timed_out)
    documents = exact(client, "/_msearch", response.hits.total)
    highest = response.hits.hits[0].sort[0] if response.hits.hits else None
    if bool(documents) != (highest is not None):
        found = f"{counted(documents, 'document')} in {which}"
        raise client.malformed_answer("/_msearch", f"{found}, of which it gives {highest}")
    return Told(documents, highest)


def highest_above(client: Client, checkpoints: Mapping[tuple[str, int], int]) -> dict[tuple[str, int], int]:
    """Of the shards that give a document above their checkpoint, the highest number; what is refreshed is seen."""
    keys = list(checkpoints)
    told = ask_shards(client, [ShardQuery(*key, numbers(checkpoints[key])) for key in keys])
    return {key: each.highest for key, each in zip(keys, told, strict=True) if each.highest is not None}


def without_numbers(client: Client, names: Iterable[str]) -> dict[str, int]:
    """The indices with documents that have no sequence number, and how many.

    Source: Elasticsearch 5 stored them so; an index that it created keeps them for life.
    """
    return _count_each(client, names, {"bool": {"must_not": [numbers(-1)]}})


def routed(client: Client, names: Iterable[str]) -> dict[str, int]:
    """The indices with documents that were stored with custom routing, and how many; what is gone is left out.

    Two of them may have one id, in two shards of an index.
    """
    return _count_each(client, names, {"exists": {"field": "_routing"}}, "?ignore_unavailable=true")


def _count_each(client: Client, names: Iterable[str], query: Mapping[str, Any], how: str = "") -> dict[str, int]:
    """The indices with documents that a query finds, and how many; one request where there are none."""

    def count(path: str) -> int:
        return client.ask("POST", f"/{path}/_count{how}", _Count, body={"query": query}, right=_RIGHT).count

    names = sorted(names)
    if not sum(count(path) for path in index_paths(names)):
        return {}
    found = {name: count(index_paths([name])[0]) for name in names}
    return {name: documents for name, documents in found.items() if documents}
