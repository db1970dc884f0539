"""The threads of a run: several do the same work until there is none, and the first that fails ends it for all."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from migrator.errors import Interrupted
from migrator.events.watching import Stop

_LOOK_S = 0.2

T = TypeVar("T")


def next_of(waiting: deque[T]) -> T | None:
    """The next of what waits for any of several threads; None where nothing is left."""
    try:
        return waiting.popleft()
    except IndexError:
        return None


def run_workers(work: Callable[[], None], count: int, *, name: str, stop: Stop, look: Callable[[], None]) -> None:
    """Call `work` in `count` threads at once, and `look` a few times a second until all of them have returned.

    The first exception asks the others to stop and is raised once they have returned; so is `Interrupted` where
    somebody else asked, and what `look` raises or ends the waiting: nothing is read or written after the run. A worker
    that stops because another failed may return before it does: that isn't the reason.
    """
    failures: list[BaseException] = []

    def guard() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  whatever ends a worker ends the run
            failures.append(error)
            stop.fail()

    workers = [threading.Thread(target=guard, name=f"{name}-{number}", daemon=True) for number in range(count)]
    for worker in workers:
        worker.start()
    try:
        for worker in workers:
            while worker.is_alive():
                worker.join(_LOOK_S)
                look()
        look()
    except BaseException:
        stop.fail()
        for worker in workers:
            worker.join()
        raise
    if failures:
        reasons = [each for each in failures if not isinstance(each, Interrupted)]
        raise (reasons or failures)[0] if stop.exit_code is None else failures[0]
    stop.check()
