"""When a schedule is due: by a cron expression or an interval, in a time zone, put off by a jitter.

Moments are epoch seconds. The moments of a schedule are a pure function of its file: a restart, another machine or a
clock that was wrong for a while doesn't move them. Knows nothing of what runs, or ran.

Source: cron expressions mean what Debian's cron(8) makes of them. Where the clocks change, a time of day that doesn't
exist is due when the gap ends, and one that comes twice is due the first time; an expression whose hour or minute
begins with `*` keeps to elapsed time.
"""

from __future__ import annotations

import hashlib
import math
from datetime import UTC, datetime
from typing import Protocol
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from migrator.errors import UsageError
from migrator.text.units import counted

_FOLD_S = 3 * 3600  # more than any change of the clocks sets them back


class Moments(Protocol):
    """The moments at which a schedule is due, without the jitter."""

    def after(self, moment_s: float) -> float:
        """The first one after a moment."""
        ...

    def until(self, moment_s: float) -> float:
        """The last one at or before a moment."""
        ...


class Cron:
    """Five fields: minute, hour, day of the month, month, day of the week (0 and 7 are Sunday)."""

    def __init__(self, expression: str, zone: ZoneInfo) -> None:
        """Raises `UsageError` for what can't be, or never comes."""
        self._expression = expression
        self._zone = zone
        try:
            if len(expression.split()) != 5:
                raise UsageError(f"{expression!r} has {counted(len(expression.split()), 'field')} instead of 5")
            next(CronSim(expression, datetime(2024, 1, 1, tzinfo=UTC)))
        except CronSimError as error:
            raise UsageError(f"{expression!r}: {str(error)[:1].lower()}{str(error)[1:]}") from None
        except StopIteration:
            raise UsageError(f"{expression!r} never comes") from None

    def after(self, moment_s: float) -> float:
        # In an hour that comes twice the library goes by the wall clock, and begins with what was before.
        found = self._walk(moment_s, reverse=False)
        while (at_s := next(found).timestamp()) <= moment_s:
            pass
        return at_s

    def until(self, moment_s: float) -> float:
        found = self._walk(moment_s + _FOLD_S, reverse=True)
        while (at_s := next(found).timestamp()) > moment_s:
            pass
        return at_s

    def _walk(self, moment_s: float, *, reverse: bool) -> CronSim:
        return CronSim(self._expression, datetime.fromtimestamp(moment_s, self._zone), reverse=reverse)


class Every:
    """Elapsed time, counted from a midnight of the time zone long ago, so that `1h` is due at every full hour."""

    def __init__(self, interval_s: float, zone: ZoneInfo) -> None:
        self._interval_s = interval_s
        self._zero_s = datetime(1970, 1, 1, tzinfo=zone).timestamp()

    def after(self, moment_s: float) -> float:
        return self._zero_s + (math.floor((moment_s - self._zero_s) / self._interval_s) + 1) * self._interval_s

    def until(self, moment_s: float) -> float:
        return self._zero_s + math.floor((moment_s - self._zero_s) / self._interval_s) * self._interval_s


class Trigger:
    """The moments of a schedule, and when its runs begin: each put off by its share of the jitter.

    The share is drawn from the schedule's name and the moment, so that everybody who asks gets the same.
    """

    def __init__(self, name: str, moments: Moments, jitter_s: float = 0.0) -> None:
        self._name = name
        self._moments = moments
        self._jitter_s = jitter_s

    def begins(self, moment_s: float) -> float:
        """When the run of a moment begins, in whole seconds: an alarm clock that rounds must not ring too early."""
        drawn = hashlib.sha256(f"{self._name} {moment_s:.0f}".encode()).digest()
        return moment_s + math.floor(self._jitter_s * int.from_bytes(drawn[:4]) / 2**32)

    def next_after(self, moment_s: float) -> float:
        """The moment after a moment."""
        return self._moments.after(moment_s)

    def next(self, now_s: float) -> float:
        """The first moment whose run begins after now."""
        moment_s = self._moments.until(now_s)
        while self.begins(moment_s) <= now_s:
            moment_s = self._moments.after(moment_s)
        return moment_s

    def last(self, now_s: float) -> float:
        """The newest moment whose run has begun by now."""
        moment_s = self._moments.until(now_s)
        while self.begins(moment_s) > now_s:
            moment_s = self._moments.until(moment_s - 0.001)
        return moment_s

    def longest_gap(self, now_s: float, moments: int = 32) -> float:
        """The longest time between two of the next moments, in seconds."""
        return max(self._gaps(now_s, moments))

    def shortest_gap(self, now_s: float, moments: int = 32) -> float:
        """The shortest time between two of the next moments, in seconds."""
        return min(self._gaps(now_s, moments))

    def _gaps(self, now_s: float, moments: int) -> list[float]:
        gaps: list[float] = []
        at_s = self._moments.after(now_s)
        while len(gaps) < moments:
            next_s = self._moments.after(at_s)
            gaps.append(next_s - at_s)
            at_s = next_s
        return gaps
