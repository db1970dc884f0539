"""A copy between real servers is slowed down, paused and let go while it runs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from migrator.demo import samples
from migrator.engine.state.jobs import list_jobs
from tests.conftest import fresh_database
from tests.support.servers import couchdb_url, request

DOCUMENTS = 6_000
SLOW = "100/s"  # a minute for all of them


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "migrator", *words], capture_output=True, text=True, timeout=60)


def wait_for(what: Callable[[], Any], *, seconds: float = 30) -> Any:
    until_s = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < until_s, "it didn't come to pass"
        time.sleep(0.1)
    return found


class Copying:
    """A copy that goes on."""

    def __init__(self, source: str, target: str, state: Path, *words: str) -> None:
        self._target, self._state = target, state
        given = ["copy", source, target, "--state", str(state), "--log-format", "json", *words]
        quiet: Any = subprocess.PIPE
        self.process = subprocess.Popen(
            [sys.executable, "-m", "migrator", *given], stdout=quiet, stderr=quiet, text=True
        )
        self.job = wait_for(lambda: [job.id for job in list_jobs(state) if job.running])[0]

    @property
    def stored(self) -> int:
        return int(request("GET", couchdb_url(self._target))["doc_count"])

    def control(self, *words: str) -> Any:
        ended = command("control", self.job, *words, "--state", str(self._state), "--json")
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    def wait_until_still(self) -> int:
        """Wait until nothing more is stored for three seconds."""
        known, since_s = -1, time.monotonic()
        while time.monotonic() - since_s < 3:
            if (now := self.stored) != known:
                known, since_s = now, time.monotonic()
            time.sleep(0.2)
        return known


@pytest.fixture
def stores(couchdb_address: str, couchdb_database: str) -> Iterator[tuple[str, str]]:
    """A source with documents, and an empty target."""
    docs = [json.loads(body) for body in samples.everyday(DOCUMENTS)]
    for first in range(0, DOCUMENTS, 1_000):
        request("POST", f"{couchdb_url(couchdb_database)}/_bulk_docs", {"docs": docs[first : first + 1_000]})
    with fresh_database(couchdb_address) as target:
        yield couchdb_database, target


@contextmanager
def copying(stores: tuple[str, str], state: Path, *words: str) -> Iterator[Copying]:
    running = Copying(*stores, state, *words)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.communicate()


def test_a_copy_takes_another_rate_and_a_pause_while_it_runs(stores: tuple[str, str], tmp_path: Path) -> None:
    """Nothing is read in a pause or at a rate of next to nothing; in the end nothing is missing."""
    with copying(stores, tmp_path, "--max-rate", SLOW) as running:
        wait_for(lambda: running.stored)
        assert running.control("--max-rate", "1/s")["taken"]
        assert 0 < running.wait_until_still() < DOCUMENTS
        assert running.control("--pause", "--max-rate", "off")["taken"]
        before = running.wait_until_still()
        assert before < DOCUMENTS
        shown = json.loads(command("status", running.job, "--state", str(tmp_path), "--json").stdout)
        assert "paused" in json.dumps(shown)
        assert running.process.poll() is None
        assert running.control("--resume")["taken"]
        _, told = running.process.communicate(timeout=60)
        assert running.process.returncode == 0, told
        assert running.stored == DOCUMENTS
    asked = [event for line in told.splitlines() if (event := json.loads(line)).get("event") == "controlled"]
    assert [(each["max_rate"], each["paused"]) for each in asked] == [
        ("1 document/s", False),
        ("no limit", True),
        ("no limit", False),
    ]


def test_a_copy_by_processes_is_refused_to_be_controlled(stores: tuple[str, str], tmp_path: Path) -> None:
    """It says so at once, and goes on as it was."""
    with copying(stores, tmp_path, "--max-rate", SLOW, "--executor", "processes") as running:
        wait_for(lambda: running.stored)
        ended = command("control", running.job, "--pause", "--state", str(tmp_path))
        assert ended.returncode == 2
        assert "--executor processes: only threads can be controlled" in ended.stderr
        assert running.process.poll() is None
        assert not list((tmp_path / "jobs" / running.job).glob("control*"))
