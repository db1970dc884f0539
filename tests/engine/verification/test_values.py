"""What a verification comes to: sums, an exit code, and a sentence about what it proves."""

from __future__ import annotations

from typing import Any

import pytest

from migrator.activations.document import Form
from migrator.activations.requests import JobRequest
from migrator.adapters.base import Description
from migrator.engine.verification.values import PHASES, NamespaceResult, Verification, proves

STORE = Description(location="memory:a", product="memory", version="1", identity="a")
REQUEST = JobRequest(verb="verify", source="a", target="b")


def verification(found: NamespaceResult | None = None, **told: Any) -> Verification:
    usual: dict[str, Any] = {
        "verification": "0123456789ab",
        "run": 1,
        "a": STORE,
        "b": STORE,
        "a_form": Form.COUCHDB,
        "b_form": Form.COUCHDB,
        "doubles": False,
        "request": REQUEST,
        "listing": REQUEST,
        "mend": None,
        "allow_extra": False,
        "sample": None,
        "namespaces": {"guest": found or NamespaceResult(a=1, b=1)},
        "buckets": 1,
        "differing_buckets": 0,
        "hours": (),
        "examples": (),
        "refused_examples": (),
        "compared": 1,
        "unexplained_hours": 0,
        "unexplained": (),
        "restated": 0,
        "copies": 0,
        "remarks": {},
        "began_s": 0.0,
        "run_read": 2,
        "duration_s": 1.0,
    }
    return Verification(**(usual | told))


@pytest.mark.parametrize(
    ("found", "told", "code", "agrees"),
    [
        ({}, {}, 0, True),
        ({"meanwhile": 5}, {"restated": 3, "copies": 2, "differing_buckets": 7}, 0, True),
        ({"missing": 1}, {}, 4, False),
        ({"different": 1}, {}, 4, False),
        ({"extra": 1}, {}, 4, False),
        ({"extra": 1}, {"allow_extra": True}, 0, True),
        ({"extra": 1, "missing": 1}, {"allow_extra": True}, 4, False),
        ({"different": 1}, {"allow_extra": True}, 4, False),
        ({}, {"unexplained_hours": 1}, 4, False),
        ({"refused": 1}, {}, 3, True),
        ({}, {"incomplete": True}, 3, True),
        ({"refused": 1, "missing": 1}, {"incomplete": True}, 4, False),
    ],
)
def test_the_exit_code_says_whether_the_sides_agree(
    found: dict[str, Any], told: dict[str, Any], code: int, agrees: bool
) -> None:
    """4 comes before 3; what can't be explained is no agreement, although nothing was found that differs."""
    result = verification(NamespaceResult(**found), **told)
    assert (result.exit_code, result.agrees) == (code, agrees)
    assert result.found_different is (not agrees and not told.get("unexplained_hours"))


def test_sums_are_of_all_namespaces_and_have_no_digest() -> None:
    names = ("a", "b", "missing", "extra", "different", "meanwhile", "refused")
    one, other = (dict[str, Any](zip(names, range(first, first + 7), strict=True)) for first in (1, 100))
    namespaces = {"x": NamespaceResult(**one, a_digest="aa", b_digest="bb"), "y": NamespaceResult(**other)}
    both: dict[str, Any] = {name: one[name] + other[name] for name in names}
    assert verification(namespaces=namespaces).totals == NamespaceResult(**both)


ALL = "every activation on both sides was read and compared by content "
SOME = (
    "every activation on both sides was counted, and 5 % of them (1,000 of A, chosen by the hash of their ids) were "
    "compared by content (numbers exactly); the content of the others was not compared"
)


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({}, f"{ALL}(numbers exactly)"),
        ({"doubles": True}, f"{ALL}(numbers as the doubles that CouchDB stores, integers exactly)"),
        (
            {"sample": 0.05, "compared": 1000},
            f"{SOME}, but with 95 % certainty fewer than 0.300% of all differ",
        ),
        ({"sample": 0.05, "compared": 1000, "unexplained_hours": 1}, SOME),
        ({"sample": 0.05, "compared": 0}, SOME.replace("1,000", "0")),
        (
            {"sample": 0.05, "compared": 2},
            f"{SOME.replace('1,000', '2')}, but with 95 % certainty fewer than 100.000% of all differ",
        ),
    ],
)
def test_a_result_says_what_it_proves(told: dict[str, Any], sentence: str) -> None:
    assert proves(verification(**told)) == sentence


def test_every_stage_is_reported_in_words() -> None:
    assert PHASES == {
        "compare": "comparing",
        "respell": "comparing what is spelled differently",
        "narrow": "narrowing down what differs",
        "list": "listing what differs",
        "relist": "listing the hours that differ",
        "confirm": "looking again at what differs",
    }
