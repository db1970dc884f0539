"""Worker processes as threads of the test's own process: the same pipe, and the same code at both ends.

So a test can have a reader or a writer of its own in a worker, and lose the worker at the moment that it chooses.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any

import pytest

from migrator.adapters.base import Reader, Writer
from migrator.engine.executors import worker
from migrator.engine.executors.values import Ends, Opener, Quit
from migrator.events import Tell
from migrator.events.watching import Stop

_KILLED = 9


class _ExitError(Exception):
    """A worker ends at once: so do its threads."""


class WorkerThread:
    """What `multiprocessing` calls a process."""

    def __init__(self, target: Callable[[Connection, Opener], None], args: tuple[Connection, Opener]) -> None:
        # The coordinator closes its copy of the worker's end, as one in another process does.
        self._connection, self._opener = Connection(os.dup(args[0].fileno())), args[1]
        self._thread = threading.Thread(target=self._run, args=(target,), daemon=True)
        self.exitcode: int | None = None
        self.links: list[_Link] = []

    @property
    def pid(self) -> int | None:
        return self._thread.native_id

    def start(self) -> None:
        self._thread.start()

    def is_alive(self) -> bool:
        return self.exitcode is None and self._thread.is_alive()

    def join(self, timeout: float | None = None) -> None:
        if self.exitcode is None:  # one that was killed is gone, whatever its thread still does
            self._thread.join(timeout)

    def kill(self) -> None:
        """End it: nothing that it says arrives any more, and nothing reaches it."""
        if self.exitcode is None:  # also one that is just being started
            self.exitcode = -_KILLED
        self.lose()

    def lose(self) -> None:
        with suppress(OSError), socket.socket(fileno=os.dup(self._connection.fileno())) as pipe:
            pipe.shutdown(socket.SHUT_RDWR)
        for link in self.links:
            link.ended.set()
            link.stop.ask()
            link.inbox.put(Quit())

    def end(self) -> None:
        for link in self.links:
            for _ in range(2):  # as many threads as it has
                assert link.over.acquire(timeout=10)
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _run(self, target: Callable[[Connection, Opener], None]) -> None:
        with suppress(OSError):  # a worker whose pipe is gone ends, however it does
            target(self._connection, self._opener)
            self.exitcode = self.exitcode or 0
        self.lose()  # and its other threads


class WorkerThreads:
    """All workers of a test, in the place of `multiprocessing`'s context."""

    def __init__(self) -> None:
        self.started: list[WorkerThread] = []
        self.ignored: set[Any] = set()  # signals
        self.exits: list[int] = []  # exit codes of workers that ended at once

    Pipe = staticmethod(multiprocessing.Pipe)

    def Process(self, *, target: Any, args: tuple[Connection, Opener], daemon: bool) -> WorkerThread:
        assert daemon
        self.started.append(WorkerThread(target, args))
        return self.started[-1]

    def close(self) -> None:
        for each in self.started:
            each.lose()
            each.end()


class _Link(worker._Link):
    """A worker's end of the pipe, whose threads end with it."""

    def __init__(self, connection: Connection) -> None:
        self.over = threading.Semaphore(0)
        super().__init__(connection)

    def _receive(self) -> None:
        with self._noted():
            super()._receive()

    def _beat(self) -> None:
        with self._noted():
            super()._beat()

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            with suppress(_ExitError):
                yield
        finally:
            self.over.release()


@contextmanager
def workers_as_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerThreads]:
    """Inside the block `Processes` starts threads."""
    workers = WorkerThreads()

    def link_of(connection: Connection) -> _Link:
        (own,) = [each for each in workers.started if each._connection is connection]
        own.links.append(_Link(connection))
        return own.links[-1]

    def end(code: int) -> None:
        workers.exits.append(code)
        raise _ExitError

    monkeypatch.setattr(multiprocessing, "get_context", lambda _: workers)
    monkeypatch.setattr(worker, "_Link", link_of)
    monkeypatch.setattr(signal, "signal", lambda number, _: workers.ignored.add(number))
    monkeypatch.setattr(os, "_exit", end)
    try:
        yield workers
    finally:
        workers.close()


def opener_of(make: Callable[[Stop, Tell], tuple[Reader, Writer]]) -> Opener:
    """Opens what a test makes for each worker."""

    @contextmanager
    def open_ends(stop: Stop, tell: Tell) -> Iterator[Ends]:
        yield Ends(*make(stop, tell))

    return open_ends
