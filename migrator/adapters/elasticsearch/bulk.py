"""Bulk requests: their bodies from raw bytes, their answers item by item, and how fast they may follow each other.

Documents enter, the bytes of requests leave; the bytes of answers enter, what the server says of each item leaves.
Sends nothing itself.

Source: https://www.elastic.co/guide/en/elasticsearch/reference/6.7/docs-bulk.html; what the items of six servers say
was seen on them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec

from migrator.adapters.elasticsearch.client import Cause
from migrator.records import Document

_FLOOR_BYTES = 100_000  # a bulk isn't made smaller than this for a server that is busy
_ABOUT_DOCUMENTS = frozenset(
    {
        "mapper_parsing_exception",
        "document_parsing_exception",
        "illegal_argument_exception",
        "strict_dynamic_mapping_exception",
        "invalid_index_name_exception",
    }
)
_ABOUT_THE_SERVER = (
    "pipeline with id",  # index.default_pipeline names one that isn't there
    "no write index is defined",  # an alias for several indices
    "Rejecting mapping update to",  # the index has a type other than _doc
    "number of documents in the",  # a shard is full
    "Failed to parse mapping",  # a template by which the index can't be created; documents are told with a small f
)
"""Reasons of the kinds above that would refuse every document alike."""


class Item(msgspec.Struct, frozen=True, gc=False):
    """What became of one document: a status as of a request of its own."""

    status: int
    error: Cause | None = None

    @property
    def refuses_document(self) -> bool:
        """Whether the server speaks of the document; everything else is a condition of the server."""
        if self.status != 400 or self.error is None or self.error.type not in _ABOUT_DOCUMENTS:
            return False
        reason = self.error.reason or ""
        return not any(mark in reason for mark in _ABOUT_THE_SERVER)


class _Answer(msgspec.Struct):
    errors: bool
    items: list[dict[str, Item]]


_answer = msgspec.json.Decoder(_Answer)
_encode = msgspec.json.Encoder().encode

ANSWER_PATHS = "filter_path=errors,items.*.status,items.*.error"
"""Of an answer only what `read_answer` looks at: a seventh of the bytes."""


def read_answer(body: bytes, count: int) -> list[Item] | None:
    """What became of each of `count` documents, in their order; None where all were done.

    Raises `ValueError` where the answer doesn't account for every document, which leaves all of them unknown.
    """
    # Without errors the answer is nothing but one status for each item: counting them is as sure as decoding them.
    if body.startswith(b'{"errors":false,') and body.count(b'"status":20') == count:
        return None
    try:
        answer = _answer.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"the answer can't be read: {error}") from error
    items = [next(iter(item.values())) for item in answer.items if len(item) == 1]
    if len(items) != count:
        raise ValueError(f"the answer tells of {len(items)} documents where {count} were sent")
    return items


class Bodies:
    """Makes bulk bodies for one server; remembers the first half of the action line of every index."""

    def __init__(self, *, typed: bool) -> None:
        self._type = b'"_type":"_doc",' if typed else b""
        self._heads: dict[tuple[str, str], bytes] = {}

    def split(
        self, operation: str, addressed: Sequence[tuple[str, Document]], bulk_bytes: int
    ) -> Iterator[tuple[Sequence[tuple[str, Document]], bytes]]:
        """Runs of documents with the body of each, of up to `bulk_bytes` or of a single larger document."""
        pieces: list[bytes] = []
        size = first = 0
        for at, (index, document) in enumerate(addressed):
            body = document.body
            if b"\n" in body:
                # A pretty-printed document. No line end can stand inside a JSON string, so only white space changes.
                body = body.replace(b"\n", b" ")
            if size and size + len(body) > bulk_bytes:
                yield addressed[first:at], b"".join(pieces)
                pieces, size, first = [], 0, at
            pieces += (self._head(operation, index), _encode(document.id), b"}}\n", body, b"\n")
            size += len(body) + 100
        if pieces:
            yield addressed[first:], b"".join(pieces)

    def _head(self, operation: str, index: str) -> bytes:
        head = self._heads.get((operation, index))
        if head is None:
            head = b'{"%s":{"_index":%s,%s"_id":' % (operation.encode(), _encode(index), self._type)
            self._heads[operation, index] = head
        return head


class Flow:
    """How large bulks are and how many are under way at once; follows what the server bears.

    After each bulk that went through a little more is dared (additive increase), after one that the server pushed
    back half (multiplicative decrease). Shared by all threads.
    """

    def __init__(self, *, bulk_bytes: int, bulks: int) -> None:
        self.bulk_bytes = bulk_bytes
        self._most_bytes = bulk_bytes
        self._most_bulks = bulks
        self.bulks = float(bulks)
        self._under_way = 0
        self._falls = 0
        self._changed = threading.Condition()

    @contextmanager
    def turn(self) -> Iterator[int]:
        """Wait until one more bulk may be under way; gives what `pushed_back` is to be told."""
        with self._changed:
            self._changed.wait_for(lambda: self._under_way < max(1, int(self.bulks)))
            self._under_way += 1
            falls = self._falls
        try:
            yield falls
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def went_through(self) -> None:
        with self._changed:
            self.bulk_bytes = min(self._most_bytes, self.bulk_bytes + self._most_bytes // 20)
            self.bulks = min(self._most_bulks, self.bulks + 1 / 8)
            self._changed.notify_all()

    def pushed_back(self, falls: int) -> None:
        """The server was too busy; bulks that were under way together with one that told so count as one."""
        with self._changed:
            if falls == self._falls:
                self._falls += 1
                self.bulk_bytes = max(min(_FLOOR_BYTES, self._most_bytes), self.bulk_bytes // 2)
                self.bulks = max(1.0, self.bulks / 2)

    def too_large(self, size_bytes: int) -> None:
        """The server takes no request of this size (413), and never will."""
        with self._changed:
            self._most_bytes = min(self._most_bytes, max(1, size_bytes // 2))
            self.bulk_bytes = min(self.bulk_bytes, self._most_bytes)
