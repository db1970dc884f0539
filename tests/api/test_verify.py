"""Verifying as programs and the command line do it: files of ids, mending, a copy that verifies, exit codes."""

from __future__ import annotations

import errno
import json
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from migrator.activations import forms
from migrator.activations.document import Document, Form
from migrator.activations.selection import SelectionSpec
from migrator.adapters.memory import MemoryReader, MemoryStore, _stores, memory_store
from migrator.api import verify as verifying
from migrator.api.copy import copy
from migrator.api.ids_file import read_ids, write_ids
from migrator.api.verify import verify
from migrator.commands.main import migrator
from migrator.engine.state.jobs import lock_folder
from migrator.engine.verification.values import Finding, Verification
from migrator.errors import Locked, Unavailable, UsageError
from migrator.rendering.command_line import command
from migrator.rendering.verification import render_verification
from migrator.testing.documents import activation
from tests.support.said import into


class World:
    """A CouchDB and an Elasticsearch store in memory, with the same activations."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.a = memory_store("a")
        self.b = memory_store("b", Form.ELASTICSEARCH)
        self.said: list[str] = []
        for number in range(60):
            self.put(activation(number))

    def put(self, document: Document, *stores: MemoryStore) -> None:
        for store in stores or (self.a, self.b):
            converted = forms.convert(document, store.form)
            assert isinstance(converted, Document)
            store.put(document.id, converted.body)

    def plant(self) -> tuple[str, str, str]:
        """One of each: the ids of what is missing, different and extra."""
        missing, different, extra = activation(3), activation(4, logs=["changed"]), activation(900)
        self.b.put(missing.id, None)
        self.put(different, self.b)
        self.put(extra, self.b)
        return missing.id, different.id, extra.id

    def verify(self, **more: Any) -> Verification:
        return verify("memory:a", "memory:b", state=self.state, tell=into(self.said), **more)

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(migrator, [*words, "--state", str(self.state)])


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    _stores.clear()
    yield World(tmp_path)
    _stores.clear()


# -- mending ----------------------------------------------------------------------------------------------------


def test_what_was_found_is_repaired_by_copy(world: World) -> None:
    """The file that `verify` writes is what `copy` takes; it copies those documents and no other."""
    missing, different, extra = world.plant()
    world.put(activation(800), world.a)  # new in A, and not in the file
    file = world.folder / "found.ndjson"
    world.verify(wanted=SelectionSpec(until="1700000500000"), output=file)
    assert {line["id"]: line["kind"] for line in map(json.loads, file.read_text().splitlines())} == {
        missing: "missing",
        different: "different",
    }
    report = copy("memory:a", "memory:b", ids=file, on_conflict="overwrite", state=world.state)
    assert (report.totals.read, report.totals.written) == (2, 2)
    found = world.verify()
    assert (found.totals.missing, found.totals.different, found.totals.extra) == (1, 0, 1)
    world.b.put(extra, None)
    world.put(activation(800), world.b)
    assert world.verify().exit_code == 0


def test_chosen_documents_are_copied_again(world: World) -> None:
    """A copy of ids that was complete reads them once more when it is given again."""
    file = world.folder / "ids.txt"
    ids = [activation(number).id for number in (1, 2)]
    file.write_text("\n".join([*ids, "guest/unknown"]))
    for _ in range(2):
        for id in ids:
            world.b.put(id, None)
        report = copy("memory:a", "memory:b", ids=file, state=world.state, tell=into(world.said))
        assert (report.totals.read, report.totals.written) == (2, 2)
    assert world.said[-1] == "1 of the 3 ids isn't in memory:a"
    assert "--ids" in world.run("status", report.job, "--json").output


def test_what_differs_stays_unless_overwriting_was_asked_for(world: World) -> None:
    """As with every copy."""
    _, different, _ = world.plant()
    file = world.folder / "found.ndjson"
    world.verify(output=file)
    report = copy("memory:a", "memory:b", ids=file, state=world.state)
    assert (report.totals.written, report.totals.differing) == (1, 1)
    assert b"changed" in (world.b.get(different) or b"")


def test_only_chosen_documents_are_compared(world: World) -> None:
    """With a file of ids everything else on both sides doesn't count."""
    missing, _, _ = world.plant()
    file = world.folder / "ids.txt"
    file.write_text(f"{missing}\n{activation(10).id}\n")
    found = world.verify(ids=file)
    assert (found.totals.a, found.totals.b, found.totals.missing, found.totals.different) == (2, 1, 1, 0)


def test_files_of_ids(tmp_path: Path) -> None:
    """Odd ids come through, what is only in B is left out, of two with one id one counts, broken ones are reported."""
    file = tmp_path / "ids"
    odd = 'guest/"new\nline" 😀'
    findings = [
        Finding(kind="missing", id=odd, namespace="guest", hour=0),
        Finding(kind="extra", id="guest/extra", namespace="guest", hour=0),
        Finding(kind="different", id="guest/d", namespace="guest", hour=0, fields=("logs",)),
    ]
    with file.open("wb") as out:
        write_ids(findings, out)
        out.write(b"guest/d\n\n  guest/plain  \n")
    assert read_ids(file) == [odd, "guest/d", "guest/plain"]
    file.write_bytes(b"\xef\xbb\xbfguest/a\r\nguest/b\r\n")  # as editors of Windows save it
    assert read_ids(file) == ["guest/a", "guest/b"]
    file.write_bytes(b'guest/a\n{"kind":"missing"}\n')
    with pytest.raises(UsageError, match="line 2 is not an id"):
        read_ids(file)
    with pytest.raises(UsageError, match="can't be read"):
        read_ids(tmp_path / "none")


@pytest.mark.parametrize("output", ["none/ids", "", "folder"])
def test_a_file_of_ids_that_cannot_be_written_is_refused_first(world: World, tmp_path: Path, output: str) -> None:
    """Not after hours of reading, whose result would be lost."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match="the file of ids can't be written"):
        world.verify(output=tmp_path / output)
    assert not world.state.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_full_disk_under_a_file_of_ids_is_fixed_and_the_run_resumed(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 5, as of every full disk; the same command then writes it."""
    world.plant()

    def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched, pytest.raises(Unavailable, match=r"file of ids .* free disk space"):
        patched.setattr(verifying, "write_ids", full)
        world.verify(output=tmp_path / "ids")
    world.verify(output=tmp_path / "ids")
    assert read_ids(tmp_path / "ids")


def test_job_that_cannot_take_the_note_takes_nothing_from_the_verification(world: World) -> None:
    """Its checkpoint is damaged: one line says so, and what was found stands."""
    job = copy("memory:a", "memory:b", state=world.state).job
    (world.state / "jobs" / job / "job.sqlite").write_bytes(b"x" * 5000)
    world.plant()
    found = world.verify()
    assert (found.totals.missing, found.exit_code) == (1, 4)
    assert any("isn't noted in its job" in line and "damaged" in line for line in world.said)


def test_the_copy_that_mends_finds_the_same_state_folder(world: World) -> None:
    """Its command line resumes where the verification's was."""
    world.plant()
    mend = world.verify().mend
    assert mend is not None
    assert command(mend, "--ids") == f"migrator copy memory:a memory:b --state {world.state} --ids"


# -- after a copy -----------------------------------------------------------------------------------------------


def test_copy_verifies_what_it_copied(world: World) -> None:
    """What the target held besides is no difference; what it holds in another version is, and the exit code is 4."""
    world.put(activation(900), world.b)
    world.b.put(activation(5).id, None)
    ended = world.run("copy", "memory:a", "memory:b", "--verify")
    assert ended.exit_code == 0, ended.output
    assert "all of A is in B, and more" in ended.output
    assert "only in B, not counted as a difference: 1" in ended.output
    world.put(activation(6, logs=["changed"]), world.a)
    ended = world.run("copy", "memory:a", "memory:b", "--verify", "--json")
    assert ended.exit_code == 4
    report, verification = (json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{"))
    assert report["message_type"] == "report"
    assert [each["id"] for each in verification["examples"]] == [activation(6).id]
    assert verification["command"] == f"migrator copy memory:a memory:b --verify --state {world.state}"


def test_what_is_no_difference_hides_none(world: World) -> None:
    """Where the target may hold more, the hours that are reported are those that lack something."""
    for number in range(40):
        world.put(activation(1000 + number, "a", start=number * 3_600_000), world.b)
    missing = activation(3, "guest")
    world.put(missing, world.a)
    world.b.put(missing.id, None)
    shown = render_verification(world.verify(allow_extra=True))
    told = shown.partition("namespace and hour that differ")[2].partition("missing: ")[0].splitlines()
    assert [line.split()[0] for line in told if "T" in line and "Z" in line] == ["guest"]


def test_what_differs_is_replaced_as_the_status_says(world: World, tmp_path: Path) -> None:
    """Overwriting given to a complete copy reaches only what is new; the export names the others."""
    world.put(activation(6, logs=["changed"]), world.b)
    ended = world.run("copy", "memory:a", "memory:b", "--json")
    assert ended.exit_code == 3
    job = json.loads(ended.stdout.splitlines()[-1])["job"]
    said = json.loads(world.run("status", job, "--json").stdout)["next"]
    file = tmp_path / "differing.ndjson"
    file.write_text(world.run("status", job, "--differing").stdout)
    words = shlex.split(said.partition("has: migrator ")[2].replace("FILE", str(file)))
    assert CliRunner().invoke(migrator, words).exit_code == 0
    assert world.verify().agrees


def test_copy_verifies_by_the_selection_of_its_job(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What arrived after the copy isn't missing, and a relative time means what it meant when the job began."""
    describe = MemoryReader.describe
    calls: list[int] = []

    def arrive(self: MemoryReader) -> Any:
        calls.append(1)
        if len(calls) > 2 and self._store.name == "a":
            world.put(activation(2000 + len(calls)), world.a)
        return describe(self)

    monkeypatch.setattr(MemoryReader, "describe", arrive)
    ended = world.run("copy", "memory:a", "memory:b", "--since", "10000d", "--verify")
    assert len(calls) > 3
    assert ended.exit_code == 0, ended.output
    assert "stored or deleted since the verification began, and not compared: " in ended.output


def test_a_dry_run_cannot_be_verified(world: World) -> None:
    """Nothing was copied."""
    ended = world.run("copy", "memory:a", "memory:b", "--verify", "--dry-run")
    assert ended.exit_code == 2


# -- the command ------------------------------------------------------------------------------------------------


def test_command_tells_differences_and_ends_with_4(world: World) -> None:
    """A table, the ids, the file for `copy --ids`; as JSON one object; quiet says nothing of agreement."""
    missing, _, _ = world.plant()
    file = world.folder / "found.ndjson"
    ended = world.run("verify", "memory:a", "memory:b", "--output", str(file), "--jobs", "2")
    assert ended.exit_code == 4
    assert f"missing: {missing}" in ended.output
    assert len(file.read_text().splitlines()) == 3
    assert not list(world.folder.glob("*.unfinished"))
    ended = world.run("verify", "memory:a", "memory:b", "--json")
    assert json.loads(ended.stdout)["totals"]["missing"] == 1
    assert world.run("verify", "memory:a", "memory:a").exit_code == 2
    ended = world.run("verify", "memory:a", "memory:b", "--namespace", "nobody", "--quiet")
    assert ended.exit_code == 10
    assert "no activation matches --namespace nobody; there are: guest (60)" in ended.output


def test_verifications_have_folders_of_their_own(world: World) -> None:
    """They are no jobs; the same verification can't run twice at once, another one can."""
    found = world.verify()
    assert world.run("status").output.startswith("no jobs in")
    _, lock = lock_folder(world.state, "verification", found.verification)
    assert lock
    with pytest.raises(Locked, match=f"verification {found.verification} is being run by process"):
        world.verify()
    assert world.verify(wanted=SelectionSpec(namespaces=("guest",))).verification != found.verification


@pytest.mark.parametrize("sample", ["1", "0%", "100%", "x%"])
def test_impossible_samples_are_refused(world: World, sample: str) -> None:
    """A share has a percent sign and lies between nothing and everything."""
    assert world.run("verify", "memory:a", "memory:b", "--sample", sample).exit_code == 2


def test_sample_is_said_in_words(world: World) -> None:
    """And the command that resumes it keeps it."""
    found = world.verify(sample=0.5)
    assert command(found.request).endswith(f"--sample 50% --state {world.state}")
    assert 0 < found.compared < 60
    ended = world.run("verify", "memory:a", "memory:b", "--sample", "50%")
    assert ended.exit_code == 0
    assert "50 % of them" in ended.output
