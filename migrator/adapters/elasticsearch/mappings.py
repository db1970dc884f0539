"""What the mappings of indices say that matters to their readers: the type of `start`, and what `_source` keeps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from migrator.adapters.elasticsearch.client import Client, index_paths

_RIGHT = "the index privilege view_index_metadata"


def start_is_long(client: Client, names: Iterable[str]) -> frozenset[str]:
    """The indices that can be asked for a span of `start`."""
    found: set[str] = set()
    for path in index_paths(sorted(names)):
        where = f"/{path}/_mapping/field/start"
        answer = client.call("GET", where, accept=(404,), right=_RIGHT)
        mappings = client.understand(answer, dict[str, Any], where) if answer.status == 200 else {}
        found |= {name for name, mapping in mappings.items() if _types_of_start(mapping) == {"long"}}
    return frozenset(found)


def _types_of_start(mapping: Any) -> set[str]:
    """The types of the field `start` in an answer of `_mapping/field`, below a document type on 6.x."""
    if not isinstance(mapping, dict):
        return set()
    field = mapping.get("mapping", {}).get("start") if isinstance(mapping.get("mapping"), dict) else None
    if isinstance(field, dict):
        return {str(field.get("type")) if field.get("index", True) else "not indexed"}
    return set().union(*(_types_of_start(inner) for inner in mapping.values()))


def find_changed_sources(client: Client, names: Iterable[str]) -> dict[str, str]:
    """The indices that don't keep documents as they were sent, and what their mapping says of that.

    One that keeps none isn't among them: it shows with each document.
    """
    found: dict[str, str] = {}
    for path in index_paths(sorted(names)):
        where = f"/{path}/_mapping"
        asked = f"{where}?ignore_unavailable=true&filter_path=*.mappings._source,*.mappings.*._source"
        answer = client.call("GET", asked, right=_RIGHT)
        for name, mapping in client.understand(answer, dict[str, dict[str, Any]], where).items():
            if told := _describe_source(mapping.get("mappings", {})):
                found[name] = told
    return found


def _describe_source(mappings: Any) -> str:
    if not isinstance(mappings, dict):
        return ""
    source = mappings.get("_source")
    if not isinstance(source, dict) or isinstance(source.get("type"), str):  # on 6.x below a document type
        return next(filter(None, map(_describe_source, mappings.values())), "") if "_source" not in mappings else ""
    parts = [f"{name} {', '.join(map(str, source[name]))}" for name in ("includes", "excludes") if source.get(name)]
    return "; ".join([*parts, *(["mode synthetic"] if source.get("mode") == "synthetic" else [])])
