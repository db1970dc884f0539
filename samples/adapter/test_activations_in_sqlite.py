"""The adapter passes the suites that every adapter of migrator has to pass."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from activations_in_sqlite import open_reader, open_writer

from migrator.activations.document import Document, Form
from migrator.adapters.base import Reader, Writer
from migrator.settings.stores import Location, Store
from migrator.testing import ReaderConformance, StoreWriterConformance


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A file of SQLite with no activations."""
    store = Store(location=Location(kind="sqlite", path=str(tmp_path / "activations.db")))
    with closing(open_writer(store)) as writer:
        writer.describe()
    return store


def run(store: Store, statement: str, *values: object) -> list[Any]:
    """Past the adapter."""
    with closing(sqlite3.connect(store.location.path)) as connection, connection:
        return connection.execute(statement, values).fetchall()


class TestReader(ReaderConformance):
    form = Form.COUCHDB

    @pytest.fixture(autouse=True)
    def _store(self, store: Store) -> None:
        self.store = store

    def put(self, documents: Sequence[Document]) -> None:
        for document in documents:
            self.put_raw(document.id, document.body)

    def put_raw(self, id: str, body: bytes) -> None:
        run(self.store, "INSERT OR REPLACE INTO activations (id, body) VALUES (?, ?)", id, body)

    def delete(self, document: Document) -> None:
        run(self.store, "DELETE FROM activations WHERE id = ?", document.id)

    @pytest.fixture
    def reader(self, store: Store) -> Iterator[Reader]:
        with closing(open_reader(store, page_bytes=20_000)) as reader:
            yield reader


class TestWriter(StoreWriterConformance):
    form = Form.COUCHDB

    @pytest.fixture(autouse=True)
    def _store(self, store: Store) -> None:
        self.store = store

    def fetch(self, document: Document) -> Any:
        for (body,) in run(self.store, "SELECT body FROM activations WHERE id = ?", document.id):
            return {name: value for name, value in json.loads(body).items() if name not in ("_id", "_rev")}
        return None

    @pytest.fixture
    def writer(self, store: Store) -> Iterator[Writer]:
        with closing(open_writer(store)) as writer:
            yield writer
