"""A reader of documents that were chosen one by one, by their ids.

The ids are cut into slices that hold them, so that a checkpoint knows what is left without the file they came from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from migrator.activations.document import Form
from migrator.activations.selection import Selection
from migrator.adapters.base import Abilities, Batch, Description, Plan, Reader, Slice, Token

_SLICE_IDS = 1000


class ChosenReader:
    """Gives what the inner reader's store holds under the given ids, and nothing else."""

    def __init__(self, inner: Reader, ids: Sequence[str]) -> None:
        self._inner = inner
        self._ids = ids
        self.abilities: Abilities = msgspec.structs.replace(inner.abilities, catches_up=False)

    @property
    def form(self) -> Form:
        return self._inner.form

    def describe(self) -> Description:
        return self._inner.describe()

    def plan(self, selection: Selection, *, slice_documents: int) -> Plan:  # noqa: ARG002  part of the contract
        size = min(slice_documents, _SLICE_IDS)
        slices: list[Slice] = []
        for first in range(0, len(self._ids), size):
            ids = list(self._ids[first : first + size])
            slices.append(Slice(key=f"ids {first + 1}..{first + len(ids)}", spec={"ids": ids}, documents=len(ids)))
        return Plan(slices=tuple(slices))

    def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
        return self._inner.fetch(slice.spec["ids"], after, selection)

    def fetch(self, ids: Sequence[str], after: Token, selection: Selection) -> Iterator[Batch]:
        return self._inner.fetch(ids, after, selection)

    def catch_up(self, snapshot: Token, selection: Selection, *, slice_documents: int) -> Plan:
        raise NotImplementedError("what was chosen is read once; `abilities` says so")

    def plan_verification(self, selection: Selection, *, slice_documents: int) -> Plan:
        return self.plan(selection, slice_documents=slice_documents)

    def census(self, selection: Selection, snapshot: Token) -> int | None:  # noqa: ARG002  the contract's
        return None

    def namespaces(self) -> Mapping[str, int | None]:
        return self._inner.namespaces()

    def count(self, selection: Selection) -> int | None:  # noqa: ARG002  part of the contract
        return len(self._ids)

    def close(self) -> None:
        self._inner.close()
