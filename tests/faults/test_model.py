"""The model in short, and by themselves the examples that it found."""

from __future__ import annotations

from collections import Counter

from hypothesis import seed

from tests.faults.model import PROFILE, Model
from tests.faults.model_world import NUMBERS, World, id_of

TestModel = seed(12)(Model).TestCase
TestModel.settings = PROFILE


def _filled(**how: object) -> World:
    world = World(None, tally=Counter(), **how)  # type: ignore[arg-type]
    for n in range(NUMBERS - 2):
        world.put(n, 0)
    return world


def test_document_that_a_target_holds_and_refuses_is_kept_as_rejected() -> None:
    """A refusal is believed where another job had stored the document; the report says so with exit code 3."""
    world = _filled()
    world.copy()
    world.restart()
    world.refusals.rejects.add(id_of(0))
    report = world.copy()
    assert getattr(report, "exit_code", None) == 3
    world.settle()
