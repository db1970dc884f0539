"""Looks into one store in the way that it allows: by reading, by what it counts itself, by a sample.

A `Store` enters, a `Measured` leaves. Only reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing

import msgspec

from migrator.activations.amounts import Amounts
from migrator.activations.selection import Selection
from migrator.adapters.base import Reader
from migrator.adapters.opening import open_reader
from migrator.adapters.questions import Place, Room, SupportsVolume, Volume
from migrator.adapters.shared.patience import Policy
from migrator.adapters.wrappers.retrying import RetryingReader
from migrator.engine.matching import check_nothing, is_narrow
from migrator.events.watching import Observer, Stop
from migrator.operations.stats.reading import read_all, read_sample
from migrator.operations.stats.values import Method
from migrator.settings.stores import Store

_FEW = 5_000  # documents that are read at once rather than sampled
_SAMPLE_BYTES = 250_000  # a page of each slice is the sample
_PAGE_BYTES = 4_000_000


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What a store has of what is selected, and what it is on."""

    product: str
    version: str
    method: Method
    amounts: Amounts
    stored_bytes: float | None  # as the store keeps what is selected
    rooms: tuple[Room, ...] = ()
    indices: Mapping[str, tuple[float, int | None]] = {}  # bytes and primary shards of each
    notes: tuple[str, ...] = ()


def measure(
    store: Store, selection: Selection, *, exact: bool, policy: Policy, stop: Stop, observe: Observer
) -> Measured:
    """Look into a store; raises what its adapter raises. `policy` is for reading; questions are asked again briefly.

    Raises `NotFound` where what is selected by name is nowhere in it.
    """
    inner = open_reader(store, page_bytes=_PAGE_BYTES if exact else _SAMPLE_BYTES)
    with closing(RetryingReader(inner, policy)) as reader:
        about = reader.describe()
        volume = Volume()
        if isinstance(reader, SupportsVolume):
            volume = reader.volume(selection, exact=exact, stop=stop)
        method, amounts, warnings = _count(reader, volume, selection, exact, stop, observe)
        knows = method != "sampled" or not selection.names
        if knows and is_narrow(selection) and not (amounts.total.activations or amounts.unreadable):
            check_nothing(reader, selection, {})
    sizes = _sizes(volume, amounts)
    return Measured(
        product=about.product,
        version=about.version,
        method=method,
        amounts=amounts,
        stored_bytes=_stored_bytes(volume, amounts, sizes),
        rooms=volume.rooms,
        indices={place.name: (sizes[place], place.shards) for place in sizes if place.shards is not None},
        notes=(*warnings, *volume.notes),
    )


def _count(
    reader: Reader, volume: Volume, selection: Selection, exact: bool, stop: Stop, observe: Observer
) -> tuple[Method, Amounts, tuple[str, ...]]:
    if volume.counted is not None:
        return "aggregated", volume.counted, ()
    if exact or not volume.sampled or volume.documents <= _FEW:
        return "read", *read_all(reader, selection, stop=stop, observe=observe)
    return "sampled", *read_sample(reader, selection, documents=volume.documents, stop=stop)


def _sizes(volume: Volume, amounts: Amounts) -> dict[Place, float]:
    """What is selected takes its share of each place: that of the documents there, or in all places."""
    share = amounts.total.activations / max(volume.documents, 1)
    shares = dict.fromkeys(volume.places, share)
    if volume.counted is not None:
        shares = {each: volume.counted_in.get(each.name, 0) / max(each.documents, 1) for each in volume.places}
    return {place: (place.size_bytes or 0) * min(1.0, shares[place]) for place in volume.places}


def _stored_bytes(volume: Volume, amounts: Amounts, sizes: Mapping[Place, float]) -> float | None:
    if volume.stored_each_byte is not None:
        return amounts.total.size_bytes * volume.stored_each_byte
    if not sizes or any(place.size_bytes is None for place in sizes):
        return volume.stored_bytes
    return sum(size_bytes * (1 + (place.replicas or 0)) for place, size_bytes in sizes.items())
