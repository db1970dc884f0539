"""What one worker handed to the writer and the checkpoint doesn't know yet.

Commits enter one by one; they leave together with the receipt of the flush that made them durable. A flush and its
commit are one thing: a receipt is kept until the checkpoint has it, however often that is tried.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence, Set

import msgspec

from migrator.activations.document import Document
from migrator.adapters.base import Token
from migrator.engine.state.checkpoint import Commit

_PATIENCE = 4  # with samples of which there are ever more
_MOST_SAMPLES = 500  # what is held for longer than a page is no more than a page
_MOST_SAMPLE_BYTES = 4_000_000


class Flushed(msgspec.Struct, frozen=True, kw_only=True):
    """Commits whose documents are durable in the target, and the receipt for them."""

    commits: Sequence[Commit]
    ended: Sequence[int]  # the numbers of slices that were read to their ends
    receipt: Token
    samples: Sequence[Document]
    attempts: Mapping[int, int] = {}  # at each slice that it speaks of; 0 where there can only be one

    @property
    def namespaces(self) -> frozenset[str]:
        """Those of which documents are in the target."""
        return frozenset(
            name
            for commit in self.commits
            for name, counts in commit.counts.items()
            if counts.written or counts.present or counts.differing
        )

    @property
    def written(self) -> int:
        return sum(commit.written for commit in self.commits)


class Held:
    """Commits in the order of their batches; those that were flushed come first."""

    def __init__(self) -> None:
        self.flushed: Flushed | None = None
        self._commits: list[Commit] = []
        self._ended: list[int] = []
        self._attempts: dict[int, int] = {}
        self._samples: dict[str, Document] = {}  # by namespace: the first that was written
        self._oldest_s: float | None = None  # when the first of them was written, of those that were
        self._newest_s = 0.0  # when the last was

    def add(self, commit: Commit, *, set_aside: bool, attempt: int = 0) -> None:
        """Take a commit; `set_aside` tells whether the checkpoint keeps documents that its settled ones may be."""
        if commit.settled and not (set_aside or any(earlier.set_aside for earlier in self._commits)):
            # A part of an archive is held for many batches, and the ids would be most of what is held.
            commit = msgspec.structs.replace(commit, settled=())
        self._commits.append(commit)
        self._attempts[commit.slice] = attempt

    def sample(self, documents: Iterable[Document], *, proven: Set[str], written: bool) -> None:
        """Keep the first document of each namespace that wasn't `proven` to be there before it was written.

        If the place was replaced after that, it is gone. One is enough: a server refreshes a shard to look it up.
        `written` tells that they were written just now; others, which were there, are visible already.
        """
        for document in documents:
            if document.namespace not in proven and document.namespace not in self._samples:
                self._samples[document.namespace] = document
                if written:
                    self._newest_s = time.monotonic()
                    self._oldest_s = self._newest_s if self._oldest_s is None else self._oldest_s

    def can_wait(self, visible_after_s: float) -> bool:
        """Whether the samples had better be looked up later, once the store shows them without being made to.

        What was set aside is committed at once: who asks for it after an error finds it in the checkpoint.
        """
        if self._oldest_s is None or any(commit.set_aside for commit in self._commits):
            return False
        samples = self._samples.values()
        if len(samples) > _MOST_SAMPLES or sum(each.size_bytes for each in samples) > _MOST_SAMPLE_BYTES:
            return False
        now_s = time.monotonic()
        return now_s - self._newest_s < visible_after_s and now_s - self._oldest_s < _PATIENCE * visible_after_s

    def end(self, slice: int, *, attempt: int = 0) -> None:
        """A slice was read to its end."""
        self._ended.append(slice)
        self._attempts[slice] = attempt

    @property
    def waits_for_flush(self) -> bool:
        return self.flushed is None and bool(self._commits or self._ended)

    def flush(self, receipt: Token) -> Flushed:
        """What was held is durable."""
        samples = tuple(self._samples.values())
        self.flushed = Flushed(
            commits=self._commits, ended=self._ended, receipt=receipt, samples=samples, attempts=self._attempts
        )
        self._commits, self._ended, self._attempts = [], [], {}
        return self.flushed

    def committed(self) -> None:
        """What was flushed is in the checkpoint."""
        self.flushed = None
        self._samples.clear()
        self._oldest_s = None
