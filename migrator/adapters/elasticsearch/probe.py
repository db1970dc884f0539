"""Looks into the indices behind a pattern: how many activations, from when to when, in which namespaces.

The client and the pattern enter, a `Probe` leaves. Only searches: nothing is refreshed, opened or changed.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import closing
from typing import Any

import msgspec

from migrator.activations.selection import Selection
from migrator.adapters.elasticsearch.client import Client
from migrator.adapters.elasticsearch.cluster_look import ACTIVATION, FOREIGN, Look, keyword_of
from migrator.adapters.elasticsearch.health import checks
from migrator.adapters.elasticsearch.indices import Index, resolve
from migrator.adapters.elasticsearch.names import expressions
from migrator.adapters.elasticsearch.rights import why_hidden
from migrator.adapters.elasticsearch.shards import paths_of
from migrator.adapters.questions import Finding, Probe, plausible_ms
from migrator.errors import AccessDenied

_TIMEOUT_S = 30
_NAMESPACES = 1_000  # named one by one


class _Bucket(msgspec.Struct, frozen=True):
    key: str
    doc_count: int


class _Terms(msgspec.Struct, frozen=True):
    buckets: tuple[_Bucket, ...] = ()
    sum_other_doc_count: int = 0


class _Number(msgspec.Struct, frozen=True):
    value: float | None = None


class _Filtered(msgspec.Struct, frozen=True):
    doc_count: int = 0


class _Dated(msgspec.Struct, frozen=True):
    """Those whose dates can be right."""

    first: _Number = _Number()
    last: _Number = _Number()


class _Aggregations(msgspec.Struct, frozen=True):
    activations: _Filtered
    foreign: _Filtered
    dated: _Dated = _Dated()
    misdated: _Filtered = _Filtered()
    namespaces: _Terms = _Terms()


class _Answer(msgspec.Struct, frozen=True):
    aggregations: _Aggregations


class _Totals(msgspec.Struct):
    """What searches added up to."""

    activations: int = 0
    foreign: int = 0  # that may stand in another form than Elasticsearch's
    first_ms: int | None = None
    last_ms: int | None = None
    misdated: int = 0
    namespaces: Counter[str] = msgspec.field(default_factory=Counter)
    is_complete: bool = True  # all namespaces are named

    def add(self, found: _Aggregations) -> None:
        self.activations += found.activations.doc_count
        self.foreign += found.foreign.doc_count
        for bucket in found.namespaces.buckets:
            self.namespaces[bucket.key] += bucket.doc_count
        self.is_complete = self.is_complete and not found.namespaces.sum_other_doc_count
        self.misdated += found.misdated.doc_count
        first, last = found.dated.first.value, found.dated.last.value
        if first is not None:
            first_ms = int(first)
            self.first_ms = first_ms if self.first_ms is None else min(self.first_ms, first_ms)
        if last is not None:
            last_ms = int(last)
            self.last_ms = last_ms if self.last_ms is None else max(self.last_ms, last_ms)


def probe(client: Client, pattern: str) -> Probe:
    """Look into the indices, with less patience than a copy has."""
    with closing(client.hasty(timeout_s=_TIMEOUT_S)) as hasty:
        server = hasty.server()
        indices, _ = resolve(hasty, expressions(pattern, Selection()))
        told = why_hidden(hasty, expressions(pattern, Selection()))
        if told and not indices:
            raise AccessDenied(f"{client.location}: {told}")
        look = Look.at(hasty, pattern, indices)
        totals = _totals(look)
        return Probe(
            product=server.product,
            version=server.version,
            places=tuple(look.place(name) for name in indices),
            activations=totals.activations,
            first_ms=totals.first_ms,
            last_ms=totals.last_ms,
            misdated=totals.misdated,
            namespaces=dict(sorted(totals.namespaces.items())),
            namespaces_complete=totals.is_complete,
            others=max(sum(look.documents.values()) - totals.activations, 0),
            findings=(
                *((_not_shown(told),) if told else ()),
                *checks(look, foreign=totals.foreign, namespaces=len(totals.namespaces), typed=client.typed),
            ),
        )


def _not_shown(told: str) -> Finding:
    return Finding(kind="not-shown", level="warning", text=told, advice="run detect again with such a login")


def _totals(look: Look) -> _Totals:
    """Ask all indices whose fields are mapped alike at once."""
    groups: dict[tuple[bool, str], dict[str, Index]] = {}
    for name, index in look.searched.items():
        fields = look.mappings[name]
        key = fields.get("start", {}).get("type") == "long", keyword_of(fields, "namespace")
        groups.setdefault(key, {})[name] = index
    totals = _Totals()
    earliest_ms, latest_ms = plausible_ms(int(time.time() * 1000))
    for (has_start, namespace), indices in groups.items():
        asked: dict[str, Any] = {
            "activations": {"filter": ACTIVATION},
            "foreign": {"filter": FOREIGN},
        }
        if has_start:
            times = {"first": {"min": {"field": "start"}}, "last": {"max": {"field": "start"}}}
            can_be = {"range": {"start": {"gte": earliest_ms, "lte": latest_ms}}}
            started = {"exists": {"field": "start"}}
            asked["dated"] = {"filter": can_be, "aggs": times}
            asked["misdated"] = {"filter": {"bool": {"must": [started], "must_not": [can_be]}}}
        if namespace:
            asked["namespaces"] = {"terms": {"field": namespace, "size": _NAMESPACES}}
        body = {"size": 0, "query": ACTIVATION, "aggs": asked}
        for path, shards in paths_of(indices):
            totals.add(look.client.search(path, _Answer, shards=shards, body=body).aggregations)
    return totals
