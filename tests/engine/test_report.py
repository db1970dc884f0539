"""What a run comes to as an exit code and as one sum."""

from __future__ import annotations

from typing import Any

import pytest

from migrator.activations.accounts import Counts
from migrator.engine.retry import RetryOutcome
from tests.support.reports import report


@pytest.mark.parametrize(
    ("told", "code"),
    [
        ({}, 0),
        ({"deleted": 5, "remarks": {"odd-id": 3}, "warnings": ("x",)}, 0),
        ({"rejected": 1}, 3),
        ({"differing": 1}, 3),
        ({"left_behind": True}, 3),
        ({"unread": 1}, 3),
        ({"unstored": 1}, 3),
    ],
)
def test_whatever_is_not_in_the_target_ends_with_3(told: dict[str, Any], code: int) -> None:
    assert report(**told).exit_code == code


def test_the_sum_is_that_of_all_namespaces() -> None:
    assert report().totals == Counts(read=4, written=2, filtered=1, rejected=1, size_bytes=5)


@pytest.mark.parametrize(
    ("told", "code"),
    [
        ({}, 0),
        ({"remarks": {"odd-id": 1}}, 0),
        ({"rejected": 1}, 3),
        ({"differing": 1}, 3),
        ({"remarks": {"attachments": 1}}, 3),
        ({"remarks": {"conflicts": 1}}, 3),
    ],
)
def test_a_retry_ends_with_3_where_something_did_not_go_over(told: dict[str, Any], code: int) -> None:
    usual = {"tried": 4, "written": 2, "present": 2, "differing": 0, "rejected": 0}
    assert RetryOutcome(**(usual | told)).exit_code == code
