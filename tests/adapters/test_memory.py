"""The store in memory passes the suites, in both forms."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from migrator.activations.document import Document, Form
from migrator.adapters.base import Reader, Writer
from migrator.adapters.memory import MemoryReader, MemoryRemover, MemoryStore, MemoryWriter
from migrator.adapters.removal import Remover
from migrator.testing.readers import ReaderConformance
from migrator.testing.removers import RemoverConformance
from migrator.testing.writers import StoreWriterConformance


class _Reading(ReaderConformance):
    @pytest.fixture(autouse=True)
    def _store(self) -> None:
        self.store = MemoryStore("source", self.form)

    def put(self, documents: Sequence[Document]) -> None:
        for document in documents:
            self.store.put(document.id, document.body)

    def put_raw(self, id: str, body: bytes) -> None:
        self.store.put(id, body)

    def delete(self, document: Document) -> None:
        self.store.put(document.id, None)

    @pytest.fixture
    def reader(self) -> Reader:
        return MemoryReader(self.store, page_documents=20)


class TestReaderInCouchDBForm(_Reading):
    form = Form.COUCHDB


class TestReaderInElasticsearchForm(_Reading):
    form = Form.ELASTICSEARCH


class _Writing(StoreWriterConformance):
    @pytest.fixture(autouse=True)
    def _store(self) -> None:
        self.store = MemoryStore("target", self.form)

    def fetch(self, document: Document) -> Any:
        body = self.store.get(document.id)
        if body is None:
            return None
        return {name: value for name, value in json.loads(body).items() if name not in ("_id", "_rev")}

    @pytest.fixture
    def writer(self) -> Writer:
        return MemoryWriter(self.store)


class TestWriterInCouchDBForm(_Writing):
    form = Form.COUCHDB


class TestWriterInElasticsearchForm(_Writing):
    form = Form.ELASTICSEARCH


class _Removing(RemoverConformance):
    @pytest.fixture(autouse=True)
    def _store(self) -> None:
        self.store = MemoryStore("store", self.form)

    def put(self, documents: Sequence[Document]) -> None:
        for document in documents:
            self.store.put(document.id, document.body)

    def fetch(self, document: Document) -> Any:
        body = self.store.get(document.id)
        if body is None:
            return None
        return {name: value for name, value in json.loads(body).items() if name not in ("_id", "_rev")}

    def delete(self, document: Document) -> None:
        self.store.put(document.id, None)

    @pytest.fixture
    def remover(self) -> Remover:
        return MemoryRemover(self.store)


class TestRemoverInCouchDBForm(_Removing):
    form = Form.COUCHDB


class TestRemoverInElasticsearchForm(_Removing):
    form = Form.ELASTICSEARCH
