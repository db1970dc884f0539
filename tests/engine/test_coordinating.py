"""Attempts: only the newest at a slice may commit, and one that was given up can do no harm when it wakes up."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path

import pytest

from migrator.activations import forms
from migrator.activations.document import Document, Form
from migrator.activations.selection import Selection
from migrator.adapters.archive import ArchiveWriter
from migrator.adapters.archive.folder import Folder
from migrator.adapters.base import Plan, Slice
from migrator.adapters.memory import MemoryReader, MemoryStore, MemoryWriter
from migrator.engine.carrying import Carrying, OutpacedError
from migrator.engine.coordinating import Coordinator
from migrator.engine.executors.assigning import MOST_LOSSES, Assigning, knowledge_for
from migrator.engine.executors.threads import Threads
from migrator.engine.executors.values import RemoteJob, Rest
from migrator.engine.held import Flushed
from migrator.engine.options import CopyOptions
from migrator.engine.state.checkpoint import Checkpoint, Commit, OpenSlice
from migrator.engine.state.notes import SetAside
from migrator.errors import LimitReached, MigratorError, NotFound, RequestRefused, Unavailable
from migrator.events.watching import Progress, Stop
from migrator.testing.documents import activation
from tests.support.worlds import SPEC


class Bench:
    """A coordinator between two stores in memory, and workers that carry by hand."""

    def __init__(self, folder: Path, *, on_conflict: str = "skip", slices: int = 2, max_rejects: int = 1000) -> None:
        self.source, self.target = MemoryStore("a", Form.COUCHDB), MemoryStore("b", Form.ELASTICSEARCH)
        for number in range(20 * slices):
            self.source.put(activation(number).id, activation(number).body)
        self.reader, self.writer = MemoryReader(self.source, page_documents=5), MemoryWriter(self.target)
        self.checkpoint = Checkpoint(folder / "job.sqlite")
        source, target = self.reader.describe(), self.writer.describe()
        run = self.checkpoint.begin_run(SPEC, source, target)
        plan = self.reader.plan(Selection(), slice_documents=20)
        self.checkpoint.begin(plan, Selection(), self.writer.mark(), None, run=run, planned_s=0.0)
        self.coordinator = Coordinator(
            self.reader,
            self.writer,
            self.checkpoint,
            CopyOptions(jobs=2, on_conflict=on_conflict, max_rejects=max_rejects),
            Threads(self.reader, self.writer),
            run=run,
            stop=Stop(),
            observe=lambda _: None,
            tell=lambda _: None,
            progress=Progress(),
            target=target,
            dry_run=False,
        )
        self.run = run
        self.coordinator.begin_round()  # as each round does

    @property
    def open(self) -> list[OpenSlice]:
        return self.checkpoint.open_slices(self.run)

    def attempt(self, open: OpenSlice) -> tuple[OpenSlice, Iterator[Flushed]]:
        """A worker that has begun an attempt, as one in another process does, and what it makes durable."""
        begun = self.coordinator.begin(open)
        knowledge = pickle.loads(pickle.dumps(knowledge_for(begun, self.coordinator)))
        carrying = Carrying(self.writer, knowledge.terms, RemoteJob(knowledge, lambda _: None), fenced=True)
        carrying.begin(begun)
        batches = list(self.reader.read(begun.slice, begun.position, knowledge.selection))
        return begun, chain(carrying.carry(begun, batches, Stop()), carrying.rest())


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    found = Bench(tmp_path)
    with closing(found.checkpoint):
        yield found


def test_a_commit_of_an_older_attempt_is_refused_and_changes_nothing(bench: Bench) -> None:
    """A worker that was given up comes back with what another has carried meanwhile."""
    first, second = bench.open
    _, early = bench.attempt(first)
    stale = [next(early) for _ in range(2)]
    begun, late = bench.attempt(first)
    assert begun.attempt == 2
    assert begun.begun_before
    for flushed in late:
        assert bench.coordinator.commit(flushed)
    before = bench.checkpoint.counts
    for flushed in [*stale, *early]:
        assert not bench.coordinator.commit(flushed)
    assert bench.checkpoint.counts == before
    assert [open.number for open in bench.open] == [second.number]


def test_an_attempt_that_was_given_up_commits_nothing_though_no_other_has_begun(bench: Bench) -> None:
    first = bench.open[0]
    begun, durable = bench.attempt(first)
    bench.coordinator.give_up([begun.number])
    assert not any(bench.coordinator.commit(flushed) for flushed in durable)
    assert bench.checkpoint.counts == {}


def test_another_attempt_goes_on_where_commits_stand(bench: Bench) -> None:
    """What a lost worker had committed isn't read again."""
    first = bench.open[0]
    _, early = bench.attempt(first)
    assert bench.coordinator.commit(next(early))
    begun, late = bench.attempt(first)
    assert begun.position is not None
    for flushed in late:
        bench.coordinator.commit(flushed)
    assert sum(counts.read for counts in bench.checkpoint.counts.values()) == 20


def test_what_a_lost_worker_rejected_is_counted_once(tmp_path: Path) -> None:
    """Its slice is read again, and so are those documents; the limit is one for all slices together."""
    bench = Bench(tmp_path, max_rejects=3)
    aside = [SetAside(kind="rejected", id=f"guest/{at}", namespace="guest", reason="no", body=b"{}") for at in range(4)]

    def carry(open: OpenSlice, count: int) -> Commit:
        commit = Commit(slice=open.number, position=None, counts={}, set_aside=aside[:count], settled=[])
        bench.coordinator.carried(commit)
        return commit

    with closing(bench.checkpoint):
        for _ in range(3):
            begun = bench.coordinator.begin(bench.open[0])
            commit = carry(begun, 2)
        flushed = Flushed(commits=[commit], ended=[], receipt=None, samples=[], attempts={begun.number: begun.attempt})
        assert bench.coordinator.commit(flushed)
        bench.coordinator.give_up([bench.coordinator.begin(bench.open[1]).number])
        carry(bench.coordinator.begin(bench.open[1]), 1)
        bench.coordinator.give_up([bench.open[1].number])  # of a worker that isn't replaced yet
        carry(bench.coordinator.begin(bench.open[0]), 1)
        with pytest.raises(LimitReached, match="4 documents were rejected, more than"):
            carry(bench.coordinator.begin(bench.open[1]), 1)
        with pytest.raises(LimitReached, match="4 documents were rejected, more than"):
            carry(bench.open[0], 0)  # nothing more is carried, whatever it is


@pytest.mark.parametrize("on_conflict", ["skip", "overwrite"])
def test_a_worker_that_wakes_up_late_puts_no_older_version_back(tmp_path: Path, on_conflict: str) -> None:
    """It read a document, slept, and meanwhile a newer version was copied: under any rule for conflicts."""
    bench = Bench(tmp_path, on_conflict=on_conflict, slices=1)
    with closing(bench.checkpoint):
        document = activation(3)
        begun = bench.coordinator.begin(bench.open[0])
        catch_up = OpenSlice(
            number=begun.number,
            slice=Slice(key="changes", spec={"since": 0, "until": 1000}, replaces=True),
            position=None,
            begun_before=True,
            attempt=begun.attempt,
        )
        bench.writer.write([_in_target(activation(3, logs=["mine"]))], replace=False)
        knowledge = knowledge_for(begun, bench.coordinator)
        asleep = Carrying(bench.writer, knowledge.terms, RemoteJob(knowledge, lambda _: None), fenced=True)
        asleep.begin(catch_up)
        batches = list(bench.reader.read(catch_up.slice, None, Selection()))
        newer = _in_target(activation(3, logs=["newest"]))
        bench.writer.write([newer], replace=True)  # by another attempt, while this one sleeps
        with pytest.raises(OutpacedError):
            list(asleep.carry(catch_up, batches, Stop()))
        assert bench.target.get(document.id) == newer.body


def _in_target(document: Document) -> Document:
    converted = forms.convert(document, Form.ELASTICSEARCH)
    assert isinstance(converted, Document)
    return converted


def test_a_slice_that_its_workers_die_of_ends_the_run(bench: Bench) -> None:
    """It isn't carried for ever, and the message says where to look."""
    assigning = Assigning(bench.open, bench.coordinator)
    number = bench.open[0].number
    for _ in range(MOST_LOSSES - 1):
        assigning.put_back([number], "was killed by signal 9")
    with pytest.raises(Unavailable, match="killed by signal 9"):
        assigning.put_back([number], "was killed by signal 9")


def test_a_worker_waits_for_the_last_slices_of_others_and_takes_them_over(bench: Bench) -> None:
    assigning = Assigning(bench.open, bench.coordinator)
    first = assigning.take(flushed=True)
    second = assigning.take(flushed=True)
    assert isinstance(first, OpenSlice)
    assert isinstance(second, OpenSlice)
    assert isinstance(assigning.take(flushed=False), Rest)
    assigning.put_back([first.number], "was lost")
    again = assigning.take(flushed=True)
    assert isinstance(again, OpenSlice)
    assert again.number == first.number
    assigning.done([first.number, second.number])
    assert assigning.take(flushed=True) is None


def test_numbers_of_parts_are_never_given_twice_also_after_a_resume(tmp_path: Path) -> None:
    """A worker that was lost with the run before may still write under the numbers that it had."""
    writer = ArchiveWriter(Folder(str(tmp_path / "archive")))
    prepared = writer.prepare()
    path, given = tmp_path / "job.sqlite", list[int]()
    for _ in range(3):
        with closing(Checkpoint(path)) as checkpoint:
            first = checkpoint.reserve(4)
            given += range(first, first + 4)
            assert checkpoint.reserved == given[-1]
    assert given == sorted(set(given))
    writer.allot((given[-1] + 1,))
    worker = ArchiveWriter(Folder(str(tmp_path / "archive")))
    worker.join(prepared)
    worker.allot(given[:2])
    worker.write([activation(1)], replace=False)
    receipt = worker.flush()
    assert isinstance(receipt, dict)
    assert receipt["name"] == f"part-{given[0]:06}.ndjson.zst"
    assert writer.highest_number() == given[-1]
    writer.sweep([])
    assert not list((tmp_path / "archive").rglob("part-*"))
    worker.close()
    writer.close()


def test_a_worker_that_wakes_up_after_the_backup_is_complete_leaves_nothing_in_it(tmp_path: Path) -> None:
    """A part that no manifest lists would look like damage."""
    folder = tmp_path / "archive"
    writer, worker = ArchiveWriter(Folder(str(folder))), ArchiveWriter(Folder(str(folder)))
    worker.join(writer.prepare())
    worker.allot([1])
    worker.write([activation(1)], replace=False)
    (unfinished,) = folder.rglob("unfinished*")
    unfinished.unlink()  # as the one who completes it does
    with pytest.raises(NotFound, match="completed or deleted"):
        worker.flush()
    assert not list(folder.rglob("part-*"))
    worker.close()
    writer.close()


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("busy", retry_after_s=3.0),
        RequestRefused("no", status=413, passing=False),
        LimitReached("enough"),
        OutpacedError("newer"),
    ],
)
def test_errors_come_from_workers_as_they_were(error: MigratorError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), again.exit_code, vars(again)) == (str(error), error.exit_code, vars(error))


def test_a_plan_without_slices_is_done_at_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path, slices=1)
    with closing(bench.checkpoint):
        bench.checkpoint.forget()
        bench.checkpoint.begin(Plan(slices=()), Selection(), None, None, run=bench.run, planned_s=0.0)
        assert bench.coordinator.run_slices() == 0
