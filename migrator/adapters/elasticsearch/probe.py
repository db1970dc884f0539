"""Looks into the indices behind a pattern: how many activations, from when to when, in which namespaces.

The client and the pattern enter, a `Probe` leaves. Only searches: nothing is refreshed, opened or changed.
"""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from typing import Any

import msgspec

from migrator.activations.selection import Selection
from migrator.adapters.elasticsearch.client import Client
from migrator.adapters.elasticsearch.health import ACTIVATION, FOREIGN, Look, checks, keyword_of
from migrator.adapters.elasticsearch.indices import Index, expressions, resolve
from migrator.adapters.elasticsearch.rights import why_hidden
from migrator.adapters.elasticsearch.shards import paths_of
from migrator.adapters.questions import Finding, Probe
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


class _Aggregations(msgspec.Struct, frozen=True):
    activations: _Filtered
    foreign: _Filtered
    first: _Number = _Number()
    last: _Number = _Number()
    namespaces: _Terms = _Terms()


class _Answer(msgspec.Struct, frozen=True):
    aggregations: _Aggregations


class _Totals(msgspec.Struct):
    """What searches added up to."""

    activations: int = 0
    foreign: int = 0  # that may stand in another form than Elasticsearch's
    first_ms: int | None = None
    last_ms: int | None = None
    namespaces: Counter[str] = msgspec.field(default_factory=Counter)
    is_complete: bool = True  # all namespaces are named

    def add(self, found: _Aggregations) -> None:
        self.activations += found.activations.doc_count
        self.foreign += found.foreign.doc_count
        for bucket in found.namespaces.buckets:
            self.namespaces[bucket.key] += bucket.doc_count
        self.is_complete = self.is_complete and not found.namespaces.sum_other_doc_count
        if found.first.value is not None:
            first_ms = int(found.first.value)
            self.first_ms = first_ms if self.first_ms is None else min(self.first_ms, first_ms)
        if found.last.value is not None:
            last_ms = int(found.last.value)
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
    for (has_start, namespace), indices in groups.items():
        asked: dict[str, Any] = {
            "activations": {"filter": ACTIVATION},
            "foreign": {"filter": FOREIGN},
        }
        if has_start:
            asked["first"] = {"min": {"field": "start"}}
            asked["last"] = {"max": {"field": "start"}}
        if namespace:
            asked["namespaces"] = {"terms": {"field": namespace, "size": _NAMESPACES}}
        body = {"size": 0, "query": ACTIVATION, "aggs": asked}
        for path, shards in paths_of(indices):
            totals.add(look.client.search(path, _Answer, shards=shards, body=body).aggregations)
    return totals
