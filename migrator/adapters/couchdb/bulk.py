"""Reads a range of ids through `_all_docs`, and proves that it was read whole.

A slice enters, batches leave. No page is believed to be the last because it is short or empty: proxies cap `limit`,
and a fault cuts pages. A range counts as read when as many documents came as the server counts in another way:

* where it knows ranks (`offset`), the rank of the range's end less that of its beginning, both from before the first
  page. Documents that are missing must have been deleted since, which `_changes` tells.
* elsewhere (PouchDB), the last id from the other end is the last one read, and it stands where the count says.

Otherwise the range is read again from its beginning, a few times; then it is `Unavailable`. How many rows were read is
part of the position, so that a resumed range is proven as a whole.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import pairwise

import msgspec

from migrator.adapters.base import Batch, Slice, Token
from migrator.adapters.couchdb import rows as rows_
from migrator.adapters.couchdb.client import Client
from migrator.adapters.couchdb.feed import Changed, changed_ids, take_alone, there
from migrator.adapters.couchdb.paging import Found, Pace, Pages
from migrator.adapters.couchdb.ranges import TOP, Look
from migrator.adapters.pages import Page
from migrator.errors import Unavailable
from migrator.records import Form, Selection

_TRIES = 3  # at a range whose proof fails, in one run
_FRESH_S = 10
_LISTED = 5_000  # ids in a page of a count


class Place(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far a range is read; a position is made of it. Earlier versions' was just the id."""

    at: str | None = None  # the last id
    first: str | None = None
    rows: int = 0  # how many came, from the range's beginning or from behind `base` on
    base: str | None = None
    expected: int | None = None  # how many there were when it was begun, where the server knows ranks
    since: str | int | None = None  # the sequence of the database then

    @property
    def token(self) -> Token:
        found: Token = msgspec.to_builtins(self)
        return found


def place_of(position: Token) -> Place:
    if isinstance(position, str):
        return Place(at=position, base=position)
    return Place() if position is None else msgspec.convert(position, Place)


class _Range(msgspec.Struct, frozen=True):
    """The ids with low <= id < high, read in one direction."""

    key: str
    low: str
    high: str | None
    descending: bool = False

    def after(self, id: str | None) -> tuple[str, str | None]:
        """What is left after an id; nothing stands between an id and the same with a NUL. Downwards it comes again."""
        if id is None:
            return self.low, self.high
        return (self.low, id) if self.descending else (f"{id}\0", self.high)

    def __contains__(self, id: str) -> bool:
        return self.low <= id and (self.high is None or id < self.high)


class Bulk:
    """Reads ranges for a reader; used by several threads at once."""

    def __init__(self, client: Client, pages: Pages) -> None:
        self._client = client
        self._pages = pages
        self._ranked: bool | None = None
        self._failures: Counter[str] = Counter()  # of proofs, by slice
        self._lock = threading.Lock()
        self._since: tuple[float, str | int] | None = None

    # -- looks --------------------------------------------------------------------------------------------------

    def look(self, low: str, high: str | None, count: int, *, descending: bool = False, skip: int = 0) -> Look:
        """The first ids of a range, without their documents."""
        body = self._client.all_docs(low=low, high=high, limit=count, with_docs=False, descending=descending, skip=skip)
        found = self._client.understand(body, rows_.LookRows, "_all_docs")
        ids = [row.id for row in found.rows]
        self._check(ids, low, high, count, descending=descending)
        return Look(found.offset or 0, found.total_rows or 0, ids)

    def rank(self, key: str | None) -> int:
        """How many ids stand below a key, 0 where the server doesn't know ranks; None is beyond all."""
        return self.look(TOP if key is None else key, None, 1).rank

    def within(self, low: str, high: str | None) -> int:
        """How many ids stand in a range, by ranks; rather too few than too many where it is written to."""
        before, end, after = self.rank(low), self.rank(high), self.rank(low)
        return max(0, end - max(before, after))

    @property
    def is_ranked(self) -> bool:
        """Whether the server knows ranks; asked until a database that isn't empty tells it."""
        if self._ranked is None:
            end = self.look(TOP, None, 1)
            if not end.total and not end.rank:
                return False
            self._ranked = end.rank > 0
        return self._ranked

    def _check(self, ids: list[str], low: str, high: str | None, asked: int, *, descending: bool = False) -> None:
        """A server, or a proxy with a cache, that passes over an option would make us leave out or repeat documents."""
        ordered = ids[::-1] if descending else ids
        top = ordered[-1] if ordered else ""
        in_bounds = not ordered or (ordered[0] >= low and (high is None or top < high or (descending and top == high)))
        is_ordered = all(one < other for one, other in pairwise(ordered))
        if len(ids) > asked or not in_bounds or not is_ordered:
            raise self._client.garbled(
                "_all_docs",
                f"{asked} documents of {low!r}..{high!r} were asked for in order, {len(ids)} from {ids[0]!r} came",
            )

    # -- reading ------------------------------------------------------------------------------------------------

    def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
        part = _Range(slice.key, slice.spec["low"], slice.spec["high"], slice.spec.get("descending", False))
        place, pace, emptied = place_of(after), Pace(self._pages), 0
        while True:
            end_rank = None
            if place.since is None:
                place, end_rank = self._begin(part, place)
            found = pace.next(
                partial(self._page, part, place, selection, end_rank),
                partial(self._alone, part, place, selection, end_rank),
            )
            place = place_of(found.position)
            if found.rows:
                emptied = 0
                yield found.page.batch(found.position, size_bytes=found.size_bytes)
                continue
            lack = self._lack(part, place)
            if lack is None:
                return
            emptied += 1
            if emptied < _TRIES and self._goes_on(part, place):
                continue
            with self._lock:
                self._failures[part.key] += 1
            if self._failures[part.key] > _TRIES:
                raise Unavailable(
                    f"{self._client.location}: {part.key} can't be read whole: {lack}; "
                    "look at the server and the proxies in between, then run again"
                )
            place, emptied = Place(), 0

    def _begin(self, part: _Range, place: Place) -> tuple[Place, int | None]:
        """Note where the database stands before a range is read, and the rank of its end where the server tells."""
        place = msgspec.structs.replace(place, since=self._stood_at())
        return place, self.rank(part.after(place.at)[1]) if self.is_ranked else None

    def _stood_at(self) -> str | int:
        """A sequence of a moment ago; an older one only makes the list of what changed longer."""
        now_s = time.monotonic()
        if self._since is None or now_s - self._since[0] > _FRESH_S:
            self._since = now_s, self._client.about().update_seq
        return self._since[1]

    def _expect(self, part: _Range, place: Place, end_rank: int | None, offset: int | None) -> Place:
        """How many documents a range must give: its first page tells the rank of its beginning."""
        if end_rank is None:
            return place
        low = self.rank(part.low) if part.descending else offset or 0
        return msgspec.structs.replace(place, expected=max(0, end_rank - low))

    def _page(
        self,
        part: _Range,
        place: Place,
        selection: Selection,
        end_rank: int | None,
        asked: int,
        bound_bytes: int | None,
    ) -> Found:
        low, high = part.after(place.at)
        again = part.descending and high is not None  # the upper bound may come, too
        body = self._client.all_docs(
            low=low,
            high=high,
            limit=asked + again,
            with_docs=True,
            descending=part.descending,
            bound_bytes=bound_bytes,
        )
        answer = self._client.decode_page(rows_.rows, body, "_all_docs")
        rows = answer.rows
        for row in rows:
            if row.error is not None:
                raise self._client.garbled("_all_docs", f"the row of {row.id or 'a document'} says {row.error}")
        self._check([row.id for row in rows], low, high, asked + again, descending=part.descending)
        if again and rows and rows[0].id == high:
            del rows[0]
        page = Page(Form.COUCHDB, selection)
        for row in rows:
            page.take(row.id, there(self._client, row.id, row.doc, "_all_docs"))
        place = self._expect(part, place, end_rank, answer.offset)
        return Found(page, len(rows), _on(place, [row.id for row in rows]).token, len(body))

    def _alone(self, part: _Range, place: Place, selection: Selection, end_rank: int | None) -> Found:
        """A page of the one document that can't be decoded, fetched by itself."""
        page = Page(Form.COUCHDB, selection)
        low, high = part.after(place.at)
        again = part.descending and high is not None
        look = self.look(low, high, 1 + again, descending=part.descending)
        place = self._expect(part, place, end_rank, look.rank)
        ids = [id for id in look.ids if id != high][:1]
        size_bytes = sum(take_alone(self._client, id, page) for id in ids)
        return Found(page, len(ids), _on(place, ids).token, size_bytes)

    # -- the proof ----------------------------------------------------------------------------------------------

    def _goes_on(self, part: _Range, place: Place) -> bool:
        """Whether more stands after the last id, against what an empty page said."""
        low, high = part.after(place.at)
        ids = self.look(low, high, 1 + part.descending, descending=part.descending).ids
        return any(id != high for id in ids)

    def _lack(self, part: _Range, place: Place) -> str | None:
        """What shows that a range wasn't read whole; None where it was."""
        if place.expected is not None:
            missing = place.expected - place.rows
            if missing <= 0 or missing <= self._changed(part, place).deleted:
                return None
            # Each rank is of a moment of its own: what was deleted below the range between the two counts as missing.
            if place.base is None and place.rows >= self.within(part.low, part.high):
                return None
            return f"{place.expected:,} documents are counted in it, {place.rows:,} came"
        begun = part if place.base is None else _Range(part.key, f"{place.base}\0", part.high)
        if not place.rows:
            return None if self._is_empty(begun) else "it seems to be empty, but nothing shows it"
        last = self.look(begun.low, begun.high, 2, descending=not part.descending).ids
        is_end = place.at in last[:1] or (len(last) == 2 and last[0] == part.high and last[1] == place.at)
        upper = place.first if part.descending else place.at
        if is_end and self.look(begun.low, begun.high, 1, skip=place.rows - 1).ids == [upper]:
            return None
        counted = self._count(begun)
        changed = self._changed(begun, place)
        if changed.ids and abs(counted - place.rows) <= changed.ids:
            return None
        return f"{counted:,} documents are counted in it, {place.rows:,} came"

    def _is_empty(self, part: _Range) -> bool:
        """Whether something shows that a range is empty: its neighbour, since an empty answer shows nothing."""
        following = self.look(part.low, TOP, 1).ids if part.low < TOP else []
        if following:
            return following[0] not in part
        before = self.look("", TOP, 1, descending=True).ids
        return before[0] < part.low if before else not self._client.about().doc_count

    def _count(self, part: _Range) -> int:
        """How many ids stand in a range, by listing them."""
        count, last = 0, None
        while True:
            low = part.low if last is None else f"{last}\0"
            ids = self.look(low, part.high, _LISTED).ids
            if not ids:
                return count
            count, last = count + len(ids), ids[-1]

    def _changed(self, part: _Range, place: Place) -> Changed:
        """What was stored and deleted in a range since it was begun."""
        if place.since is None or not self._client.knows(place.since):
            return Changed(0, 0)
        return changed_ids(self._client, place.since, part.__contains__)


def _on(place: Place, ids: list[str]) -> Place:
    """A place behind some more ids."""
    if not ids:
        return place
    return msgspec.structs.replace(place, at=ids[-1], first=place.first or ids[0], rows=place.rows + len(ids))
