"""The model in short, and by themselves the examples that say most about it."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import seed

from migrator.engine import census, identity, retry
from migrator.engine.report import Report
from migrator.engine.state import checkpoint
from migrator.engine.state.set_aside import DocumentsSetAside
from migrator.engine.verification import compare, confirm
from migrator.errors import Unavailable
from tests.faults.model import PROFILE, Model
from tests.faults.model_stores import FOR_GOOD, Fault
from tests.faults.model_world import NUMBERS, World, id_of

TestModel = seed(12)(Model).TestCase
TestModel.settings = PROFILE


def _filled(*, parts: bool = False, has_identity: bool = True) -> World:
    world = World(None, parts=parts, has_identity=has_identity, counts=Counter())
    for n in range(NUMBERS - 3):
        world.put(n, 0)
    return world


def _exit_code(found: object) -> int:
    assert isinstance(found, Report), found
    return found.exit_code


def test_document_that_a_target_holds_and_refuses_is_kept_as_rejected() -> None:
    """A refusal is believed where another job had stored the document; the report says so with exit code 3."""
    world = _filled()
    world.copy()
    world.restart()
    world.refusals.rejects.add(id_of(0))
    assert _exit_code(world.copy()) == 3
    world.settle()


def test_document_that_a_target_loses_is_missed_by_its_count() -> None:
    """The target says `written` and doesn't hold it: exit code 3, and the next run copies everything again."""
    world = _filled()
    found = world.copy(Fault("writer.write", "lose", 2))
    assert _exit_code(found) == 3
    assert isinstance(found, Report)
    assert found.unstored == 1
    world.settle()
    assert len(world.target.live()) == NUMBERS - 3


def test_page_that_comes_again_for_ever_ends_the_run() -> None:
    """A reader that doesn't come forward is given up, resumably, and not read for ever."""
    world = _filled()
    assert isinstance(world.copy(Fault("reader.read", "repeat", 2, times=FOR_GOOD)), Unavailable)
    world.settle()


def test_part_whose_receipt_was_lost_is_written_again() -> None:
    """What a flush stored and gave no receipt for isn't counted; the backup that ends holds each document once."""
    world = _filled(parts=True)
    assert isinstance(world.copy(Fault("writer.flush", "lost answer")), Unavailable)
    world.settle()


def test_page_that_lacks_a_document_and_doubles_another_is_a_lie() -> None:
    """As many as there are: no count tells, and the model doesn't take it for the engine's fault."""
    for parts in (False, True):
        world = World(None, parts=parts, page=2, slice_documents=2, counts=Counter())
        for n in (0, 1, 2, 3, 4, 5, 7):
            world.put(n, 0)
        world.lies.drops = {id_of(1)}
        world.copy(Fault("reader.read", "double", 3))
        assert world.lies.told


def test_what_a_backup_rejected_is_in_no_increment_on_it() -> None:
    """Its own report told it."""
    world = _filled(parts=True)
    world.refusals.rejects.add(id_of(1))
    assert _exit_code(world.copy()) == 3
    world.heal()
    for _ in range(2):
        assert _exit_code(world.copy(increment=True)) == 0
        world.happens("put", NUMBERS - 1)


def test_target_that_is_replaced_while_it_is_counted_is_reported() -> None:
    """It shows by nothing else where a target has no identity, and the next run copies everything again."""
    world = _filled(has_identity=False)
    found = world.copy(Fault("writer.census", "replace target"))
    assert _exit_code(found) == 3
    world.settle()


def test_source_that_is_replaced_twice_is_read_again() -> None:
    """A source without an identity shows it by numbers that are lower than those a job has noted."""
    world = _filled(has_identity=False)
    for _ in range(2):
        assert _exit_code(world.copy()) == 0
        world.happens("replace source", 0)
        world.happens("put", 1)
    world.settle()


def test_document_that_comes_twice_and_is_deferred_counts_twice() -> None:
    """The accounts of what was read and of what became of it add up."""
    world = _filled()
    world.copy(Fault("reader.read", "double"), Fault("writer.write", "defer"))
    world.settle()


# The model itself: an engine that lacks one of its precautions is found out.


def test_the_model_finds_a_guard_that_looks_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """A target that is emptied in the middle of a run, by an engine that doesn't look."""
    monkeypatch.setattr(identity.TargetGuard, "check", lambda *_: None)
    with pytest.raises(AssertionError, match=r"neither in the target nor kept|are missing|was replaced, and no word"):
        _filled().copy(Fault("writer.write", "replace target", 3))


def test_the_model_finds_a_missing_census(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost document, by an engine that doesn't ask the target how many it has."""
    monkeypatch.setattr(census, "check_stored", lambda *_: None)
    with pytest.raises(AssertionError, match="fewer are there"):
        _filled().copy(Fault("writer.write", "lose", 2))


def test_the_model_finds_receipts_that_nobody_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part without a receipt, by an engine that counts its documents as written."""
    monkeypatch.setattr(checkpoint, "refuse_unproven", lambda *_: None)
    monkeypatch.setattr(checkpoint.Checkpoint, "contradiction", lambda _: None)
    with pytest.raises(AssertionError, match="neither in the target nor kept"):
        _filled(parts=True).copy(Fault("writer.flush", "lost answer"))


def test_the_model_finds_a_verdict_without_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores that differ, by a verification that takes what seems to differ for the same."""
    world = _filled()
    monkeypatch.setattr(confirm, "_judge", lambda *_: "same")
    with pytest.raises(AssertionError, match="verify"):
        world.verify()


def test_the_model_finds_a_reading_that_nobody_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A document that is missing in B, and that A's pages conceal, by a verification that believes the pages."""
    world = _filled()
    world.copy()
    world.happens("foreign delete", 1)
    monkeypatch.setattr(compare._Verify, "_short", lambda _: "")
    with pytest.raises(AssertionError, match="verify says the same, and they differ"):
        world.verify(drops_a=[1])


def test_the_model_finds_accounts_that_a_retry_leaves_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rejected document that goes over at last, and is counted as rejected for ever."""
    world = _filled()
    world.refusals.rejects.add(id_of(1))
    world.copy()
    world.heal()
    monkeypatch.setattr(retry, "_account_changes", lambda _: {})
    with pytest.raises(AssertionError, match="written went from"):
        world.retry_rejected()


def test_the_model_finds_rejections_that_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rejected document that is counted and not kept."""
    world = _filled()
    world.refusals.rejects.add(id_of(1))
    monkeypatch.setattr(DocumentsSetAside, "keep", lambda *_: None)
    with pytest.raises(AssertionError, match="neither in the target nor kept"):
        world.copy()


def test_outcomes_of_the_lab_hold_every_document_once() -> None:
    """A target that rejects, defers and stores at once accounts for each document, as the contract asks."""
    world = _filled()
    world.refusals.rejects.add(id_of(1))
    found = world.copy(Fault("writer.write", "defer", 1, times=3), Fault("writer.write", "refuse 413", 5))
    assert _exit_code(found) == 3
    world.settle()
