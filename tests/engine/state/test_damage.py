"""State files that aren't what was written: refused by name, never believed."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from migrator.activations.document import Form
from migrator.activations.requests import JobRequest
from migrator.engine.state.checkpoint import Checkpoint, Commit, JobSpec
from migrator.engine.state.jobs import find_job, open_job, view_checkpoint
from migrator.engine.verification.evidence import Added, Evidence
from migrator.errors import AccessDenied, MigratorError, StateDamaged, UsageError
from migrator.rendering.job_status import job_status
from migrator.testing.documents import activation
from tests.engine.state.test_jobs import begin, spec
from tests.engine.verification import test_compare
from tests.support.worlds import CutError, World, as_of_the_release_before

_LEFT = (StateDamaged, UsageError, AccessDenied)
"""What a damaged file may end with: named, and nothing was done."""


class Cut(Checkpoint):
    """The process dies before a commit; what lies in the folder then is kept, the log as well."""

    left = 14

    def commit(self, commits: Sequence[Commit], **more: Any) -> None:
        self.left -= 1
        if self.left == 0:
            assert self.path is not None
            shutil.copytree(self.path.parent, self.path.parent.with_name(f"{self.path.parent.name}-killed"))
        if self.left <= 0:
            raise CutError
        super().commit(commits, **more)


class Interrupted:
    """A copy that was stopped half-way, with a rejected and a differing document, and how to go on from there."""

    def __init__(self, folder: Path) -> None:
        (folder / "job").mkdir()
        self.world = World(folder / "job", 120)
        self.expected = self.world.expected()
        bad = activation(60)
        self.world.source.put(bad.id, bad.body.replace(b'"annotations":[', b'"annotations":"x","was":['))
        other = activation(1, form=Form.ELASTICSEARCH, logs=["other"])
        self.world.target.put(other.id, other.body)
        for each in (bad, other):
            self.expected.pop(each.id, None)
        with pytest.raises(CutError):
            self.world.copy(checkpoint=Cut(self.world.path), jobs=1)
        self.killed = folder / "job-killed"  # as after SIGKILL: the newest commits stand in the log
        self.closed = folder / "job"
        self.kept = folder / "kept"
        shutil.copytree(self.closed, self.kept)
        self.entries = dict(self.world.target.entries)

    def lay_out(self, state: Path) -> Path:
        shutil.rmtree(self.closed)
        shutil.copytree(state, self.closed)
        self.world.target.entries = dict(self.entries)
        return self.world.path

    def go_on(self) -> str | None:
        """Resume; the refusal, or None where the copy is whole."""
        try:
            report = self.world.copy(jobs=1)
        except _LEFT as error:
            assert str(self.world.path) in str(error)
            return type(error).__name__
        assert {id: self.world.target.get(id) for id in self.expected} == self.expected
        assert (report.rejected, report.differing, report.exit_code, report.totals.adds_up) == (1, 1, 3, True)
        return None


@pytest.fixture
def interrupted(tmp_path: Path) -> Interrupted:
    return Interrupted(tmp_path)


def flip(file: Path, chance: random.Random, *, live: bool) -> None:
    """Change one bit of a file, with `live` one of a byte that isn't zero."""
    data = bytearray(file.read_bytes())
    places = [at for at, byte in enumerate(data) if byte] if live else range(len(data))
    data[chance.choice(places)] ^= 1 << chance.randrange(8)
    file.write_bytes(data)


@pytest.mark.parametrize("seed", range(6))
def test_flipped_bit_loses_no_document(interrupted: Interrupted, seed: int) -> None:
    """Wherever it is, in the file or in its log, the job is refused by name or ends as if nothing had been."""
    chance = random.Random(seed)
    refused = 0
    for number in range(50):
        killed = number % 5 == 0
        path = interrupted.lay_out(interrupted.killed if killed else interrupted.kept)
        name = f"{path.name}-wal" if killed and number % 10 else path.name
        flip(path.with_name(name), chance, live=number % 4 > 0)
        refused += interrupted.go_on() is not None
    assert refused > 20


def test_changed_value_is_refused(interrupted: Interrupted) -> None:
    """Values that SQLite itself finds nothing wrong with."""
    for statement in (
        "UPDATE slices SET done = 1",
        "UPDATE slices SET position = '999999' WHERE NOT done",
        "DELETE FROM slices WHERE NOT done",
        "DELETE FROM set_aside WHERE kind = 'rejected'",
        "UPDATE accounts SET read = read + 1, written = written + 1",
        "UPDATE meta SET value = '\"complete\"' WHERE name = 'state'",
        "DELETE FROM meta WHERE name = 'mark'",
        "UPDATE checksums SET total = total + 1",
        "DELETE FROM checksums WHERE name = 'slices'",
        "DROP TABLE remarks",
    ):
        path = interrupted.lay_out(interrupted.kept)
        with closing(sqlite3.connect(path)) as file:
            file.execute(statement)
            file.commit()
        with pytest.raises(
            StateDamaged, match=r"damaged and was not used: .*`restart`; for a schedule, remove "
        ) as raised:
            interrupted.world.copy()
        assert raised.value.exit_code == 12


def test_every_statement_keeps_the_checksums(interrupted: Interrupted) -> None:
    """What a run changes, of whatever kind, is accounted for; so is what it rolls back."""
    interrupted.lay_out(interrupted.kept)
    assert interrupted.go_on() is None
    with closing(Checkpoint(interrupted.world.path)) as checkpoint:
        checkpoint.check()
        before = checkpoint.warnings
        with suppress(CutError), checkpoint._transaction():
            checkpoint._set("warnings", ["x"])
            raise CutError
        checkpoint.check()
        assert checkpoint.warnings == before
        checkpoint.forget()
        checkpoint.check()
    interrupted.world.put(activation(900))
    interrupted.world.copy()
    with closing(Checkpoint(interrupted.world.path)) as checkpoint:
        checkpoint.check()


def test_damage_while_a_run_goes_on_is_found_at_its_end(interrupted: Interrupted) -> None:
    """A job isn't called complete on rows that changed behind it."""

    class Changed(Checkpoint):
        def begin_round(self, *arguments: Any, **more: Any) -> int:
            assert self.path is not None
            with closing(sqlite3.connect(self.path)) as file:
                file.execute("UPDATE accounts SET read = read + 1, written = written + 1")
                file.commit()
            return super().begin_round(*arguments, **more)

    interrupted.lay_out(interrupted.kept)
    with pytest.raises(StateDamaged, match="table accounts"):
        interrupted.world.copy(checkpoint=Changed(interrupted.world.path))
    with pytest.raises(StateDamaged):
        interrupted.world.copy()


def _zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def _zero_page(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:8192] + bytes(4096) + data[12288:])


def _cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _foreign_text(path: Path) -> None:
    path.write_text("<html>502 Bad Gateway</html>" * 300)


def _foreign_database(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE other (x)")


@pytest.mark.parametrize(
    "damage",
    [_zeros, _zero_page, _cut_off, _empty, _folder, _foreign_text, _foreign_database],
    ids=lambda each: each.__name__,
)
def test_file_that_is_none_of_ours_is_refused(interrupted: Interrupted, damage: Callable[[Path], None]) -> None:
    """Zeros, a part of it, an empty one, a folder, another program's: all by name, and left as they are."""
    path = interrupted.lay_out(interrupted.kept)
    damage(path)
    before = None if path.is_dir() else path.read_bytes()
    assert interrupted.go_on() == "StateDamaged"
    assert before is None or path.read_bytes() == before


def test_log_of_another_job_is_refused(interrupted: Interrupted, tmp_path: Path) -> None:
    """SQLite takes any whole log for that of the file beside it."""
    (tmp_path / "other").mkdir()
    other = World(tmp_path / "other", 150)
    with pytest.raises(CutError):
        other.copy(checkpoint=Cut(other.path), jobs=1)
    log = tmp_path / "other-killed" / "job.sqlite-wal"
    path = interrupted.lay_out(interrupted.kept)
    shutil.copy(log, path.with_name(f"{path.name}-wal"))
    assert interrupted.go_on() == "StateDamaged"


def test_older_log_of_the_same_job_loses_nothing(interrupted: Interrupted) -> None:
    """It is refused, or it is a whole earlier state, from which the job goes on."""
    path = interrupted.lay_out(interrupted.killed)
    log = path.with_name(f"{path.name}-wal").read_bytes()
    for state in (interrupted.kept, interrupted.killed):
        path = interrupted.lay_out(state)
        assert interrupted.go_on() is None
        path.with_name(f"{path.name}-wal").write_bytes(log)
        interrupted.go_on()


def test_file_of_another_job_is_refused(tmp_path: Path) -> None:
    """A whole checkpoint that a person put into the wrong folder."""
    begin(tmp_path)
    other = JobSpec(
        id="ffffffffffff",
        source_identity="a",
        target_identity="c",
        request=JobRequest(verb="copy", source="a", target="c"),
    )
    open_job(tmp_path, other).close()
    shutil.copy(tmp_path / "jobs" / "0123456789ab" / "job.sqlite", tmp_path / "jobs" / "ffffffffffff" / "job.sqlite")
    with pytest.raises(StateDamaged, match="it is that of 0123456789ab"):
        open_job(tmp_path, other)


def test_restart_starts_over_whatever_was_there(tmp_path: Path) -> None:
    """As the message advises; a folder is left to the person who put it there."""
    begin(tmp_path)
    path = tmp_path / "jobs" / "0123456789ab" / "job.sqlite"
    for damage in (_zeros, _cut_off, _empty, _foreign_text, _foreign_database):
        damage(path)
        with pytest.raises(StateDamaged):
            open_job(tmp_path, spec())
        job = open_job(tmp_path, spec(), restart=True)
        assert job.checkpoint.state == "new"
        job.close()
        begin(tmp_path)
    _folder(path)
    with pytest.raises(StateDamaged, match="is a folder, not a file; remove it"):
        open_job(tmp_path, spec(), restart=True)


def test_job_removed_as_a_schedule_is_advised_starts_over(interrupted: Interrupted) -> None:
    """Without `--restart`: the folder that the message names is removed."""
    _zeros(interrupted.lay_out(interrupted.kept))
    with pytest.raises(StateDamaged) as raised:
        interrupted.world.copy()
    assert f"remove {interrupted.closed} and run it again" in str(raised.value)
    shutil.rmtree(interrupted.closed)
    interrupted.closed.mkdir()
    assert interrupted.go_on() is None


def test_run_that_was_killed_while_its_file_was_made_leaves_no_trace(tmp_path: Path) -> None:
    """A file has its name when it is whole; what is left of an earlier one isn't taken for its log."""
    path = tmp_path / "job.sqlite"
    for name in ("job.sqlite-wal", "job.sqlite.unfinished", "job.sqlite.unfinished-journal"):
        (tmp_path / name).write_bytes(b"left")
    Checkpoint(path).close()
    assert [each.name for each in tmp_path.iterdir()] == ["job.sqlite"]
    Checkpoint(path).close()


# -- the release before -------------------------------------------------------------------------------------------


def test_job_of_the_release_before_is_resumed_and_brought_up_to_date(interrupted: Interrupted) -> None:
    """It has no checksums; from the first run on it has them."""
    path = interrupted.lay_out(interrupted.kept)
    as_of_the_release_before(path)
    with closing(Checkpoint(path, view=True)) as looked_at:
        assert looked_at.state == "unfinished"
        assert looked_at._get("format") == 1
    assert interrupted.go_on() is None
    with closing(sqlite3.connect(path)) as file:
        file.execute("UPDATE accounts SET read = read + 1")
        file.commit()
    assert interrupted.go_on() == "StateDamaged"


def test_who_looked_before_the_job_was_brought_up_to_date_keeps_the_checksums(interrupted: Interrupted) -> None:
    """A note that is written by a process which opened the file as it was."""
    path = interrupted.lay_out(interrupted.kept)
    as_of_the_release_before(path)
    with closing(Checkpoint(path, view=True)) as looked_at:
        Checkpoint(path).close()
        looked_at.end_run(1, "complete", read=1)
    with closing(Checkpoint(path)) as checkpoint:
        checkpoint.check()


def test_who_failed_to_write_after_the_job_was_brought_up_to_date_keeps_the_checksums(interrupted: Interrupted) -> None:
    """What was rolled back was also that it notes its changes."""
    path = interrupted.lay_out(interrupted.kept)
    as_of_the_release_before(path)
    with closing(Checkpoint(path, view=True)) as looked_before:
        Checkpoint(path).close()
        with suppress(CutError), looked_before._transaction():
            raise CutError
        looked_before.end_run(1, "complete", read=1)
    with closing(Checkpoint(path)) as whole:
        whole.check()


def test_unreadable_values_of_the_release_before_are_damage(interrupted: Interrupted) -> None:
    """Without checksums, what can be noticed is noticed."""
    for statement in (
        "UPDATE slices SET slice = 'x' WHERE NOT done",
        "UPDATE meta SET value = '{' WHERE name = 'stores'",
        "UPDATE meta SET value = '{' WHERE name = 'format'",
        "UPDATE meta SET value = '7' WHERE name = 'selection'",
    ):
        path = interrupted.lay_out(interrupted.kept)
        as_of_the_release_before(path)
        with closing(sqlite3.connect(path)) as file:
            file.execute(statement)
            file.commit()
        with pytest.raises(StateDamaged, match="can't be read"):
            Checkpoint(path)
        assert interrupted.go_on() == "StateDamaged", statement


# -- verifications ------------------------------------------------------------------------------------------------


class CutEvidence(Evidence):
    left = 10_000

    def commit(self, added: Added) -> None:
        self.left -= 1
        if self.left <= 0:
            raise CutError
        super().commit(added)


@pytest.mark.parametrize("stage", ["compare", "confirm"])
def test_flipped_bit_in_a_verification_hides_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """It is refused by name, or finds exactly what differs."""
    chance = random.Random(3)
    world = test_compare.World(tmp_path, count=260)
    planted = test_compare.plant(world)
    cut = CutEvidence(world.path)
    if stage == "compare":
        cut.left = 5
    else:
        monkeypatch.setattr(cut, "judge", _raise)
    with pytest.raises(CutError):
        world.verify(evidence=cut, jobs=1)
    cut.close()
    data = world.path.read_bytes()
    refused = 0
    for number in range(40):
        world.path.write_bytes(data)
        flip(world.path, chance, live=number % 4 > 0)
        try:
            found = world.verify(jobs=1)
        except _LEFT:
            refused += 1
        else:
            assert {id: each.kind for id, each in world.found().items()} == planted
            assert found.exit_code == 4
            assert world.evidence is not None
            world.evidence.close()
    assert refused > 15


def _raise(*_: Any) -> None:
    raise CutError


# -- one of many --------------------------------------------------------------------------------------------------


def test_damaged_job_is_reported_by_name_to_who_looks(tmp_path: Path) -> None:
    """Looking doesn't mend it, either."""
    begin(tmp_path)
    path = tmp_path / "jobs" / "0123456789ab" / "job.sqlite"
    with closing(sqlite3.connect(path)) as file:
        file.execute("UPDATE slices SET done = 1")
        file.commit()
    for look in (view_checkpoint, job_status):
        with pytest.raises(MigratorError, match=r"table slices doesn't match its checksum"):
            look(find_job(tmp_path, "0123"))
