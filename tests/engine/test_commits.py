"""A flush and its commit are one thing: whatever fails between them, nothing counts as written without its receipt."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.activations.accounts import Counts
from migrator.activations.document import Document
from migrator.adapters.archive import ArchiveWriter
from migrator.adapters.archive.folder import Folder
from migrator.adapters.base import Completion, Description, Token, WriteOutcome
from migrator.adapters.memory import MemoryStore, MemoryWriter
from migrator.engine.retry import retry_set_aside
from migrator.engine.state.checkpoint import Checkpoint, Commit
from migrator.errors import Unavailable, UsageError
from migrator.events.watching import Stop
from migrator.testing.documents import activation
from tests.support.archives import read_archive
from tests.support.profiles import examples
from tests.support.worlds import World


class Faults:
    """Counts the steps of a run and fails at some of them, before their effect or after it."""

    def __init__(self, before: frozenset[int] = frozenset(), after: frozenset[int] = frozenset()) -> None:
        self._before = before
        self._after = after
        self._lock = threading.Lock()
        self.steps = 0

    def step(self) -> int:
        with self._lock:
            self.steps += 1
            number = self.steps
        if number in self._before:
            raise Unavailable(f"step {number} fails")
        return number

    def done(self, number: int) -> None:
        if number in self._after:
            raise Unavailable(f"the answer to step {number} is lost")


class Parts:
    """What the parts of one target hold, by the names of the parts."""

    def __init__(self) -> None:
        self.parts: dict[str, dict[str, bytes]] = {}
        self.complete: list[str] | None = None  # the parts that the finished whole consists of
        self.numbers = 0  # that were given out; none is given twice
        self.lock = threading.Lock()

    @property
    def whole(self) -> dict[str, bytes]:
        return {id: body for name in self.complete or () for id, body in self.parts[name].items()}


class PartsWriter(MemoryWriter):
    """Gathers documents by thread into parts and gives a receipt for each, as an archive's writer does."""

    def __init__(self, target: Parts, faults: Faults, form: Any) -> None:
        super().__init__(MemoryStore("parts", form))
        self._target = target
        self._faults = faults
        self._mine = threading.local()

    @property
    def _lane(self) -> dict[str, bytes]:
        lane: dict[str, bytes] = self._mine.__dict__.setdefault("lane", {})
        return lane

    def describe(self) -> Description:
        self._faults.done(self._faults.step())
        return super().describe()

    def resume(self, prepared: Token, receipts: Sequence[tuple[int, Token]]) -> None:
        known = {receipt["name"] for _, receipt in receipts if isinstance(receipt, dict)}
        self._target.parts = {name: part for name, part in self._target.parts.items() if name in known}

    def write(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
        self._faults.step()
        self._lane.update({document.id: document.body for document in documents})
        return WriteOutcome(written=tuple(documents))

    def stored(self, documents: Sequence[Document]) -> Mapping[str, Document]:
        return {}

    def census(self) -> int | None:
        return None

    def due(self) -> bool:
        return len(self._lane) >= 20

    def flush(self) -> Token:
        number = self._faults.step()
        if not self._lane:
            return None
        with self._target.lock:
            self._target.numbers += 1
            name, part = f"part-{self._target.numbers}", dict(self._lane)
        self._target.parts[name] = part
        self._lane.clear()
        self._faults.done(number)
        return {"name": name, "documents": len(part)}

    def finish(self, completion: Completion) -> None:
        self._faults.step()
        self._target.complete = [receipt["name"] for _, receipt in completion.receipts if isinstance(receipt, dict)]


class FaultyCheckpoint(Checkpoint):
    def __init__(self, path: Path, faults: Faults) -> None:
        super().__init__(path)
        self._faults = faults

    def commit(self, commits: Sequence[Commit], **more: Any) -> None:
        self._faults.step()
        super().commit(commits, **more)


def copied_by(world: World, target: Parts, faults: Faults, *, jobs: int) -> None:
    """Run a copy with faults, then the same without, and see that everything arrived."""
    checkpoint = FaultyCheckpoint(world.path, faults)
    try:
        world.copy(writer=PartsWriter(target, faults, world.target.form), checkpoint=checkpoint, jobs=jobs)
    except Unavailable:
        report = world.copy(writer=PartsWriter(target, Faults(), world.target.form), jobs=jobs)
        assert report.exit_code == 0
    assert target.whole == world.expected()
    with_receipts = Checkpoint(world.path)
    try:
        assert with_receipts.contradiction() is None
        assert sum(counts.written for counts in with_receipts.counts.values()) == len(world.expected())
    finally:
        with_receipts.close()


@pytest.mark.parametrize("when", ["before", "after"])
def test_run_that_fails_at_any_step_loses_nothing(tmp_path: Path, when: str) -> None:
    """Flush, description, commit, finish: whichever fails, the same command completes what the receipts speak of."""
    counting = Faults()
    copied_by(World(tmp_path, 90), Parts(), counting, jobs=1)
    assert counting.steps > 20
    for step in range(2, counting.steps + 1):
        folder = tmp_path / str(step)
        folder.mkdir()
        copied_by(World(folder, 90), Parts(), Faults(**{when: frozenset([step])}), jobs=1)


@examples(40)
@given(
    before=st.frozensets(st.integers(2, 60), max_size=4),
    after=st.frozensets(st.integers(2, 60), max_size=4),
    jobs=st.integers(1, 3),
)
def test_run_that_fails_at_several_steps_loses_nothing(
    before: frozenset[int], after: frozenset[int], jobs: int
) -> None:
    """Several faults, several workers: what is reported as written is in the parts."""
    with TemporaryDirectory() as folder:
        copied_by(World(Path(folder), 90), Parts(), Faults(before, after), jobs=jobs)


class _SlowDown(ArchiveWriter):
    """One answer to `describe` is a SlowDown: the n-th."""

    left = 0

    def describe(self) -> Description:
        self.left -= 1
        if self.left == 0:
            raise Unavailable("s3: 503 SlowDown")
        return super().describe()


def archive_writer(world: World, *, slow_at: int = 0) -> ArchiveWriter:
    """A writer that closes a part with almost every frame."""
    writer = _SlowDown(Folder(str(world.path.parent / "archive")), part_bytes=20_000)
    writer.left = slow_at
    return writer


def large_documents(world: World) -> None:
    """Fill the source with documents of which ten are more than a frame."""
    digits = random.Random(7)
    for number in range(100):
        world.put(activation(number, logs=["".join(digits.choices("0123456789abcdef", k=120_000))]))


def assert_whole(world: World) -> None:
    """The finished backup holds every document, and so do the accounts."""
    report = world.copy(writer=archive_writer(world), jobs=1)
    assert report.totals.written == len(world.expected())
    assert {document.id for document in read_archive(world.path.parent / "archive")} == set(world.expected())


def test_backup_whose_target_answers_slow_down_once_is_whole(tmp_path: Path) -> None:
    """The part that was closed before the answer stays a part of the backup."""
    world = World(tmp_path, 0)
    large_documents(world)
    with pytest.raises(Unavailable, match="SlowDown"):
        world.copy(writer=archive_writer(world, slow_at=2), jobs=1)
    assert_whole(world)


def test_backup_whose_state_folder_is_full_for_a_moment_is_whole(tmp_path: Path) -> None:
    """SQLite itself says that there is no room, once; the next try has the receipt that the first had."""
    world = World(tmp_path, 0)
    large_documents(world)

    class Full(Checkpoint):
        left = 1  # how often there is no room

        def commit(self, commits: Sequence[Commit], **more: Any) -> None:
            if self.left:
                self.left -= 1
                self._rows("PRAGMA max_page_count = 1")  # as many as there are
                try:
                    with self._transaction():
                        self._set("large", "x" * 1_000_000)
                finally:
                    self._rows("PRAGMA max_page_count = 1000000")
            super().commit(commits, **more)

    with pytest.raises(
        Unavailable, match=r"can't be written: .*full; free disk space, then run the same command again$"
    ):
        world.copy(writer=archive_writer(world), checkpoint=Full(world.path), jobs=1)
    assert_whole(world)


@pytest.mark.parametrize("receipt", [None, {"documents": 2}, {"documents": 4}])
def test_commit_refuses_documents_that_no_receipt_speaks_of(tmp_path: Path, receipt: Token) -> None:
    """Nothing is noted, and the error says that the same command writes them again."""
    checkpoint = Checkpoint(tmp_path / "job.sqlite")
    commit = Commit(slice=1, position=7, counts={"guest": Counts(read=3, written=3)})
    with pytest.raises(Unavailable, match="the same command") as raised:
        checkpoint.commit([commit], run=1, receipt=receipt, receipts=True)
    assert raised.value.exit_code == 5
    assert (checkpoint.counts, checkpoint.receipts) == ({}, [])
    checkpoint.close()


def test_job_whose_receipts_lack_documents_is_started_over(tmp_path: Path) -> None:
    """A job that an earlier release left so isn't finished: the run ends, and the next one copies everything."""
    world, target = World(tmp_path, 90), Parts()

    class Forgetful(Checkpoint):
        def commit(self, commits: Sequence[Commit], **more: Any) -> None:
            more.update(receipts=False, receipt=more["receipt"] if self.counts else None)
            super().commit(commits, **more)

    told = "memory:parts: 90 documents were counted as written, and the parts that are known hold 70; run the same"
    with pytest.raises(Unavailable, match=f"^{told} command to start over$"):
        world.copy(writer=PartsWriter(target, Faults(), world.target.form), checkpoint=Forgetful(world.path), jobs=1)
    assert target.complete is None
    assert world.copy(writer=PartsWriter(target, Faults(), world.target.form)).totals.written == 90
    assert target.whole == world.expected()


def test_rejected_documents_are_not_tried_again_in_a_target_that_gives_receipts(tmp_path: Path) -> None:
    """Its finished whole takes no more documents, so that they would be counted and nowhere."""
    world, target = World(tmp_path, 20), Parts()
    bad = activation(5000)
    world.source.put(bad.id, bad.body.replace(b'"annotations":[', b'"annotations":"x","was":['))
    assert world.copy(writer=PartsWriter(target, Faults(), world.target.form)).rejected == 1
    checkpoint = Checkpoint(world.path)
    told = "the target is complete and accepts no more documents; fix the cause, then copy again with `restart`"
    with pytest.raises(UsageError, match=f"^{told}$"):
        retry_set_aside(PartsWriter(target, Faults(), world.target.form), checkpoint, run=2, stop=Stop())
    assert checkpoint.aside.count("rejected") == 1
    checkpoint.close()
