"""Which backups are kept: the rules one by one, and what holds for every archive and every retention."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.activations.selection import parse_moment
from migrator.errors import UsageError
from migrator.operations.archive.retention import Candidate, Retention, choose
from tests.support import strategies  # noqa: F401  its settings: a busy machine is no failure

DAY_MS = 86_400_000
NOW_MS = parse_moment("2026-11-24T12:00:00Z", now_ms=0)


def at(text: str, **more: object) -> Candidate:
    """A backup that ended at a time and is called by it."""
    return msgspec.structs.replace(Candidate(backup=text, ended_ms=parse_moment(text, now_ms=0)), **more)


def kept(backups: list[Candidate], **rules: object) -> list[str]:
    retention = msgspec.convert(rules, Retention)
    return [each.backup for each in choose(backups, retention, now_ms=NOW_MS) if each.keep]


DAYS = [at(f"2026-11-{day:02}T02:00:00Z") for day in range(1, 25)]


def test_the_last_ones_are_kept() -> None:
    assert kept(DAYS, last=2) == ["2026-11-23T02:00:00Z", "2026-11-24T02:00:00Z"]


def test_each_day_has_its_newest() -> None:
    """Days of UTC: a minute before midnight is another day; days without a backup aren't counted."""
    backups = [at("2026-11-20T23:59:59Z"), at("2026-11-21T00:00:00Z"), at("2026-11-21T23:59:00Z"), at("2026-11-24")]
    assert kept(backups, daily=3) == ["2026-11-20T23:59:59Z", "2026-11-21T23:59:00Z", "2026-11-24"]


def test_weeks_are_those_of_iso() -> None:
    """They begin on Monday, and 1 January 2027 is in the last week of 2026."""
    backups = [at("2026-12-27"), at("2026-12-28"), at("2027-01-01"), at("2027-01-03"), at("2027-01-04")]
    assert kept(backups, weekly=3) == ["2026-12-27", "2027-01-03", "2027-01-04"]


def test_months_and_years() -> None:
    backups = [at("2025-12-30"), at("2025-12-31"), at("2026-01-01"), at("2026-01-31"), at("2026-02-01")]
    assert kept(backups, monthly=2) == ["2026-01-31", "2026-02-01"]
    assert kept(backups, yearly=2) == ["2025-12-31", "2026-02-01"]


def test_within_an_age() -> None:
    """The edge is inside."""
    backups = [at("2026-11-22T11:59:59Z"), at("2026-11-22T12:00:00Z"), at("2026-11-23")]
    assert kept(backups, within="2d") == ["2026-11-22T12:00:00Z", "2026-11-23"]


def test_a_chain_is_kept_as_a_whole() -> None:
    """What a kept backup builds on stays, and the reason says for whom."""
    chain = [at("2026-11-01"), at("2026-11-02", parent="2026-11-01"), at("2026-11-03", parent="2026-11-02")]
    verdicts = choose([*chain, at("2026-10-01")], Retention(last=1), now_ms=NOW_MS)
    assert [each.keep for each in verdicts] == [True, True, True, False]
    assert verdicts[0].reasons == ("2026-11-02 builds on it",)
    assert verdicts[3].reasons == ("no rule keeps it",)


def test_what_an_unfinished_backup_builds_on_is_kept() -> None:
    backups = [at("2026-11-01", continued=True), at("2026-11-02"), at("2026-11-03")]
    assert kept(backups, last=1) == ["2026-11-01", "2026-11-03"]


def test_a_damaged_backup_takes_no_place_and_stays() -> None:
    """It may be worth salvaging; the rule counts the good ones."""
    backups = [at("2026-11-01"), at("2026-11-02"), at("2026-11-03", good=False)]
    assert kept(backups, last=1) == ["2026-11-02", "2026-11-03"]


def test_each_line_has_its_own_rules() -> None:
    """Backups of another source never push out these."""
    backups = [at("2026-11-01", line="a"), *(at(f"2026-11-{day:02}", line="b") for day in range(2, 9))]
    assert kept(backups, last=2) == ["2026-11-01", "2026-11-07", "2026-11-08"]


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({}, "no rule is given"),
        ({"last": -1}, "keep-last -1"),
        ({"last": 3, "yearly": -2}, "keep-yearly -2"),
        ({"within": "tomorrow"}, "give an age such as 30d"),
        ({"within": "2026-11-01"}, "give an age such as 30d"),
        ({"within": ""}, "give an age such as 30d"),
    ],
)
def test_a_retention_that_cannot_be_is_refused(rules: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        choose(DAYS, msgspec.convert(rules, Retention), now_ms=NOW_MS)


# -- what always holds --------------------------------------------------------------------------------------------


@st.composite
def archives(draw: st.DrawFn) -> list[Candidate]:
    """Backups with chains in several lines, some of them damaged, some with wrong clocks."""
    found: list[Candidate] = []
    for number in range(draw(st.integers(0, 14))):
        line = draw(st.sampled_from("ab"))
        before = [each for each in found if each.line == line]
        follows = bool(before) and draw(st.booleans())
        parent = draw(st.sampled_from(before)) if follows else None
        found.append(
            Candidate(
                backup=f"{number:02}",
                ended_ms=NOW_MS - draw(st.integers(-DAY_MS, 1200 * DAY_MS)),
                parent=parent.backup if parent else draw(st.sampled_from([None, None, None, "gone"])),
                line=line,
                good=draw(st.integers(0, 4)) > 0 and (parent is None or parent.good),
                continued=draw(st.integers(0, 9)) == 0,
            )
        )
    return draw(st.permutations(found))


counts = st.integers(0, 5)
retentions = st.builds(
    Retention,
    last=counts,
    daily=counts,
    weekly=counts,
    monthly=counts,
    yearly=counts,
    within=st.sampled_from(["0d", "36h", "30d", "52w"]),
)


@given(archives(), retentions)
def test_what_is_never_given_up(backups: list[Candidate], retention: Retention) -> None:
    """The newest good backup of each line, a link of a kept chain, what is damaged, what is being continued."""
    by_id = {each.backup: each for each in backups}
    verdicts = choose(backups, retention, now_ms=NOW_MS)
    assert [each.backup for each in verdicts] == [each.backup for each in backups]
    assert all(each.reasons for each in verdicts)
    kept = {each.backup for each in verdicts if each.keep}
    for line in "ab":
        good = [each for each in backups if each.line == line and each.good]
        if good:
            assert max(good, key=lambda each: (each.ended_ms, each.backup)).backup in kept
    for backup in kept:
        parent = by_id[backup].parent
        assert parent is None or parent not in by_id or parent in kept
    assert {each.backup for each in backups if each.continued or not each.good} <= kept


@given(archives(), retentions)
def test_a_second_look_keeps_the_same(backups: list[Candidate], retention: Retention) -> None:
    """What was kept is kept again."""
    keep = {each.backup for each in choose(backups, retention, now_ms=NOW_MS) if each.keep}
    left = [each for each in backups if each.backup in keep]
    assert all(each.keep for each in choose(left, retention, now_ms=NOW_MS))


@given(archives(), retentions, retentions)
def test_more_is_never_less(backups: list[Candidate], one: Retention, other: Retention) -> None:
    """A retention that asks for more keeps at least what the smaller one keeps."""
    names = ("last", "daily", "weekly", "monthly", "yearly")
    both = msgspec.structs.replace(one, **{name: max(getattr(one, name), getattr(other, name)) for name in names})
    small = {each.backup for each in choose(backups, one, now_ms=NOW_MS) if each.keep}
    assert small <= {each.backup for each in choose(backups, both, now_ms=NOW_MS) if each.keep}


@given(archives(), retentions)
def test_the_rules_get_what_they_ask_for(backups: list[Candidate], retention: Retention) -> None:
    """Of the good backups of a line, at least as many are kept as the rule `last` says."""
    kept = {each.backup for each in choose(backups, retention, now_ms=NOW_MS) if each.keep}
    for line in "ab":
        good = sorted((each.ended_ms, each.backup) for each in backups if each.line == line and each.good)
        assert {backup for _, backup in good[len(good) - min(retention.last, len(good)) :]} <= kept
