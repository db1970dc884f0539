"""Why an activation may not be in the indices of a pattern, as far as the server tells.

The client, the pattern and the wanted ids enter, findings leave. Only looks; nothing is refreshed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any
from urllib.parse import quote

import msgspec

from migrator.activations.forms import index_name, instant
from migrator.activations.selection import Selection
from migrator.adapters.elasticsearch.client import Client, index_paths
from migrator.adapters.elasticsearch.indices import Index, resolve
from migrator.adapters.elasticsearch.names import expressions, name_refusal
from migrator.adapters.elasticsearch.openwhisk import limitation
from migrator.adapters.elasticsearch.shards import all_up, paths_of
from migrator.adapters.questions import Finding, WantedId, plausible_ms
from migrator.errors import AccessDenied, Incomplete, RequestRefused

_TIMEOUT_S = 30
_RIGHT = "the index privilege view_index_metadata"
_REFRESH = "index.refresh_interval"
_POLICY = "index.lifecycle.name"
_MORE = 3  # policies and indices by name


class _Phase(msgspec.Struct, frozen=True):
    min_age: str = "0ms"


class _Phases(msgspec.Struct, frozen=True):
    delete: _Phase | None = None


class _Policy(msgspec.Struct, frozen=True):
    phases: _Phases = _Phases()


class _Named(msgspec.Struct, frozen=True):
    policy: _Policy = _Policy()


class _Number(msgspec.Struct, frozen=True):
    value: float | None = None


class _Aggregations(msgspec.Struct, frozen=True):
    first: _Number


class _Answer(msgspec.Struct, frozen=True):
    aggregations: _Aggregations


def reasons(client: Client, pattern: str, wanted: Sequence[WantedId]) -> tuple[Finding, ...]:
    """One finding for each possible reason."""
    with closing(client.hasty(timeout_s=_TIMEOUT_S)) as hasty:
        indices, _ = resolve(hasty, expressions(pattern, Selection()))
        found = [*_names(pattern, indices, wanted)]
        if sentence := limitation(hasty.server()):
            found.append(Finding(kind="too-new", level="note", text=sentence, advice="look with `migrator find`"))
        try:
            settings = _settings(hasty, indices)
            found += [*_refresh(settings), *_lifecycle(hasty, settings)]
        except AccessDenied as denied:
            found.append(
                Finding(kind="not-looked-at", level="note", text=f"not checked: {denied}", advice="grant it, or ask")
            )
        found += _oldest(hasty, indices)
        return tuple(found)


def _names(pattern: str, indices: Mapping[str, Index], wanted: Sequence[WantedId]) -> Iterator[Finding]:
    for namespace in sorted({each.namespace for each in wanted if each.namespace}):
        name = index_name(pattern, namespace)
        if refusal := name_refusal(name):
            yield Finding(
                kind="namespace-refused",
                level="warning",
                text=f"namespace {namespace!r}: {refusal}; OpenWhisk can't store its activations here",
                advice="rename the namespace, or use an index pattern without %s",
            )
        elif name not in indices and not any(name in index.behind for index in indices.values()):
            yield Finding(
                kind="no-index",
                level="note",
                text=f"there is no index {name}: no activation of namespace {namespace} was stored here, or its index "
                "was deleted",
                advice="compare the name of the namespace with `wsk namespace list`, and look in your archives",
            )


def _settings(client: Client, indices: Mapping[str, Index]) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for path in index_paths(tuple(indices)):
        query = "flat_settings=true&ignore_unavailable=true"
        answer = client.ask("GET", f"/{path}/_settings?{query}", dict[str, dict[str, Any]], right=_RIGHT)
        found |= {name: each.get("settings", {}) for name, each in answer.items()}
    return found


def _refresh(settings: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    intervals = sorted({str(each.get(_REFRESH, "1s")) for each in settings.values()}) or ["1s"]
    never = [name for name, each in settings.items() if str(each.get(_REFRESH, "1s")).startswith("-")]
    if never:
        yield Finding(
            kind="refresh",
            level="warning",
            text=f"index {never[0]} isn't refreshed by itself ({_REFRESH} is -1): what was stored lately isn't found",
            advice=f"refresh it, with POST /{never[0]}/_refresh, and look again",
        )
    else:
        yield Finding(
            kind="refresh",
            level="note",
            text=f"what was stored less than {' or '.join(intervals)} ago isn't found yet ({_REFRESH})",
            advice="look again",
        )


def _lifecycle(client: Client, settings: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    """Policies that delete indices by their age."""
    policies: dict[str, str] = {str(each[_POLICY]): name for name, each in settings.items() if each.get(_POLICY)}
    for policy, index in sorted(policies.items())[:_MORE]:
        path = f"/_ilm/policy/{quote(policy, safe='')}"
        answer = client.call("GET", path, accept=(400, 404, 405), right="the cluster privilege read_ilm")
        age = ""
        if answer.status == 200:
            phase = client.understand(answer, dict[str, _Named], path).get(policy, _Named()).policy.phases.delete
            if phase is None:
                continue
            age = f" {phase.min_age} after it was created or rolled over"
        yield Finding(
            kind="time-to-live",
            level="warning",
            text=f"the lifecycle policy {policy} deletes indices such as {index} with all that is in them{age}",
            advice="what it deleted is only in archives and in the store it was copied from",
        )


def _oldest(client: Client, indices: Mapping[str, Index]) -> Iterator[Finding]:
    """By the smallest start that can be right; nothing where the indices can't be searched that way."""
    earliest_ms, latest_ms = plausible_ms(int(time.time() * 1000))
    body = {
        "size": 0,
        "query": {"range": {"start": {"gte": earliest_ms, "lte": latest_ms}}},
        "aggs": {"first": {"min": {"field": "start"}}},
    }
    found: list[float] = []
    try:
        for path, shards in paths_of(all_up(client, indices)[0]):
            first = client.search(path, _Answer, shards=shards, body=body).aggregations.first.value
            found += [] if first is None else [first]
    except (AccessDenied, Incomplete, RequestRefused):
        return
    if found:
        yield Finding(
            kind="retention",
            level="note",
            text=f"the oldest activation here started {instant(int(min(found)))}: one from before that was deleted, or "
            "was never here",
            advice="look in your archives, and in the store that OpenWhisk used before",
        )
