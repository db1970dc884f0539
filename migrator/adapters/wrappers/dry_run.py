"""A writer that writes nothing and tells what the real one would do."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

from migrator.activations import comparing
from migrator.activations.document import Document, Form
from migrator.adapters.base import Abilities, Completion, Description, Token, WriteOutcome, Writer


class DryRunWriter:
    """Looks up what is there and sorts the documents as a write would; the target isn't touched."""

    def __init__(self, inner: Writer) -> None:
        self._inner = inner
        self.form: Form | None = inner.form
        self.abilities: Abilities = msgspec.structs.replace(inner.abilities, receipts=False)

    def write(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
        there = self._inner.stored(documents)
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

    def describe(self) -> Description:
        return self._inner.describe()

    def concerned(self, identity: Token, namespaces: Collection[str]) -> Token:
        return self._inner.concerned(identity, namespaces)

    def preflight(self, namespaces: Sequence[str]) -> Sequence[str]:
        return self._inner.preflight(namespaces)

    def prepare(self) -> Token:
        return None

    def resume(self, prepared: Token, receipts: Sequence[tuple[int, Token]]) -> bool:  # noqa: ARG002  the contract's
        return True

    def mark(self) -> Token:
        return self._inner.mark()

    def stored_since(self, mark: Token, documents: Sequence[Document]) -> frozenset[str]:
        return self._inner.stored_since(mark, documents)

    def stored(self, documents: Sequence[Document]) -> Mapping[str, Document]:
        return self._inner.stored(documents)

    def census(self) -> int | None:
        return None

    def due(self) -> bool:
        return True

    def flush(self) -> Token:
        return None

    def finish(self, completion: Completion) -> None:
        pass

    def close(self) -> None:
        self._inner.close()
