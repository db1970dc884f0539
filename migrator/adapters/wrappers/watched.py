"""A reader that shows how far reading is, and ends it when it is asked to stop.

For operations that read in order to answer a question. A run that copies commits its pages first, and does both itself.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import msgspec
from typing_extensions import override

from migrator.activations.accounts import Counts
from migrator.activations.selection import Selection
from migrator.adapters.base import Batch, Plan, Reader, Slice, Token
from migrator.adapters.shared.optional import count
from migrator.adapters.shared.patience import Policy
from migrator.adapters.wrappers.forwarding import ForwardingReader
from migrator.events.watching import Observer, Progress, Stop


class Watch:
    """Who looks on, over all readers of an operation."""

    def __init__(self, stop: Stop, observe: Observer) -> None:
        self.stop = stop
        self._observe = observe
        self._progress = Progress()
        self._progress.phase = "reading"
        self._progress.documents = 0
        self._lock = threading.Lock()  # stores are read at the same time

    def expect(self, documents: int | None) -> None:
        """So many more will be read; None where that isn't known."""
        with self._lock:
            expected = self._progress.documents
            self._progress.documents = None if documents is None or expected is None else expected + documents

    def saw(self, batch: Batch) -> None:
        """Raise `Interrupted` where a stop was requested."""
        self.stop.check()
        read = len(batch.documents) + len(batch.rejections) + sum(batch.filtered.values())
        self._progress.add({"": Counts(read=read, size_bytes=batch.size_bytes)})
        with self._lock:
            self._observe(self._progress)

    def policy(self, policy: Policy) -> Policy:
        """The same patience, which ends with a request to stop."""
        return msgspec.structs.replace(policy, sleep=self.stop.sleep)


class WatchedReader(ForwardingReader):
    """The same reader, watched page by page."""

    def __init__(self, inner: Reader, watch: Watch) -> None:
        super().__init__(inner)
        self._watch = watch

    @override
    def plan(self, selection: Selection, *, slice_documents: int) -> Plan:
        self._watch.expect(count(self._inner, selection))
        return super().plan(selection, slice_documents=slice_documents)

    @override
    def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
        return self._watched(self._inner.read(slice, after, selection))

    @override
    def fetch(self, ids: Sequence[str], after: Token, selection: Selection) -> Iterator[Batch]:
        return self._watched(self._inner.fetch(ids, after, selection))

    def _watched(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            self._watch.saw(batch)
            yield batch
