"""Every exit code by a real run of the command line against real servers, and how signals end a run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from migrator.activations.document import Form
from migrator.demo.servers import Server
from migrator.testing.documents import activation, fields
from tests.commands.test_main import ROOT, run_process
from tests.support.places import CouchDBPlace, SearchPlace
from tests.support.scripted import Request, serve
from tests.support.scripted_couchdb import DATABASE, ScriptedCouchDB
from tests.support.servers import request

DOCUMENTS = 600
SLOW = ("--max-rate", "60")  # a copy that takes ten seconds


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "MIGRATOR_CONFIG": os.devnull}


class Ends:
    """A source with documents, a target, a state folder, and the command lines of a copy between them."""

    def __init__(self, source: CouchDBPlace, target: SearchPlace, folder: Path) -> None:
        self.source = source
        self.target = target
        self.state = folder / "state"

    def copy(self, *options: str) -> tuple[str, ...]:
        return ("copy", self.source.location, self.target.location, "--state", str(self.state), *options)

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        return run_process(*self.copy(*options), environ={"MIGRATOR_CONFIG": os.devnull})

    def _begun(self) -> bool:
        told = request("GET", f"{self.target.url}/{self.target.prefix}*/_stats/indexing")["_all"]["primaries"]
        return bool(told.get("indexing", {}).get("index_total"))

    def job(self) -> Mapping[str, object]:
        """What `migrator status` says of the one job."""
        told = run_process("status", "--json", "--state", str(self.state))
        (job,) = map(json.loads, told.stdout.splitlines())
        assert isinstance(job, dict)
        return job

    @contextmanager
    def running(self, *options: str) -> Iterator[subprocess.Popen[str]]:
        """A copy that goes on inside the block, from when its first page is in the target."""
        words = [sys.executable, "-m", "migrator", *self.copy(*options)]
        with subprocess.Popen(
            words, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                while not self._begun():
                    assert process.poll() is None, process.communicate()
                    time.sleep(0.1)
                yield process
            finally:
                process.kill()


@pytest.fixture
def ends(couchdb_database: str, elasticsearch_server: Server, index_prefix: str, tmp_path: Path) -> Ends:
    ends = Ends(CouchDBPlace(couchdb_database), SearchPlace(elasticsearch_server, index_prefix), tmp_path)
    documents = [activation(number) for number in range(DOCUMENTS)]
    ends.source.put({document.id: document.body for document in documents})
    return ends


def one_line(text: str) -> str:
    (line,) = text.splitlines()
    assert line.startswith("migrator: ")
    return line


def unconvertible(number: int) -> dict[str, bytes]:
    body = {"_id": f"guest/{number}", **fields(number, annotations="none")}
    return {f"guest/{number}": json.dumps(body).encode()}


# -- codes ------------------------------------------------------------------------------------------------------


def test_0_complete(ends: Ends) -> None:
    """With the report on stdout."""
    ended = ends.run()
    assert ended.returncode == 0
    assert "it adds up" in ended.stdout
    assert ends.target.count() == DOCUMENTS


def test_2_usage(ends: Ends) -> None:
    ended = ends.run("--since", "2026-02-30")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "2026-02-30" in one_line(ended.stderr)
    assert not ends.state.exists()


def test_3_some_were_rejected(ends: Ends) -> None:
    """And the report says how to look at them."""
    ends.source.put(unconvertible(9_000))
    ended = ends.run()
    assert ended.returncode == 3
    assert "1 rejected document, kept with its reason: migrator status " in ended.stdout
    assert ends.target.count() == DOCUMENTS


def test_3_some_differ(ends: Ends) -> None:
    """What was in the target before stays; the report says how to look at it."""
    other = activation(1, form=Form.ELASTICSEARCH, logs=["another"])
    ends.target.put({other.id: other.body})
    ended = ends.run("--json")
    assert ended.returncode == 3
    assert json.loads(ended.stdout)["totals"]["differing"] == 1
    assert b'"another"' in ends.target.contents()[other.id]


def test_5_unavailable_at_once(ends: Ends) -> None:
    """An address where nobody listens isn't waited for: it may be mistyped."""
    ended = run_process("copy", "couchdb://127.0.0.1:9/acts", ends.target.location, "--state", str(ends.state))
    assert ended.returncode == 5
    assert "is the server up" in one_line(ended.stderr)
    assert not ends.state.exists()


def test_6_login_refused(ends: Ends, secured_couchdb: Server) -> None:
    location = f"couchdb://operator@127.0.0.1:{secured_couchdb.port}/secured"
    words = ("copy", location, ends.target.location, "--state", str(ends.state))
    ended = run_process(*words, environ={"MIGRATOR_SOURCE_PASSWORD": "kanarienvogel"})
    assert ended.returncode == 6
    assert "401" in one_line(ended.stderr)
    assert not ends.state.exists()


def test_8_too_many_rejects(ends: Ends) -> None:
    """Resumable with a higher limit."""
    for number in range(5):
        ends.source.put(unconvertible(9_000 + number))
    ended = ends.run("--max-rejects", "3")
    assert (ended.returncode, ended.stdout) == (8, "")
    assert "--max-rejects 3" in ended.stderr.splitlines()[-1]
    assert ends.job()["state"] == "unfinished"
    assert ends.run().returncode == 3
    assert ends.job()["rejected"] == 5
    assert ends.target.count() == DOCUMENTS


def test_8_differing_where_that_shall_stop(ends: Ends) -> None:
    other = activation(1, form=Form.ELASTICSEARCH, logs=["another"])
    ends.target.put({other.id: other.body})
    ended = ends.run("--on-conflict", "fail")
    assert (ended.returncode, ended.stdout) == (8, "")
    assert "--on-conflict fail" in ended.stderr.splitlines()[-1]


@pytest.mark.parametrize("words", [("status", "abc"), ("retry-rejected", "abc")])
def test_10_no_such_job(words: tuple[str, ...], tmp_path: Path) -> None:
    ended = run_process(*words, "--state", str(tmp_path / "state"))
    assert (ended.returncode, ended.stdout) == (10, "")
    assert "there is no job 'abc'" in one_line(ended.stderr)
    assert not (tmp_path / "state").exists()


def test_10_no_such_source(ends: Ends) -> None:
    """A database that isn't there is reported with those that are named alike, and isn't created."""
    ended = run_process("copy", f"{ends.source.location}-x", ends.target.location, "--state", str(ends.state))
    assert ended.returncode == 10
    assert "there is no such database" in one_line(ended.stderr)
    assert not ends.state.exists()


def test_11_locked_by_another_run(ends: Ends) -> None:
    """Who holds the lock is reported, and that run isn't disturbed."""
    with ends.running(*SLOW) as process:
        ended = ends.run()
        assert (ended.returncode, ended.stdout) == (11, "")
        assert f"is being run by process {process.pid} on " in one_line(ended.stderr)
        assert ends.job()["state"] == "running"
        assert process.poll() is None


# -- signals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_ends_a_run_in_good_order(ends: Ends, number: signal.Signals, code: int) -> None:
    """Within 5 s, with what is in hand committed and how to go on told; the next run sends nothing twice."""
    with ends.running(*SLOW, "--jobs", "2") as process:
        process.send_signal(number)
        told, complaint = process.communicate(timeout=5)
        assert (process.returncode, told) == (code, "")
    assert complaint.splitlines()[-1] == "migrator: interrupted"
    (how,) = [line for line in complaint.splitlines() if "resume with: migrator copy " in line]
    assert str(ends.state) in how
    job = ends.job()
    assert job["state"] == "unfinished"
    there = ends.target.count()
    assert 0 < there < DOCUMENTS
    ended = ends.run("--json")
    report = json.loads(ended.stdout)
    assert (ended.returncode, report["run"], report["totals"]["present"]) == (0, 2, 0)
    assert report["totals"]["written"] == ends.target.count() == DOCUMENTS


def test_second_signal_ends_a_run_at_once(ends: Ends) -> None:
    """That is safe too: the next run completes the copy."""
    with ends.running(*SLOW, "--jobs", "1") as process:
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=5)
        assert process.returncode in (130, 143)
    ended = ends.run("--json")
    totals = json.loads(ended.stdout)["totals"]
    assert (ended.returncode, totals["written"] + totals["present"]) == (0, DOCUMENTS)
    assert ends.target.count() == DOCUMENTS


def test_signal_while_a_server_is_silent(tmp_path: Path) -> None:
    """A page that doesn't come isn't waited for: the run ends within 5 s and tells how to go on all the same."""
    couchdb = ScriptedCouchDB()
    asked, silent = threading.Event(), threading.Event()

    def script(request: Request) -> bytes:
        if "include_docs" not in request.query:
            return couchdb(request)
        asked.set()
        silent.wait(60)
        return b""

    with serve(script) as source, serve(ScriptedCouchDB()) as target:
        locations = [f"couchdb://127.0.0.1:{served.port}/{DATABASE}" for served in (source, target)]
        words = [sys.executable, "-m", "migrator", "copy", *locations, "--state", str(tmp_path / "state")]
        with subprocess.Popen(words, env=environment(), stderr=subprocess.PIPE, text=True) as process:
            try:
                assert asked.wait(60)
                process.send_signal(signal.SIGTERM)
                _, complaint = process.communicate(timeout=5)
            finally:
                process.kill()
                silent.set()
    assert process.returncode == 143
    assert "run the same command to resume" in complaint
