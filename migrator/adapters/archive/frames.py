"""Finds the whole frames of a part that may be damaged anywhere, its index and its seek table included.

A piece of a place enters; its whole frames, the notes of its index and the ranges of bytes between them leave, in
order. A frame is whole when its checksum says so. Where one isn't, the bytes that begin a frame are looked for behind
it: they can't stand in a document, since they are no UTF-8.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import TypeAlias

import msgspec
import zstandard

from migrator.adapters.archive.format import (
    DATA_MAGIC,
    INDEX_MAGIC,
    MOST_FRAME_BYTES,
    SEEK_MAGIC,
    SKIPPABLE,
    FrameNote,
    read_notes,
    split_lines,
)
from migrator.adapters.archive.places import Place
from migrator.errors import ArchiveDamaged

_WINDOW_BYTES = 4 << 20
_PIECE_BYTES = 4 << 10  # all that it decompresses to comes at once: thirty thousand times as much, in bad cases
_MAGIC = struct.Struct("<I")
_HEADER_BYTES = 18  # the longest header of a frame
_BEGINNINGS = re.compile(b"|".join(re.escape(_MAGIC.pack(magic)) for magic in (DATA_MAGIC, INDEX_MAGIC, SEEK_MAGIC)))


class WholeFrame(msgspec.Struct, frozen=True):
    """A frame of documents whose checksum holds."""

    offset: int
    size_bytes: int  # compressed
    lines: list[bytes]


class Gap(msgspec.Struct, frozen=True):
    """Bytes that belong to no whole frame."""

    offset: int
    size_bytes: int


class Notes(msgspec.Struct, frozen=True):
    """What the index says of all frames, whole or not."""

    frames: tuple[FrameNote, ...]


Found: TypeAlias = WholeFrame | Gap | Notes


class _Window:
    """A piece through a window that slides over it."""

    def __init__(self, place: Place, name: str, size_bytes: int) -> None:
        self._place = place
        self._name = name
        self.size_bytes = size_bytes
        self._offset = 0
        self._data = b""

    def get(self, offset: int, size_bytes: int) -> bytes:
        """Bytes from an offset on; fewer at the end."""
        size_bytes = max(0, min(size_bytes, self.size_bytes - offset))
        if offset < self._offset or offset + size_bytes > self._offset + len(self._data):
            wanted = min(max(size_bytes, _WINDOW_BYTES), self.size_bytes - offset)
            self._data = self._place.read_range(self._name, offset, wanted)
            self._offset = offset
        return self._data[offset - self._offset : offset - self._offset + size_bytes]


def scan(place: Place, name: str, size_bytes: int) -> Iterator[Found]:
    """What a piece holds, in order. Raises what the place raises, nothing for what it finds."""
    window = _Window(place, name, size_bytes)
    offset = gap_at = 0
    while offset < size_bytes:
        found, end = _look(window, offset)
        if end is None:
            offset = _next_beginning(window, offset + 1)
            continue
        if gap_at < offset:
            yield Gap(gap_at, offset - gap_at)
        if found is not None:
            yield found
        offset = gap_at = end
    if gap_at < size_bytes:
        yield Gap(gap_at, size_bytes - gap_at)


def _look(window: _Window, offset: int) -> tuple[Found | None, int | None]:
    """What begins at an offset, and where it ends; no end where nothing whole begins there."""
    head = window.get(offset, SKIPPABLE.size)
    if len(head) < SKIPPABLE.size:
        return None, None
    magic, follow = SKIPPABLE.unpack(head)
    if magic == DATA_MAGIC:
        content, end = _decode(window, offset)
        if content is None:
            return None, None
        if content.endswith(b"\n"):
            try:
                return WholeFrame(offset, end - offset, split_lines(content)), end
            except ArchiveDamaged:  # no frame of documents has so many lines
                return None, None
        notes = read_notes(content)  # the index lost its beginning, and this stands inside of it
        return (Notes(notes), end) if notes is not None else (None, None)
    end = offset + SKIPPABLE.size + follow
    if end > window.size_bytes:
        return None, None
    if magic == INDEX_MAGIC:
        notes = _index_notes(window, offset + SKIPPABLE.size, end)
        return (Notes(notes), end) if notes is not None else (None, None)
    if magic == SEEK_MAGIC and end == window.size_bytes:
        return None, end
    return None, None


def _decode(window: _Window, offset: int) -> tuple[bytes | None, int]:
    """The content of the frame at an offset and where it ends; None where it isn't whole."""
    try:
        told = zstandard.get_frame_parameters(window.get(offset, _HEADER_BYTES))
        if not told.has_checksum:  # ours have one; without it nothing proves anything
            return None, offset
        if told.content_size > MOST_FRAME_BYTES:  # also where it tells none
            return None, offset
        decompressor = zstandard.ZstdDecompressor().decompressobj()
        pieces: list[bytes] = []
        at, size_bytes = offset, 0
        while not decompressor.eof and (data := window.get(at, _PIECE_BYTES)):
            pieces.append(decompressor.decompress(data))
            at += len(data)
            size_bytes += len(pieces[-1])
            if size_bytes > told.content_size:
                return None, offset
    except (zstandard.ZstdError, MemoryError):
        return None, offset
    if not decompressor.eof or size_bytes != told.content_size:
        return None, offset
    return b"".join(pieces), at - len(decompressor.unused_data)


def _index_notes(window: _Window, offset: int, end: int) -> tuple[FrameNote, ...] | None:
    """What the index between two offsets says: its last four bytes tell how long the header before them is."""
    (header_bytes,) = _MAGIC.unpack(window.get(end - _MAGIC.size, _MAGIC.size))
    at = end - _MAGIC.size - header_bytes
    if at < offset:
        return None
    content, header_end = _decode(window, at)
    return read_notes(content) if content is not None and header_end == end - _MAGIC.size else None


def _next_beginning(window: _Window, offset: int) -> int:
    """The next offset at which a frame may begin; the end of the piece where there is none."""
    while offset < window.size_bytes:
        data = window.get(offset, _WINDOW_BYTES // 2)
        if match := _BEGINNINGS.search(data):
            return offset + match.start()
        if len(data) < _MAGIC.size:
            break
        offset += len(data) - _MAGIC.size + 1
    return window.size_bytes
