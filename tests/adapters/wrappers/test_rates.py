"""Rates as people type them, and what a throttle makes of them while they change."""

from __future__ import annotations

import time as clocks

import pytest

from migrator.adapters.wrappers.rates import Rate, Timetable, parse_timetable
from migrator.adapters.wrappers.throttled import Asked, Throttle
from migrator.errors import UsageError


class Time:
    """A clock that only sleeping moves, and the time of day with it."""

    def __init__(self, hour: int = 12) -> None:
        self.now_s = 0.0
        self._midnight_s = clocks.mktime((2026, 11, 25, hour, 0, 0, 0, 0, -1))

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def clock(self) -> float:
        return self.now_s

    def now(self) -> float:
        return self._midnight_s + self.now_s

    def throttle(self, given: float | str) -> Throttle:
        return Throttle(parse_timetable(given), sleep=self.sleep, clock=self.clock, now=self.now)


@pytest.mark.parametrize(
    ("typed", "rate", "printed"),
    [
        (500, Rate(documents_per_s=500), "500 documents/s"),
        ("2.5", Rate(documents_per_s=2.5), "2.5 documents/s"),
        ("500/s", Rate(documents_per_s=500), "500 documents/s"),
        ("20MB/s", Rate(bytes_per_s=20e6), "20.0 MB/s"),
        ("512 KiB / s", Rate(bytes_per_s=524_288), "524.3 kB/s"),
        ("off", Rate(), "no limit"),
    ],
)
def test_a_rate_is_documents_or_bytes_a_second(typed: float | str, rate: Rate, printed: str) -> None:
    found = parse_timetable(typed)
    assert (found.constant, str(found)) == (rate, printed)


def test_a_timetable_holds_from_each_time_to_the_next_and_over_midnight() -> None:
    """In whatever order its times are given."""
    table = parse_timetable("20:00 off, 8:00 500/s,12:30 20MB/s")
    assert str(table) == "08:00 500 documents/s, 12:30 20.0 MB/s, 20:00 no limit"
    assert table.constant is None
    at = {hour: table.at(60 * hour) for hour in (0, 7, 8, 12, 13, 19, 20, 23)}
    day, noon, night = Rate(documents_per_s=500), Rate(bytes_per_s=20e6), Rate()
    assert at == {0: night, 7: night, 8: day, 12: day, 13: noon, 19: noon, 20: night, 23: night}
    assert table.share(4).at(480) == Rate(documents_per_s=125)


@pytest.mark.parametrize(
    "typed",
    [
        *("", "fast", "0", "-1", "nan", "inf", "1e-300", "20MB", "0MB/s", "20/m", "500/s, 20:00 off"),
        *("08:00", "24:00 5/s", "08:61 5/s", "08:00 5/s, off", "08:00 5/s, 08:00 off", "08:00 x"),
    ],
)
def test_what_is_no_rate_is_refused(typed: str) -> None:
    with pytest.raises(UsageError, match="`max_rate="):
        parse_timetable(typed)


def test_bytes_are_held_back_as_documents_are() -> None:
    """No credit grows before the first or in a pause."""
    time = Time()
    throttle = time.throttle("1MB/s")
    time.sleep(100)
    for _ in range(10):
        throttle.hold_back(1, 500_000)
    assert time.now_s == pytest.approx(105)


def test_the_time_of_day_changes_the_rate_while_something_waits() -> None:
    """What is owed is paid at the rate of each hour."""
    time = Time(hour=7)
    throttle = time.throttle("07:00 1/s, 08:00 1000/s")
    throttle.hold_back(3600 + 5000, 0)
    assert time.now_s == pytest.approx(3605, abs=3)


def test_no_limit_never_waits() -> None:
    time = Time()
    throttle = time.throttle("off")
    for _ in range(100):
        throttle.hold_back(10**9, 10**12)
    assert time.now_s == 0


def test_another_rate_holds_for_what_already_waits() -> None:
    """Nobody waits an hour for a page that was allowed meanwhile; without an answer the first rate holds again."""
    time = Time()
    throttle = time.throttle(1)
    asked = Asked()
    throttle.listen(lambda: asked if time.now_s < 10 else Asked(parse_timetable(1000)))
    throttle.hold_back(5010, 0)
    assert time.now_s == pytest.approx(15, abs=1.5)


def test_a_pause_lasts_until_it_is_taken_back() -> None:
    """And what was owed before is owed afterwards."""
    time = Time()
    throttle = time.throttle(100)
    throttle.listen(lambda: Asked(paused=2 <= time.now_s < 50))
    throttle.hold_back(1000, 0)
    assert time.now_s == pytest.approx(58, abs=2)


def test_what_is_asked_is_looked_at_once_a_second() -> None:
    """However many pages are read."""
    time, looks = Time(), 0

    def look() -> Asked:
        nonlocal looks
        looks += 1
        return Asked()

    throttle = time.throttle(1000)
    throttle.listen(look)
    for _ in range(10_000):
        throttle.hold_back(1, 1000)
    assert time.now_s == pytest.approx(10, abs=0.1)
    assert 9 <= looks <= 12
    assert Timetable().constant == Rate()
