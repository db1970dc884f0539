"""Counts documents as they go by: how many of what, from when to when, in which namespaces."""

from __future__ import annotations

import time
from collections import Counter

import msgspec

from migrator.activations.selection import Selection
from migrator.adapters.base import Batch, Reader
from migrator.adapters.questions import Probe, plausible_ms
from migrator.adapters.shared.whole import read_whole
from migrator.events.watching import Stop


class ProbeCounts:
    """What was seen so far. The times are those of activations whose dates can be right."""

    def __init__(self, now_ms: int | None = None) -> None:
        self._earliest_ms, self._latest_ms = plausible_ms(int(time.time() * 1000) if now_ms is None else now_ms)
        self.misdated = 0
        self.namespaces: Counter[str] = Counter()
        self.others = 0
        self.unreadable = 0
        self.first_ms: int | None = None
        self.last_ms: int | None = None

    @property
    def activations(self) -> int:
        return self.namespaces.total()

    def take(self, batch: Batch) -> None:
        for document in batch.documents:
            self.namespaces[document.namespace] += 1
            start_ms = document.start_ms
            if not self._earliest_ms <= start_ms <= self._latest_ms:
                self.misdated += 1
                continue
            self.first_ms = start_ms if self.first_ms is None else min(self.first_ms, start_ms)
            self.last_ms = start_ms if self.last_ms is None else max(self.last_ms, start_ms)
        self.unreadable += len(batch.rejections)
        self.others += sum(batch.filtered.values())


def read_all(reader: Reader, stop: Stop | None = None) -> ProbeCounts:
    """Read a store from end to end. Raises `Incomplete` where it holds more than could be read, and `Interrupted`."""
    counts = ProbeCounts()
    for batch in read_whole(reader, Selection()):
        if stop is not None:
            stop.check()
        counts.take(batch)
    return counts


def probe_of(counts: ProbeCounts, known: Probe) -> Probe:
    """What reading a store from end to end adds to what is known of it."""
    return msgspec.structs.replace(
        known,
        activations=counts.activations,
        is_exact=True,
        first_ms=counts.first_ms,
        last_ms=counts.last_ms,
        misdated=counts.misdated,
        namespaces=dict(sorted(counts.namespaces.items())),
        unreadable=counts.unreadable,
    )
