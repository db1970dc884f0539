"""The accounts of a run: what became of the documents of each namespace.

The one identity that everything is reconciled by:
read = written + present + differing + rejected + filtered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec


class Counts(msgspec.Struct, kw_only=True):
    """The accounts of one namespace, or of all together."""

    read: int = 0
    written: int = 0
    present: int = 0  # the same activation was in the target already
    differing: int = 0  # another version was in the target, and stayed
    rejected: int = 0  # couldn't be converted, or the target refused it
    filtered: int = 0  # not an activation, or not selected
    size_bytes: int = 0  # of the documents as the source holds them

    def add(self, other: Counts) -> None:
        self.read += other.read
        self.written += other.written
        self.present += other.present
        self.differing += other.differing
        self.rejected += other.rejected
        self.filtered += other.filtered
        self.size_bytes += other.size_bytes

    @property
    def adds_up(self) -> bool:
        return self.read == self.written + self.present + self.differing + self.rejected + self.filtered


def sum_accounts(accounts: Iterable[Mapping[str, Counts]]) -> dict[str, Counts]:
    """Accounts by namespace, of several together."""
    result: dict[str, Counts] = {}
    for account in accounts:
        for namespace, counts in account.items():
            result.setdefault(namespace, Counts()).add(counts)
    return result


def total(counts: Iterable[Counts]) -> Counts:
    result = Counts()
    for each in counts:
        result.add(each)
    return result
