"""Plain or compressed: the bytes of a file become what was compressed in them, and the other way round.

Pieces of a file enter, pieces of text leave, each with the frame from which decompressing could start over. A frame is
a gzip member, a Zstandard frame, a stream of xz or bzip2; a file has one or many, and skippable ones are skipped,
as are zeros behind the last. What ends inside a frame, or doesn't decompress, is `ArchiveDamaged` with the byte; what
is whole and needs more than is here (a dictionary, gigabytes) is a `UsageError`. Knows nothing of lines and opens no
file.

Source: RFC 1952 (gzip), RFC 8878 (Zstandard).
"""

from __future__ import annotations

import bz2
import enum
import lzma
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import zstandard
from typing_extensions import override

from migrator.errors import ArchiveDamaged, UsageError

PIECE_BYTES = 256 * 1024
MOST_WINDOW_BYTES = 1 << 27
"""What a frame may ask a reader to hold; `zstd --ultra -22` and `--long` stay within it, `--long=28` and up don't."""

_ZSTD_HEADER_BYTES = 18  # at most
_XZ_MEMORY_BYTES = 256 << 20  # `xz -9` asks for 65 MiB
_ZSTD_PIECE_BYTES = 4 * 1024  # the decompressor gives all that a piece holds: a thousand times as much, in bad cases
_LEVEL = 3


class Compression(enum.StrEnum):
    PLAIN = "plain"
    GZIP = "gzip"
    ZSTD = "zstd"
    XZ = "xz"
    BZIP2 = "bzip2"


class Frame(NamedTuple):
    """Where a frame begins: in the file, and in what is compressed in it."""

    offset: int
    raw: int


BEGINNING = Frame(0, 0)


class Chunk(NamedTuple):
    data: bytes
    frame: Frame  # the one that the data is of; of a plain file a piece of its own


MAGIC_BYTES = 6


def compression_of(beginning: bytes) -> Compression:
    """Told by the first `MAGIC_BYTES` of a file."""
    if beginning.startswith(b"\x1f\x8b"):
        return Compression.GZIP
    if beginning.startswith(b"\xfd7zXZ\0"):
        return Compression.XZ
    if beginning.startswith(b"BZh") and beginning[3:4].isdigit():
        return Compression.BZIP2
    if beginning.startswith(b"\x28\xb5\x2f\xfd") or (beginning[1:4] == b"\x2a\x4d\x18" and beginning[0] >> 4 == 5):
        return Compression.ZSTD  # the second: a skippable frame
    return Compression.PLAIN


def compression_named(path: str) -> Compression:
    """Told by the ending of a name."""
    return _ENDINGS.get(path.rpartition(".")[2], Compression.PLAIN)


_ENDINGS = {"gz": Compression.GZIP, "zst": Compression.ZSTD, "xz": Compression.XZ, "bz2": Compression.BZIP2}


def decompress(pieces: Iterator[bytes], compression: Compression, begin: Frame) -> Iterator[Chunk]:
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
    decoder: _Decoder | None = None
    for piece in pieces:
        offset += len(piece)
        left = piece
        while left or (decoder and decoder.holds_more):
            if decoder is None:
                if offset > len(left) and not (left := left.lstrip(b"\0")):
                    break  # zeros behind a frame: what a tape or a disk is filled up with
                frame = Frame(offset - len(left), raw)
                decoder = _DECODERS[compression]()
            try:
                data, left = decoder.take(left)
            except _UNDECODABLE as error:
                raise _damage(error, decoder, compression, frame, offset - len(left)) from error
            raw += len(data)
            if data:
                yield Chunk(data, frame)
            if decoder.is_at_end:
                decoder = None
    if decoder is not None:
        raise ArchiveDamaged(
            f"cut off at byte {offset:,}, in the {compression} frame that begins at byte {frame.offset:,}"
        )


def _damage(
    error: Exception, decoder: _Decoder, compression: Compression, frame: Frame, offset: int
) -> ArchiveDamaged | UsageError:
    if needs := decoder.needs(error):
        return UsageError(f"the {compression} frame that begins at byte {frame.offset:,} {needs}")
    if frame.offset and not decoder.began:
        return ArchiveDamaged(f"the data from byte {frame.offset:,} on, after the last frame, isn't {compression}")
    return ArchiveDamaged(
        f"byte {offset:,} or shortly after is damaged, in the {compression} frame that begins at byte "
        f"{frame.offset:,}: {error}"
    )


class _Decoder(Protocol):
    """Decompresses one frame."""

    began: bool  # its header was understood

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """Some of what the data holds, and what is left of the data."""
        ...

    def needs(self, error: Exception) -> str | None:
        """What a frame that may be whole asks for and can't get, as the end of a sentence."""
        ...

    @property
    def is_at_end(self) -> bool: ...

    @property
    def holds_more(self) -> bool:
        """Whether it can give more before it needs more."""
        ...


class _Gzip(_Decoder):
    began = False

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)  # with gzip's header, checksum and length

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        given = self._inner.decompress(data, PIECE_BYTES)
        self.began = True
        return given, self._inner.unused_data if self._inner.eof else self._inner.unconsumed_tail

    @override
    def needs(self, error: Exception) -> str | None:
        return None

    @property
    def is_at_end(self) -> bool:
        return self._inner.eof

    holds_more = False


class _Zstd(_Decoder):
    began = False

    def __init__(self) -> None:
        self._inner = zstandard.ZstdDecompressor(max_window_size=MOST_WINDOW_BYTES).decompressobj()
        self._head = b""

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        if len(self._head) < _ZSTD_HEADER_BYTES:
            self._head += data[: _ZSTD_HEADER_BYTES - len(self._head)]
        given = self._inner.decompress(data[:_ZSTD_PIECE_BYTES])
        self.began = True
        left = data[_ZSTD_PIECE_BYTES:]
        return given, self._inner.unused_data + left if self._inner.eof else left

    @override
    def needs(self, error: Exception) -> str | None:
        try:
            told = zstandard.get_frame_parameters(self._head)
        except zstandard.ZstdError:
            return None
        self.began = True
        if told.dict_id:
            return (
                f"was compressed with a dictionary (id {told.dict_id}), which isn't in it; "
                "decompress it with `zstd -d -D DICTIONARY` first"
            )
        if told.window_size > MOST_WINDOW_BYTES:
            return (
                f"needs {told.window_size >> 20:,} MiB of memory at once, and {MOST_WINDOW_BYTES >> 20} MiB are "
                "allowed; decompress it with `zstd -d --long=31` first"
            )
        return None

    @property
    def is_at_end(self) -> bool:
        return self._inner.eof

    holds_more = False


class _Bounded(_Decoder):
    """xz and bzip2 through the standard library."""

    began = False

    def __init__(self, inner: lzma.LZMADecompressor | bz2.BZ2Decompressor) -> None:
        self._inner = inner

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        given = self._inner.decompress(data, PIECE_BYTES)
        self.began = True
        return given, self._inner.unused_data if self._inner.eof else b""

    @override
    def needs(self, error: Exception) -> str | None:
        if isinstance(error, lzma.LZMAError) and "limit" in str(error).lower():
            return f"needs more than {_XZ_MEMORY_BYTES >> 20} MiB of memory; decompress it with `xz -d` first"
        return None

    @property
    def is_at_end(self) -> bool:
        return self._inner.eof

    @property
    def holds_more(self) -> bool:
        return not (self._inner.eof or self._inner.needs_input)


def _xz() -> _Decoder:
    return _Bounded(lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES))


def _bzip2() -> _Decoder:
    return _Bounded(bz2.BZ2Decompressor())


_DECODERS: dict[Compression, Callable[[], _Decoder]] = {
    Compression.GZIP: _Gzip,
    Compression.ZSTD: _Zstd,
    Compression.XZ: _xz,
    Compression.BZIP2: _bzip2,
}
_UNDECODABLE = (zlib.error, zstandard.ZstdError, lzma.LZMAError, OSError, EOFError)


# -- writing ------------------------------------------------------------------------------------------------------

WRITABLE = (Compression.PLAIN, Compression.GZIP, Compression.ZSTD)


def compress(data: bytes, compression: Compression) -> bytes:
    """Data as a frame of its own, with a checksum; plain data as it is."""
    if compression is Compression.ZSTD:
        return zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compress(data)
    if compression is Compression.GZIP:
        return zlib.compress(data, wbits=31)
    return data


def filler(size_bytes: int, compression: Compression) -> bytes:
    """So many bytes that a reader skips, to lie in the place of a frame that shall count no more.

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
