"""The copy engine: slices in parallel, each batch read, converted, written, committed.

A reader, a writer and a checkpoint enter, a `Report` leaves. Knows no store and no command line.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from typing import TypeVar

import msgspec

from migrator import forms
from migrator.adapters.base import Batch, Description, Reader, Token, WriteOutcome, Writer
from migrator.engine.checkpoint import Checkpoint, Commit, JobSpec, OpenSlice, SetAside
from migrator.engine.stopping import Stop
from migrator.engine.workers import next_of, run_workers
from migrator.errors import Interrupted, LimitReached, MigratorError
from migrator.records import LOSSES, Document, Rejection, Selection
from migrator.report import Counts, Report, total

_T = TypeVar("_T")

_LEAST_SLICE_DOCUMENTS = 2_000  # a smaller one isn't worth its beginning and its end


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


def run_copy(
    reader: Reader,
    writer: Writer,
    checkpoint: Checkpoint,
    spec: JobSpec,
    selection: Selection,
    options: CopyOptions,
    *,
    stop: Stop,
    observe: Observer = lambda _: None,
    tell: Tell = lambda _: None,
    clock: Callable[[], float] = time.time,
    since: Token = None,
    dry_run: bool = False,
) -> Report:
    """Carry over everything selected, then what was stored or changed meanwhile, until that is little.

    Goes on where the checkpoint stands. A new job with a snapshot in `since` carries over only what was stored or
    changed after it (an increment). Raises what ended the run; everything committed until then stays.
    """
    source, target = reader.describe(), writer.describe()
    _refuse_replaced_target(checkpoint, writer, target, tell)
    if checkpoint.state == "complete" and not reader.abilities.catches_up:
        tell(f"job {spec.id} was complete; the source is read again")
        checkpoint.forget()
    run = checkpoint.begin_run(spec, source, target)
    copy = _Copy(reader, writer, checkpoint, options, run=run, stop=stop, observe=observe)
    began_s = time.monotonic()
    outcome = "failed"
    try:
        if checkpoint.state == "new":
            planned_s = clock()
            if since is None:
                plan = reader.plan(selection, slice_documents=_slice_documents(reader, selection, options))
            else:
                plan = reader.catch_up(since, selection, slice_documents=options.slice_documents)
            copy.preflight(selection.exact_namespaces() or (), tell)
            mark = writer.mark()
            checkpoint.begin(plan, selection, mark, writer.prepare(), run=run, planned_s=planned_s)
            for warning in plan.warnings:
                tell(warning)
            copy.expect(selection)
        elif checkpoint.state == "unfinished":
            selection = checkpoint.selection
            copy.expect(selection)
            tell(f"resuming job {spec.id} {copy.progress.standing} (run {run})")
        else:
            tell(f"job {spec.id} was complete; carrying over what is new since (run {run})")
            copy.expect(selection)
        rounds = _run_rounds(copy, reader, checkpoint, selection, options, run, tell, clock)
        if dry_run:  # the namespaces are known now, and what will go wrong with them is what was asked
            copy.preflight(sorted(name for name, counts in checkpoint.counts.items() if counts.written), tell)
        writer.finish(checkpoint.completion(reader.form))
        checkpoint.complete()
        outcome = "complete"
    except MigratorError as error:
        outcome = "interrupted" if isinstance(error, Interrupted) else str(error)
        if not dry_run and checkpoint.state != "new":
            tell(f"job {spec.id} is unfinished; go on with: {spec.command}")
        raise
    finally:
        checkpoint.end_run(run, outcome, read=copy.progress.run_read)
    return make_report(
        checkpoint,
        spec,
        source,
        target,
        run=run,
        rounds=rounds,
        run_read=copy.progress.run_read,
        duration_s=time.monotonic() - began_s,
        state="dry run" if dry_run else "complete",
    )


def _run_rounds(
    copy: _Copy,
    reader: Reader,
    checkpoint: Checkpoint,
    selection: Selection,
    options: CopyOptions,
    run: int,
    tell: Tell,
    clock: Callable[[], float],
) -> int:
    """Run what is planned, then catch-up rounds; at least one begins after the bulk was read. Returns how many."""
    rounds = 0
    if checkpoint.state == "unfinished":
        copy.run_slices()
    while reader.abilities.catches_up and rounds < options.most_rounds:
        planned_s = clock()
        plan = reader.catch_up(checkpoint.snapshot, selection, slice_documents=options.slice_documents)
        for warning in plan.warnings:
            tell(warning)
        checkpoint.begin_round(plan, selection, run=run, planned_s=planned_s)
        rounds += 1
        if copy.run_slices() < options.small_round:
            break
    return rounds


def _slice_documents(reader: Reader, selection: Selection, options: CopyOptions) -> int:
    """How large the slices of the bulk are: with several for each worker, none is left alone with the last one."""
    documents = reader.count(selection)
    if documents is None:
        return options.slice_documents
    return min(options.slice_documents, max(_LEAST_SLICE_DOCUMENTS, documents // (8 * options.jobs)))


def _refuse_replaced_target(checkpoint: Checkpoint, writer: Writer, target: Description, tell: Tell) -> None:
    """Notice a target that was emptied or replaced since the last run; then the job begins anew."""
    if checkpoint.state == "new" or checkpoint.stores is None:
        return
    before = checkpoint.stores[1].identity
    still_there = _still_there(before, target.identity)
    if not still_there or not writer.resume(checkpoint.prepared, checkpoint.receipts):
        tell(f"{target.location} was emptied or replaced since the last run of this job; it is filled anew")
        checkpoint.forget()


def _still_there(before: object, now: object) -> bool:
    """Whether everything that an identity named is still the same; what came in addition doesn't matter."""
    if isinstance(before, dict) and isinstance(now, dict):
        return all(name in now and _still_there(value, now[name]) for name, value in before.items())
    return before == now


def make_report(
    checkpoint: Checkpoint,
    spec: JobSpec,
    source: Description,
    target: Description,
    *,
    run: int,
    rounds: int,
    run_read: int,
    duration_s: float,
    state: str,
) -> Report:
    """The report of a job as its checkpoint stands."""
    remarks = checkpoint.remarks
    return Report(
        job=spec.id,
        run=run,
        state=state,
        source=source,
        target=target,
        counts=checkpoint.counts,
        rejected=checkpoint.count_set_aside("rejected"),
        differing=checkpoint.count_set_aside("differing"),
        remarks=remarks,
        left_behind=checkpoint.incomplete or bool(LOSSES & remarks.keys()),
        deleted=checkpoint.deleted,
        rounds=rounds,
        caught_up_to=checkpoint.snapshot_s,
        run_read=run_read,
        duration_s=duration_s,
        warnings=checkpoint.warnings,
        command=spec.command,
    )


class _Held:
    """What a worker handed to the writer and hasn't committed yet."""

    def __init__(self) -> None:
        self.commits: list[Commit] = []
        self.ended: list[int] = []  # the numbers of slices that were read to their ends

    def add(self, commit: Commit, *, set_aside: bool) -> None:
        """Take a commit; `set_aside` tells whether the checkpoint keeps documents that its settled ones may be."""
        if commit.settled and not (set_aside or any(earlier.set_aside for earlier in self.commits)):
            # A part of an archive is held for many batches, and the ids would be most of what is held.
            commit = msgspec.structs.replace(commit, settled=())
        self.commits.append(commit)

    def clear(self) -> None:
        self.commits.clear()
        self.ended.clear()


class _Copy:
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
        self._known: set[str] = set()  # namespaces that this run has written
        self._told: set[str] = set()  # findings of the preflight
        self.progress = Progress()

    def preflight(self, namespaces: Sequence[str], tell: Tell) -> None:
        """Tell what will go wrong with the target, each finding once."""
        for finding in self._writer.preflight(namespaces):
            if finding not in self._told:
                self._told.add(finding)
                tell(finding)

    def expect(self, selection: Selection) -> None:
        """Fill in what the progress needs to show a share and the time left."""
        self._mark = self._checkpoint.mark
        self._rejected = self._checkpoint.count_set_aside("rejected")
        self.progress.counts = total(self._checkpoint.counts.values())
        self.progress.documents = self._reader.count(selection)

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

        Where it ends in good order, what was handed to the writer before is committed all the same.
        """
        held = _Held()
        with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as ahead:
            try:
                while not self._stop.asked and (open := next_of(waiting)):
                    self._copy_slice(open, ahead, held)
            except MigratorError:
                self._stop.ask()  # before the flush, which would wait for a server that is away
                with suppress(MigratorError):
                    self._commit(held)
                raise
            self._commit(held)

    def _copy_slice(self, open: OpenSlice, ahead: ThreadPoolExecutor, held: _Held) -> None:
        batches = self._reader.read(open.slice, open.position, self._checkpoint.selection)
        for batch in _read_ahead(batches, ahead):
            commit = self._carry(batch, open)
            held.add(commit, set_aside=self._checkpoint.has_set_aside)
            if self._writer.due():
                self._commit(held)
            self.progress.add(commit.counts)
            self._check_limits(commit)
            if self._stop.asked:
                return
        held.ended.append(open.number)

    def _commit(self, held: _Held) -> None:
        """Make durable what this worker handed to the writer, then note it."""
        if held.commits or held.ended:
            receipt = self._writer.flush()
            self._note_target(held.commits)
            self._checkpoint.commit(held.commits, run=self._run, ended=held.ended, receipt=receipt)
            held.clear()

    def _note_target(self, commits: Sequence[Commit]) -> None:
        """Keep the target's identity current: a namespace that comes for the first time may have made an index."""
        written = {name for commit in commits for name, counts in commit.counts.items() if counts.written}
        new = written - self._known
        if new:
            self._checkpoint.note_target(self._writer.describe())
            self._known |= new

    def _carry(self, batch: Batch, open: OpenSlice) -> Commit:
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
        outcome = self._write(converted, open) if converted else WriteOutcome()
        return _account(batch, open.number, outcome, refused)

    def _write(self, documents: Sequence[Document], open: OpenSlice) -> WriteOutcome:
        """Write by the conflict rule.

        The rule protects what was in the target before the job. Where a slice may bring newer versions of what this
        job wrote itself (in catch-up, or beyond its position in an earlier run), a differing document that was stored
        after the job's mark is our own older version and gives way, unless it is listed as differing already.
        """
        overwrite = self._options.on_conflict == "overwrite"
        outcome = self._writer.write(documents, replace=overwrite)
        newer = open.slice.replaces or (open.begun_before and self._reader.abilities.rereads_newer)
        if outcome.differing and newer:
            ours = self._writer.stored_since(self._mark, outcome.differing)
            ours -= self._checkpoint.among_differing(outcome.differing)
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
                f"{self._rejected} documents were rejected, more than --max-rejects {self._options.max_rejects}; "
                "look at them with `migrator status JOB --rejected`, mend the cause or raise the limit, and run again"
            )
        if differing and self._options.on_conflict == "fail":
            raise LimitReached(
                f"{commit.set_aside[0].id} is in the target already and differs (--on-conflict fail); "
                "look at it, then run again with --restart and another rule"
            )


def _read_ahead(batches: Iterator[_T], ahead: ThreadPoolExecutor) -> Iterator[_T]:
    """Yield from an iterator while its next item is being made by another thread."""
    upcoming: Future[_T | None] = ahead.submit(next, batches, None)
    while (batch := upcoming.result()) is not None:
        upcoming = ahead.submit(next, batches, None)
        yield batch


def _account(batch: Batch, slice: int, outcome: WriteOutcome, refused: Sequence[Rejection]) -> Commit:
    """Sort the documents of a batch by what became of them; raises `AssertionError` if any is unaccounted for."""
    counts: dict[str, Counts] = defaultdict(Counts)
    for document in batch.documents:
        count = counts[document.namespace]
        count.read += 1
        count.size_bytes += len(document.body)
    for rejection in batch.rejections:
        count = counts[rejection.namespace]
        count.read += 1
        count.size_bytes += len(rejection.body)
    for namespace, filtered in batch.filtered.items():
        counts[namespace].read += filtered
        counts[namespace].filtered += filtered
    for document in outcome.written:
        counts[document.namespace].written += 1
    for document in outcome.present:
        counts[document.namespace].present += 1
    for document in outcome.differing:
        counts[document.namespace].differing += 1
    for rejection in chain(refused, outcome.rejected):
        counts[rejection.namespace].rejected += 1
    return Commit(
        slice=slice,
        position=batch.position,
        counts=dict(counts),
        set_aside=_set_aside(batch, outcome, refused),
        settled=[document.id for document in chain(outcome.written, outcome.present)],
        remarks=outcome.remarked,
        deleted=batch.deleted,
    )


def _set_aside(batch: Batch, outcome: WriteOutcome, refused: Sequence[Rejection]) -> list[SetAside]:
    """What isn't in the target as it should be, as the source has it, whatever form it was refused in."""
    found: list[tuple[str, Document | Rejection, str]] = [
        *(("differing", document, "another version is in the target") for document in outcome.differing),
        *(("rejected", rejection, rejection.reason) for rejection in chain(refused, outcome.rejected)),
    ]
    sources = {document.id: document for document in batch.documents} if found else {}
    return [
        SetAside(
            kind=kind,
            id=item.id,
            namespace=item.namespace,
            reason=reason,
            body=kept.body,
            form=kept.form,
            index=kept.index,
        )
        for kind, item, reason in found
        for kept in (sources.get(item.id, item),)
    ]
