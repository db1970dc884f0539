"""The days of a history as a chart has them: so many columns at most, each a day or several.

Days enter, columns leave; days without activations count as well.
"""

from __future__ import annotations

from datetime import date, timedelta

import msgspec

from migrator.operations.stats.values import Statistics
from migrator.text.units import counted


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """One or several days."""

    first: str  # 2026-11-24
    days: int
    activations: int
    size_bytes: int
    errors: int

    @property
    def name(self) -> str:
        return self.first if self.days == 1 else f"{self.first} and {counted(self.days - 1, 'more day')}"


def columns(found: Statistics, most: int) -> tuple[Column, ...]:
    """The history of a store, oldest first."""
    if not found.told_days:
        return ()
    told, first = set(found.told_days), date.fromisoformat(found.told_days[0])
    length = (date.fromisoformat(found.told_days[-1]) - first).days + 1
    together = -(-length // most)
    sums = [[0, 0, 0] for _ in range(-(-length // together))]
    for group in found.days:
        if group.name in told:
            of = sums[(date.fromisoformat(group.name) - first).days // together]
            of[0] += group.activations
            of[1] += group.size_bytes
            of[2] += group.errors
    return tuple(
        Column(
            first=(first + timedelta(days=at * together)).isoformat(),
            days=min(together, length - at * together),
            activations=activations,
            size_bytes=size_bytes,
            errors=errors,
        )
        for at, (activations, size_bytes, errors) in enumerate(sums)
    )
