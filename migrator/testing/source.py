"""A store that a suite reads: how documents come to be in it, which an adapter's test supplies, and how it is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from migrator.activations.document import Document, Form
from migrator.activations.selection import Selection
from migrator.adapters.base import Batch, Plan, Reader
from migrator.testing.documents import activation

ALL = Selection()


class Source:
    """Subclasses give the hooks below; `reader` is opened with pages of few documents where it can be determined."""

    form: Form
    holds_other_entities = True  # documents that aren't activations can stand beside them
    rounds_are_exact = True  # a catch-up round gives what is new and nothing else; False: a changed source is reread

    def put(self, documents: Sequence[Document]) -> None:
        """Store documents past the adapter, replacing what has the same id."""
        raise NotImplementedError

    def put_raw(self, id: str, body: bytes) -> None:
        """Store any JSON object past the adapter."""
        raise NotImplementedError

    def delete(self, document: Document) -> None:
        raise NotImplementedError

    @pytest.fixture
    def reader(self) -> Reader:
        raise NotImplementedError

    # -- helpers ------------------------------------------------------------------------------------------------

    def some(self, count: int, namespace: str = "guest", first: int = 0, **changes: Any) -> list[Document]:
        return [activation(first + number, namespace, form=self.form, **changes) for number in range(count)]

    def read_plan(self, reader: Reader, plan: Plan, selection: Selection = ALL) -> list[Batch]:
        return [batch for slice in plan.slices for batch in reader.read(slice, None, selection)]

    def read_all(self, reader: Reader, selection: Selection = ALL, *, slice_documents: int = 50) -> list[Batch]:
        return self.read_plan(reader, reader.plan(selection, slice_documents=slice_documents), selection)

    @staticmethod
    def ids(batches: Sequence[Batch]) -> list[str]:
        return [document.id for batch in batches for document in batch.documents]
