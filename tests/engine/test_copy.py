"""The engine on stores in memory: what is copied, what is accounted for, and what a broken run leaves."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from migrator.activations.accounts import Counts
from migrator.activations.document import Document, Form, Rejection
from migrator.activations.selection import Selection
from migrator.adapters.base import Batch, Description, Plan, Reader, Slice, Token, WriteOutcome
from migrator.adapters.memory import MemoryReader, MemoryStore, MemoryWriter
from migrator.adapters.wrappers.dry_run import DryRunWriter
from migrator.engine import identity
from migrator.engine.copy import _slice_documents, run_copy
from migrator.engine.options import CopyOptions
from migrator.engine.report import Report
from migrator.engine.retry import retry_set_aside
from migrator.engine.state.checkpoint import Checkpoint, Commit
from migrator.errors import Interrupted, LimitReached, Unavailable
from migrator.events import (
    Continued,
    Event,
    Reread,
    Resumed,
    RoundStarted,
    RunUnfinished,
    SourceReplaced,
    TargetReplaced,
)
from migrator.events.watching import Progress, Stop
from migrator.testing.documents import activation
from tests.support.worlds import SPEC, CutError, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_everything_is_copied_and_accounted_for(world: World) -> None:
    """All activations arrive in the form of the target; other documents are filtered; the accounts add up."""
    world.source.put("_design/x", b'{"_id":"_design/x","views":{}}')
    report = world.copy()
    assert world.there() == world.expected()
    totals = report.totals
    assert (totals.read, totals.written, totals.filtered, totals.adds_up) == (231, 230, 1, True)
    assert report.counts["guest"].written + report.counts["whisk.system"].written == 230
    assert report.exit_code == 0


def test_a_dry_run_tells_what_will_go_wrong_with_the_namespaces_it_found(world: World) -> None:
    """Without a selection they are known only once everything was read; each finding is reported once."""

    class Refusing(MemoryWriter):
        def preflight(self, namespaces: Sequence[str]) -> Sequence[str]:
            return ["the disk is nearly full", *(f"{name} can't be" for name in namespaces)]

    report = world.copy(writer=DryRunWriter(Refusing(world.target)), dry_run=True)
    assert report.state == "dry run"
    assert world.messages == ["the disk is nearly full", "guest can't be", "whisk.system can't be"]
    assert world.there() == {}


def test_what_openwhisk_cannot_do_with_a_target_warns_before_the_copy(world: World) -> None:
    """Once, as a warning, though nothing goes wrong."""

    class Newer(MemoryWriter):
        def limitations(self) -> Sequence[str]:
            return ["stock OpenWhisk reads Elasticsearch 6.x only"]

    report = world.copy(writer=Newer(world.target))
    assert report.exit_code == 0
    assert world.messages.count("stock OpenWhisk reads Elasticsearch 6.x only") == 1
    assert world.there() == world.expected()


def test_what_a_source_cannot_give_is_reported_in_each_round(world: World) -> None:
    """Of the bulk and of what was stored meanwhile."""

    class Closed(MemoryReader):
        def plan(self, selection: Selection, *, slice_documents: int) -> Plan:
            plan = super().plan(selection, slice_documents=slice_documents)
            return msgspec.structs.replace(plan, warnings=("index x is closed",))

        def catch_up(self, snapshot: Token, selection: Selection, *, slice_documents: int) -> Plan:
            plan = super().catch_up(snapshot, selection, slice_documents=slice_documents)
            return msgspec.structs.replace(plan, warnings=("index y is closed",))

    world.copy(reader=Closed(world.source))
    assert [each for each in world.messages if "closed" in each] == ["index x is closed", "index y is closed"]


def test_copy_again_carries_over_what_is_new(world: World) -> None:
    """After completion the same job reads only what was stored since."""
    world.copy()
    world.put(activation(1000))
    report = world.copy()
    assert report.run_read == 1
    assert report.run == 2
    assert world.there() == world.expected()


def test_a_job_keeps_to_its_selection_until_it_is_complete(world: World) -> None:
    """`since="30d"` is another moment on the next day: what is resumed goes on with the first, what follows doesn't."""
    asked: list[Selection] = []

    class Asked(MemoryReader):
        def catch_up(self, snapshot: Token, selection: Selection, *, slice_documents: int) -> Plan:
            asked.append(selection)
            return super().catch_up(snapshot, selection, slice_documents=slice_documents)

    class Cut(Checkpoint):
        def commit(self, commits: Sequence[Commit], **more: Any) -> None:
            raise CutError

    days = [Selection(since_ms=1_600_000_000_000 + day) for day in range(3)]
    with pytest.raises(CutError):
        world.copy(selection=days[0], checkpoint=Cut(world.path))
    for day in days[1:]:
        world.copy(reader=Asked(world.source), selection=day)
    assert asked == [days[0], days[2]]


@pytest.mark.parametrize("cut_at", range(1, 32))
def test_run_cut_after_each_commit_ends_like_an_unbroken_one(world: World, cut_at: int) -> None:
    """Whichever commit was the last, the next run completes the copy and sends at most the open pages twice."""
    made = 0

    class Cut(Checkpoint):
        def commit(self, commits: Sequence[Commit], **more: Any) -> None:
            nonlocal made
            made += 1
            if made >= cut_at:
                raise CutError
            super().commit(commits, **more)

    try:
        world.copy(checkpoint=Cut(world.path))
    except CutError:
        assert made >= cut_at
    else:
        assert 24 <= made < cut_at, "one commit for each page at least"
    report = world.copy()
    assert world.there() == world.expected()
    totals = report.totals
    assert totals.adds_up
    assert totals.written + totals.present == 230
    assert totals.present <= 20
    assert report.exit_code == 0


def test_rejected_documents_are_kept_with_reason(world: World) -> None:
    """A document that can't be converted is set aside as the source has it; the others arrive; exit code 3."""
    bad = activation(5000)
    world.source.put(bad.id, bad.body.replace(b'"annotations":[', b'"annotations":"x","was":['))
    report = world.copy()
    assert report.rejected == 1
    assert report.exit_code == 3
    checkpoint = Checkpoint(world.path)
    (kept,) = checkpoint.aside.documents("rejected")
    assert kept.id == bad.id
    assert kept.form is Form.COUCHDB
    assert kept.body == world.source.get(bad.id)
    assert "annotations" in kept.reason
    checkpoint.close()
    assert len(world.there()) == 230


def test_differing_documents_stay_and_are_listed(world: World) -> None:
    """What was in the target before isn't overwritten; equal documents are present; exit code 3."""
    same, other = activation(1, form=Form.ELASTICSEARCH), activation(2, form=Form.ELASTICSEARCH, logs=["other"])
    world.target.put(same.id, same.body)
    world.target.put(other.id, other.body)
    report = world.copy()
    assert (report.totals.present, report.totals.differing, report.differing, report.exit_code) == (1, 1, 1, 3)
    assert world.target.get(other.id) == other.body


def test_overwrite_replaces_differing_documents(world: World) -> None:
    """With `overwrite` the target has the source's version."""
    other = activation(2, form=Form.ELASTICSEARCH, logs=["other"])
    world.target.put(other.id, other.body)
    report = world.copy(on_conflict="overwrite")
    assert report.exit_code == 0
    assert world.there() == world.expected()


def test_fail_stops_at_the_first_differing_document(world: World) -> None:
    """With `fail` the run ends with exit code 8 and the other version stays."""
    other = activation(2, form=Form.ELASTICSEARCH, logs=["other"])
    world.target.put(other.id, other.body)
    with pytest.raises(LimitReached) as raised:
        world.copy(on_conflict="fail")
    assert str(raised.value) == (
        f"{other.id} is already in the target and differs (`on_conflict=fail`). Compare the two, then run again with "
        "`restart` and another `on_conflict`"
    )
    assert raised.value.exit_code == 8
    assert world.target.get(other.id) == other.body


def test_too_many_rejects_stop_the_run(world: World) -> None:
    """`max_rejects` ends the run resumably; with a higher limit it goes on."""
    for number in range(5000, 5030):
        bad = activation(number)
        world.source.put(bad.id, bad.body.replace(b'"annotations":[', b'"annotations":"x","was":['))
    with pytest.raises(LimitReached) as raised:
        world.copy(max_rejects=10)
    count, _, told = str(raised.value).partition(" ")
    assert int(count) > 10
    assert told == (
        "documents were rejected, more than `max_rejects=10`. List them with `migrator status JOB rejected=True`, fix "
        "the cause or raise the limit, and run again"
    )
    report = world.copy()
    assert report.rejected == 30
    assert report.totals.written + report.totals.present == 230


def test_changes_during_the_copy_are_caught_up(world: World) -> None:
    """Documents stored and changed while the bulk is read are in the target in their newest version."""
    changed = activation(1, logs=["changed"])
    appeared = activation(900, "appeared")

    class Busy(MemoryReader):
        def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
            for number, batch in enumerate(super().read(slice, after, selection)):
                yield batch
                if number == 0 and not slice.replaces:
                    world.put(changed)
                    world.put(appeared)

    report = world.copy(reader=Busy(world.source, page_documents=10))
    assert world.there() == world.expected()
    assert report.exit_code == 0
    assert report.rounds >= 1


def test_catch_up_leaves_a_differing_document_alone(world: World) -> None:
    """A document that was in the target before and differs stays, also when it changes in the source meanwhile."""
    other = activation(1, form=Form.ELASTICSEARCH, logs=["other"])
    world.target.put(other.id, other.body)

    class Busy(MemoryReader):
        def catch_up(self, snapshot: Token, selection: Selection, *, slice_documents: int) -> Any:
            world.put(activation(1, logs=["changed"]))
            return super().catch_up(snapshot, selection, slice_documents=slice_documents)

    report = world.copy(reader=Busy(world.source, page_documents=10), most_rounds=2)
    assert world.target.get(other.id) == other.body
    assert report.differing == 1


def test_our_own_older_version_is_replaced_after_a_kill(world: World) -> None:
    """A page written but not committed, whose document then changed, doesn't count as differing in the next run."""

    class Cut(Checkpoint):
        def commit(self, commits: Sequence[Commit], **more: Any) -> None:
            raise CutError

    with pytest.raises(CutError):
        world.copy(checkpoint=Cut(world.path))
    for id in list(world.target.entries):
        world.source.put(id, json.dumps({**json.loads(world.source.get(id) or b""), "logs": ["changed"]}).encode())
    report = world.copy()
    assert report.differing == 0
    assert {json.loads(world.target.get(id) or b"")["logs"][0] for id in world.expected()} >= {"changed"}
    for id, body in world.expected().items():
        assert json.loads(world.target.get(id) or b"") == json.loads(body)


def test_document_from_before_the_job_stays_differing_after_a_kill(world: World) -> None:
    """A document that was in the target before the job isn't taken for our own older version."""
    other = activation(1, form=Form.ELASTICSEARCH, logs=["other"])
    world.target.put(other.id, other.body)

    class Cut(Checkpoint):
        def commit(self, commits: Sequence[Commit], **more: Any) -> None:
            raise CutError

    with pytest.raises(CutError):
        world.copy(checkpoint=Cut(world.path))
    assert world.copy().differing == 1
    assert world.target.get(other.id) == other.body


def test_emptied_target_is_noticed_and_filled_again(world: World) -> None:
    """A target that was emptied after the job was complete is filled again, and that is said."""
    world.copy()
    world.target.clear()
    report = world.copy()
    assert world.there() == world.expected()
    assert report.totals.written == 230
    assert any("copying everything again" in message for message in world.messages)


def test_deletions_are_counted_and_not_copied(world: World) -> None:
    """A document deleted in the source stays in the target; the report counts the deletion."""
    world.copy()
    gone = activation(1)
    world.source.put(gone.id, None)
    report = world.copy()
    assert report.deleted == 1
    assert world.target.get(gone.id) is not None


def test_selection_is_fixed_when_the_job_begins(world: World) -> None:
    """A run that resumes resumes the selection of the run that began."""
    stop = Stop()
    until = Selection(until_ms=activation(100).start_ms)
    with pytest.raises(CutError):
        world.copy(writer=_CuttingWriter(world.target, after=3), selection=until, stop=stop)
    report = world.copy(selection=Selection())
    assert report.totals.written + report.totals.present == 100
    assert report.totals.filtered == 130


class _CuttingWriter(MemoryWriter):
    """Dies before its n-th write."""

    def __init__(self, store: MemoryStore, *, after: int) -> None:
        super().__init__(store)
        self._left = after
        self._guard = threading.Lock()

    def write(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
        with self._guard:
            self._left -= 1
            if self._left < 0:
                raise CutError
        return super().write(documents, replace=replace)


def test_request_to_stop_ends_with_pages_committed(world: World) -> None:
    """After a request to stop the pages in hand are committed, and nothing of them is sent again."""
    stop = Stop()

    class Stopping(_CuttingWriter):
        def write(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
            if len(self._store.entries) > 60:
                stop.ask(143)
            return MemoryWriter.write(self, documents, replace=replace)

    with pytest.raises(Interrupted) as raised:
        world.copy(writer=Stopping(world.target, after=10**6), stop=stop)
    assert raised.value.exit_code == 143
    report = world.copy()
    assert report.totals.present == 0
    assert world.there() == world.expected()


def test_failure_of_one_worker_ends_the_run_and_keeps_the_rest(world: World) -> None:
    """What other workers wrote is committed; the error is the one that the worker had."""

    class Failing(MemoryWriter):
        def write(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
            if any(document.namespace == "whisk.system" for document in documents):
                raise Unavailable("gone")
            return super().write(documents, replace=replace)

    with pytest.raises(Unavailable, match="gone"):
        world.copy(writer=Failing(world.target))
    assert world.copy().totals.written + len(world.there()) >= 230
    assert world.there() == world.expected()


def test_retry_brings_rejected_documents_over(world: World) -> None:
    """Once the cause is gone, rejected documents are written from the job's own copies and leave its list."""

    class Refusing(MemoryWriter):
        def write(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
            refused = [d for d in documents if d.id.endswith("0")]
            good = super().write([d for d in documents if d not in refused], replace=replace)
            rejected = tuple(Rejection(d.id, "no", d.body, namespace=d.namespace, form=d.form) for d in refused)
            return good + WriteOutcome(rejected=rejected)

    report = world.copy(writer=Refusing(world.target))
    assert report.rejected > 5
    checkpoint = Checkpoint(world.path)
    outcome = retry_set_aside(MemoryWriter(world.target), checkpoint, run=2, stop=Stop())
    assert outcome.written == report.rejected
    assert checkpoint.aside.count("rejected") == 0
    assert all(counts.adds_up and counts.rejected == 0 for counts in checkpoint.counts.values())
    checkpoint.close()
    assert world.there() == world.expected()


def test_retry_keeps_what_is_refused_again(world: World) -> None:
    """A document that still can't go over stays, with the newest reason."""
    bad = activation(5000)
    world.source.put(bad.id, bad.body.replace(b'"annotations":[', b'"annotations":"x","was":['))
    world.copy()
    checkpoint = Checkpoint(world.path)
    outcome = retry_set_aside(MemoryWriter(world.target), checkpoint, run=2, stop=Stop())
    assert (outcome.tried, outcome.rejected) == (1, 1)
    assert checkpoint.aside.count("rejected") == 1
    checkpoint.close()


def test_retry_tells_what_it_left_behind(world: World) -> None:
    """A document that goes over only in a retry has its attachments counted as in a copy."""
    document = activation(5000)
    world.source.put(document.id, document.body.replace(b"{", b'{"_attachments":{"a":{"stub":true}},', 1))

    class Refusing(MemoryWriter):
        def write(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
            bad = [each for each in documents if each.id == document.id]
            rest = super().write([each for each in documents if each.id != document.id], replace=replace)
            return rest + WriteOutcome(rejected=tuple(each.rejection("mapping conflict") for each in bad))

    assert not world.copy(writer=Refusing(world.target)).remarks
    checkpoint = Checkpoint(world.path)
    outcome = retry_set_aside(MemoryWriter(world.target), checkpoint, run=2, stop=Stop())
    assert (outcome.written, outcome.remarks, outcome.exit_code) == (1, {"attachments": 1}, 3)
    assert checkpoint.remark_examples("attachments") == [document.id]
    checkpoint.close()
    assert world.copy().exit_code == 3


@pytest.mark.parametrize("jobs", [1, 3, 8])
def test_any_number_of_workers_gives_the_same(world: World, jobs: int) -> None:
    """The result doesn't depend on how many slices are carried at once."""
    report = world.copy(jobs=jobs)
    assert world.there() == world.expected()
    assert report.totals.written == 230


def test_observer_sees_the_progress(world: World) -> None:
    """The progress that is shown ends with what the report says; it names the bulk and each round."""
    seen: list[tuple[int, int | None]] = []
    phases: list[str] = []

    def observe(progress: Progress) -> None:
        seen.append((progress.counts.read, progress.documents))
        phases.append(progress.phase)

    checkpoint = Checkpoint(world.path)
    report = run_copy(
        MemoryReader(world.source, page_documents=10),
        MemoryWriter(world.target),
        checkpoint,
        SPEC,
        Selection(),
        CopyOptions(),
        stop=Stop(),
        observe=observe,
    )
    checkpoint.close()
    assert seen[-1] == (report.totals.read, 230)
    assert list(dict.fromkeys(phases)) == ["copying", "catching up, round 1"]


def test_a_run_says_whether_it_resumes_or_catches_up(world: World) -> None:
    """A job that was interrupted is resumed; one that was complete brings what is new."""
    assert world.copy().state == "complete"
    assert not any(each.startswith("resuming") for each in world.messages)
    world.messages.clear()
    world.copy()
    assert [each for each in world.messages if "was complete" in each and "(run 2)" in each]
    assert not any(each.startswith("resuming") for each in world.messages)


def test_document_that_another_stores_during_the_first_run_stays(world: World) -> None:
    """It was stored after the job's mark, and is none of this job's all the same."""
    other = activation(200, "guest" if 200 % 3 else "whisk.system", form=Form.ELASTICSEARCH, logs=["other"])

    class Meanwhile(MemoryReader):
        def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
            if other.id not in world.target.entries:
                world.target.put(other.id, other.body)
            yield from super().read(slice, after, selection)

    report = world.copy(reader=Meanwhile(world.source, page_documents=10), jobs=1)
    assert (world.target.get(other.id), report.differing, report.exit_code) == (other.body, 1, 3)


# -- what a whole run tells, and what stays of it ---------------------------------------------------------------------


class Told:
    """Runs of one job by a clock that moves a second with each look, with all that they tell."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.now_s = 1_000_000.0
        self.events: list[Event] = []
        self.phases: list[tuple[str, int | None]] = []

    def clock(self) -> float:
        self.now_s += 1
        return self.now_s

    def observe(self, progress: Progress) -> None:
        if not self.phases or self.phases[-1] != (progress.phase, progress.documents):
            self.phases.append((progress.phase, progress.documents))

    def run(self, *, reader: Any = None, writer: Any = None, **options: Any) -> Report:
        self.events.clear()
        self.phases.clear()
        with closing(Checkpoint(self.world.path, clock=lambda: 60.0)) as checkpoint:
            report = run_copy(
                reader or MemoryReader(self.world.source, page_documents=10),
                writer or MemoryWriter(self.world.target),
                checkpoint,
                SPEC,
                Selection(),
                CopyOptions(**{"jobs": 2, "small_round": 1, **options}),
                stop=Stop(),
                observe=self.observe,
                tell=self.events.append,
                clock=self.clock,
            )
        assert 0 < report.duration_s < 600
        return msgspec.structs.replace(report, duration_s=0.0)

    @property
    def runs(self) -> list[tuple[int, str | None, int]]:
        with closing(Checkpoint(self.world.path, view=True)) as checkpoint:
            return [(number, outcome, read) for number, _, _, outcome, read in checkpoint.runs]


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(World(tmp_path, 30))


STORES = [Description(location=f"memory:{name}", product="memory", version="1", identity=f"{name}#1") for name in "ab"]


def test_a_run_is_reported_with_all_that_became_of_it(told: Told) -> None:
    """What was rejected, what differs, what was remarked on, and when all that was stored before was read."""
    world = told.world
    bad, other = activation(60), activation(1, form=Form.ELASTICSEARCH, logs=["other"])
    world.source.put(bad.id, bad.body.replace(b'"annotations":[', b'"annotations":"x","was":['))
    world.source.put("_design/x", b'{"_id":"_design/x","views":{}}')
    world.target.put(other.id, other.body)
    size = sum(len(entry.body or b"") for id, entry in world.source.entries.items() if id != "_design/x")
    report = told.run()
    totals = report.totals
    assert msgspec.structs.replace(report, counts={}) == Report(
        job="0123456789ab",
        run=1,
        state="complete",
        source=STORES[0],
        target=STORES[1],
        counts={},
        rejected=1,
        differing=1,
        remarks={},
        left_behind=False,
        deleted=0,
        rounds=1,
        caught_up_to=1_000_002.0,
        run_read=32,
        duration_s=0.0,
        request=SPEC.request,
    )
    assert totals == Counts(read=32, written=29, differing=1, rejected=1, filtered=1, size_bytes=size)
    assert told.events == [RoundStarted(1)]
    assert told.phases[0] == ("copying", 32)
    assert told.phases[-1] == ("catching up, round 1", 32)
    assert told.runs == [(1, "complete", 32)]


def test_a_run_after_a_complete_one_continues_it(told: Told) -> None:
    told.run()
    told.world.put(activation(100))
    report = told.run()
    assert told.events == [Continued("0123456789ab", 2), RoundStarted(2), RoundStarted(3)]
    assert (report.run, report.rounds, report.run_read, report.totals.read) == (2, 2, 1, 31)
    assert told.runs[1] == (2, "complete", 1)


class Away(MemoryWriter):
    """A server that goes away after so many writes."""

    left = 2

    def write(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
        self.left -= 1
        if self.left < 0:
            raise Unavailable("the server is away")
        return super().write(documents, replace=replace)


def test_a_run_that_fails_is_reported_and_the_next_one_says_how_far_it_was(told: Told) -> None:
    with pytest.raises(Unavailable, match=r"^the server is away$"):
        told.run(writer=Away(told.world.target), jobs=1)
    assert told.events == [RunUnfinished("job", "0123456789ab", SPEC.request)]
    assert told.runs == [(1, "the server is away", 20)]
    told.run()
    assert told.events == [
        Resumed(job="0123456789ab", run=2, share=0.66, read=20, documents=30),
        RoundStarted(1),
    ]
    assert told.runs[1] == (2, "complete", 10)


def test_a_run_that_fails_before_its_plan_leaves_nothing_to_resume(told: Told) -> None:
    class Closed(MemoryReader):
        def plan(self, selection: Selection, *, slice_documents: int) -> Plan:
            raise Unavailable("no plan")

    with pytest.raises(Unavailable, match=r"^no plan$"):
        told.run(reader=Closed(told.world.source))
    assert told.events == []
    assert told.runs == [(1, "no plan", 0)]


def test_what_makes_a_job_start_over_is_reported(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """A target that was replaced before a source that was; both are copied again."""
    monkeypatch.setattr(identity, "_FIRST_PAUSE_S", 0.0)
    told.run()
    told.world.target.clear()
    assert told.run().totals.written == 30
    assert told.events == [TargetReplaced("memory:b", "it was recreated"), RoundStarted(1)]
    told.world.source.clear()
    assert told.run().totals.read == 0
    assert told.events[:1] == [SourceReplaced("memory:a", "it was recreated")]


def test_a_source_that_cannot_list_what_is_new_is_read_again(told: Told) -> None:
    class Plain(Reader):
        """Reads, and does nothing else."""

        abilities = MemoryReader.abilities
        form = Form.COUCHDB

        def __init__(self, store: MemoryStore) -> None:
            self._reader = MemoryReader(store, page_documents=10)

        def describe(self) -> Description:
            return self._reader.describe()

        def plan(self, selection: Selection, *, slice_documents: int) -> Plan:
            return self._reader.plan(selection, slice_documents=slice_documents)

        def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
            return self._reader.read(slice, after, selection)

        def close(self) -> None:
            """Nothing is open."""

    told.run(reader=Plain(told.world.source))
    assert told.events == []
    report = told.run(reader=Plain(told.world.source))
    assert told.events == [Reread("0123456789ab")]
    assert (report.rounds, report.totals) == (0, msgspec.structs.replace(report.totals, read=30, present=30))


@pytest.mark.parametrize(
    ("documents", "jobs", "size"),
    [
        (None, 4, 20_000),
        (0, 4, 2_000),
        (64_000, 4, 2_000),
        (64_032, 4, 2_001),
        (640_000, 4, 20_000),
        (10_000_000, 4, 20_000),
        (160_000, 8, 2_500),
    ],
)
def test_slices_are_so_small_that_each_worker_has_several(documents: int | None, jobs: int, size: int) -> None:
    """But no smaller than is worth a beginning and an end."""
    assert _slice_documents(documents, CopyOptions(jobs=jobs)) == size
