"""An Elasticsearch of a few documents on loopback, whose answers a test alters: for faults that no real server shows.

It understands what the reader asks, and nothing else. What holds on real servers is tested there.
"""

from __future__ import annotations

import contextlib
import fnmatch
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from migrator.activations.document import Document, Form
from migrator.adapters import elasticsearch
from migrator.adapters.elasticsearch.reader import ElasticsearchReader
from migrator.settings.stores import Location, Store
from migrator.testing.documents import activation
from tests.support.scripted import Request, Scripted, answer, serve

Alter = Callable[[Request, Any], Any]
"""What to answer to a request in place of what is right: a JSON value, the bytes of an answer, or None for what is."""


def some(count: int, first: int = 0, **changes: Any) -> list[Document]:
    return [activation(first + at, form=Form.ELASTICSEARCH, **changes) for at in range(count)]


@dataclass
class Shard:
    """Documents with their sequence numbers; None where Elasticsearch 5 stored them."""

    documents: list[tuple[int | None, Document]] = field(default_factory=list)
    history: str = "h1"
    checkpoint: int | None = None  # instead of the highest number
    highest: int | None = None

    def stats(self) -> dict[str, Any]:
        numbers = [number for number, _ in self.documents if number is not None]
        checkpoint = max(numbers, default=-1) if self.checkpoint is None else self.checkpoint
        highest = checkpoint if self.highest is None else self.highest
        return {
            "routing": {"primary": True, "state": "STARTED"},
            "seq_no": {"max_seq_no": highest, "global_checkpoint": checkpoint},
            "commit": {"user_data": {"history_uuid": self.history}},
        }


@dataclass
class Index:
    shards: list[Shard]
    uuid: str = "u1"
    aliases: dict[str, Any] = field(default_factory=dict)
    mapping: dict[str, Any] = field(default_factory=dict)


class Cluster:
    """Answers what is asked of its indices."""

    def __init__(self, **indices: Index) -> None:
        self.indices = {f"openwhisk-{name}": index for name, index in indices.items()}
        self.alter: Alter = lambda _, __: None
        self.echoes = True
        self.scrolls: dict[str, list[Any]] = {}

    def of_one(self, documents: list[tuple[int | None, Document]]) -> Cluster:
        self.indices["openwhisk-guest"] = Index([Shard(documents)])
        return self

    def script(self, request: Request) -> bytes:
        right = self._right(request)
        given = self.alter(request, right)
        given = right if given is None else given
        if isinstance(given, bytes):
            return given
        status = 404 if isinstance(given, dict) and given.get("status") == 404 else 200
        echo = {"X-Opaque-Id": request.headers["x-opaque-id"]} if self.echoes else {}
        return answer(given, status, **echo)

    def _named(self, path: str) -> list[str]:
        wanted = path.split("/")[1].split(",")
        return [
            name
            for name, index in self.indices.items()
            if any(fnmatch.fnmatchcase(each, glob) for glob in wanted for each in (name, *index.aliases))
        ]

    def _right(self, request: Request) -> Any:
        if request.path == "/":
            return {"cluster_uuid": "c1", "version": {"number": "7.17.0"}}
        if request.path.startswith("/_security/"):
            return {"status": 404, "error": {"type": "no security"}}
        if request.path == "/_search/scroll":
            return self._scroll(request)
        if request.path == "/_msearch":
            lines = [json.loads(line) for line in request.body.splitlines()]
            pairs = zip(lines[::2], lines[1::2], strict=True)
            return {"responses": [self._search(head["index"], head["preference"], body) for head, body in pairs]}
        if request.path == "/_mget":
            return {"docs": [self._get(each["_index"], each["_id"]) for each in request.json["docs"]]}
        names = self._named(request.path)
        match request.path.split("/")[2:]:
            case ["_settings"]:
                settings = {
                    name: {"uuid": index.uuid, "number_of_shards": str(len(index.shards))}
                    for name, index in self.indices.items()
                    if name in names
                }
                return {name: {"settings": {"index": each}} for name, each in settings.items()}
            case ["_stats", "docs"]:
                return {
                    "indices": {
                        name: {
                            "uuid": self.indices[name].uuid,
                            "shards": {str(at): [shard.stats()] for at, shard in enumerate(self.indices[name].shards)},
                        }
                        for name in names
                    }
                }
            case ["_refresh"]:
                return {"_shards": {"total": 2, "successful": 1, "failed": 0}}
            case ["_alias"]:
                return {name: {"aliases": self.indices[name].aliases} for name in names}
            case ["_mapping"]:
                return {name: {"mappings": self.indices[name].mapping} for name in names}
            case ["_mapping", "field", "start"]:
                return {name: {"mappings": {"start": {"mapping": {"start": {"type": "long"}}}}} for name in names}
            case ["_mget"]:
                return {"docs": [self._get(names[0], each["_id"]) for each in request.json["docs"]]}
            case ["_count"]:
                return self._count(names, request)
            case ["_search"] if "scroll" in request.query:
                found = self._search(names[0], request.query["preference"], {**request.json, "size": 10_000})
                hits, size = found["hits"]["hits"], request.json["size"]
                self.scrolls["s1"] = [hits[at : at + size] for at in range(size, len(hits), size)]
                return {**found, "_scroll_id": "s1", "hits": {**found["hits"], "hits": hits[:size]}}
            case ["_search"] if "preference" in request.query:
                return self._search(names[0], request.query["preference"], request.json)
            case ["_search"]:
                return self._search_all(names, request.json)
        raise AssertionError(f"the reader asks {request}")

    def _scroll(self, request: Request) -> Any:
        if request.method == "DELETE":
            return {"succeeded": True}
        pages = self.scrolls["s1"]
        hits = pages.pop(0) if pages else []
        return {"timed_out": False, "_shards": _ONE, "hits": {"total": len(hits), "hits": hits}, "_scroll_id": "s1"}

    def _get(self, index: str, id: str) -> Any:
        for shard in self.indices[index].shards:
            for _, document in shard.documents:
                if document.id == id:
                    return {"_index": index, "_id": id, "found": True, "_source": json.loads(document.body)}
        return {"_index": index, "_id": id, "found": False}

    def _count(self, names: list[str], request: Request) -> Any:
        query = request.json.get("query", {}) if request.body else {}
        shards = [shard for name in names for shard in self.indices[name].shards]
        if preference := request.query.get("preference"):
            shards = [shards[int(preference.removeprefix("_shards:"))]]
        count = sum(_takes(query, *each) for shard in shards for each in shard.documents)
        total = len(shards)
        return {"count": count, "_shards": {"total": total, "successful": total, "skipped": 0, "failed": 0}}

    def _search(self, index: str, preference: str, asked: Any) -> Any:
        shard = self.indices[index].shards[int(preference.removeprefix("_shards:"))]
        found = [each for each in shard.documents if _takes(asked["query"], *each)]
        (order,) = asked["sort"]
        if "_seq_no" in order:
            reverse = order["_seq_no"] in ("desc", {"order": "desc"})
            found.sort(key=lambda each: each[0] or 0, reverse=reverse)
        hits = [_hit(index, number, document) for number, document in found[: asked["size"]]]
        if asked.get("_source") is False:
            hits = [{name: value for name, value in hit.items() if name != "_source"} for hit in hits]
        total = {"value": len(found), "relation": "eq"}
        return {"timed_out": False, "_shards": _ONE, "hits": {"total": total, "hits": hits}}

    def _search_all(self, names: list[str], asked: Any) -> Any:
        each = [(name, *found) for name in names for shard in self.indices[name].shards for found in shard.documents]
        hits = [_hit(*found) for found in each if _takes(asked["query"], *found[1:])]
        shards = {"total": len(names), "successful": len(names), "failed": 0}
        return {
            "timed_out": False,
            "_shards": shards,
            "hits": {"total": {"value": len(hits), "relation": "eq"}, "hits": hits},
        }


_ONE = {"total": 1, "successful": 1, "skipped": 0, "failed": 0}


def _hit(index: str, number: int | None, document: Document) -> dict[str, Any]:
    source = json.loads(document.body)
    return {"_index": index, "_id": document.id, "_seq_no": number, "_source": source, "sort": [number]}


def _takes(query: Any, number: int | None, document: Document) -> bool:
    match query:
        case {"range": {"_seq_no": {"gt": int(above), **rest}}}:
            numbers: dict[object, Any] = rest
            return number is not None and above < number <= int(numbers.get("lte", number))
        case {"range": {"start": span}}:
            return bool(span.get("gte", 0) <= document.start_ms < span.get("lt", float("inf")))
        case {"ids": {"values": values}}:
            return document.id in values
        case {"exists": _}:
            return True
        case {"bool": {"filter": parts}}:
            return all(_takes(part, number, document) for part in parts)
        case {"bool": {"should": parts}}:
            return any(_takes(part, number, document) for part in parts)
        case {"bool": {"must_not": parts}}:
            return not any(_takes(part, number, document) for part in parts)
    assert not query, query
    return True


@contextlib.contextmanager
def reading(
    cluster: Cluster, *, pattern: str = "openwhisk-%s", page_bytes: int = 100_000
) -> Iterator[tuple[ElasticsearchReader, Scripted]]:
    """A reader of a cluster."""
    with serve(cluster.script) as served:
        location = Location(kind="elasticsearch", hosts=(("127.0.0.1", served.port),), index_pattern=pattern)
        reader = elasticsearch.open_reader(Store(location=location), page_bytes=page_bytes)
        try:
            yield reader, served
        finally:
            reader.close()
