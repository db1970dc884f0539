"""What will go wrong with a target, told before the first byte moves.

The names of namespaces enter, sentences leave. Only looks; what the login may not look at is said in a sentence too.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from migrator.activations.forms import index_name
from migrator.activations.selection import Selection
from migrator.adapters.elasticsearch.client import Client, index_paths
from migrator.adapters.elasticsearch.destinations import Found, destinations, look, template_obstacles
from migrator.adapters.elasticsearch.disks import disks
from migrator.adapters.elasticsearch.indices import Index, is_closed, resolve, shard_states
from migrator.adapters.elasticsearch.names import expressions, name_refusal
from migrator.adapters.elasticsearch.rights import missing_rights
from migrator.adapters.elasticsearch.template import TemplateOptions, existing_differs
from migrator.errors import AccessDenied, UsageError
from migrator.text.arguments import argument
from migrator.text.units import counted, human_bytes


class _Target(msgspec.Struct, frozen=True):
    """What the checks look at."""

    client: Client
    pattern: str
    new: tuple[str, ...]  # indices that will be created, as far as they are known
    there: Mapping[str, Index]  # indices that will be written to, or may be
    settings: Mapping[str, str]  # of the cluster, by their full names
    template: TemplateOptions | None


_TEXT = ("activationId", "namespace", "name", "subject", "path", "version", "logs", "cause", "entityType")
FIELD_TYPES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(_TEXT, ("text", "keyword", "wildcard", "match_only_text")),
    **dict.fromkeys(("start", "end", "updated", "duration"), ("long",)),
    "@timestamp": ("date", "date_nanos"),
    "publish": ("boolean",),
    "annotations": ("object", "flattened", "flat_object"),
    "response": ("object",),
}
"""Types of the top-level fields under which OpenWhisk's documents are taken and its queries work."""


def findings(
    client: Client, pattern: str, namespaces: Sequence[str], template: TemplateOptions | None
) -> tuple[str, ...]:
    """One sentence for each thing that will go wrong; empty where all is well."""
    names = {namespace: index_name(pattern, namespace) for namespace in namespaces}
    found = [
        f"namespace {namespace!r}: {refusal}; its activations will be rejected, as OpenWhisk itself can't store them"
        for namespace, name in names.items()
        if (refusal := name_refusal(name))
    ]
    wanted = tuple(sorted({name for name in names.values() if name_refusal(name) is None}))
    try:
        found += _destinations(client, pattern, wanted)
    except AccessDenied as denied:
        found.append(f"not checked: {denied}")
    there, missing = resolve(client, wanted or expressions(pattern, Selection()))
    if "%s" not in pattern and not there:
        missing = (pattern,)
    target = _Target(client, pattern, missing if wanted else (), there, {}, template)
    try:
        target = msgspec.structs.replace(target, settings=cluster_settings(client))
    except AccessDenied as denied:
        found.append(f"{denied}; the limits of the cluster could not be checked")
    for check in _CHECKS:
        try:
            found += check(target)
        except AccessDenied as denied:
            found.append(f"not checked: {denied}")
    return tuple(found)


def _destinations(client: Client, pattern: str, wanted: Sequence[str]) -> Iterator[str]:
    """What stands behind the names, and what keeps documents from being stored there as they are sent.

    Raises `UsageError` where an index that is known to be written to has such an obstacle.
    """
    known = wanted or (() if "%s" in pattern else (pattern,))
    names = known or _names(pattern, look(client, expressions(pattern, Selection())))
    for destination in destinations(client, names).values():
        if destination.obstacle is not None:
            if known:
                raise UsageError(f"{client.location}: {destination.obstacle}")
            yield f"{destination.obstacle}; nothing can be stored there until then"
            continue
        if len(destination.uuids) > 1:
            yield (
                f"alias {destination.name} refers to {counted(len(destination.uuids), 'index', 'indices')}: what is in "
                f"any of them stays there, new documents are stored in {destination.address.index}"
            )
        if destination.routed:
            yield (
                f"{destination.name} holds {counted(destination.routed, 'document')} with custom routing, which "
                "OpenWhisk doesn't use; every shard is searched for them, so that none is stored twice"
            )


def _names(pattern: str, found: Mapping[str, Found]) -> list[str]:
    """The names of the pattern that stand for something: indices, aliases and data streams."""
    head, _, tail = pattern.partition("%s")
    names = {*found, *(name for each in found.values() for name in (*each.aliases, each.data_stream or ""))}
    return sorted(
        name for name in names if len(name) > len(head + tail) and name.startswith(head) and name.endswith(tail)
    )


def _template_stands(target: _Target) -> Iterator[str]:
    if target.template and (differs := existing_differs(target.client, target.pattern, target.template)):
        yield differs


class _Templates(msgspec.Struct):
    index_templates: list[dict[str, Any]] = []


def _template_obstacles(target: _Target) -> Iterator[str]:
    """What templates would make of indices that aren't there yet.

    The last word is that of the index when it is there, which the writer looks at before it counts a document.
    """
    client = target.client
    right = "the cluster privilege manage_index_templates"
    legacy = client.call("GET", "/_template", accept=(404, 405), right=right)
    found = client.understand(legacy, dict[str, dict[str, Any]], "/_template") if legacy.status == 200 else {}
    templates = [(name, each.get("index_patterns", []), each, False) for name, each in found.items()]
    if not client.server().is_typed:
        answer = client.call("GET", "/_index_template", accept=(400, 404, 405), right=right)
        if answer.status == 200:
            for each in client.understand(answer, _Templates, "/_index_template").index_templates:
                inner = each["index_template"]
                patterns, makes_stream = inner.get("index_patterns", []), "data_stream" in inner
                templates.append((each["name"], patterns, inner.get("template") or {}, makes_stream))
    for name, patterns, content, makes_stream in templates:
        matched = [new for new in target.new if any(fnmatch.fnmatchcase(new, pattern) for pattern in patterns)]
        if not matched:
            continue
        if makes_stream:
            yield f"template {name} would make a data stream of {_some(matched)}, which OpenWhisk can't write to"
        for obstacle in template_obstacles(_some(matched), content):
            yield f"template {name}: {obstacle}"


def _auto_creation(target: _Target) -> Iterator[str]:
    """Source: `AutoCreateIndex`: true, false, or patterns of which the first that matches decides."""
    rule = target.settings.get("action.auto_create_index", "true")
    refused = [name for name in target.new if not _auto_creates(rule, name)]
    if refused:
        yield (
            f"action.auto_create_index is {rule!r} and {_some(refused)} would have to be created; "
            "create them or allow their names"
        )


def _auto_creates(rule: str, name: str) -> bool:
    if rule.lower() in ("true", "false"):
        return rule.lower() == "true"
    for pattern in rule.strip("[]").split(","):
        pattern = pattern.strip()  # noqa: PLW2901  the same pattern without its blanks
        if fnmatch.fnmatchcase(name, pattern.lstrip("+-")):
            return not pattern.startswith("-")
    return False


class _Health(msgspec.Struct):
    active_shards: int
    initializing_shards: int
    unassigned_shards: int
    number_of_data_nodes: int


def _shards(target: _Target) -> Iterator[str]:
    if not target.new:
        return
    older = target.client.server().is_typed
    template = target.template or TemplateOptions()
    primaries = template.shards or (5 if older else 1)
    each = primaries * (1 + (1 if template.replicas is None else template.replicas))
    health = target.client.ask("GET", "/_cluster/health", _Health, right="the cluster privilege monitor")
    limit = int(target.settings.get("cluster.max_shards_per_node", 1000)) * health.number_of_data_nodes
    used = health.active_shards + health.initializing_shards + health.unassigned_shards
    needed = each * len(target.new)
    if used + needed > limit:
        yield (
            f"{counted(len(target.new), 'new index needs', 'new indices need')} {counted(needed, 'shard')}, {each:,} "
            f"each; {used:,} of the {limit:,} that cluster.max_shards_per_node allows are taken; raise it, or use "
            f"{argument('template')} with fewer {argument('shards')}"
        )


def _blocks(target: _Target) -> Iterator[str]:
    for name in ("cluster.blocks.read_only", "cluster.blocks.read_only_allow_delete"):
        if target.settings.get(name, "false") == "true":
            yield f"the cluster refuses writes: {name} is true"
    for path in index_paths(target.there):
        answer = target.client.ask(
            "GET",
            f"/{path}/_settings?flat_settings=true",
            dict[str, Any],
            right="the index privilege view_index_metadata",
        )
        for name, index in answer.items():
            settings = index["settings"]
            for block in ("read_only_allow_delete", "read_only", "write"):
                if str(settings.get(f"index.blocks.{block}", "false")) == "true":
                    yield (
                        f"index {name} takes no writes: index.blocks.{block} is true"
                        + (" (a full disk sets it); free space" if block == "read_only_allow_delete" else "")
                        + f'; clear it with PUT /{name}/_settings {{"index.blocks.{block}": null}}'
                    )
    states = shard_states(target.client, target.there)
    for name in target.there:
        if name not in states and is_closed(target.client, name):
            yield f"index {name} is closed and takes no writes; open it with POST /{name}/_open"


def _disks(target: _Target) -> Iterator[str]:
    for disk in disks(target.client, target.settings):
        if disk.stage == "flood_stage":
            yield (
                f"the disk of node {disk.node} has {human_bytes(disk.free_bytes)} left, beyond the flood "
                f"stage ({disk.watermark}): the server makes indices read-only; free space first"
            )


_KEEPS = {
    "lean": (
        ("text", "match_only_text"),
        "names are analysed text there, so OpenWhisk's lists also return activations of similar names, and a document "
        "takes the server up to twice the processor time and more than twice the disk",
    ),
    "searchable": (("keyword",), "logs and results can't be searched there"),
}
"""For each template: the type of `namespace` in an index that has the mapping of another one, and what that costs."""


def _mappings(target: _Target) -> Iterator[str]:
    typed = target.client.server().is_typed
    others: list[str] = []  # indices that have another mapping than that of the template
    types_of_others, cost = _KEEPS[target.template.mapping] if target.template else ((), "")
    for path in index_paths(target.there):
        # Of a mapping of a thousand fields only the types at the top, which objects don't have.
        found_paths = f"*.mappings.{'*.' if typed else ''}dynamic,*.mappings.{'*.' if typed else ''}properties.*.type"
        answer = target.client.ask(
            "GET",
            f"/{path}/_mapping?filter_path={found_paths}",
            dict[str, dict[str, Any]],
            right="the index privilege view_index_metadata",
        )
        for name, index in answer.items():
            mapping = index.get("mappings", {})
            if typed and mapping:
                if "_doc" not in mapping:
                    yield f"index {name} has documents of type {', '.join(mapping)}; only _doc can be written"
                    continue
                mapping = mapping["_doc"]
            if str(mapping.get("dynamic", "true")) == "strict":
                yield f"index {name} refuses documents with fields that its mapping doesn't name (dynamic: strict)"
            if mapping.get("properties", {}).get("namespace", {}).get("type") in types_of_others:
                others.append(name)
            for field, types in FIELD_TYPES.items():
                found = mapping.get("properties", {}).get(field)
                kind = found.get("type", "object") if found else "object"
                if found and kind not in types:
                    yield (
                        f"index {name} has mapped {field} as {kind}, not {types[0]}: documents will be refused or not "
                        f"found by OpenWhisk; reindex them under another mapping ({argument('template')})"
                    )
    if others and target.template:
        yield (
            f"the template applies to new indices only: {_some(others)} "
            f"{'keeps its mapping' if len(others) == 1 else 'keep their mappings'}, which isn't "
            f"{target.template.mapping}: {cost}; copy to another index pattern for the new mapping"
        )


_PRIVILEGES = ("index", "read", "monitor", "maintenance", "view_index_metadata")


def _rights(target: _Target) -> Iterator[str]:
    """Ask what the login may do; where there is no security, or OpenSearch's, there is nobody to ask."""
    version = tuple(int(part) for part in target.client.server().version.split(".")[:2])
    # From 7.9 on a right by itself, which is all that a bulk needs to make an index and to extend its mapping.
    creating = "auto_configure" if version >= (7, 9) else "create_index"
    indices = target.pattern.replace("%s", "*")
    if lacks := missing_rights(target.client, [indices], [creating, *_PRIVILEGES], cluster=["monitor"]):
        yield f"the login lacks the privileges {', '.join(lacks)} on {indices}"


_CHECKS: tuple[Callable[[_Target], Iterator[str]], ...] = (
    _rights,
    _template_stands,
    _template_obstacles,
    _auto_creation,
    _shards,
    _blocks,
    _disks,
    _mappings,
)


def cluster_settings(client: Client) -> dict[str, str]:
    """The settings `cluster.*` and `action.*` in force, by their full names; all of them would be over 12 kB."""
    answer = client.ask(
        "GET",
        "/_cluster/settings?include_defaults=true&flat_settings=true&filter_path=*.cluster*,*.action*",
        dict[str, dict[str, Any]],
        right="the cluster privilege monitor",
    )
    merged: dict[str, Any] = {}
    for level in ("defaults", "persistent", "transient"):  # the later ones win
        merged |= answer.get(level, {})
    return {name: ",".join(value) if isinstance(value, list) else str(value).lower() for name, value in merged.items()}


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
