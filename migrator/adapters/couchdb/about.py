"""What a server and a database say of themselves, and what a server says of a failure.

Bytes of an answer enter, values leave.
"""

from __future__ import annotations

import msgspec

from migrator.text.decoding import UNREADABLE, decode
from migrator.text.secrets import redact

_ERROR_BYTES = 10_000  # of an error page; a secret that is cut is not found

Sequence = str | int
"""A position in the feed of changes: opaque from CouchDB 2 on, a number on PouchDB."""


class Refusal(msgspec.Struct, frozen=True):
    """What a server says of a failure."""

    error: str = ""
    reason: str | None = None

    def __str__(self) -> str:
        text = f"{self.error}: {self.reason}" if self.reason else self.error or "without a reason"
        return redact(text.rstrip("."))


class _Vendor(msgspec.Struct, frozen=True):
    name: str = ""


class Server(msgspec.Struct, frozen=True):
    """What `GET /` says."""

    version: str = "unknown"
    uuid: str | None = None
    vendor: _Vendor = _Vendor()
    couchdb: str | None = None
    pouchdb: str | None = msgspec.field(name="express-pouchdb", default=None)

    @property
    def product(self) -> str:
        if self.pouchdb is not None:
            return "PouchDB"
        return "Cloudant" if "Cloudant" in self.vendor.name else "CouchDB"


class _Properties(msgspec.Struct, frozen=True):
    partitioned: bool = False


class _Sizes(msgspec.Struct, frozen=True):
    file: int | None = None  # on disk
    active: int | None = None  # of that, what documents and indices of now take


class _Cluster(msgspec.Struct, frozen=True):
    n: int = 1  # copies of each shard


class Database(msgspec.Struct, frozen=True):
    """What `GET /DATABASE` says."""

    doc_count: int
    doc_del_count: int | None = None  # PouchDB doesn't tell
    update_seq: Sequence = 0
    purge_seq: Sequence = 0
    sizes: _Sizes = _Sizes()
    disk_size: int | None = None  # the same before CouchDB 2, and of PouchDB
    instance_start_time: str = "0"
    props: _Properties = _Properties()
    cluster: _Cluster = _Cluster()
    compact_running: bool = False

    @property
    def size_bytes(self) -> int | None:
        """On disk, None where the server doesn't tell."""
        return self.disk_size if self.sizes.file is None else self.sizes.file


def number_of(sequence: Sequence) -> int:
    """The number in front of a sequence: how many writes its database, or all shards of it, had seen."""
    if isinstance(sequence, int):
        return sequence
    number = sequence.partition("-")[0]
    return int(number) if number.isascii() and number.isdecimal() else 0


def refusal_of(body: bytes) -> Refusal:
    """What an answer says of a failure; a proxy's page is quoted."""
    try:
        return decode(body, Refusal)
    except UNREADABLE:
        return Refusal(redact(body[:_ERROR_BYTES].decode(errors="replace"))[:300].strip())


def is_list(body: bytes) -> bool:
    """Whether an answer is an array, as the results of `_bulk_docs` are."""
    return body.lstrip().startswith(b"[")
