"""One run of a schedule, with stores in memory: the order of its steps, retries, what is kept and what is reported."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import time_machine

from migrator.adapters.memory import _stores, memory_store
from migrator.errors import AccessDenied, Locked, MigratorError, StateDamaged, Unavailable, UsageError
from migrator.events.watching import Stop
from migrator.scheduling import running, tasks
from migrator.scheduling.files import read_schedule
from migrator.scheduling.running import run_schedule, summary
from migrator.scheduling.state import Memory, Run, State
from migrator.testing.documents import activation
from tests.support.daemons import backups_of, hearing
from tests.support.said import into


class World:
    """A source in memory, an archive, the state folder, and what was reported."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.archive = f"archive:{folder / 'archive'}"
        self.source = memory_store("source")
        self.told: list[str] = []
        self.now_s = 1_800_000_000.0
        self.put(1, 2, 3)

    def put(self, *numbers: int) -> None:
        for number in numbers:
            document = activation(number)
            self.source.put(document.id, document.body)

    def run(self, tables: str = "", top: str = "", *, stop: Stop | None = None, **options: Any) -> Run:
        text = f'source = "memory:source"\ntarget = "{self.archive}"\n{top}\n[when]\nevery = "1d"\n{tables}'
        schedule = read_schedule(self.folder / "nightly.toml", text.encode())
        run = run_schedule(
            schedule,
            state=self.state,
            stop=stop,
            tell=into(self.told),
            clock=lambda: self.now_s,
            **options,
        )
        assert run is not None
        return run

    def remembered(self) -> State:
        known = Memory(self.state, "nightly").read()
        assert known is not None
        return known


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    _stores.clear()
    yield World(tmp_path)
    _stores.clear()


CHECKED = '[verification]\ncheck = "full"\n'
KEPT = f"{CHECKED}[retention]\nlast = 1\n"
QUICK = '[failure]\nretries = 2\nwait = "1s"\nlongest_wait = "3s"\nretry_for = "0s"\n'


def test_a_run_is_kept_with_what_came_of_it(world: World) -> None:
    run = world.run(CHECKED)
    assert (run.outcome, run.exit_code, run.documents, run.mode, run.verified) == ("complete", 0, 3, "full", "full")
    known = world.remembered()
    assert known.attempt is None
    assert known.last == known.last_success == known.last_backup == run
    assert run.backup == backups_of(world.archive)[0].backup
    assert f"3 documents read, full backup {run.backup}" in summary(run)


def test_a_misspelt_namespace_fails_and_is_reported(world: World) -> None:
    """No empty backup is made that a check would then find in order."""
    run = world.run(CHECKED, 'select = { namespaces = ["gest"] }')
    assert (run.outcome, run.exit_code, run.backup) == ("failed", 10, "")
    assert "no activation matches --namespace gest; nearest: guest (3)" in run.message
    assert not (world.folder / "archive").exists()


def test_increments_follow_until_a_full_backup_is_due(world: World) -> None:
    """Every third night here."""
    modes = []
    for night in range(1, 8):
        world.put(100 + night)
        with time_machine.travel(world.now_s):
            modes.append(world.run("", 'full_every = "3d"').mode)
        world.now_s += 86_400 + 40 * night
    assert modes == ["full", "incremental", "incremental"] * 2 + ["full"]


def test_retention_runs_after_the_verification_and_lets_go_of_old_chains(world: World) -> None:
    """In this order, and what went is kept with the run."""
    first = world.run(KEPT, 'mode = "full"')
    world.now_s += 86_400
    second = world.run(KEPT, 'mode = "full"')
    assert (second.verified, second.deleted) == ("full", (first.backup,))
    assert [each.backup for each in backups_of(world.archive)] == [second.backup]


@pytest.mark.parametrize("ahead_s", [3 * 3600.0, 5 * 365 * 86_400.0])
def test_a_clock_that_was_ahead_costs_no_backup(world: World, ahead_s: float) -> None:
    """Not the new ones, which a clock set right says are older; nor does it put off the next full one."""
    made: list[str] = []
    for hour in range(5):
        world.put(100 + hour)
        world.now_s = 1_800_000_000.0 + hour * 3600 + (ahead_s if hour == 1 else 0)
        with time_machine.travel(world.now_s):
            run = world.run(KEPT, 'full_every = "2h"')
        made.append(run.backup)
        assert run.backup not in run.deleted
        assert backups_of(world.archive)[-1].backup == run.backup
    assert any(told.startswith("the clock says") for told in world.told)
    assert backups_of(world.archive)[-1].backup == made[-1]
    assert backups_of(world.archive)[0].mode == "full"


def test_retention_never_runs_after_a_backup_that_was_not_verified(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the verification wasn't requested by this run or failed."""
    pruned: list[object] = []

    def prune(*arguments: object) -> tuple[str, ...]:
        pruned.append(arguments)
        return ()

    monkeypatch.setattr(running, "prune_backups", prune)
    third = '[verification]\ncheck = "quick"\non = "every 3 runs"\n[retention]\nlast = 1\n'
    for night in range(6):
        run = world.run(third, 'mode = "full"')
        world.now_s += 86_400
        assert len(pruned) == (night + 1) // 3
        assert bool(run.verified) == (night % 3 == 2)
    for part in (world.folder / "archive").rglob("part-*"):
        part.write_bytes(part.read_bytes()[:-1])
    failed = world.run(KEPT)
    assert (failed.outcome, failed.exit_code, failed.verified, len(pruned)) == ("failed", 12, "", 2)
    assert "nothing was deleted" in failed.message


def test_only_full_backups_are_verified_where_that_was_asked(world: World) -> None:
    asked = '[verification]\ncheck = "quick"\non = "full backups"\n'
    verified = []
    for number in range(3):
        world.put(200 + number)
        verified.append(world.run(asked).verified)
        world.now_s += 86_400
    assert verified == ["quick", "", ""]


def test_a_server_that_is_away_is_tried_again_with_growing_pauses(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So is a job that another run holds; the third try goes through."""
    troubles: list[MigratorError] = [Unavailable("it is away"), Locked("it is being run")]
    perform = tasks.perform

    def flaky(*arguments: Any) -> Any:
        if troubles:
            raise troubles.pop(0)
        return perform(*arguments)

    slept: list[float] = []
    monkeypatch.setattr(running, "perform", flaky)
    monkeypatch.setattr(Stop, "sleep", lambda _, seconds: slept.append(seconds))
    run = world.run(QUICK)
    assert (run.outcome, run.tries, slept) == ("complete", 3, [1.0, 2.0])
    assert "it is away; try 2 of 3 in 1.0 s" in world.told


@pytest.mark.parametrize(
    ("error", "tries", "exit_code"),
    [(Unavailable("it is away"), 3, 5), (AccessDenied("401"), 1, 6), (UsageError("no"), 1, 2), (ValueError("s"), 1, 1)],
)
def test_what_can_not_mend_itself_is_not_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception, tries: int, exit_code: int
) -> None:
    """A failed run is kept, its moment is handled, and the last success stays."""
    success = world.run()

    def fail(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(running, "perform", fail)
    monkeypatch.setattr(Stop, "sleep", lambda *_: None)
    world.now_s += 86_400
    run = world.run(QUICK)
    assert (run.outcome, run.tries, run.exit_code) == ("failed", tries, exit_code)
    known = world.remembered()
    assert (known.last, known.last_success, known.failed) == (run, success, 1)
    assert known.handled_until_s == run.moment_s


def test_an_interrupted_run_leaves_its_moment_open(world: World) -> None:
    """The next one resumes it; nobody hears of a failure."""
    world.run()
    world.now_s += 86_400
    stop = Stop()
    stop.ask(143)
    run = world.run(stop=stop, tables='[notify]\nfailure = "http://127.0.0.1:9/"\n')
    assert (run.outcome, run.exit_code) == ("interrupted", 143)
    assert not [text for text in world.told if "notification failed" in text]
    assert world.remembered().handled_until_s < (run.moment_s or 0)
    again = world.run()
    assert (again.outcome, again.moment_s) == ("complete", run.moment_s)


def test_what_is_not_due_is_not_run_twice(world: World) -> None:
    """`only_due` is how the daemon asks; `--once` runs out of turn, and leaves the next moment alone."""
    world.run()
    schedule = read_schedule(
        world.folder / "nightly.toml",
        f'source = "memory:source"\ntarget = "{world.archive}"\n[when]\nevery = "1d"\n'.encode(),
    )
    clock = lambda: world.now_s  # noqa: E731  it is passed as it is
    assert run_schedule(schedule, state=world.state, only_due=True, clock=clock) is None
    assert world.run().moment_s is None
    world.now_s += 86_400
    due = run_schedule(schedule, state=world.state, only_due=True, clock=clock)
    assert due is not None
    assert due.moment_s is not None
    assert run_schedule(schedule, state=world.state, only_due=True, clock=clock) is None


def test_the_second_of_two_learns_who_holds_the_lock(world: World) -> None:
    with (
        Memory(world.state, "nightly").lock(),
        pytest.raises(Locked, match="schedule nightly is being run by process"),
    ):
        world.run()


def test_a_state_that_was_damaged_is_named(world: World) -> None:
    """It is refused rather than overwritten, and that is a failure that is reported."""
    world.run()
    path = world.state / "schedules" / "nightly" / "state.sqlite"
    path.write_bytes(path.read_bytes()[:40])
    damaged = pytest.raises(StateDamaged, match=r"state\.sqlite: the state of schedule nightly is damaged")
    with hearing() as (address, heard), damaged:
        world.run(f'[notify]\nping = "{address}/a"\n')
    assert [path for path, _ in heard] == ["/a/fail"]


def test_a_copy_follows_its_source(world: World) -> None:
    """What is new since the last run, and no more."""
    target = memory_store("target")
    read = []
    for number in range(3):
        world.put(300 + number)
        text = 'task = "copy"\nsource = "memory:source"\ntarget = "memory:target"\n[when]\nevery = "5m"\n'
        schedule = read_schedule(world.folder / "follow.toml", text.encode())
        run = run_schedule(schedule, state=world.state, clock=lambda: world.now_s)
        assert run is not None
        assert (run.outcome, run.task) == ("complete", "copy")
        read.append(run.documents)
        world.now_s += 300
    assert len(target.entries) == 6
    assert read[0] > read[1] == read[2]


def test_a_verification_that_finds_a_difference_is_a_failure(world: World) -> None:
    """Exit code 4 and the command that shows it; the next one starts over, and agrees."""
    target = memory_store("target")
    text = 'task = "verify"\nsource = "memory:source"\ntarget = "memory:target"\n[when]\nevery = "7d"\n'
    schedule = read_schedule(world.folder / "proof.toml", text.encode())
    runs: list[Run | None] = []
    for numbers in ((1, 2), (3,)):
        for number in numbers:
            document = activation(number)
            target.put(document.id, document.body)
        runs.append(run_schedule(schedule, state=world.state, clock=lambda: world.now_s))
        world.now_s += 7 * 86_400
    differs, agrees = runs
    assert differs is not None
    assert (differs.outcome, differs.exit_code) == ("failed", 4)
    assert "1 missing, 0 extra, 0 different; see them with: migrator verify memory:source memory:target" in (
        differs.message
    )
    assert agrees is not None
    assert (agrees.outcome, agrees.exit_code, agrees.rejected) == ("complete", 0, 0)
    assert agrees.documents == 6


# -- a purge after a backup ----------------------------------------------------------------------------------------

PURGED = '[purge]\nolder_than = "90d"\n'


def ids_in(world: World) -> set[str]:
    return {id for id, entry in world.source.entries.items() if entry.body is not None}


def test_what_is_old_goes_after_it_was_backed_up_and_verified(world: World) -> None:
    """The archive holds it, the source doesn't any more, and the run tells how much went."""
    young = activation(9, start=int(world.now_s * 1000) - 1000)
    world.source.put(young.id, young.body)
    run = world.run(CHECKED + PURGED)
    assert (run.outcome, run.exit_code, run.verified, run.purged, run.unproven) == ("complete", 0, "full", 3, 0)
    assert ids_in(world) == {young.id}
    assert backups_of(world.archive)[0].documents == 4
    assert "3 old activations removed" in summary(run)


@pytest.mark.parametrize("failing", ["perform", "check_backup"])
def test_nothing_is_purged_after_a_step_that_failed(
    world: World, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """Neither after a backup that failed, nor after a verification that found damage."""
    world.run()
    before = ids_in(world)

    def fail(*_: Any) -> Any:
        raise AccessDenied("no")

    trouble = tasks.Checked(trouble="a part is damaged")
    monkeypatch.setattr(running, failing, fail if failing == "perform" else lambda *_: trouble)
    run = world.run(CHECKED + PURGED)
    assert (run.outcome, run.purged) == ("failed", 0)
    assert ids_in(world) == before


def test_nothing_is_purged_without_a_verification_in_the_same_run(world: World) -> None:
    """Every other run verifies, and only that one purges."""
    tables = '[verification]\ncheck = "full"\non = "every 2 runs"\n' + PURGED
    assert (world.run(tables).purged, len(ids_in(world))) == (0, 3)
    assert (world.run(tables).purged, len(ids_in(world))) == (3, 0)


def test_nothing_is_pruned_after_a_purge_that_failed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Retention comes last."""

    def fail(*_: Any) -> Any:
        raise Unavailable("the server is away")

    monkeypatch.setattr(running, "purge_source", fail)
    monkeypatch.setattr(running, "prune_backups", lambda *_: pytest.fail("pruned"))
    assert world.run(KEPT + PURGED).outcome == "failed"


def test_what_is_not_proven_gives_the_run_its_exit_code(world: World) -> None:
    """One that no archive can hold stays, every night."""
    document = activation(2, _conflicts=["1-a"])
    world.source.put(document.id, document.body)
    run = world.run(CHECKED + PURGED)
    assert (run.outcome, run.exit_code, run.purged, run.unproven) == ("complete", 3, 2, 1)
    assert ids_in(world) == {document.id}


@pytest.mark.parametrize(
    ("tables", "top", "says"),
    [
        (PURGED, "", "only after a verified backup"),
        (KEPT + PURGED, 'full_every = "7d"', "a later full backup doesn't hold what was purged"),
        (KEPT + PURGED, 'mode = "full"', "a later full backup doesn't hold what was purged"),
        (CHECKED + PURGED, 'select = { since = "30d" }', "whole namespaces"),
        (CHECKED + '[purge]\nolder_than = "0d"\n', "", "give an age such as 90d"),
        (PURGED, 'task = "copy"', "a copy has no purge"),
    ],
)
def test_a_purge_that_cannot_be_is_refused(world: World, tables: str, top: str, says: str) -> None:
    """Before anything runs."""
    with pytest.raises(UsageError, match=says):
        world.run(tables, top)
