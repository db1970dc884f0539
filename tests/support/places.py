"""The two ends of a copy past the adapters: their locations, and what is in them, by plain requests."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any
from urllib.parse import quote

import msgspec

from migrator.demo.servers import Server
from tests.support.servers import couchdb_url, fetch, request

_CHUNK = 500

Bodies = Mapping[str, bytes]
"""Documents in the form of their place, by id."""


class _Row(msgspec.Struct):
    id: str
    doc: msgspec.Raw


class _Rows(msgspec.Struct):
    rows: list[_Row]


class _Hit(msgspec.Struct):
    id: str = msgspec.field(name="_id")
    source: msgspec.Raw = msgspec.field(name="_source")


class _Hits(msgspec.Struct):
    hits: list[_Hit]


class _Page(msgspec.Struct):
    scroll_id: str = msgspec.field(name="_scroll_id")
    hits: _Hits


_rows = msgspec.json.Decoder(_Rows)
_hits = msgspec.json.Decoder(_Page)


class CouchDBPlace:
    """A database."""

    def __init__(self, location: str) -> None:
        self.location = location
        self.url = couchdb_url(location)

    def put(self, bodies: Bodies) -> None:
        """Store documents; those that are there get a new revision."""
        for chunk in _chunks(bodies):
            taken = self._bulk(list(chunk.values()))
            if taken:
                rows = request("POST", f"{self.url}/_all_docs", {"keys": taken})["rows"]
                revs = {row["id"]: json.dumps(row["value"]["rev"]).encode() for row in rows}
                assert not self._bulk([b'{"_rev":' + revs[id] + b"," + chunk[id][1:] for id in taken])

    def _bulk(self, bodies: Sequence[bytes]) -> list[str]:
        """Returns the ids of those that are there in another revision."""
        answer = request("POST", f"{self.url}/_bulk_docs", b'{"docs":[' + b",".join(bodies) + b"]}")
        refused = {item["id"]: item["error"] for item in answer if "error" in item}
        assert set(refused.values()) <= {"conflict"}, refused
        return list(refused)

    def contents(self) -> dict[str, bytes]:
        """Every document but the design documents, by id, with the bytes that the database gives."""
        found: dict[str, bytes] = {}
        key = ""
        while True:
            options = f"include_docs=true&limit={_CHUNK}&startkey={quote(json.dumps(key))}"
            rows = _rows.decode(fetch("GET", f"{self.url}/_all_docs?{options}")).rows
            found |= {row.id: bytes(row.doc) for row in rows if not row.id.startswith("_design/")}
            if len(rows) < _CHUNK:
                return found
            key = f"{rows[-1].id}\0"

    def count(self) -> int:
        """How many documents there are, as the database counts them."""
        return int(request("GET", self.url)["doc_count"])


class SearchPlace:
    """The indices behind a pattern, on Elasticsearch or OpenSearch."""

    def __init__(self, server: Server, prefix: str) -> None:
        self.server = server
        self.url = server.url
        self.prefix = prefix
        self.typed = server.product == "elasticsearch" and server.version.startswith("6.")
        self.location = f"elasticsearch://127.0.0.1:{server.port}/?index-pattern={prefix}%25s"

    def index(self, namespace: str) -> str:
        return f"{self.prefix}{namespace.lower()}"

    def create(self, namespace: str, *, settings: Mapping[str, Any] | None = None, **mapping: Any) -> str:
        """Create the index of a namespace; its name."""
        index = self.index(namespace)
        mappings = {"_doc": mapping} if self.typed else mapping
        request("PUT", f"{self.url}/{index}", {"settings": settings or {}, "mappings": mappings if mapping else {}})
        return index

    def put(self, bodies: Bodies) -> None:
        """Store documents, replacing those that are there."""
        for chunk in _chunks(bodies):
            lines: list[bytes] = []
            for id, body in chunk.items():
                action = {"_index": self.index(id.partition("/")[0]), "_id": id}
                lines += [json.dumps({"index": action | ({"_type": "_doc"} if self.typed else {})}).encode(), body]
            answer = request("POST", f"{self.url}/_bulk", b"\n".join([*lines, b""]))
            assert not [item for item in answer["items"] if "error" in item["index"]]

    def contents(self) -> dict[str, bytes]:
        """Every document by id, with the bytes of its `_source`."""
        self.refresh()
        found: dict[str, bytes] = {}
        asked = {"size": _CHUNK, "sort": ["_doc"]}
        page = fetch("POST", f"{self.url}/{quote(self.prefix)}*/_search?scroll=1m", asked)
        while True:
            answer = _hits.decode(page)
            if not answer.hits.hits:
                request("DELETE", f"{self.url}/_search/scroll", {"scroll_id": answer.scroll_id})
                return found
            found |= {hit.id: bytes(hit.source) for hit in answer.hits.hits}
            page = fetch("POST", f"{self.url}/_search/scroll", {"scroll": "1m", "scroll_id": answer.scroll_id})

    def count(self) -> int:
        """How many documents there are, as the server counts them."""
        self.refresh()
        return int(request("GET", f"{self.url}/{quote(self.prefix)}*/_count")["count"])

    def refresh(self) -> None:
        request("POST", f"{self.url}/{quote(self.prefix)}*/_refresh")


Place = CouchDBPlace | SearchPlace


def _chunks(bodies: Bodies) -> Iterator[dict[str, bytes]]:
    left = iter(bodies.items())
    while chunk := dict(islice(left, _CHUNK)):
        yield chunk
