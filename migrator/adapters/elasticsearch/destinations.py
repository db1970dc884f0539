"""What stands behind the name of a namespace's index in a target, and whether documents keep their content there.

Names enter, a `Destination` for each leaves. A name may be an index, an alias for one or for several of which one is
written to, or nothing yet. Only looks, apart from a `_refresh`, without which a search doesn't see what is stored.

Source: seen on 6.7.2 and 8.19. `GET /NAME` names the concrete indices behind an alias or a data stream. A document
with custom routing lies in another shard than its id says: neither `create` nor `_mget` by id alone sees it there.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from typing import Any

import msgspec

from migrator.activations.forms import index_name
from migrator.adapters.elasticsearch import counting
from migrator.adapters.elasticsearch.client import Client, index_paths
from migrator.adapters.elasticsearch.indices import refresh
from migrator.adapters.elasticsearch.names import name_refusal
from migrator.errors import AccessDenied


class Address(msgspec.Struct, frozen=True):
    """Where a document is sent or stands: a concrete index, and the routing that it was stored with, if any.

    Never an alias: one that is rolled over meanwhile would store again what its indices hold already.
    """

    index: str
    routing: str | None = None


class Destination(msgspec.Struct, frozen=True):
    """Where the documents of a namespace go.

    `beside` are indices in which documents may stand that `create` wouldn't notice: those behind an alias for
    several, and one that holds documents with custom routing.
    """

    name: str
    address: Address
    uuids: Mapping[str, str] = {}  # of the concrete indices; empty while none is there
    beside: tuple[str, ...] = ()
    routed: int = 0  # documents with custom routing
    rejection: str | None = None  # why no server takes an index of this name
    obstacle: str | None = None  # why nothing can be stored there as it is set up, and how to end that


class _Alias(msgspec.Struct, frozen=True):
    is_write_index: bool | None = None
    index_routing: str | None = None


class _Source(msgspec.Struct, frozen=True):
    mode: str | None = None


class _MappingSettings(msgspec.Struct, frozen=True):
    source: _Source = _Source()


class _IndexSettings(msgspec.Struct, frozen=True):
    uuid: str
    default_pipeline: str = "_none"
    final_pipeline: str = "_none"
    mapping: _MappingSettings = _MappingSettings()
    mode: str = "standard"


class _Settings(msgspec.Struct, frozen=True):
    index: _IndexSettings


class Found(msgspec.Struct, frozen=True):
    """A concrete index as `GET /NAME` describes it."""

    settings: _Settings
    aliases: dict[str, _Alias] = {}
    mappings: dict[str, Any] = {}  # of 6.x below the document type
    data_stream: str | None = None


_SETTINGS = ("uuid", "default_pipeline", "final_pipeline", "mapping.source.mode", "mode")
_PATHS = "ignore_unavailable=true&filter_path=*.aliases,*.data_stream," + ",".join(
    [*(f"*.settings.index.{name}" for name in _SETTINGS), "*.mappings.*._routing,*.mappings.*._source"]
)
_UNTYPED = ",*.mappings._routing,*.mappings._source"


class Destinations:
    """The destinations of a pattern by namespace, each looked at when it is first needed.

    Looked at every time are those that aren't there yet, and those with an obstacle, which may have been removed. Used
    by several threads at once, of which one looks and the others wait for what it finds.
    """

    def __init__(self, client: Client, pattern: str) -> None:
        self._client = client
        self._pattern = pattern
        self._looking = threading.Lock()
        self._known: dict[str, Destination] = {}  # by namespace
        self._absent: set[str] = set()  # names behind which nothing stood when they were looked at
        self._places: dict[str, frozenset[str]] = {}  # by namespace: all indices that ever stood behind its name
        self._seen: frozenset[str] = frozenset()  # the indices behind the pattern

    def of(self, namespaces: Iterable[str]) -> dict[str, Destination]:
        """The destination of each namespace."""
        wanted = set(namespaces)
        found = self._known_among(wanted)
        if len(found) < len(wanted):
            with self._looking:
                found = self._known_among(wanted)
                found |= self._look(wanted - found.keys())
        return found

    def _known_among(self, namespaces: Set[str]) -> dict[str, Destination]:
        return {namespace: each for namespace in namespaces if (each := self._known.get(namespace)) is not None}

    def _look(self, namespaces: Set[str]) -> dict[str, Destination]:
        names = {namespace: index_name(self._pattern, namespace) for namespace in namespaces}
        looked_at = destinations(self._client, sorted(set(names.values())), created=self._absent) if names else {}
        found = {namespace: looked_at[name] for namespace, name in names.items()}
        for namespace, destination in found.items():
            self._places[namespace] = self._places.get(namespace, frozenset()) | destination.uuids.keys()
            if not destination.uuids:
                self._absent.add(destination.name)
            elif destination.obstacle is None:
                self._known[namespace] = destination
        return found

    def places(self, namespaces: Iterable[str]) -> frozenset[str]:
        """The indices in which documents of these namespaces were stored or found, those that are gone as well."""
        return frozenset(
            index
            for namespace in namespaces
            for index in (index_name(self._pattern, namespace), *self._places.get(namespace, ()))
        )

    def forget(self, namespace: str) -> None:
        """Look at it again the next time: an answer spoke of another index, or of other documents."""
        self._known.pop(namespace, None)

    def identities(self, now: Mapping[str, str]) -> dict[str, str]:
        """The uuids of the indices that documents go to, as of when they were first looked at.

        Those that aren't what they are `now` are forgotten, and aliases where an index has come: it may be behind one.
        """
        come = now.keys() - self._seen
        self._seen = frozenset(now)
        uuids: dict[str, str] = {}
        for namespace, destination in tuple(self._known.items()):
            uuids.update(destination.uuids)
            is_alias = destination.name not in destination.uuids
            if (come and is_alias) or any(now.get(name, uuid) != uuid for name, uuid in destination.uuids.items()):
                self.forget(namespace)
        return uuids


def destinations(client: Client, names: Sequence[str], *, created: Set[str] = frozenset()) -> dict[str, Destination]:
    """What stands behind each of these names; a request or two for all of them.

    `created` are names behind which nothing stood before this run wrote there, as OpenWhisk does: without a routing.
    """
    allowed = [name for name in names if name_refusal(name) is None]
    found = look(client, allowed)
    ours = {index for name in created & set(allowed) for index in behind_name(name, found)}
    routed = _count_routed(client, found.keys() - ours)
    return {name: _destination(name, found, routed) for name in names}


def look(client: Client, expressions: Sequence[str]) -> dict[str, Found]:
    """The concrete indices behind names, aliases, data streams and wildcards; what isn't there is left out."""
    found: dict[str, Found] = {}
    paths = _PATHS if client.server().is_typed else _PATHS + _UNTYPED
    for path in index_paths(expressions):
        answer = client.call("GET", f"/{path}?{paths}", accept=(404,), right="the index privilege view_index_metadata")
        if answer.status == 200:
            found |= client.understand(answer, dict[str, Found], f"/{path}")
    return found


def _count_routed(client: Client, found: Iterable[str]) -> dict[str, int]:
    """How many documents with custom routing stand in each index, where there are any.

    None for a login that may only write; the preflight tells which rights it lacks.
    """
    names = sorted(found)
    if not names:
        return {}
    # By default a server refreshes every second; the end of a run needs the right to, and names it.
    with suppress(AccessDenied):
        refresh(client, names, open_only=True)
    try:
        return counting.routed(client, names)
    except AccessDenied:
        return {}


def _destination(name: str, found: Mapping[str, Found], routed: Mapping[str, int]) -> Destination:
    if rejection := name_refusal(name):
        return Destination(name, Address(name), rejection=rejection)
    behind = behind_name(name, found)
    uuids = {index: each.settings.index.uuid for index, each in behind.items()}
    target, obstacle = _write_index(name, behind)
    obstacle = obstacle or next(obstacles(behind), None)
    count = sum(routed.get(index, 0) for index in behind)
    beside = tuple(sorted(behind)) if len(behind) > 1 or count else ()
    return Destination(name, Address(target), uuids=uuids, beside=beside, routed=count, obstacle=obstacle)


def behind_name(name: str, found: Mapping[str, Found]) -> dict[str, Found]:
    """The concrete indices that a name stands for."""
    if name in found:
        return {name: found[name]}
    return {index: each for index, each in found.items() if name in each.aliases or each.data_stream == name}


def _write_index(name: str, behind: Mapping[str, Found]) -> tuple[str, str | None]:
    """The index that takes what is written to a name, and what is in the way of that."""
    if not behind or name in behind:
        return name, None
    if any(each.data_stream == name for each in behind.values()):
        return name, (
            f"{name} is a data stream, which refuses the `index` operations that OpenWhisk sends; "
            "replace it with an index, or an alias for one"
        )
    aliases = {index: each.aliases[name] for index, each in behind.items()}
    if any(alias.index_routing for alias in aliases.values()):
        return name, f"alias {name} adds a routing to every document; remove index_routing from the alias"
    chosen = [index for index, alias in aliases.items() if alias.is_write_index]
    if not chosen and len(aliases) == 1:
        chosen = [index for index, alias in aliases.items() if alias.is_write_index is None]
    if len(chosen) != 1:
        return name, f"alias {name} refers to {', '.join(sorted(aliases))} and has no write index; set is_write_index"
    return chosen[0], None


def obstacles(behind: Mapping[str, Found]) -> Iterator[str]:
    """Why documents wouldn't be stored in these indices, or not as they are sent; one sentence each."""
    for name, each in behind.items():
        settings = each.settings.index
        if _part(each, "_routing").get("required"):
            yield f"index {name} requires a routing for every document (_routing.required), and OpenWhisk sends none"
        source = _part(each, "_source")
        cut = [f"_source.{part}" for part in ("includes", "excludes") if source.get(part)]
        if source.get("enabled") is False:
            cut.append("_source.enabled: false")
        mode = source.get("mode") or settings.mapping.source.mode
        if mode is None and settings.mode != "standard":
            mode = f"of index.mode {settings.mode}"
        if mode is not None and str(mode).lower() != "stored":
            cut.append(f"_source mode {mode}")
        if cut:
            yield (
                f"index {name} doesn't keep documents as they are sent ({', '.join(cut)}): parts would be lost; "
                "create it with another mapping"
            )
        for setting in ("default_pipeline", "final_pipeline"):
            pipeline = getattr(settings, setting)
            if pipeline != "_none":
                yield (
                    f"index {name} passes every document through the ingest pipeline {pipeline}, which may alter it; "
                    f'for the duration of the copy, PUT /{name}/_settings {{"index.{setting}": "_none"}}'
                )


def template_obstacles(name: str, content: Mapping[str, Any]) -> Iterator[str]:
    """What a template's content would bring into the way of documents in an index of this name."""
    flat = dict(_flat(content.get("settings") or {}))
    named = {setting: flat[f"index.{setting}"] for setting in _SETTINGS if f"index.{setting}" in flat}
    source = _Source(named.pop("mapping.source.mode", None))
    settings = _IndexSettings(**{"uuid": "", **named}, mapping=_MappingSettings(source))
    return obstacles({name: Found(_Settings(settings), mappings=content.get("mappings") or {})})


def _flat(settings: Mapping[str, Any], head: str = "") -> Iterator[tuple[str, str]]:
    """Settings by their full names, however they are nested or dotted."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{head}{name}.")
        elif value is not None:
            full = head + name
            yield full if full.startswith("index.") else f"index.{full}", str(value)


def _part(found: Found, name: str) -> dict[str, Any]:
    """A part of a mapping, which on 6.x stands below the document type."""
    for mapping in (found.mappings, *found.mappings.values()):
        part = mapping.get(name) if isinstance(mapping, dict) else None
        if isinstance(part, dict):
            return part
    return {}
