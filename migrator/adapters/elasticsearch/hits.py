"""What is requested of a window of sequence numbers, and what a page of it holds.

Windows and the bytes of answers enter; documents that were requested leave. Shared by the two ways to read a window.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from migrator.activations.document import Form, Rejection
from migrator.activations.selection import Selection
from migrator.adapters.base import Batch
from migrator.adapters.elasticsearch.answers import Shards, check_shards
from migrator.adapters.elasticsearch.client import Client
from migrator.adapters.elasticsearch.counting import Total, numbers
from migrator.adapters.shared.http import Undecodable
from migrator.adapters.shared.paging import Page
from migrator.errors import Incomplete, Unavailable
from migrator.text.decoding import UNREADABLE, decoder
from migrator.text.units import counted

RIGHT = "the index privilege read"
TOLD = {"track_total_hits": True, "seq_no_primary_term": True}


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


class Hit(msgspec.Struct, gc=False):
    index: str = msgspec.field(name="_index")
    id: str = msgspec.field(name="_id")
    number: int = msgspec.field(name="_seq_no")
    source: msgspec.Raw = msgspec.field(name="_source", default=msgspec.Raw(b""))


class _Hits(msgspec.Struct):
    total: int | Total
    hits: list[Hit]


class Found(msgspec.Struct):
    timed_out: bool
    shards: Shards = msgspec.field(name="_shards")
    hits: _Hits
    scroll_id: str = msgspec.field(name="_scroll_id", default="")


_found = decoder(Found)


class Asked(NamedTuple):
    """One page: the numbers (above, last] and how many documents at most."""

    window: Window
    above: int
    last: int
    size: int
    selection: Selection
    by_number: bool

    def __str__(self) -> str:
        return f"{self.window.index}[{self.window.shard}] {self.above + 1}..{self.last}"


def decode(client: Client, asked: Asked, body: bytes) -> Found:
    """A page of which every document is one that was requested."""
    try:
        found = _found.decode(body)
    except UNREADABLE as error:
        raise Undecodable(str(error)) from error
    check_shards(f"{client.location}: the page {asked}", found.shards, expected=1, timed_out=found.timed_out)
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
        wrong = f"{counted(len(hits), 'document')} where {counted(asked.size, 'was', 'were')} asked for"
    else:
        return found
    raise Unavailable(f"{client.location}: the page {asked} holds {wrong}; is there a proxy or cache in between?")


def incomplete(client: Client, asked: Asked, there: int, given: int) -> Incomplete:
    return Incomplete(
        f"{client.location}: the server counts {counted(there, 'document')} in {asked} and gives {given:,}; "
        "is there a proxy or cache in between?"
    )


def batch_of(hits: list[Hit], position: int | None, selection: Selection, *, size_bytes: int) -> Batch:
    page = Page(Form.ELASTICSEARCH, selection)
    page.take_all((hit.id, bytes(hit.source), hit.index) for hit in hits if hit.source)
    for hit in hits:
        if not hit.source:
            take(page, hit.index, hit.id, b"")
    return page.batch(position, size_bytes=size_bytes)


def take(page: Page, index: str, id: str, source: bytes) -> None:
    """Sort a document into a page."""
    if source:
        page.take(id, source, index=index)
    else:
        reason = "the index keeps no _source, so the document can't be read"
        page.reject(Rejection(id, reason, b"", namespace=id.partition("/")[0], form=Form.ELASTICSEARCH, index=index))


def query_of(window: Window, above: int, last: int, selection: Selection) -> dict[str, Any]:
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
