"""What a purge does beside removing: the space it has freed, the tombstones, and what it makes of doubtful answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from migrator.adapters import memory
from migrator.adapters.memory import MemoryRemover, _stores
from migrator.adapters.removal import Address, Change, ChangeOutcome, Held
from migrator.engine import identity
from migrator.engine.removal import purging, removing
from migrator.errors import AccessDenied, Unavailable
from tests.api.test_purge import World, ids


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(removing, "_TRIAL_S", 0.0)
    monkeypatch.setattr(identity, "_FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(purging, "_LOOK_S", 0.0)
    _stores.clear()
    world = World(tmp_path)
    world.backup()
    yield world
    _stores.clear()


class Compacting:
    """A server that compacts when it is asked to, and says so at some of the looks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, looks: Sequence[bool] = (), *, allowed: bool = True) -> None:
        self.asked = 0
        self.looked = 0
        self._looks = iter(looks)
        self._allowed = allowed
        server = self

        class Remover(MemoryRemover):
            def compact(self) -> None:
                server.asked += 1
                if not server._allowed:
                    raise AccessDenied("only administrators compact")

            def is_compacting(self) -> bool:
                server.looked += 1
                return next(server._looks, False)

        monkeypatch.setattr(memory, "MemoryRemover", Remover)


# -- space --------------------------------------------------------------------------------------------------------


def test_a_compaction_is_waited_for_until_two_looks_find_none(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may not have begun at the first look, and another shard may follow."""
    server = Compacting(monkeypatch, [False, True, True])
    report = world.purge()
    assert report.compacted
    assert (server.asked, server.looked) == (1, 5)
    assert report.warnings == ()


def test_a_compaction_that_takes_long_is_left_to_the_server(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purging, "_COMPACTION_S", -1.0)
    Compacting(monkeypatch, [True] * 10)
    report = world.purge()
    assert not report.compacted
    assert report.warnings == ("the compaction isn't finished yet; the server continues it",)
    assert report.totals.removed == len(world.old)


def test_a_login_that_may_not_compact_has_removed_all_the_same(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    Compacting(monkeypatch, allowed=False)
    report = world.purge()
    assert (report.compacted, report.exit_code) == (False, 0)
    (warning,) = report.warnings
    assert "only administrators compact" in warning
    assert warning in world.said


@pytest.mark.parametrize("more", [{"compact": False}, {"dry_run": True}, {"older_than": "9999d"}])
def test_no_space_is_reclaimed_where_none_was_freed_or_nobody_wants_it(
    world: World, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    server = Compacting(monkeypatch)
    assert not world.purge(**more).compacted
    assert server.asked == 0


def test_a_space_that_is_not_known_keeps_nobody_from_removing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: MemoryRemover) -> None:
        raise Unavailable("no answer")

    monkeypatch.setattr(MemoryRemover, "space", refuse)
    report = world.purge()
    assert (report.space_before, report.space_after) == (None, None)
    assert report.totals.removed == len(world.old)
    assert set(report.warnings) == {"the space isn't known: no answer"}


def test_tombstones_are_dropped_where_that_is_asked_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what was removed, and of nothing else."""
    dropped: list[str] = []

    class Remover(MemoryRemover):
        def forget(self, addresses: Sequence[Address]) -> int:
            dropped.extend(each.id for each in addresses)
            return len(addresses)

    monkeypatch.setattr(memory, "MemoryRemover", Remover)
    assert world.purge(namespaces=("whisk.system",)).forgotten is None
    assert dropped == []
    rest = {each.id for each in world.old if each.namespace == "guest"}
    assert world.purge(purge_tombstones=True).forgotten == len(rest)
    assert set(dropped) == rest


def test_what_a_store_says_of_removing_is_reported_before_and_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryRemover, "preflight", lambda _: ("tombstones stay",))
    assert world.purge().warnings == ("tombstones stay",)
    assert "tombstones stay" in world.said


# -- answers ------------------------------------------------------------------------------------------------------

Answer = Callable[[MemoryRemover, Sequence[Change]], ChangeOutcome]
_change = MemoryRemover.change


@pytest.fixture
def first_answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer], None]:
    """What the server makes of the first request; of later ones it makes what it always does."""

    def install(answer: Answer) -> None:
        answers = iter([answer])

        def change(remover: MemoryRemover, changes: Sequence[Change]) -> ChangeOutcome:
            return next(answers, _change)(remover, changes)

        monkeypatch.setattr(MemoryRemover, "change", change)

    return install


def test_changes_that_an_answer_leaves_out_are_looked_up_and_made(
    world: World, first_answer: Callable[[Answer], None]
) -> None:
    """Those that were made count, the others are made by another request, each once."""

    def answer(remover: MemoryRemover, changes: Sequence[Change]) -> ChangeOutcome:
        half = len(changes) // 2
        _change(remover, changes[: half // 2])
        return _change(remover, changes[half:]) + ChangeOutcome(unknown=tuple(changes[:half]))

    first_answer(answer)
    report = world.purge(retry_for_s=30.0)
    assert world.ids() == ids(world.young)
    assert report.totals.removed == len(world.old)
    assert len({line["id"] for line in world.logged(report)}) == len(world.logged(report)) == len(world.old)


def test_what_became_of_documents_while_an_answer_was_lost_is_looked_up(
    world: World, first_answer: Callable[[Answer], None]
) -> None:
    """One was stored again by somebody: it stays. One was removed: whoever did it, it is gone."""
    again, gone = world.old[3], world.old[4]

    def answer(_: MemoryRemover, changes: Sequence[Change]) -> ChangeOutcome:
        world.change(again, logs=["by somebody else"])
        world.store.put(gone.id, None)
        raise Unavailable("the connection was lost")

    first_answer(answer)
    report = world.purge(retry_for_s=30.0)
    assert world.ids() == ids(world.young) | {again.id}
    assert {each.id: each.kind for each in report.examples} == {again.id: "changed"}


def test_a_change_that_an_earlier_try_made_is_done_though_the_server_finds_it_outdated(
    world: World, first_answer: Callable[[Answer], None]
) -> None:
    """Of logs alone: the document is there, with the content that the change would have left."""

    def answer(remover: MemoryRemover, changes: Sequence[Change]) -> ChangeOutcome:
        _change(remover, changes)
        old = [Change(held=Held(document=each.held.document, version=-1), body=each.body) for each in changes]
        return ChangeOutcome(unknown=tuple(old))

    first_answer(answer)
    report = world.purge(logs_only=True, retry_for_s=30.0)
    assert report.totals.removed == len(world.old)
    assert report.exit_code == 0
    assert world.purge(logs_only=True).totals.old == 0


def test_documents_that_go_between_the_comparison_and_the_request_are_counted_as_gone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the last look at them, or after it."""
    before, after = world.old[5], world.old[6]
    look = MemoryRemover.look

    def vanish(remover: MemoryRemover, addresses: Sequence[Address]) -> Sequence[Held]:
        world.store.put(before.id, None)
        return look(remover, addresses)

    def vanish_after(remover: MemoryRemover, changes: Sequence[Change]) -> ChangeOutcome:
        world.store.put(after.id, None)
        return _change(remover, changes)

    monkeypatch.setattr(MemoryRemover, "look", vanish)
    monkeypatch.setattr(MemoryRemover, "change", vanish_after)
    report = world.purge()
    assert world.ids() == ids(world.young)
    assert (report.totals.removed, report.totals.gone, report.exit_code) == (len(world.old) - 2, 2, 0)


def test_logs_that_somebody_else_emptied_meanwhile_need_no_change(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    document, look = world.old[5], MemoryRemover.look

    def emptied(remover: MemoryRemover, addresses: Sequence[Address]) -> Sequence[Held]:
        world.change(document, logs=[])
        return look(remover, addresses)

    monkeypatch.setattr(MemoryRemover, "look", emptied)
    report = world.purge(logs_only=True)
    assert report.totals.removed + report.totals.gone + report.totals.kept == len(world.old)
    assert report.totals.removed == len(world.old) - 1


def test_what_became_of_a_batch_is_not_told_of_another_store_of_the_same_name(
    world: World, first_answer: Callable[[Answer], None]
) -> None:
    """The process died, and before the next run the store was replaced: the log says that nobody knows."""

    def die(remover: MemoryRemover, changes: Sequence[Change]) -> ChangeOutcome:
        _change(remover, changes)
        raise KeyboardInterrupt

    first_answer(die)
    with pytest.raises(KeyboardInterrupt):
        world.purge()
    world.store.clear()
    for document in (*world.old, *world.young):
        world.store.put(document.id, document.body)
    report = world.purge()
    assert report.earlier == 0
    assert report.totals.removed == len(world.old)
    told = [
        line["what"]
        for path in Path(str(report.log)).parent.glob("purge-*.zst")
        for line in world.logged(msgspec.structs.replace(report, log=str(path)))
    ]
    assert told.count("unknown") == told.count("removed") == len(world.old)
