"""What follows from what came so far: growth, when disks are full, what a retention would hold, how many shards.

Sums by day, sizes and disks enter, values leave. Knows no store.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from migrator.activations import forms
from migrator.activations.amounts import DAY_MS, Group, Sum
from migrator.adapters.questions import Room
from migrator.operations.stats.values import Forecast, Growth, Retention, Shards

_LOOKED_BACK = 30  # days
_WEEK = 7
_STRAY = 0.005  # so many at most are taken for strays
_SHARD_BYTES = 30_000_000_000
"""What a shard should hold at most. Source: Elastic's advice of 10 to 50 GB a shard."""


def date(day: int) -> str:
    """A day counted from 1970 as 2026-11-24."""
    return forms.instant(day * DAY_MS).partition("T")[0]


def select_days(days: Mapping[int, Sum], *, now_ms: int) -> list[int]:
    """The days of a history in their order, without those in the future and the stray ones before nearly all others."""
    known = sorted(day for day in days if day <= now_ms // DAY_MS)
    stray = sum(days[day].activations for day in known) * _STRAY
    while known and days[known[0]].activations < stray:
        stray -= days[known.pop(0)].activations
    return known


def day_groups(days: Mapping[int, Sum]) -> tuple[Group, ...]:
    return tuple(
        Group(
            name=date(day),
            activations=round(each.activations),
            size_bytes=round(each.size_bytes),
            errors=round(each.errors),
        )
        for day, each in sorted(days.items())
    )


def growth_of(days: Mapping[int, Sum], *, now_ms: int, stored_each_byte: float) -> Growth | None:
    """The mean of up to thirty whole days, the last of which is that before the newest; None before there is one.

    Days that haven't come yet, which odd activations may name, aren't looked at, nor those before nearly all.
    """
    known = select_days(days, now_ms=now_ms)
    if not known:
        return None
    last = known[-1] - 1  # the newest one may not be over
    first = max(known[0], last - _LOOKED_BACK + 1)
    if first > last:
        return None
    looked_at = last - first + 1
    sums = [days.get(day, Sum()) for day in range(first, last + 1)]
    size_bytes = sum(each.size_bytes for each in sums) / looked_at
    return Growth(
        days=looked_at,
        last_day=date(last),
        activations=sum(each.activations for each in sums) / looked_at,
        size_bytes=size_bytes,
        stored_bytes=size_bytes * stored_each_byte,
        change=_change([each.activations for each in sums]),
    )


def _change(activations: Sequence[float]) -> float | None:
    now, before = sum(activations[-_WEEK:]), sum(activations[-2 * _WEEK : -_WEEK])
    return now / before - 1 if len(activations) >= 2 * _WEEK and before else None


def forecasts_of(rooms: Sequence[Room], growth: Growth | None, *, now_ms: int) -> tuple[Forecast, ...]:
    """When each disk is full; what comes is shared among them evenly."""
    found = []
    for room in rooms:
        a_day = growth.stored_bytes / len(rooms) if growth else 0
        days = max(room.room_bytes, 0) / a_day if a_day else None
        at_ms = None if days is None else now_ms + round(days * DAY_MS)
        found.append(Forecast(room=room, days=days, at_ms=at_ms))
    return tuple(sorted(found, key=lambda each: math.inf if each.days is None else each.days))


def retention_of(
    ages: Iterable[int],
    days: Mapping[int, Sum],
    growth: Growth | None,
    rooms: Sequence[Room],
    *,
    now_ms: int,
    stored_bytes: int,
    stored_each_byte: float,
) -> tuple[Retention, ...]:
    """What the last so many days hold, counted back from the newest activation."""
    known = select_days(days, now_ms=now_ms)
    found = []
    for age in ages:
        kept = Sum()
        is_projected = bool(growth) and (not known or known[-1] - known[0] + 1 < age)
        if growth and is_projected:
            kept.add(growth.activations * age, growth.size_bytes * age, 0)
        elif known:
            for day in known:
                if day > known[-1] - age:
                    kept.add(days[day].activations, days[day].size_bytes, 0)
        needed = round(kept.size_bytes * stored_each_byte)
        found.append(
            Retention(
                days=age,
                activations=round(kept.activations),
                size_bytes=round(kept.size_bytes),
                stored_bytes=needed,
                is_projected=is_projected,
                fits=needed <= stored_bytes + sum(max(room.room_bytes, 0) for room in rooms) if rooms else None,
            )
        )
    return tuple(found)


def shards_of(sizes_bytes: Mapping[str, tuple[float, int | None]], factor: float) -> tuple[Shards, ...]:
    """What each index should have when it holds `factor` times what it holds now; the largest first."""
    found = [
        Shards(
            name=name,
            size_bytes=round(size_bytes * factor),
            now=now,
            suggested=max(1, math.ceil(size_bytes * factor / _SHARD_BYTES)),
        )
        for name, (size_bytes, now) in sizes_bytes.items()
    ]
    return tuple(sorted(found, key=lambda each: (-each.size_bytes, each.name)))
