"""When a schedule is due: where the clocks change, with intervals, with jitter."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.errors import UsageError
from migrator.scheduling.triggers import Cron, Every, Trigger

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")  # its clocks change by half an hour


def local(
    zone: ZoneInfo, year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0, *, fold: int = 0
) -> float:
    return datetime(year, month, day, hour, minute, second, tzinfo=zone, fold=fold).timestamp()


def walk(cron: Cron, begin_s: float, end_s: float) -> list[float]:
    """All moments after the first and up to the second."""
    found: list[float] = []
    at_s = cron.after(begin_s)
    while at_s <= end_s:
        found.append(at_s)
        at_s = cron.after(at_s)
    return found


@pytest.mark.parametrize(
    ("zone", "day", "gap_end"),
    [(BERLIN, (2026, 3, 29), (3, 0)), (NEW_YORK, (2026, 3, 8), (3, 0)), (LORD_HOWE, (2026, 10, 4), (2, 30))],
)
def test_a_time_that_does_not_exist_is_due_when_the_gap_ends(
    zone: ZoneInfo, day: tuple[int, int, int], gap_end: tuple[int, int]
) -> None:
    """Once on that day, as on every other."""
    cron = Cron("15 2 * * *", zone)
    begin_s = local(zone, *day) - 86_400
    found = walk(cron, begin_s, begin_s + 4 * 86_400)
    days = [datetime.fromtimestamp(each, zone).date() for each in found]
    assert len(days) == len(set(days)) == 4
    assert local(zone, *day, *gap_end) in found


@pytest.mark.parametrize(
    ("zone", "day", "minute"),
    [(BERLIN, (2026, 10, 25), 30), (NEW_YORK, (2026, 11, 1), 30), (LORD_HOWE, (2026, 4, 5), 45)],
)
def test_a_time_that_comes_twice_is_due_the_first_time(zone: ZoneInfo, day: tuple[int, int, int], minute: int) -> None:
    """Whenever it is requested: before, between the two, or after."""
    hour = 2 if zone is BERLIN else 1
    cron = Cron(f"{minute} {hour} * * *", zone)
    first_s, second_s = local(zone, *day, hour, minute), local(zone, *day, hour, minute, fold=1)
    assert first_s < second_s
    assert cron.after(first_s - 60) == first_s
    for asked_s in (first_s, first_s + 600, second_s - 600, second_s, second_s + 600):
        assert cron.until(asked_s) == first_s
        assert datetime.fromtimestamp(cron.after(asked_s), zone).day == day[2] + 1


@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK, LORD_HOWE])
def test_every_hour_keeps_to_elapsed_time(zone: ZoneInfo) -> None:
    """A star in the hour means every hour that passes, in the nights of both changes too."""
    cron = Cron("*/30 * * * *", zone)
    for month in (3, 4, 10, 11):
        begin_s = local(zone, 2026, month, 1)
        found = walk(cron, begin_s, begin_s + 31 * 86_400)
        assert len(found) == 31 * 48
        assert {b - a for a, b in pairwise(found)} == {1800.0}


@given(
    expression=st.sampled_from(
        ["30 2 * * *", "0 */2 * * *", "*/7 * * * *", "5 1,2,3 * * 0", "0 0 1 * *", "59 23 31 * 5"]
    ),
    zone=st.sampled_from([BERLIN, NEW_YORK, LORD_HOWE, ZoneInfo("UTC")]),
    moment_s=st.floats(1.7e9, 1.9e9),
)
def test_after_and_until_are_each_others_inverse(expression: str, zone: ZoneInfo, moment_s: float) -> None:
    """No moment lies between the two, and each finds the other again."""
    cron = Cron(expression, zone)
    after_s, until_s = cron.after(moment_s), cron.until(moment_s)
    assert until_s <= moment_s < after_s
    assert cron.after(until_s) == after_s
    assert cron.until(after_s) == after_s
    assert cron.until(after_s - 0.5) == until_s


def test_sunday_is_0_and_7_and_days_are_alternatives() -> None:
    """As in cron, and not as in APScheduler, where 0 is Monday and both days must match."""
    zone = ZoneInfo("UTC")
    for sunday in ("0 3 * * 0", "0 3 * * 7", "0 3 * * sun"):
        assert datetime.fromtimestamp(Cron(sunday, zone).after(1.8e9), UTC).isoweekday() == 7
    found = walk(Cron("0 3 13 * 5", zone), local(zone, 2026, 11, 1), local(zone, 2026, 11, 30))
    days = [datetime.fromtimestamp(each, UTC) for each in found]
    assert [day.day for day in days] == [6, 13, 20, 27]
    found = walk(Cron("0 3 14 * 5", zone), local(zone, 2026, 11, 1), local(zone, 2026, 11, 30))
    assert [datetime.fromtimestamp(each, UTC).day for each in found] == [6, 13, 14, 20, 27]


@pytest.mark.parametrize("expression", ["", "* * * *", "* * * * * *", "61 * * * *", "0 0 31 2 *", "x 1 * * *"])
def test_an_expression_that_cannot_be_is_refused(expression: str) -> None:
    with pytest.raises(UsageError):
        Cron(expression, BERLIN)


def test_intervals_are_counted_from_a_midnight_of_the_zone() -> None:
    """An hour is due at full hours and a day at midnight of standard time, wherever counting begins."""
    every = Every(3600, ZoneInfo("UTC"))
    assert every.after(7200) == 10_800
    assert every.until(7200) == 7200
    day = Every(86_400, BERLIN)
    assert datetime.fromtimestamp(day.after(local(BERLIN, 2026, 1, 5, 12)), BERLIN).hour == 0
    assert datetime.fromtimestamp(day.after(local(BERLIN, 2026, 7, 5, 12)), BERLIN).hour == 1


@given(now_s=st.floats(1.7e9, 1.9e9), jitter_s=st.floats(0, 3599))
def test_jitter_moves_runs_and_loses_none(now_s: float, jitter_s: float) -> None:
    """Each moment has one beginning within its jitter; now lies between the last one's and the next one's."""
    trigger = Trigger("nightly", Every(3600, ZoneInfo("UTC")), jitter_s)
    last_s, next_s = trigger.last(now_s), trigger.next(now_s)
    assert trigger.begins(last_s) <= now_s < trigger.begins(next_s)
    assert trigger.next_after(last_s) == next_s
    assert 0 <= trigger.begins(next_s) - next_s <= jitter_s


def test_jitter_differs_between_schedules_and_moments_and_stays() -> None:
    """So that a hundred schedules at two o'clock don't begin at once, and `next` tells the truth."""
    zone, hours = ZoneInfo("UTC"), Every(3600, ZoneInfo("UTC"))
    drawn = {Trigger(f"s{n}", hours, 600).begins(3600.0 * k) - 3600 * k for n in range(20) for k in range(20)}
    assert len(drawn) > 250
    assert all(0 <= each < 600 and each == int(each) for each in drawn)
    assert Trigger("a", Every(3600, zone), 600).begins(7200) == Trigger("a", Cron("0 * * * *", zone), 600).begins(7200)


def test_gaps_are_the_shortest_and_the_longest_time_between_runs() -> None:
    """On working days at six, the weekend is the longest."""
    trigger = Trigger("a", Cron("0 6 * * 1-5", ZoneInfo("UTC")))
    assert trigger.longest_gap(1.8e9) == timedelta(days=3).total_seconds()
    assert trigger.shortest_gap(1.8e9) == timedelta(days=1).total_seconds()
