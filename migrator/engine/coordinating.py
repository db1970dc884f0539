"""The one that writes the checkpoint: it hands out slices, takes what workers made durable, and commits it.

Workers may be threads, processes or other machines, and some of them come back after they were given up. So each
attempt at a slice has a number, and a commit counts only while its attempts are the newest of their slices.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Sequence, Set
from typing import Protocol

import msgspec

from migrator.activations.accounts import total
from migrator.activations.document import Document
from migrator.activations.selection import Selection
from migrator.adapters.base import (
    Description,
    Reader,
    SupportsJoining,
    SupportsLimitations,
    SupportsPreflight,
    SupportsReceipts,
    Token,
    Writer,
)
from migrator.engine.carrying import Terms
from migrator.engine.held import Flushed
from migrator.engine.identity import TargetGuard
from migrator.engine.options import CopyOptions
from migrator.engine.state.checkpoint import Checkpoint, Commit, OpenSlice
from migrator.errors import LimitReached
from migrator.events import TargetWarning, Tell
from migrator.events.watching import Observer, Progress, Stop
from migrator.text.arguments import argument
from migrator.text.units import counted


class Executor(Protocol):
    """Whoever carries slices."""

    @property
    def slice_documents(self) -> int | None:
        """How large slices should be; None: as for threads of this process."""
        ...

    @property
    def threads(self) -> int | None:
        """How many slices are carried at once, where that isn't for the caller to say."""
        ...

    def run(self, slices: Sequence[OpenSlice], coordinator: Coordinator) -> None:
        """Carry all of some slices, with every commit through the coordinator. Raises what ended it."""
        ...


class Coordinator:
    """One run: what all workers share, and the only one that writes the checkpoint."""

    def __init__(
        self,
        reader: Reader,
        writer: Writer,
        checkpoint: Checkpoint,
        options: CopyOptions,
        executor: Executor,
        *,
        run: int,
        stop: Stop,
        observe: Observer,
        tell: Tell,
        progress: Progress,
        target: Description,
        dry_run: bool,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._checkpoint = checkpoint
        self._options = options
        self._executor = executor
        self._run = run
        self.stop = stop
        self.observe = observe
        self.tell = tell
        self.dry_run = dry_run
        self.progress = progress
        self._rejected = 0  # as the checkpoint has it
        self._carried_rejected: Counter[int] = Counter()  # by slice, what isn't committed yet
        self._guard = TargetGuard(writer, target, noted=checkpoint.stores[1] if checkpoint.stores else None)
        self._proves = isinstance(writer, SupportsReceipts)
        self._joining = writer if isinstance(writer, SupportsJoining) else None
        self._told: set[str] = set()  # findings of the preflight
        self._lock = threading.Lock()
        self.terms = Terms()
        self.selection = Selection()
        self.prepared: Token = None  # by the writer, for the job
        self._attempts = 0
        self._allots = False  # whether numbers were allotted in this run
        self._newest: dict[int, int] = {}  # the attempt at each slice that may commit
        self._open: dict[int, OpenSlice] = {}  # slices that were begun, with the positions that are committed

    # -- the run ------------------------------------------------------------------------------------------------

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
        found = list(self._writer.preflight(namespaces)) if isinstance(self._writer, SupportsPreflight) else []
        found += self._writer.limitations() if isinstance(self._writer, SupportsLimitations) else ()
        for finding in found:
            if finding not in self._told:
                self._told.add(finding)
                tell(TargetWarning(finding))

    def expect(self, documents: int | None) -> None:
        """Fill in what the progress needs to show a share and the time left: the source has so many, if known."""
        self._rejected = self._checkpoint.aside.count("rejected")
        self.progress.counts = total(self._checkpoint.counts.values())
        self.progress.documents = documents

    def run_slices(self) -> int:
        """Run every open slice of the checkpoint; returns how many documents they gave."""
        before = self.progress.run_read
        round = self._checkpoint.round
        self.progress.phase = f"catching up, round {round}" if round else "copying"
        if slices := self._checkpoint.open_slices(self._run):
            self.begin_round()
            if self._checkpoint.reserved and self._joining is not None:
                # Numbers that lost workers were given may still be used by them.
                self._joining.allot((self._checkpoint.reserved + 1,))
            self._executor.run(slices, self)
        else:
            self.observe(self.progress)
            self.stop.check()
        return self.progress.run_read - before

    # -- what workers are given -----------------------------------------------------------------------------------

    def begin_round(self) -> None:
        """Look up what stays the same for all slices of a round, so that the file isn't asked for each."""
        self.terms = Terms(
            on_conflict=self._options.on_conflict,
            mark=self._checkpoint.mark,
            rereads_newer=self._reader.abilities.rereads_newer,
            dry_run=self.dry_run,
        )
        self.selection = self._checkpoint.selection
        self.prepared = self._checkpoint.prepared

    @property
    def jobs(self) -> int:
        """How many slices are carried at once."""
        return self._options.jobs

    def begin(self, open: OpenSlice) -> OpenSlice:
        """A new attempt at a slice, from where its commits stand; no earlier attempt can commit from now on."""
        with self._lock:
            self._attempts += 1
            again = self._open.get(open.number)
            begun = msgspec.structs.replace(
                open if again is None else again,
                begun_before=open.begun_before or again is not None,
                attempt=self._attempts,
            )
            self._open[open.number] = begun
            self._carried_rejected.pop(open.number, None)  # read again
            self._newest[open.number] = begun.attempt
            return begun

    def give_up(self, numbers: Collection[int]) -> None:
        """Take nothing more of the attempts at these slices, whatever their workers may still send."""
        with self._lock:
            for number in numbers:
                self._newest.pop(number, None)
                self._carried_rejected.pop(number, None)

    def allot(self, count: int) -> tuple[int, ...]:
        """Numbers that no worker of this job was ever given, for what it writes (`SupportsJoining`)."""
        if count <= 0 or self._joining is None:
            return ()
        with self._lock:
            if not self._allots:
                self._checkpoint.reserve_up_to(self._joining.highest_number())
                self._allots = True
            first = self._checkpoint.reserve(count)
            return tuple(range(first, first + count))

    # -- what workers must know (`carrying.Job`), and what they made durable ---------------------------------------

    @property
    def proven(self) -> Set[str]:
        return self._guard.proven

    @property
    def any_aside(self) -> bool:
        return self._checkpoint.aside.any

    def among_differing(self, documents: Sequence[Document]) -> frozenset[str]:
        return self._checkpoint.aside.among_differing(documents)

    def differing_digests(self) -> frozenset[bytes]:
        """What stands for the ids that are listed as differing, for workers that can't ask."""
        return self._checkpoint.aside.differing_digests()

    def carried(self, commit: Commit) -> None:
        """Count a batch that was written. Raises `LimitReached`."""
        self.progress.add(commit.counts)
        self._check_limits(commit)

    def flushed(self, flushed: Flushed) -> None:
        self._guard.wrote(flushed.written)

    def commit(self, flushed: Flushed) -> bool:
        """Note what is durable, if its attempts are still the newest of their slices; whether they were."""
        if not self._is_newest(flushed):
            return False
        target = self._guard.check(flushed.samples, flushed.namespaces) if not self.dry_run else None
        with self._lock:
            if not self._is_newest(flushed):
                return False
            self._checkpoint.commit(
                flushed.commits,
                run=self._run,
                ended=flushed.ended,
                receipt=flushed.receipt,
                receipts=self._proves,
                target=target,
            )
            for commit in flushed.commits:
                self._rejected += _rejected(commit)
                self._carried_rejected[commit.slice] -= _rejected(commit)
                if commit.slice in self._open:
                    self._open[commit.slice] = msgspec.structs.replace(
                        self._open[commit.slice], position=commit.position
                    )
            for number in flushed.ended:
                self._open.pop(number, None)
                self._newest.pop(number, None)
            return True

    def _is_newest(self, flushed: Flushed) -> bool:
        return all(not attempt or self._newest.get(slice) == attempt for slice, attempt in flushed.attempts.items())

    def _check_limits(self, commit: Commit) -> None:
        with self._lock:
            self._carried_rejected[commit.slice] += _rejected(commit)
            rejected = self._rejected + self._carried_rejected.total()
        if rejected > self._options.max_rejects:
            raise LimitReached(
                f"{counted(rejected, 'document was', 'documents were')} rejected, more than "
                f"{argument('max_rejects', self._options.max_rejects)}. "
                "List them with `migrator status JOB rejected=True`, fix the cause or raise the limit, and run again"
            )
        if self._options.on_conflict == "fail" and len(commit.set_aside) > _rejected(commit):
            raise LimitReached(
                f"{commit.set_aside[0].id} is already in the target and differs "
                f"({argument('on_conflict', 'fail')}). Compare the two, then run again with {argument('restart')} and "
                f"another {argument('on_conflict')}"
            )


def _rejected(commit: Commit) -> int:
    return sum(each.kind == "rejected" for each in commit.set_aside)
