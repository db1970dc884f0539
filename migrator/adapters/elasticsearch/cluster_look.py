"""What the checks of a pattern's indices look at: counts, sizes, settings and mappings, asked for once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from migrator.adapters.elasticsearch.client import Client, index_paths
from migrator.adapters.elasticsearch.indices import Index
from migrator.adapters.elasticsearch.shards import all_up
from migrator.adapters.questions import Place
from migrator.errors import Incomplete

ACTIVATION: dict[str, Any] = {"exists": {"field": "activationId"}}

FOREIGN: dict[str, Any] = {
    "bool": {
        "filter": [ACTIVATION],
        "should": [{"exists": {"field": "annotations.key"}}, {"bool": {"must_not": [{"exists": {"field": "path"}}]}}],
        "minimum_should_match": 1,
    }
}
"""What OpenWhisk itself wouldn't have written: it makes an object of annotations, and always writes the path."""


class _Sized(msgspec.Struct, frozen=True):
    size_in_bytes: int = 0


class _Counted(msgspec.Struct, frozen=True):
    count: int = 0


class _Primaries(msgspec.Struct, frozen=True):
    docs: _Counted = _Counted()
    store: _Sized = _Sized()


class _IndexStats(msgspec.Struct, frozen=True):
    primaries: _Primaries


class _Stats(msgspec.Struct, frozen=True):
    indices: dict[str, _IndexStats] = {}


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What the checks look at."""

    client: Client
    pattern: str
    indices: Mapping[str, Index]
    searched: Mapping[str, Index]  # the open ones: every shard of them is up
    closed: tuple[str, ...]
    documents: Mapping[str, int]  # of the open ones
    sizes_bytes: Mapping[str, int]
    replicas: Mapping[str, int]
    blocks: Mapping[str, Sequence[str]]
    mappings: Mapping[str, Mapping[str, Any]]  # of the open ones: the fields at the top

    @classmethod
    def at(cls, client: Client, pattern: str, indices: Mapping[str, Index]) -> Look:
        """Look at concrete indices. Raises `Incomplete` where a shard of one is down."""
        searched, closed = all_up(client, indices)
        stats: dict[str, _Primaries] = {}
        settings: dict[str, Mapping[str, Any]] = {}
        mappings: dict[str, Mapping[str, Any]] = {}
        right, typed = "the index privilege view_index_metadata", client.server().is_typed
        for path in index_paths(tuple(indices)):
            query = "ignore_unavailable=true&filter_path=indices.*.primaries.docs.count"
            query += ",indices.*.primaries.store.size_in_bytes"
            found = client.ask("GET", f"/{path}/_stats/docs,store?{query}", _Stats, right="the index privilege monitor")
            stats |= {name: each.primaries for name, each in found.indices.items()}
            answer = client.ask("GET", f"/{path}/_settings?flat_settings=true", dict[str, dict[str, Any]], right=right)
            settings |= {name: each["settings"] for name, each in answer.items()}
            answer = client.ask(
                "GET", f"/{path}/_mapping?{_mapping_query(typed)}", dict[str, dict[str, Any]], right=right
            )
            for name, each in answer.items():
                mappings[name] = fields_of(each.get("mappings", {}), typed=typed)
        if absent := searched.keys() - stats.keys():
            raise Incomplete(f"{client.location}: GET /_stats leaves out index {min(absent)}, which is open")
        return cls(
            client=client,
            pattern=pattern,
            indices=indices,
            searched=searched,
            closed=closed,
            documents={name: stats[name].docs.count for name in searched},
            sizes_bytes={name: each.store.size_in_bytes for name, each in stats.items()},
            replicas={name: int(each.get("index.number_of_replicas", 1)) for name, each in settings.items()},
            blocks={name: _blocks_of(each) for name, each in settings.items()},
            mappings={name: mappings.get(name, {}) for name in searched},
        )

    def place(self, name: str) -> Place:
        """One of the indices."""
        return Place(
            name=name,
            documents=self.documents.get(name, 0),
            size_bytes=self.sizes_bytes.get(name),
            shards=self.indices[name].shards,
            replicas=self.replicas.get(name),
        )

    @property
    def indices_at_large(self) -> str:
        return self.pattern.replace("%s", "*")


def _mapping_query(typed: bool) -> str:
    """Of a mapping of a thousand fields only the types that are looked at."""
    at = f"*.mappings.{'*.' if typed else ''}properties"
    parts = ("*.type", "*.fields.keyword.type", "annotations.properties.*.type")
    return f"filter_path={','.join(f'{at}.{part}' for part in parts)}"


def fields_of(mapping: Mapping[str, Any], *, typed: bool) -> Mapping[str, Any]:
    """The fields of a mapping, on 6.x below the document type."""
    if typed:
        mapping = mapping.get("_doc") or next((each for each in mapping.values() if isinstance(each, dict)), {})
    fields: Mapping[str, Any] = mapping.get("properties", {})
    return fields


def keyword_of(fields: Mapping[str, Any], name: str) -> str:
    """The field that holds the whole text of another one, empty where there is none."""
    field = fields.get(name, {})
    if field.get("type") == "keyword":
        return name
    return f"{name}.keyword" if field.get("fields", {}).get("keyword", {}).get("type") == "keyword" else ""


def _blocks_of(settings: Mapping[str, Any]) -> list[str]:
    names = ("read_only_allow_delete", "read_only", "write")
    return [name for name in names if str(settings.get(f"index.blocks.{name}", "false")) == "true"]
