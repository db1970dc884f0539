"""A reader that gives no more than so much a second, to spare a source that is in use.

The rate is that of a timetable, and may be changed or the reading paused from outside while it goes on. What is looked
at for that is looked at once a second, never for each document.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from typing_extensions import override

from migrator.activations.selection import Selection
from migrator.adapters.base import Batch, Reader, Slice, Token
from migrator.adapters.wrappers.forwarding import ForwardingReader
from migrator.adapters.wrappers.rates import Rate, Timetable

_LOOK_S = 1.0  # between two looks at the clock on the wall and at what is asked from outside
_PAUSE_S = 0.5


class Asked(NamedTuple):
    """What is asked of a run while it goes on."""

    timetable: Timetable | None = None  # instead of the one that it began with
    paused: bool = False


class Throttle:
    """What the readers of a run may take, all threads together."""

    def __init__(
        self,
        timetable: Timetable,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._timetable = timetable
        self._sleep = sleep
        self._clock = clock
        self._now = now
        self._look: Callable[[], Asked] | None = None
        self._lock = threading.Lock()
        self._paused = False
        self._rate = self._rate_now()
        self._at_s = self._looked_s = clock()
        self._handed = _Amounts()
        self._paid = _Amounts()

    def listen(self, look: Callable[[], Asked] | None) -> None:
        """Look at what is asked from outside, about once a second while documents are read."""
        with self._lock:
            self._look = look
            self._looked_s = self._clock() - _LOOK_S

    def hold_back(self, documents: int, size_bytes: int) -> None:
        """Return when the rate allows so much more; documents that were handed out before come first."""
        with self._lock:
            self._advance()
            mine = self._handed = _Amounts(self._handed.documents + documents, self._handed.size_bytes + size_bytes)
        while (wait_s := self._wait_s(mine)) > 0:
            self._sleep(wait_s)

    def _wait_s(self, mine: _Amounts) -> float:
        with self._lock:
            self._advance()
            if self._paused:
                return _PAUSE_S
            owed_s = max(
                _seconds(mine.documents - self._paid.documents, self._rate.documents_per_s),
                _seconds(mine.size_bytes - self._paid.size_bytes, self._rate.bytes_per_s),
            )
            return min(owed_s, _LOOK_S)

    def _advance(self) -> None:
        """Pay for what was handed out, by the rate of the time that has passed. A pause earns no credit."""
        now_s = self._clock()
        passed_s, self._at_s = now_s - self._at_s, now_s
        if not self._paused:
            self._paid = _Amounts(
                _paid(self._paid.documents, self._handed.documents, self._rate.documents_per_s, passed_s),
                _paid(self._paid.size_bytes, self._handed.size_bytes, self._rate.bytes_per_s, passed_s),
            )
        if now_s - self._looked_s >= _LOOK_S:
            self._looked_s = now_s
            if self._look is not None:
                asked = self._look()
                self._timetable = asked.timetable or self._timetable
                self._paused = asked.paused
            self._rate = self._rate_now()

    def _rate_now(self) -> Rate:
        if (rate := self._timetable.constant) is not None:
            return rate
        local = time.localtime(self._now())
        return self._timetable.at(60 * local.tm_hour + local.tm_min)


class _Amounts(NamedTuple):
    documents: float = 0
    size_bytes: float = 0


def _seconds(owed: float, per_s: float | None) -> float:
    return owed / per_s if per_s is not None and owed > 1e-6 else 0.0


def _paid(before: float, handed: float, per_s: float | None, passed_s: float) -> float:
    return handed if per_s is None else min(handed, before + per_s * passed_s)


class ThrottledReader(ForwardingReader):
    """Holds each batch back until the throttle allows what is in it."""

    def __init__(self, inner: Reader, throttle: Throttle) -> None:
        super().__init__(inner)
        self._throttle = throttle

    @override
    def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
        return self._held_back(self._inner.read(slice, after, selection))

    @override
    def fetch(self, ids: Sequence[str], after: Token, selection: Selection) -> Iterator[Batch]:
        return self._held_back(self._inner.fetch(ids, after, selection))

    def _held_back(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            documents = len(batch.documents) + len(batch.rejections) + sum(batch.filtered.values())
            self._throttle.hold_back(documents, batch.size_bytes)
            yield batch
