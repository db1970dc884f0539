"""A reader that gives no more than so many documents a second, to spare a source that is in use."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence

from typing_extensions import override

from migrator.activations.selection import Selection
from migrator.adapters.base import Batch, Reader, Slice, Token
from migrator.adapters.wrappers.forwarding import ForwardingReader


class ThrottledReader(ForwardingReader):
    """Holds each batch back until the rate allows the documents in it; all threads share one rate."""

    def __init__(
        self,
        inner: Reader,
        documents_per_s: float,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(inner)
        self._documents_per_s = documents_per_s
        self._sleep = sleep
        self._clock = clock
        self._lock = threading.Lock()
        self._free_at_s = clock()  # when the documents handed out so far are paid for

    def _hold_back(self, documents: int) -> None:
        with self._lock:
            now_s = self._clock()
            # A pause in the work earns no credit for a burst afterwards.
            self._free_at_s = max(self._free_at_s, now_s) + documents / self._documents_per_s
            wait_s = self._free_at_s - now_s
        if wait_s > 0:
            self._sleep(wait_s)

    @override
    def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
        return self._throttle(self._inner.read(slice, after, selection))

    @override
    def fetch(self, ids: Sequence[str], after: Token, selection: Selection) -> Iterator[Batch]:
        return self._throttle(self._inner.fetch(ids, after, selection))

    def _throttle(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            self._hold_back(len(batch.documents) + len(batch.rejections) + sum(batch.filtered.values()))
            yield batch
