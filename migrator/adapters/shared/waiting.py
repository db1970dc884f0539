"""What is waited for, told where it takes long: a stall that nobody hears of looks like a run that hangs.

Calls enter with what they are for; an event leaves for each that takes longer than a limit that doubles.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from migrator.events import Tell, Waiting

FIRST_S = 15.0
_LOOK_S = 1.0


class _Call:
    def __init__(self, what: str, began_s: float) -> None:
        self.what = what
        self.began_s = began_s
        self.tell_after_s = FIRST_S


class LongWaits:
    """The calls that go on at this moment, in any thread. A thread of its own looks at them while there are any."""

    def __init__(self, tell: Tell, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._tell = tell
        self._clock = clock
        self._lock = threading.Lock()
        self._calls: dict[int, _Call] = {}
        self._number = 0
        self._watching = False

    @contextmanager
    def for_(self, what: str) -> Iterator[None]:
        """Tell of what goes on inside when it takes long."""
        with self._lock:
            self._number += 1
            number = self._number
            self._calls[number] = _Call(what, self._clock())
            begin, self._watching = not self._watching, True
        if begin:
            threading.Thread(target=self._watch, name="waiting", daemon=True).start()
        try:
            yield
        finally:
            with self._lock:
                del self._calls[number]

    def look(self) -> None:
        """Tell what has been waited for too long; of the same call again after twice the time."""
        now_s = self._clock()
        with self._lock:
            late = [call for call in self._calls.values() if now_s - call.began_s >= call.tell_after_s]
        for call in late:
            call.tell_after_s = 2 * (now_s - call.began_s)
            self._tell(Waiting(call.what, now_s - call.began_s))

    def _watch(self) -> None:
        idle = 0
        while True:
            time.sleep(_LOOK_S)
            with self._lock:
                idle = 0 if self._calls else idle + 1
                if idle > 5:  # another call starts another thread
                    self._watching = False
                    return
            self.look()
