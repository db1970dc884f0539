"""Which of an archive's backups is newer: told by its chains and by the numbers in its manifests, never by a clock.

Manifests enter, ranks and sentences leave. A backup is newer than the one that it continues. Otherwise the one with
the higher number is newer: a manifest's number is one more than the highest that the archive held when it was written.
Earlier releases wrote no numbers. Such a backup is older than every numbered one unless it ended later and the
numbered one doesn't name it as there before; among themselves only the clock is left to tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from migrator.adapters.archive.manifest import Manifest, id_ms
from migrator.text.arguments import argument

Rank = tuple[int, bool, int, int, str]
"""Number, whether it is derived, time, links below it, id. Compares as the backups do: the highest is the newest."""


def in_order(backups: Iterable[Manifest]) -> list[Manifest]:
    """Backups from the oldest to the newest."""
    found = list(backups)
    rank = ranks(found)
    return sorted(found, key=lambda each: rank[each.backup])


def ranks(backups: Sequence[Manifest]) -> dict[str, Rank]:
    """The rank of each backup, by its id."""
    by_id = {each.backup: each for each in backups}
    numbered = [each for each in backups if each.number is not None]
    found: dict[str, Rank] = {}
    for each in backups:
        for link in reversed(_unranked(each, by_id, found)):
            parent = found.get(link.parent) if link.parent is not None else None
            found[link.backup] = _rank(link, parent, numbered)
    return found


def _unranked(backup: Manifest, by_id: dict[str, Manifest], ranked: dict[str, Rank]) -> list[Manifest]:
    """A backup and what it builds on, up to what has a rank; a chain that comes back to itself ends there."""
    links: list[Manifest] = []
    seen: set[str] = set()
    link: Manifest | None = backup
    while link is not None and link.backup not in ranked and link.backup not in seen:
        links.append(link)
        seen.add(link.backup)
        link = by_id.get(link.parent) if link.parent is not None else None
    return links


def _rank(backup: Manifest, parent: Rank | None, numbered: Iterable[Manifest]) -> Rank:
    below, time_ms, depth = (parent[0], parent[2], parent[3] + 1) if parent else (0, 0, 0)
    time_ms = max(time_ms, backup.ended_ms)
    if backup.number is not None:
        return max(backup.number, below + 1), False, time_ms, depth, backup.backup
    before = [
        each.number or 0
        for each in numbered
        if each.ended_ms < backup.ended_ms and backup.backup not in each.clock_ahead
    ]
    return max(below, *before, 0), True, time_ms, depth, backup.backup


def next_number(backups: Sequence[Manifest]) -> int:
    """The number of a backup that is newer than all of these."""
    return 1 + max((rank[0] for rank in ranks(backups).values()), default=0)


def backups_after(moment_ms: int, backups: Iterable[str], manifests: Iterable[Manifest]) -> tuple[str, ...]:
    """Which backups are later than a moment by their own clocks; of those without a manifest the id tells."""
    ended = {each.backup: each.ended_ms for each in manifests}
    return tuple(sorted(each for each in backups if ended.get(each, id_ms(each)) > moment_ms))


def contradiction(backups: Sequence[Manifest]) -> str | None:
    """A sentence where the times of backups, the oldest first, contradict their order; None where they don't."""
    for older, newer in pairwise(backups):
        if newer.ended_ms < older.ended_ms:
            return (
                f"backup {newer.backup} is newer than {older.backup}, although the clock of the machine that made it "
                f"showed an earlier time; order comes from the chain, and {argument('at')} goes by those clocks"
            )
    return None
