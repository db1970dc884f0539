"""A look at the beginning of a file: what it is, and how it is read.

An `Input` enters, a `Look` leaves. What isn't a file of documents is refused here, before anything is read of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from migrator.activations.document import Form
from migrator.adapters.files import foreign
from migrator.adapters.files.compression import Chunk
from migrator.adapters.files.formats import Layout, Shape, flat, shape_of
from migrator.adapters.files.input import Input
from migrator.adapters.files.lines import BOM, Cursor, TooLong, Torn
from migrator.errors import ArchiveDamaged, UsageError

_LINES = 200
_BYTES = 16_000_000
_LONE_CR = re.compile(rb"\}[ \t]*\r[ \t\r]*(?:\xef\xbb\xbf)?\{")  # never within a JSON value


class Look(msgspec.Struct, frozen=True):
    """What a file is."""

    shape: Shape
    by_cr: bool = False  # its lines end with a carriage return alone

    def of_lines(self, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        """The text with line ends that a reader of lines knows; offsets stay."""
        if not self.by_cr:
            return chunks
        return (Chunk(chunk.data.replace(b"\r", b"\n"), chunk.frame) for chunk in chunks)


def look(input: Input, asked: Form | None) -> Look:
    """Tell what a file is. Raises `UsageError` where that is nothing that can be read."""
    with input.peek() as chunks:
        try:
            beginning = _first_text(chunks)
        except UsageError as error:
            raise UsageError(f"{input.printed}: {error}") from error
    foreign.refuse(beginning[: foreign.LOOKED_AT_BYTES], input.printed)
    first = next((text for line in beginning.split(b"\n") if (text := line.removeprefix(BOM).strip())), b"")
    is_across = first in (b"[", b"{") or (first.startswith(b"[") and first.endswith(b","))
    by_cr = not is_across and _LONE_CR.search(first) is not None
    found = Look(Shape("", Form.COUCHDB), by_cr)
    with input.peek() as chunks:
        cursor = Cursor(found.of_lines(chunks))
        texts = _first_values(cursor) if is_across else _first_lines(cursor)
        shape = shape_of(texts, asked, input.printed)
    if is_across:
        name = "JSON" if shape.layout is Layout.LINES else shape.name
        shape = Shape(name, shape.form, Layout.ACROSS)
    return msgspec.structs.replace(found, shape=shape)


def _first_text(chunks: Iterator[Chunk]) -> bytes:
    """The text up to the end of its first line that isn't blank, and a little more; what is damaged is seen later."""
    pieces: list[bytes] = []
    size, seen = 0, False
    try:
        for chunk in chunks:
            seen = seen or bool(chunk.data.strip(b" \t\r\n"))
            if seen:
                pieces.append(chunk.data)
                size += len(chunk.data)
            if size >= _BYTES or (size >= foreign.LOOKED_AT_BYTES and b"\n" in chunk.data.lstrip()):
                break
    except ArchiveDamaged:
        pass
    except UsageError:
        if not pieces:
            raise
    return b"".join(pieces)[:_BYTES]


def _first_lines(cursor: Cursor) -> Iterator[bytes]:
    """Lines from which the shape of a file can be determined; what is damaged is seen when it is read."""
    for _ in range(_LINES):
        try:
            cursor.skip_blank()
            line = cursor.line(_BYTES)
        except TooLong:
            if cursor.enter_array():
                yield _array_of_first(cursor)
            return
        except (ArchiveDamaged, UsageError):
            return
        if line is None:
            return
        text = line.text.strip().removeprefix(BOM).strip(b"\0 \t\r\n")
        if text and (line.whole or text.startswith(b"[") or text.endswith(b"}")):
            yield text


def _array_of_first(cursor: Cursor) -> bytes:
    try:
        return b"[" + (cursor.element() or b"") + b"]"
    except (Torn, ArchiveDamaged, UsageError):
        return b"[]"


def _first_values(cursor: Cursor) -> Iterator[bytes]:
    inside = False
    for _ in range(_LINES):
        try:
            text = cursor.value(inside=inside, most_bytes=_BYTES)
        except (TooLong, Torn, ArchiveDamaged, UsageError):
            return
        if text is None:
            return
        if text in (b"[", b"]"):
            inside = text == b"["
        elif text != b",":
            yield flat(text)
