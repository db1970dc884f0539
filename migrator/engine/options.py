"""How a copy goes about it, and what a run has done so far, for those who look on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

import msgspec

from migrator.rendering.report import Counts


class CopyOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a copy goes about it."""

    jobs: int = 4  # slices at once
    slice_documents: int = 20_000
    on_conflict: str = "skip"  # "skip", "overwrite", "fail"
    max_rejects: int = 10_000
    small_round: int = 1_000  # a catch-up round that read fewer documents is the last
    most_rounds: int = 20


class Progress:
    """What a run has done so far, to be looked at by another thread at any time."""

    def __init__(self) -> None:
        self.phase = "planning"
        self.counts = Counts()  # of the whole job
        self.documents: int | None = None  # expected in all, as far as that is known
        self.run_read = 0
        self.began_s = time.monotonic()
        self._lock = threading.Lock()

    @property
    def standing(self) -> str:
        """How far the job is, as the end of a sentence: `at 61 %, 12,200 of 20,000 documents`."""
        if not self.documents:
            return f"after {self.counts.read:,} documents"
        share = min(99, 100 * self.counts.read // self.documents)  # catch-up reads some of them again
        return f"at {share} %, {self.counts.read:,} of {self.documents:,} documents"

    def add(self, counts: Mapping[str, Counts]) -> None:
        with self._lock:
            for each in counts.values():
                self.counts.add(each)
                self.run_read += each.read


Observer = Callable[[Progress], None]
Tell = Callable[[str], None]
