"""What was copied, compared with what the stores themselves count.

The accounts of a job and two stores enter; a `Shortfall` with its sentence leaves where documents are missing. Every
bound is a lower one: documents that were read twice, stored meanwhile or were in the target before only add to what is
counted, so that nothing is called missing that isn't. Knows nothing of slices.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import TypeVar

from migrator.activations.accounts import total
from migrator.adapters.base import Reader, SupportsRepeats, SupportsStock, SupportsTargetCensus, Token, Writer
from migrator.adapters.shared.optional import census
from migrator.engine.state.checkpoint import Checkpoint, Shortfall
from migrator.engine.state.notes import Origin
from migrator.errors import AccessDenied
from migrator.text.units import counted

_LOOKS = 3
_PAUSE_S = 1.0

_T = TypeVar("_T")

Found = tuple[Shortfall, str]


def unread(reader: Reader, checkpoint: Checkpoint, location: str) -> Found | None:
    """Hold what a job read since its first plan, which was a full one, against the source's own count."""
    read = total(checkpoint.counts.values()).read

    def missing() -> int:
        return (_count(reader, checkpoint) or 0) - read

    if (short := _for_good(missing)) <= 0:
        return None
    return Shortfall(unread=short), (
        f"{location} counts {counted(read + short, 'selected document')}, but {counted(read, 'was', 'were')} read: "
        f"{counted(short, 'is', 'are')} missing. "
        "Run the same command to read everything again"
    )


def check_stored(reader: Reader, writer: Writer, checkpoint: Checkpoint, location: str) -> Found | None:
    """Hold what a job copied in its bulk and the rounds after it against the target's own count."""
    if not isinstance(writer, SupportsTargetCensus):
        return None
    sure = checkpoint.created + _left_of_stock(writer, checkpoint)
    least = max(sure, _distinguished(reader, checkpoint))
    if (short := _lacking(writer, least)) and least > sure and _repeats_ids(reader, checkpoint):
        least = sure
        short = _lacking(writer, least)
    if not short:
        return None
    return Shortfall(unstored=short), (
        f"{location} counts {counted(least - short, 'document')}, but at least {counted(least, 'was', 'were')} stored "
        f"or found there: {counted(short, 'is', 'are')} missing, unless somebody deleted documents there meanwhile. "
        "Run the same command to copy everything again"
    )


def take_stock(writer: Writer) -> Token:
    """What is in the target before the first write; None where nobody can tell."""
    return _if_allowed(writer.stock, None) if isinstance(writer, SupportsStock) else None


def _left_of_stock(writer: Writer, checkpoint: Checkpoint) -> int:
    stock = checkpoint.stock
    if stock is None or not isinstance(writer, SupportsStock):
        return 0
    return _if_allowed(lambda: writer.left_of(stock), 0)


def _lacking(writer: SupportsTargetCensus, least: int) -> int:
    """How many documents a target lacks that holds at least so many."""

    def missing() -> int:
        there = _if_allowed(writer.census, None)
        return 0 if there is None else least - there

    return max(0, _for_good(missing)) if least > 0 else 0


def _distinguished(reader: Reader, checkpoint: Checkpoint) -> int:
    """How many documents a target holds at least, as far as the source's ids tell them apart."""
    if not (reader.abilities.unique_ids and checkpoint.knows_origins):
        return 0
    least, unique = _distinct(checkpoint.there)
    if unique and (selected := _count(reader, checkpoint)) is not None:
        totals = total(checkpoint.counts.values())
        least = max(least, selected - totals.filtered - totals.rejected - checkpoint.shortfall.unread)
    return least


def _distinct(there: Mapping[Origin, int]) -> tuple[int, bool]:
    """How many documents these are at least, none of them counted twice, and whether an id stands for one only.

    Documents of two indices may bear one id, unless the id says that they are of different namespaces.
    """
    namespaces: dict[str, list[int]] = defaultdict(list)
    for origin, documents in there.items():
        namespaces[origin.namespace].append(documents)
    if len({origin.index for origin in there}) > 1:
        unique = "" not in namespaces and all(len(each) == 1 for each in namespaces.values())
        odd = max(namespaces.pop("", [0]))
        return max(odd, sum(map(max, namespaces.values()))), unique
    return sum(there.values()), True


def _repeats_ids(reader: Reader, checkpoint: Checkpoint) -> bool:
    return isinstance(reader, SupportsRepeats) and reader.repeats_ids(checkpoint.snapshot)


def _count(reader: Reader, checkpoint: Checkpoint) -> int | None:
    return _if_allowed(lambda: census(reader, checkpoint.selection, checkpoint.snapshot), None)


def _if_allowed(ask: Callable[[], _T], otherwise: _T) -> _T:
    """What a store says, unless the login may read or write documents and not ask that."""
    try:
        return ask()
    except AccessDenied:
        return otherwise


def _for_good(missing: Callable[[], int], *, sleep: Callable[[float], None] = time.sleep) -> int:
    """How many are missing, believed only when several looks agree: one replica may lag behind the others."""
    short = missing()
    for _ in range(_LOOKS - 1):
        if short <= 0:
            return 0
        sleep(_PAUSE_S)
        short = min(short, missing())
    return short
