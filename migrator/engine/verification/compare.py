"""The verification engine: tells whether the same activations are on both sides.

Two readers and an `Evidence` enter, a `Verification` leaves. Both sides are read again, in stages:

    compare    everything: counts and sums by namespace and hour; of the bytes where both sides spell alike
    respell    where much differs by its bytes: the sums by value of the hours that differ
    narrow     where much is in the hours that differ: the same by the hash of the id
    list       what differs: ids and digests
    confirm    every id that seems to differ, once more on both sides (`engine.confirm`)

Hours in which no verdict explains what differs are listed once more; what still can't be explained is reported, and
the sides don't agree. Each side's reading is compared with what its own server counts.

An activation of A counts as it would stand in B: converted to B's form. Knows no store and no command line.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from migrator.activations.accounts import Counts
from migrator.activations.selection import Selection
from migrator.adapters.base import Batch, Description, Plan, Reader, Token
from migrator.adapters.shared.optional import census, count, plan_verification
from migrator.engine.verification.confirm import Pair, confirm, refusal, tell_apart
from migrator.engine.verification.evidence import SIDES, Evidence, OpenSlice
from migrator.engine.verification.hours import HOUR_MS, WHOLE, Bucket, Marks
from migrator.engine.verification.passes import Passes, Take, Taken
from migrator.engine.verification.result import make_verification
from migrator.engine.verification.spelling import spells_alike
from migrator.engine.verification.values import PHASES, Verification, VerifySpec
from migrator.engine.workers import next_of, run_workers
from migrator.errors import Incomplete, MigratorError, Unavailable
from migrator.events import ReadAgain, RunUnfinished, SourceWarning, Tell, VerificationRestarted, VerificationResumed
from migrator.events.watching import Observer, Progress, Stop
from migrator.text.units import counted

_COMMIT_DOCUMENTS = 20_000  # read by a worker between two commits
_LISTINGS = 3  # of hours that differ, before what no listing explains is reported as such
_WHOLE_TRIES = 5  # at a slice that can only be read in one go; each outlasts an outage of the server
_MUCH = 100_000  # documents in hours that differ: worth another pass that narrows them down
_MANY = 1_000  # documents in an hour that differs, on average: such a pass helps


class VerifyOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a verification goes about it."""

    jobs: int = 4  # slices at once, over both sides
    slice_documents: int = 20_000
    sample: float | None = None  # compare this share of all ids by content, and only count the others


def run_verify(
    readers: Mapping[str, Reader],
    evidence: Evidence,
    spec: VerifySpec,
    selection: Selection,
    options: VerifyOptions,
    *,
    stop: Stop,
    since: Token = None,
    observe: Observer = lambda _: None,
    tell: Tell = lambda _: None,
    clock: Callable[[], float] = time.time,
) -> Verification:
    """Compare the sides `a` and `b` of `readers`, resuming where the evidence stands.

    `since` is a snapshot of A from before the beginning: what was stored in A after it is distinguished, as what was
    stored since the beginning is. Raises what ended the run; what was committed until then stays.
    """
    began_s = time.monotonic()
    stores = readers["a"].describe(), readers["b"].describe()
    if evidence.stage not in ("new", "complete") and _was_replaced(evidence, stores):
        tell(VerificationRestarted())
        evidence.forget()
    run = evidence.begin_run()
    work = _Verify(readers, evidence, options, stop=stop, observe=observe, tell=tell)
    try:
        if evidence.stage in ("new", "complete"):
            evidence.begin(stores, selection, began_s=clock())
            work.begin(selection, since=since)
            for warning in evidence.warnings:
                tell(SourceWarning(warning))
        else:
            tell(VerificationResumed(spec.id, evidence.stage, run))
        work.run_stages()
    except MigratorError:
        tell(RunUnfinished("verification", spec.id, spec.request))
        raise
    return make_verification(
        evidence, spec, work.pair, options.sample, run=run, run_read=work.read, duration_s=time.monotonic() - began_s
    )


def _was_replaced(evidence: Evidence, stores: tuple[Description, Description]) -> bool:
    before = evidence.stores
    return before is not None and any(
        then.identity != now.identity or (then.progress or 0) > (now.progress or 0)
        for then, now in zip(before, stores, strict=True)
    )


class _Verify:
    """One run: the stages, the workers, and what they share."""

    def __init__(
        self,
        readers: Mapping[str, Reader],
        evidence: Evidence,
        options: VerifyOptions,
        *,
        stop: Stop,
        observe: Observer,
        tell: Tell,
    ) -> None:
        self._readers = readers
        self._evidence = evidence
        self._options = options
        self._stop = stop
        self._observe = observe
        self._tell = tell
        self.pair = Pair(readers["a"], readers["b"])
        self._passes = Passes(self.pair, options.sample)
        self._progress = Progress()

    @property
    def read(self) -> int:
        """Documents read by this run, over all stages."""
        return self._progress.run_read

    # -- stages -------------------------------------------------------------------------------------------------

    def run_stages(self) -> None:
        """Run the stage that the evidence is at, and all that follow."""
        evidence = self._evidence
        evidence.adopt()
        if evidence.stage == "compare":
            self._compare()
        if evidence.stage == "respell":
            hours = Marks((namespace, hour, WHOLE) for namespace, hour in evidence.relisted())
            self._run_slices(self._passes.respell(hours), lists=True)
            evidence.take_values()
            self._compare()
        if evidence.stage == "narrow":
            self._run_slices(self._passes.narrow(Marks(self._find_differing(whole=True))))
            self._begin_pass("list")
        if evidence.stage == "list":
            self._run_slices(
                self._passes.list_hours(Marks(self._find_differing(whole=False)), relists=False), lists=True
            )
            evidence.take_listing()
        while evidence.stage in ("relist", "confirm"):
            if evidence.stage == "relist":
                hours = Marks((namespace, hour, WHOLE) for namespace, hour in evidence.relisted())
                self._run_slices(self._passes.list_hours(hours, relists=True), lists=True)
                evidence.take_listing()
            self._confirm()

    def _compare(self) -> None:
        self._run_slices(self._passes.compare(spelled=self._evidence.spelled))
        self._read_enough()
        self._after_compare()

    def _confirm(self) -> None:
        """Give every suspect a verdict; go on to another listing where the verdicts don't explain the sums."""
        evidence, options = self._evidence, self._options
        confirm(self.pair, evidence, stop=self._stop)
        tell_apart(self._readers, evidence, slice_documents=options.slice_documents, stop=self._stop)
        evidence.settle(self._passes.in_sample)
        if evidence.relistings < _LISTINGS and evidence.relist_unexplained():
            self._begin_pass("relist")
            return
        if short := self._short():
            evidence.forget()
            raise Incomplete(short)
        evidence.begin_stage("complete")

    def begin(self, selection: Selection, *, since: Token) -> None:
        """Begin with the first stage; its plans are where the sides stood at the beginning."""
        plans = self._plans(selection)
        snapshots = {side: plan.snapshot for side, plan in plans.items()}
        if since is not None:
            snapshots["a"] = since
        spelled = spells_alike(self.pair, plans, selection)
        self._evidence.begin_stage("compare", plans, snapshots, spelled=spelled)

    def _begin_pass(self, stage: str) -> None:
        """Go on to another stage that reads both sides, of the hours that differ."""
        self._evidence.begin_stage(stage, self._plans(self._span()))

    def _plans(self, selection: Selection) -> dict[str, Plan]:
        return {
            side: plan_verification(self._readers[side], selection, slice_documents=self._options.slice_documents)
            for side in SIDES
        }

    def _read_enough(self) -> None:
        """Read everything once more where fewer documents came than a server counts; raises `Incomplete` after that."""
        evidence = self._evidence
        short = self._short()
        if short and not evidence.readings:
            self._tell(ReadAgain(short))
            evidence.compare_again(self._plans(evidence.selection))
            self._run_slices(self._passes.compare(spelled=evidence.spelled))
            short = self._short()
        if short:
            evidence.forget()
            raise Incomplete(short)

    def _short(self) -> str:
        """Which side was read short of what its server counts, empty where none was."""
        evidence = self._evidence
        for side in SIDES:
            read = evidence.read(side)
            if read is None:
                continue  # an earlier release read it
            there = census(self._readers[side], evidence.selection, evidence.snapshot(side))
            if there is not None and read < there:
                where = f"{side.upper()}, {self._readers[side].describe().location}"
                only = counted(read, "was", "were")
                return f"{where}: the server counts {counted(there, 'document')}, but only {only} read"
        return ""

    def _after_compare(self) -> None:
        """Choose how to find out what differs: by one more look, or, where that would be much, by two."""
        hours = documents = 0
        for pair in self._evidence.buckets():
            if pair.differs:
                hours += 1
                documents += max(pair.a[0], pair.b[0])
        if not hours:
            self._evidence.begin_stage("complete")
        elif documents > _MUCH and self._evidence.spelled:
            self._evidence.relist_differing()
            self._begin_pass("respell")
        elif documents > _MUCH and documents > hours * _MANY:
            self._begin_pass("narrow")
        else:
            self._evidence.relist_differing()
            self._begin_pass("relist")

    def _find_differing(self, *, whole: bool) -> Iterator[Bucket]:
        for pair in self._evidence.buckets(whole=whole):
            if pair.differs:
                yield pair.namespace, pair.hour, pair.part

    def _span(self) -> Selection:
        """The selection, cut down to the hours that are listed as a whole, or else to those that differ.

        Namespaces aren't cut down: a document may stand in another index than that of its namespace.
        """
        selection = self._evidence.selection
        first, last = math.inf, -math.inf
        for _, hour in self._evidence.relisted():
            first, last = min(first, hour), max(last, hour)
        if first == math.inf:
            for _, hour, _ in self._find_differing(whole=True):
                first, last = min(first, hour), max(last, hour)
        first_ms, end_ms = int(first) * HOUR_MS, (int(last) + 1) * HOUR_MS
        return msgspec.structs.replace(
            selection,
            since_ms=first_ms if selection.since_ms is None else max(first_ms, selection.since_ms),
            until_ms=end_ms if selection.until_ms is None else min(end_ms, selection.until_ms),
        )

    # -- workers ------------------------------------------------------------------------------------------------

    def _run_slices(self, take: Take, *, lists: bool = False) -> None:
        """Read every open slice of both sides."""
        progress = self._progress
        progress.phase = PHASES[self._evidence.stage]
        waiting = deque(self._evidence.open_slices())
        progress.documents = self._expected(waiting)
        selection = self._evidence.selection if self._evidence.stage == "compare" else self._span()

        def work() -> None:
            while not self._stop.asked and (open := next_of(waiting)):
                self._read_slice(open, selection, take, lists=lists)

        run_workers(
            work,
            min(self._options.jobs, len(waiting)),
            name="verify",
            stop=self._stop,
            look=lambda: self._observe(progress),
        )

    def _expected(self, waiting: Iterable[OpenSlice]) -> int | None:
        """How many documents there are to read until the end of this stage, with those that were read before it."""
        progress, evidence = self._progress, self._evidence
        expected = [open.slice.documents for open in waiting]
        if None in expected and evidence.stage == "compare":
            expected = [count(self._readers[side], evidence.selection) for side in SIDES]
            if not progress.run_read:  # what an earlier run read is done
                progress.counts.read = done = sum(evidence.read(side) or 0 for side in SIDES)
                expected.append(-done)
        return None if None in expected else progress.counts.read + sum(each or 0 for each in expected)

    def _read_slice(self, open: OpenSlice, selection: Selection, take: Take, *, lists: bool) -> None:
        if not open.slice.whole:
            self._read_from(open, selection, take, lists=lists)
            return
        for left in reversed(range(_WHOLE_TRIES)):
            try:
                self._read_whole(open, selection, take, lists=lists)
                return
            except Unavailable:
                if not left:
                    raise
                self._stop.check()

    def _read_whole(self, open: OpenSlice, selection: Selection, take: Take, *, lists: bool) -> None:
        """Read a slice in which nothing can be resumed: what was taken of it counts once it was read to its end."""
        taken = Taken(lists)
        for batch in self._readers[open.side].read(open.slice, None, selection):
            self._take_batch(open, batch, take, taken)
            if self._stop.asked:
                return
        self._evidence.commit(taken.added(open, None, done=True))

    def _take_batch(self, open: OpenSlice, batch: Batch, take: Take, taken: Taken) -> None:
        take(open.side, batch.documents, taken)
        taken.refused += (refusal(open.side, rejection) for rejection in batch.rejections)
        count = len(batch.documents) + len(batch.rejections)
        taken.documents += count
        taken.read += count + sum(batch.filtered.values())
        self._progress.add({"": Counts(read=count, size_bytes=batch.size_bytes)})

    def _read_from(self, open: OpenSlice, selection: Selection, take: Take, *, lists: bool) -> None:
        taken = Taken(lists)
        position = open.position
        for batch in self._readers[open.side].read(open.slice, open.position, selection):
            self._take_batch(open, batch, take, taken)
            position = batch.position
            if taken.documents >= _COMMIT_DOCUMENTS or self._stop.asked:
                self._evidence.commit(taken.added(open, position, done=False))
                taken = Taken(lists)
            if self._stop.asked:
                return
        self._evidence.commit(taken.added(open, position, done=True))
