"""What a coordinator makes of what its workers say and don't say; the workers are threads of this process."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from migrator.activations import forms
from migrator.activations.document import Document, Form
from migrator.activations.selection import Selection
from migrator.adapters.base import Batch, Reader, Slice, SupportsBuffer, Token, Writer
from migrator.adapters.memory import MemoryReader, MemoryWriter, memory_store
from migrator.api.backup import backup
from migrator.api.verify import verify
from migrator.engine.executors import assigning, worker
from migrator.engine.executors.processes import Processes
from migrator.engine.identity import ReplacedError
from migrator.errors import Interrupted, NotFound, Unavailable
from migrator.events import Event, TargetWarning, Tell, WorkerLost
from migrator.events.watching import Stop
from migrator.testing.documents import activation
from tests.engine.test_coordinating import Bench
from tests.support.worker_threads import WorkerThreads, opener_of, workers_as_threads


class Hooked(MemoryReader):
    """A reader that does something before it gives a batch, by the batch's number."""

    def __init__(self, bench: Bench, hook: Callable[[int], None]) -> None:
        super().__init__(bench.source, page_documents=5)
        self._hook = hook

    def read(self, slice: Slice, position: Token, selection: Selection) -> Iterator[Batch]:
        for number, batch in enumerate(super().read(slice, position, selection)):
            self._hook(number)
            yield batch


class Buffered(MemoryWriter, SupportsBuffer):
    """A writer that makes nothing durable until it is asked to."""

    def __init__(self, bench: Bench, flushing: Callable[[], None] = lambda: None) -> None:
        super().__init__(bench.target)
        self._flushing = flushing

    def due(self) -> bool:
        return False

    def flush(self) -> Token:
        self._flushing()
        return super().flush()


class Attended:
    """A run between two stores in memory by workers, and what happens in it."""

    def __init__(self, bench: Bench, workers: WorkerThreads) -> None:
        self.bench = bench
        self.workers = workers
        self.events: list[Event] = []
        self.stops: list[Stop] = []  # of each worker
        self.hook: Callable[[int], None] = lambda _: None
        self.opening: Callable[[Tell], None] = lambda _: None
        self.writer: Callable[[], Writer] = lambda: MemoryWriter(bench.target)
        bench.coordinator.tell = self.events.append

    def run(self, *, silence_s: float | None = None) -> None:
        with closing(Processes(opener_of(self._open), silence_s=silence_s)) as executor:
            executor.run(self.bench.open, self.bench.coordinator)

    def kill_first(self) -> None:
        self.workers.started[0].kill()

    @property
    def lost(self) -> list[str]:
        return [event.reason for event in self.events if isinstance(event, WorkerLost)]

    @property
    def read(self) -> int:
        """Documents that the checkpoint has accounts of."""
        return sum(counts.read for counts in self.bench.checkpoint.counts.values())

    @property
    def target(self) -> set[str]:
        return {id for id, entry in self.bench.target.entries.items() if entry.body is not None}

    def _open(self, stop: Stop, tell: Tell) -> tuple[Reader, Writer]:
        self.opening(tell)
        self.stops.append(stop)
        return Hooked(self.bench, self.hook), self.writer()


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerThreads]:
    with workers_as_threads(monkeypatch) as workers:
        yield workers


@pytest.fixture
def attended(tmp_path: Path, workers: WorkerThreads) -> Iterator[Attended]:
    """Two slices, two workers."""
    bench = Bench(tmp_path)
    with closing(bench.checkpoint):
        yield Attended(bench, workers)


@pytest.fixture
def alone(tmp_path: Path, workers: WorkerThreads) -> Iterator[Attended]:
    """One slice of four batches, one worker at a time; what is newer in the source replaces what is in the target."""
    bench = Bench(tmp_path, slices=1, on_conflict="overwrite")
    with closing(bench.checkpoint):
        yield Attended(bench, workers)


def once(action: Callable[[], None], *, at: int) -> Callable[[int], None]:
    """A hook that does something before a batch, the first time only."""
    done: list[int] = []

    def hook(number: int) -> None:
        if number == at and not done:
            done.append(number)
            action()

    return hook


def _wait(event: threading.Event, seconds: float) -> None:
    event.wait(seconds)


def test_workers_carry_all_and_leave_signals_to_the_coordinator(attended: Attended) -> None:
    """What their stores tell arrives; every slice is committed to its end."""
    attended.opening = lambda tell: tell(TargetWarning("slow"))
    attended.run()
    assert len(attended.target) == attended.read == 40
    assert attended.bench.open == []
    assert {type(event) for event in attended.events} == {TargetWarning}
    assert attended.workers.ignored == {signal.SIGINT, signal.SIGTERM}


def test_what_a_writer_kept_back_is_made_durable_before_a_round_ends(attended: Attended) -> None:
    attended.writer = lambda: Buffered(attended.bench)
    attended.run()
    assert len(attended.target) == attended.read == 40
    assert attended.bench.open == []


def test_a_worker_that_is_killed_is_followed_by_another_from_what_is_committed(alone: Attended) -> None:
    """No document is lost, none counted twice, and the one that was killed ends at once."""
    alone.hook = once(alone.kill_first, at=2)
    alone.run()
    assert len(alone.target) == alone.read == 20
    assert alone.lost == ["was killed by signal 9"]
    assert len(alone.workers.started) == 2
    assert set(alone.workers.exits) <= {1}


def test_a_slice_whose_workers_always_die_ends_the_run(alone: Attended) -> None:
    alone.hook = lambda _: alone.workers.started[-1].kill()
    with pytest.raises(Unavailable, match=r"5 workers were lost while they carried it; the last one was killed by"):
        alone.run()
    assert len(alone.workers.started) == assigning.MOST_LOSSES


def test_a_worker_that_says_nothing_is_given_up(alone: Attended, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it does when it wakes up changes no account."""
    monkeypatch.setattr(worker, "ALIVE_S", 60.0)
    awake = threading.Event()
    alone.hook = once(lambda: _wait(awake, 60), at=1)
    alone.run(silence_s=0.5)
    awake.set()
    assert len(alone.target) == alone.read == 20
    (reason,) = alone.lost
    assert reason.startswith("said nothing for ")


def test_a_worker_that_waits_says_that_it_is_alive(alone: Attended, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may wait for a server for as long as it takes."""
    monkeypatch.setattr(worker, "ALIVE_S", 0.05)
    alone.hook = once(lambda: _wait(threading.Event(), 1.2), at=1)
    alone.run(silence_s=0.9)
    assert alone.read == 20
    assert alone.lost == []


def test_an_error_of_a_worker_ends_the_run_and_what_it_had_written_counts(attended: Attended) -> None:
    """The next run does the rest."""

    def refuse(number: int) -> None:
        if number == 2:
            raise Unavailable("a: no answer")

    attended.hook = refuse
    attended.writer = lambda: Buffered(attended.bench)
    with pytest.raises(Unavailable, match="a: no answer"):
        attended.run()
    assert attended.read in (10, 15, 20)
    assert attended.read == len(attended.target)
    attended.hook = lambda _: None
    attended.bench.coordinator.stop.renew()
    attended.run()
    assert len(attended.target) == attended.read == 40


def test_nothing_counts_that_was_written_to_a_store_that_was_replaced(alone: Attended) -> None:
    """What the writer kept back went into the other one."""

    def replace(number: int) -> None:
        if number == 2:
            raise ReplacedError("memory:b was recreated")

    alone.hook = replace
    alone.writer = lambda: Buffered(alone.bench)
    with pytest.raises(ReplacedError, match="was recreated"):
        alone.run()
    assert alone.read == 0


def test_stores_that_a_worker_can_not_open_end_the_run(alone: Attended) -> None:
    def refuse(_: Tell) -> None:
        raise NotFound("memory:a: it isn't there")

    alone.opening = refuse
    with pytest.raises(NotFound, match="it isn't there"):
        alone.run()


def newer(bench: Bench, number: int) -> None:
    """Something else stores another version in the target."""
    converted = forms.convert(activation(number, logs=["by something else"]), Form.ELASTICSEARCH)
    assert isinstance(converted, Document)
    bench.target.put(converted.id, converted.body)


def test_a_slice_during_which_something_else_stored_a_version_is_carried_again(alone: Attended) -> None:
    alone.hook = once(lambda: newer(alone.bench, 7), at=1)
    alone.run()
    assert len(alone.target) == alone.read == 20
    assert len(alone.workers.started) == 1


def test_a_slice_that_is_always_outpaced_ends_the_run(alone: Attended, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assigning, "_MOST_OUTPACED", 3)

    def overtake(_: int) -> None:
        for number in range(20):
            newer(alone.bench, number)

    alone.hook = overtake
    with pytest.raises(Unavailable, match="was stored by something else meanwhile"):
        alone.run()


def interrupt(run: Attended) -> None:
    """Ask the run to end, and wait until its worker has been told."""
    run.bench.coordinator.stop.ask(130)
    while not run.stops[-1].asked:
        threading.Event().wait(0.01)


@pytest.mark.parametrize("keeps_back", [False, True])
def test_a_run_that_is_interrupted_keeps_what_its_workers_wrote(alone: Attended, keeps_back: bool) -> None:
    """And is completed by the next."""
    if keeps_back:
        alone.writer = lambda: Buffered(alone.bench)
    alone.hook = once(lambda: interrupt(alone), at=2)
    with pytest.raises(Interrupted):
        alone.run()
    assert alone.read == len(alone.target)
    assert 10 <= alone.read < 20
    alone.bench.coordinator.stop = Stop()
    alone.run()
    assert len(alone.target) == alone.read == 20


def test_a_worker_that_dies_on_an_interrupted_runs_last_words_costs_only_what_it_had(alone: Attended) -> None:
    """It is asked to make durable what it wrote, and is lost over it: the next run writes that again."""
    alone.writer = lambda: Buffered(alone.bench, alone.kill_first)
    alone.hook = once(lambda: interrupt(alone), at=2)
    with pytest.raises(Interrupted):
        alone.run()
    assert alone.read == 0
    alone.bench.coordinator.stop = Stop()
    alone.writer = lambda: MemoryWriter(alone.bench.target)
    alone.run()
    assert len(alone.target) == alone.read == 20


def test_parts_of_an_archive_have_the_numbers_that_their_workers_were_given(
    tmp_path: Path, workers: WorkerThreads
) -> None:
    """Each part once, whoever wrote it; workers open the stores from what the order says."""
    store = memory_store("attended", Form.COUCHDB)
    for number in range(300):
        store.put(activation(number).id, activation(number, logs=[f"{number * 7919:x}" * 200]).body)
    first, second, state = f"archive:{tmp_path}/a", f"archive:{tmp_path}/b", tmp_path / "state"
    backup("memory:attended", first, part_bytes=65_536, jobs=1, state=state)
    store.clear()
    made = backup(first, second, executor="processes", jobs=2, part_bytes=65_536, state=state)
    assert made.backup is not None
    assert made.report.totals.written == 300
    assert {path.name for path in (tmp_path / "b").rglob("part-*")} == {part.name for part in made.backup.parts}
    assert verify(first, second, state=state).agrees
    assert workers.started
