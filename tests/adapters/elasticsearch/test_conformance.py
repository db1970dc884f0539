"""Reader and writer of Elasticsearch pass the suites on 6.7.2, and keep to their promises on every version."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from migrator.activations.document import Document, Form
from migrator.adapters import elasticsearch
from migrator.adapters.base import Plan, Reader, Token, Writer
from migrator.adapters.removal import Address, Change, Remover
from migrator.adapters.shared.patience import Policy
from migrator.adapters.wrappers.retrying import RetryingReader
from migrator.demo.servers import Server
from migrator.settings.stores import Location, Store
from migrator.testing.readers import ReaderConformance
from migrator.testing.removers import RemoverConformance
from migrator.testing.source import ALL
from migrator.testing.writers import StoreWriterConformance
from tests.support.servers import request, status


def store_of(server: Server, pattern: str) -> Store:
    parts = urlsplit(server.url)
    assert parts.hostname
    assert parts.port
    return Store(
        location=Location(
            kind="elasticsearch",
            hosts=((parts.hostname, parts.port),),
            secure=parts.scheme == "https",
            index_pattern=pattern,
        )
    )


class Raw:
    """The server past the adapter: documents in and out by plain requests."""

    def __init__(self, server: Server, prefix: str) -> None:
        self.url = server.url
        self.typed = server.product == "elasticsearch" and server.version.startswith("6.")
        self.prefix = prefix

    def index(self, namespace: str) -> str:
        return f"{self.prefix}{namespace.lower()}"

    def path(self, index: str, id: str) -> str:
        return f"{self.url}/{quote(index)}/_doc/{quote(id, safe='')}"

    def put(self, index: str, id: str, body: bytes) -> None:
        request("PUT", self.path(index, id), body)

    def put_all(self, documents: Sequence[Document], index: str | None = None) -> None:
        lines: list[bytes] = []
        for document in documents:
            action = {"_index": index or self.index(document.namespace), "_id": document.id}
            action |= {"_type": "_doc"} if self.typed else {}
            lines += [json.dumps({"index": action}).encode(), document.body]
        answer = request("POST", f"{self.url}/_bulk", b"\n".join([*lines, b""]))
        assert not answer["errors"], answer

    def delete(self, index: str, id: str) -> None:
        request("DELETE", self.path(index, id))

    def get(self, index: str, id: str) -> Any:
        return request("GET", self.path(index, id))["_source"] if self.has(index, id) else None

    def has(self, index: str, id: str) -> bool:
        return status("GET", self.path(index, id)) == 200


class TestReader(ReaderConformance):
    form = Form.ELASTICSEARCH

    @pytest.fixture(autouse=True)
    def _server(self, elasticsearch_server: Server, index_prefix: str) -> Iterator[None]:
        self.raw = Raw(elasticsearch_server, index_prefix)
        self.store = store_of(elasticsearch_server, f"{index_prefix}%s")
        # The suite puts arrays of mixed types there, which dynamic mapping would refuse.
        mapping = {"_doc": {"properties": {"extra": {"type": "object", "enabled": False}}}}
        template = f"{self.raw.url}/_template/{index_prefix}"
        request("PUT", template, {"index_patterns": [f"{index_prefix}*"], "mappings": mapping})
        yield
        request("DELETE", template)

    @pytest.fixture
    def reader(self) -> Iterator[Reader]:
        reader = elasticsearch.open_reader(self.store, page_bytes=200_000)
        yield reader
        reader.close()

    def put(self, documents: Sequence[Document]) -> None:
        self.raw.put_all(documents)

    def put_raw(self, id: str, body: bytes) -> None:
        self.raw.put(self.raw.index("guest"), id, body)

    def delete(self, document: Document) -> None:
        self.raw.delete(self.raw.index(document.namespace), document.id)

    def test_pages_keep_to_their_bound(self) -> None:
        """Large documents after a run of small ones: no page of several is larger than four times the aim."""
        small, large = self.some(1500), self.some(40, first=5000, logs=["x" * 100_000])
        self.put(small)
        self.put(large)
        reader = elasticsearch.open_reader(self.store, page_bytes=150_000)
        batches = self.read_all(reader, slice_documents=10_000)
        reader.close()
        assert sorted(self.ids(batches)) == sorted(document.id for document in [*small, *large])
        assert max(batch.size_bytes for batch in batches if len(batch.documents) > 1) <= 600_000
        assert max(len(batch.documents) for batch in batches) > 100

    def test_nothing_is_missed_under_writers(self, reader: Reader) -> None:
        """One pass and rounds until one is empty give the last version of every document, three writers at work."""
        self.put(self.some(400))
        stop = threading.Event()
        versions: list[dict[str, Document]] = [{} for _ in range(3)]

        def write(writer: int) -> None:
            random_ = random.Random(writer)
            version = 0
            while not stop.is_set():
                version += 1
                # Each writer has documents of its own, so that the last version is the one that it wrote last.
                numbers = [random_.randrange(0, 300) * 3 + writer for _ in range(20)]
                names = ["guest", f"new-{writer}"]
                batch = {
                    document.id: document
                    for number in numbers
                    for document in self.some(1, random_.choice(names), first=number, logs=[f"version {version}"])
                }
                self.put(list(batch.values()))
                versions[writer] |= batch

        # An index that appears has shards without a primary for a moment; the wrapper waits for them.
        patient = RetryingReader(reader, Policy())
        found: dict[str, Document] = {}

        def take(plan: Plan) -> Token:
            for batch in self.read_plan(patient, plan):
                found.update({document.id: document for document in batch.documents})
            return plan.snapshot

        threads = [threading.Thread(target=write, args=(writer,)) for writer in range(3)]
        try:
            for thread in threads:
                thread.start()
            snapshot = take(patient.plan(ALL, slice_documents=100))
            snapshot = take(patient.catch_up(snapshot, ALL, slice_documents=100))
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        take(patient.catch_up(snapshot, ALL, slice_documents=100))
        expected = {document.id: document for document in self.some(400)}
        for written in versions:
            expected |= written
        assert found.keys() == expected.keys()
        assert [id for id, document in expected.items() if found[id].body != document.body] == []


class TestWriter(StoreWriterConformance):
    form = Form.ELASTICSEARCH

    @pytest.fixture(autouse=True)
    def _server(self, elasticsearch_server: Server, index_prefix: str) -> None:
        self.raw = Raw(elasticsearch_server, index_prefix)
        self.store = store_of(elasticsearch_server, f"{index_prefix}%s")

    @pytest.fixture
    def writer(self) -> Iterator[Writer]:
        writer = elasticsearch.open_writer(self.store, bulk_bytes=1_000_000)
        yield writer
        writer.close()

    def fetch(self, document: Document) -> Any:
        return self.raw.get(self.raw.index(document.namespace), document.id)


class TestRemover(RemoverConformance):
    form = Form.ELASTICSEARCH

    @pytest.fixture(autouse=True)
    def _server(self, elasticsearch_server: Server, index_prefix: str) -> None:
        self.raw = Raw(elasticsearch_server, index_prefix)
        self.store = store_of(elasticsearch_server, f"{index_prefix}%s")
        request("PUT", f"{self.raw.url}/{self.raw.index('guest')}")

    @pytest.fixture
    def remover(self) -> Iterator[Remover]:
        remover = elasticsearch.open_remover(self.store)
        yield remover
        remover.close()

    def put(self, documents: Sequence[Document]) -> None:
        self.raw.put_all(documents)

    def fetch(self, document: Document) -> Any:
        return self.raw.get(self.raw.index("guest"), document.id)

    def delete(self, document: Document) -> None:
        self.raw.delete(self.raw.index("guest"), document.id)

    def address(self, document: Document) -> Address:
        return Address(document.id, self.raw.index("guest"))

    def test_one_with_a_routing_is_found_and_removed(self, remover: Remover) -> None:
        """It isn't found by its id alone."""
        (document,) = self.some(1)
        path = f"{self.raw.path(self.raw.index('guest'), document.id)}?routing=elsewhere&refresh=true"
        request("PUT", path, document.body)
        (held,) = self.look(remover, [document])
        assert len(remover.change([Change(held=held)]).done) == 1
        assert not list(self.look(remover, [document]))
