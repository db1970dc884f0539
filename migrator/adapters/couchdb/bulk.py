"""Reads a range of ids through `_all_docs`; each page is proven to be whole before it is given.

A slice enters, batches leave. No page is believed to be the last because it is short or empty: proxies cap `limit`,
and a fault cuts pages. What is asked costs one small request for a range where nothing is written meanwhile:

* where the server knows ranks (`offset`), the rank that the next page begins at is that of this page and its rows; the
  last page ends at the rank of the range's end.
* where ranks don't agree (something was stored or deleted elsewhere meanwhile), or aren't known (PouchDB), the last id
  of a page must stand where its number of rows says, counted by the server (`skip`).
* that a range ends is shown by the id that follows it, or by the last of the database.

A page that isn't proven is read again, smaller each time, a few times; then the range is `Unavailable`. So a position
is an id up to which all was given, once: whoever goes on from it gets nothing twice and misses nothing.

What is left: documents hidden in a page while just as many below it are deleted before the next page comes.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import msgspec

from migrator.activations.document import Form
from migrator.activations.part import Part
from migrator.activations.selection import Selection
from migrator.adapters.base import Batch, Slice, Token
from migrator.adapters.couchdb import rows as rows_
from migrator.adapters.couchdb.client import Client
from migrator.adapters.couchdb.feed import take_alone, there
from migrator.adapters.couchdb.ranges import TOP, Look
from migrator.adapters.shared.paging import Pace, Page, PageSize
from migrator.errors import Unavailable
from migrator.text.units import counted

_TRIES = 8  # at a page whose proof fails, each half as large


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


class _Read(NamedTuple):
    """A page as it was read."""

    page: Page
    rows: int
    size_bytes: int
    low: str  # what was requested
    high: str | None
    last: str | None  # the id it ends with
    came: int  # its rows, with one that the page before ended with
    offset: int | None
    is_short: bool  # fewer rows than were requested

    def batch(self) -> Batch:
        return self.page.batch(self.last, size_bytes=self.size_bytes)


class Bulk:
    """Reads ranges for a reader; used by several threads at once."""

    def __init__(self, client: Client, pages: PageSize, part: Part | None = None) -> None:
        """With a `part`, nothing of other parts is given: a range may hold ids of several."""
        self._client = client
        self._pages = pages
        self._part = part
        self._ranked: bool | None = None

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
        """A server, or a proxy with a cache, that skips an option would make us leave out or repeat documents."""
        ordered = ids[::-1] if descending else ids
        top = ordered[-1] if ordered else ""
        in_bounds = not ordered or (ordered[0] >= low and (high is None or top < high or (descending and top == high)))
        is_ordered = all(one < other for one, other in pairwise(ordered))
        if len(ids) > asked or not in_bounds or not is_ordered:
            raise self._client.malformed_answer(
                "_all_docs",
                f"{counted(asked, 'document')} of {low!r}..{high!r} asked for, {len(ids):,} from {ids[0]!r} came",
            )

    # -- reading ------------------------------------------------------------------------------------------------

    def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
        part = _Range(slice.key, slice.spec["low"], slice.spec["high"], slice.spec.get("descending", False))
        pace, failures, asks_end = Pace(self._pages), 0, self.is_ranked
        at = begun = after if isinstance(after, str) else None  # up to which all was given
        held: _Read | None = None  # until it is proven; it begins behind `begun`
        while True:
            try:
                found = pace.next(partial(self._page, part, at, selection), partial(self._alone, part, at, selection))
            except Unavailable:
                if held is not None and self._stands(part, held):
                    yield held.batch()
                raise
            if held is not None:
                if not (self._continues(part, held, found) or self._stands(part, held)):
                    failures = self._failed(part, failures, begun)
                    pace.doubted(held.rows)
                    at, held = begun, None
                    continue
                pace.proven()
                yield held.batch()
                begun, held, failures = at, None, 0
            if found.rows:
                if asks_end and found.is_short:
                    if self._ends_with(part, found):
                        yield found.batch()
                        return
                    asks_end = False  # a cap on `limit`, or the database is written to
                at, held = found.last, found
            elif self._is_end(part, at):
                return
            else:
                failures = self._failed(part, failures, begun)

    def _failed(self, part: _Range, failures: int, begun: str | None) -> int:
        """Count one more failure; raises `Unavailable` where they are too many."""
        if failures + 1 < _TRIES:
            return failures + 1
        raise Unavailable(
            f"{self._client.location}: {part.key} can't be read completely: what follows {begun or 'its beginning'!r} "
            "doesn't match the server's count; check the server and the proxies in between, then run again"
        )

    def _page(self, part: _Range, at: str | None, selection: Selection, asked: int, bound_bytes: int | None) -> _Read:
        low, high = part.after(at)
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
                raise self._client.malformed_answer(
                    "_all_docs", f"the row of {row.id or 'a document'} says {row.error}"
                )
        came = len(rows)
        self._check([row.id for row in rows], low, high, asked + again, descending=part.descending)
        if again and rows and rows[0].id == high:
            del rows[0]
        page = Page(Form.COUCHDB, selection)
        taken = rows if self._part is None else [row for row in rows if self._part.takes_id(row.id)]
        page.take_all((row.id, there(self._client, row.id, row.doc, "_all_docs"), None) for row in taken)
        last = rows[-1].id if rows else None
        return _Read(page, len(rows), len(body), low, high, last, came, answer.offset, came < asked + again)

    def _alone(self, part: _Range, at: str | None, selection: Selection) -> _Read:
        """A page of the one document that can't be decoded, fetched by itself."""
        page = Page(Form.COUCHDB, selection)
        low, high = part.after(at)
        again = part.descending and high is not None
        look = self.look(low, high, 1 + again, descending=part.descending)
        ids = [id for id in look.ids if not (again and id == high)][:1]
        if not ids:
            raise self._client.malformed_answer("_all_docs", "it has no ids where it had a document")
        if self._part is not None and not self._part.takes_id(ids[0]):
            return _Read(page, 1, 0, low, high, ids[0], look.ids.index(ids[0]) + 1, look.rank, False)
        size_bytes = take_alone(self._client, ids[0], page)
        if page.is_empty and self.look(ids[0], f"{ids[0]}\0", 1).ids:
            raise self._client.malformed_answer("_all_docs", f"{ids[0]} is listed, but not found when requested by id")
        came = look.ids.index(ids[0]) + 1
        return _Read(page, 1, size_bytes, low, high, ids[0], came, look.rank, False)

    # -- the proof ----------------------------------------------------------------------------------------------

    def _continues(self, part: _Range, held: _Read, found: _Read) -> bool:
        """Whether the page that was read next begins at the rank where a page ends."""
        if not self.is_ranked or held.offset is None or found.offset is None:
            return False
        return found.offset == held.offset + held.came - part.descending

    def _stands(self, part: _Range, held: _Read) -> bool:
        """Whether the server counts as many ids up to the last of a page as the page has."""
        found = self.look(held.low, held.high, 1, descending=part.descending, skip=held.came - 1)
        return found.ids == [held.last]

    def _ends_with(self, part: _Range, found: _Read) -> bool:
        """Whether a page ends at the rank where its range does, so that it is whole and the last."""
        if found.offset is None:
            return False
        if part.descending:  # ranks count from the end
            below = self.look(part.low, None, 1)
            return found.offset + found.came == below.total - below.rank
        return found.offset + found.came == self.rank(part.high)

    def _is_end(self, part: _Range, at: str | None) -> bool:
        """Whether something shows that nothing is left in a range: its neighbour, since an empty answer doesn't."""
        low, high = part.low, at
        if not part.descending or at is None:
            low, high = part.after(at)
        top = None if self.is_ranked or low >= TOP else TOP  # PouchDB
        following = self.look(low, top, 1).ids
        if following:  # downwards `at` itself, or what stands above where it has been deleted
            return high is not None and following[0] >= high
        before = self.look("", top, 1, descending=True).ids
        return before[0] < low if before else not self._client.about().doc_count
