"""The threads of a run: what it ends with where several of them fail."""

from __future__ import annotations

import threading
from queue import SimpleQueue

import pytest

from migrator.engine.workers import run_workers
from migrator.errors import Interrupted, MigratorError, Unavailable
from migrator.events.watching import Stop


@pytest.mark.parametrize(("signal", "expected"), [(None, Unavailable), (130, Interrupted)])
def test_run_ends_with_what_failed_and_not_with_who_stopped_for_it(
    signal: int | None, expected: type[MigratorError]
) -> None:
    """Who failed commits what it holds before it returns; the others return at once. A signal stays a signal."""
    stop, roles, waiting = Stop(), iter(["fails", "waits"]), SimpleQueue[threading.Thread]()

    def work() -> None:
        if next(roles) == "waits":
            waiting.put(threading.current_thread())
            stop.sleep(60)
        other = waiting.get()
        stop.ask(signal) if signal else stop.fail()
        other.join()
        raise Unavailable("503")

    with pytest.raises(expected):
        run_workers(work, 2, name="test", stop=stop, look=lambda: None)
