"""Plain, gzip and Zstandard: the bytes of a file become what was compressed in them, and the other way round.

Pieces of a file enter, pieces of text leave, each with the frame from which decompressing could begin anew. A frame is
a gzip member or a Zstandard frame; a file has one or many, and skippable ones are passed over. What ends inside a
frame, or doesn't decompress, is `ArchiveDamaged` with the byte. Knows nothing of lines and opens no file.

Source: RFC 1952 (gzip), RFC 8878 (Zstandard).
"""

from __future__ import annotations

import enum
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import zstandard

from migrator.errors import ArchiveDamaged

PIECE_BYTES = 256 * 1024
_ZSTD_PIECE_BYTES = 4 * 1024  # the decompressor gives all that a piece holds: a thousand times as much, in bad cases
_LEVEL = 3


class Compression(enum.StrEnum):
    PLAIN = "plain"
    GZIP = "gzip"
    ZSTD = "zstd"


class Frame(NamedTuple):
    """Where a frame begins: in the file, and in what is compressed in it."""

    offset: int
    raw: int


BEGINNING = Frame(0, 0)


class Chunk(NamedTuple):
    data: bytes
    frame: Frame  # the one that the data is of; of a plain file a piece of its own


def compression_of(beginning: bytes) -> Compression:
    """Told by the first four bytes of a file."""
    if beginning.startswith(b"\x1f\x8b"):
        return Compression.GZIP
    if beginning.startswith(b"\x28\xb5\x2f\xfd") or (beginning[1:4] == b"\x2a\x4d\x18" and beginning[0] >> 4 == 5):
        return Compression.ZSTD  # the second: a skippable frame
    return Compression.PLAIN


def compression_named(path: str) -> Compression:
    """Told by the ending of a name."""
    return {"gz": Compression.GZIP, "zst": Compression.ZSTD}.get(path.rpartition(".")[2], Compression.PLAIN)


def decompressed(pieces: Iterator[bytes], compression: Compression, begin: Frame) -> Iterator[Chunk]:
    """What the pieces of a file hold; the first of them begins at the frame `begin`.

    Raises `ArchiveDamaged` after everything before the damage was given. A frame is checked at its end, if it has a
    checksum at all: what was given of a frame that turns out to be damaged may be wrong.
    """
    if compression is Compression.PLAIN:
        offset = begin.offset
        for piece in pieces:
            yield Chunk(piece, Frame(offset, offset))
            offset += len(piece)
        return
    offset, raw = begin.offset, begin.raw
    frame = begin
    decoder: _Gzip | _Zstd | None = None
    for piece in pieces:
        offset += len(piece)
        left = piece
        while left:
            if decoder is None:
                frame = Frame(offset - len(left), raw)
                decoder = _Gzip() if compression is Compression.GZIP else _Zstd()
            try:
                data, left = decoder.take(left)
            except (zlib.error, zstandard.ZstdError) as error:
                raise ArchiveDamaged(
                    f"byte {offset - len(left):,} or shortly after is damaged, in the {compression} frame that begins "
                    f"at byte {frame.offset:,}: {error}"
                ) from error
            raw += len(data)
            if data:
                yield Chunk(data, frame)
            if decoder.is_at_end:
                decoder = None
    if decoder is not None:
        raise ArchiveDamaged(
            f"cut off at byte {offset:,}, in the {compression} frame that begins at byte {frame.offset:,}"
        )


class _Gzip:
    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)  # with gzip's header, checksum and length

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """Some of what the data holds, and what is left of the data."""
        given = self._inner.decompress(data, PIECE_BYTES)
        return given, self._inner.unused_data if self._inner.eof else self._inner.unconsumed_tail

    @property
    def is_at_end(self) -> bool:
        return self._inner.eof


class _Zstd:
    def __init__(self) -> None:
        self._inner = zstandard.ZstdDecompressor().decompressobj()

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """As above."""
        given = self._inner.decompress(data[:_ZSTD_PIECE_BYTES])
        left = data[_ZSTD_PIECE_BYTES:]
        return given, self._inner.unused_data + left if self._inner.eof else left

    @property
    def is_at_end(self) -> bool:
        return self._inner.eof


# -- writing ------------------------------------------------------------------------------------------------------


def compressed(data: bytes, compression: Compression) -> bytes:
    """Data as a frame of its own, with a checksum; plain data as it is."""
    if compression is Compression.ZSTD:
        return zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compress(data)
    if compression is Compression.GZIP:
        return zlib.compress(data, wbits=31)
    return data


def filler(size_bytes: int, compression: Compression) -> bytes:
    """So many bytes that a reader passes over, to lie in the place of a frame that shall count no more.

    A blank line, a gzip member of nothing with a comment, a skippable Zstandard frame. No frame that holds a document
    is too short for it.
    """
    if compression is Compression.ZSTD:
        return struct.pack("<II", 0x184D2A50, size_bytes - 8) + bytes(size_bytes - 8)
    if compression is Compression.GZIP:
        # Flag 16: a comment follows, to its NUL. Then a last block without data, and a checksum and length of zero.
        head, end = b"\x1f\x8b\x08\x10\0\0\0\0\0\xff", b"\0\x03\0" + bytes(8)
        return head + b" " * (size_bytes - len(head) - len(end)) + end
    return b" " * (size_bytes - 1) + b"\n"
