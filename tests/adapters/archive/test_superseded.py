"""Which documents are superseded, against the simplest way to know it."""

from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st

from migrator.adapters.archive.format import id_hash
from migrator.adapters.archive.superseded import Newest, as_numbers

_parts = st.lists(st.lists(st.integers(0, 30), max_size=12), min_size=1, max_size=6)


@given(parts=_parts, bulk=st.integers(0, 2), width=st.integers(1, 5))
def test_of_each_document_the_last_one_stands(parts: list[list[int]], bulk: int, width: int) -> None:
    """Parts of the bulk hold no id twice; of what newer parts hold again only the last line of the last part stays."""
    bulk = min(bulk, len(parts))
    seen: set[int] = set()
    for number in range(bulk):
        parts[number] = [id for id in dict.fromkeys(parts[number]) if id not in seen]
        seen |= set(parts[number])
    hashes = [b"".join(id_hash(str(id)) for id in part) for part in parts]
    newest = Newest(sum(len(part) for part in parts[bulk:]))
    for order in range(bulk, len(parts)):
        newest.add(order, hashes[order])
    kept: list[tuple[int, int]] = []
    for order, part in enumerate(parts):
        numbers = as_numbers(hashes[order])
        own = numbers if order >= bulk else array("Q")
        for first in range(0, len(part), width):
            some = numbers[first : first + width]
            dropped = set(newest.superseded(order, first, some, own))
            kept += [(order, first + at) for at in range(len(some)) if at not in dropped]
    last = {id: (order, line) for order, part in enumerate(parts) for line, id in enumerate(part)}
    assert kept == sorted(last.values())


def test_hashes_are_numbers_with_their_lowest_byte_first() -> None:
    """On every machine, as archives are carried from one to another."""
    assert list(as_numbers(bytes([1, 0, 0, 0, 0, 0, 0, 2, 3] + [0] * 7))) == [1 + (2 << 56), 3]
