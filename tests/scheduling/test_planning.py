"""Which run comes next: missed ones, late ones, clocks that are set."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from migrator.scheduling.planning import correct_handled, is_full_due, plan
from migrator.scheduling.triggers import Every, Trigger

HOUR = 3600.0
T = 500_000 * HOUR
TRIGGER = Trigger("hourly", Every(HOUR, ZoneInfo("UTC")))


def test_the_next_run_is_that_of_the_next_moment() -> None:
    """Nothing was missed."""
    due = plan(TRIGGER, T, T + 10)
    assert (due.moment_s, due.begins_s, due.missed) == (T + HOUR, T + HOUR, 0)


def test_a_missed_run_is_caught_up_once() -> None:
    """Of five missed moments the newest is due now, and it handles the others."""
    now_s = T + 5 * HOUR + 10
    due = plan(TRIGGER, T, now_s)
    assert (due.moment_s, due.begins_s, due.missed) == (T + 5 * HOUR, now_s, 4)
    assert plan(TRIGGER, due.moment_s, now_s).begins_s == T + 6 * HOUR


def test_missed_runs_of_years_are_planned_at_once() -> None:
    """Counting stops where nobody wants to know any more."""
    assert plan(TRIGGER, T, T + 50_000 * HOUR).missed == 100


def test_a_run_missed_by_more_than_the_grace_is_given_up() -> None:
    """The next one runs at its time; within the grace it is caught up."""
    late = plan(TRIGGER, T, T + HOUR + 700, grace_s=600)
    assert (late.begins_s, late.given_up_s) == (T + 2 * HOUR, T + HOUR)
    assert plan(TRIGGER, T, T + HOUR + 500, grace_s=600).begins_s == T + HOUR + 500


def test_a_clock_set_back_doubles_no_run() -> None:
    """The moment that comes again was handled."""
    due = plan(TRIGGER, T + HOUR, T + HOUR - 300)
    assert due.moment_s == T + 2 * HOUR


def test_a_clock_that_was_years_ahead_stops_nothing() -> None:
    """What was noted then is no reason to wait until that year."""
    handled_until_s = correct_handled(TRIGGER, T + 50_000 * HOUR, T + 10)
    assert plan(TRIGGER, handled_until_s, T + 10).moment_s == T + HOUR
    assert plan(TRIGGER, handled_until_s, T + HOUR + 1).begins_s == T + HOUR + 1


@given(
    seen_to=st.integers(0, 200),
    now_s=st.floats(0, 200 * HOUR),
    jitter_s=st.floats(0, HOUR - 1),
)
def test_a_plan_followed_is_never_due_again(seen_to: int, now_s: float, jitter_s: float) -> None:
    """Whatever was handled and whatever the clock says: handling what is due makes it due no more."""
    trigger = Trigger("hourly", Every(HOUR, ZoneInfo("UTC")), jitter_s)
    handled_until_s = correct_handled(trigger, T + seen_to * HOUR, T + now_s)
    due = plan(trigger, handled_until_s, T + now_s)
    assert due.begins_s >= T + now_s
    if due.begins_s <= T + now_s:
        again = plan(trigger, due.moment_s, T + now_s)
        assert again.begins_s > T + now_s
        assert again.moment_s > due.moment_s
    else:
        assert plan(trigger, handled_until_s, due.begins_s).begins_s == due.begins_s


def test_a_weekly_full_backup_does_not_slip_by_a_day() -> None:
    """One that began some minutes late is followed by one in the same night of the next week."""
    daily, day = Trigger("nightly", Every(86_400, ZoneInfo("UTC"))), 86_400.0
    full_s, fulls = 20_000 * day, []
    for night in range(20_001, 20_030):
        moment_s = night * day
        if is_full_due(daily, moment_s, full_s, 7 * day):
            full_s = moment_s + 300 + night % 5 * 60
            fulls.append(night)
    assert fulls == [20_007, 20_014, 20_021, 20_028]
    assert is_full_due(daily, 20_001 * day, None, 7 * day)
