"""What a store holds and how it grows, for planning its capacity.

A store and a selection enter, `Statistics` leave. Everything is only read: from archives and files all of it, from
Elasticsearch by aggregation, from a large CouchDB a sample.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from migrator.activations.amounts import DAY_MS
from migrator.activations.selection import SelectionSpec
from migrator.adapters.shared.patience import Policy
from migrator.adapters.shared.room import disk_free
from migrator.api.opening import resolve_store
from migrator.events import Tell
from migrator.events.watching import Observer, Stop
from migrator.operations.stats.measuring import Measured, measure
from migrator.operations.stats.outlook import (
    date,
    day_groups,
    forecasts_of,
    growth_of,
    retention_of,
    select_days,
    shards_of,
)
from migrator.operations.stats.values import Growth, Statistics
from migrator.settings.stores import Store
from migrator.text.arguments import argument
from migrator.text.units import counted

__all__ = ["Statistics", "stats"]

_NAMED = 1_000  # namespaces and actions that are reported one by one


def stats(
    store: Store | str,
    *,
    wanted: SelectionSpec = SelectionSpec(),  # noqa: B008  a frozen value
    exact: bool = False,
    ages: Sequence[int] = (),
    disk_free_bytes: int | None = None,
    retry_for_s: float = 300.0,
    stop: Stop | None = None,
    observe: Observer = lambda _: None,
    tell: Tell = lambda _: None,
    clock: Callable[[], float] = time.time,
) -> Statistics:
    """Look into a store and conclude. `store` is a location, a name in `migrator.toml`, or a `Store`.

    `wanted` selects. `exact` reads all of CouchDB or Elasticsearch. `ages` are retentions in days to be told of.
    `disk_free_bytes` is what the store can still grow by, where it can't tell itself. Raises what the adapters raise,
    and `Interrupted`.
    """
    store, stop, now_ms = resolve_store(store, "source", tell), stop or Stop(), int(clock() * 1000)
    policy = Policy(patience_s=retry_for_s, sleep=stop.sleep, tell=tell)
    measured = measure(store, wanted.fix(now_ms=now_ms), exact=exact, policy=policy, stop=stop, observe=observe)
    return _conclude(store, measured, ages, disk_free_bytes, now_ms=now_ms)


def _conclude(
    store: Store, measured: Measured, ages: Sequence[int], disk_free_bytes: int | None, *, now_ms: int
) -> Statistics:
    """What follows from what was measured."""
    amounts = measured.amounts
    size_bytes, stored_bytes, stored_each_byte = _bytes_stored(measured)
    rooms = measured.rooms if disk_free_bytes is None else disk_free(disk_free_bytes)
    growth = growth_of(amounts.days, now_ms=now_ms, stored_each_byte=stored_each_byte)
    retention = retention_of(
        ages,
        amounts.days,
        growth,
        rooms,
        now_ms=now_ms,
        stored_bytes=round(stored_bytes),
        stored_each_byte=stored_each_byte,
    )
    longest = max(retention, key=lambda each: each.days, default=None)
    return Statistics(
        location=store.location.printed,
        product=measured.product,
        version=measured.version,
        method=measured.method,
        sampled=amounts.sampled,
        now_ms=now_ms,
        activations=round(amounts.total.activations),
        size_bytes=round(size_bytes),
        stored_bytes=None if measured.stored_bytes is None else round(measured.stored_bytes),
        errors=round(amounts.total.errors),
        logs_bytes=round(amounts.logs_bytes),
        results_bytes=round(amounts.results_bytes),
        unreadable=round(amounts.unreadable),
        first_ms=amounts.first_ms,
        last_ms=amounts.last_ms,
        namespaces=amounts.namespaces.groups(_NAMED),
        actions=amounts.actions.groups(_NAMED),
        days=day_groups(amounts.days),
        told_days=tuple(map(date, select_days(amounts.days, now_ms=now_ms))),
        largest=amounts.largest,
        growth=growth,
        forecasts=forecasts_of(rooms, growth, now_ms=now_ms),
        retention=retention,
        shards=shards_of(_sizes(measured), longest.size_bytes / size_bytes if longest and size_bytes else 1.0),
        shards_for_days=longest.days if longest else None,
        notes=(*measured.notes, *_notes(measured, growth, has_room=bool(rooms), now_ms=now_ms)),
    )


def _bytes_stored(measured: Measured) -> tuple[float, float, float]:
    """The bytes of JSON, the bytes as they are stored, and how many of these there are for one of JSON."""
    size_bytes = measured.amounts.total.size_bytes
    stored_bytes = size_bytes if measured.stored_bytes is None else measured.stored_bytes
    return size_bytes, stored_bytes, stored_bytes / size_bytes if size_bytes else 1.0


def _sizes(measured: Measured) -> dict[str, tuple[float, int | None]]:
    """The bytes and primary shards of each index; of a store without any, those of each namespace."""
    namespaces = measured.amounts.namespaces.by_name
    return {**measured.indices} or {name: (each.size_bytes, None) for name, each in namespaces.items()}


def _notes(measured: Measured, growth: Growth | None, *, has_room: bool, now_ms: int) -> list[str]:
    """What must be known to read the numbers."""
    amounts, notes = measured.amounts, []
    if measured.method == "sampled":
        notes.append(
            f"all numbers are estimates from a sample of {counted(amounts.sampled, 'document')}; "
            f"{argument('exact')} reads all of them"
        )
    elif measured.method == "aggregated":
        notes.append(
            "numbers of activations are exact; bytes, shares and the largest come from "
            f"{counted(amounts.sampled, 'document')} that were drawn at random and from those with the largest "
            f"results; {argument('exact')} reads all of them"
        )
    if measured.stored_bytes is None:
        notes.append("the store doesn't report its size on disk; the size of the JSON is used instead")
    if not has_room:
        notes.append(f"the store doesn't report its free space; give it with {argument('disk_free')}, such as 200GB")
    if amounts.last_ms is not None and amounts.last_ms > now_ms + DAY_MS:
        notes.append(f"some activations start in the future, up to {date(amounts.last_ms // DAY_MS)}")
    known = select_days(amounts.days, now_ms=now_ms)
    if known and known[0] > (first := min(amounts.days)):
        notes.append(f"some activations start long before nearly all others, from {date(first)} on")
    if growth and known[-1] < now_ms // DAY_MS - 1:
        notes.append(f"nothing started since {date(known[-1])}; the growth is that of the time before")
    return notes
