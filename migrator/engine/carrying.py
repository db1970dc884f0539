"""The workers of a copy: each takes slices, and each batch of a slice is read, converted, written, committed.

A reader, a writer and a checkpoint with open slices enter; the slices are done. Knows no store, and nothing of plans.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from typing import TypeVar

import msgspec

from migrator.activations import forms
from migrator.activations.accounts import total
from migrator.activations.document import Document, Rejection
from migrator.activations.selection import Selection
from migrator.adapters.base import (
    Batch,
    Description,
    Reader,
    SupportsBuffer,
    SupportsPreflight,
    SupportsReceipts,
    SupportsStored,
    WriteOutcome,
    Writer,
)
from migrator.adapters.shared.optional import count
from migrator.engine.accounting import account
from migrator.engine.held import Held
from migrator.engine.identity import ReplacedError, TargetGuard
from migrator.engine.options import CopyOptions
from migrator.engine.state.checkpoint import Checkpoint, Commit, OpenSlice
from migrator.engine.workers import next_of, run_workers
from migrator.errors import LimitReached, MigratorError
from migrator.events import TargetWarning, Tell
from migrator.text.arguments import argument
from migrator.watching import Observer, Progress, Stop

_T = TypeVar("_T")


class Carrier:
    """One run: the workers, and what they share."""

    def __init__(
        self,
        reader: Reader,
        writer: Writer,
        checkpoint: Checkpoint,
        options: CopyOptions,
        *,
        run: int,
        stop: Stop,
        observe: Observer,
        progress: Progress,
        target: Description,
        dry_run: bool,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._checkpoint = checkpoint
        self._options = options
        self._run = run
        self._stop = stop
        self._observe = observe
        self._mark = checkpoint.mark
        self._rejected = 0
        self._guard = TargetGuard(writer, target, noted=checkpoint.stores[1] if checkpoint.stores else None)
        self.dry_run = dry_run
        self._proves = isinstance(writer, SupportsReceipts)
        self._buffer = writer if isinstance(writer, SupportsBuffer) else None
        self._told: set[str] = set()  # findings of the preflight
        self.progress = progress

    @property
    def target(self) -> Description:
        """What the target was found to be so far."""
        return self._guard.noted

    def check_target(self) -> None:
        """Raise `ReplacedError` unless the target still is what it was."""
        if not self.dry_run:
            self._guard.check()

    def preflight(self, namespaces: Sequence[str], tell: Tell) -> None:
        """Tell what will go wrong with the target, each finding once."""
        for finding in self._writer.preflight(namespaces) if isinstance(self._writer, SupportsPreflight) else ():
            if finding not in self._told:
                self._told.add(finding)
                tell(TargetWarning(finding))

    def expect(self, selection: Selection) -> None:
        """Fill in what the progress needs to show a share and the time left."""
        self._mark = self._checkpoint.mark
        self._rejected = self._checkpoint.aside.count("rejected")
        self.progress.counts = total(self._checkpoint.counts.values())
        self.progress.documents = count(self._reader, selection)

    def run_slices(self) -> int:
        """Run every open slice of the checkpoint; returns how many documents they gave."""
        before = self.progress.run_read
        round = self._checkpoint.round
        self.progress.phase = f"catching up, round {round}" if round else "copying"
        waiting = deque(self._checkpoint.open_slices(self._run))
        run_workers(
            lambda: self._work(waiting),
            min(self._options.jobs, len(waiting)),
            name="copy",
            stop=self._stop,
            look=lambda: self._observe(self.progress),
        )
        return self.progress.run_read - before

    def _work(self, waiting: deque[OpenSlice]) -> None:
        """Take slices until there are none.

        Where it ends cleanly, what was handed to the writer before is committed all the same.
        """
        held = Held()
        with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as ahead:
            try:
                while not self._stop.asked and (open := next_of(waiting)):
                    self._copy_slice(open, ahead, held)
            except MigratorError as error:
                self._stop.fail()  # before the flush, which would wait for a server that is away
                if not isinstance(error, ReplacedError):
                    with suppress(MigratorError):
                        self._commit(held)
                raise
            self._commit(held)

    def _copy_slice(self, open: OpenSlice, ahead: ThreadPoolExecutor, held: Held) -> None:
        batches = self._reader.read(open.slice, open.position, self._checkpoint.selection)
        for batch in _read_ahead(batches, ahead):
            commit = self._carry(batch, open, held)
            held.add(commit, set_aside=self._checkpoint.aside.any)
            if self._buffer is None or self._buffer.due():
                self._commit(held)
            self.progress.add(commit.counts)
            self._check_limits(commit)
            if self._stop.asked:
                return
        held.end(open.number)

    def _commit(self, held: Held) -> None:
        """Make durable what this worker handed to the writer, then note it.

        What was flushed before and couldn't be noted comes first, with the receipt that it had.
        """
        while held.flushed or held.waits_for_flush:
            flushed = held.flushed
            if flushed is None:
                flushed = held.flush(self._writer.flush())
                self._guard.wrote(flushed.written)
            target = self._guard.check(flushed.samples, flushed.namespaces) if not self.dry_run else None
            self._checkpoint.commit(
                flushed.commits,
                run=self._run,
                ended=flushed.ended,
                receipt=flushed.receipt,
                receipts=self._proves,
                target=target,
            )
            held.committed()

    def _carry(self, batch: Batch, open: OpenSlice, held: Held) -> Commit:
        """Convert and write one batch; account for every document of it."""
        refused: list[Rejection] = list(batch.rejections)
        converted: list[Document] = []
        form = self._writer.form
        for document in batch.documents:
            result = forms.convert(document, form) if form is not None else document
            if isinstance(result, Document):
                converted.append(result)
            else:
                refused.append(result)
        proven = self._guard.proven  # before anything is written: what is written is held by the look that comes after
        outcome = self._write(converted, open) if converted else WriteOutcome()
        if not self.dry_run and not self._proves:
            held.sample(chain(outcome.written, outcome.present), proven=proven)
        created = not (open.slice.replaces or open.begun_before or self._options.on_conflict == "overwrite")
        return account(batch, open.number, outcome, refused, created=created, bulk=not open.slice.replaces)

    def _write(self, documents: Sequence[Document], open: OpenSlice) -> WriteOutcome:
        """Write by the conflict rule.

        The rule protects what was in the target before the job. Where a slice may bring newer versions of what this
        job wrote itself (in catch-up, or beyond its position in an earlier run), a differing document that was stored
        after the job's mark is our own older version and gives way, unless it is listed as differing already.
        """
        overwrite = self._options.on_conflict == "overwrite"
        outcome = self._writer.write(documents, replace=overwrite)
        newer = open.slice.replaces or (open.begun_before and self._reader.abilities.rereads_newer)
        if outcome.differing and newer and isinstance(self._writer, SupportsStored):
            ours = self._writer.stored_since(self._mark, outcome.differing)
            ours -= self._checkpoint.aside.among_differing(outcome.differing)
            older = tuple(document for document in outcome.differing if document.id in ours)
            stays = tuple(document for document in outcome.differing if document.id not in ours)
            outcome = msgspec.structs.replace(outcome, differing=stays)
            if older:
                outcome += self._writer.write(older, replace=True)
        return outcome

    def _check_limits(self, commit: Commit) -> None:
        rejected = sum(each.kind == "rejected" for each in commit.set_aside)
        differing = len(commit.set_aside) - rejected
        self._rejected += rejected
        if self._rejected > self._options.max_rejects:
            raise LimitReached(
                f"{self._rejected} documents were rejected, more than "
                f"{argument('max_rejects', self._options.max_rejects)}. "
                "List them with `migrator status JOB rejected=True`, fix the cause or raise the limit, and run again"
            )
        if differing and self._options.on_conflict == "fail":
            raise LimitReached(
                f"{commit.set_aside[0].id} is already in the target and differs "
                f"({argument('on_conflict', 'fail')}). Compare the two, then run again with {argument('restart')} and "
                f"another {argument('on_conflict')}"
            )


def _read_ahead(batches: Iterator[_T], ahead: ThreadPoolExecutor) -> Iterator[_T]:
    """Yield from an iterator while its next item is being made by another thread."""
    upcoming: Future[_T | None] = ahead.submit(next, batches, None)
    while (batch := upcoming.result()) is not None:
        upcoming = ahead.submit(next, batches, None)
        yield batch
