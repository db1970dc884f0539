"""What `migrator status JOB` shows of a job, and says of what comes next."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from migrator.activations import forms
from migrator.activations.accounts import Counts
from migrator.activations.document import Document, Form
from migrator.activations.requests import JobRequest
from migrator.activations.selection import SelectionSpec
from migrator.adapters.memory import MemoryStore, _stores, memory_store
from migrator.api.backup import backup
from migrator.api.copy import copy
from migrator.api.verify import verify
from migrator.commands.main import migrator
from migrator.engine.state.jobs import lock_folder
from migrator.engine.state.live import Watched
from migrator.errors import Interrupted, Unavailable
from migrator.events import Event, Retrying
from migrator.events.watching import Progress, Stop
from migrator.rendering.verification import render_verification
from migrator.testing.documents import activation


class World:
    """A source in memory in which some documents can't come over, or not as a whole."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.source: MemoryStore = memory_store("source")
        memory_store("target", Form.ELASTICSEARCH)
        for number in range(30):
            changes: dict[str, Any] = {"_attachments": {"a.txt": {"stub": True}}} if number < 5 else {}
            document = activation(number, **changes)
            self.source.put(document.id, document.body)

    def copy(self) -> str:
        """The id of the job."""
        return copy("memory:source", "memory:target", state=self.state).job

    def status(self, *words: str) -> Result:
        return CliRunner().invoke(migrator, ["status", *words, "--state", str(self.state)])


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    _stores.clear()
    yield World(tmp_path)
    _stores.clear()


def shown(result: Result) -> list[tuple[str, str]]:
    """The lines of a status by their names."""
    assert result.exit_code == 0, result.output
    return [(name, rest.strip()) for name, _, rest in (line.partition("  ") for line in result.output.splitlines())]


def test_what_was_left_behind_is_shown_with_ids(world: World) -> None:
    """An operator who lost attachments wants to know whose they were."""
    job = world.copy()
    (remark,) = [text for name, text in shown(world.status(job)) if name == "remark"]
    told, _, ids = remark.partition(", such as ")
    assert told == "5 × has attachments, which were not copied"
    with_attachments = {activation(number).id for number in range(5)}
    assert len(ids.split(", ")) == 3
    assert set(ids.split(", ")) <= with_attachments
    assert set(json.loads(world.status(job, "--json").output)["remark_examples"]["attachments"]) == with_attachments


def test_a_complete_job_says_what_is_in_the_target(world: World) -> None:
    """What was overwritten during the last round comes with the next run only, and the line says so."""
    lines = dict(shown(world.status(world.copy())))
    assert lines["state"] == "complete"
    assert lines["as of"].startswith("everything stored before 20")
    assert lines["as of"].endswith(" UTC and not changed since")
    assert lines["next"].startswith("nothing; to copy what is new since: migrator copy memory:source")


def test_rejected_documents_come_with_their_reason_and_what_to_do(world: World) -> None:
    """The list of jobs, the status of the job and the export agree."""
    world.source.put("guest/odd", b'{"_id":"guest/odd","activationId":"odd","namespace":"guest","name":"x"}')
    job = world.copy()
    lines = shown(world.status(job))
    assert ("rejected", "1") in lines
    (reason,) = [text for name, text in lines if name == "reason"]
    assert reason.startswith("1 × start is missing")
    assert lines[-2] == ("next", f"list the rejected documents: migrator status {job} --rejected --state {world.state}")
    assert lines[-1] == ("", f"      fix the cause, then: migrator retry-rejected {job} --state {world.state}".strip())
    assert "rejected 1\n" in world.status().output
    (exported,) = map(json.loads, world.status(job, "--rejected").output.splitlines())
    assert (exported["id"], exported["document"]["name"]) == ("guest/odd", "x")


def test_a_job_that_cannot_be_looked_at_hides_no_other(world: World) -> None:
    """The others are listed all the same; the exit code tells that one is missing."""
    job = world.copy()
    for damaged in ("000000000000", "ffffffffffff"):
        folder = world.state / "jobs" / damaged
        folder.mkdir()
        (folder / "job.sqlite").write_bytes(b"x" * 5000)
    listed = world.status()
    assert job in listed.output
    assert listed.output.count("is damaged and was not used: file is not a database. Start over with") == 2
    assert listed.exit_code == 12


def test_jobs_are_listed_newest_first_and_each_tells_what_to_do(world: World, tmp_path: Path) -> None:
    first = world.copy()
    second = copy("memory:source", "memory:target", wanted=SelectionSpec(namespaces=("guest",)), state=world.state).job
    lines = world.status().output.splitlines()
    assert [line.split()[0] for line in lines if line.startswith((first, second))] == [second, first]
    assert "[namespaces guest]" in world.status().output
    assert "['" not in world.status().output + world.status(second).output


def stopped(world: World, **answers: Any) -> str:
    """The id of a job whose target goes away for good in the middle."""
    stop = Stop()

    def observe(progress: Progress) -> None:
        if progress.run_read:
            stop.ask(143)

    with pytest.raises(Interrupted):
        copy("memory:source", "memory:target", state=world.state, stop=stop, observe=observe)
    (job,) = [each["job"] for each in map(json.loads, world.status("--json").output.splitlines())]
    return str(job)


def test_a_job_that_was_interrupted_tells_how_to_resume_it(world: World) -> None:
    job = stopped(world)
    status = json.loads(world.status(job, "--json").output)
    assert (status["state"], status["kind"], status["verb"]) == ("unfinished", "job", "copy")
    assert status["steps"] == [{"text": "resume with", "command": status["next"].partition(": ")[2]}]
    assert f"{job}  copy  unfinished" in world.status().output


def test_a_running_job_tells_rate_time_left_and_what_it_waits_for(world: World) -> None:
    """Seen from another process, of the file that the run keeps up to date, while it holds the lock."""
    job = world.copy()
    request = JobRequest(verb="copy", source="memory:source", target="memory:target")
    told = list[Event]()
    watched = Watched(lambda _: None, told.append)
    folder, lock = lock_folder(world.state, "job", job)
    progress = Progress()
    progress.phase, progress.documents, progress.counts = "copying", 400, Counts(read=100, written=100)
    with watched.noted(folder, "job", job, request):
        watched._written_s = 0
        watched.observe(progress)
        watched.tell(Retrying(reason="memory:target: connection refused", pause_s=5.0))
        watched.tell(Retrying(reason="memory:target: connection refused", pause_s=9.0))
        status = json.loads(world.status(job, "--json").output)
        assert status["state"] == "running"
        assert status["documents"] == 400
        assert status["waiting"] == status["last_error"] == "memory:target: connection refused"
        listed = world.status().output
        assert "waiting  memory:target: connection refused, for 0." in listed
        assert "next     wait for it" in listed
    os.close(lock)
    assert [each.repeated for each in told if isinstance(each, Retrying)] == [False, True]
    assert json.loads(world.status(job, "--json").output)["waiting"] == ""


def test_poorer_documents_are_never_advised_to_replace_richer_ones(tmp_path: Path) -> None:
    """The way back: what differs in CouchDB holds more than Elasticsearch's form can."""
    _stores.clear()
    source = memory_store("back-source", Form.ELASTICSEARCH)
    target = memory_store("back-target", Form.COUCHDB)
    for number in range(20):
        rich = activation(number)
        poor = forms.convert(activation(number, duration=number + 1), Form.ELASTICSEARCH)
        assert isinstance(poor, Document)
        target.put(rich.id, rich.body)
        source.put(poor.id, poor.body)
    report = copy("memory:back-source", "memory:back-target", state=tmp_path)
    assert report.differing == 20
    told = CliRunner().invoke(migrator, ["status", report.job, "--state", str(tmp_path)]).output
    told += CliRunner().invoke(migrator, ["status", "--state", str(tmp_path)]).output
    assert "overwrite" not in told
    assert "replacing that would lose it" in told
    assert f"migrator status {report.job} --differing" in told
    verified = verify("memory:back-source", "memory:back-target", state=tmp_path)
    assert verified.totals.different == 20
    assert "overwrite" not in render_verification(verified)
    _stores.clear()


def test_a_complete_backup_goes_on_incrementally(tmp_path: Path) -> None:
    """Whatever mode this one was made in."""
    file = Path(__file__).parents[2] / "samples/activations-couchdb.ndjson"
    job = backup(str(file), f"archive:{tmp_path}/b", mode="full", state=tmp_path / "state").report.job
    told = CliRunner().invoke(migrator, ["status", job, "--state", str(tmp_path / "state")]).output
    assert "nothing; to back up what is new since: migrator backup" in told
    assert "--mode" not in told


def test_a_forgotten_job_is_listed_no_more_and_starts_over(world: World) -> None:
    job = world.copy()
    forgot = CliRunner().invoke(migrator, ["forget", job[:6], "--state", str(world.state)])
    assert (forgot.exit_code, forgot.output) == (0, f"forgot {job}\n")
    assert "no jobs in" in world.status().output
    assert copy("memory:source", "memory:target", state=world.state).run == 1


def test_a_job_with_rejected_documents_is_forgotten_only_with_discard(world: World) -> None:
    """They are kept nowhere else."""
    world.source.put("guest/odd", b'{"_id":"guest/odd","activationId":"odd","namespace":"guest","name":"x"}')
    job = world.copy()
    refused = CliRunner().invoke(migrator, ["forget", job, "--state", str(world.state)])
    assert refused.exit_code == 2
    assert "keeps 1 rejected document" in refused.output
    assert "--discard" in refused.output
    assert job in world.status().output
    assert CliRunner().invoke(migrator, ["forget", job, "--discard", "--state", str(world.state)]).exit_code == 0


def test_a_running_job_is_not_forgotten(world: World) -> None:
    job = world.copy()
    _, lock = lock_folder(world.state, "job", job)
    assert CliRunner().invoke(migrator, ["forget", job, "--state", str(world.state)]).exit_code == 11
    os.close(lock)
    assert job in world.status().output


def test_a_verification_is_listed_until_it_is_complete(world: World) -> None:
    """While it runs with its percent, then with the command that resumes it; it can be forgotten."""
    request = JobRequest(verb="verify", source="memory:source", target="memory:target")
    watched = Watched(lambda _: None, lambda _: None)
    folder, lock = lock_folder(world.state, "verification", "abcdef012345")
    progress = Progress()
    progress.phase, progress.documents, progress.counts = "comparing", 60, Counts(read=15, filtered=15)
    with (
        pytest.raises(Unavailable),
        watched.noted(folder, "verification", "abcdef012345", request),
    ):
        watched._written_s = 0
        watched.observe(progress)
        listed = world.status().output
        assert "abcdef012345  verify  running, 25 %, comparing\n" in listed
        assert "  read 15 of 60 documents on both sides\n" in listed
        raise Unavailable("memory:source: no answer")
    os.close(lock)
    status = json.loads(world.status("abcdef", "--json").output)
    assert (status["kind"], status["state"], status["last_error"]) == (
        "verification",
        "unfinished",
        "memory:source: no answer",
    )
    assert status["next"] == "resume with: migrator verify memory:source memory:target"
    forgot = CliRunner().invoke(migrator, ["forget", "abcdef", "--state", str(world.state)])
    assert forgot.exit_code == 0
    assert "abcdef" not in world.status().output


def test_watching_looks_again_until_it_is_interrupted(world: World) -> None:
    """In a pipe each look is printed below the last."""
    job = world.copy()
    words = [sys.executable, "-m", "migrator", "status", "--watch", "--every", "0.2", "--state", str(world.state)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        looks = 0
        for line in process.stdout:
            looks += line.startswith(job)
            if looks == 3:
                process.send_signal(signal.SIGINT)
                break
        process.communicate(timeout=30)
    assert looks == 3
    assert process.returncode == 130
