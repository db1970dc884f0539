"""Statistics of Elasticsearch by aggregation; sizes, which it can't add up, from documents drawn at random.

The client and the pattern enter, a `Volume` leaves; it counts nothing where fields aren't mapped so that they can be
counted. Only searches. The fields are those of OpenWhisk's dynamic mapping: text with `.keyword`, `start` as long.

Source: bounds of buckets by `search.max_buckets`, 10,000 in 7.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from migrator.activations.amounts import DAY_MS, Amounts, Sum
from migrator.activations.document import Document, Form, read_document
from migrator.activations.selection import Selection
from migrator.adapters.elasticsearch.client import WHOLE, Client, index_paths
from migrator.adapters.elasticsearch.cluster_look import ACTIVATION, Look, keyword_of
from migrator.adapters.elasticsearch.disks import disks
from migrator.adapters.elasticsearch.indices import Index, select
from migrator.adapters.elasticsearch.names import expressions
from migrator.adapters.elasticsearch.preflight import cluster_settings
from migrator.adapters.elasticsearch.rights import why_hidden
from migrator.adapters.elasticsearch.shards import paths_of
from migrator.adapters.questions import Room, Volume
from migrator.adapters.shared.http import TooLarge
from migrator.adapters.shared.room import FULL
from migrator.errors import AccessDenied, NotFound
from migrator.events.watching import Stop
from migrator.text.arguments import argument
from migrator.text.decoding import decode

_RIGHT = "the index privilege read"
_NAMESPACES = 1_000
_ACTIONS = 1_000
_SAMPLED_INDICES = 50
_DRAWN = 100  # documents of an index
_DRAWN_BYTES = 16_000_000
_CANDIDATES = 10  # for the largest


class _Count(msgspec.Struct, frozen=True):
    doc_count: int = 0


class _Bucket(msgspec.Struct, frozen=True):
    key: str | float
    doc_count: int
    errors: _Count = _Count()


class _Buckets(msgspec.Struct, frozen=True):
    buckets: tuple[_Bucket, ...] = ()
    sum_other_doc_count: int = 0


class _Number(msgspec.Struct, frozen=True):
    value: float | None = None


class _Aggregations(msgspec.Struct, frozen=True):
    errors: _Count
    indices: _Buckets
    namespaces: _Buckets
    actions: _Buckets
    days: _Buckets
    first: _Number
    last: _Number


class _Answer(msgspec.Struct, frozen=True):
    aggregations: _Aggregations


class _Hit(msgspec.Struct, frozen=True):
    id: str = msgspec.field(name="_id")
    index: str = msgspec.field(name="_index")
    source: msgspec.Raw = msgspec.field(name="_source", default=msgspec.Raw(b"{}"))


class _Hits(msgspec.Struct, frozen=True):
    hits: tuple[_Hit, ...] = ()


class _Found(msgspec.Struct, frozen=True):
    hits: _Hits


class _Fields(msgspec.Struct, frozen=True):
    """The fields by which the indices of a group can be counted."""

    namespace: str
    name: str
    path: str

    @classmethod
    def of(cls, mapping: Mapping[str, Any]) -> _Fields | None:
        found = cls(*(keyword_of(mapping, name) for name in ("namespace", "name", "path")))
        is_counted = found.namespace and found.name and found.path and mapping.get("start", {}).get("type") == "long"
        return found if is_counted else None


class _Counted:
    """What the aggregations came to."""

    def __init__(self) -> None:
        self.by_index: dict[str, int] = {}
        self.namespaces: dict[str, list[int]] = {}  # activations, errors
        self.actions: dict[str, list[int]] = {}
        self.days: dict[int, list[int]] = {}
        self.total = [0, 0]
        self.first_ms: int | None = None
        self.last_ms: int | None = None
        self.is_complete = True

    def add(self, found: _Aggregations) -> None:
        self.by_index |= {str(bucket.key): bucket.doc_count for bucket in found.indices.buckets}
        self.total[0] += sum(bucket.doc_count for bucket in found.indices.buckets)
        self.total[1] += found.errors.doc_count
        for into, buckets in ((self.namespaces, found.namespaces), (self.actions, found.actions)):
            for bucket in buckets.buckets:
                _add(into.setdefault(str(bucket.key), [0, 0]), bucket)
            self.is_complete = self.is_complete and not buckets.sum_other_doc_count
        for bucket in found.days.buckets:
            _add(self.days.setdefault(int(float(bucket.key)) // DAY_MS, [0, 0]), bucket)
        for moment in (found.first.value, found.last.value):
            if moment is not None:
                self.first_ms = int(moment) if self.first_ms is None else min(self.first_ms, int(moment))
                self.last_ms = int(moment) if self.last_ms is None else max(self.last_ms, int(moment))


def _add(to: list[int], bucket: _Bucket) -> None:
    to[0] += bucket.doc_count
    to[1] += bucket.errors.doc_count


def volume(client: Client, pattern: str, selection: Selection, *, exact: bool, stop: Stop) -> Volume:
    """Count what is selected, unless all of it is to be read. Raises `NotFound` where there is no index."""
    indices, _ = select(client, pattern, selection)
    told = why_hidden(client, expressions(pattern, selection))
    if not indices and told:
        raise AccessDenied(f"{client.location}: {told}")
    if not indices:
        raise NotFound(f"{client.location}: no index matches {', '.join(expressions(pattern, selection))}")
    look = Look.at(client, pattern, indices)
    found = None if exact else _aggregate(look, selection, stop=stop)
    notes: list[str | None] = []
    if found is not None:  # reading tells what it leaves out
        notes += [told, *(f"index {name} is closed and was skipped" for name in look.closed)]
        if not found.is_complete:
            notes.append("there are more namespaces or actions than can be listed; the rest isn't shown")
    rooms, refused = _rooms(client)
    return Volume(
        places=tuple(look.place(name) for name in look.documents),
        counted=found.amounts if found else None,
        counted_in=found.by_index if found else {},
        rooms=rooms,
        notes=tuple(filter(None, [*notes, refused])),
    )


class _Aggregated(msgspec.Struct, frozen=True):
    amounts: Amounts
    by_index: Mapping[str, int]  # activations that are selected
    is_complete: bool  # every namespace and action is distinguished


def _aggregate(look: Look, selection: Selection, *, stop: Stop) -> _Aggregated | None:
    """Count what is selected; None where that can only be told by reading."""
    groups: dict[_Fields, dict[str, Index]] = {}
    for name, index in look.searched.items():
        if not look.documents.get(name):
            continue  # nothing is mapped yet
        fields = _Fields.of(look.mappings[name])
        if fields is None or "[" in "".join((*selection.namespaces, *selection.names)):
            return None
        groups.setdefault(fields, {})[name] = index
    counted = _Counted()
    for fields, indices in groups.items():
        for path, shards in paths_of(indices):
            stop.sleep(0)
            body = _request(fields, selection, len(indices))
            counted.add(look.client.search(path, _Answer, shards=shards, body=body).aggregations)
    amounts = Amounts()
    queries = {name: _query(fields, selection) for fields, indices in groups.items() for name in indices}
    _draw(look, counted.by_index, queries, amounts, stop)
    return _Aggregated(_put_together(counted, amounts), counted.by_index, counted.is_complete)


def _request(fields: _Fields, selection: Selection, indices: int) -> dict[str, Any]:
    failed = {
        "bool": {
            "filter": [{"exists": {"field": "response.statusCode"}}],
            "must_not": [{"term": {"response.statusCode": 0}}],
        }
    }
    errors = {"errors": {"filter": failed}}
    return {
        "size": 0,
        "query": _query(fields, selection),
        "aggs": {
            **errors,
            "indices": {"terms": {"field": "_index", "size": max(indices, 1)}},
            "namespaces": {"terms": {"field": fields.namespace, "size": _NAMESPACES}, "aggs": errors},
            "actions": {"terms": {"field": fields.path, "size": _ACTIONS}, "aggs": errors},
            "days": {"histogram": {"field": "start", "interval": DAY_MS, "min_doc_count": 1}, "aggs": errors},
            "first": {"min": {"field": "start"}},
            "last": {"max": {"field": "start"}},
        },
    }


def _query(fields: _Fields, selection: Selection) -> dict[str, Any]:
    """Exactly what is selected."""
    filters: list[dict[str, Any]] = [ACTIVATION]
    span = {"gte": selection.since_ms, "lt": selection.until_ms}
    given = {name: moment for name, moment in span.items() if moment is not None}
    if given:
        filters.append({"range": {"start": given}})
    if selection.namespaces:
        filters.append(_any([_like(fields.namespace, name) for name in selection.namespaces]))
    if selection.names:
        wanted = []
        for name in selection.names:
            if "/" in name:
                wanted += [_like(fields.path, name), _like(fields.path, f"*/{name}")]
            else:
                wanted.append(_like(fields.name, name))
        filters.append(_any(wanted))
    return {"bool": {"filter": filters}}


def _any(queries: list[dict[str, Any]]) -> dict[str, Any]:
    return {"bool": {"should": queries, "minimum_should_match": 1}}


def _like(field: str, text: str) -> dict[str, Any]:
    if "*" in text or "?" in text:
        return {"wildcard": {field: text.replace("\\", "\\\\")}}
    return {"term": {field: text}}


def _draw(
    look: Look, by_index: Mapping[str, int], queries: Mapping[str, dict[str, Any]], amounts: Amounts, stop: Stop
) -> None:
    """Look into documents drawn from the largest indices, and into those with the largest results."""
    largest = sorted(by_index, key=lambda name: -by_index[name])[:_SAMPLED_INDICES]
    for name in largest:
        stop.sleep(0)
        body = {
            "size": _DRAWN,
            "query": {"function_score": {"query": queries[name], "random_score": {}}},
        }
        drawn = _documents(look, name, body)
        if drawn:
            amounts.take(drawn, weight=by_index[name] / len(drawn))
    for name in largest:
        stop.sleep(0)
        body = {
            "size": _CANDIDATES,
            "query": queries[name],
            "sort": [{"response.size": {"order": "desc", "unmapped_type": "long", "missing": "_last"}}],
        }
        amounts.rank(_documents(look, name, body))


def _documents(look: Look, index: str, body: Mapping[str, Any]) -> list[Document]:
    """The hits of a search; fewer where they are too large together, none where one of them can't be decoded."""
    size = body["size"]
    while size:
        path = index_paths([index])[0]
        sent = msgspec.json.encode({**body, "size": size})
        try:
            answer = look.client.call(
                "POST", f"/{path}/_search?{WHOLE}", body=sent, bound_bytes=_DRAWN_BYTES, right=_RIGHT
            )
            hits = decode(answer.body, _Found).hits.hits
        except (TooLarge, msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            size //= 4
            continue
        look.client.check_searched(answer, path, shards=look.searched[index].shards, size=size)
        read = [read_document(hit.id, bytes(hit.source), Form.ELASTICSEARCH, index=hit.index) for hit in hits]
        return [document for document in read if isinstance(document, Document)]
    return []


def _put_together(counted: _Counted, drawn: Amounts) -> Amounts:
    """The sums of what was drawn with the exact counts; sizes are counts times the mean of what was drawn."""
    mean_bytes = drawn.total.mean_bytes

    def size_of(number: int, like: Sum | None) -> float:
        return number * (like.mean_bytes if like else mean_bytes)

    for sums, numbers in ((drawn.namespaces, counted.namespaces), (drawn.actions, counted.actions)):
        like, sums.by_name = sums.by_name, {}
        for name, (activations, errors) in numbers.items():
            sums.of(name).add(activations, size_of(activations, like.get(name)), errors)
    drawn.days = {
        day: Sum(activations, activations * mean_bytes, errors) for day, (activations, errors) in counted.days.items()
    }
    activations, errors = counted.total
    share = activations / drawn.total.activations if drawn.total.activations else 0.0
    drawn.total = Sum(activations, activations * mean_bytes, errors)
    drawn.logs_bytes *= share
    drawn.results_bytes *= share
    drawn.first_ms, drawn.last_ms = counted.first_ms, counted.last_ms
    return drawn


def _rooms(client: Client) -> tuple[tuple[Room, ...], str | None]:
    """The disk of each node that has data, and why there is none where the login may not look."""
    try:
        settings = cluster_settings(client)
        found = tuple(
            Room(
                name=f"node {disk.node}",
                free_bytes=disk.free_bytes,
                room_bytes=disk.room_bytes,
                limit="the server makes indices read-only (flood stage)" if disk.room_bytes < disk.free_bytes else FULL,
            )
            for disk in disks(client, settings)
        )
    except AccessDenied as denied:
        return (), f"disks were not checked: {denied}; give what is free with {argument('disk_free')}"
    return found, None
