"""Slices carried by other processes and by a Dask cluster: whoever is killed or stopped, nothing is lost or twice."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from migrator.activations.document import Document, Form, read_document
from migrator.api.backup import backup
from migrator.api.copy import copy
from migrator.api.verify import verify
from migrator.demo import samples
from migrator.demo.servers import Server
from migrator.engine.executors import processes
from migrator.errors import UsageError
from migrator.events import Event, WorkerLost
from migrator.operations.archive.check import check_archive
from tests.support.dask_cluster import DaskCluster
from tests.support.s3 import S3Server, s3_server
from tests.support.servers import couchdb_url, request
from tests.support.stores import elasticsearch_location, fill_elasticsearch

DOCUMENTS = 9_000
RATE = 1_500.0  # documents a second, so that there is time to kill somebody

Villain = Callable[[], AbstractContextManager[list[Event]]]


def everyday(count: int) -> list[Document]:
    found = [read_document(json.loads(body)["_id"], body, Form.COUCHDB) for body in samples.everyday(count)]
    return [each for each in found if isinstance(each, Document)]


def without_password(location: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A location as workers can open it: its password is in the environment."""
    parts = urlsplit(location)
    if not parts.password:
        return location
    monkeypatch.setenv("MIGRATOR_SOURCE_PASSWORD", parts.password)
    return location.replace(f":{parts.password}@", "@", 1)


@pytest.fixture
def source(couchdb_database: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database with everyday activations."""
    rows = [json.loads(document.body) for document in everyday(DOCUMENTS)]
    for at in range(0, len(rows), 1000):
        request("POST", f"{couchdb_url(couchdb_database)}/_bulk_docs", {"docs": rows[at : at + 1000]})
    return without_password(couchdb_database, monkeypatch)


def _worker_pids() -> list[int]:
    return [each.pid for each in multiprocessing.active_children() if each.pid]


def _kill_and_stop(ended: threading.Event) -> None:
    deadline_s = time.monotonic() + 60
    while len(_worker_pids()) < 2 and time.monotonic() < deadline_s:
        time.sleep(0.1)
    time.sleep(3)
    killed, stopped = _worker_pids()[:2]
    os.kill(killed, signal.SIGKILL)
    os.kill(stopped, signal.SIGSTOP)
    ended.wait(14)
    with suppress(ProcessLookupError):
        os.kill(stopped, signal.SIGCONT)


@pytest.fixture
def villain(monkeypatch: pytest.MonkeyPatch) -> Villain:
    """Inside its block one worker is killed, and another stopped until it is given up; the list takes the events."""
    monkeypatch.setattr(processes, "SILENCE_S", 8.0)

    @contextmanager
    def at_work() -> Iterator[list[Event]]:
        events: list[Event] = []
        ended = threading.Event()
        thread = threading.Thread(target=_kill_and_stop, args=(ended,))
        thread.start()
        try:
            yield events
        finally:
            ended.set()
            thread.join()
        assert lost(events) >= 2
        assert not multiprocessing.active_children()

    return at_work


def lost(events: list[Event]) -> int:
    return sum(isinstance(event, WorkerLost) for event in events)


@pytest.mark.parametrize("on_conflict", ["skip", "overwrite"])
def test_processes_that_are_killed_and_stopped_lose_nothing(
    source: str,
    elasticsearch_server: Server,
    index_prefix: str,
    tmp_path: Path,
    villain: Villain,
    on_conflict: str,
) -> None:
    """One worker is killed, another stopped until it is given up: all is there, and the accounts add up."""
    target = elasticsearch_location(elasticsearch_server, f"{index_prefix}%s")
    with villain() as events:
        report = copy(
            source,
            target,
            executor="processes",
            jobs=2,
            max_rate=RATE,
            on_conflict=on_conflict,
            state=tmp_path,
            tell=events.append,
        )
    totals = report.totals
    assert totals.adds_up
    assert totals.read == totals.written + totals.present == DOCUMENTS
    assert verify(source, target, state=tmp_path).agrees


def test_a_backup_by_processes_that_are_killed_has_every_part_once(
    source: str, tmp_path: Path, villain: Villain
) -> None:
    """Parts of lost workers are swept: the archive holds what the accounts say, and nothing besides."""
    archive = f"archive:{tmp_path}/archive"
    with villain() as events:
        made = backup(
            source,
            archive,
            executor="processes",
            jobs=2,
            max_rate=RATE,
            part_bytes=65_536,
            state=tmp_path / "state",
            tell=events.append,
        )
    assert made.backup is not None
    assert made.report.totals.written == DOCUMENTS
    listed = {part.name for part in made.backup.parts}
    there = {path.name for path in (tmp_path / "archive").rglob("part-*")}
    assert there == listed
    assert check_archive(archive).exit_code == 0
    assert verify(source, archive, state=tmp_path / "state").agrees


def test_what_only_this_process_can_open_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="only this process can open it"):
        copy("memory:a", "memory:b", executor="processes", state=tmp_path)
    with pytest.raises(UsageError, match="give threads, processes or dask"):
        copy("memory:a", "memory:b", executor="cluster", state=tmp_path)


def test_a_password_in_a_location_is_refused_since_it_would_have_to_travel(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no secret is sent"):
        copy("couchdb://u:pa55word@127.0.0.1:1/a", "couchdb://127.0.0.1:1/b", executor="processes", state=tmp_path)


# -- Dask -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def dask_cluster(tmp_path: Path) -> Iterator[DaskCluster]:
    pytest.importorskip("distributed", reason="the extra dask isn't installed")
    cluster = DaskCluster(tmp_path / "dask")
    yield cluster
    cluster.close()


@contextmanager
def migrating(*words: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "migrator", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        yield process


def test_a_dask_cluster_whose_workers_are_killed_and_stopped_loses_nothing(
    source: str,
    elasticsearch_server: Server,
    index_prefix: str,
    dask_cluster: DaskCluster,
    tmp_path: Path,
) -> None:
    """One is killed, another stopped beyond the scheduler's patience and woken up again, under overwriting."""
    target = elasticsearch_location(elasticsearch_server, f"{index_prefix}%s")
    with migrating(
        *("copy", source, target, "--executor", f"dask://127.0.0.1:{dask_cluster.port}", "--jobs", "2"),
        *("--max-rate", str(RATE / 3), "--on-conflict", "overwrite", "--state", str(tmp_path / "state"), "--json"),
    ) as process:
        time.sleep(8)
        assert process.poll() is None, "it ended before anybody was killed"
        killed, stopped = dask_cluster.workers
        killed.kill()
        stopped.send_signal(signal.SIGSTOP)
        dask_cluster.replace()
        time.sleep(14)
        stopped.send_signal(signal.SIGCONT)
        printed, told = process.communicate(timeout=200)
    assert process.returncode == 0, told
    totals = json.loads(printed)["totals"]
    assert totals["read"] == totals["written"] + totals["present"] == DOCUMENTS
    assert verify(source, target, state=tmp_path).agrees


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A bucket, with its login in the environment of everything that is started."""
    with s3_server() as s3:
        s3.make_bucket("backups")
        for name, value in s3.environment.items():
            monkeypatch.setenv(name, value)
        yield s3


def test_a_dask_cluster_backs_up_elasticsearch_to_a_bucket_with_every_part_once(
    bucket: S3Server, elasticsearch_server: Server, index_prefix: str, dask_cluster: DaskCluster, tmp_path: Path
) -> None:
    """A worker is killed in the middle; what it wrote and nobody committed isn't in the archive."""
    fill_elasticsearch(elasticsearch_server, f"{index_prefix}%s", everyday(DOCUMENTS))
    source = elasticsearch_location(elasticsearch_server, f"{index_prefix}%s")
    archive = "s3://backups/openwhisk"
    with migrating(
        *("backup", source, archive, "--executor", f"dask://127.0.0.1:{dask_cluster.port}", "--jobs", "2"),
        *("--max-rate", str(RATE / 3), "--part-size", "64KiB", "--state", str(tmp_path / "state"), "--json"),
    ) as process:
        time.sleep(8)
        assert process.poll() is None, "it ended before anybody was killed"
        dask_cluster.workers[0].kill()
        printed, told = process.communicate(timeout=200)
    assert process.returncode == 0, told
    assert json.loads(printed)["totals"]["written"] == DOCUMENTS
    there = {key.rpartition("/")[2] for key in bucket.keys("backups") if "/part-" in key}
    assert there == {part["name"] for part in json.loads(printed)["backup"]["parts"]}
    assert check_archive(archive).exit_code == 0
    assert verify(source, archive, state=tmp_path).agrees
