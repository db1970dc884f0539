"""The rows of `_all_docs` and `_changes`: their types, and one row whose document can't be decoded.

Bytes of an answer enter, values leave; documents stay bytes.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from migrator.text.decoding import decoder


class Value(msgspec.Struct, gc=False):
    rev: str = ""
    deleted: bool = False


class Row(msgspec.Struct, gc=False):
    """Of a range of ids."""

    id: str = ""
    doc: msgspec.Raw = msgspec.Raw(b"")
    error: str | None = None


class Rows(msgspec.Struct):
    rows: list[Row]
    offset: int | None = None


class KeyRow(msgspec.Struct, gc=False):
    """Of ids that were requested."""

    key: str
    id: str | None = None
    value: Value | None = None
    doc: msgspec.Raw = msgspec.Raw(b"")
    error: str | None = None

    @property
    def is_absent(self) -> bool:
        return self.error == "not_found" or (self.value is not None and self.value.deleted)


class KeyRows(msgspec.Struct):
    rows: list[KeyRow]


class LookRow(msgspec.Struct, gc=False):
    id: str


class LookRows(msgspec.Struct):
    rows: list[LookRow]
    total_rows: int | None = None
    offset: int | None = None


class Revision(msgspec.Struct, gc=False):
    rev: str


class Change(msgspec.Struct, gc=False):
    id: str
    seq: str | int | None = None
    changes: list[Revision] = []
    deleted: bool = False
    doc: msgspec.Raw = msgspec.Raw(b"")


class Changes(msgspec.Struct):
    results: list[Change]
    last_seq: str | int
    pending: int | None = None


rows = decoder(Rows)
key_rows = decoder(KeyRows)
changes = decoder(Changes)


class Alone(NamedTuple):
    """A document that was requested by itself."""

    rev: str
    body: bytes


_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]]', re.DOTALL)
_DOC = re.compile(rb'"doc"\s*:\s*')


def alone(body: bytes, id: str) -> Alone | None:
    """The one document of an answer, with bytes that needn't be decodable; None where it isn't there.

    Raises `ValueError` where the answer isn't about that document, or isn't whole.
    """
    doc = _DOC.search(body)  # inside a text the quotes would be escaped
    if doc is None or not body.startswith(b"{", doc.end()):
        head = body
    else:
        end = _end_of_object(body, doc.end())
        head = body[: doc.end()] + b"null" + body[end:]
    try:
        (row,) = key_rows.decode(head).rows
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError, ValueError) as error:
        raise ValueError("it isn't JSON, or was cut off") from error
    if row.key != id:
        raise ValueError("it isn't about the document that was asked for")
    if row.is_absent:
        return None
    if row.error is not None or row.value is None or head is body or doc is None:
        raise ValueError(f"{id} comes without its document: {row.error}")
    return Alone(row.value.rev, body[doc.end() : end])


def _end_of_object(body: bytes, start: int) -> int:
    """Where the object that begins at `start` ends. Raises `ValueError` where it doesn't."""
    depth = 0
    for token in _TOKEN.finditer(body, start):
        first = body[token.start()]
        if first in b"{[":
            depth += 1
        elif first in b"}]":
            depth -= 1
            if not depth:
                return token.end()
    raise ValueError("it was cut off")
