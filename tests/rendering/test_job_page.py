"""`migrator report`: the page of a job, after real runs over stores in memory."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from migrator.activations.accounts import Counts
from migrator.activations.document import Form
from migrator.activations.requests import JobRequest
from migrator.activations.selection import Selection
from migrator.adapters.base import Description, Plan, Slice
from migrator.adapters.memory import memory_store
from migrator.commands.main import migrator
from migrator.engine.state.checkpoint import Checkpoint, Commit, JobSpec
from migrator.engine.state.jobs import find_job, open_job
from migrator.rendering.job_page import job_page, look_at
from migrator.testing.documents import activation_id, fields
from tests.support.pages import assert_stands_alone
from tests.support.worlds import as_of_the_release_before

SPEC = JobSpec(
    id="0123456789ab",
    source_identity="a",
    target_identity="b",
    request=JobRequest(verb="copy", source="memory:a", target="memory:b"),
)


def run(*words: str) -> Result:
    return CliRunner().invoke(migrator, words, env={"MIGRATOR_CONFIG": os.devnull})


class Job:
    """A copy between two stores in memory."""

    def __init__(self, state: Path) -> None:
        name = uuid.uuid4().hex
        memory_store(f"{name}-b", Form.ELASTICSEARCH)
        self.source, self.target, self.state = f"memory:{name}-a", f"memory:{name}-b", state

    def put(self, number: int, namespace: str = "guest", **changes: Any) -> None:
        body = msgspec.json.encode(fields(number, namespace, **changes))
        memory_store(self.source.partition(":")[2]).put(f"{namespace}/{activation_id(number)}", body)

    def run(self, command: str, exit_code: int = 0) -> None:
        result = run(command, self.source, self.target, "--state", str(self.state), "--quiet")
        assert result.exit_code == exit_code, result.output

    def page(self) -> str:
        result = run("report", "", "--output", "-", "--state", str(self.state))
        assert result.exit_code == 10, "an empty id is no job"
        (folder,) = (self.state / "jobs").iterdir()
        result = run("report", folder.name[:6], "--output", "-", "--state", str(self.state))
        assert result.exit_code == 0, result.output
        return assert_stands_alone(result.stdout)


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    found = Job(tmp_path)
    yield found
    memory_store(found.source.partition(":")[2]).clear()
    memory_store(found.target.partition(":")[2]).clear()


def test_the_page_tells_a_complete_job_with_counts_that_add_up(job: Job) -> None:
    for number in range(30):
        job.put(number, "guest" if number % 3 else "team-a")
    job.run("copy")
    text = job.page()
    assert "Complete: everything that was selected is in the target." in text
    assert "read 30 = written 30 + present 0 + differing 0 + rejected 0 + filtered 0: it adds up" in text
    assert "guest 20 20 0 0 0 0" in text
    assert "team-a 10 10 0 0 0 0" in text
    assert "Not verified" in text
    assert f"migrator verify {job.source} {job.target} --state {job.state}" in text
    assert "what all activations" in text


def test_rejects_are_told_by_their_reason(job: Job) -> None:
    """Two reasons with their numbers; the verdict no longer says that everything is there."""
    job.put(1)
    job.put(2, start="soon")
    job.put(3, start="later")
    job.put(4, annotations=5)
    job.run("copy", 3)
    text = job.page()
    assert "Complete, but not everything is in the target" in text
    assert "Rejected, by reason" in text
    assert "annotations are not an array of keys and values" in text
    assert "what all activations" in text
    assert "start is text, but not an ISO instant 2" in text


def test_a_verification_is_reported_with_what_it_found(job: Job) -> None:
    """First that both agree, then, after another run and a change in the target, that they differ."""
    for number in range(12):
        job.put(number)
    job.run("copy")
    job.run("verify")
    text = job.page()
    assert "the same activations are in both" in text
    assert "activations 12 12 0 0 0 0" in text
    assert "Not verified" not in text
    job.put(50)
    job.run("verify", 4)
    assert "THEY DIFFER" in job.page()


def test_an_older_verification_is_marked_once_the_job_ran_again(job: Job) -> None:
    job.put(1)
    job.run("copy")
    job.run("verify")
    job.put(2)
    job.run("copy")
    assert "The job has run again since." in job.page()


def test_a_page_is_written_beside_nothing_else(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default JOB.html in this folder, whose name is printed; a folder that isn't there is a mistake."""
    job.put(1)
    job.run("copy")
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (name,) = (each.name for each in (job.state / "jobs").iterdir())
    result = run("report", name, "--state", str(job.state))
    assert result.stdout == f"{name}.html\n"
    assert [each.name for each in folder.iterdir()] == [f"{name}.html"]
    assert run("report", name, "--output", "not/there.html", "--state", str(job.state)).exit_code == 2


def test_minutes_are_drawn_and_unfinished_jobs_say_so(tmp_path: Path) -> None:
    """Commits of three minutes and a pause of an hour are three columns and a gap; a killed run isn't given a time."""
    now = [1_000_020.0]
    opened = open_job(tmp_path, SPEC)
    opened.close()
    checkpoint = Checkpoint(opened.folder / "job.sqlite", clock=lambda: now[0])
    about = Description(location="memory:<x>", product="memory", version="1")
    number = checkpoint.begin_run(SPEC, about, about)
    plan = Plan(slices=(Slice(key="all", spec={}),))
    checkpoint.begin(plan, Selection(), None, None, run=number, planned_s=now[0])
    for at, (minutes, read) in enumerate(((0, 100), (1, 300), (60, 50))):
        now[0] = 1_000_020.0 + 60 * minutes
        counts = {"guest": Counts(read=read, written=read, size_bytes=read * 10)}
        for _ in range(2):
            checkpoint.commit([Commit(slice=1, position=at, counts=counts)], run=number)
    assert [(each.read, each.size_bytes) for each in checkpoint.samples] == [(200, 2000), (600, 6000), (100, 1000)]
    checkpoint.close()
    page = job_page(look_at(find_job(tmp_path, SPEC.id)), now_s=now[0])
    text = assert_stands_alone(page)
    assert "The job is unfinished." in text
    assert "not ended, or killed" in text
    assert "Documents a minute (UTC), up to 600" in text
    assert page.count("<g><title>") == 4
    assert "memory:<x>" in text


def test_a_checkpoint_of_before_the_samples_gets_them(tmp_path: Path) -> None:
    """A job that was begun without that table goes on, and its page has no chart yet."""
    opened = open_job(tmp_path, SPEC)
    opened.checkpoint._db.execute("DROP TABLE samples")
    opened.close()
    as_of_the_release_before(opened.folder / "job.sqlite")
    assert look_at(find_job(tmp_path, SPEC.id)).samples == ()
    opened = open_job(tmp_path, SPEC)
    assert opened.checkpoint.samples == []
    opened.checkpoint.check()
    opened.close()
