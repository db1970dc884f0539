"""Putting activations into real servers past the adapters under test."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from migrator.activations import forms
from migrator.activations.document import Document, Form, read_document
from migrator.adapters.memory import memory_store
from migrator.demo.servers import Server
from tests.support.servers import request


def documents(bodies: Iterable[bytes]) -> list[Document]:
    """Bodies in CouchDB form as documents, the oldest first."""
    found = []
    for body in bodies:
        document = read_document(msgspec.json.decode(body)["_id"], body, Form.COUCHDB)
        assert isinstance(document, Document)
        found.append(document)
    return sorted(found, key=lambda document: document.start_ms)


def fill_memory(location: str, found: Iterable[Document]) -> None:
    """Put documents into a store in memory."""
    for document in found:
        memory_store(location.partition(":")[2]).put(document.id, document.body)


def new_database(server: Server) -> str:
    """A fresh, empty database; its name."""
    name = f"test-{uuid.uuid4().hex}"
    request("PUT", f"{server.url}/{name}", access=server.access)
    return name


def fill_couchdb(server: Server, database: str, found: Sequence[Document], *, designs: Sequence[str] = ()) -> None:
    """Store documents, and design documents with a view, as OpenWhisk's deployment does."""
    view = {"views": {"activations": {"map": "function (doc) { emit([doc.namespace, doc.start]) }"}}}
    rows: list[Any] = [{"_id": f"_design/{name}", "language": "javascript", **view} for name in designs]
    rows += [msgspec.Raw(document.body) for document in found]
    for at in range(0, len(rows), 500):
        body = msgspec.json.encode({"docs": rows[at : at + 500]})
        answer = request("POST", f"{server.url}/{database}/_bulk_docs", body, access=server.access)
        assert not [row for row in answer if "error" in row]


def fill_elasticsearch(server: Server, pattern: str, found: Iterable[Document], *, as_they_are: bool = False) -> None:
    """Store documents as OpenWhisk does, or `as_they_are` in CouchDB form, as other tools do; visible at once."""
    lines: list[bytes] = []
    typed = {"_type": "_doc"} if server.version.startswith("6.") else {}
    for document in found:
        stored = document if as_they_are else forms.convert(document, Form.ELASTICSEARCH)
        assert isinstance(stored, Document)
        fields = msgspec.json.decode(stored.body, type=dict[str, msgspec.Raw])
        fields.pop("_id", None)
        index = pattern.replace("%s", document.namespace.lower())
        lines += [
            msgspec.json.encode({"index": {"_index": index, "_id": document.id, **typed}}),
            msgspec.json.encode(fields),
        ]
    if lines:
        headers = {"Content-Type": "application/x-ndjson"}
        body = b"\n".join(lines) + b"\n"
        answer = request("POST", f"{server.url}/_bulk?refresh=true", body, access=server.access, headers=headers)
        assert not answer["errors"], answer


def elasticsearch_location(server: Server, pattern: str) -> str:
    return f"{server.url.replace('http', 'elasticsearch', 1)}/?index-pattern={quote(pattern, safe='')}"


def couchdb_location(server: Server, database: str) -> str:
    """With its login in it, where it has one."""
    login = f"{server.access.user}:{server.access.password}@" if server.access else ""
    return f"{server.url.replace('http://', f'couchdb://{login}', 1)}/{database}"
