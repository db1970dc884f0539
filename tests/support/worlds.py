"""A source, a target and a checkpoint for the tests of the engine."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from migrator.activations import forms
from migrator.activations.document import Document, Form
from migrator.activations.requests import JobRequest
from migrator.activations.selection import Selection
from migrator.adapters.base import Token
from migrator.adapters.memory import MemoryReader, MemoryStore, MemoryWriter
from migrator.engine.copy import run_copy
from migrator.engine.following import Follow
from migrator.engine.options import CopyOptions
from migrator.engine.report import Report
from migrator.engine.state.checkpoint import Checkpoint, JobSpec
from migrator.events import Tell
from migrator.events.watching import Stop
from migrator.testing.documents import activation
from tests.support.said import into

SPEC = JobSpec(
    id="0123456789ab",
    source_identity="a",
    target_identity="b",
    request=JobRequest(verb="copy", source="memory:a", target="memory:b"),
)


class CutError(Exception):
    """The process died here."""


class World:
    """A source, a target and a checkpoint file, and how to run a copy between them."""

    def __init__(self, folder: Path, count: int = 230) -> None:
        self.source = MemoryStore("a", Form.COUCHDB)
        self.target = MemoryStore("b", Form.ELASTICSEARCH)
        self.path = folder / "job.sqlite"
        self.messages: list[str] = []
        for number in range(count):
            self.put(activation(number, "guest" if number % 3 else "whisk.system"))

    def put(self, document: Document) -> None:
        self.source.put(document.id, document.body)

    def copy(
        self,
        *,
        reader: Any = None,
        writer: Any = None,
        checkpoint: Checkpoint | None = None,
        stop: Stop | None = None,
        selection: Selection = Selection(),  # noqa: B008  a frozen value
        dry_run: bool = False,
        since: Token = None,
        follow: Follow | None = None,
        tell: Tell | None = None,
        **options: Any,
    ) -> Report:
        checkpoint = checkpoint or Checkpoint(self.path)
        try:
            return run_copy(
                reader or MemoryReader(self.source, page_documents=10),
                writer or MemoryWriter(self.target),
                checkpoint,
                SPEC,
                selection,
                CopyOptions(**{"jobs": 2, "slice_documents": 50, "small_round": 1, **options}),
                stop=stop or Stop(),
                tell=tell or into(self.messages),
                dry_run=dry_run,
                since=since,
                follow=follow,
            )
        finally:
            checkpoint.close()

    def expected(self) -> dict[str, bytes]:
        result = {}
        for id, entry in self.source.entries.items():
            if entry.body is not None and b"activationId" in entry.body:
                converted = forms.convert(_document(id, entry.body), Form.ELASTICSEARCH)
                assert isinstance(converted, Document)
                result[id] = converted.body
        return result

    def there(self) -> dict[str, bytes | None]:
        return {id: entry.body for id, entry in self.target.entries.items()}


def _document(id: str, body: bytes) -> Document:
    content = json.loads(body)
    return Document(id, Form.COUCHDB, body, content["namespace"], content["name"], content["start"])


def as_of_the_release_before(path: Path) -> None:
    """Make a checkpoint or an evidence what the release wrote that had no checksums."""
    with closing(sqlite3.connect(path)) as file:
        file.execute("DROP TABLE checksums")
        file.execute("UPDATE meta SET value = '1' WHERE name = 'format'")
        file.execute("DELETE FROM meta WHERE name = 'of'")
        file.commit()
