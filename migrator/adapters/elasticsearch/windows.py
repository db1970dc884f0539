"""Reads windows of sequence numbers: pages of which each is proven to be whole before it is given.

A window enters, batches leave. What a page holds is checked against what was asked (index, numbers, no document twice),
against the total that the page itself tells, and against a `_count` of the numbers that it is given for; a page that is
shorter than it should be is never an end. Several documents of one shard may have the same number (`_shrink` makes them
so), and such a group is given as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from migrator.activations.selection import Selection
from migrator.adapters.base import Batch
from migrator.adapters.elasticsearch.client import Client
from migrator.adapters.elasticsearch.counting import ShardQuery, count_in_shard, exact
from migrator.adapters.elasticsearch.fetching import WINDOW_LIMIT
from migrator.adapters.elasticsearch.hits import (
    RIGHT,
    TOLD,
    Asked,
    Found,
    Hit,
    Window,
    batch_of,
    decode,
    incomplete,
    query_of,
)
from migrator.adapters.elasticsearch.indices import index_gone, refresh
from migrator.adapters.shared.http import TooLarge, Undecodable
from migrator.adapters.shared.paging import PageSize
from migrator.errors import AnswerLost, Unavailable

_TRIES = 12  # at one page that isn't whole, smaller each time
_REFRESHED = (
    3  # tries, after which all copies of a shard are made to show the same: one may show what another has deleted
)


class _Whole(NamedTuple):
    """Documents that are proven to be all of the numbers up to `position`."""

    position: int
    hits: list[Hit]


class _Short(NamedTuple):
    """Fewer documents than there are."""

    counted: int
    hits: int


class _Pace:
    """How many documents to ask for, over how many numbers, within one window."""

    def __init__(self, page_size: PageSize) -> None:
        self._page_size = page_size
        # Numbers for each document that is requested: gaps and narrow selections spread them out, ties crowd them.
        self.spread = 1.0
        self.most: int | None = None  # bounds a page after one that was too large or couldn't be decoded
        self.failures = 0  # at the page in hand

    def next(self, window: Window, done: int, selection: Selection) -> Asked:
        size = self._page_size.of(window.last - done)
        size = size if self.most is None else min(size, self.most)
        last = min(done + max(1, size if self.spread == 1 else int(size * self.spread)), window.last)
        # Where the page holds all there can be, their order doesn't matter, and that of the disk is the cheapest.
        fits = last - done <= size * min(self.spread, 1)
        return Asked(window, done, last, size, selection, by_number=not (last - done > 1 and fits))

    def arrived(self, asked: Asked, whole: _Whole) -> None:
        found, width = len(whole.hits), whole.position - asked.above
        if found >= asked.size:
            spread = width / found
            self.spread = spread * 1.1 if spread > 1 else 1.0 if spread == 1 else spread * 0.9
        elif 2 * found < asked.size:
            self.spread *= 4 if not found else 2
        if self.most is not None:
            self.most = self.most * 2 if self.most < self._page_size.documents else None
        self.failures = 0

    def failed(self, asked: Asked, short: _Short) -> None:
        """Ask otherwise next time: for fewer numbers where they are crowded, for fewer documents where not all come."""
        self.failures += 1
        if short.hits >= asked.size:
            self.spread = min(self.spread, 0.9 * (asked.last - asked.above) / short.counted)
        elif short.hits and self.failures > 1:  # a fault that passes mustn't make all pages small
            self._page_size.lower(short.hits)


class WindowReader:
    """Reads the windows of a store; used by several threads at once."""

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
                found = self._prove(asked, decode(self._client, asked, body))
            except TooLarge:
                pace.most = self._page_size.shrink(asked.size)
                continue
            except AnswerLost:
                self._page_size.lost(asked.size)
                raise
            except Undecodable:
                if asked.size > 1:
                    # The documents are told apart by asking again for half of them, down to the one that is the cause.
                    pace.most = max(1, min(asked.size, body.count(b'"_source"')) // 2)
                    continue
                found = self._prove(asked, self._alone(asked, body))
            if isinstance(found, _Short) and asked.last - asked.above == 1 and found.counted > 1:
                found = self._group(asked, found.counted)
            if isinstance(found, _Short):
                pace.failed(asked, found)
                if pace.failures == _REFRESHED:
                    refresh(self._client, [window.index])
                if pace.failures > _TRIES:
                    raise incomplete(self._client, asked, found.counted, found.hits)
                continue
            self._page_size.saw(len(found.hits), len(body))
            pace.arrived(asked, found)
            done = found.position
            yield batch_of(found.hits, done, selection, size_bytes=len(body))

    def count(self, window: Window, above: int, last: int, selection: Selection) -> int:
        """How many documents of a window the server counts in (above, last]."""
        query = query_of(window, above, last, selection)
        return count_in_shard(self._client, ShardQuery(window.index, window.shard, query))

    # -- pages --------------------------------------------------------------------------------------------------

    def _search(self, asked: Asked, *, id: str | None = None, **more: Any) -> bytes:
        """One page; raises `TooLarge` where it grows too large, or the index gives no so many documents at once.

        A single document is taken at any size. With `id` only that document is requested.
        """
        window, size = asked.window, asked.size
        query = query_of(window, asked.above, asked.last, asked.selection)
        if id is not None:
            query = {"bool": {"filter": [query, {"ids": {"values": [id]}}]}}
        order = "_seq_no" if asked.by_number else "_doc"
        body = {"query": query, "sort": [{order: "asc"}], "size": size, **TOLD, **more}
        try:
            answer = self._client.call(
                "POST",
                f"/{quote(window.index, safe='')}/_search?preference=_shards:{window.shard}"
                "&allow_partial_search_results=false&request_cache=false",
                body=msgspec.json.encode(body),
                accept=(404,),
                bound_bytes=self._page_size.bound_bytes if size > 1 else None,
                right=RIGHT,
            )
        except Unavailable as error:
            if (limit := WINDOW_LIMIT.search(str(error))) is None or size <= int(limit[1]):
                raise
            self._page_size.limit(int(limit[1]))
            raise TooLarge(str(error)) from error
        if answer.status == 404:
            raise index_gone(self._client, window.index)
        return answer.body

    def _prove(self, asked: Asked, found: Found) -> _Whole | _Short:
        """How far a page is all there is."""
        hits = found.hits.hits
        total = exact(self._client, f"/{asked.window.index}/_search", found.hits.total)
        if len(hits) < min(asked.size, total):
            if not (asked.by_number and hits):
                return _Short(total, len(hits))
        elif not (asked.by_number and len(hits) == asked.size):
            # All of the page's numbers were requested, and that they are is counted.
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

    def _count(self, asked: Asked, last: int) -> int:
        return self.count(asked.window, asked.above, last, asked.selection)

    def _alone(self, asked: Asked, body: bytes, *, id: str | None = None) -> Found:
        """The hit of a page of one document whose JSON can't be decoded, with its bytes cut out of the page."""
        path = f"/{asked.window.index}/_search"
        try:
            found = decode(self._client, asked, self._search(asked, id=id, _source=False))
        except Undecodable as error:
            raise self._client.malformed_answer(path, error) from error
        # Quotes inside a string are escaped, so the first `"_source":` is the name, and after the last `"sort":` come
        # only digits and brackets.
        head, _, tail = body.partition(b'"_source":')
        source, _, rest = tail.rpartition(b',"sort":[')
        hits = found.hits.hits
        if len(hits) != 1 or b'"_id":' + msgspec.json.encode(hits[0].id) not in head or not rest:
            raise Unavailable(
                f"{self._client.location}: {path}: the answer was truncated, or changed while it was read"
            )
        hits[0].source = msgspec.Raw(source)
        return found

    def _group(self, asked: Asked, counted: int) -> _Whole | _Short:
        """All documents of one number, each by itself: together they may be too large, or one undecodable."""
        asked = asked._replace(size=counted)
        listed = decode(self._client, asked, self._search(asked, _source=False))
        hits: list[Hit] = []
        for each in listed.hits.hits:
            one = asked._replace(size=1)
            body = self._search(one, id=each.id)
            try:
                found = decode(self._client, one, body)
            except Undecodable:
                found = self._alone(one, body, id=each.id)
            hits += found.hits.hits
        counted = self._count(asked, asked.last)
        return _Whole(asked.last, hits) if len(hits) >= counted else _Short(counted, len(hits))
