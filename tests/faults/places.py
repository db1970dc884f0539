"""The stores of the laboratory past the migrator: filled, read and emptied by plain requests."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from migrator.adapters.opening import open_reader
from migrator.copying import resolved
from migrator.records import Selection
from tests.documents import in_elasticsearch
from tests.servers import request

Contents = dict[str, list[Any]]
"""What is stored under each id, as values without the store's own fields; more than one where it is there twice."""
Bodies = Mapping[str, bytes]
"""Documents in CouchDB form by id."""


class Place(Protocol):
    def location(self, port: int | None = None) -> str:
        """As the migrator is given it; with the port of a proxy."""
        ...

    def put(self, bodies: Bodies) -> None: ...

    def contents(self) -> Contents: ...

    def remove(self) -> None: ...


class CouchDBPlace:
    """A database of its own."""

    def __init__(self, port: int, name: str) -> None:
        self._port, self._name = port, name
        self._url = f"http://127.0.0.1:{port}/{name}"
        request("PUT", self._url)

    def location(self, port: int | None = None) -> str:
        return f"couchdb://127.0.0.1:{port or self._port}/{self._name}"

    def put(self, bodies: Bodies) -> None:
        answer = request("POST", f"{self._url}/_bulk_docs", b'{"docs":[' + b",".join(bodies.values()) + b"]}")
        assert not [row for row in answer if "error" in row], answer

    def contents(self) -> Contents:
        rows = request("GET", f"{self._url}/_all_docs?include_docs=true")["rows"]
        return _collected((row["id"], row["doc"]) for row in rows)

    def remove(self) -> None:
        request("DELETE", self._url)


class SearchPlace:
    """Indices with a prefix of their own, on Elasticsearch 6.7."""

    def __init__(self, port: int, prefix: str) -> None:
        self._port, self._prefix = port, prefix
        self._url = f"http://127.0.0.1:{port}"

    def location(self, port: int | None = None) -> str:
        return f"elasticsearch://127.0.0.1:{port or self._port}/?index-pattern={self._prefix}-%25s"

    def put(self, bodies: Bodies) -> None:
        lines: list[bytes] = []
        for id, body in bodies.items():
            index = f"{self._prefix}-{id.partition('/')[0].lower()}"
            action = {"index": {"_index": index, "_type": "_doc", "_id": id}}
            lines += [json.dumps(action).encode(), in_elasticsearch(id, body).body]
        answer = request("POST", f"{self._url}/_bulk?refresh=true", b"\n".join([*lines, b""]))
        assert not answer["errors"], answer

    def contents(self) -> Contents:
        request("POST", f"{self._url}/{self._prefix}-*/_refresh")
        hits = request("GET", f"{self._url}/{self._prefix}-*/_search?size=5000")["hits"]["hits"]
        return _collected((hit["_id"], hit["_source"]) for hit in hits)

    def remove(self) -> None:
        request("DELETE", f"{self._url}/{self._prefix}-*")


class ArchivePlace:
    """An archive in a folder, read by its reader: no proxy stands before it."""

    def __init__(self, folder: Path, *, beginning: Path | None = None) -> None:
        self.folder = folder
        if beginning is not None:
            shutil.copytree(beginning, folder)

    def location(self, port: int | None = None) -> str:
        return f"archive:{self.folder}"

    def put(self, bodies: Bodies) -> None:
        raise AssertionError("an archive is filled by a backup")

    def contents(self) -> Contents:
        reader = open_reader(resolved(self.location(), "source", lambda _: None))
        try:
            selection = Selection()
            return _collected(
                (document.id, json.loads(document.body))
                for piece in reader.plan(selection, slice_documents=20_000).slices
                for batch in reader.read(piece, None, selection)
                for document in batch.documents
            )
        finally:
            reader.close()

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def _collected(found: Iterable[tuple[str, Any]]) -> Contents:
    contents: Contents = {}
    for id, fields in found:
        kept = {name: value for name, value in fields.items() if name not in ("_id", "_rev")}
        contents.setdefault(id, []).append(kept)
    return contents
