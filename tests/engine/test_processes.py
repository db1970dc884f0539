"""Worker processes without any server: from one archive to another, with workers that are killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import cast

import pytest

from migrator.activations.document import Form
from migrator.adapters.memory import _stores, memory_store
from migrator.api.backup import backup
from migrator.api.verify import verify
from migrator.engine.executors import processes
from migrator.engine.executors.values import Opener
from migrator.errors import Unavailable
from migrator.events import Event, WorkerLost
from migrator.testing.documents import activation


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[str]:
    """An archive of several parts, each of which is a slice."""
    _stores.clear()
    store = memory_store("source", Form.COUCHDB)
    for number in range(600):
        store.put(activation(number).id, activation(number, logs=[f"{number * 7919:x}" * 200]).body)
    backup("memory:source", f"archive:{tmp_path}/a", part_bytes=65_536, jobs=1, state=tmp_path / "state")
    yield f"archive:{tmp_path}/a"
    _stores.clear()


def killer(ended: threading.Event, kills: int, after_s: float) -> None:
    """Kill workers some time after they came, so many of them."""
    killed: set[int] = set()
    while len(killed) < kills and not ended.wait(0.05):
        for each in multiprocessing.active_children():
            if each.pid is not None and each.pid not in killed and len(killed) < kills:
                killed.add(each.pid)
                time.sleep(after_s)
                with suppress(ProcessLookupError):
                    os.kill(each.pid, signal.SIGKILL)


def test_a_backup_whose_workers_are_killed_is_whole(archive: str, tmp_path: Path) -> None:
    """Two workers die; all documents are in the new archive once, and no process is left."""
    events: list[Event] = []
    ended = threading.Event()
    villain = threading.Thread(target=killer, args=(ended, 2, 1.0))
    villain.start()
    made = backup(
        archive,
        f"archive:{tmp_path}/b",
        executor="processes",
        jobs=2,
        max_rate=200,  # three seconds of work, so that they are in the middle of it
        part_bytes=65_536,
        state=tmp_path / "state",
        tell=events.append,
    )
    ended.set()
    villain.join()
    assert made.backup is not None
    assert made.report.totals.written == 600
    assert any(isinstance(event, WorkerLost) for event in events)
    there = {path.name for path in (tmp_path / "b").rglob("part-*")}
    assert there == {part.name for part in made.backup.parts}
    assert verify(archive, f"archive:{tmp_path}/b", state=tmp_path / "state").agrees
    assert not multiprocessing.active_children()


def test_workers_that_always_die_end_the_run_and_the_next_one_completes_it(archive: str, tmp_path: Path) -> None:
    """The operator learns where to look; in threads the same job then goes on, with numbers that nobody had."""
    ended = threading.Event()
    villain = threading.Thread(target=killer, args=(ended, 1000, 0.0))
    villain.start()
    with pytest.raises(Unavailable, match="workers were lost while they carried it"):
        backup(
            archive,
            f"archive:{tmp_path}/b",
            executor="processes",
            jobs=1,
            part_bytes=65_536,
            state=tmp_path / "state",
        )
    ended.set()
    villain.join()
    assert not multiprocessing.active_children()
    made = backup(archive, f"archive:{tmp_path}/b", part_bytes=65_536, state=tmp_path / "state")
    assert made.report.totals.written == 600
    assert verify(archive, f"archive:{tmp_path}/b", state=tmp_path / "state").agrees


@pytest.mark.slow
def test_a_worker_that_was_stopped_is_killed_at_the_end() -> None:
    """It has nothing to do and doesn't end when it is asked to."""
    worker = processes._Process(cast(Opener, None))
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGSTOP)
    worker.close()
    assert not multiprocessing.active_children()


def test_a_silent_worker_is_killed_and_replaced(archive: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped, it neither dies nor works; nobody waits for it for ever."""
    monkeypatch.setattr(processes, "SILENCE_S", 10.0)
    events: list[Event] = []

    def stopper() -> None:
        while not multiprocessing.active_children():
            time.sleep(0.05)
        pid = multiprocessing.active_children()[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)

    villain = threading.Thread(target=stopper)
    villain.start()
    made = backup(
        archive, f"archive:{tmp_path}/b", executor="processes", jobs=1, state=tmp_path / "state", tell=events.append
    )
    villain.join()
    assert made.report.totals.written == 600
    assert any("said nothing" in event.reason for event in events if isinstance(event, WorkerLost))
