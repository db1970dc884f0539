"""A writer that writes nothing and tells what the real one would do."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import override

from migrator.activations import comparing
from migrator.activations.document import Document
from migrator.adapters.base import (
    Completion,
    SupportsBuffer,
    SupportsFence,
    SupportsJoining,
    SupportsReceipts,
    SupportsStock,
    SupportsStored,
    Token,
    WriteOutcome,
)
from migrator.adapters.wrappers.forwarding import ForwardingWriter


class DryRunWriter(ForwardingWriter):
    """Looks up what is there and sorts the documents as a write would; the target isn't touched."""

    # Nothing is written that they could speak of.
    withholds = (SupportsReceipts, SupportsBuffer, SupportsFence, SupportsJoining, SupportsStock)

    @override
    def prepare(self) -> Token:
        return None

    @override
    def write(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
        there = self._inner.stored(documents) if isinstance(self._inner, SupportsStored) else {}
        written: list[Document] = []
        present: list[Document] = []
        differing: list[Document] = []
        for document in documents:
            stored = there.get(document.id)
            if stored is not None and comparing.same(document, stored, doubles=self.abilities.doubles):
                present.append(document)
            elif stored is not None and not replace:
                differing.append(document)
            else:
                written.append(document)
        return WriteOutcome(written=tuple(written), present=tuple(present), differing=tuple(differing))

    @override
    def flush(self) -> Token:
        return None

    @override
    def finish(self, completion: Completion) -> None:
        pass
