"""Which backups of an archive are kept, and which may go. Pure: reads no archive and deletes nothing.

The known backups, a `Retention` and the time enter, a verdict on each backup leaves. Which is newer is determined
by their places, never by a clock: one that was wrong for a day must not cost a backup. Never given up: the newest good
backup of each line, what a kept backup needs, what an unfinished backup continues, what is damaged (it
may be worth salvaging), and whatever no rule speaks of because there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from migrator.activations.selection import parse_moment
from migrator.errors import UsageError
from migrator.text.units import parse_duration

_MOST = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """How many backups are kept. Days, weeks (ISO), months and years are those of UTC in which a backup ended.

    A rule such as `daily=7` keeps the newest good backup of each of the last seven days that have one. What any rule
    keeps is kept.
    """

    last: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within: str | None = None  # an age such as `30d`: all that are younger

    def check(self) -> None:
        """Raise `UsageError` for what can't be, and where nothing at all would be kept by a rule."""
        for name in ("last", "daily", "weekly", "monthly", "yearly"):
            if not 0 <= getattr(self, name) <= _MOST:
                raise UsageError(f"keep-{name} {getattr(self, name)}: give a number from 0 to {_MOST:,}")
        if self.within is not None:
            self.since_ms(0)
        elif not (self.last or self.daily or self.weekly or self.monthly or self.yearly):
            raise UsageError("no rule is given; give keep-last, -daily, -weekly, -monthly, -yearly or -within")

    def since_ms(self, now_ms: int) -> int | None:
        """The moment from which on `within` keeps all; None without it. Raises `UsageError`."""
        return None if self.within is None else ago_ms(self.within, now_ms=now_ms, option="keep-within")


def ago_ms(age: str, *, now_ms: int, option: str) -> int:
    """The moment an age such as `30d` ago. Raises `UsageError`, which names the option, where it is none."""
    if parse_duration(age) is None:
        raise UsageError(f"{option} {age}: give an age such as 30d, 12w or 36h")
    return parse_moment(age, now_ms=now_ms)


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a backup."""

    backup: str
    ended_ms: int  # by the clock of the machine that made it
    place: int = 0  # in the order of the archive: a higher one is newer
    parent: str | None = None
    line: str = ""  # backups of another source or selection are another line, and each line has its own rules
    good: bool = True  # it and all that it builds on are whole; only these count for a rule
    continued: bool = False  # a backup that isn't finished yet builds on it
    just_made: bool = False  # by the run that prunes


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a backup is kept, and why."""

    backup: str
    keep: bool
    reasons: tuple[str, ...]


def choose(backups: Sequence[Candidate], retention: Retention, *, now_ms: int) -> tuple[Verdict, ...]:
    """A verdict on each backup, in the order given. Raises `UsageError` for a retention that can't be."""
    retention.check()
    reasons: dict[str, list[str]] = {each.backup: [] for each in backups}
    for line in dict.fromkeys(each.line for each in backups):
        good = sorted(
            (each for each in backups if each.line == line and each.good),
            key=lambda each: (each.place, each.ended_ms, each.backup),
            reverse=True,
        )
        _apply(good, retention, now_ms, reasons)
    for each in backups:
        if not each.good:
            reasons[each.backup].append("it isn't intact; `migrator archive check repair=True` saves what can be saved")
        if each.just_made:
            reasons[each.backup].append("this run made it")
        if each.continued:
            reasons[each.backup].append("an unfinished backup builds on it")
    _keep_chains(backups, reasons)
    return tuple(
        Verdict(
            backup=each.backup,
            keep=bool(reasons[each.backup]),
            reasons=tuple(reasons[each.backup]) or ("no rule keeps it",),
        )
        for each in backups
    )


def _apply(good: Sequence[Candidate], retention: Retention, now_ms: int, reasons: dict[str, list[str]]) -> None:
    """Note what the rules keep of one line, whose good backups come newest first."""
    if good:
        reasons[good[0].backup].append("it is the newest good one")
    for each in good[: retention.last]:
        reasons[each.backup].append("last")
    for name, count, period in (
        ("daily", retention.daily, "%Y-%m-%d"),
        ("weekly", retention.weekly, "%G-W%V"),
        ("monthly", retention.monthly, "%Y-%m"),
        ("yearly", retention.yearly, "%Y"),
    ):
        for kept, label in _newest_of_each(good, period)[:count]:
            reasons[kept.backup].append(f"{name} {label}")
    since_ms = retention.since_ms(now_ms)
    if since_ms is not None:
        is_within = False
        for each in reversed(good):
            # What is newer than one that is young enough is so too, whatever its clock said.
            is_within = is_within or since_ms <= each.ended_ms <= now_ms
            if is_within or each.ended_ms >= since_ms:
                reasons[each.backup].append(f"within {retention.within}")


def _newest_of_each(good: Sequence[Candidate], period: str) -> list[tuple[Candidate, str]]:
    """The newest of each day, week, month or year that has one, with its label; of backups that come newest first."""
    seen: dict[str, Candidate] = {}
    for each in good:
        moment = _EPOCH + timedelta(milliseconds=each.ended_ms)
        seen.setdefault(moment.strftime(period), each)
    return [(each, label) for label, each in seen.items()]


def _keep_chains(backups: Sequence[Candidate], reasons: dict[str, list[str]]) -> None:
    """Keep what a kept backup builds on, link by link; a reason names the nearest that needs it."""
    parents = {each.backup: each.parent for each in backups}
    for kept in [backup for backup, why in reasons.items() if why]:
        link, seen = kept, {kept}
        while (parent := parents.get(link)) is not None and parent in reasons and parent not in seen:
            why = f"{link} builds on it"
            if why not in reasons[parent]:
                reasons[parent].append(why)
            link = parent
            seen.add(parent)
