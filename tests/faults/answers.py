"""Every kind of answer that the migrator gets is altered in every way, once and always: is a document lost?

Every case is an operation (copy, backup, restore, verify, find, stats, detect) on one store or two, with one kind of
answer of one of them altered, or the store itself replaced just before it answers. A document must not be missing,
altered or doubled after a run that said all was well; a verification must not call two stores the same which aren't; a
search or a count must not find less than there is; a mere limit of a proxy must keep no run from its end.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from tests.faults.alterations import ALL_KINDS, ALTERATIONS
from tests.faults.laboratory import DIRECTIONS, Case, Direction, Known, Lane, parse_case
from tests.faults.verdict import Verdict

NAME = "answers"
SIZE = 950
_NUMBERS = ("once-1", "once-2", "once-last")
_REPEATED = ("previous", "stale")
_LOOKING = ("stats", "detect")  # they tell what a server counts, and have nothing to hold it against
_CARRYING = ("copy", "backup", "restore")
_BELIEVED = (*_REPEATED, "object", "404-missing")  # of which only such a look would tell
_SHOWN = {
    *("failed-shard", "timed-out", "shard-missing"),
    *(each.name for each in ALTERATIONS if each.kinds is None and each.name not in _BELIEVED),
}


def cases_of(direction: Direction, known: Known) -> Iterator[Case]:
    """All cases of a direction, in an order that doesn't change."""
    for kind, requests in [(ALL_KINDS, 1), *sorted(known.kinds.items())]:
        numbers = _NUMBERS if requests > 2 else _NUMBERS[:requests]
        for alteration in ALTERATIONS:
            if not alteration.fits(kind) or (direction.operation in _LOOKING and alteration.name not in _SHOWN):
                continue
            if alteration.of_store:
                # A chain begins with a store that others share; an archive can't be replaced from here.
                if direction.operation in _CARRYING and not direction.note:
                    yield from (Case(direction, kind, alteration.name, each) for each in numbers)
                continue
            # What befalls any answer alike befalls the first as the last.
            some = numbers[:1] if alteration.kinds is None and alteration.name not in _REPEATED else numbers
            times = ("always",) if alteration.always_only or kind == ALL_KINDS else (*some, "always")
            yield from (Case(direction, kind, alteration.name, each) for each in times)


def cases(lane: Lane, seed: int, size: int, only: Sequence[str] = ()) -> list[str]:
    """Ids of a fair choice by seed, with the faults of rows, counts and stores before those of every answer."""
    wanted = [each for each in DIRECTIONS if _may_be(each, only)]
    everything = [case.id for each in wanted for case in cases_of(each, lane.known(each))]
    everything = [id for id in everything if all(part in id for part in only)]
    chance = random.Random(seed)
    special = {alteration.name for alteration in ALTERATIONS if alteration.kinds is not None}
    special |= {"echo-200", "echo-401", "echo-502"}
    weights = {id: chance.random() * (0.3 if id.split("/")[3] in special else 1.0) for id in everything}
    taken = set(sorted(everything, key=weights.__getitem__)[: size or len(everything)])
    return [id for id in everything if id in taken]


def _may_be(direction: Direction, only: Sequence[str]) -> bool:
    """Whether a case of this direction can have all the texts in its id, so that others needn't be tried out."""
    names = [part for part in only if part in direction.name]
    return bool(names) or not any(part in each.name for part in only for each in DIRECTIONS)


def run(lane: Lane, case: str) -> Verdict:
    return lane.run(parse_case(case))
