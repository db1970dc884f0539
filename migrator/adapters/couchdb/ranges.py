"""Cuts the ids of a database into key ranges of about even size, by a bounded number of looks at it.

A selection and a way to look enter, ranges leave that together hold every id the selection may have: they tile each
span without a gap, so that no document falls between two of them. Sizes are estimates; no promise hangs on them.

Two kinds of server are distinguished by what they answer. CouchDB's `offset` is the rank of a key: one look from
namespace to namespace counts each, and those that are large are cut where their ids' random hexadecimal digits say;
where ids aren't random, or the namespaces are many, ranges are halved where they are largest. PouchDB's is always 0: we
hop from namespace to namespace too, and tell from how densely the first ids of one stand how many it has.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterator, Sequence

import msgspec

from migrator.activations.selection import Selection

LOOKS = 300  # at most, for one plan; Cloudant's smaller plans allow few queries a second
TOP = "\U0010ffff"
_HOPS = 100  # namespaces that are counted one by one
_SAMPLE = 64  # ids looked at in each namespace, which tells its size to about an eighth
_GLOB = re.compile(r"[*?\[]")


class Range(msgspec.Struct, frozen=True):
    """The ids with low <= id < high, in the order of code points; `high` None means no end."""

    low: str
    high: str | None
    documents: int | None = None  # an estimate, None where it isn't known

    @property
    def key(self) -> str:
        return f"{self.low or 'first'}..{self.high or 'last'}"


class Look(msgspec.Struct, frozen=True):
    """What stands from a key on: the rank of the key where the server knows ranks (else 0), and the first ids."""

    rank: int
    total: int
    ids: list[str]


Looking = Callable[[str, str | None, int], Look]
"""Look at the ids from `low` on and below `high`, so many of them."""


def spans(selection: Selection) -> list[Range]:
    """What of the whole key space a selection may have: ids begin with the namespace and a slash.

    Source: OpenWhisk's `WhiskActivation.docid`; its `get` finds an activation by no other id.
    """
    literals = {name + "/" if not _GLOB.search(name) else _GLOB.split(name)[0] for name in selection.namespaces}
    found: list[Range] = []
    for literal in sorted(literals or {""}):
        if not found or not literal.startswith(found[-1].low):
            found.append(Range(literal, after_all(literal)))
    return found


def after_all(prefix: str) -> str | None:
    """The first key above all that begin with a prefix."""
    for at in range(len(prefix) - 1, -1, -1):
        if prefix[at] < TOP:
            following = ord(prefix[at]) + 1
            return prefix[:at] + chr(following if following != 0xD800 else 0xE000)  # surrogates are no characters
    return None


def cut(parts: Sequence[Range], looking: Looking, *, slice_documents: int, most_looks: int = LOOKS) -> list[Range]:
    """Cut spans into ranges of about `slice_documents` documents, by about so many looks."""
    looks = _Looks(looking, most_looks)
    end = looks(TOP, None, 1)
    if end.rank:
        return [piece for part in parts for piece in _by_ranks(part, looks, end.total, slice_documents)]
    cut: list[Range] = []
    for part in parts:
        below = part
        if part.high is None and part.low < TOP:
            # PouchDB leaves out ids above U+FFFF where no end is given.
            below = Range(part.low, TOP)
            cut.append(Range(TOP, None))
        cut += _by_hopping(below, looks, end.total, slice_documents)
    return sorted(cut, key=lambda piece: piece.low)


class _Looks:
    """Looks at the database, and how many there may still be."""

    def __init__(self, looking: Looking, most: int) -> None:
        self._looking = looking
        self.left = most

    def __call__(self, low: str, high: str | None, count: int) -> Look:
        self.left -= 1
        return self._looking(low, high, count)


# -- with ranks ---------------------------------------------------------------------------------------------------


class _Segment(msgspec.Struct, frozen=True, order=True):
    """A piece of a span; the largest sorts first. No id is in it before `first`, none from `top` on."""

    minus_documents: int
    low: str
    first: str
    top: str | None  # None means no end
    first_rank: int
    end_rank: int


def _by_ranks(part: Range, looks: _Looks, total: int, slice_documents: int) -> list[Range]:
    """Cut where namespaces end, and large namespaces within."""
    if looks.left < 2:
        return [part]
    start = looks(part.low, part.high, 1)
    end_rank = total if part.high is None else looks(part.high, None, 1).rank
    if not start.ids or end_rank <= start.rank:
        # What comes after this look is brought by the catch-up, whose snapshot is older.
        # And what a look didn't show though it is there is found when the range is read.
        return [Range(part.low, part.high, 0)]
    pieces, rest = _by_namespaces(part, start, end_rank, looks, slice_documents)
    for each in rest:
        pieces += _by_halves(each, looks, slice_documents)
    return merge(sorted(pieces, key=lambda piece: piece.low), slice_documents)


def _by_namespaces(
    part: Range, start: Look, end_rank: int, looks: _Looks, slice_documents: int
) -> tuple[list[Range], list[_Segment]]:
    """Hop from namespace to namespace; the ranges that are small enough, and what is left to be halved."""
    pieces: list[Range] = []
    rest: list[_Segment] = []
    low, first, rank = part.low, start.ids[0], start.rank
    for _ in range(min(_HOPS, looks.left)):
        namespace = first.partition("/")[0] + "/"
        top = after_all(namespace)
        if not first.startswith(namespace) or top is None or (part.high is not None and top >= part.high):
            break
        following = looks(top, part.high, 1)
        end = min(max(following.rank, rank), end_rank) if following.ids else end_rank
        high = top if following.ids else part.high
        cuts = [cut for cut in _hex_cuts(namespace, -(-(end - rank) // slice_documents)) if cut > low]
        if cuts and not _is_even(cuts, rank, end, looks, slice_documents):
            rest.append(_segment(low, first, high, rank, end))
        else:
            documents = (end - rank) // (len(cuts) + 1)
            pieces += [Range(begin, above, documents) for begin, above in zip([low, *cuts], [*cuts, high], strict=True)]
        if not following.ids:
            return pieces, rest
        low, first, rank = top, following.ids[0], end
    return pieces, [*rest, _segment(low, first, part.high, rank, end_rank)]


def _is_even(cuts: Sequence[str], rank: int, end: int, looks: _Looks, slice_documents: int) -> bool:
    """Whether the ids of a namespace are as random as OpenWhisk makes them, by one look at its middle."""
    if not looks.left:
        return True
    number = len(cuts) // 2
    found = looks(cuts[number], None, 1).rank - rank
    expected = (end - rank) * (number + 1) // (len(cuts) + 1)
    return abs(found - expected) <= max(slice_documents, (end - rank) // 8)


def _by_halves(whole: _Segment, looks: _Looks, slice_documents: int) -> list[Range]:
    """Halve the largest piece until all are small enough or enough was looked."""
    waiting, done = [whole], []
    while waiting:
        piece = heapq.heappop(waiting)
        middle = between(piece.first, piece.top or TOP)
        if -piece.minus_documents <= slice_documents or middle is None or not looks.left:
            done.append(piece)
            continue
        look = looks(middle, piece.top, 1)
        if not look.ids or look.rank >= piece.end_rank:
            narrower = _segment(piece.low, piece.first, middle, piece.first_rank, piece.end_rank)
            heapq.heappush(waiting, narrower)
            continue
        rank = max(look.rank, piece.first_rank)
        heapq.heappush(waiting, _segment(piece.low, piece.first, middle, piece.first_rank, rank))
        heapq.heappush(waiting, _segment(middle, look.ids[0], piece.top, rank, piece.end_rank))
    done.sort(key=lambda piece: piece.low)
    bounds = [piece.low for piece in done] + [whole.top]
    return [Range(piece.low, high, -piece.minus_documents) for piece, high in zip(done, bounds[1:], strict=True)]


def _segment(low: str, first: str, top: str | None, first_rank: int, end_rank: int) -> _Segment:
    return _Segment(first_rank - end_rank, low, first, top, first_rank, end_rank)


def between(low: str, high: str) -> str | None:
    """A short key above one and below another, about half-way; None where there is none."""
    if low >= high:
        return None
    at = next((at for at, (one, other) in enumerate(zip(low, high, strict=False)) if one != other), len(low))
    under = ord(low[at]) if at < len(low) else -1
    if ord(high[at]) - under > 1:
        return low[:at] + _middle_character(under, ord(high[at]))
    if at + 1 < len(high):
        return high[: at + 1]
    # Everything between begins like `low`, and may go on with anything.
    for deeper in range(at + 1, len(low) + 1):
        under = ord(low[deeper]) if deeper < len(low) else -1
        over = 0x7F if under < 0x7D else 0x110000
        if over - under > 1:
            return low[:deeper] + _middle_character(under, over)
    return None


def _middle_character(under: int, over: int) -> str:
    middle = (under + over) // 2
    if 0xD800 <= middle < 0xE000:  # surrogates are no characters
        middle = 0xD7FF if under < 0xD7FF else 0xE000
    return chr(middle)


# -- without ranks ------------------------------------------------------------------------------------------------


def _by_hopping(part: Range, looks: _Looks, total: int, slice_documents: int) -> list[Range]:
    bounds: list[tuple[str, int | None]] = []  # where a piece begins and how many documents it has
    low = part.low
    while low is not None and looks.left > 0:
        ids = looks(low, part.high, _SAMPLE).ids
        if not ids:
            break
        namespace = ids[0].partition("/")[0] + "/"
        inside = [id for id in ids if id.startswith(namespace)]
        if not inside:  # an id without a slash
            bounds.append((low, 1))
            low = ids[0] + "\0"
            continue
        documents = len(inside) if len(inside) < _SAMPLE else _estimate(inside, len(namespace))
        documents = max(len(inside), min(documents, total))  # ids that aren't random seem to stand far too densely
        pieces = -(-documents // slice_documents)
        cuts = [cut for cut in _hex_cuts(namespace, pieces) if cut > low and (part.high is None or cut < part.high)]
        bounds += [(cut, documents // pieces) for cut in (low, *cuts)]
        following = after_all(namespace)
        if following is None or (part.high is not None and following >= part.high):
            break
        low = following
    else:
        bounds.append((low, None))
    if not bounds:
        return [Range(part.low, part.high, 0)]
    bounds[0] = (part.low, bounds[0][1])
    highs = [low for low, _ in bounds[1:]] + [part.high]
    return merge(
        [Range(low, high, documents) for (low, documents), high in zip(bounds, highs, strict=True)], slice_documents
    )


def _estimate(ids: Sequence[str], prefix: int) -> int:
    """How many documents a namespace has, told from its first ids, which end in random hexadecimal digits."""
    try:
        share = (int(ids[-1][prefix : prefix + 8], 16) + 1) / 16**8
    except ValueError:
        return len(ids)
    return max(len(ids), int(len(ids) / share))


def _hex_cuts(namespace: str, pieces: int) -> Iterator[str]:
    pieces = min(pieces, 16**4)
    for number in range(1, pieces):
        yield f"{namespace}{number * 16**4 // pieces:04x}"


def merge(ranges: Sequence[Range], slice_documents: int) -> list[Range]:
    """Put neighbours together as long as they stay small enough."""
    found: list[Range] = []
    for piece in ranges:
        last = found[-1] if found else None
        if (
            last is not None
            and last.high == piece.low
            and last.documents is not None
            and piece.documents is not None
            and last.documents + piece.documents <= slice_documents
        ):
            found[-1] = Range(last.low, piece.high, last.documents + piece.documents)
        else:
            found.append(piece)
    return found
