"""What the verdicts on single documents account for in the sums of their hours."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.engine.verification.hours import MODULUS, WHOLE
from migrator.engine.verification.listed import _FOUND, _OUT, Settled, _accounts, _plus, _settle, by_side, limbs
from tests.support.profiles import examples

A, B = b"\x01" * 16, b"\x02" * 16
A_SUM, B_SUM = int.from_bytes(A), int.from_bytes(B)


def rows(verdict: str | None, kind: str | None = None) -> list[tuple[Any, ...]]:
    """One id that was listed on both sides: once in A, twice in B."""
    return [
        ("guest/1", "a", "guest", 5, 1, A, verdict, kind),
        ("guest/1", "b", "guest", 6, 2, B, verdict, kind),
    ]


BOTH = [("a", "guest", 5, 1, A_SUM), ("b", "guest", 6, 2, B_SUM)]


@pytest.mark.parametrize(
    ("verdict", "kind", "accounts"),
    [
        ("found", "missing", [(*entry, _FOUND, 1) for entry in BOTH]),
        ("found", "different", [(*entry, _FOUND, 1) for entry in BOTH]),
        ("found", "meanwhile", [(*entry, _OUT, 1) for entry in BOTH]),
        ("refused", None, [(*entry, _OUT, 1) for entry in BOTH]),
        ("restated", None, [("b", "guest", 5, 1, A_SUM, _OUT, -1), ("b", "guest", 6, 2, B_SUM, _OUT, 1)]),
        ("arrived", None, [("b", "guest", 5, 1, A_SUM, _OUT, -1), ("b", "guest", 6, 2, B_SUM, _OUT, 1)]),
        ("copies", None, [("a", "guest", 5, 1, A_SUM, _OUT, 1), ("a", "guest", 6, 2, B_SUM, _OUT, -1)]),
        ("same", None, []),
        ("gone", None, []),
        ("vanished a", None, []),
        (None, None, []),
    ],
)
def test_a_verdict_accounts_for_what_was_listed(
    verdict: str | None, kind: str | None, accounts: list[tuple[Any, ...]]
) -> None:
    """What is found stands apart from what isn't judged; where the sides agree, one counts for both."""
    assert list(_accounts(rows(verdict, kind), lambda _: True)) == accounts
    unweighed = [(*entry[:4], 0, *entry[5:]) for entry in accounts]
    assert list(_accounts(rows(verdict, kind), lambda _: False)) == unweighed


def test_each_id_is_accounted_for_by_its_own_verdict() -> None:
    other = [("guest/2", "b", "guest", 7, 1, A, "refused", None)]
    asked: list[str] = []

    def weigh(id: str) -> bool:
        asked.append(id)
        return id == "guest/1"

    assert list(_accounts([*rows("found", "extra"), *other], weigh)) == [
        *((*entry, _FOUND, 1) for entry in BOTH),
        ("b", "guest", 7, 1, 0, _OUT, 1),
    ]
    assert asked == ["guest/1", "guest/2"]


@pytest.mark.parametrize(
    ("sides", "a", "b", "explained"),
    [
        ({}, (0, 0), (0, 0), True),
        ({f"{WHOLE}a": (3, 30), f"{WHOLE}b": (3, 30)}, (3, 30), (3, 30), True),
        ({f"{WHOLE}a": (3, 30), f"{WHOLE}b": (2, 20)}, (3, 30), (2, 20), False),
        ({f"{WHOLE}a": (3, 30), f"{WHOLE}b": (3, 31)}, (3, 30), (3, 31), False),
        ({f"{WHOLE}a": (3, 30), f"{WHOLE}b": (2, 20), f"{_FOUND}a": (1, 10)}, (3, 30), (2, 20), True),
        ({f"{WHOLE}a": (3, 30), f"{WHOLE}b": (2, 20), f"{_FOUND}a": (1, 11)}, (3, 30), (2, 20), False),
        ({f"{WHOLE}a": (3, 30), f"{WHOLE}b": (2, 20), f"{_OUT}a": (1, 10)}, (2, 20), (2, 20), True),
        ({f"{WHOLE}a": (1, 10), f"{WHOLE}b": (1, 20), f"{_OUT}b": (0, 10)}, (1, 10), (1, 10), True),
        ({f"{WHOLE}a": (1, 1), f"{_OUT}a": (1, 2)}, (0, MODULUS - 1), (0, 0), False),
        ({f"{WHOLE}a": (1, 1), f"{_FOUND}a": (1, 1), f"{WHOLE}b": (1, 2), f"{_FOUND}b": (1, 2)}, (1, 1), (1, 2), True),
    ],
)
def test_an_hour_is_explained_where_its_findings_are_all_that_differs(
    sides: dict[str, tuple[int, int]], a: tuple[int, int], b: tuple[int, int], explained: bool
) -> None:
    """It is reported without what isn't judged, and with what was found."""
    expected = Settled(namespace="guest", hour=5, a=a, b=b, explained=explained)
    assert _settle("guest", 5, sides) == expected
    assert expected.differs is (a != b)


@given(one=st.binary(min_size=16, max_size=16), other=st.binary(min_size=16, max_size=16))
@examples(30)
def test_digests_add_up_as_sums_do(one: bytes, other: bytes) -> None:
    sum = (int.from_bytes(one) + int.from_bytes(other)) % 2**128
    assert _plus(one, other) == sum.to_bytes(16)


@given(st.lists(st.tuples(st.integers(0, 2**40), st.integers(0, 2**128 - 1)), min_size=1, max_size=4))
@examples(30)
def test_sums_are_read_as_they_are_kept(sums: list[tuple[int, int]]) -> None:
    text = " ".join(f"{at}a {documents} {' '.join(map(str, limbs(sum)))}" for at, (documents, sum) in enumerate(sums))
    assert by_side(text) == {f"{at}a": pair for at, pair in enumerate(sums)}
