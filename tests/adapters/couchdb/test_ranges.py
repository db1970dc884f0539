"""Key ranges tile the key space, whatever is in it, by a bounded number of looks."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.activations.selection import Selection
from migrator.adapters.couchdb.ranges import LOOKS, TOP, Look, Range, after_all, between, cut, spans
from migrator.testing.documents import activation_id

ALL = Selection()


class Ids:
    """A database that holds just ids; with `ranked` as CouchDB answers, else as PouchDB does."""

    def __init__(self, ids: Sequence[str], *, ranked: bool) -> None:
        self.ids = sorted(ids)
        self.ranked = ranked
        self.looks = 0

    def __call__(self, low: str, high: str | None, count: int) -> Look:
        self.looks += 1
        first = bisect_left(self.ids, low)
        end = len(self.ids) if high is None else bisect_left(self.ids, high)
        return Look(first if self.ranked else 0, len(self.ids), self.ids[first:end][:count])

    def inside(self, piece: Range) -> int:
        return len([id for id in self.ids if id >= piece.low and (piece.high is None or id < piece.high)])


def some(counts: dict[str, int]) -> list[str]:
    return [f"{namespace}/{activation_id(at)}" for namespace, count in counts.items() for at in range(count)]


def assert_tiles_everything(ranges: Sequence[Range]) -> None:
    assert ranges[0].low == ""
    assert ranges[-1].high is None
    assert all(left.high == right.low for left, right in pairwise(ranges))
    assert all(piece.high is None or piece.low < piece.high for piece in ranges)


KINDS = pytest.mark.parametrize("ranked", [True, False], ids=["ranks", "no ranks"])


@KINDS
@pytest.mark.parametrize(
    "ids",
    [
        [],
        ["a"],
        some({"guest": 5000}),
        some({"Guest": 1000, "guest": 3000, "guest-dev": 10, "zz": 1}),
        some({"äöü": 900, "😀": 900, "\uffff": 900}),
        ["_design/whisks.v2.1.0", *some({"ABC": 700, "abc": 700}), "no-slash", "zebra", "guest/hello"],
        [f"{name}/not-hexadecimal-{at:05}" for name in ("guest", "other") for at in range(900)],
    ],
    ids=["empty", "one", "one namespace", "skewed", "beyond ASCII", "other entities", "not hexadecimal"],
)
def test_ranges_tile_everything(ids: list[str], ranked: bool) -> None:
    """No key is left out and none is in two ranges."""
    database = Ids(ids, ranked=ranked)
    ranges = cut(spans(ALL), database, slice_documents=500)
    assert_tiles_everything(ranges)
    assert sum(map(database.inside, ranges)) == len(ids)
    assert database.looks <= LOOKS + 1


@given(st.lists(st.text(min_size=1, max_size=6), max_size=60, unique=True), st.booleans(), st.integers(1, 10))
def test_ranges_tile_everything_for_any_ids(ids: list[str], ranked: bool, slice_documents: int) -> None:
    """The same for ids of any characters, however they are shared out."""
    database = Ids(ids, ranked=ranked)
    ranges = cut(spans(ALL), database, slice_documents=slice_documents)
    assert_tiles_everything(ranges)
    assert sum(map(database.inside, ranges)) == len(ids)


def test_ranks_give_ranges_of_even_size() -> None:
    """With ranks no range is larger than requested but by chance, and few are much smaller."""
    database = Ids(some({"guest": 20_000, "a": 10, "b": 3000, "z": 40}), ranked=True)
    ranges = cut(spans(ALL), database, slice_documents=1000)
    sizes = [database.inside(piece) for piece in ranges]
    assert max(sizes) <= 1150
    estimates = [piece.documents or 0 for piece in ranges]
    assert sum(estimates) == pytest.approx(sum(sizes), abs=len(sizes))
    assert all(abs(size - estimate) <= 150 for size, estimate in zip(sizes, estimates, strict=True))
    assert len(ranges) <= 2 * 23
    assert database.looks <= 10  # the whole, each namespace, and the middle of those that are large


def test_ids_that_are_not_random_give_no_more_ranges_than_documents() -> None:
    """Numbers with zeros before them stand so densely that their namespace seems to have billions."""
    database = Ids([f"guest/{number:032x}" for number in range(2000)], ranked=False)
    ranges = cut(spans(ALL), database, slice_documents=500)
    assert len(ranges) <= 6
    assert_tiles_everything(ranges)


def test_density_gives_ranges_of_about_even_size() -> None:
    """Without ranks the first ids of a namespace tell its size well enough."""
    database = Ids(some({"guest": 20_000, "a": 10, "b": 3000, "z": 40}), ranked=False)
    sizes = [database.inside(piece) for piece in cut(spans(ALL), database, slice_documents=1000)]
    assert max(sizes) < 1700
    assert len(sizes) < 2 * 23


@KINDS
def test_thousands_of_namespaces_take_a_bounded_number_of_looks(ranked: bool) -> None:
    """What wasn't looked at is in larger ranges, not left out."""
    database = Ids([f"namespace-{at:05}/{activation_id(at)}" for at in range(5000)], ranked=ranked)
    ranges = cut(spans(ALL), database, slice_documents=2)
    assert_tiles_everything(ranges)
    assert database.looks <= LOOKS + 1
    assert len(ranges) >= 100


@KINDS
def test_thousands_of_selected_namespaces_are_all_there(ranked: bool) -> None:
    """Each selected namespace is in some range, whether it was looked at or not."""
    names = [f"namespace-{at:05}" for at in range(2000)]
    database = Ids([f"{name}/{activation_id(0)}" for name in names], ranked=ranked)
    ranges = cut(spans(Selection(namespaces=tuple(names))), database, slice_documents=100)
    assert sum(map(database.inside, ranges)) == 2000
    assert database.looks <= LOOKS + 2


@KINDS
def test_selected_namespaces_restrict_the_ranges(ranked: bool) -> None:
    """Only ids of selected namespaces are in the ranges; a namespace that looks empty has a range all the same."""
    database = Ids(some({"guest": 50, "guest-dev": 50, "other": 50}), ranked=ranked)
    ranges = cut(spans(Selection(namespaces=("guest", "nobody"))), database, slice_documents=20)
    assert sum(map(database.inside, ranges)) == 50
    assert {piece.low.partition("/")[0] for piece in ranges} == {"guest", "nobody"}


@pytest.mark.parametrize(
    ("namespaces", "expected"),
    [
        ((), [("", None)]),
        (("guest",), [("guest/", "guest0")]),
        (("gu*",), [("gu", "gv")]),
        (("*dev",), [("", None)]),
        (("guest", "gu*", "other"), [("gu", "gv"), ("other/", "other0")]),
        (("*", "guest"), [("", None)]),
        (("a?c", "[xy]"), [("", None)]),
    ],
)
def test_spans_hold_what_a_selection_may_have(
    namespaces: tuple[str, ...], expected: list[tuple[str, str | None]]
) -> None:
    """Names and the literal beginnings of globs, none within another."""
    assert [(part.low, part.high) for part in spans(Selection(namespaces=namespaces))] == expected


@pytest.mark.parametrize(
    ("prefix", "key"), [("a", "b"), ("", None), (TOP, None), (f"a{TOP}", "b"), ("\ud7ff", "\ue000")]
)
def test_after_all(prefix: str, key: str | None) -> None:
    """The key comes right after all that begin with the prefix, and is no surrogate."""
    assert after_all(prefix) == key


@given(st.text(max_size=5), st.text(max_size=5))
def test_between_is_between(one: str, other: str) -> None:
    """A key between two is above the one and below the other, and can be sent."""
    low, high = sorted([one, other])
    middle = between(low, high)
    if middle is not None:
        assert low < middle < high
        middle.encode()


def test_between_finds_the_middle_of_digits() -> None:
    """Two ids of a namespace are halved at a digit; neighbours by a letter at the letter."""
    assert between("guest/00", "guest/80") == "guest/4"
    assert between("guest/abc", "h/000") == "h"
