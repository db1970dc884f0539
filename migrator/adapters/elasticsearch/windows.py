"""Reads windows of sequence numbers: pages of which each is proven to be whole before it is given.

A window enters, batches leave. What a page holds is checked against what was asked (index, numbers, no document twice),
against the total that the page itself tells, and against a `_count` of the numbers that it is given for; a page that is
shorter than it should be is never an end. Several documents of one shard may have the same number (`_shrink` makes them
so), and such a group is given as a whole.

`scroll` reads a window by another way, for whoever doubts the first: what holds is only known at its end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from migrator.adapters.base import Batch
from migrator.adapters.elasticsearch.client import Client
from migrator.adapters.elasticsearch.counting import ShardQuery, Total, count_in_shard, exact, numbers
from migrator.adapters.elasticsearch.fetching import UndecodableError
from migrator.adapters.elasticsearch.indices import deleted
from migrator.adapters.elasticsearch.transport import TooLarge
from migrator.adapters.pages import Page, PageSize
from migrator.errors import AnswerLost, Incomplete, MigratorError, Unavailable
from migrator.records import Form, Rejection, Selection

_TRIES = 12  # at one page that isn't whole, smaller each time
_RIGHT = "the index privilege read"
_WINDOW_LIMIT = re.compile(r"Result window is too large.* less than or equal to: \[(\d+)\]")
"""Source: the refusal of `index.max_result_window`, the same on all versions."""


class Window(msgspec.Struct, frozen=True):
    """The `spec` of a slice: the sequence numbers (above, last] of one shard of one index."""

    index: str
    uuid: str
    history: str
    shard: int
    above: int
    last: int
    start_is_long: bool = False
    scroll: bool = False


class _Hit(msgspec.Struct, gc=False):
    index: str = msgspec.field(name="_index")
    id: str = msgspec.field(name="_id")
    number: int = msgspec.field(name="_seq_no")
    source: msgspec.Raw = msgspec.field(name="_source", default=msgspec.Raw(b""))


class _Shards(msgspec.Struct):
    total: int
    successful: int


class _Hits(msgspec.Struct):
    total: int | Total
    hits: list[_Hit]


class _Found(msgspec.Struct):
    timed_out: bool
    shards: _Shards = msgspec.field(name="_shards")
    hits: _Hits
    scroll_id: str = msgspec.field(name="_scroll_id", default="")


_found = msgspec.json.Decoder(_Found)


class _Asked(NamedTuple):
    """One page: the numbers (above, last] and how many documents at most."""

    window: Window
    above: int
    last: int
    size: int
    selection: Selection
    by_number: bool

    def __str__(self) -> str:
        return f"{self.window.index}[{self.window.shard}] {self.above + 1}..{self.last}"


class _Whole(NamedTuple):
    """Documents that are proven to be all of the numbers up to `position`."""

    position: int
    hits: list[_Hit]


class _Short(NamedTuple):
    """Fewer documents than there are."""

    counted: int
    hits: int


class _Pace:
    """How many documents to ask for, over how many numbers, within one window."""

    def __init__(self, page_size: PageSize) -> None:
        self._page_size = page_size
        # Numbers for each document that is asked for: gaps and narrow selections spread them out, ties crowd them.
        self.spread = 1.0
        self.most: int | None = None  # bounds a page after one that was too large or couldn't be decoded
        self.failures = 0  # at the page in hand

    def next(self, window: Window, done: int, selection: Selection) -> _Asked:
        size = self._page_size.of(window.last - done)
        size = size if self.most is None else min(size, self.most)
        last = min(done + max(1, size if self.spread == 1 else int(size * self.spread)), window.last)
        # Where the page holds all there can be, their order doesn't matter, and that of the disk is the cheapest.
        fits = last - done <= size * min(self.spread, 1)
        return _Asked(window, done, last, size, selection, by_number=not (last - done > 1 and fits))

    def arrived(self, asked: _Asked, whole: _Whole) -> None:
        found, width = len(whole.hits), whole.position - asked.above
        if found >= asked.size:
            spread = width / found
            self.spread = spread * 1.1 if spread > 1 else 1.0 if spread == 1 else spread * 0.9
        elif 2 * found < asked.size:
            self.spread *= 4 if not found else 2
        if self.most is not None:
            self.most = self.most * 2 if self.most < self._page_size.documents else None
        self.failures = 0

    def failed(self, asked: _Asked, short: _Short) -> None:
        """Ask otherwise next time: for fewer numbers where they are crowded, for fewer documents where not all come."""
        self.failures += 1
        if short.hits >= asked.size:
            self.spread = min(self.spread, 0.9 * (asked.last - asked.above) / short.counted)
        elif short.hits and self.failures > 1:  # a fault that passes mustn't make all pages small
            self._page_size.lower(short.hits)


class WindowReader:
    """Reads the windows of a store; used by several threads at once."""

    form = Form.ELASTICSEARCH

    def __init__(self, client: Client, page_size: PageSize) -> None:
        self._client = client
        self._page_size = page_size

    def read(self, window: Window, done: int, selection: Selection) -> Iterator[Batch]:
        """The batches above the number `done`, with positions that are numbers."""
        pace = _Pace(self._page_size)
        while done < window.last:
            asked = pace.next(window, done, selection)
            body = b""
            try:
                body = self._search(asked)
                found = self._prove(asked, self._decode(asked, body))
            except TooLarge:
                pace.most = self._page_size.shrink(asked.size)
                continue
            except AnswerLost:
                self._page_size.lost(asked.size)
                raise
            except UndecodableError:
                if asked.size > 1:
                    # The documents are told apart by asking again for half of them, down to the one that is the cause.
                    pace.most = max(1, min(asked.size, body.count(b'"_source"')) // 2)
                    continue
                found = self._prove(asked, self._alone(asked, body))
            if isinstance(found, _Short) and asked.last - asked.above == 1 and found.counted > 1:
                found = self._group(asked, found.counted)
            if isinstance(found, _Short):
                pace.failed(asked, found)
                if pace.failures > _TRIES:
                    raise self._incomplete(asked, found)
                continue
            self._page_size.saw(len(found.hits), len(body))
            pace.arrived(asked, found)
            done = found.position
            yield self._batch(found.hits, done, selection, size_bytes=len(body))

    def count(self, window: Window, above: int, last: int, selection: Selection) -> int:
        """How many documents of a window the server counts in (above, last]."""
        query = _query(window, above, last, selection)
        return count_in_shard(self._client, ShardQuery(window.index, window.shard, query))

    # -- pages --------------------------------------------------------------------------------------------------

    def _search(self, asked: _Asked, *, id: str | None = None, **more: Any) -> bytes:
        """One page; raises `TooLarge` where it grows too large, or the index gives no so many documents at once.

        A single document is taken at any size. With `id` only that document is asked for.
        """
        window, size = asked.window, asked.size
        query = _query(window, asked.above, asked.last, asked.selection)
        if id is not None:
            query = {"bool": {"filter": [query, {"ids": {"values": [id]}}]}}
        order = "_seq_no" if asked.by_number else "_doc"
        body = {"query": query, "sort": [{order: "asc"}], "size": size, **_TOLD, **more}
        try:
            answer = self._client.call(
                "POST",
                f"/{quote(window.index, safe='')}/_search?preference=_shards:{window.shard}"
                "&allow_partial_search_results=false&request_cache=false",
                body=msgspec.json.encode(body),
                accept=(404,),
                bound_bytes=self._page_size.bound_bytes if size > 1 else None,
                right=_RIGHT,
            )
        except Unavailable as error:
            if (limit := _WINDOW_LIMIT.search(str(error))) is None or size <= int(limit[1]):
                raise
            self._page_size.limit(int(limit[1]))
            raise TooLarge(str(error)) from error
        if answer.status == 404:
            raise deleted(self._client, window.index)
        return answer.body

    def _decode(self, asked: _Asked, body: bytes) -> _Found:
        """A page of which every document is one that was asked for."""
        try:
            found = _found.decode(body)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise UndecodableError(str(error)) from error
        if found.timed_out or not found.shards.total == found.shards.successful == 1:
            raise Unavailable(
                f"{self._client.location}: the page {asked} is incomplete "
                f"(timed_out {str(found.timed_out).lower()}, shards {found.shards.successful} of {found.shards.total})"
            )
        hits = found.hits.hits
        given = [hit.number for hit in hits]
        if hits and {hit.index for hit in hits} != {asked.window.index}:
            wrong = "documents of another index"
        elif given and not asked.above < min(given) <= max(given) <= asked.last:
            wrong = f"sequence numbers from {min(given)} to {max(given)}"
        elif asked.by_number and given != sorted(given):
            wrong = "sequence numbers out of order"
        elif len(set(given)) < len(hits) and len({(hit.id, hit.number) for hit in hits}) < len(hits):
            wrong = "a document twice"
        elif len(hits) > asked.size:
            wrong = f"{len(hits)} documents where {asked.size} were asked for"
        else:
            return found
        raise Unavailable(f"{self._client.location}: the page {asked} holds {wrong}; what is in front of the server?")

    def _prove(self, asked: _Asked, found: _Found) -> _Whole | _Short:
        """How far a page is all there is."""
        hits = found.hits.hits
        total = exact(self._client, f"/{asked.window.index}/_search", found.hits.total)
        if len(hits) < min(asked.size, total):
            if not (asked.by_number and hits):
                return _Short(total, len(hits))
        elif not (asked.by_number and len(hits) == asked.size):
            # All of the page's numbers were asked for, and that they are is counted.
            counted = self._count(asked, asked.last)
            return _Whole(asked.last, hits) if len(hits) >= counted else _Short(counted, len(hits))
        # The page ends within its numbers; the last one may have more documents.
        end = hits[-1].number
        counted = self._count(asked, end)
        if len(hits) >= counted:
            return _Whole(end, hits)
        before = [hit for hit in hits if hit.number < end]
        if before and len(before) >= self._count(asked, end - 1):
            return _Whole(end - 1, before)
        return _Short(counted, len(hits))

    def _count(self, asked: _Asked, last: int) -> int:
        return self.count(asked.window, asked.above, last, asked.selection)

    def _incomplete(self, asked: _Asked, short: _Short) -> Incomplete:
        return Incomplete(
            f"{self._client.location}: the server counts {short.counted} documents in {asked} and gives {short.hits}; "
            "what is in front of the server?"
        )

    def _alone(self, asked: _Asked, body: bytes, *, id: str | None = None) -> _Found:
        """The hit of a page of one document whose JSON can't be decoded, with its bytes cut out of the page."""
        path = f"/{asked.window.index}/_search"
        try:
            found = self._decode(asked, self._search(asked, id=id, _source=False))
        except UndecodableError as error:
            raise self._client.garbled(path, error) from error
        # Quotes inside a string are escaped, so the first `"_source":` is the name, and after the last `"sort":` come
        # only digits and brackets.
        head, _, tail = body.partition(b'"_source":')
        source, _, rest = tail.rpartition(b',"sort":[')
        hits = found.hits.hits
        if len(hits) != 1 or b'"_id":' + msgspec.json.encode(hits[0].id) not in head or not rest:
            raise Unavailable(f"{self._client.location}: {path}: the answer was cut, or changed while it was looked at")
        hits[0].source = msgspec.Raw(source)
        return found

    def _group(self, asked: _Asked, counted: int) -> _Whole | _Short:
        """All documents of one number, each by itself: together they may be too large, or one undecodable."""
        asked = asked._replace(size=counted)
        listed = self._decode(asked, self._search(asked, _source=False))
        hits: list[_Hit] = []
        for each in listed.hits.hits:
            one = asked._replace(size=1)
            body = self._search(one, id=each.id)
            try:
                found = self._decode(one, body)
            except UndecodableError:
                found = self._alone(one, body, id=each.id)
            hits += found.hits.hits
        counted = self._count(asked, asked.last)
        return _Whole(asked.last, hits) if len(hits) >= counted else _Short(counted, len(hits))

    def _batch(self, hits: list[_Hit], position: int | None, selection: Selection, *, size_bytes: int) -> Batch:
        page = Page(self.form, selection)
        for hit in hits:
            take(page, hit.index, hit.id, bytes(hit.source))
        return page.batch(position, size_bytes=size_bytes)

    # -- the other way ------------------------------------------------------------------------------------------

    def scroll(self, window: Window, selection: Selection) -> Iterator[Batch]:
        """The batches of a whole window by a scroll, in no order; it holds when the iterator ends.

        Raises `TooLarge` or `UndecodableError` where a page can't be taken: a scroll can't be asked again for less.
        """
        asked = _Asked(window, window.above, window.last, self._page_size.documents, selection, by_number=False)
        given: set[tuple[str, int]] = set()
        total, id = None, ""
        try:
            while total is None or len(given) < total:
                body = self._scroll_on(id) if id else self._scroll(asked)
                found = self._decode(asked, body)
                id = found.scroll_id or id
                if total is None:
                    total = exact(self._client, f"/{window.index}/_search", found.hits.total)
                hits = found.hits.hits
                before = len(given)
                given.update((hit.id, hit.number) for hit in hits)
                if len(given) < before + len(hits) or (not hits and len(given) < total):
                    raise self._incomplete(asked, _Short(total, len(given)))
                yield self._batch(hits, None, selection, size_bytes=len(body))
            counted = self._count(asked, window.last)
            if len(given) < counted:
                raise self._incomplete(asked, _Short(counted, len(given)))
        finally:
            if id:
                self._end_scroll(id)

    def _scroll(self, asked: _Asked) -> bytes:
        window = asked.window
        query = _query(window, asked.above, asked.last, asked.selection)
        answer = self._client.call(
            "POST",
            f"/{quote(window.index, safe='')}/_search?scroll={_SCROLL_KEPT}&preference=_shards:{window.shard}"
            "&allow_partial_search_results=false",
            body=msgspec.json.encode({"query": query, "sort": ["_doc"], "size": asked.size, **_TOLD}),
            accept=(404,),
            bound_bytes=self._page_size.bound_bytes,
            right=_RIGHT,
        )
        if answer.status == 404:
            raise deleted(self._client, window.index)
        return answer.body

    def _scroll_on(self, id: str) -> bytes:
        asked = msgspec.json.encode({"scroll": _SCROLL_KEPT, "scroll_id": id})
        bound = self._page_size.bound_bytes
        answer = self._client.call(
            "POST", "/_search/scroll", body=asked, accept=(404,), bound_bytes=bound, right=_RIGHT
        )
        if answer.status == 404:
            raise Unavailable(f"{self._client.location}: the server has forgotten a scroll; was it started again?")
        return answer.body

    def _end_scroll(self, id: str) -> None:
        body = msgspec.json.encode({"scroll_id": [id]})
        with suppress(MigratorError):  # it ends by itself otherwise
            self._client.call("DELETE", "/_search/scroll", body=body, accept=(404,), right=_RIGHT)


_SCROLL_KEPT = "5m"  # between two pages: verifying is slower than reading
_TOLD = {"track_total_hits": True, "seq_no_primary_term": True}


def take(page: Page, index: str, id: str, source: bytes) -> None:
    """Sort a document into a page."""
    if source:
        page.take(id, source, index=index)
    else:
        reason = "the index keeps no _source, so the document can't be read"
        page.reject(Rejection(id, reason, b"", namespace=id.partition("/")[0], form=Form.ELASTICSEARCH, index=index))


def _query(window: Window, above: int, last: int, selection: Selection) -> dict[str, Any]:
    query = numbers(above, last)
    return {"bool": {"filter": [query, start_query(selection)]}} if window.start_is_long else query


def start_query(selection: Selection) -> dict[str, Any]:
    """A span of `start`, and what has no `start` that was indexed: what that is, the page finds out."""
    span = {"gte": selection.since_ms, "lt": selection.until_ms}
    given = {name: moment for name, moment in span.items() if moment is not None}
    return {
        "bool": {
            "should": [{"range": {"start": given}}, {"bool": {"must_not": [{"exists": {"field": "start"}}]}}],
            "minimum_should_match": 1,
        }
    }
