"""The copy engine: slices in parallel, each batch read, converted, written, committed.

A reader, a writer and a checkpoint enter, a `Report` leaves. Knows no store and no command line.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from migrator.activations.document import LOSSES
from migrator.activations.selection import Selection
from migrator.adapters.base import (
    Description,
    Reader,
    SupportsCatchUp,
    SupportsFollow,
    SupportsJoining,
    SupportsReceipts,
    SupportsStored,
    Token,
    Writer,
)
from migrator.adapters.shared.optional import count
from migrator.engine import census, matching
from migrator.engine.coordinating import Coordinator, Executor
from migrator.engine.executors.threads import Threads
from migrator.engine.following import Follow, Follower
from migrator.engine.identity import ReplacedError, confirm_change, part_concerning
from migrator.engine.options import CopyOptions
from migrator.engine.report import Report
from migrator.engine.state.checkpoint import Checkpoint, JobSpec
from migrator.errors import Interrupted, MigratorError, NotFound, PlaceGone, Unavailable
from migrator.events import (
    Continued,
    DocumentsMissing,
    MissingBefore,
    Reread,
    Resumed,
    RoundAbandoned,
    RoundStarted,
    RunUnfinished,
    SourceReplaced,
    SourceWarning,
    StoreReplaced,
    TargetReplaced,
    Tell,
)
from migrator.events.watching import Observer, Progress, Stop

_MOST_BEGINNINGS = 3  # a store that is replaced again and again while it is copied isn't worth another
_LEAST_SLICE_DOCUMENTS = 2_000  # a smaller one isn't worth its beginning and its end


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
    follow: Follow | None = None,
    dry_run: bool = False,
    executor: Executor | None = None,
) -> Report:
    """Copy everything selected, then what was stored or changed meanwhile, until that is little.

    Resumes where the checkpoint stands. A new job with a snapshot in `since` copies only what was stored or
    changed after it (an increment). With `follow` it stays and copies what is new until that is reached. A store
    that is replaced while the run goes on is copied again as a whole. Raises what ended the run; everything committed
    until then stays.
    """
    if follow is not None:  # what comes after the first round is followed, and its lag is shown
        options = msgspec.structs.replace(options, most_rounds=1)
    source, target = reader.describe(), writer.describe()
    _forget_what_changed(checkpoint, spec, reader, writer, source, target, tell)
    run = checkpoint.begin_run(spec, source, _to_note(writer, target, checkpoint))
    progress = Progress()
    with _note_end(checkpoint, spec, progress, run=run, tell=tell, dry_run=dry_run):
        beginnings = 0
        while True:
            beginnings += 1
            copy = Coordinator(
                reader,
                writer,
                checkpoint,
                options,
                executor or Threads(reader, writer),
                run=run,
                stop=stop,
                observe=observe,
                tell=tell,
                progress=progress,
                target=target,
                dry_run=dry_run,
            )
            job = _Job(copy, reader, writer, checkpoint, spec, options, run=run, tell=tell, clock=clock)
            try:
                rounds = job.carry(selection, since, source)
                if follow is not None:
                    beginnings = 0
                    rounds += job.follow(source, follow, stop, observe)
                break
            except ReplacedError as replaced:
                if isinstance(writer, SupportsReceipts) or since is not None or beginnings == _MOST_BEGINNINGS:
                    checkpoint.forget()
                    raise Unavailable(f"{replaced}; run the same command to copy everything again") from replaced
                tell(StoreReplaced(str(replaced)))
                source, target = _start_over(reader, writer, checkpoint, stop)
            except PlaceGone as gone:
                if follow is None or beginnings == _MOST_BEGINNINGS:
                    raise
                if checkpoint.can_abandon_round:
                    stop.renew()
                    checkpoint.abandon_round()
                    tell(RoundAbandoned(gone.how))
                else:
                    tell(StoreReplaced(gone.how))
                    source, target = _start_over(reader, writer, checkpoint, stop)
    return make_report(
        checkpoint,
        spec,
        source,
        target,
        run=run,
        rounds=rounds,
        run_read=progress.run_read,
        duration_s=time.monotonic() - progress.began_s,
        state="dry run" if dry_run else "complete",
    )


@contextmanager
def _note_end(
    checkpoint: Checkpoint, spec: JobSpec, progress: Progress, *, run: int, tell: Tell, dry_run: bool
) -> Iterator[None]:
    """Note how a run ends, and how a job is resumed that it leaves unfinished."""
    outcome = "failed"
    try:
        yield
        outcome = "complete"
    except MigratorError as error:
        outcome = "interrupted" if isinstance(error, Interrupted) else str(error)
        if not dry_run and checkpoint.state != "new":
            tell(RunUnfinished("job", spec.id, spec.request))
        raise
    finally:
        checkpoint.end_run(run, outcome, read=progress.run_read)


class _Job:
    """What is carried between two stores that stay the same: the plan, the rounds, the end."""

    def __init__(
        self,
        copy: Coordinator,
        reader: Reader,
        writer: Writer,
        checkpoint: Checkpoint,
        spec: JobSpec,
        options: CopyOptions,
        *,
        run: int,
        tell: Tell,
        clock: Callable[[], float],
    ) -> None:
        self._copy = copy
        self._reader = reader
        self._writer = writer
        self._checkpoint = checkpoint
        self._spec = spec
        self._options = options
        self._run = run
        self._tell = tell
        self._clock = clock

    def carry(self, selection: Selection, since: Token, source: Description) -> int:
        """Do what is left of the job until it is complete; returns the number of catch-up rounds."""
        state, copy, checkpoint = self._checkpoint.state, self._copy, self._checkpoint
        if state == "new":
            self._begin(selection, since)
        else:
            selection = checkpoint.selection if state == "unfinished" else selection
            copy.expect(count(self._reader, selection) if checkpoint.full else None)
            self._tell(self._resumed_event() if state == "unfinished" else Continued(self._spec.id, self._run))
        rounds = self._run_rounds(selection)
        if self._copy.dry_run:  # the namespaces are known now, and what will go wrong with them is what was asked
            copy.preflight(sorted(name for name, counts in checkpoint.counts.items() if counts.written), self._tell)
        self._finish(source)
        return rounds

    def _resumed_event(self) -> Resumed:
        progress = self._copy.progress
        return Resumed(self._spec.id, self._run, progress.share, progress.counts.read, progress.documents)

    def _begin(self, selection: Selection, since: Token) -> None:
        """Plan the job, from a snapshot or from the beginning."""
        reader, options, planned_s = self._reader, self._options, self._clock()
        documents = None  # how many are new since a snapshot isn't known
        if since is None:
            documents = count(reader, selection)
            plan = reader.plan(selection, slice_documents=_slice_documents(documents, options))
        else:
            assert isinstance(reader, SupportsCatchUp), "a snapshot of this source was given"
            plan = reader.catch_up(since, selection, slice_documents=options.slice_documents)
        self._copy.preflight(selection.exact_namespaces() or (), self._tell)
        mark = self._writer.mark() if isinstance(self._writer, SupportsStored) else None
        prepared = self._writer.prepare()
        stock = census.take_stock(self._writer) if since is None else None  # only a full copy is held against it
        self._checkpoint.begin(
            plan, selection, mark, prepared, run=self._run, planned_s=planned_s, full=since is None, stock=stock
        )
        for warning in plan.warnings:
            self._tell(SourceWarning(warning))
        self._copy.expect(documents)

    def _run_rounds(self, selection: Selection) -> int:
        """Run what is planned, then catch-up rounds: one after the bulk at least, in a dry run no more."""
        checkpoint, options, rounds = self._checkpoint, self._options, 0
        most_rounds = 1 if self._copy.dry_run else options.most_rounds
        if checkpoint.state == "unfinished":
            self._copy.run_slices()
        while isinstance(self._reader, SupportsCatchUp) and rounds < most_rounds:
            rounds += 1
            if self._catch_up(self._reader, selection) < options.small_round:
                break
        return rounds

    def _catch_up(self, reader: SupportsCatchUp, selection: Selection) -> int:
        """Run one round; returns how many documents it gave."""
        planned_s = self._clock()
        plan = reader.catch_up(self._checkpoint.snapshot, selection, slice_documents=self._options.slice_documents)
        for warning in plan.warnings:
            self._tell(SourceWarning(warning))
        self._checkpoint.begin_round(plan, selection, run=self._run, planned_s=planned_s)
        self._tell(RoundStarted(self._checkpoint.round))
        return self._copy.run_slices()

    def follow(self, source: Description, follow: Follow, stop: Stop, observe: Observer) -> int:
        """Stay, and copy what is new; returns the number of rounds."""
        assert isinstance(self._reader, SupportsFollow)
        follower = Follower(
            self._reader,
            self._checkpoint,
            follow,
            job=self._spec.id,
            stop=stop,
            progress=self._copy.progress,
            observe=observe,
            tell=self._tell,
            clock=self._clock,
        )
        rounds = follower.run(self._checkpoint.selection, self._one_round, self._copy.check_target)
        self._finish(source)
        return rounds

    def _one_round(self) -> int:
        """Run one round of a job that follows; returns how many selected documents it gave."""
        assert isinstance(self._reader, SupportsCatchUp)
        assert isinstance(self._reader, SupportsFollow)
        checkpoint, counts = self._checkpoint, self._copy.progress.counts
        before = counts.read - counts.filtered
        self._catch_up(self._reader, checkpoint.selection)
        checkpoint.move_on(self._reader.read_up_to(checkpoint.snapshot, checkpoint.positions))
        checkpoint.complete()
        return counts.read - counts.filtered - before

    def _finish(self, source: Description) -> None:
        """Complete the job, once both stores are still the same and count what they should."""
        reader, writer, checkpoint = self._reader, self._writer, self._checkpoint
        checkpoint.check()
        if how := confirm_change(source, reader.describe(), reader.describe):
            raise ReplacedError(f"{source.location} was deleted or recreated: {how}")
        if checkpoint.full:
            self._note(census.unread(reader, checkpoint, source.location))
            self._check_matches()
        if isinstance(writer, SupportsReceipts) and (how := checkpoint.contradiction()):
            checkpoint.forget()
            raise Unavailable(f"{self._copy.target.location}: {how}; run the same command to start over")
        if checkpoint.reserved and isinstance(writer, SupportsJoining):
            writer.sweep(checkpoint.receipts)
        writer.finish(checkpoint.completion(reader.form))
        if not self._copy.dry_run:
            self._copy.check_target()
            if checkpoint.full and not checkpoint.was_complete:
                self._note(census.check_stored(reader, writer, checkpoint, self._copy.target.location))
        checkpoint.complete()

    def _check_matches(self) -> None:
        """Raise `NotFound` where what was selected is known to be nowhere; such a job leaves nothing to resume."""
        checkpoint = self._checkpoint
        if checkpoint.was_complete or checkpoint.incomplete or checkpoint.shortfall:
            return
        try:
            found = matching.check_read(self._reader, checkpoint.selection, checkpoint.counts)
        except NotFound:
            checkpoint.forget()
            raise
        if found is not None:
            self._tell(found)

    def _note(self, found: census.Found | None) -> None:
        if found is not None:
            shortfall, sentence = found
            self._tell(DocumentsMissing(shortfall.unread + shortfall.unstored, sentence))
            self._checkpoint.note_shortfall(self._checkpoint.shortfall + shortfall, sentence)


def _start_over(reader: Reader, writer: Writer, checkpoint: Checkpoint, stop: Stop) -> tuple[Description, Description]:
    """Forget what was copied between stores that aren't there any more; the stores as they are now."""
    stop.renew()
    checkpoint.forget()
    source, target = reader.describe(), writer.describe()
    checkpoint.note_stores(source, _to_note(writer, target, checkpoint))
    return source, target


def _slice_documents(documents: int | None, options: CopyOptions) -> int:
    """How large the slices of the bulk are: with several for each worker, none is left alone with the last one."""
    if documents is None:
        return options.slice_documents
    return min(options.slice_documents, max(_LEAST_SLICE_DOCUMENTS, documents // (8 * options.jobs)))


def _to_note(writer: Writer, target: Description, checkpoint: Checkpoint) -> Description:
    """The target as it is now, with the identity of those places only that the job's documents are in."""
    before = checkpoint.stores[1] if checkpoint.stores and checkpoint.state != "new" else None
    identity = part_concerning(writer, target.identity, ()) if before is None else before.identity
    return msgspec.structs.replace(target, identity=identity)


def _forget_what_changed(
    checkpoint: Checkpoint,
    spec: JobSpec,
    reader: Reader,
    writer: Writer,
    source: Description,
    target: Description,
    tell: Tell,
) -> None:
    """Notice what makes a job start over: a replaced store, missing documents, a source that can't list what is new."""
    if checkpoint.state == "new" or checkpoint.stores is None:
        return
    source_before, target_before = checkpoint.stores
    if how := confirm_change(target_before, target, writer.describe):
        tell(TargetReplaced(target.location, how))
    elif how := confirm_change(source_before, source, reader.describe):
        tell(SourceReplaced(source.location, how))
    elif checkpoint.shortfall:
        tell(MissingBefore(spec.id))
    elif isinstance(writer, SupportsReceipts) and (refusal := writer.resume(checkpoint.prepared, checkpoint.receipts)):
        tell(TargetReplaced(target.location, refusal))
    elif checkpoint.state == "complete" and not isinstance(reader, SupportsCatchUp):
        tell(Reread(spec.id))
    else:
        return
    checkpoint.forget()


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
        unread=checkpoint.shortfall.unread,
        unstored=checkpoint.shortfall.unstored,
        rejected=checkpoint.aside.count("rejected"),
        differing=checkpoint.aside.count("differing"),
        remarks=remarks,
        left_behind=checkpoint.incomplete or bool(LOSSES & remarks.keys()),
        deleted=checkpoint.deleted,
        rounds=rounds,
        caught_up_to=checkpoint.snapshot_s,
        run_read=run_read,
        duration_s=duration_s,
        warnings=checkpoint.warnings,
        request=spec.request,
    )
