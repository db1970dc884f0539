"""Which indices there are, how OpenWhisk names them, and where each of their shards stands.

A pattern enters; concrete, open indices leave, with the identities and sequence numbers that make a position. Shared
by reader and writer. Never reads a document.

Source: `IndexNameExpressionResolver` answers 200 with nothing for a pattern that matches nothing, a closed index in a
pattern, or a shard that isn't there; so nothing is searched here or elsewhere by anything but a concrete name.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from migrator.adapters.elasticsearch.client import Client, index_paths
from migrator.errors import NotFound, Unavailable, UsageError
from migrator.records import Selection

_NAME_BYTES = 255
_FORBIDDEN = re.compile(r'[\\/*?"<>|,#\s]')


class Index(msgspec.Struct, frozen=True):
    """A concrete index; `uuid` is never given to another one, not even under the same name."""

    name: str
    uuid: str
    shards: int


class Shard(msgspec.Struct, frozen=True):
    """Where a primary stands. Numbers up to `checkpoint` are on every copy; a new history makes them mean nothing."""

    history: str
    checkpoint: int
    max_seq_no: int


class Survey(msgspec.Struct, frozen=True):
    """What a pattern or a list of names came to."""

    indices: Mapping[str, Index]
    shards: Mapping[str, Mapping[int, Shard]]  # of the open ones
    closed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()  # of names that were asked for one by one


# -- names ------------------------------------------------------------------------------------------------------


def check_pattern(pattern: str) -> str:
    """The pattern without the leading slashes that OpenWhisk drops; raises `UsageError` where it can't name an index.

    Source: OpenWhisk's `ElasticSearchActivationStore`: `indexPattern.dropWhile(_ == '/').format(namespace)`.
    """
    pattern = pattern.lstrip("/")
    if pattern.count("%s") > 1 or "%" in pattern.replace("%s", ""):
        raise UsageError(f"index pattern {pattern!r}: only one %s, for the namespace, can stand in it")
    if not pattern:
        raise UsageError("the index pattern is empty; OpenWhisk's own is openwhisk-%s")
    return pattern


def check_writable(pattern: str) -> str:
    """The pattern; raises `UsageError` where its own characters make every index impossible."""
    if refusal := name_refusal(pattern.replace("%s", "x")):
        raise UsageError(f"index pattern {pattern!r}: {refusal}")
    return pattern


def index_name(pattern: str, namespace: str) -> str:
    """The index in which OpenWhisk keeps the activations of a namespace."""
    return pattern.replace("%s", namespace.lower())


def name_refusal(name: str) -> str | None:
    """Why no server takes an index of this name, which is why OpenWhisk couldn't store there either; None if one may.

    Source: Elasticsearch's `MetaDataCreateIndexService.validateIndexOrAliasName`. What only some versions refuse
    (a colon) is left to the server.
    """
    if not name or name in (".", ".."):
        return f"index name {name!r} is not allowed"
    if found := _FORBIDDEN.search(name):
        return f"index name {name!r} holds {found[0]!r}, which is not allowed"
    if name[0] in "-_+":
        return f"index name {name!r} begins with {name[0]!r}, which is not allowed"
    if name != name.lower():
        return f"index name {name!r} has upper-case letters, which are not allowed"
    if len(name.encode()) > _NAME_BYTES:
        return f"index name {name[:40]!r}… is longer than {_NAME_BYTES} bytes"
    return None


def expressions(pattern: str, selection: Selection) -> tuple[str, ...]:
    """What to look for: the index of each namespace where they are known one by one, else a wildcard."""
    if "%s" not in pattern:
        return (pattern,)
    namespaces = selection.exact_namespaces()
    if namespaces is None:
        return (pattern.replace("%s", "*"),)
    names = {index_name(pattern, namespace) for namespace in namespaces}
    return tuple(sorted(name for name in names if name_refusal(name) is None))


def may_hold(pattern: str, name: str, selection: Selection) -> bool:
    """Whether an index can hold what is selected by namespace; in doubt (an alias stood for it) it can."""
    head, placeholder, tail = pattern.partition("%s")
    if not (placeholder and selection.namespaces and name.startswith(head) and name.endswith(tail)):
        return True
    middle = name[len(head) : len(name) - len(tail)]
    return any("[" in glob or fnmatch.fnmatchcase(middle, glob.lower()) for glob in selection.namespaces)


# -- what is there ----------------------------------------------------------------------------------------------


class _IndexSettings(msgspec.Struct):
    uuid: str
    number_of_shards: str
    hidden: str | bool = False


class _SettingsOfIndex(msgspec.Struct):
    index: _IndexSettings


class _Settings(msgspec.Struct):
    settings: _SettingsOfIndex


class _Routing(msgspec.Struct):
    primary: bool
    state: str = "STARTED"


class _SeqNo(msgspec.Struct):
    max_seq_no: int
    global_checkpoint: int


class _UserData(msgspec.Struct, frozen=True):
    history_uuid: str = ""


class _Commit(msgspec.Struct, frozen=True):
    user_data: _UserData = _UserData()


class _Copy(msgspec.Struct):
    routing: _Routing
    seq_no: _SeqNo | None = None
    commit: _Commit = _Commit()


class _IndexStats(msgspec.Struct):
    uuid: str
    shards: dict[int, list[_Copy]] = {}


class _Stats(msgspec.Struct):
    indices: dict[str, _IndexStats] = {}


class _ShardCounts(msgspec.Struct):
    failed: int


class _Refreshed(msgspec.Struct):
    shards: _ShardCounts = msgspec.field(name="_shards")


_STATS = (
    "level=shards&ignore_unavailable=true&filter_path=indices.*.uuid,indices.*.shards.*.routing,"
    "indices.*.shards.*.seq_no,indices.*.shards.*.commit.user_data.history_uuid"
)
_SETTINGS = "expand_wildcards=open,closed&ignore_unavailable=true&filter_path=*.settings.index.uuid,"
_SETTINGS += "*.settings.index.number_of_shards,*.settings.index.hidden"


def resolve(client: Client, wanted: Sequence[str]) -> tuple[dict[str, Index], tuple[str, ...]]:
    """The concrete indices behind names, aliases and wildcards, open or closed, and the names behind which is none.

    Hidden indices and those of the system (`.kibana`) aren't found by a wildcard.
    """
    found: dict[str, Index] = {}
    missing: list[str] = []
    for path in index_paths(wanted):
        found |= _settings(client, path)
    for name in wanted:
        if "*" not in name and name not in found:  # an alias, or not there
            behind = _settings(client, index_paths([name])[0])
            found |= behind
            missing += [] if behind else [name]
    if all("*" in name for name in wanted):
        dots = any(name.startswith(".") for name in wanted)
        found = {name: index for name, index in found.items() if dots or not name.startswith(".")}
    return dict(sorted(found.items())), tuple(missing)


def _settings(client: Client, path: str) -> dict[str, Index]:
    answer = client.call(
        "GET", f"/{path}/_settings?{_SETTINGS}", accept=(404,), right="the index privilege view_index_metadata"
    )
    if answer.status == 404:
        return {}
    settings = client.understand(answer, dict[str, _Settings], f"/{path}/_settings")
    return {
        name: Index(name, each.settings.index.uuid, int(each.settings.index.number_of_shards))
        for name, each in settings.items()
        if str(each.settings.index.hidden).lower() != "true"
    }


def shard_states(client: Client, names: Iterable[str]) -> dict[str, tuple[str, dict[int, Shard]]]:
    """Of each index that is open: its uuid and where the primaries of its shards stand, as far as they are up."""
    states: dict[str, tuple[str, dict[int, Shard]]] = {}
    for path in index_paths(tuple(names)):
        answer = client.call("GET", f"/{path}/_stats/docs?{_STATS}", accept=(404,), right="the index privilege monitor")
        if answer.status == 404:
            continue
        for name, stats in client.understand(answer, _Stats, f"/{path}/_stats").indices.items():
            shards: dict[int, Shard] = {}
            for number, copies in stats.shards.items():
                for copy in copies:
                    if copy.routing.primary and copy.seq_no and copy.routing.state in ("STARTED", "RELOCATING"):
                        history = copy.commit.user_data.history_uuid
                        shards[number] = Shard(history, copy.seq_no.global_checkpoint, copy.seq_no.max_seq_no)
            states[name] = stats.uuid, shards
    return states


def survey(client: Client, wanted: Sequence[str]) -> Survey:
    """Resolve and look at every shard; raises `Unavailable` where the primary of one isn't up."""
    indices, missing = resolve(client, wanted)
    states = shard_states(client, indices)
    shards: dict[str, dict[int, Shard]] = {}
    closed: list[str] = []
    for name, index in indices.items():
        uuid, found = states.get(name, ("", {}))
        if not found and is_closed(client, name):
            closed.append(name)
        elif uuid not in ("", index.uuid):
            raise Unavailable(f"{client.location}: index {name} was created anew just now")
        elif down := sorted(set(range(index.shards)) - found.keys()):
            raise Unavailable(
                f"{client.location}: shards {down} of index {name} have no primary that is up; "
                "see GET /_cluster/allocation/explain"
            )
        else:
            shards[name] = found
    open_indices = {name: indices[name] for name in shards}
    return Survey(open_indices, shards, closed=tuple(closed), missing=missing)


def is_closed(client: Client, name: str) -> bool:
    """Ask the index itself: a closed one is missing from the statistics like one whose shards are all down."""
    answer = client.call("GET", f"/{index_paths([name])[0]}/_count", accept=(400, 403, 503))
    return answer.status in (400, 403) and b"index_closed_exception" in answer.body


def refresh(client: Client, names: Iterable[str]) -> None:
    """Make all that was stored visible to searches; raises `Unavailable` where a shard couldn't.

    Source: measured: without it none of 100 documents below the checkpoint were found.
    """
    for path in index_paths(tuple(names)):
        answer = client.call("POST", f"/{path}/_refresh", right="the index privilege maintenance")
        counts = client.understand(answer, _Refreshed, f"/{path}/_refresh").shards
        if counts.failed:
            raise Unavailable(f"{client.location}: {counts.failed} shards of {path} could not be refreshed")


def check_identity(client: Client, name: str, uuid: str, shard: int, history: str) -> None:
    """Raises `NotFound` when an index isn't the one that was planned, `Unavailable` when it can't be told now."""
    found_uuid, shards = shard_states(client, [name]).get(name, ("", {}))
    if found_uuid not in ("", uuid) or (shard in shards and shards[shard].history != history):
        raise NotFound(
            f"{client.location}: index {name} was deleted and created anew, or restored, while it was read; "
            "begin again with --restart"
        )
    if shard not in shards:
        if name not in resolve(client, [name])[0]:
            raise deleted(client, name)
        raise Unavailable(f"{client.location}: shard {shard} of index {name} isn't up, or the index was closed")


def deleted(client: Client, name: str) -> NotFound:
    return NotFound(f"{client.location}: index {name} was deleted while it was read; begin again with --restart")
