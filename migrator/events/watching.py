"""How a run is watched by those who look on, and how it is asked to stop."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

import msgspec

from migrator.activations.accounts import Counts
from migrator.errors import Interrupted

_PACE_OVER_S = 30.0
_PACE_FROM_S = 1.0


class Stop:
    """A request to stop that every pause listens to. `exit_code` is 130 for SIGINT and 143 for SIGTERM."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._by_someone = False  # not only by a worker that failed
        self.exit_code: int | None = None  # None: it wasn't a signal

    def ask(self, exit_code: int | None = None) -> None:
        """Ask once or more; the first exit code stays."""
        if self.exit_code is None:
            self.exit_code = exit_code
        self._by_someone = True
        self._asked.set()

    def fail(self) -> None:
        """Ask because a worker failed: the others end, and the run may start over."""
        self._asked.set()

    def renew(self) -> None:
        """Take back what only failed workers requested."""
        self._asked.clear()
        if self._by_someone:  # also by a signal that came in between
            self._asked.set()

    @property
    def asked(self) -> bool:
        return self._asked.is_set()

    def check(self) -> None:
        """Raise `Interrupted` where the request was made."""
        if self.asked:
            raise Interrupted("interrupted", exit_code=self.exit_code or 130)

    def sleep(self, seconds: float) -> None:
        """Pause, but not longer than until the request; raises `Interrupted` then."""
        if self._asked.wait(seconds):
            raise Interrupted("interrupted", exit_code=self.exit_code or 130)


class Lag(msgspec.Struct, frozen=True, kw_only=True):
    """How far a target is behind the source that a run follows, at one look."""

    documents: int | None  # stored or changed in the source and not in the target yet; None where that can't be told
    behind_s: float  # since the target last held all that was seen in the source; 0 where it does
    looked_s: float  # when the look was, in epoch seconds
    unseen: tuple[str, ...] = ()  # why it can't be told, such as a closed index


class Progress:
    """What a run has done so far, to be looked at by another thread at any time."""

    def __init__(self) -> None:
        self.phase = "planning"
        self.counts = Counts()  # of the whole job
        self.documents: int | None = None  # expected in all, as far as that is known
        self.run_read = 0
        self.lag: Lag | None = None  # of a run that follows its source
        self.began_s = time.monotonic()
        self._lock = threading.Lock()

    def seconds_left(self, per_second: float) -> float | None:
        """How long the rest takes at a rate; None where the rest or the rate isn't known."""
        if not (self.documents and per_second):
            return None
        return max(self.documents - self.counts.read, 0) / per_second

    @property
    def share(self) -> float | None:
        """How much of the job is done, in whole percents from 0 to 0.99."""
        if not self.documents:
            return None
        return min(99, 100 * self.counts.read // self.documents) / 100  # catch-up reads some of them again

    def add(self, counts: Mapping[str, Counts]) -> None:
        with self._lock:
            for each in counts.values():
                self.counts.add(each)
                self.run_read += each.read


class Pace:
    """Documents a second of late: what the rate and the time left are told from."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def rate(self, progress: Progress, now_s: float) -> float:
        """Look at the run now; the rate over the last `_PACE_OVER_S` seconds, 0 while there is too little data."""
        if not progress.run_read:
            return 0.0
        self._seen.append((now_s, progress.run_read))
        while len(self._seen) > 2 and self._seen[1][0] <= now_s - _PACE_OVER_S:
            self._seen.popleft()
        oldest_s, read = self._seen[0]
        seen_s = now_s - oldest_s
        return (progress.run_read - read) / seen_s if seen_s >= _PACE_FROM_S else 0.0


Observer = Callable[[Progress], None]
