"""What readers are asked whether or not they support it, with what holds where they don't."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from migrator.activations.selection import Selection
from migrator.adapters.base import (
    Batch,
    Plan,
    Reader,
    SupportsCensus,
    SupportsCount,
    SupportsFetch,
    SupportsVerificationPlan,
    Token,
)
from migrator.adapters.shared.fetch_by_reading import fetch_by_reading


def fetch(reader: Reader, ids: Sequence[str], after: Token, selection: Selection) -> Iterator[Batch]:
    """What a store holds under some ids, by look-up; where it has none, by one reading of everything."""
    if isinstance(reader, SupportsFetch):
        return reader.fetch(ids, after, selection)
    return fetch_by_reading(reader, ids, after, selection)


def census(reader: Reader, selection: Selection, snapshot: Token) -> int | None:
    """How many documents the server itself counts; None where it can't tell."""
    return reader.census(selection, snapshot) if isinstance(reader, SupportsCensus) else None


def count(reader: Reader, selection: Selection) -> int | None:
    """How many documents there are, for the progress shown; None where that isn't cheap to tell."""
    return reader.count(selection) if isinstance(reader, SupportsCount) else None


def plan_verification(reader: Reader, selection: Selection, *, slice_documents: int) -> Plan:
    """A plan by another path of reading than a copy's, where the store has one."""
    if isinstance(reader, SupportsVerificationPlan):
        return reader.plan_verification(selection, slice_documents=slice_documents)
    return reader.plan(selection, slice_documents=slice_documents)
