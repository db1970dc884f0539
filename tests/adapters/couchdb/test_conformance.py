"""Reader and writer of CouchDB pass the suites on a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pytest

from migrator.activations.document import Document, Form
from migrator.adapters import couchdb
from migrator.adapters.base import Reader, Writer
from migrator.adapters.couchdb.writer import CouchDBWriter
from migrator.adapters.removal import Remover
from migrator.settings.stores import Location, Login, LoginKind, Secret, Store
from migrator.testing.documents import activation
from migrator.testing.readers import ReaderConformance
from migrator.testing.removers import RemoverConformance
from migrator.testing.writers import StoreWriterConformance
from tests.support.servers import couchdb_url, request, status


def store_of(location: str) -> Store:
    """The store of a location such as the fixture `couchdb_database` gives, login included."""
    parts = urlsplit(location)
    assert parts.hostname
    login = Login()
    if parts.username:
        secret = Secret(unquote(parts.password or ""))
        login = Login(kind=LoginKind.BASIC, user=unquote(parts.username), secret=secret)
    prefix, _, database = parts.path.rpartition("/")
    return Store(
        location=Location(
            kind="couchdb",
            hosts=((parts.hostname, parts.port or 5984),),
            secure=parts.scheme == "couchdbs",
            path_prefix=prefix,
            database=database,
        ),
        login=login,
    )


class Raw:
    """The database past the adapter: documents in and out by plain requests."""

    def __init__(self, location: str) -> None:
        self.url = couchdb_url(location)

    def path(self, id: str) -> str:
        return f"{self.url}/{quote(id, safe='')}"

    def rev(self, id: str) -> str | None:
        document = self.get(id)
        return None if document is None else str(document["_rev"])

    def get(self, id: str) -> Any:
        return request("GET", self.path(id)) if status("GET", self.path(id)) == 200 else None

    def put(self, id: str, fields: dict[str, Any]) -> None:
        rev = self.rev(id)
        request("PUT", self.path(id), fields | ({"_rev": rev} if rev else {}))

    def put_all(self, documents: Sequence[Document]) -> None:
        """Store documents, replacing those that are there."""
        answer = self._bulk([json.loads(document.body) for document in documents])
        taken = {item["id"] for item in answer if item.get("error") == "conflict"}
        again = [{**json.loads(each.body), "_rev": self.rev(each.id)} for each in documents if each.id in taken]
        assert not any("error" in item for item in self._bulk(again))

    def _bulk(self, documents: Sequence[dict[str, Any]]) -> Any:
        return request("POST", f"{self.url}/_bulk_docs", {"docs": documents}) if documents else []

    def delete(self, id: str) -> None:
        request("DELETE", f"{self.path(id)}?rev={self.rev(id)}")


class _InDatabase:
    """A fresh database, and the hooks of the suites that go past the adapter."""

    form = Form.COUCHDB
    raw: Raw
    store: Store

    @pytest.fixture(autouse=True)
    def _database(self, couchdb_database: str) -> None:
        self.raw = Raw(couchdb_database)
        self.store = store_of(couchdb_database)

    def put(self, documents: Sequence[Document]) -> None:
        self.raw.put_all(documents)

    def put_raw(self, id: str, body: bytes) -> None:
        self.raw.put(id, json.loads(body))

    def delete(self, document: Document) -> None:
        self.raw.delete(document.id)


class _Written(_InDatabase):
    def fetch(self, document: Document) -> Any:
        found = self.raw.get(document.id)
        return found and {name: value for name, value in found.items() if name not in ("_id", "_rev")}


class TestReader(_InDatabase, ReaderConformance):
    @pytest.fixture
    def reader(self) -> Iterator[Reader]:
        with closing(couchdb.open_reader(self.store, page_bytes=200_000)) as reader:
            yield reader


class TestWriter(_Written, StoreWriterConformance):
    @pytest.fixture
    def writer(self) -> Iterator[Writer]:
        with closing(couchdb.open_writer(self.store, bulk_bytes=1_000_000)) as writer:
            yield writer

    def test_what_was_there_is_known_until_something_is_removed(self, writer: CouchDBWriter) -> None:
        """By the server's count of deletions, which PouchDB's hasn't."""
        documents = [activation(number) for number in range(30)]
        self.put(documents[:20])
        stock = writer.stock()
        if stock is None:
            assert "doc_del_count" not in request("GET", self.raw.url)
            return
        self.put([activation(number, logs=["new"]) for number in range(30)])
        assert writer.left_of(stock) == 20
        self.delete(documents[25])
        assert writer.left_of(stock) == 0
        stock = writer.stock()
        assert writer.left_of(stock) == 29


class TestRemover(_Written, RemoverConformance):
    @pytest.fixture
    def remover(self) -> Iterator[Remover]:
        with closing(couchdb.open_remover(self.store)) as remover:
            yield remover
