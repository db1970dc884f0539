"""Backups made while a clock was wrong: their order, what continues them, what is restored, what retention keeps."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from migrator.adapters.memory import _stores
from migrator.operations.archive.listing import list_archive
from migrator.operations.archive.prune import prune_archive
from migrator.operations.archive.retention import Retention
from tests.api.test_backup import World, content

NOW_S = 1_800_000_000.0
AHEAD_S = {"three hours": 3 * 3600.0, "five years": 5 * 365 * 86_400.0}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    _stores.clear()
    yield World(tmp_path)
    _stores.clear()


def four(world: World, wrong_s: float, *, mode: str = "auto") -> list[str]:
    """Four backups an hour apart, the second by a clock that is wrong; each adds a document and changes another."""
    made: list[str] = []
    for number in range(4):
        world.put(number)
        world.put(100, logs=[f"version {number}"])
        began_s = NOW_S + number * 3600 + (wrong_s if number == 1 else 0)
        ticks = count()
        made.append(world.backup(mode=mode, clock=lambda ticks=ticks, s=began_s: s + next(ticks)).backup)
    return made


@pytest.mark.parametrize("wrong_s", [*AHEAD_S.values(), -AHEAD_S["five years"]])
@pytest.mark.parametrize("mode", ["auto", "full"])
def test_the_newest_state_is_restored(world: World, wrong_s: float, mode: str) -> None:
    """Each increment hangs on the one before it, whichever clock was wrong."""
    made = four(world, wrong_s, mode=mode)
    backups = world.backups()
    assert [each.backup for each in backups] == made
    assert [each.number for each in backups] == [1, 2, 3, 4]
    if mode == "auto":
        assert [each.parent for each in backups] == [None, *made[:3]]
    assert world.restore() == content(world.source)


@pytest.mark.parametrize("wrong_s", AHEAD_S.values())
def test_a_clock_before_the_newest_backup_is_reported(world: World, wrong_s: float) -> None:
    """By the backups that follow, by a restore, and in the list."""
    made = four(world, wrong_s)
    told = [each for each in world.said if each.startswith("the clock says")]
    assert len(told) == 2
    assert f"backup {made[1]} ended later, at" in told[0]
    world.said.clear()
    world.restore()
    assert any(f"backup {made[2]} is newer than {made[1]}" in each for each in world.said)
    listing = list_archive(world.archive)
    assert [each.backup for each in listing.backups] == made
    assert f"backup {made[2]} is newer than {made[1]}" in listing.notes[0]


@pytest.mark.parametrize("wrong_s", [*AHEAD_S.values(), -AHEAD_S["five years"]])
def test_pruning_keeps_the_newest_by_the_chain(world: World, wrong_s: float) -> None:
    made = four(world, wrong_s, mode="full")
    report = prune_archive(world.archive, Retention(last=1), clock=lambda: NOW_S + 5 * 3600)
    assert [each.backup for each in report.deleted] == made[:3]
    assert world.restore() == content(world.source)


def test_a_backup_is_not_pruned_by_the_run_that_made_it(world: World) -> None:
    """Whatever the rules say."""
    made = four(world, 0.0, mode="full")
    report = prune_archive(world.archive, Retention(last=1), keep=(made[0],), clock=lambda: NOW_S)
    assert [each.backup for each in report.backups if each.kept] == [made[0], made[3]]
    assert "this run made it" in report.backups[0].reasons


def test_what_is_newer_than_a_young_backup_is_young(world: World) -> None:
    """Three backups of this hour by a clock that shows a time long ago stay within an hour of the one before."""
    made = four(world, -AHEAD_S["five years"], mode="full")
    prune_archive(world.archive, Retention(within="1d"), clock=lambda: NOW_S + 5 * 3600)
    assert [each.backup for each in world.backups()] == made
