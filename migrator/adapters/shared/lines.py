"""Documents as the lines of a file: in parts of archives, in files, and as they are printed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import msgspec

from migrator.activations.document import Document, Form

encode_string = msgspec.json.Encoder().encode


def as_lines(documents: Sequence[Document]) -> bytes:
    """Documents as lines: in CouchDB form as they are, in Elasticsearch form with the names that elasticdump reads.

    A line break can stand between the signs of a JSON text, never in a string; there it becomes a blank.
    """
    lines = _join(documents)
    if b"\r" in lines or any(b"\n" in document.body for document in documents):
        lines = _join([_on_one_line(document) for document in documents])
    return lines


def _join(documents: Sequence[Document]) -> bytes:
    """The lines at once: each document is copied once, and no line is made by itself."""
    pieces: list[bytes] = []
    index, start = None, line_start(None)
    for document in documents:
        if document.form is Form.COUCHDB:
            pieces += (document.body, b"\n")
        else:
            if document.index != index:
                index, start = document.index, line_start(document.index)
            pieces += (start, encode_string(document.id), b',"_source":', document.body, b"}\n")
    return b"".join(pieces)


def _on_one_line(document: Document) -> Document:
    return msgspec.structs.replace(document, body=document.body.replace(b"\n", b" ").replace(b"\r", b" "))


@lru_cache
def line_start(index: str | None) -> bytes:
    """What stands before the id of a document in Elasticsearch form."""
    return b'{"_index":%b,"_type":"_doc","_id":' % encode_string(index or "")
