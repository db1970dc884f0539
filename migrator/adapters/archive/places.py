"""Where an archive lies: named pieces of bytes that are written once, whole or not at all.

The contract that a local folder and a bucket fulfil alike. Names are relative, with slashes: `archive.json`,
`backups/20261124T021500Z-3f9a2c/part-000001.ndjson.zst`. Knows nothing of what the bytes mean.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, Protocol

_PIECE_BYTES = 1 << 20


class Stored(NamedTuple):
    """A piece as it was stored."""

    name: str
    size_bytes: int
    sha256: str  # of the bytes as they lie there, in hexadecimal


class Place(Protocol):
    """A folder or a bucket. Used by several threads at once. Raises our errors only."""

    printed: str  # for messages, without a secret

    def exists(self) -> bool:
        """Whether the place can be read from: the folder, or the bucket, is there."""
        ...

    def read(self, name: str) -> bytes:
        """A whole piece, for small ones. Raises `NotFound`."""
        ...

    def read_range(self, name: str, offset: int, size_bytes: int) -> bytes:
        """Bytes of a piece, exactly so many; fewer means that it was cut: `ArchiveDamaged`."""
        ...

    def size(self, name: str) -> int | None:
        """How many bytes a piece has as it lies there, None where it isn't there."""
        ...

    def unlock(self, name: str) -> None:
        """Raise `AccessDenied` where a piece is encrypted and no key fits; looks at its beginning only."""
        ...

    def content_bytes(self, name: str, size_bytes: int) -> int:
        """How many bytes `read_range` can give of a piece that has a size: so many, or fewer where it is encrypted."""
        ...

    def names(self, prefix: str) -> Iterator[tuple[str, int]]:
        """The names of all pieces below a prefix that ends with a slash (or is empty), with their sizes, sorted."""
        ...

    def spool(self, name: str) -> BinaryIO:
        """A file to make a piece in; it has no final name and leaves nothing that counts when the process dies."""
        ...

    def store(self, name: str, spool: BinaryIO) -> Stored:
        """Make what is in a spool durable under its name, whole or not at all, and close the spool.

        May be called again with the same spool after `Unavailable`.
        """
        ...

    def discard(self, spool: BinaryIO) -> None:
        """Drop a spool."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Store a small piece, whole or not at all."""
        ...

    def delete(self, name: str) -> None:
        """Remove a piece; no error where it isn't there."""
        ...

    def sweep(self, prefix: str) -> None:
        """Remove what processes that died left of spools below a prefix."""
        ...

    def close(self) -> None: ...


def describe_spool(name: str, spool: BinaryIO) -> Stored:
    """Size and hash of what is in a spool."""
    spool.seek(0)
    sha256, size_bytes = hashlib.sha256(), 0
    while piece := spool.read(_PIECE_BYTES):
        sha256.update(piece)
        size_bytes += len(piece)
    return Stored(name, size_bytes, sha256.hexdigest())
