"""The threads of a run: what it ends with where several of them fail, or who looks on."""

from __future__ import annotations

import threading
import time
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


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_no_thread_works_on_when_who_looks_on_fails(error: type[BaseException]) -> None:
    """Else it would write to a store whose job another run has begun to continue."""
    stop, ended = Stop(), list[str]()

    def work() -> None:
        try:
            stop.sleep(60)
        finally:
            time.sleep(0.1)  # it commits what it holds
            ended.append(threading.current_thread().name)

    def look() -> None:
        raise error

    with pytest.raises(error):
        run_workers(work, 2, name="test", stop=stop, look=look)
    assert sorted(ended) == ["test-0", "test-1"]
