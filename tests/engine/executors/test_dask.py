"""What a job makes of a Dask cluster: how much is under way on it, what comes back, and what is lost; no cluster."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import msgspec
import pytest

from migrator.activations.accounts import Counts
from migrator.activations.document import Document
from migrator.activations.selection import Selection
from migrator.adapters.base import Slice, Token, WriteOutcome
from migrator.adapters.memory import MemoryReader, MemoryStore, MemoryWriter
from migrator.engine.carrying import OutpacedError, Terms
from migrator.engine.executors import dask
from migrator.engine.executors.dask import Cluster, Result, _carry, _condensed, _ends, _Round, connect
from migrator.engine.executors.values import Ends, Knowledge, Task
from migrator.engine.held import Flushed
from migrator.engine.state.checkpoint import Commit, OpenSlice
from migrator.engine.state.notes import Origin, SetAside
from migrator.errors import Interrupted, Unavailable, UsageError
from migrator.events import WorkerLost
from migrator.events.watching import Stop
from migrator.testing.documents import activation


def open_slice(number: int, **changes: Any) -> OpenSlice:
    slice = Slice(key=f"slice {number}", spec={}, documents=10)
    told = {"number": number, "slice": slice, "position": None, "begun_before": False, **changes}
    return OpenSlice(**told)


def commit(slice: int, position: int, **changes: Any) -> Commit:
    counts = {"guest": Counts(read=1, written=1)}
    return Commit(**{"slice": slice, "position": position, "counts": counts, **changes})


def flushed(*commits: Commit, ended: Sequence[int] = (), receipt: Token = None) -> Flushed:
    return Flushed(commits=commits, ended=ended, receipt=receipt, samples=())


# -- what comes back from a worker ----------------------------------------------------------------------------------


ASIDE = SetAside(kind="rejected", id="guest/1", namespace="guest", reason="a", body=b"{}")


def test_commits_of_one_slice_come_back_as_one() -> None:
    """At the last position, with the sums of all; what was set aside twice counts with its newest reason."""
    here, there = Origin("guest", "a"), Origin("guest", "b")
    again = msgspec.structs.replace(ASIDE, reason="b")
    other = msgspec.structs.replace(ASIDE, kind="differing")
    first = commit(
        1, 5, set_aside=[ASIDE], settled=["x"], remarks={"odd": ["x"]}, deleted=1, created=2, there={here: 1}
    )
    second = commit(1, 6, set_aside=[again, other], remarks={"odd": ["y"], "z": ["x"]}, created=3, there={there: 4})
    found = _condensed(flushed(first, second, commit(2, 1, deleted=7), ended=[1], receipt={"name": "p"}))
    assert list(found.commits) == [
        commit(
            1,
            6,
            counts={"guest": Counts(read=2, written=2)},
            set_aside=[again, other],
            settled=["x"],
            remarks={"odd": ["x", "y"], "z": ["x"]},
            deleted=1,
            created=5,
            there={here: 1, there: 4},
        ),
        commit(2, 1, deleted=7, set_aside=[], settled=[]),
    ]
    assert (found.ended, found.receipt) == ([1], {"name": "p"})


class Stores:
    """Two stores in memory, as a worker opens them."""

    def __init__(self, documents: int = 20) -> None:
        self.source, self.target = MemoryStore("a"), MemoryStore("b")
        for number in range(documents):
            self.source.put(activation(number).id, activation(number).body)
        self.opened = 0

    def ends(self, writer: Any = None) -> Ends:
        return Ends(MemoryReader(self.source, page_documents=5), writer or MemoryWriter(self.target))

    def task(self, **changes: Any) -> Task:
        (slice,) = MemoryReader(self.source).plan(Selection(), slice_documents=1000).slices
        knowledge = Knowledge(terms=Terms(), selection=Selection(), prepared=None)
        open = OpenSlice(number=3, slice=slice, position=None, begun_before=False, attempt=7)
        return Task(open=msgspec.structs.replace(open, **changes), knowledge=knowledge)


def test_a_task_carries_its_slice_to_the_end() -> None:
    """What a writer made durable with every answer is flushed once."""
    stores = Stores()
    result = _carry(stores.ends(), stores.task())
    assert result.outpaced is None
    (only,) = result.durable
    assert ([each.slice for each in only.commits], only.ended, only.attempts) == ([3], [3], {3: 7})
    assert only.commits[0].counts == {
        "guest": Counts(read=20, written=20, size_bytes=sum(len(activation(at).body) for at in range(20)))
    }
    assert len(stores.target.entries) == 20


def test_a_task_whose_numbers_are_used_up_hands_its_slice_back() -> None:
    """One is left for what is on its way."""

    class Buffered(MemoryWriter):
        def due(self) -> bool:
            return True

    stores = Stores()
    result = _carry(stores.ends(Buffered(stores.target)), stores.task(), parts=3)
    assert [each.ended for each in result.durable] == [[], []]
    assert len(stores.target.entries) == 10


def test_a_task_that_is_outpaced_returns_what_it_made_durable() -> None:
    class Outpaced(MemoryWriter):
        left = 2

        def write(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
            self.left -= 1
            if self.left < 0:
                raise OutpacedError("newer")
            return super().write(documents, replace=replace)

    stores = Stores()
    result = _carry(stores.ends(Outpaced(stores.target)), stores.task())
    assert str(result.outpaced) == "newer"
    assert sum(each.written for each in result.durable) == 10
    assert [each.ended for each in result.durable] == [[]]


class _Opener:
    """Opens what it is named after; it can be pickled."""

    opened: ClassVar[list[str]] = []  # by all of them

    def __init__(self, name: str) -> None:
        self.name = name

    @contextmanager
    def __call__(self, stop: Stop, tell: Any) -> Iterator[Ends]:
        self.opened.append(self.name)
        yield Ends(cast(Any, self.name), cast(Any, None))


def test_stores_are_opened_once_in_a_worker_for_the_last_four_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask, "_opened", type(dask._opened)())
    monkeypatch.setattr(_Opener, "opened", opened := list[str]())
    names = ["1", "2", "1", "3", "4", "1", "5", "2", "1"]
    assert [str(_ends(_Opener(name)).reader) for name in names] == names
    assert opened == ["1", "2", "3", "4", "5", "1"]
    assert len(dask._opened) == 4


# -- what is under way ------------------------------------------------------------------------------------------------


class Future:
    """A task under way: done once it has a result or an error."""

    def __init__(self, task: Task, name: str | None, key: str) -> None:
        self.task, self.name, self.key = task, name, key
        self.outcome: Result | Exception | None = None
        self.cancelled = self.released = False

    def done(self) -> bool:
        return self.outcome is not None

    def result(self, timeout: float) -> Result:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        assert self.outcome is not None
        return self.outcome

    def cancel(self) -> None:
        self.cancelled = True

    def release(self) -> None:
        self.released = True


class Client:
    def __init__(self, *threads: int) -> None:
        self.workers = {f"worker {at}": each for at, each in enumerate(threads)}
        self.submitted: list[Future] = []
        self.at_submit: Callable[[Future], None] = lambda _: None
        self.closed = False

    def nthreads(self) -> dict[str, int]:
        return self.workers

    def submit(self, work: object, opener: object, task: Task, name: str | None, **how: Any) -> Future:
        assert work is dask.carry
        assert (how.pop("pure"), how.pop("retries")) == (False, 0)
        future = Future(task, name, how.pop("key"))
        assert how == {}
        self.submitted.append(future)
        self.at_submit(future)
        return future

    def close(self) -> None:
        self.closed = True


class Coordinator:
    """Commits everything, unless it was given up."""

    def __init__(self) -> None:
        self.stop = Stop()
        self.terms, self.selection, self.prepared = Terms(), Selection(), None
        self.proven: frozenset[str] = frozenset()
        self.any_aside = False
        self.progress = "progress"
        self.seen = 0
        self.told: list[WorkerLost] = []
        self.given_up: list[int] = []
        self.committed: list[int] = []
        self.counted: list[Token] = []
        self.refuses = False
        self._attempts = 0

    def begin(self, open: OpenSlice) -> OpenSlice:
        self._attempts += 1
        return msgspec.structs.replace(open, attempt=self._attempts)

    def allot(self, count: int) -> tuple[int, ...]:
        return ()

    def flushed(self, flushed: Flushed) -> None:
        """Counted with its commit."""

    def commit(self, flushed: Flushed) -> bool:
        if self.refuses:
            self.refuses = False
            return False
        self.committed += flushed.ended
        return True

    def carried(self, commit: Commit) -> None:
        self.counted.append(commit.position)

    def give_up(self, numbers: Sequence[int]) -> None:
        self.given_up += numbers

    def tell(self, event: WorkerLost) -> None:
        self.told.append(event)

    def observe(self, progress: object) -> None:
        self.seen += 1


def cluster(client: Client) -> Cluster:
    return Cluster(cast(Any, client), "dask://here:8786", cast(Any, "opener"))


def run(client: Client, coordinator: Coordinator, *numbers: int) -> None:
    _Round(cluster(client), [open_slice(number) for number in numbers], cast(Any, coordinator)).run()


def ending(future: Future) -> Result:
    open = future.task.open
    return Result(durable=[flushed(commit(open.number, open.attempt), ended=[open.number])])


def test_two_tasks_for_each_thread_are_under_way() -> None:
    """Each an attempt of its own, under a key of its own."""
    client, coordinator = Client(1, 1), Coordinator()
    most = 0

    def submitted(future: Future) -> None:
        nonlocal most
        under_way = [each for each in client.submitted if each.outcome is None]
        most = max(most, len(under_way))
        if len(under_way) == 4 or len(client.submitted) == 6:
            for each in under_way:
                each.outcome = ending(each)

    client.at_submit = submitted
    run(client, coordinator, 1, 2, 3, 4, 5, 6)
    assert most == 4
    assert sorted(coordinator.committed) == [1, 2, 3, 4, 5, 6]
    assert sorted(coordinator.counted, key=str) == [1, 2, 3, 4, 5, 6]
    assert all(each.released and not each.cancelled for each in client.submitted)
    keys = [each.key.rpartition("-")[0].rpartition("-")[0] for each in client.submitted]
    assert len({*keys}) == 1
    assert re.fullmatch(r"migrator-[0-9a-f]{32}", keys[0])
    assert [each.key.removeprefix(f"{keys[0]}-") for each in client.submitted] == [f"{at}-{at}" for at in range(1, 7)]
    assert {each.name for each in client.submitted} == {None}
    assert coordinator.seen > 0


def test_a_slice_that_is_not_done_is_carried_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its numbers were used up, or something was faster."""
    client, coordinator = Client(1), Coordinator()
    outcomes = iter([Result(durable=[flushed(commit(1, 1))]), Result(durable=(), outpaced=Unavailable("newer"))])

    def submitted(future: Future) -> None:
        future.outcome = next(outcomes, None) or ending(future)

    client.at_submit = submitted
    run(client, coordinator, 1)
    assert [each.task.open.attempt for each in client.submitted] == [1, 2, 3]
    assert coordinator.committed == [1]
    assert coordinator.counted == [1, 3]


def test_a_lost_worker_is_reported_and_its_slice_carried_again() -> None:
    client, coordinator = Client(1), Coordinator()

    def submitted(future: Future) -> None:
        future.outcome = OSError("gone") if len(client.submitted) == 1 else ending(future)

    client.at_submit = submitted
    run(client, coordinator, 1)
    assert coordinator.told == [WorkerLost("a worker of the Dask cluster", "was lost (OSError: gone)", 1)]
    assert (coordinator.given_up, coordinator.committed) == ([1], [1])


def test_an_error_of_a_store_ends_the_round_and_what_is_under_way() -> None:
    client, coordinator = Client(1), Coordinator()

    def submitted(future: Future) -> None:
        if len(client.submitted) == 2:
            future.outcome = Unavailable("away")

    client.at_submit = submitted
    with pytest.raises(Unavailable, match=r"^away$"):
        run(client, coordinator, 1, 2)
    assert coordinator.given_up == [1]
    assert [each.cancelled for each in client.submitted] == [True, False]


def test_a_round_that_is_asked_to_stop_gives_up_what_is_under_way() -> None:
    client, coordinator = Client(1), Coordinator()
    client.at_submit = lambda _: coordinator.stop.ask()
    with pytest.raises(Interrupted):
        run(client, coordinator, 1)
    assert coordinator.given_up == [1]


def test_without_workers_one_task_waits_until_that_lasts_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """As while a cluster starts."""
    now_s = 100.0
    monkeypatch.setattr(dask, "time", SimpleNamespace(monotonic=lambda: now_s))
    client = Client()
    found = cluster(client)
    assert (found.threads, found.slice_documents) == (0, 100_000)
    assert [found.room(under_way) for under_way in (0, 1, 2)] == [True, True, False]
    now_s += 300
    assert found.room(0)
    client.workers = {"a": 2, "b": 1}
    assert found.threads == 3
    assert [found.room(under_way) for under_way in (5, 6)] == [True, False]
    client.workers = {}
    now_s += 300
    assert found.room(0)
    now_s += 0.1
    told = "dask://here:8786: the Dask cluster has had no worker for 300 s; start some"
    with pytest.raises(Unavailable, match=f"^{re.escape(told)}$"):
        found.room(0)


def test_a_cluster_is_closed_with_its_client() -> None:
    client = Client(1)
    found = cluster(client)
    found.supply(cast(Any, Coordinator()), tasks=3)  # the writer needs no numbers
    found.close()
    assert client.closed


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    told = "Dask isn't installed; install openwhisk-activation-migrator[dask] here and on the workers"
    with pytest.raises(UsageError, match=f"^{re.escape(told)}$"):
        connect("dask://here:8786", cast(Any, None))


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, dict[str, Any]]] = []

    def client(address: str, **how: Any) -> Any:
        asked.append((address, how))
        raise OSError("refused")

    monkeypatch.setitem(sys.modules, "distributed", SimpleNamespace(Client=client))
    told = "dask://here:8786: no Dask scheduler answers; check the address, then run again"
    with pytest.raises(Unavailable, match=f"^{re.escape(told)}$"):
        connect("dask://here:8786", cast(Any, None))
    assert asked == [("tcp://here:8786", {"timeout": 30, "set_as_default": False, "name": "migrator"})]
