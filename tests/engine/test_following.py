"""A run that follows its source: what is carried, when it ends, and what it says of its lag."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from migrator.activations.selection import Selection
from migrator.adapters.base import Batch, News, Plan, Slice, Token
from migrator.adapters.memory import MemoryReader
from migrator.engine.following import Follow
from migrator.engine.options import CopyOptions
from migrator.engine.report import Report
from migrator.engine.state.checkpoint import Checkpoint
from migrator.errors import Interrupted, PlaceGone
from migrator.events import CaughtUp, Event, LagNoted, LagUnknown, RoundAbandoned, StoreReplaced
from migrator.events.watching import Stop
from migrator.testing.documents import activation
from tests.support.worlds import SPEC, CutError, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


class Scripted(MemoryReader):
    """A source in which something happens before each look."""

    def __init__(self, world: World, *steps: Callable[[], object]) -> None:
        super().__init__(world.source, page_documents=10)
        self._steps = list(steps)
        self.unseen: tuple[str, ...] = ()
        self.looks = 0

    def news(self, snapshot: Token, selection: Selection, *, wait_s: float, stop: Stop) -> News:
        self.looks += 1
        if self._steps:
            self._steps.pop(0)()
        found = super().news(snapshot, selection, wait_s=min(wait_s, 0.01), stop=stop)
        return News(pending=found.pending, unseen=self.unseen)


def follow(world: World, reader: MemoryReader, **until: int) -> tuple[Report, list[Event]]:
    told: list[Event] = []
    report = world.copy(reader=reader, follow=Follow(**until), tell=told.append)
    return report, told


def test_what_is_stored_while_it_follows_is_copied(world: World) -> None:
    """Round after round, until as little is pending as was asked for; the accounts add up."""
    steps = [partial(world.put, activation(number)) for number in range(1000, 1003)]
    reader = Scripted(world, *steps)
    report, told = follow(world, reader, until_lag=0)
    assert world.there() == world.expected()
    assert report.totals.adds_up
    assert (report.totals.written, report.rounds, report.exit_code) == (233, 4, 0)
    lags = [(each.job, each.documents) for each in told if isinstance(each, LagNoted)]
    assert lags == [(SPEC.id, documents) for documents in (1, 1, 1, 0)]
    assert [each.job for each in told if isinstance(each, CaughtUp)] == [SPEC.id]


@pytest.mark.parametrize("following", [False, True])
def test_a_run_that_follows_looks_after_its_first_round(world: World, following: bool) -> None:
    """Its lag is shown from then on; a copy that doesn't follow makes more rounds while much is new."""

    class Busy(Scripted):
        rounds = 0

        def catch_up(self, snapshot: Token, selection: Selection, *, slice_documents: int) -> Plan:
            self.rounds += 1
            world.put(activation(1000 + self.rounds))
            return super().catch_up(snapshot, selection, slice_documents=slice_documents)

    reader, told = Busy(world), list[Event]()
    report = world.copy(reader=reader, tell=told.append, follow=Follow(until_lag=0) if following else None)
    assert reader.rounds == report.rounds == (1 if following else CopyOptions().most_rounds)
    assert any(isinstance(each, LagNoted) for each in told) is following


def test_it_ends_once_nothing_new_came_for_so_long(world: World) -> None:
    """Each document that comes restarts the time."""
    reader = Scripted(world, lambda: None, lambda: None, lambda: world.put(activation(1000)))
    report, told = follow(world, reader, until_idle_s=1)
    assert world.there() == world.expected()
    assert [each.documents for each in told if isinstance(each, LagNoted)][:3] == [0, 0, 1]
    assert reader.looks >= 5
    assert report.exit_code == 0


def test_deletions_in_the_source_dont_keep_it_from_being_idle(world: World) -> None:
    """What cleans up the source stores nothing."""
    ids = sorted(world.source.entries)
    reader = Scripted(world, *[partial(world.source.put, id, None) for id in ids[:4]])
    report, _ = follow(world, reader, until_idle_s=1)
    assert report.deleted == 4
    assert reader.looks >= 5


def test_documents_that_are_none_of_its_own_dont_keep_it_from_being_idle(world: World) -> None:
    """Such as views: between two of them the time without news adds up."""
    steps: list[Callable[[], object]] = []
    for number in range(20):
        steps += [lambda: None, partial(world.source.put, f"_design/{number}", b'{"views":{}}')]
    reader = Scripted(world, *steps)
    follow(world, reader, until_idle_s=1)
    assert reader.looks < len(steps)


def test_no_lag_is_claimed_while_a_part_of_the_source_cant_be_seen(world: World) -> None:
    """The lag is unknown, it is said why, and a run that ends so has exit code 3."""
    reader = Scripted(world, lambda: setattr(reader, "unseen", ("index x is closed",)))
    report, told = follow(world, reader, until_lag=0)
    assert [each.documents for each in told if isinstance(each, LagNoted)] == [None]
    assert [each.reason for each in told if isinstance(each, LagUnknown)] == ["index x is closed"]
    assert not any(isinstance(each, CaughtUp) for each in told)
    assert (report.exit_code, report.warnings) == (3, ("index x is closed",))


def test_a_signal_ends_it_and_the_next_run_goes_on(world: World) -> None:
    """Without a limit it follows until it is asked to stop; what was carried by then isn't carried again."""
    stop = Stop()
    reader = Scripted(world, lambda: world.put(activation(1000)), lambda: None, lambda: stop.ask(143))
    with pytest.raises(Interrupted) as raised:
        world.copy(reader=reader, follow=Follow(), stop=stop)
    assert raised.value.exit_code == 143
    assert world.there() == world.expected()
    world.put(activation(1001))
    report, _ = follow(world, Scripted(world), until_lag=0)
    assert world.there() == world.expected()
    assert (report.run, report.run_read) == (2, 1)


def test_the_lag_is_kept_with_the_job(world: World) -> None:
    follow(world, Scripted(world, lambda: world.put(activation(1000))), until_lag=0)
    checkpoint = Checkpoint(world.path, view=True)
    try:
        assert checkpoint.lag is not None
        assert (checkpoint.lag.documents, checkpoint.lag.behind_s) == (0, 0.0)
        assert max(documents or 0 for _, documents, _ in checkpoint.lags) == 1
    finally:
        checkpoint.close()


@pytest.mark.parametrize("method", ["begin_round", "commit", "move_on", "complete", "note_lag", "abandon_round"])
@pytest.mark.parametrize("nth", [1, 2, 4])
def test_a_run_that_dies_while_it_follows_is_resumed_without_a_gap(world: World, method: str, nth: int) -> None:
    """Before or after any change of its state: the next run carries what is missing, and counts it right."""
    calls = 0

    def dying(self: Checkpoint, *values: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth:
            raise CutError
        return getattr(Checkpoint, method)(self, *values, **more)

    cut = type("Cut", (Checkpoint,), {method: dying})
    world.copy()
    steps = [partial(world.put, activation(number)) for number in range(1000, 1004)]
    reader = Losing(world, *steps)
    with suppress(CutError):
        world.copy(reader=reader, checkpoint=cut(world.path), follow=Follow(until_lag=0), jobs=1)
    world.put(activation(2000))
    report, _ = follow(world, Scripted(world), until_lag=0)
    assert world.there() == world.expected()
    assert report.totals.adds_up
    assert report.differing == 0


class Losing(Scripted):
    """A source of which a part goes once while a round reads it."""

    def __init__(self, world: World, *steps: Callable[[], object]) -> None:
        super().__init__(world, *steps)
        self._world = world
        self._lost = False

    def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
        for batch in super().read(slice, after, selection):
            yield batch
            if "since" in slice.spec and not self._lost:
                self._lost = True
                raise PlaceGone("index x was deleted while it was read", then="start over")


def test_a_round_whose_source_goes_is_given_up_and_begun_again(world: World) -> None:
    """What it had carried stays; the next round begins where it did."""
    world.copy()
    for number in range(1000, 1030):
        world.put(activation(number))
    report, told = follow(world, Losing(world), until_lag=0)
    assert [each.reason for each in told if isinstance(each, RoundAbandoned)] == [
        "index x was deleted while it was read"
    ]
    assert world.there() == world.expected()
    assert report.totals.adds_up
    assert report.exit_code == 0


def test_a_source_that_goes_in_the_first_round_is_copied_again(world: World) -> None:
    """Nothing is complete yet that could be resumed; the reason is reported."""

    class LosingAtFirst(Scripted):
        lost = False

        def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
            for batch in super().read(slice, after, selection):
                yield batch
                if not self.lost:
                    self.lost = True
                    raise PlaceGone("index x was deleted while it was read", then="start over")

    report, told = follow(world, LosingAtFirst(world), until_lag=0)
    assert [each.reason for each in told if isinstance(each, StoreReplaced)] == [
        "index x was deleted while it was read"
    ]
    assert world.there() == world.expected()
    assert report.totals.adds_up


def test_a_source_that_goes_again_and_again_ends_it(world: World) -> None:
    class Gone(Scripted):
        def catch_up(self, snapshot: Token, selection: Selection, *, slice_documents: int) -> Plan:
            raise PlaceGone("index x was deleted while it was read", then="start over")

    world.copy()
    with pytest.raises(PlaceGone, match="start over"):
        follow(world, Gone(world), until_lag=0)
