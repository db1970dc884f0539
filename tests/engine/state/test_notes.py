"""Values that a checkpoint takes and gives: how they add up, and what a receipt proves."""

from __future__ import annotations

from typing import Any

import pytest

from migrator.activations.accounts import Counts
from migrator.activations.requests import JobRequest
from migrator.engine.state.notes import (
    Commit,
    JobSpec,
    Origin,
    Shortfall,
    documents_in,
    refuse_unproven,
    sum_origins,
)
from migrator.errors import Unavailable


def test_a_job_names_its_ends_as_they_were_given() -> None:
    request = JobRequest(verb="copy", source="memory:a", target="memory:b")
    spec = JobSpec(id="x", source_identity="a", target_identity="b", request=request)
    assert (spec.source, spec.target, spec.selection) == ("memory:a", "memory:b", {})


def test_a_commit_has_written_what_its_namespaces_have() -> None:
    counts = {"guest": Counts(read=5, written=3, present=2), "other": Counts(read=4, written=4)}
    assert Commit(slice=1, position=None, counts=counts).written == 7


def test_origins_add_up_each_by_itself() -> None:
    a, b = Origin("guest", "a"), Origin("guest", "b")
    assert sum_origins([{a: 1}, {a: 2, b: 0}, {}, {b: 5}]) == {a: 3, b: 5}


@pytest.mark.parametrize(("shortfall", "is_one"), [({}, False), ({"unread": 1}, True), ({"unstored": 1}, True)])
def test_a_shortfall_is_one_where_anything_is_missing(shortfall: dict[str, int], is_one: bool) -> None:
    assert bool(Shortfall(**shortfall)) is is_one
    assert Shortfall(**shortfall) + Shortfall(unread=10, unstored=100) == Shortfall(
        unread=10 + shortfall.get("unread", 0), unstored=100 + shortfall.get("unstored", 0)
    )


@pytest.mark.parametrize(
    ("receipt", "documents"),
    [
        ({"documents": 5}, 5),
        ({"documents": 0}, 0),
        ({"documents": "5"}, None),
        ({"documents": None}, None),
        ({}, None),
        (None, None),
        ("documents", None),
        ([5], None),
    ],
)
def test_a_receipt_may_tell_how_many_documents_it_speaks_of(receipt: Any, documents: int | None) -> None:
    assert documents_in(receipt) == documents


@pytest.mark.parametrize(
    ("written", "receipt", "told"),
    [
        (5, {"documents": 5}, None),
        (5, {"name": "of an earlier release"}, None),
        (0, None, None),
        (1, None, "1 document was sent to the target, but its receipt covers 0"),
        (2, {"documents": 1002}, "2 documents were sent to the target, but its receipt covers 1,002"),
        (0, {"documents": 1}, "0 documents were sent to the target, but its receipt covers 1"),
    ],
)
def test_documents_count_as_written_only_with_their_receipt(written: int, receipt: Any, told: str | None) -> None:
    if told is None:
        refuse_unproven(written, receipt)
        return
    with pytest.raises(Unavailable) as refused:
        refuse_unproven(written, receipt)
    assert str(refused.value) == (f"{told}. None of them counts as written; run the same command to write them again")
