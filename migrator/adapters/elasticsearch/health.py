"""What is wrong, or will be, with the indices of a pattern and the cluster that has them: a check a finding.

The client and the concrete indices enter, findings leave. Only looks; what the login may not look at is a finding too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from shlex import quote
from typing import Any

import msgspec

from migrator.activations.document import Form, read_document
from migrator.adapters.elasticsearch.client import index_paths
from migrator.adapters.elasticsearch.cluster_look import FOREIGN, Look, fields_of
from migrator.adapters.elasticsearch.disks import disks
from migrator.adapters.elasticsearch.openwhisk import limitation
from migrator.adapters.elasticsearch.preflight import FIELD_TYPES, cluster_settings
from migrator.adapters.elasticsearch.shards import paths_of
from migrator.adapters.questions import Finding
from migrator.errors import AccessDenied
from migrator.text.arguments import argument
from migrator.text.decoding import decode
from migrator.text.units import counted, human_bytes

_MANY_INDICES = 100
_SMALL_SHARD_BYTES = 1_000_000_000  # the usual advice is 10 to 50 GB
_SHARDS_TAKEN = 0.8  # of those that the cluster allows
_CHECKED_DOCUMENTS = 50
_LOOKED_AT = ("activationId", "namespace", "name", "start", "annotations", "response.result")


class _Hit(msgspec.Struct, frozen=True):
    id: str = msgspec.field(name="_id")
    index: str = msgspec.field(name="_index")
    source: msgspec.Raw = msgspec.field(name="_source", default=msgspec.Raw(b"{}"))


class _Hits(msgspec.Struct, frozen=True):
    hits: list[_Hit]


class _Found(msgspec.Struct, frozen=True):
    hits: _Hits


class _IndexHealth(msgspec.Struct, frozen=True):
    active_shards: int
    active_primary_shards: int


class _Health(msgspec.Struct, frozen=True):
    active_shards: int
    initializing_shards: int
    unassigned_shards: int
    number_of_data_nodes: int
    indices: dict[str, _IndexHealth] = {}


def _too_new(look: Look) -> Iterator[Finding]:
    if sentence := limitation(look.client.server()):
        yield Finding(
            kind="too-new",
            level="warning",
            text=sentence,
            advice="let OpenWhisk write to Elasticsearch 6.8, and copy from there to this one what should be kept",
        )


def checks(look: Look, *, foreign: int, namespaces: int, typed: str) -> tuple[Finding, ...]:
    """All findings. `foreign` documents may stand in another form; `typed` is how the store is named in a command."""
    found: list[Finding] = []
    every: tuple[Callable[[Look], Iterator[Finding]], ...] = (
        _too_new,
        partial(_one_index, namespaces=namespaces),
        partial(_couchdb_form, foreign=foreign, typed=typed),
        _closed,
        _blocked,
        _mapped,
        _shards,
        _disks,
        _copies,
    )
    for check in every:
        try:
            found += check(look)
        except AccessDenied as denied:
            found.append(
                Finding(
                    kind="not-looked-at",
                    level="note",
                    text=f"not checked: {denied}",
                    advice="grant the login that privilege, or ask someone who has it",
                )
            )
    return tuple(found)


def _one_index(look: Look, *, namespaces: int) -> Iterator[Finding]:
    if "%s" not in look.pattern and look.indices:
        yield Finding(
            kind="pattern-without-namespace",
            level="warning",
            text=f"the index pattern {look.pattern} has no %s: all namespaces ({namespaces:,} of them) share one index,"
            " and `wsk activation list` also shows activations of namespaces with similar names",
            advice="take a pattern such as openwhisk-%s: copy to it, then change the variable indexPattern",
        )


def _couchdb_form(look: Look, *, foreign: int, typed: str) -> Iterator[Finding]:
    """Found by what OpenWhisk never writes, then confirmed by looking at some of the documents themselves."""
    if not foreign:
        return
    seen = 0
    confirmed: Counter[str] = Counter()  # by index
    for path, shards in paths_of(look.searched):
        body = {"size": _CHECKED_DOCUMENTS - seen, "query": FOREIGN, "_source": _LOOKED_AT}
        for hit in look.client.search(path, _Found, shards=shards, body=body).hits.hits:
            seen += 1
            confirmed[hit.index] += _stands_in_couchdb_form(hit)
        if seen >= _CHECKED_DOCUMENTS:
            break
    documents = confirmed.total()
    if not documents:
        return
    refusing = [name for name, number in confirmed.items() if number and _maps_result_as_object(look, name)]
    aside = "'mend.ndjson.zst?form=couchdb'"
    out, back = f"migrator copy {quote(typed)} {aside}", f"migrator copy {aside} {quote(typed)}"
    if refusing:
        advice = (
            f"{_some(refusing)} can't be repaired in place, since response.result is mapped as an object there: "
            "OpenWhisk's own activations are refused too. Take the documents out, delete the indices once the copy "
            "reported all of them, write them again:"
        )
        commands = (
            out,
            *(f"DELETE /{name}" for name in refusing[:3]),
            f"{back} {argument('on_conflict', 'overwrite')}",
        )
    else:
        advice = (
            "rewrite them in the right form, over what is there; nothing else is changed. Where CouchDB still has "
            f"them, `migrator copy COUCHDB {quote(typed)} on_conflict=overwrite` does it in one step; else by way of "
            "a file:"
        )
        commands = (out, f"{back} {argument('on_conflict', 'overwrite')}")
    yield Finding(
        kind="couchdb-form",
        level="problem",
        text="documents are stored in Elasticsearch in CouchDB's form "
        f"({'' if documents == seen else 'about '}{foreign * documents // seen:,}): another tool copied them there as "
        "they were. OpenWhisk reads them without annotations and result, and doesn't list them by name",
        advice=advice,
        commands=commands,
    )


def _maps_result_as_object(look: Look, index: str) -> bool:
    """Whether the result of some document was an object when it came to a fresh index; such a field stays one."""
    typed = look.client.server().is_typed
    at = f"/{index_paths([index])[0]}/_mapping?filter_path=*.mappings.{'*.' if typed else ''}properties.response"
    for answer in look.client.ask("GET", at, dict[str, dict[str, Any]]).values():
        response = fields_of(answer.get("mappings", {}), typed=typed).get("response", {})
        result = response.get("properties", {}).get("result")
        return result is not None and "type" not in result
    return False


class _Result(msgspec.Struct, frozen=True):
    result: msgspec.Raw = msgspec.Raw(b'""')


class _Response(msgspec.Struct, frozen=True):
    response: _Result = _Result()


def _stands_in_couchdb_form(hit: _Hit) -> bool:
    document = read_document(hit.id, bytes(hit.source), Form.ELASTICSEARCH)
    if document is not None and "couchdb-form" in getattr(document, "remarks", ()):
        return True
    try:
        result = decode(hit.source, _Response).response.result
    except msgspec.MsgspecError:
        return False
    return not bytes(result).startswith(b'"')


def _closed(look: Look) -> Iterator[Finding]:
    if closed := look.closed:
        yield Finding(
            kind="closed-indices",
            level="warning",
            text=f"{_some(closed)} can't be read: closed. OpenWhisk finds nothing in there, nor does a copy",
            advice="open them before a copy or a backup",
            commands=tuple(f"POST /{name}/_open" for name in closed[:3]),
        )


def _blocked(look: Look) -> Iterator[Finding]:
    for block in ("read_only_allow_delete", "read_only", "write"):
        names = [name for name, blocks in look.blocks.items() if block in blocks]
        if names:
            full = "free disk space first, since a full disk sets it; then " if "delete" in block else ""
            yield Finding(
                kind="write-block",
                level="problem",
                text=f"{_some(names)} take no writes: index.blocks.{block} is true. OpenWhisk loses activations there",
                advice=f"{full}clear it",
                commands=(f'PUT /{look.indices_at_large}/_settings {{"index.blocks.{block}": null}}',),
            )


def _mapped(look: Look) -> Iterator[Finding]:
    dates: dict[str, list[str]] = {}
    odd: dict[tuple[str, str], list[str]] = {}
    for name, fields in look.mappings.items():
        annotations = fields.get("annotations", {}).get("properties", {})
        detected = [key for key, each in annotations.items() if each.get("type") == "date"]
        for key in detected:
            dates.setdefault(f"annotations.{key}", []).append(name)
        for key, types in FIELD_TYPES.items():
            field = fields.get(key)
            kind = field.get("type", "object") if field else types[0]
            if kind == "date" and "date" not in types:
                dates.setdefault(key, []).append(name)
            elif kind not in types:
                odd.setdefault((key, kind), []).append(name)
        path = fields.get("path", {})
        if path.get("type") == "text" and "keyword" not in path.get("fields", {}):
            odd.setdefault(("path", "text without .keyword"), []).append(name)
    remedy = "copy into indices with a mapping that was laid down: `migrator copy … template=True`, to another pattern"
    for key, names in dates.items():
        yield Finding(
            kind="field-is-date",
            level="problem",
            text=f"date detection has made {key} a date in {_some(names)}: the first value looked like one, and every "
            "activation with another is refused there and lost",
            advice=remedy,
        )
    for (key, kind), names in odd.items():
        yield Finding(
            kind="mapping",
            level="problem",
            text=f"{key} is mapped as {kind} in {_some(names)}, not as {FIELD_TYPES[key][0]}"
            f"{' with .keyword' if 'without' in kind else ''}: OpenWhisk's queries don't find what stands there, or "
            "its documents are refused",
            advice=remedy,
        )


def _health(look: Look, path: str = "") -> _Health:
    """Of the cluster, or with a path of each index of it."""
    where = f"/_cluster/health{path}{'?level=indices' if path else ''}"
    return look.client.ask("GET", where, _Health, right="the cluster privilege monitor")


def _shards(look: Look) -> Iterator[Finding]:
    if not look.indices:
        return
    primaries = sum(index.shards for index in look.indices.values())
    per_index, per_shard_bytes = primaries / len(look.indices), sum(look.sizes_bytes.values()) / primaries
    if len(look.indices) >= _MANY_INDICES and per_index >= 2 and per_shard_bytes < _SMALL_SHARD_BYTES:
        yield Finding(
            kind="many-shards",
            level="warning",
            text=f"{counted(len(look.indices), 'index', 'indices')} of {counted(round(per_index), 'shard')} each are "
            f"{counted(primaries, 'shard')} of {human_bytes(int(per_shard_bytes))}: each costs memory and time at "
            "every start, and a cluster allows only so many",
            advice="one shard a namespace is enough: install a template with number_of_shards 1 for new indices, and "
            "copy to them: `migrator copy … template=True shards=1`",
        )
    health = _health(look)
    most = cluster_settings(look.client).get("cluster.max_shards_per_node", "1000")
    allowed = int(most) * health.number_of_data_nodes
    used = health.active_shards + health.initializing_shards + health.unassigned_shards
    if used > allowed * _SHARDS_TAKEN:
        yield Finding(
            kind="shard-limit",
            level="problem",
            text=f"{used:,} of the {counted(allowed, 'shard')} that cluster.max_shards_per_node allows are taken: new "
            "namespaces soon get no index, and their activations are lost",
            advice="raise it, add a node, or use fewer shards: `migrator copy … template=True shards=1`",
        )


def _disks(look: Look) -> Iterator[Finding]:
    means = {
        "low": "no new shards are put there",
        "high": "shards are moved away from it",
        "flood_stage": "the server makes indices read-only, and activations are lost",
    }
    for disk in disks(look.client, cluster_settings(look.client)):
        if disk.stage:
            yield Finding(
                kind="disk-watermark",
                level="problem" if disk.stage == "flood_stage" else "warning",
                text=f"the disk of node {disk.node} has {human_bytes(disk.free_bytes)} left, beyond the watermark "
                f"{disk.stage} ({disk.watermark}): {means[disk.stage]}",
                advice="free space, add a disk or a node, or back up and delete old activations",
            )


def _copies(look: Look) -> Iterator[Finding]:
    alone: list[str] = []
    for path in index_paths(tuple(look.documents)):
        for name, index in _health(look, f"/{path}").indices.items():
            if index.active_shards < 2 * index.active_primary_shards:
                alone.append(name)
    if alone:
        none_wanted = all(look.replicas.get(name) == 0 for name in alone)
        yield Finding(
            kind="no-replica",
            level="warning",
            text=f"{_some(alone)} {'has' if len(alone) == 1 else 'have'} no second copy of every shard: "
            "with one node or disk their activations are gone",
            advice="set number_of_replicas to 1" if none_wanted else "add a data node, so that replicas have a place",
            commands=(f'PUT /{look.indices_at_large}/_settings {{"index.number_of_replicas": 1}}',)
            if none_wanted
            else (),
        )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(sorted(names)[:3])
    noun = "index" if len(names) == 1 else "indices"
    return f"{noun} {shown}" if len(names) <= 3 else f"{noun} {shown} and {len(names) - 3:,} more"
