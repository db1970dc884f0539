"""Which slices wait, which are with a worker, and which must be carried again.

Slices enter; each is handed out until it is done, and more often where workers are lost. Knows no kind of worker.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterable, Sequence

from migrator.engine.coordinating import Coordinator
from migrator.engine.executors.values import Knowledge, Rest
from migrator.engine.state.checkpoint import OpenSlice
from migrator.errors import MigratorError, Unavailable

MOST_LOSSES = 5
"""A slice whose workers are lost so often is what they die of."""

_MOST_OUTPACED = 20  # attempts in a row that something else stored newer versions during
_LOOK_S = 0.2


def knowledge_for(open: OpenSlice, coordinator: Coordinator) -> Knowledge:
    """What a worker needs to carry a slice."""
    rereads = open.slice.replaces or open.begun_before
    return Knowledge(
        terms=coordinator.terms,
        selection=coordinator.selection,
        prepared=coordinator.prepared,
        proven=coordinator.proven,
        any_aside=coordinator.any_aside,
        differing=coordinator.differing_digests() if rereads and coordinator.any_aside else frozenset(),
    )


class Assigning:
    """The slices of one round. Used by the threads that attend to workers."""

    def __init__(self, slices: Sequence[OpenSlice], coordinator: Coordinator) -> None:
        self._slices = {open.number: open for open in slices}
        self._waiting = deque(slices)
        self._left = len(slices)
        self._coordinator = coordinator
        self._losses: Counter[int] = Counter()
        self._outpaced: Counter[int] = Counter()
        self._changed = threading.Condition()

    def take(self, *, flushed: bool) -> OpenSlice | Rest | None:
        """The next slice for a worker; `Rest` where its own must be made durable first; None where all are done.

        Waits while the last ones are with other workers, which may be lost.
        """
        with self._changed:
            while not self._coordinator.stop.asked:
                if self._waiting:
                    return self._waiting.popleft()
                if not flushed:
                    return Rest()
                if not self._left:
                    return None
                self._changed.wait(_LOOK_S)
        return None

    def next(self) -> OpenSlice | None:
        """The next slice that waits; None where none does now."""
        with self._changed:
            return self._waiting.popleft() if self._waiting else None

    def go_on(self, number: int) -> None:
        """Carry on with a slice that isn't done, from what is committed of it."""
        with self._changed:
            self._waiting.appendleft(self._slices[number])
            self._changed.notify_all()

    def done(self, numbers: Iterable[int]) -> None:
        """These slices are committed to their ends."""
        with self._changed:
            self._left -= len(list(numbers))
            self._changed.notify_all()

    def put_back(self, numbers: Iterable[int], why: str) -> None:
        """Carry these slices again, since their worker was lost. Raises `Unavailable` where that happens too often."""
        with self._changed:
            for number in numbers:
                self._losses[number] += 1
                if self._losses[number] >= MOST_LOSSES:
                    raise Unavailable(
                        f"slice {self._slices[number].slice.key}: {MOST_LOSSES} workers were lost while they carried "
                        f"it; the last one {why}. Check the memory of the machine and the system's log, then run again"
                    )
                self._waiting.appendleft(self._slices[number])
            self._changed.notify_all()

    def outpaced(self, number: int, error: MigratorError) -> None:
        """Carry a slice again, since something else stored newer versions. Raises `error` where it goes on so."""
        with self._changed:
            self._outpaced[number] += 1
            if self._outpaced[number] >= _MOST_OUTPACED:
                raise error
            self._waiting.append(self._slices[number])
            self._changed.notify_all()
