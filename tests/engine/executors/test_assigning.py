"""Which slice a worker gets next, and when a slice that fails again and again ends the run."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from migrator.activations.selection import Selection
from migrator.adapters.base import Slice
from migrator.engine.carrying import Terms
from migrator.engine.executors.assigning import Assigning, knowledge_for
from migrator.engine.executors.values import Knowledge, Rest
from migrator.engine.state.checkpoint import OpenSlice
from migrator.errors import Unavailable
from migrator.events.watching import Stop


def open_slice(number: int, *, replaces: bool = False, begun_before: bool = False) -> OpenSlice:
    slice = Slice(key=f"slice {number}", spec={}, replaces=replaces)
    return OpenSlice(number=number, slice=slice, position=None, begun_before=begun_before)


def assigning(*numbers: int) -> tuple[Assigning, Stop]:
    stop = Stop()
    return Assigning([open_slice(number) for number in numbers], cast(Any, SimpleNamespace(stop=stop))), stop


def numbers(found: Sequence[OpenSlice | Rest | None]) -> list[int | str | None]:
    return [
        each.number if isinstance(each, OpenSlice) else "rest" if isinstance(each, Rest) else None for each in found
    ]


def test_slices_are_handed_out_in_their_order_and_then_what_is_not_durable_is_asked_for() -> None:
    """There is nothing more only once all are committed."""
    slices, _ = assigning(1, 2)
    assert numbers([slices.take(flushed=False) for _ in range(3)]) == [1, 2, "rest"]
    slices.done([1, 2])
    assert numbers([slices.take(flushed=False), slices.take(flushed=True)]) == ["rest", None]


def test_what_must_be_carried_again_comes_first_but_for_what_is_outpaced() -> None:
    slices, _ = assigning(1, 2, 3)
    assert numbers([slices.next(), slices.next()]) == [1, 2]
    slices.go_on(1)
    slices.put_back([2], "was lost")
    assert numbers([slices.next(), slices.next()]) == [2, 1]
    slices.outpaced(1, Unavailable("newer"))
    assert numbers([slices.next() for _ in range(3)]) == [3, 1, None]


def test_a_worker_without_work_waits_for_what_others_may_lose() -> None:
    slices, _ = assigning(1)
    assert numbers([slices.take(flushed=True)]) == [1]
    found: list[OpenSlice | Rest | None] = []
    waiting = threading.Thread(target=lambda: found.append(slices.take(flushed=True)))
    waiting.start()
    slices.put_back([1], "was lost")
    waiting.join()
    assert numbers(found) == [1]
    waiting = threading.Thread(target=lambda: found.append(slices.take(flushed=True)))
    waiting.start()
    slices.done(iter([1]))
    waiting.join()
    assert numbers(found) == [1, None]


def test_a_run_that_is_asked_to_stop_hands_nothing_out() -> None:
    slices, stop = assigning(1)
    stop.ask()
    assert slices.take(flushed=False) is None


def test_a_slice_that_five_workers_were_lost_with_ends_the_run() -> None:
    """Of others the losses are counted by themselves."""
    slices, _ = assigning(1, 2)
    for _ in range(4):
        slices.put_back([1, 2], "was killed by signal 9")
    told = (
        "slice slice 2: 5 workers were lost while they carried it; the last one ended with exit code 1. Check the "
        "memory of the machine and the system's log, then run again"
    )
    with pytest.raises(Unavailable) as refused:
        slices.put_back([2], "ended with exit code 1")
    assert str(refused.value) == told


def test_a_slice_that_is_outpaced_twenty_times_ends_the_run_with_its_error() -> None:
    slices, _ = assigning(1, 2)
    error = Unavailable("newer")
    for _ in range(19):
        slices.outpaced(1, Unavailable("before"))
    slices.outpaced(2, error)
    with pytest.raises(Unavailable) as refused:
        slices.outpaced(1, error)
    assert refused.value is error


@pytest.mark.parametrize("any_aside", [False, True])
@pytest.mark.parametrize(
    ("slice", "rereads"),
    [
        (open_slice(1), False),
        (open_slice(1, replaces=True), True),
        (open_slice(1, begun_before=True), True),
    ],
)
def test_a_worker_learns_what_differed_where_it_may_meet_it_again(
    slice: OpenSlice, rereads: bool, any_aside: bool
) -> None:
    digests = frozenset({b"12345678"})
    coordinator = SimpleNamespace(
        terms=Terms(on_conflict="fail"),
        selection=Selection(until_ms=5),
        prepared={"backup": "x"},
        proven=frozenset({"guest"}),
        any_aside=any_aside,
        differing_digests=lambda: digests,
    )
    assert knowledge_for(slice, cast(Any, coordinator)) == Knowledge(
        terms=Terms(on_conflict="fail"),
        selection=Selection(until_ms=5),
        prepared={"backup": "x"},
        proven=frozenset({"guest"}),
        any_aside=any_aside,
        differing=digests if rereads and any_aside else frozenset(),
    )
