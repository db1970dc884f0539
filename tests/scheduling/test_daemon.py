"""The daemon with a virtual clock: no run is lost and none doubled, whatever clocks, files and other processes do."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest

from migrator.adapters.memory import memory_store
from migrator.events import BackupStarted, Event, RunCompleted
from migrator.events.watching import Stop
from migrator.scheduling.daemon import work_for
from migrator.scheduling.files import read_schedule
from migrator.scheduling.state import Memory
from tests.support.profiles import stride
from tests.support.virtual import World

HOUR = 3600.0
DAY = 24 * HOUR
Make = Callable[[datetime], World]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes the world of a test, which begins at a time."""
    worlds: list[World] = []

    def make(start: datetime) -> World:
        worlds.append(World(tmp_path, monkeypatch, start))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


@pytest.fixture
def world(make: Make) -> World:
    return make(datetime(2026, 6, 1, 12, 0, 30, tzinfo=UTC))


@pytest.mark.parametrize(
    ("zone", "day"),
    [
        ("Europe/Berlin", (2026, 3, 29)),
        pytest.param("Europe/Berlin", (2026, 10, 25), marks=pytest.mark.slow),
        pytest.param("America/New_York", (2026, 3, 8), marks=pytest.mark.slow),
        ("America/New_York", (2026, 11, 1)),
    ],
)
def test_every_night_has_one_run_where_the_clocks_change(make: Make, zone: str, day: tuple[int, int, int]) -> None:
    """02:30 and 01:30 run once a day, hourly runs are an hour apart, through both changes in both zones."""
    local = ZoneInfo(zone)
    world = make(datetime(*day, 12, tzinfo=local) - timedelta(days=2))
    for name, when in (("half-past-two", "30 2 * * *"), ("half-past-one", "30 1 * * *"), ("hourly", "0 * * * *")):
        world.write(name, f'cron = "{when}"\ntimezone = "{zone}"')
    world.pass_time(4 * DAY)
    for name in ("half-past-two", "half-past-one"):
        dates = [datetime.fromtimestamp(run.began_s, local).date() for run in world.runs if run.schedule == name]
        assert len(dates) == 4
        assert {later - earlier for earlier, later in pairwise(dates)} == {timedelta(days=1)}
    hourly = world.moments("hourly")
    assert len(hourly) == 96
    assert {later - earlier for earlier, later in pairwise(hourly)} == {HOUR}
    assert all(run.began_s == run.moment_s for run in world.runs)


def test_a_run_longer_than_its_interval_overlaps_nothing_and_loses_nothing(world: World) -> None:
    """The next one follows at once, handles all that came due meanwhile, and then the schedule is on time again."""
    lengths = iter([2.5 * HOUR, 600.0, 5 * HOUR, 600.0])
    world.lasts_s = lambda _: next(lengths, 10.0)
    world.write("hourly", 'every = "1h"')
    world.pass_time(14 * HOUR)
    assert world.overlaps == 0
    runs = world.runs
    for earlier, later in pairwise(runs):
        assert earlier.ended_s <= later.began_s
    assert world.moments("hourly") == sorted(set(world.moments("hourly")))
    start_s = datetime(2026, 6, 1, 12, tzinfo=UTC).timestamp()
    for hour in range(1, 15):
        moment_s = start_s + hour * HOUR
        assert any(run.began_s >= moment_s and run.moment_s is not None and run.moment_s >= moment_s for run in runs)
    # 13:00 (2.5 h), 15:30, 16:00 (5 h), 21:00, 22:00, ...
    assert [round((run.began_s - start_s) / HOUR, 1) for run in runs] == [1, 3.5, 4, 9, 10, 11, 12, 13, 14]


def test_a_clock_set_forward_catches_up_once(world: World) -> None:
    """Of five hours that never were, one run is made, within a second of the jump."""
    world.write("hourly", 'every = "1h"')
    world.pass_time(HOUR)
    world.jump(5 * HOUR)
    jumped_s = world.now_s
    world.pass_time(2)
    assert [run.began_s for run in world.runs][1:] == [jumped_s]
    world.pass_time(2 * HOUR)
    assert len(world.runs) == 4
    assert len(set(world.moments("hourly"))) == 4


def test_a_clock_set_back_by_less_than_a_period_doubles_nothing(world: World) -> None:
    """The hour that comes again was handled; the one after it is on time."""
    world.write("hourly", 'every = "1h"')
    world.pass_time(HOUR)
    assert len(world.runs) == 1
    world.jump(-HOUR / 2)
    world.pass_time(HOUR)
    assert len(world.runs) == 1
    world.pass_time(HOUR)
    assert len(world.runs) == 2


@pytest.mark.parametrize("restarted", [False, True])
def test_a_clock_that_was_a_year_ahead_loses_nothing(world: World, restarted: bool) -> None:
    """After it was set right the next hour has its run."""
    world.write("hourly", 'every = "1h"')
    world.pass_time(HOUR)
    world.jump(365 * DAY)
    world.pass_time(10)
    assert len(world.runs) == 2
    world.jump(-365 * DAY)
    if restarted:
        world.boot()
    world.pass_time(3 * HOUR)
    assert len(world.runs) == 5
    assert any("set back by more than a period" in text for text in world.told)


def test_a_daemon_that_was_down_catches_up_once(world: World) -> None:
    """And a schedule that it never saw before has missed nothing."""
    world.write("nightly", 'cron = "15 2 * * *"')
    world.pass_time(DAY)
    assert len(world.runs) == 1
    world.jump(3 * DAY + HOUR)
    world.write("new", 'cron = "15 2 * * *"')
    world.boot()
    world.pass_time(60)
    assert [run.schedule for run in world.runs] == ["nightly", "nightly"]
    world.boot()
    world.pass_time(60)
    assert len(world.runs) == 2
    world.pass_time(DAY)
    assert sorted(run.schedule for run in world.runs[2:]) == ["new", "nightly"]


def test_a_run_missed_by_more_than_its_grace_waits_for_the_next(world: World) -> None:
    world.write("nightly", 'cron = "15 2 * * *"\ngrace = "1h"')
    world.pass_time(60)
    world.jump(DAY)  # to noon of the next day
    world.boot()
    world.pass_time(60)
    assert world.runs == []
    assert any("the run of 2026-06-02 02:15 was missed by longer than its grace" in text for text in world.told)
    world.pass_time(DAY)
    assert len(world.runs) == 1


def test_files_are_loaded_as_they_change(world: World) -> None:
    """New ones, changed ones, ones that break and are mended, ones that go."""
    world.write("a", 'every = "1h"')
    world.write("b", 'every = "1h"')
    world.pass_time(HOUR)
    assert [len(world.moments(name)) for name in "ab"] == [1, 1]
    world.write("a", 'every = "30m"')
    world.write("b", 'evry = "1h"')
    world.pass_time(HOUR)
    assert [len(world.moments(name)) for name in "ab"] == [3, 2]
    assert [text for text in world.told if "evry: unknown" in text and "its last valid version stays in use" in text]
    statuses = {each.schedule: each for each in world.daemon.statuses()}
    assert (statuses["b"].broken, statuses["a"].broken) == (True, False)
    assert statuses["b"].next_s is not None
    (world.folder / "a.toml").unlink()
    world.write("b", 'every = "30m"')
    world.write("c", "every = 1")
    world.pass_time(HOUR)
    assert [len(world.moments(name)) for name in "ab"] == [3, 4]
    assert [each.schedule for each in world.daemon.statuses()] == ["b", "c"]
    told = len(world.told)
    world.pass_time(HOUR)
    assert world.told[told:] == []  # what is broken is reported once, and again on SIGHUP
    world.daemon.reread()
    world.pass_time(60)
    assert [text for text in world.told[told:] if "c.toml:5: when.every" in text]


def test_a_schedule_that_another_process_runs_is_left_to_it(world: World) -> None:
    """While cron has the lock the daemon waits; what cron saw to isn't run again."""
    every_s = 600.0
    world.write("often", 'every = "10m"')
    world.pass_time(60)
    memory = Memory(world.state, "often")
    with memory.lock():
        world.pass_time(1.5 * every_s)
        assert world.runs == []
        statuses = world.daemon.statuses()
        assert (statuses[0].state, "process" in (statuses[0].holder or "")) == ("running", True)
    world.pass_time(60)
    assert len(world.runs) == 1  # nobody saw to it
    with memory.lock():
        world.pass_time(every_s)
        known = world.remembered("often")
        memory.write(known.end(msgspec.structs.replace(world.runs[0], moment_s=known.handled_until_s + every_s)))
    world.pass_time(60)
    assert len(world.runs) == 1
    world.pass_time(every_s)
    assert len(world.runs) == 2


@pytest.mark.parametrize("seed", range(0, 4, stride()))
def test_no_run_is_lost_or_doubled_in_a_month_of_trouble(make: Make, seed: int) -> None:
    """Runs of any length, daemons that go and come, clocks that are set forward: every moment is handled once."""
    chance = random.Random(seed)
    start = datetime(2026, 3, 20, 12, 0, 30, tzinfo=UTC)
    world = make(start)
    world.lasts_s = lambda _: chance.choice([0.0, 0.0, 30.0, 4 * HOUR, 30 * HOUR])
    world.write("nightly", 'cron = "30 2 * * *"\ntimezone = "Europe/Berlin"\njitter = "20m"')
    world.write("often", 'every = "3h"')
    while world.now_s < start.timestamp() + 30 * DAY:
        world.pass_time(chance.randrange(60, 3 * 86_400))
        if not world.active:
            world.jump(chance.choice([0.0, 10 * HOUR, 3 * DAY]))
            if chance.random() < 0.5:
                world.boot()
    world.lasts_s = lambda _: 0.0
    world.pass_time(2 * DAY)
    assert world.overlaps == 0
    for name in ("nightly", "often"):
        runs = [run for run in world.runs if run.schedule == name]
        moments = world.moments(name)
        assert moments == sorted(set(moments))
        trigger = read_schedule(world.folder / f"{name}.toml", (world.folder / f"{name}.toml").read_bytes()).trigger
        moment_s = trigger.next_after(start.timestamp())
        while trigger.begins(moment_s) <= world.now_s:
            handling = [run for run in runs if run.moment_s and run.moment_s >= moment_s]
            assert handling[0].began_s >= trigger.begins(moment_s)
            moment_s = trigger.next_after(moment_s)


def test_a_schedule_without_success_goes_stale_and_recovers(world: World) -> None:
    """Stale is said when it happens, and no longer when a run was complete."""
    world.write("often", 'every = "5m"\nstale_after = "10m"')
    world.pass_time(300)
    assert [each.stale for each in world.daemon.statuses()] == [False]
    with Memory(world.state, "often").lock():
        world.pass_time(660)
        assert [(each.stale, each.trouble) for each in world.daemon.statuses()] == [
            (True, "stale: no success for too long")
        ]
    world.pass_time(120)
    assert [each.stale for each in world.daemon.statuses()] == [False]


def test_a_run_that_can_not_be_noted_is_held_off(world: World) -> None:
    """It stays due, and is retried after a minute, not every second; the others run on."""
    world.write("sick", 'every = "1h"')
    world.write("well", 'every = "1h"')
    world.pass_time(60)
    path = world.state / "schedules" / "sick" / "state.sqlite"
    good = path.read_bytes()
    world.pass_time(HOUR - 120)
    path.write_bytes(b"{")
    fired = world.fired.copy()
    world.pass_time(600)
    assert world.fired["sick"] <= fired["sick"] + 11
    assert len(world.moments("well")) == 1
    assert [text for text in world.told if text.startswith("sick: ") and "is damaged" in text]
    path.write_bytes(good)
    world.pass_time(120)
    assert len(world.moments("sick")) == 1


def test_every_event_of_a_run_carries_its_schedule(tmp_path: Path) -> None:
    """So that a log of several schedules can be taken apart."""
    memory_store("events-of-a-run").put("guest/1", b"{}")
    text = f'source = "memory:events-of-a-run"\ntarget = "archive:{tmp_path / "archive"}"\n[when]\nevery = "1d"\n'
    schedule = read_schedule(tmp_path / "nightly.toml", text.encode())
    memory = Memory(tmp_path / "state", "nightly")
    memory.remember(time.time() - 90_000)
    heard: list[Event] = []
    work_for(state=tmp_path / "state", config=None, textfile=None, tell=heard.append)(schedule, Stop())
    memory_store("events-of-a-run").clear()
    assert {event.schedule for event in heard} == {"nightly"}
    assert {BackupStarted, RunCompleted} <= {type(event) for event in heard}
