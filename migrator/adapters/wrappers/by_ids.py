"""A reader of documents that were chosen one by one, by their ids.

The ids are cut into slices that hold them, so that a checkpoint knows what is left without the file they came from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from typing_extensions import override

from migrator.activations.selection import Selection
from migrator.adapters.base import (
    Batch,
    Plan,
    Reader,
    Slice,
    SupportsCatchUp,
    SupportsCensus,
    SupportsCount,
    SupportsFollow,
    SupportsRepeats,
    SupportsVerificationPlan,
    Token,
)
from migrator.adapters.questions import (
    SupportsCustody,
    SupportsLookup,
    SupportsNewest,
    SupportsProbe,
    SupportsReasons,
    SupportsVolume,
)
from migrator.adapters.shared.optional import fetch
from migrator.adapters.wrappers.forwarding import ForwardingReader

_SLICE_IDS = 1000


class ChosenReader(ForwardingReader):
    """Gives what the inner reader's store holds under the given ids, and nothing else."""

    # Of chosen ids there is no telling which are new, and they are looked up in one way only. Everything else that a
    # store tells is about more than these ids.
    withholds = (
        SupportsFollow,
        SupportsCatchUp,
        SupportsVerificationPlan,
        SupportsCensus,
        SupportsRepeats,
        SupportsProbe,
        SupportsLookup,
        SupportsNewest,
        SupportsReasons,
        SupportsVolume,
        SupportsCustody,
    )
    provides = (SupportsCount,)

    def __init__(self, inner: Reader, ids: Sequence[str]) -> None:
        super().__init__(inner)
        self._ids = ids

    @override
    def plan(self, selection: Selection, *, slice_documents: int) -> Plan:
        size = min(slice_documents, _SLICE_IDS)
        slices: list[Slice] = []
        for first in range(0, len(self._ids), size):
            ids = list(self._ids[first : first + size])
            slices.append(Slice(key=f"ids {first + 1}..{first + len(ids)}", spec={"ids": ids}, documents=len(ids)))
        return Plan(slices=tuple(slices))

    @override
    def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
        return fetch(self._inner, slice.spec["ids"], after, selection)

    @override
    def count(self, selection: Selection) -> int | None:
        return len(self._ids)
