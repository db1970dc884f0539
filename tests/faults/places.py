"""The stores of the laboratory past the migrator: filled, read and emptied by plain requests."""

from __future__ import annotations

import contextlib
import json
import shutil
import urllib.error
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

from migrator.activations.selection import Selection
from migrator.adapters.opening import open_reader
from migrator.api.opening import resolve_store
from tests.faults.couchdb import ScriptedCouchDB
from tests.faults.secrets import LOGIN
from tests.support.documents import in_elasticsearch
from tests.support.servers import fetch, request

Contents = dict[str, list[Any]]
"""What is stored under each id, as values without the store's own fields; more than one where it is there twice."""
Raw = dict[str, list[bytes]]
"""The same as the bytes that the store gives, again without its own fields."""
Bodies = Mapping[str, bytes]
"""Documents in CouchDB form by id."""


class _Rows(msgspec.Struct):
    rows: list[_Row]


class _Row(msgspec.Struct):
    id: str
    doc: dict[str, msgspec.Raw]


class _Hits(msgspec.Struct):
    hits: list[_Hit]


class _Hit(msgspec.Struct):
    id: str = msgspec.field(name="_id")
    source: msgspec.Raw = msgspec.field(name="_source")


class _Found(msgspec.Struct):
    hits: _Hits


class Place(Protocol):
    def location(self, port: int | None = None) -> str:
        """As the migrator is given it; with the port of a proxy, which asks for a login."""
        ...

    def put(self, bodies: Bodies) -> None: ...

    def contents(self) -> Contents: ...

    def raw(self) -> Raw: ...

    def remove(self) -> None: ...


class CouchDBPlace:
    """A database of its own."""

    def __init__(self, port: int, name: str, *, login: str = "", session: bool = False) -> None:
        self._port, self._name = port, name
        self._login = f"{login}@" if login else ""
        self._more = "?login=session" if session else ""
        self._url = f"http://{self._login}127.0.0.1:{port}/{name}"
        request("PUT", self._url)

    def location(self, port: int | None = None) -> str:
        login = LOGIN if port else self._login
        return f"couchdb://{login}127.0.0.1:{port or self._port}/{self._name}{self._more if port else ''}"

    def put(self, bodies: Bodies) -> None:
        answer = request("POST", f"{self._url}/_bulk_docs", b'{"docs":[' + b",".join(bodies.values()) + b"]}")
        assert not [row for row in answer if "error" in row], answer

    def contents(self) -> Contents:
        rows = request("GET", f"{self._url}/_all_docs?include_docs=true")["rows"]
        return _collected((row["id"], row["doc"]) for row in rows)

    def raw(self) -> Raw:
        found = msgspec.json.decode(fetch("GET", f"{self._url}/_all_docs?include_docs=true"), type=_Rows)
        return _bytes_of(
            (row.id, msgspec.json.encode({name: raw for name, raw in row.doc.items() if name != "_rev"}))
            for row in found.rows
        )

    def recreate(self, bodies: Bodies) -> None:
        """Delete it, and recreate it with these."""
        request("DELETE", self._url)
        request("PUT", self._url)
        if bodies:
            self.put(bodies)

    def remove(self) -> None:
        """Delete it; PouchDB's server may close the first connection after it was killed and started."""
        try:
            request("DELETE", self._url)
        except ConnectionError:
            with contextlib.suppress(urllib.error.HTTPError):  # it was deleted
                request("DELETE", self._url)


class ScriptedPlace(CouchDBPlace):
    """A database of the scripted CouchDB, whose files can be put back as they were."""

    def __init__(self, script: ScriptedCouchDB, port: int, name: str) -> None:
        super().__init__(port, name)
        self._script = script

    def roll_back(self, bodies: Bodies) -> None:
        """The files of an earlier moment, when there were these."""
        earlier = self._script.copy_with(self._name, bodies)
        self._script.roll_back(self._name, earlier)


class SearchPlace:
    """Indices with a prefix of their own, on Elasticsearch 6.7."""

    def __init__(self, port: int, prefix: str) -> None:
        self._port, self._prefix = port, prefix
        self._url = f"http://127.0.0.1:{port}"

    def location(self, port: int | None = None) -> str:
        login = LOGIN if port else ""
        return f"elasticsearch://{login}127.0.0.1:{port or self._port}/?index-pattern={self._prefix}-%25s"

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

    def raw(self) -> Raw:
        request("POST", f"{self._url}/{self._prefix}-*/_refresh")
        found = msgspec.json.decode(fetch("GET", f"{self._url}/{self._prefix}-*/_search?size=5000"), type=_Found)
        return _bytes_of((hit.id, bytes(hit.source)) for hit in found.hits.hits)

    def recreate(self, bodies: Bodies) -> None:
        """Delete all indices, and recreate those that hold these."""
        self.remove()
        if bodies:
            self.put(bodies)

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
        return _collected((id, json.loads(body)) for id, bodies in self.raw().items() for body in bodies)

    def raw(self) -> Raw:
        if not self.folder.exists():
            return {}
        reader = open_reader(resolve_store(self.location(), "source", lambda _: None))
        try:
            selection = Selection()
            return _bytes_of(
                (document.id, document.body)
                for piece in reader.plan(selection, slice_documents=20_000).slices
                for batch in reader.read(piece, None, selection)
                for document in batch.documents
            )
        finally:
            reader.close()

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


class FilePlace:
    """A file of JSON lines."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def location(self, port: int | None = None) -> str:
        return str(self._path)

    def put(self, bodies: Bodies) -> None:
        self._path.write_bytes(b"".join(body + b"\n" for body in bodies.values()))

    def contents(self) -> Contents:
        return _collected((id, json.loads(line)) for id, lines in self.raw().items() for line in lines)

    def raw(self) -> Raw:
        lines = self._path.read_bytes().splitlines() if self._path.exists() else []
        # What a killed worker leaves in a file is overwritten with blanks.
        return _bytes_of((json.loads(line)["_id"], line) for line in lines if line.strip())

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)


def _bytes_of(found: Iterable[tuple[str, bytes]]) -> Raw:
    raw: Raw = {}
    for id, body in found:
        raw.setdefault(id, []).append(body)
    return raw


def _collected(found: Iterable[tuple[str, Any]]) -> Contents:
    contents: Contents = {}
    for id, fields in found:
        kept = {name: value for name, value in fields.items() if name not in ("_id", "_rev")}
        contents.setdefault(id, []).append(kept)
    return contents
