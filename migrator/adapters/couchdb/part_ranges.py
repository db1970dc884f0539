"""The ranges of ids that one of N parts of a database is in: in each namespace, the same share of its keys.

Spans and a way to look enter, ranges leave that together hold every id of the part within the spans. What lies between
two of them belongs to other parts, or is proven to be empty: where the rank of one namespace's end isn't that of the
next one's beginning, the ids between them are read as well. Reading filters by id, so a range may hold foreign ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from migrator.activations.part import Part
from migrator.adapters.couchdb.ranges import Looking, Range, after_all

MOST_NAMESPACES = 10_000
"""Looked for at most, by two looks each; what comes after them is read by every part, and filtered."""


def ranges_of_part(spans: Sequence[Range], part: Part, look: Looking, *, ranked: bool) -> list[Range]:
    """The ranges of a part, in the order of their keys within each span."""
    namespaces_left = MOST_NAMESPACES
    found: list[Range] = []
    for span in spans:
        low: str | None = span.low
        while low is not None and (span.high is None or low < span.high):
            seen = look(low, span.high, 1)
            if not seen.ids or not namespaces_left:
                found.append(Range(low, span.high))  # what a look didn't show is found when the range is read
                break
            namespaces_left -= 1
            name, slash, _ = seen.ids[0].partition("/")
            begin = f"{name}/" if slash else name
            if low < begin and not (ranked and look(begin, span.high, 1).rank == seen.rank):
                found.append(Range(low, begin))
            if not slash:
                if part.takes_id(name):
                    found.append(Range(begin, f"{name}\0"))
                low = f"{name}\0"
                continue
            end = after_all(begin)
            found += _within(
                Range(f"{begin}{part.low}", end if part.high is None else f"{begin}{part.high}"), low, span
            )
            low = end
    return found


def _within(piece: Range, low: str, span: Range) -> Iterator[Range]:
    """What of a range is in a span, from a key on: a span may begin or end within a namespace."""
    first = max(piece.low, low)
    ends = [end for end in (piece.high, span.high) if end is not None]
    high = min(ends, default=None)
    if high is None or first < high:
        yield Range(first, high)
