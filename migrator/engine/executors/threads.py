"""Slices carried by threads of this process: the work is mostly waiting for servers."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import TypeVar

from migrator.adapters.base import Reader, Writer
from migrator.engine.carrying import Carrying
from migrator.engine.coordinating import Coordinator
from migrator.engine.identity import ReplacedError
from migrator.engine.state.checkpoint import OpenSlice
from migrator.engine.workers import next_of, run_workers
from migrator.errors import MigratorError

_LONG_S = 1.0

_T = TypeVar("_T")


class Threads:
    """Threads that take slices one by one, all with the same reader and writer."""

    slice_documents = None
    threads = None

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self._reader = reader
        self._writer = writer

    def run(self, slices: Sequence[OpenSlice], coordinator: Coordinator) -> None:
        waiting = deque(slices)
        run_workers(
            lambda: self._work(waiting, coordinator),
            min(coordinator.jobs, len(waiting)),
            name="copy",
            stop=coordinator.stop,
            look=lambda: coordinator.observe(coordinator.progress),
        )

    def _work(self, waiting: deque[OpenSlice], coordinator: Coordinator) -> None:
        """Take slices until there are none.

        Where it ends cleanly, what was handed to the writer before is committed all the same.
        """
        carrying, stop = Carrying(self._writer, coordinator.terms, coordinator), coordinator.stop
        selection = coordinator.selection
        with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as ahead:
            try:
                while not stop.asked and (open := next_of(waiting)):
                    batches = self._reader.read(open.slice, open.position, selection)
                    for flushed in carrying.carry(open, read_ahead(batches, ahead), stop):
                        coordinator.commit(flushed)
            except MigratorError as error:
                stop.fail()  # before the flush, which would wait for a server that is away
                if not isinstance(error, ReplacedError):
                    with suppress(MigratorError):
                        _commit_rest(carrying, coordinator)
                raise
            _commit_rest(carrying, coordinator)


def _commit_rest(carrying: Carrying, coordinator: Coordinator) -> None:
    for flushed in carrying.rest():
        coordinator.commit(flushed)


def read_ahead(batches: Iterator[_T], ahead: ThreadPoolExecutor) -> Iterator[_T | None]:
    """Yield from an iterator while its next item is being made by another thread; None for each second that it takes.

    So whoever holds something back until later isn't kept waiting by a source that is slow.
    """
    upcoming: Future[_T | None] = ahead.submit(next, batches, None)
    while True:
        while not upcoming.done() and not wait((upcoming,), _LONG_S).done:
            yield None
        if (batch := upcoming.result()) is None:
            return
        upcoming = ahead.submit(next, batches, None)
        yield batch
