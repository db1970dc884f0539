"""Searching every shard of the indices behind a pattern, or saying that one is missing.

Concrete indices enter; paths leave, each with the number of shards that have to answer for it. Reads no document.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import unquote

import msgspec

from migrator.adapters.elasticsearch.client import Client, index_paths
from migrator.adapters.elasticsearch.indices import Index, is_closed, shard_states
from migrator.errors import Incomplete
from migrator.text.units import counted


class _Shards(msgspec.Struct):
    total: int


class _Counted(msgspec.Struct):
    shards: _Shards = msgspec.field(name="_shards")


def paths_of(indices: Mapping[str, Index]) -> Iterator[tuple[str, int]]:
    """Open indices as parts of request paths, each with the number of shards that have to answer for it."""
    for path in index_paths(tuple(indices)):
        yield path, sum(indices[name].shards for name in unquote(path).split(","))


def without_closed(client: Client, indices: Mapping[str, Index]) -> tuple[dict[str, Index], tuple[str, ...]]:
    """The indices that can be searched, and the names of closed ones; needs no right but to read."""
    closed: list[str] = []
    for path, shards in paths_of(indices):
        where = f"/{path}/_count?ignore_unavailable=true"
        if client.ask("GET", where, _Counted, right="the index privilege read").shards.total != shards:
            closed += [name for name in unquote(path).split(",") if is_closed(client, name)]
    return {name: index for name, index in indices.items() if name not in closed}, tuple(closed)


def all_up(client: Client, indices: Mapping[str, Index]) -> tuple[dict[str, Index], tuple[str, ...]]:
    """As `without_closed`, by the statistics. Raises `Incomplete` where no copy of a shard is up."""
    states = shard_states(client, indices)
    found: dict[str, Index] = {}
    closed: list[str] = []
    for name, index in indices.items():
        up = states.get(name, ("", {}))[1]
        if not up and is_closed(client, name):
            closed.append(name)
        elif down := sorted(set(range(index.shards)) - up.keys()):
            raise Incomplete(
                f"{client.location}: {len(down)} of {counted(index.shards, 'shard')} of index {name} can't be searched"
                ", since no primary of them is up; see GET /_cluster/allocation/explain"
            )
        else:
            found[name] = index
    return found, tuple(closed)


def closed_error(client: Client, closed: tuple[str, ...]) -> Incomplete:
    shown = ", ".join(closed[:3]) + (f" and {len(closed) - 3:,} more" if len(closed) > 3 else "")
    return Incomplete(
        f"{client.location}: {shown} can't be searched: closed; open with POST /{closed[0]}/_open, then search again"
    )
