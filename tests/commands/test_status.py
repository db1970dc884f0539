"""What `migrator status JOB` shows of a job, and says of what comes next."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from migrator.activations.document import Form
from migrator.adapters.memory import MemoryStore, _stores, memory_store
from migrator.api.copy import copy
from migrator.commands.main import migrator
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
    assert dict(lines)["next"].endswith(f"migrator retry-rejected {job} --state {world.state}")
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
