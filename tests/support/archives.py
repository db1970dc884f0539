"""Archives made for tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from migrator.activations.document import Document, Form
from migrator.activations.selection import Selection
from migrator.adapters.archive import ArchiveReader, ArchiveWriter
from migrator.adapters.archive.catalog import read_catalog
from migrator.adapters.archive.folder import Folder
from migrator.adapters.archive.manifest import Manifest
from migrator.adapters.base import Completion, Description, Token

ALL = Selection()


def completion(form: Form, receipts: Sequence[tuple[int, Token]] = (), **changes: object) -> Completion:
    """What the engine tells a writer at the end of a backup."""
    told: dict[str, object] = {
        "source": Description(location="memory:source", product="memory", version="1", identity="source#1"),
        "form": form,
        "selection": Selection(),
        "snapshot": 7,
        "snapshot_s": 1_800_000_000.0,
        "began_s": 1_799_999_990.0,
        "receipts": receipts,
        "counts": counts_of(receipts),
        "deleted": 0,
        "warnings": (),
    }
    return Completion(**(told | changes))  # type: ignore[arg-type]  # names and values as above


def counts_of(receipts: Sequence[tuple[int, Token]]) -> dict[str, dict[str, int]]:
    """The accounts of a job that wrote what receipts speak of, and nothing else."""
    written: Counter[str] = Counter()
    for _, receipt in receipts:
        assert isinstance(receipt, dict)
        written.update(receipt["namespaces"])
    return {name: {"read": count, "written": count} for name, count in written.items()}


class Clock:
    """Every look is a second later, so that backups have an order."""

    def __init__(self) -> None:
        self.now_s = 1_800_000_000.0

    def __call__(self) -> float:
        self.now_s += 1
        return self.now_s


CLOCK = Clock()


def add_backup(
    folder: Path,
    form: Form,
    layers: Sequence[Sequence[Document]],
    *,
    parent: str | None = None,
    part_documents: int = 1_000_000,
    **changes: Any,
) -> Manifest:
    """Write a backup: each layer's documents in parts of `part_documents`."""
    writer = ArchiveWriter(Folder(str(folder)), clock=CLOCK)
    writer.continue_from(parent)
    writer.prepare()
    receipts: list[tuple[int, Token]] = []
    for round, documents in enumerate(layers):
        for first in range(0, len(documents), part_documents):
            writer.write(documents[first : first + part_documents], replace=False)
            receipts.append((round, writer.flush()))
    writer.finish(completion(form, receipts, **changes))
    writer.close()
    return read_catalog(Folder(str(folder))).find(writer.backup, "the archive")


def read_archive(folder: Path, selection: Selection = ALL, **choice: Any) -> list[Document]:
    """Every document that a reader gives, in no order."""
    reader = ArchiveReader(Folder(str(folder)), **choice)
    plan = reader.plan(selection, slice_documents=1000)
    return [
        document
        for slice in plan.slices
        for batch in reader.read(slice, None, selection)
        for document in batch.documents
    ]
