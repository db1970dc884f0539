"""What the statistics of a store come to: values that are shown as text, as a page or as JSON, and hold no secret.

Where `method` isn't "read", numbers that were estimated are rounded; the notes say which.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from migrator.activations.amounts import Group, Large
from migrator.adapters.questions import Room

Method = Literal["read", "aggregated", "sampled"]


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """What comes in a day, as the mean of the last whole days."""

    days: int  # that were looked at
    last_day: str
    activations: float
    size_bytes: float
    stored_bytes: float  # as the store keeps it
    change: float | None  # of the last seven days against the seven before: 0.1 is a tenth more


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """When a disk is full, at this rate, if nothing is deleted."""

    room: Room
    days: float | None  # None where nothing grows
    at_ms: int | None


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """What a store would hold that keeps activations for so many days."""

    days: int
    activations: int
    size_bytes: int
    stored_bytes: int
    is_projected: bool  # the store doesn't go back so far: the mean of a day, times the days
    fits: bool | None  # on the disks as they are, None where they aren't known


class Shards(msgspec.Struct, frozen=True, kw_only=True):
    """How many primary shards an index of Elasticsearch should have."""

    name: str  # an index, or the namespace that would get one
    size_bytes: int  # that is expected in it
    now: int | None  # None where there is no index
    suggested: int


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """The whole answer."""

    location: str
    product: str
    version: str
    method: Method
    sampled: int  # documents that were examined
    now_ms: int
    activations: int
    size_bytes: int  # of their JSON
    stored_bytes: int | None  # as the store keeps them, None where it doesn't tell
    errors: int
    logs_bytes: int
    results_bytes: int
    unreadable: int
    first_ms: int | None
    last_ms: int | None
    namespaces: tuple[Group, ...]  # the most activations first; the rest of very many as one
    actions: tuple[Group, ...]  # as above
    days: tuple[Group, ...]  # in their order
    told_days: tuple[str, ...]  # of these those that a chart shows: without strays long before, or in the future
    largest: tuple[Large, ...]
    growth: Growth | None  # None before there is a whole day
    forecasts: tuple[Forecast, ...]  # the disk that is full first is the first
    retention: tuple[Retention, ...]
    shards: tuple[Shards, ...]
    shards_for_days: int | None  # the age that the sizes of shards are reported for; None: as much as is there now
    notes: tuple[str, ...]
