"""SIGINT and SIGTERM end a run cleanly, and in bounded time."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from migrator.events.watching import Stop

_GRACE_S = 4.5  # for the pages in hand; orchestrators kill a little later


@contextmanager
def stop_on_signals(stop: Stop, say: Callable[[str], None]) -> Iterator[None]:
    """Turn the first signal into a request to stop; a second one, or the end of the grace, ends the process.

    Ending at once is safe at any moment: what wasn't committed is written again by the next run.
    """

    def leave(exit_code: int) -> None:
        say("some pages were still in progress; run the same command to resume, which writes them again")
        os._exit(exit_code)

    def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  the signature is Python's
        exit_code = 128 + number
        if stop.asked:
            os._exit(exit_code)
        stop.ask(exit_code)
        timer = threading.Timer(_GRACE_S, leave, args=(exit_code,))
        timer.daemon = True
        timer.start()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
