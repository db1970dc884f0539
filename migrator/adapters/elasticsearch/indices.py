"""Which indices there are, and where each of their shards stands.

A pattern enters; concrete, open indices leave, with the identities and sequence numbers that make a position. Shared
by reader and writer. Never reads a document.

Source: `IndexNameExpressionResolver` answers 200 with nothing for a pattern that matches nothing, a closed index in a
pattern, or a shard that isn't there; so nothing is searched here or elsewhere by anything but a concrete name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from migrator.activations.selection import Selection
from migrator.adapters.elasticsearch.client import Client, cause_of, index_paths
from migrator.adapters.elasticsearch.names import can_hold, expressions
from migrator.errors import AccessDenied, PlaceGone, Unavailable
from migrator.text.arguments import argument


class Index(msgspec.Struct, frozen=True):
    """A concrete index; `uuid` is never given to another one, not even under the same name."""

    name: str
    uuid: str
    shards: int
    behind: tuple[str, ...] = ()  # the names, other than its own, that it was requested by: aliases, data streams


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
    missing: tuple[str, ...] = ()  # of names that were requested one by one


def may_hold(pattern: str, index: Index | str, selection: Selection) -> bool:
    """Whether an index can hold what is selected by namespace; in doubt (an alias stood for it) it can."""
    names = (index,) if isinstance(index, str) else (index.name, *index.behind)
    return any(can_hold(pattern, name, selection) for name in names)


# -- what is there ----------------------------------------------------------------------------------------------


class _IndexSettings(msgspec.Struct):
    uuid: str
    number_of_shards: str


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


class _Refreshed(msgspec.Struct):
    shards: msgspec.Raw = msgspec.field(name="_shards")  # of which `understand` sees that none failed


class _Indexing(msgspec.Struct):
    delete_total: int


class _Primaries(msgspec.Struct):
    indexing: _Indexing


class _IndexChanges(msgspec.Struct):
    uuid: str
    primaries: _Primaries


class _Changes(msgspec.Struct):
    indices: dict[str, _IndexChanges] = {}


class _Counted(msgspec.Struct):
    count: int


class _Alias(msgspec.Struct):
    filter: Any = None


class _AliasesOfIndex(msgspec.Struct):
    aliases: dict[str, _Alias] = {}


_DELETIONS = "ignore_unavailable=true&filter_path=indices.*.uuid,indices.*.primaries.indexing.delete_total"
_STATS = (
    "level=shards&ignore_unavailable=true&filter_path=_shards.failed,indices.*.uuid,indices.*.shards.*.routing,"
    "indices.*.shards.*.seq_no,indices.*.shards.*.commit.user_data.history_uuid"
)
# `all` takes in hidden indices where a server knows them (from 7.7 on); older ones don't know the word `hidden`.
_SETTINGS = "expand_wildcards=all&ignore_unavailable=true&filter_path=*.settings.index.uuid,"
_SETTINGS += "*.settings.index.number_of_shards"
_OF_STREAM = re.compile(r"\.ds-([^.].*?)(-\d{4}\.\d{2}\.\d{2})?-\d{6,}")  # a backing index, and its data stream


def resolve(client: Client, wanted: Sequence[str]) -> tuple[dict[str, Index], tuple[str, ...]]:
    """The concrete indices behind names, aliases, data streams and wildcards, open or closed, hidden or not.

    Also the names behind which is none, each after two looks. A wildcard that begins a name finds nothing of the
    system's (`.kibana`); but it finds the indices behind a data stream, which begin with a dot as well.
    """
    found: dict[str, Index] = {}
    missing: list[str] = []
    without_system = all("*" in name for name in wanted) and any(name.startswith("*") for name in wanted)
    for path in index_paths(wanted):
        found |= _list_settings(client, path, without_system=without_system)
    if without_system:
        found = {name: index for name, index in found.items() if not _is_system(name)}
    found = {name: _of_stream(index) for name, index in found.items()}
    for name in wanted:
        if "*" not in name and name not in found:  # an alias, a data stream, or not there
            behind = _list_settings(client, index_paths([name])[0])
            for each, index in behind.items():
                known = found.get(each, index)
                found[each] = msgspec.structs.replace(known, behind=(*known.behind, name))
            missing += [] if behind else [name]
    return dict(sorted(found.items())), tuple(missing)


def look_up_uuids(client: Client, wanted: Sequence[str]) -> dict[str, str]:
    """The uuid of each concrete index behind names and wildcards, by one look that nothing is compared with.

    An index that is missing may still be there: `resolve` makes sure.
    """
    return {name: index.uuid for path in index_paths(wanted) for name, index in _settings(client, path).items()}


def select(client: Client, pattern: str, selection: Selection) -> tuple[dict[str, Index], tuple[str, ...]]:
    """As `resolve`, for the indices that can hold what is selected."""
    found, missing = resolve(client, expressions(pattern, selection))
    if any(not may_hold(pattern, index, selection) for index in found.values()):
        aliases = aliases_of(client, found)  # an index that the selection leaves out may stand behind one it takes in
        found = {
            name: msgspec.structs.replace(index, behind=(*index.behind, *aliases.get(name, {})))
            for name, index in found.items()
        }
    return {name: index for name, index in found.items() if may_hold(pattern, index, selection)}, missing


def aliases_of(client: Client, names: Iterable[str]) -> dict[str, dict[str, bool]]:
    """The aliases of each index, and whether they show only a part of it."""
    found: dict[str, dict[str, bool]] = {}
    for path in index_paths(tuple(names)):
        listed = _aliases(client, path)
        if not listed:
            raise client.malformed_answer(f"/{path}/_alias", "nothing of indices that are there")
        found |= listed
    return found


def _aliases(client: Client, path: str) -> dict[str, dict[str, bool]]:
    where = f"/{path}/_alias"
    answer = client.call(
        "GET",
        f"{where}?expand_wildcards=all&ignore_unavailable=true",
        accept=(404,),
        right="the index privilege view_index_metadata",
    )
    if answer.status == 404:
        if cause_of(answer.body).type != "index_not_found_exception":
            raise client.malformed_answer(where, f"404 {cause_of(answer.body)}")
        return {}
    return {
        name: {alias: about.filter is not None for alias, about in each.aliases.items()}
        for name, each in client.understand(answer, dict[str, _AliasesOfIndex], where).items()
    }


def _of_stream(index: Index) -> Index:
    match = _OF_STREAM.fullmatch(index.name)
    return msgspec.structs.replace(index, behind=(match[1],)) if match else index


def _list_settings(client: Client, path: str, *, without_system: bool = False) -> dict[str, Index]:
    """What the settings list, compared with the aliases: an index that is missing in one list isn't gone.

    Raises `Unavailable` where an index that can be read stays out of the settings.
    """
    found = _settings(client, path)
    try:
        lacking = _aliases(client, path).keys() - found.keys()
    except AccessDenied:  # OpenSearch has a right of its own for it
        return found
    for name in lacking:
        if without_system and _is_system(name):
            continue
        alone = _settings(client, index_paths([name])[0])
        if name in alone:
            found[name] = alone[name]
        elif _is_there(client, name):
            raise Unavailable(
                f"{client.location}: index {name} exists, but GET /{path}/_settings leaves it out; "
                "is there a proxy or cache in between?"
            )
    return found


def _is_system(name: str) -> bool:
    return name[0] == "." and not _OF_STREAM.fullmatch(name)


def _is_there(client: Client, name: str) -> bool:
    """Whether an index holds something that this login may read, or is closed."""
    path = f"/{index_paths([name])[0]}/_count"
    answer = client.call("GET", path, accept=(400, 403, 404))
    if answer.status != 200:
        return b"index_closed_exception" in answer.body
    return client.understand(answer, _Counted, path).count > 0


def _settings(client: Client, path: str) -> dict[str, Index]:
    answer = client.call(
        "GET", f"/{path}/_settings?{_SETTINGS}", accept=(404,), right="the index privilege view_index_metadata"
    )
    if answer.status == 404:
        if cause_of(answer.body).type != "index_not_found_exception":
            raise client.malformed_answer(f"/{path}/_settings", f"404 {cause_of(answer.body)}")
        return {}
    settings = client.understand(answer, dict[str, _Settings], f"/{path}/_settings")
    return {
        name: Index(name, each.settings.index.uuid, int(each.settings.index.number_of_shards))
        for name, each in settings.items()
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
                        shards[number] = _shard(client, f"{name}[{number}]", copy, copy.seq_no)
            states[name] = stats.uuid, shards
    return states


def deletions(client: Client, names: Iterable[str]) -> dict[str, tuple[str, int]]:
    """Of each index that is open: its uuid, and how many deletions its primaries have seen since they were opened."""
    found: dict[str, tuple[str, int]] = {}
    for path in index_paths(tuple(names)):
        answer = client.call(
            "GET", f"/{path}/_stats/indexing?{_DELETIONS}", accept=(404,), right="the index privilege monitor"
        )
        if answer.status == 404:
            continue
        for name, stats in client.understand(answer, _Changes, f"/{path}/_stats").indices.items():
            found[name] = stats.uuid, stats.primaries.indexing.delete_total
    return found


def _shard(client: Client, which: str, copy: _Copy, at: _SeqNo) -> Shard:
    if not -1 <= at.global_checkpoint <= at.max_seq_no:  # -2: the copy doesn't know
        raise Unavailable(
            f"{client.location}: {which} has no settled checkpoint yet (checkpoint {at.global_checkpoint}, "
            f"highest number {at.max_seq_no})"
        )
    return Shard(copy.commit.user_data.history_uuid, at.global_checkpoint, at.max_seq_no)


def survey(client: Client, indices: Mapping[str, Index], missing: tuple[str, ...] = ()) -> Survey:
    """Look at every shard of some indices; raises `Unavailable` where the primary of one isn't up."""
    states = shard_states(client, indices)
    shards: dict[str, dict[int, Shard]] = {}
    closed: list[str] = []
    for name, index in indices.items():
        uuid, found = states.get(name, ("", {}))
        if not found and is_closed(client, name):
            closed.append(name)
        elif uuid not in ("", index.uuid):
            raise Unavailable(f"{client.location}: index {name} was just recreated")
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


def refresh(client: Client, names: Iterable[str], *, open_only: bool = False) -> None:
    """Make all that was stored visible to searches; raises `Unavailable` where a shard couldn't.

    With `open_only` closed indices and missing ones are skipped.
    Source: measured: without it none of 100 documents below the checkpoint were found.
    """
    for path in index_paths(tuple(names)):
        asked = f"/{path}/_refresh" + "?ignore_unavailable=true" * open_only
        answer = client.call("POST", asked, right="the index privilege maintenance")
        client.understand(answer, _Refreshed, f"/{path}/_refresh")


def check_identity(client: Client, name: str, uuid: str, shard: int, history: str) -> None:
    """Raises `NotFound` when an index isn't the one that was planned, `Unavailable` when it can't be determined now."""
    found_uuid, shards = shard_states(client, [name]).get(name, ("", {}))
    if found_uuid not in ("", uuid) or (shard in shards and shards[shard].history != history):
        raise PlaceGone(
            f"{client.location}: index {name} was deleted and recreated, or restored, while it was read",
            then=f"start over with {argument('restart')}",
        )
    if shard not in shards:
        if name not in resolve(client, [name])[0]:
            raise index_gone(client, name)
        raise Unavailable(f"{client.location}: shard {shard} of index {name} isn't up, or the index was closed")


def index_gone(client: Client, name: str) -> PlaceGone | Unavailable:
    """What to raise after a 404 for an index that was there; a 404 alone may be a proxy's."""
    if name in resolve(client, [name])[0]:
        return Unavailable(
            f"{client.location}: 404 for index {name}, which exists; is there a proxy or cache in between?"
        )
    return PlaceGone(
        f"{client.location}: index {name} was deleted while it was read",
        then=f"start over with {argument('restart')}",
    )
