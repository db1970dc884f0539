"""A run that follows its source: what is carried, when it ends, and what it says of its lag."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from migrator.activations.selection import Selection
from migrator.adapters.base import Batch, News, Plan, Slice, Token
from migrator.adapters.memory import MemoryReader
from migrator.engine.following import Follow, Follower
from migrator.engine.options import CopyOptions
from migrator.engine.report import Report
from migrator.engine.state.checkpoint import Checkpoint
from migrator.errors import Interrupted, PlaceGone
from migrator.events import CaughtUp, Event, LagNoted, LagUnknown, RoundAbandoned, StoreReplaced
from migrator.events.watching import Lag, Progress, Stop
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


# -- look by look -----------------------------------------------------------------------------------------------------


class Watching:
    """A follower by a clock that only moves while it waits or sleeps, and what it does at each look."""

    def __init__(self, *looks: tuple[int, float | None], snapshot_s: float | None = 900.0, **until: Any) -> None:
        """Of each look what is pending, and how long it takes; None where it takes as long as it may wait."""
        self.now_s = 1000.0
        self.looks = list(looks)
        self.waits: list[float] = []
        self.slept: list[float] = []
        self.events: list[Event] = []
        self.lags: list[Lag] = []
        self.checks: list[float] = []
        self.rounds = 0
        self.unseen: dict[int, tuple[str, ...]] = {}
        self.progress = Progress()
        self.stop = Stop()
        self.kept: list[Lag] = []
        self.unseen_kept: list[Sequence[str]] = []
        checkpoint = SimpleNamespace(
            snapshot_s=snapshot_s, snapshot="s", note_lag=self.kept.append, note_unseen=self.unseen_kept.append
        )
        stop = SimpleNamespace(check=lambda: None, sleep=self._sleep)
        self.checkpoint = checkpoint
        self.follower = Follower(
            cast(Any, self),
            cast(Any, checkpoint),
            Follow(**until),
            job="0123456789ab",
            stop=cast(Any, stop),
            progress=self.progress,
            observe=lambda progress: self.lags.append(progress.lag) if progress.lag else None,
            tell=self.events.append,
            clock=lambda: self.now_s,
            monotonic=lambda: self.now_s,
        )

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds

    def news(self, snapshot: Token, selection: Selection, *, wait_s: float, stop: Any) -> News:
        assert (snapshot, selection) == ("s", Selection())
        self.waits.append(wait_s)
        pending, took_s = self.looks.pop(0)
        self.now_s += wait_s if took_s is None else took_s
        return News(pending=pending, unseen=self.unseen.get(len(self.waits) - 1, ()))

    def run(self) -> int:
        def one_round() -> int:
            self.rounds += 1
            self.checkpoint.snapshot_s = self.now_s
            self.now_s += 2
            return 5

        return self.follower.run(Selection(), one_round, lambda: self.checks.append(self.now_s))


def test_each_wait_is_twice_as_long_as_the_one_before_up_to_ten_seconds() -> None:
    """While nothing is new; what was waited is idle."""
    watching = Watching(*[(0, None)] * 7, until_idle_s=31.0)
    assert watching.run() == 0
    assert watching.waits == [0.0, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert watching.slept == []


def test_after_a_round_it_looks_at_once_and_waits_from_the_beginning_again() -> None:
    """Half a second later: a round for each document would cost too much. What the round took is idle as well."""
    watching = Watching((0, None), (0, None), (3, None), (0, None), (0, None), (0, None), until_idle_s=5.0)
    assert watching.run() == 1
    assert watching.rounds == 1
    assert watching.waits == [0.0, 1.0, 2.0, 0.0, 1.0, 2.0]
    assert watching.slept == [0.5]


def test_a_server_that_answers_at_once_is_not_asked_again_at_once() -> None:
    watching = Watching((0, 0.0), (0, 0.1), (0, 0.5), (0, None), until_idle_s=4.0)
    watching.run()
    assert watching.slept == [0.5]


def test_time_in_which_nobody_could_look_is_not_idle() -> None:
    """A look that takes five seconds more than its wait was held up."""
    watching = Watching((0, None), (0, 5.9), (0, 7.0), (0, None), until_idle_s=9.0)
    watching.run()
    assert watching.waits == [0.0, 1.0, 2.0, 4.0]


def test_it_ends_with_the_first_that_is_reached() -> None:
    assert Watching((0, None), until_lag=0).run() == 0
    assert Watching((3, None), until_lag=3).run() == 0
    assert Watching((3, None), (2, None), until_lag=2).run() == 1
    assert Watching((0, None), until_idle_s=0.0).run() == 0


def test_the_lag_is_reported_and_kept_at_each_look() -> None:
    """Since the last moment at which all was carried; that it is caught up is reported when that becomes so."""
    watching = Watching((4, None), (0, None), (0, None), until_idle_s=3.0)
    watching.run()
    assert watching.progress.phase == "following"
    assert watching.progress.documents is None
    assert watching.kept == [
        Lag(documents=4, behind_s=100.0, looked_s=1000.0),
        Lag(documents=0, behind_s=0.0, looked_s=1002.5),
        Lag(documents=0, behind_s=0.0, looked_s=1003.5),
    ]
    assert watching.lags[0] == watching.kept[0]
    assert watching.lags[-1] == watching.kept[-1]
    assert watching.events == [
        LagNoted("0123456789ab", 4, 100.0),
        LagNoted("0123456789ab", 0, 0.0),
        CaughtUp("0123456789ab"),
        LagNoted("0123456789ab", 0, 0.0),
    ]


def test_what_cannot_be_seen_makes_the_lag_unknown_until_it_can() -> None:
    """It is reported once, and again that all is there; where it ends meanwhile that is kept with the job."""
    watching = Watching((0, None), (0, None), (0, None), (0, None), until_idle_s=7.0)
    watching.unseen = {1: ("index x is closed", "y"), 2: ("index x is closed", "y")}
    watching.run()
    assert [each.documents for each in watching.kept] == [0, None, None, 0]
    assert [each for each in watching.events if not isinstance(each, LagNoted)] == [
        CaughtUp("0123456789ab"),
        LagUnknown("0123456789ab", "index x is closed; y"),
        CaughtUp("0123456789ab"),
    ]
    assert watching.unseen_kept == []
    ended = Watching((0, None), until_lag=0)
    ended.unseen = {0: ("index x is closed",)}
    ended.run()
    assert ended.unseen_kept == [("index x is closed",)]


def test_a_target_is_looked_at_once_a_minute_while_nothing_happens() -> None:
    watching = Watching(*[(0, None)] * 14, until_idle_s=1e9)
    with pytest.raises(IndexError):
        watching.run()
    assert [each - 1000.0 for each in watching.checks] == [65.0]
    assert watching.waits[-3:] == [10.0] * 3
