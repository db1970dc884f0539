"""The archive passes the suites, in both forms."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from migrator.activations.document import Document, Form
from migrator.adapters.archive import ArchiveReader, ArchiveWriter
from migrator.adapters.archive.catalog import read_catalog
from migrator.adapters.archive.folder import Folder
from migrator.adapters.base import Reader, Token, Writer
from migrator.testing.readers import ReaderConformance
from migrator.testing.writers import WriterConformance
from tests.support.archives import add_backup, completion, read_archive


class _Reading(ReaderConformance):
    """Each `put` adds an incremental backup; a reader is opened again, as it looks at an archive once."""

    @pytest.fixture(autouse=True)
    def _archive(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "archive"
        self.there: dict[str, Document] = {}

    def put(self, documents: Sequence[Document]) -> None:
        self.there |= {document.id: document for document in documents}
        found = read_catalog(Folder(str(self.folder))).backups if self.folder.exists() else ()
        add_backup(self.folder, self.form, [documents], parent=found[-1].backup if found else None, part_documents=70)

    def put_raw(self, id: str, body: bytes) -> None:
        if self.form is Form.COUCHDB:
            body = json.dumps({"_id": id, **json.loads(body)}).encode()
        self.put([Document(id, self.form, body, id.partition("/")[0], "", 0)])

    def delete(self, document: Document) -> None:
        """A full backup made afterwards has it no more."""
        del self.there[document.id]
        add_backup(self.folder, self.form, [list(self.there.values())])

    @pytest.fixture
    def reader(self) -> Reader:
        return ArchiveReader(Folder(str(self.folder)), page_bytes=20_000)


class TestReaderInCouchDBForm(_Reading):
    form = Form.COUCHDB


class TestReaderInElasticsearchForm(_Reading):
    form = Form.ELASTICSEARCH


class _Writing(WriterConformance):
    @pytest.fixture
    def writer(self, tmp_path: Path) -> Writer:
        self.folder = tmp_path / "archive"
        writer = ArchiveWriter(Folder(str(self.folder)), part_bytes=100_000)
        writer.prepare()
        return writer

    def settle(self, writer: Writer) -> None:
        receipt = writer.flush()
        receipts: list[tuple[int, Token]] = [] if receipt is None else [(0, receipt)]
        writer.finish(completion(self.form, receipts))
        self.found = {document.id: document for document in read_archive(self.folder)}

    def fetch(self, document: Document) -> Any:
        found = self.found.get(document.id)
        return None if found is None else self.content(found)


class TestWriterInCouchDBForm(_Writing):
    form = Form.COUCHDB


class TestWriterInElasticsearchForm(_Writing):
    form = Form.ELASTICSEARCH
