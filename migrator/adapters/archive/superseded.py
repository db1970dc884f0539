"""Which documents of a chain stand again in a newer part: of each only the newest version counts.

The hashes of ids that parts keep enter; for a document's hash, its part and its line, whether it is superseded leaves.
Documents of the bulk of a full backup are many and have no newer version as a rule, so a bitmap answers for most of
them; only hits look further. Memory: the bitmap (up to 32 MiB), and eight bytes for each document of the newer parts.

Two ids with the same eight bytes would be taken for one: with 10 million documents in increments over a bulk of 100
million the chance that any such pair exists is 1 in 18,000.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence

_MOST_BITS = 1 << 27
_BITS_PER_HASH = 16


class Newest:
    """The newer parts of a chain: all but those of the bulk of its full backup."""

    def __init__(self, documents: int) -> None:
        """`documents` is how many the newer parts have together."""
        bits = 1 << 12
        while bits < min(documents * _BITS_PER_HASH, _MOST_BITS):
            bits *= 2
        self._mask = bits - 1
        self._once = bytearray(bits // 8)  # the slot of some document of a newer part
        self._again = bytearray(bits // 8)  # the slot of two of them
        self._sorted: dict[int, array[int]] = {}  # by the order of the part, oldest first

    def add(self, order: int, hashes: bytes) -> None:
        """Take the hashes of a newer part; `order` rises from the oldest part of the chain to the newest."""
        values = as_numbers(hashes)
        once, again, mask = self._once, self._again, self._mask
        for value in values:
            slot = value & mask
            bit = 1 << (slot & 7)
            if once[slot >> 3] & bit:
                again[slot >> 3] |= bit
            else:
                once[slot >> 3] |= bit
        self._sorted[order] = array("Q", sorted(values))

    def superseded(self, order: int, line: int, hashes: Sequence[int], own: Sequence[int]) -> Iterator[int]:
        """Which of some documents are superseded, by their places in `hashes`.

        They are those of lines `line` and following of the part `order`, whose hashes are all in `own` where it is a
        newer part (empty where it isn't).
        """
        slots = self._again if order in self._sorted else self._once
        mask = self._mask
        hits = [at for at, value in enumerate(hashes) if slots[(value & mask) >> 3] >> (value & 7) & 1]
        for at in hits:
            value = hashes[at]
            if (
                any(_holds(values, value) for newer, values in self._sorted.items() if newer > order)
                or value in own[line + at + 1 :]
            ):
                yield at


def as_numbers(hashes: bytes) -> array[int]:
    """Hashes as they stand in a part, as numbers."""
    values = array("Q")
    values.frombytes(hashes)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def _holds(values: array[int], value: int) -> bool:
    at = bisect_left(values, value)
    return at < len(values) and values[at] == value
