"""Slices carried by other processes of this machine, each with its own interpreter and its own connections.

A thread of the coordinator attends to each process. A process that ends, or says nothing for a while, is killed: what
it hadn't sent is carried again by another, from the position that is committed.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from migrator.engine.coordinating import Coordinator
from migrator.engine.executors.assigning import Assigning, knowledge_for
from migrator.engine.executors.values import (
    Alive,
    Carried,
    Committed,
    Done,
    Failed,
    FromWorker,
    Opener,
    Outpaced,
    Quit,
    Rest,
    StopAsked,
    Task,
    Told,
    ToWorker,
)
from migrator.engine.executors.worker import serve
from migrator.engine.held import Flushed
from migrator.engine.state.checkpoint import OpenSlice
from migrator.engine.workers import run_workers
from migrator.events import WorkerLost

SILENCE_S = 60.0
"""A worker that says nothing for so long is given up; it says something every two seconds, whatever it waits for."""

_LOOK_S = 0.2
_STOCK = 2  # numbers that a worker has in advance, so that it never waits for one


class _LostError(Exception):
    """A worker ended or went silent; the message says how."""


class _Process:
    """A worker as its coordinator sees it."""

    def __init__(self, opener: Opener) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection: Connection
        self._connection, theirs = context.Pipe()
        self._process: SpawnProcess = context.Process(target=serve, args=(theirs, opener), daemon=True)
        self._process.start()
        theirs.close()
        self.uncommitted: dict[int, OpenSlice] = {}
        self.stock = 0  # numbers that it has and didn't use
        self._heard_s = time.monotonic()
        self._told_to_stop = False

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def send(self, message: ToWorker) -> None:
        """Send to a worker that may have ended: `receive` gives what it said before, then tells how it ended."""
        self._heard_s = time.monotonic()  # it may have been idle, and what it said then isn't read yet
        with suppress(OSError):
            self._connection.send(message)

    def stop(self) -> None:
        if not self._told_to_stop:
            self._told_to_stop = True
            self.send(StopAsked())

    def receive(self, silence_s: float) -> FromWorker | None:
        """The next message; None where none came soon. Raises `_LostError`."""
        try:
            if not self._connection.poll(_LOOK_S):
                silent_s = time.monotonic() - self._heard_s
                if silent_s > silence_s:
                    raise _LostError(f"said nothing for {silent_s:.0f} s")
                return None
            message: FromWorker = self._connection.recv()
        except (EOFError, OSError) as error:
            raise _LostError(self._end()) from error
        self._heard_s = time.monotonic()
        return message

    def _end(self) -> str:
        self._process.join(1)
        code = self._process.exitcode
        return f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"

    def close(self) -> None:
        """End it, whatever it does: what it didn't send wasn't committed."""
        if self._process.is_alive() and not self.uncommitted:
            self.send(Quit())
            self._process.join(2)
        self._process.kill()
        self._process.join()
        self._connection.close()


class Processes:
    """Worker processes, as many as slices are carried at once; they stay from one round to the next."""

    slice_documents = None
    threads = None

    def __init__(self, opener: Opener, *, silence_s: float | None = None) -> None:
        self._opener = opener
        self._silence_s = SILENCE_S if silence_s is None else silence_s
        self._idle: deque[_Process] = deque()
        self._all: set[_Process] = set()
        self._lock = threading.Lock()

    @property
    def pids(self) -> list[int]:
        """The process ids of the workers that run now."""
        with self._lock:
            return [each.pid for each in self._all if each.pid is not None]

    def run(self, slices: Sequence[OpenSlice], coordinator: Coordinator) -> None:
        assigning = Assigning(slices, coordinator)
        run_workers(
            lambda: self._attend(assigning, coordinator),
            min(coordinator.jobs, len(slices)),
            name="attend",
            stop=coordinator.stop,
            look=lambda: coordinator.observe(coordinator.progress),
        )

    def close(self) -> None:
        for each in list(self._all):
            self._end(each)

    def _attend(self, assigning: Assigning, coordinator: Coordinator) -> None:
        """Give slices to one worker until none is left; where it is lost, to another."""
        worker: _Process | None = None
        try:
            while (open := assigning.take(flushed=worker is None or not worker.uncommitted)) is not None:
                worker = worker or self._start()
                try:
                    self._give(worker, open, coordinator)
                    self._listen(worker, assigning, coordinator)
                except _LostError as lost:
                    lost_slices = list(worker.uncommitted)
                    coordinator.give_up(lost_slices)
                    self._end(worker)
                    coordinator.tell(WorkerLost(f"process {worker.pid}", str(lost), len(lost_slices)))
                    assigning.put_back(lost_slices, str(lost))
                    worker = None
            if worker is not None and worker.uncommitted:  # asked to stop
                self._send_rest(worker, assigning, coordinator)
            if worker is not None and not coordinator.stop.asked:
                self._idle.append(worker)
        except BaseException:
            if worker is not None:
                coordinator.give_up(list(worker.uncommitted))
                self._end(worker)
            raise

    def _send_rest(self, worker: _Process, assigning: Assigning, coordinator: Coordinator) -> None:
        try:
            worker.send(Rest())
            self._listen(worker, assigning, coordinator)
        except _LostError:
            coordinator.give_up(list(worker.uncommitted))
        self._end(worker)

    def _give(self, worker: _Process, open: OpenSlice | Rest, coordinator: Coordinator) -> None:
        if isinstance(open, Rest):
            worker.send(open)
            return
        begun = coordinator.begin(open)
        worker.uncommitted[begun.number] = begun
        numbers = coordinator.allot(_STOCK - worker.stock)
        worker.stock = _STOCK
        worker.send(Task(open=begun, knowledge=knowledge_for(begun, coordinator), numbers=numbers))

    def _listen(self, worker: _Process, assigning: Assigning, coordinator: Coordinator) -> None:
        """Take what a worker says until it is done. Raises `_LostError`, and what ended the worker."""
        while True:
            if coordinator.stop.asked:
                worker.stop()
            match worker.receive(self._silence_s):
                case None | Alive():
                    pass
                case Told(event):
                    coordinator.tell(event)
                case Carried(commit):
                    coordinator.carried(commit)
                case Flushed() as flushed:
                    self._commit(worker, flushed, assigning, coordinator)
                case Outpaced(number, error):
                    worker.uncommitted.pop(number, None)
                    assigning.outpaced(number, error)
                    return
                case Failed(error):
                    raise error
                case Done():
                    return

    def _commit(self, worker: _Process, flushed: Flushed, assigning: Assigning, coordinator: Coordinator) -> None:
        coordinator.flushed(flushed)
        if not coordinator.commit(flushed):
            raise AssertionError("nobody else has the slices of a worker that is attended to")
        for number in flushed.ended:
            worker.uncommitted.pop(number, None)
        assigning.done(flushed.ended)
        used = int(flushed.receipt is not None)
        worker.send(Committed(proven=coordinator.proven, numbers=coordinator.allot(used)))

    def _start(self) -> _Process:
        with self._lock:
            if self._idle:
                return self._idle.popleft()
        worker = _Process(self._opener)
        with self._lock:
            self._all.add(worker)
        return worker

    def _end(self, worker: _Process) -> None:
        with self._lock:
            self._all.discard(worker)
        worker.close()
