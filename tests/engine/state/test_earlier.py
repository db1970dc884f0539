"""Jobs and verifications of the release before, which kept shell text: `tests/data/format2`, written by it.

Its source held 250 activations, every fifth of another namespace, and a document that is rejected. The copy into `b`
and the verification were cut short, the copy into `c` was complete and verified.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from migrator.activations.document import Form
from migrator.activations.requests import JobRequest
from migrator.activations.selection import SelectionSpec
from migrator.adapters.memory import _stores, memory_store
from migrator.api.copy import copy
from migrator.api.retry import retry_rejected
from migrator.api.verify import verify
from migrator.engine.state.checkpoint import Checkpoint
from migrator.engine.state.earlier import with_request
from migrator.engine.state.jobs import OtherOptions, find_job
from migrator.engine.state.statefile import FORMAT
from migrator.errors import StateDamaged
from migrator.rendering.job_page import job_page, look_at
from migrator.rendering.job_status import job_status
from migrator.testing.documents import activation

DATA = Path(__file__).parents[2] / "data" / "format2"
UNFINISHED, COMPLETE, VERIFICATION = "c900474dabbc", "ec62432eef9d", "b392e639d820"
REJECTED = "guest/" + "0" * 32
WANTED = SelectionSpec(namespaces=("guest", "whisk.*"), since="2023-01-01")


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """The state folder, with the stores as they were: `b` has the first page, `c` everything."""
    for folder, file, name in (
        (f"jobs/{UNFINISHED}", "job.sqlite", "unfinished.sql"),
        (f"jobs/{COMPLETE}", "job.sqlite", "complete.sql"),
        (f"verifications/{VERIFICATION}", "evidence.sqlite", "verification.sql"),
    ):
        (tmp_path / folder).mkdir(parents=True)
        with closing(sqlite3.connect(tmp_path / folder / file)) as db:
            db.executescript((DATA / name).read_text())
    _stores.clear()
    a, b, c = memory_store("a"), memory_store("b", Form.ELASTICSEARCH), memory_store("c", Form.ELASTICSEARCH)
    for number in range(250):
        document = activation(number, "guest" if number % 5 else "whisk.system")
        a.put(document.id, document.body)
        c.put(document.id, activation(number, document.namespace, form=Form.ELASTICSEARCH).body)
    content = f'{{"activationId":"{"0" * 32}","namespace":"guest","name":"hello","start":"soon"}}'
    a.put(REJECTED, content.encode())
    for id in sorted(a.entries)[:100]:
        if id != REJECTED:
            b.put(id, c.get(id))
    yield tmp_path
    _stores.clear()


def test_unfinished_job_is_resumed_where_it_ended(state: Path) -> None:
    """What was committed isn't read again, and the file has this release's format afterwards."""
    report = copy("memory:a", "memory:b", wanted=WANTED, on_conflict="overwrite", mend_ids=True, jobs=1, state=state)
    assert (report.job, report.run, report.run_read) == (UNFINISHED, 2, 151)
    assert (report.totals.written, report.totals.rejected) == (250, 1)
    assert len(memory_store("b").entries) == 250
    with closing(Checkpoint(state / "jobs" / UNFINISHED / "job.sqlite")) as checkpoint:
        assert checkpoint._get("format") == FORMAT
        assert "command" not in checkpoint._get("spec")


def test_unfinished_job_is_refused_with_other_options(state: Path) -> None:
    """As it would have been: what it was started with is known as values."""
    with pytest.raises(OtherOptions, match="`mend_ids` True instead of None, `on_conflict` overwrite instead of skip"):
        copy("memory:a", "memory:b", wanted=WANTED, jobs=1, state=state)


def test_what_is_only_looked_at_stays_as_it_is(state: Path) -> None:
    """`status` and `report` tell the command that resumes it, and bring nothing up to date."""
    job = find_job(state, UNFINISHED)
    again = (
        "migrator copy memory:a memory:b --namespace guest --namespace 'whisk.*' --since 2023-01-01 "
        "--on-conflict overwrite --mend-ids --state state"
    )
    assert job_status(job).next == f"resume with: {again}"
    assert "--mend-ids --state state" in job_page(look_at(job), now_s=0)
    with closing(sqlite3.connect(job.folder / "job.sqlite")) as db:
        assert db.execute("SELECT value FROM meta WHERE name = 'format'").fetchone() == ("2",)


def test_complete_job_catches_up_and_knows_its_verification(state: Path) -> None:
    """The note of a verification kept shell text as well."""
    path = state / "jobs" / COMPLETE / "job.sqlite"
    with closing(Checkpoint(path)) as checkpoint:
        note = checkpoint.verification
        assert note is not None
        assert note.request == JobRequest(verb="verify", source="memory:a", target="memory:c", state="state")
    new = activation(800)
    memory_store("a").put(new.id, new.body)
    report = copy("memory:a", "memory:c", jobs=1, state=state)
    assert (report.run, report.run_read, report.totals.written) == (2, 1, 251)


def test_rejected_documents_are_retried(state: Path) -> None:
    """From the copies that the job kept."""
    outcome = retry_rejected(COMPLETE, state=state)
    assert (outcome.tried, outcome.rejected) == (1, 1)


def test_verification_is_resumed(state: Path) -> None:
    """It finds what was missing when it was cut short."""
    missing = activation(3).id
    memory_store("c").put(missing, None)
    found = verify("memory:a", "memory:c", wanted=SelectionSpec(namespaces=("guest",)), jobs=1, state=state)
    assert (found.verification, found.run) == (VERIFICATION, 2)
    assert [each.id for each in found.examples] == [missing]


@pytest.mark.parametrize("command", ["migrator copy 'a", "migrator copy"])
def test_shell_text_that_cannot_be_read_is_damage(state: Path, command: str) -> None:
    """It is never guessed what a job was."""
    path = state / "jobs" / UNFINISHED / "job.sqlite"
    with closing(Checkpoint(path)) as checkpoint, checkpoint._transaction():
        checkpoint._set("spec", {"id": UNFINISHED, "source": "a", "target": "b", "command": command})
    with closing(Checkpoint(path)) as checkpoint, pytest.raises(StateDamaged, match="its spec can't be read"):
        _ = checkpoint.spec


def test_every_option_becomes_a_value() -> None:
    """Those that releases before put into a command."""
    command = (
        "migrator copy 'a b' c --namespace -x --namespace y --name n --since 7d --until 1d --ids 'f g' "
        "--on-conflict fail --index-template --shards 3 --state /s --keep-revisions --mend-ids"
    )
    kept = with_request({"id": "1", "source": "a b", "target": "c", "options": {}, "command": command})
    assert kept == {
        "id": "1",
        "request": {
            "verb": "copy",
            "source": "a b",
            "target": "c",
            "wanted": {"namespaces": ("-x", "y"), "names": ("n",), "since": "7d", "until": "1d"},
            "options": {
                "ids": "f g",
                "on_conflict": "fail",
                "keep_revisions": True,
                "mend_ids": True,
                "template": {"shards": 3},
            },
            "state": "/s",
        },
    }
    backup = with_request({"command": "migrator backup a archive:/b --mode full --encrypt-to age1x --encrypt-to age1y"})
    assert backup["request"]["options"] == {"mode": "full", "encrypt_to": ["age1x", "age1y"]}
    sampled = with_request({"command": "migrator verify a b --sample 50% --allow-extra"})
    assert sampled["request"]["options"] == {"sample": 0.5, "allow_extra": True}
