"""Slices carried by a Dask cluster in this process: what comes of tasks that are lost, outpaced or refused."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from migrator.activations.document import Form
from migrator.adapters.memory import memory_store
from migrator.api.backup import BackupReport, backup
from migrator.api.copy import copy
from migrator.api.verify import verify
from migrator.engine.carrying import OutpacedError
from migrator.engine.executors import assigning, dask
from migrator.engine.executors.values import Opener, Task
from migrator.errors import Unavailable, UsageError
from migrator.events import Event, WorkerLost
from migrator.testing.documents import activation
from tests.support.scripted import serve
from tests.support.scripted_couchdb import DATABASE, ScriptedCouchDB

pytestmark = pytest.mark.skipif(find_spec("distributed") is None, reason="the extra dask isn't installed")

Carry = Callable[[], dask.Result]
Instead = Callable[[Carry, Task], "dask.Result | None"]


class Cluster:
    """A scheduler and two workers."""

    def __init__(self, cluster: Any) -> None:
        self.address = str(cluster.scheduler_address).replace("tcp://", "dask://")


@pytest.fixture(scope="module")
def running() -> Iterator[Any]:
    import distributed

    local: Any = distributed  # half of it has no types
    with local.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=False,
        protocol="tcp",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        silence_logs=50,
    ) as cluster:
        yield cluster


@pytest.fixture
def cluster(running: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setattr(dask.Cluster, "slice_documents", 50)
    yield Cluster(running)
    while dask._opened:
        _, (context, _) = dask._opened.popitem()
        context.__exit__(None, None, None)


@pytest.fixture
def archive(tmp_path: Path) -> str:
    """An archive of several parts, each of which is a slice."""
    store = memory_store("for-dask", Form.COUCHDB)
    for number in range(300):
        store.put(activation(number).id, activation(number, logs=[f"{number * 7919:x}" * 200]).body)
    backup("memory:for-dask", f"archive:{tmp_path}/a", part_bytes=65_536, jobs=1, state=tmp_path / "state")
    store.clear()
    return f"archive:{tmp_path}/a"


class Another:
    """A backup of an archive into another one, by a cluster."""

    def __init__(self, archive: str, cluster: Cluster, folder: Path) -> None:
        self.archive = archive
        self.address = cluster.address
        self.folder = folder
        self.events: list[Event] = []

    def backup(self) -> BackupReport:
        return backup(
            self.archive,
            f"archive:{self.folder}/b",
            executor=self.address,
            part_bytes=65_536,
            state=self.folder / "state",
            tell=self.events.append,
        )

    def check(self, made: BackupReport) -> None:
        """Every document is in it once, and no part that it doesn't name."""
        assert made.backup is not None
        assert made.report.totals.written == 300
        there = {path.name for path in (self.folder / "b").rglob("part-*")}
        assert there == {part.name for part in made.backup.parts}
        assert verify(self.archive, f"archive:{self.folder}/b", state=self.folder / "state").agrees

    @property
    def lost(self) -> list[str]:
        return [event.reason for event in self.events if isinstance(event, WorkerLost)]


@pytest.fixture
def another(archive: str, cluster: Cluster, tmp_path: Path) -> Another:
    return Another(archive, cluster, tmp_path)


_carry = dask.carry
_instead: list[Instead] = []


def carry_or(opener: Opener, task: Task, numbers: str | None) -> dask.Result:
    """What workers do; a task finds it by its name."""
    given = _instead[-1](partial(_carry, opener, task, numbers), task)
    return _carry(opener, task, numbers) if given is None else given


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Instead], None]]:
    """Put something in the place of what workers do; where it gives None they do what they always do."""
    monkeypatch.setattr(dask, "carry", carry_or)
    yield _instead.append
    _instead.clear()


Put = Callable[[Instead], None]


def test_a_cluster_backs_up_with_every_part_once(another: Another) -> None:
    another.check(another.backup())
    assert another.lost == []


def test_a_slice_that_fills_more_parts_than_it_has_numbers_is_handed_back(
    another: Another, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another task goes on behind what is committed."""
    monkeypatch.setattr(dask, "_NUMBERS", 2)
    another.check(another.backup())


def test_a_task_that_is_lost_is_carried_again(another: Another, tasks: Put) -> None:
    """Whatever Dask says of it; the operator learns of it."""
    begun: list[int] = []

    def lose(_: Carry, task: Task) -> None:
        begun.append(task.open.number)
        if begun.count(task.open.number) == 1 and len(set(begun)) <= 2:
            raise RuntimeError("the worker is gone")

    tasks(lose)
    another.check(another.backup())
    assert another.lost
    assert all("RuntimeError: the worker is gone" in reason for reason in another.lost)


def test_a_slice_whose_tasks_are_always_lost_ends_the_run_and_the_next_completes_it(
    another: Another, tasks: Put
) -> None:
    def lose(*_: object) -> None:
        raise RuntimeError("the worker is gone")

    tasks(lose)
    with pytest.raises(Unavailable, match=f"{assigning.MOST_LOSSES} workers were lost while they carried it"):
        another.backup()
    tasks(lambda *_: None)
    another.check(another.backup())


def test_a_task_that_was_outpaced_is_carried_again(another: Another, tasks: Put) -> None:
    begun: list[int] = []

    def outpace(_: Carry, task: Task) -> dask.Result | None:
        begun.append(task.open.number)
        if begun.count(task.open.number) > 1:
            return None
        return dask.Result(durable=[], outpaced=OutpacedError("stored by something else"))

    tasks(outpace)
    another.check(another.backup())
    assert all(begun.count(number) == 2 for number in set(begun))


def test_what_a_task_refuses_ends_the_run(another: Another, tasks: Put) -> None:
    """As the error that it is, and not as a lost worker."""

    def refuse(*_: object) -> None:
        raise UsageError("this worker has other settings")

    tasks(refuse)
    with pytest.raises(UsageError, match="other settings"):
        another.backup()
    assert another.lost == []


def test_what_an_older_attempt_made_durable_counts_for_nothing(another: Another, tasks: Put) -> None:
    """A worker that was given up comes back while another carries the slice, and what it wrote isn't in the archive."""
    late: dict[int, dask.Result] = {}

    def come_back(carry: Carry, task: Task) -> dask.Result | None:
        if task.open.number not in late:
            late[task.open.number] = carry()
            raise RuntimeError("no answer from the worker")
        return None

    tasks(come_back)
    another.check(another.backup())
    assert late


def test_a_cluster_copies_into_a_server(archive: str, cluster: Cluster, tmp_path: Path) -> None:
    """Whose writer needs no numbers: its workers keep their stores open from task to task."""
    couchdb = ScriptedCouchDB()
    with serve(couchdb) as server:
        target = f"couchdb://127.0.0.1:{server.port}/{DATABASE}"
        report = copy(archive, target, executor=cluster.address, state=tmp_path / "copied")
        assert report.totals.written == 300
        assert len(couchdb.documents) == 300
        again = copy(archive, target, executor=cluster.address, state=tmp_path / "again")
        assert again.totals.present == 300


def test_a_cluster_without_workers_is_waited_for_and_given_up(
    another: Another, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask, "_ALONE_S", 0.3)
    monkeypatch.setattr(dask.Cluster, "threads", 0)
    monkeypatch.setattr(dask, "_WINDOW", 0)  # those that there are get nothing
    with pytest.raises(Unavailable, match="the Dask cluster has had no worker for 0 s; start some"):
        another.backup()


def test_a_scheduler_that_does_not_answer_is_named(
    archive: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask, "_CONNECT_S", 1)
    with pytest.raises(Unavailable, match=r"dask://127\.0\.0\.1:1: no Dask scheduler answers"):
        backup(archive, f"archive:{tmp_path}/b", executor="dask://127.0.0.1:1", state=tmp_path / "state")


def test_what_has_to_be_installed_is_named(archive: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError, match=r"install openwhisk-activation-migrator\[dask\]"):
        backup(archive, f"archive:{tmp_path}/b", executor="dask://127.0.0.1:1", state=tmp_path / "state")
