"""Files pass the suites: both forms, every compression, and the shapes of the other tools."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import zstandard

from migrator.activations.document import Document, Form
from migrator.adapters import files
from migrator.adapters.base import Reader, Writer
from migrator.settings.locations import parse_location
from migrator.testing.readers import ReaderConformance
from migrator.testing.writers import WriterConformance


def compress(data: bytes, ending: str) -> bytes:
    """As the tools of the system do, in two frames."""
    half = len(data) // 2
    if ending == "gz":
        return gzip.compress(data[:half]) + gzip.compress(data[half:])
    if ending == "zst":
        return zstandard.compress(data[:half]) + zstandard.compress(data[half:])
    return data


def decompress(data: bytes, ending: str) -> bytes:
    if ending == "gz":
        return gzip.decompress(data)
    if ending == "zst":
        return zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()
    return data


class _Reading(ReaderConformance):
    """Each `put` writes the file again."""

    rounds_are_exact = False
    ending = "ndjson"
    asked = ""

    @pytest.fixture(autouse=True)
    def _file(self, tmp_path: Path) -> None:
        self.path = tmp_path / f"acts.{self.ending}"
        self.there: dict[str, bytes] = {}
        self._write()

    def put(self, documents: Sequence[Document]) -> None:
        self.there |= {document.id: self.line(document) for document in documents}
        self._write()

    def put_raw(self, id: str, body: bytes) -> None:
        self.put([Document(id, self.form, body, "", "", 0)])

    def delete(self, document: Document) -> None:
        del self.there[document.id]
        self._write()

    def line(self, document: Document) -> bytes:
        fields = json.loads(document.body)
        if self.form is Form.COUCHDB:
            fields = {"_id": document.id, **fields}
        return json.dumps(fields).encode()

    def content(self) -> bytes:
        return b"".join(line + b"\n" for line in self.there.values())

    def _write(self) -> None:
        self.path.write_bytes(compress(self.content(), self.ending.rpartition(".")[2]))

    @pytest.fixture
    def reader(self) -> Reader:
        return files.open_reader(parse_location(f"file:{self.path}{self.asked}").store(), page_bytes=5_000)


class TestCouchDBLines(_Reading):
    form = Form.COUCHDB


class TestCouchDBLinesInZstandard(_Reading):
    form = Form.COUCHDB
    ending = "ndjson.zst"


class TestElasticsearchLines(_Reading):
    """Bare sources: ids are those of their content, so that records without one can't be determined by an id."""

    form = Form.ELASTICSEARCH
    ending = "jsonl.gz"
    asked = "?form=elasticsearch"


class TestElasticdump(_Reading):
    form = Form.ELASTICSEARCH
    ending = "json"
    asked = "?form=elasticsearch"

    def line(self, document: Document) -> bytes:
        hit = {"_index": "openwhisk-guest", "_type": "_doc", "_id": document.id, "_score": 1}
        return json.dumps({**hit, "_source": json.loads(document.body)}).encode()


class TestCouchbackup(_Reading):
    """Arrays of seven documents, longer than a page now and then."""

    form = Form.COUCHDB
    ending = "txt"

    def content(self) -> bytes:
        head = {"name": "@cloudant/couchbackup", "version": "2.11.12", "mode": "full"}
        documents = list(self.there.values())
        arrays = [b"[" + b",".join(documents[at : at + 7]) + b"]" for at in range(0, len(documents), 7)]
        return b"\n".join([json.dumps(head).encode(), *arrays]) + b"\n"


class TestCouchbackupInOneArray(TestCouchbackup):
    """A line of everything, which is read element by element."""

    def content(self) -> bytes:
        return b"[" + b" , ".join(self.there.values()) + b"]\n"


class _Writing(WriterConformance):
    ending = "ndjson"

    @pytest.fixture
    def writer(self, tmp_path: Path) -> Iterator[Writer]:
        self.path = tmp_path / f"acts.{self.ending}"
        writer = files.open_writer(parse_location(f"file:{self.path}").store())
        writer.prepare()
        yield writer
        writer.close()

    def settle(self, writer: Writer) -> None:
        super().settle(writer)
        lines = decompress(self.path.read_bytes(), self.ending.rpartition(".")[2]).split(b"\n")
        assert lines.pop() == b""
        self.found = {}
        for line in map(json.loads, lines):
            self.found[line["_id"]] = line["_source"] if self.form is Form.ELASTICSEARCH else line

    def fetch(self, document: Document) -> Any:
        found = self.found.get(document.id)
        return None if found is None else {name: found[name] for name in found if name not in ("_id", "_rev")}


class TestWriterInCouchDBForm(_Writing):
    form = Form.COUCHDB


class TestWriterInElasticsearchForm(_Writing):
    form = Form.ELASTICSEARCH
    ending = "ndjson.gz"


class TestWriterOfZstandard(_Writing):
    form = Form.ELASTICSEARCH
    ending = "ndjson.zst"
