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

from migrator.adapters.elasticsearch.addressed import Addressed, Versions
from migrator.adapters.elasticsearch.client import Cause
from migrator.adapters.elasticsearch.destinations import Address
from migrator.text.decoding import UNREADABLE, decoder
from migrator.text.units import counted

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
    "op_type of create are allowed in data streams",
    "Failed to parse mapping",  # a template by which the index can't be created; documents are reported with a small f
)
"""Reasons of the kinds above that would refuse every document alike."""


class Item(msgspec.Struct, frozen=True, gc=False):
    """The outcome of one document: a status as of a request of its own."""

    status: int
    error: Cause | None = None
    index: str = msgspec.field(name="_index", default="")
    id: str = msgspec.field(name="_id", default="")

    def stored(self, operation: str) -> bool:
        """Whether the document was stored. A `create` that answers 200 was dropped by a pipeline."""
        return self.status == 201 or (self.status == 200 and operation == "index")

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


_answer = decoder(_Answer)
_encode = msgspec.json.Encoder().encode

ANSWER_PATHS = "filter_path=errors,items.*._index,items.*._id,items.*.status,items.*.error"
"""Of an answer only what `read_answer` looks at: a third of the bytes."""


def read_answer(body: bytes, operation: str, sent: Sequence[Addressed]) -> list[Item | None] | None:
    """The outcome of each document that was sent, in their order; None where all were stored.

    An item belongs to the document whose index and id it names, wherever in the answer it stands. A document that no
    item names, or several do, has None: its outcome isn't known. Raises `ValueError` where the answer can't be
    read or has another number of items, which leaves all of them unknown.
    """
    # The answer to a bulk without errors is known to the byte, as servers spell it: comparing is as sure as decoding.
    if body == _all_stored(operation, sent):
        return None
    try:
        answer = _answer.decode(body)
    except UNREADABLE as error:
        raise ValueError(f"the answer can't be read: {error}") from error
    items = [item.get(operation) if len(item) == 1 else None for item in answer.items]
    if len(items) != len(sent):
        raise ValueError(
            f"the answer is about {counted(len(items), 'document')}, but {counted(len(sent), 'was', 'were')} sent"
        )
    named: dict[tuple[str, str], Item | None] = {}
    for item in items:
        if item is not None:
            key = item.index, item.id
            named[key] = None if key in named else item
    return [
        item if item is not None and _names(item, each) else named.get((each[0].index, each[1].id))
        for item, each in zip(items, sent, strict=True)
    ]


def _names(item: Item, sent: Addressed) -> bool:
    address, document = sent
    return item.id == document.id and item.index == address.index


def _all_stored(operation: str, sent: Sequence[Addressed]) -> bytes:
    """The answer that says that every document was stored as a new one (or replaced one that was there)."""
    status = b"201" if operation == "create" else b"200"
    heads: dict[str, bytes] = {}
    pieces: list[bytes] = []
    for address, document in sent:
        head = heads.get(address.index)
        if head is None:
            head = b',{"%s":{"_index":%s,"_id":' % (operation.encode(), _encode(address.index))
            heads[address.index] = head
        pieces += (head, _encode(document.id), b',"status":%s}}' % status)
    return b'{"errors":false,"items":[' + b"".join(pieces)[1:] + b"]}"


class Bodies:
    """Makes bulk bodies for one server; remembers the first half of the action line of every address.

    Without `names_indices` action lines name no index: the path does.
    """

    def __init__(self, *, typed: bool) -> None:
        self._type = b'"_type":"_doc",' if typed else b""
        self._heads: dict[tuple[str, Address], bytes] = {}
        self.names_indices = True

    def split(
        self, operation: str, addressed: Sequence[Addressed], bulk_bytes: int, versions: Versions | None = None
    ) -> Iterator[tuple[Sequence[Addressed], bytes]]:
        """Runs of documents with the body of each, of up to `bulk_bytes` or of a single larger document.

        With `versions` each document replaces that version of it and no other.
        """
        pieces: list[bytes] = []
        size = first = 0
        for at, (address, document) in enumerate(addressed):
            body = document.body
            if b"\n" in body:
                # A pretty-printed document. No line end can stand inside a JSON string, so only white space changes.
                body = body.replace(b"\n", b" ")
            if size and size + len(body) > bulk_bytes:
                yield addressed[first:at], b"".join(pieces)
                pieces, size, first = [], 0, at
            end = b"}}\n"
            if versions is not None:
                end = b',"if_seq_no":%d,"if_primary_term":%d}}\n' % versions[address.index, document.id]
            pieces += (self._head(operation, address), _encode(document.id), end, body, b"\n")
            size += len(body) + 100
        if pieces:
            yield addressed[first:], b"".join(pieces)

    def _head(self, operation: str, address: Address) -> bytes:
        head = self._heads.get((operation, address))
        if head is None:
            index = b'"_index":%s,' % _encode(address.index) if self.names_indices else b""
            routing = b'"routing":%s,' % _encode(address.routing) if address.routing is not None else b""
            head = b'{"%s":{%s%s%s"_id":' % (operation.encode(), index, self._type, routing)
            if address.routing is None:  # routings may be as many as documents
                self._heads[operation, address] = head
        return head

    def name_no_indices(self) -> None:
        self.names_indices = False
        self._heads.clear()


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
        """Wait until one more bulk may be under way; gives what `pushed_back` needs."""
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
