"""A process that carries slices for a coordinator in another process of this machine.

Values come in and go out by a pipe. The stores are opened here, with what this process finds in its environment and
files. When the coordinator is gone, the process ends: what it hasn't sent was never committed.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection

from migrator.adapters.base import SupportsJoining, Token, Writer
from migrator.engine.carrying import Carrying, OutpacedError
from migrator.engine.executors.threads import read_ahead
from migrator.engine.executors.values import (
    Alive,
    Carried,
    Committed,
    Done,
    Ends,
    Failed,
    FromWorker,
    Opener,
    Outpaced,
    Quit,
    RemoteJob,
    Rest,
    StopAsked,
    Task,
    Told,
)
from migrator.engine.held import Flushed
from migrator.engine.identity import ReplacedError
from migrator.errors import MigratorError
from migrator.events.watching import Stop

ALIVE_S = 2.0


def serve(connection: Connection, opener: Opener) -> None:
    """Carry what comes in until there is nothing more; what the process runs."""
    for each in (signal.SIGINT, signal.SIGTERM):  # a terminal sends them to all; the coordinator decides
        signal.signal(each, signal.SIG_IGN)
    link = _Link(connection)
    try:
        with opener(link.stop, lambda event: link.send(Told(event))) as ends:
            _Worker(ends, link).run()
    except Exception as error:  # noqa: BLE001  whatever it is, the coordinator tells the operator
        link.send(Failed(error))
    finally:
        link.ended.set()


class _Link:
    """The pipe: what comes in is received by a thread of its own, which also notices that the other end is gone."""

    def __init__(self, connection: Connection) -> None:
        self.stop = Stop()
        self.ended = threading.Event()
        self.inbox: queue.SimpleQueue[Task | Rest | Committed | Quit] = queue.SimpleQueue()
        self._connection = connection
        self._lock = threading.Lock()
        for work in (self._receive, self._beat):
            threading.Thread(target=work, daemon=True).start()

    def send(self, message: FromWorker) -> None:
        with self._lock:
            self._connection.send(message)

    def _receive(self) -> None:
        while True:
            try:
                message = self._connection.recv()
            except (EOFError, OSError):
                os._exit(1)
            if isinstance(message, StopAsked):
                self.stop.ask()
            else:
                self.inbox.put(message)

    def _beat(self) -> None:
        while not self.ended.wait(ALIVE_S):
            try:
                self.send(Alive())
            except OSError:
                os._exit(1)


class _Worker:
    """The worker between its pipe and its stores."""

    def __init__(self, ends: Ends, link: _Link) -> None:
        self._ends = ends
        self._link = link
        self._job: RemoteJob | None = None
        self._carrying: Carrying | None = None
        self._joined: Token = None

    def run(self) -> None:
        with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as ahead:
            while not isinstance(message := self._link.inbox.get(), Quit):
                try:
                    if isinstance(message, Task):
                        self._carry(message, ahead)
                    elif isinstance(message, Rest):
                        self._commit_rest()
                        self._link.send(Done())
                except OutpacedError as error:
                    assert isinstance(message, Task)
                    self._commit_rest()
                    self._link.send(Outpaced(message.open.number, error))
                except MigratorError as error:
                    self._link.stop.fail()  # before the flush, which would wait for a server that is away
                    if not isinstance(error, ReplacedError):
                        with suppress(MigratorError):
                            self._commit_rest()
                    raise

    def _carry(self, task: Task, ahead: ThreadPoolExecutor) -> None:
        reader, writer = self._ends
        knowledge = task.knowledge
        self._join(writer, knowledge.prepared, task.numbers)
        self._job = RemoteJob(knowledge, lambda commit: self._link.send(Carried(commit)))
        if self._carrying is None:
            self._carrying = Carrying(writer, knowledge.terms, self._job, fenced=True)
        self._carrying.renew(knowledge.terms, self._job)
        self._carrying.begin(task.open)
        batches = reader.read(task.open.slice, task.open.position, knowledge.selection)
        self._commit(self._carrying.carry(task.open, read_ahead(batches, ahead), self._link.stop))
        self._link.send(Done())

    def _join(self, writer: Writer, prepared: Token, numbers: Sequence[int]) -> None:
        if isinstance(writer, SupportsJoining):
            if prepared != self._joined:
                writer.join(prepared)
                self._joined = prepared
            if numbers:
                writer.allot(numbers)

    def _commit_rest(self) -> None:
        if self._carrying is not None:
            self._commit(self._carrying.rest())

    def _commit(self, durable: Iterable[Flushed]) -> None:
        """Send what is durable, and wait until it is committed before more is carried."""
        for flushed in durable:
            self._link.send(flushed)
            answer = self._link.inbox.get()
            assert isinstance(answer, Committed), answer
            if self._job is not None:
                self._job.proven = answer.proven
            if answer.numbers and isinstance(self._ends.writer, SupportsJoining):
                self._ends.writer.allot(answer.numbers)
