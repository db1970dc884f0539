"""Reads a window by a scroll, for whoever doubts the pages of `windows`: what holds is only known at its end.

A window enters, batches leave, in no order.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import quote

import msgspec

from migrator.activations.selection import Selection
from migrator.adapters.base import Batch
from migrator.adapters.elasticsearch.client import Client
from migrator.adapters.elasticsearch.counting import ShardQuery, count_in_shard, exact
from migrator.adapters.elasticsearch.fetching import WINDOW_LIMIT
from migrator.adapters.elasticsearch.hits import RIGHT, TOLD, Asked, Window, batch_of, decode, incomplete, query_of
from migrator.adapters.elasticsearch.indices import index_gone, refresh
from migrator.adapters.shared.paging import PageSize
from migrator.errors import MigratorError, Unavailable

_KEPT = "5m"  # between two pages: verifying is slower than reading


class ScrollReader:
    """Reads windows of a store; used by several threads at once."""

    def __init__(self, client: Client, page_size: PageSize) -> None:
        self._client = client
        self._page_size = page_size

    def read(self, window: Window, selection: Selection) -> Iterator[Batch]:
        """The batches of a whole window by a scroll, in no order; it holds when the iterator ends.

        Raises `TooLarge` or `Undecodable` where a page can't be taken: a scroll can't be asked again for less.
        """
        asked = Asked(window, window.above, window.last, self._page_size.documents, selection, by_number=False)
        given: set[tuple[str, int]] = set()
        total, id = None, ""
        try:
            while total is None or len(given) < total:
                body = self._scroll_on(id) if id else self._scroll(asked)
                found = decode(self._client, asked, body)
                id = found.scroll_id or id
                if total is None:
                    total = exact(self._client, f"/{window.index}/_search", found.hits.total)
                hits = found.hits.hits
                before = len(given)
                given.update((hit.id, hit.number) for hit in hits)
                if len(given) < before + len(hits) or (not hits and len(given) < total):
                    raise incomplete(self._client, asked, total, len(given))
                self._page_size.saw(len(hits), len(body))  # for the next scroll
                yield batch_of(hits, None, selection, size_bytes=len(body))
            query = ShardQuery(window.index, window.shard, query_of(window, window.above, window.last, selection))
            if (counted := count_in_shard(self._client, query)) > len(given):
                refresh(self._client, [window.index])  # a copy of the shard may show what another has deleted
                counted = count_in_shard(self._client, query)
            if len(given) < counted:
                raise incomplete(self._client, asked, counted, len(given))
        finally:
            if id:
                self._end_scroll(id)

    def _scroll(self, asked: Asked) -> bytes:
        window = asked.window
        query = query_of(window, asked.above, asked.last, asked.selection)
        try:
            answer = self._client.call(
                "POST",
                f"/{quote(window.index, safe='')}/_search?scroll={_KEPT}&preference=_shards:{window.shard}"
                "&allow_partial_search_results=false",
                body=msgspec.json.encode({"query": query, "sort": ["_doc"], "size": asked.size, **TOLD}),
                accept=(404,),
                bound_bytes=self._page_size.bound_bytes,
                right=RIGHT,
            )
        except Unavailable as error:
            if (limit := WINDOW_LIMIT.search(str(error))) is not None:
                self._page_size.limit(int(limit[1]))  # the next look asks for no more
            raise
        if answer.status == 404:
            raise index_gone(self._client, window.index)
        return answer.body

    def _scroll_on(self, id: str) -> bytes:
        asked = msgspec.json.encode({"scroll": _KEPT, "scroll_id": id})
        bound = self._page_size.bound_bytes
        answer = self._client.call("POST", "/_search/scroll", body=asked, accept=(404,), bound_bytes=bound, right=RIGHT)
        if answer.status == 404:
            raise Unavailable(f"{self._client.location}: the server lost a scroll; was it restarted?")
        return answer.body

    def _end_scroll(self, id: str) -> None:
        body = msgspec.json.encode({"scroll_id": [id]})
        with suppress(MigratorError):  # it ends by itself otherwise
            self._client.call("DELETE", "/_search/scroll", body=body, accept=(404,), right=RIGHT)
