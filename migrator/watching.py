"""How a run is asked to stop, and how everything that waits hears of it."""

from __future__ import annotations

import threading

from migrator.errors import Interrupted


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
