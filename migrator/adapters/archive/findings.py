"""What a check and a repair find, as values. Knows nothing of how it was found."""

from __future__ import annotations

import msgspec


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that isn't as it should be."""

    piece: str  # the name of the file in its archive
    what: str
    frame: int | None = None  # the first of a part is 1
    offset: int | None = None  # of the first byte concerned
    size_bytes: int | None = None


class Missing(msgspec.Struct, frozen=True, kw_only=True):
    """Documents that couldn't be saved: how many, from where, and when they started, as far as that is known."""

    piece: str
    what: str
    documents: int | None = None  # None where nothing tells how many
    frame: int | None = None
    offset: int | None = None
    size_bytes: int | None = None
    first_ms: int | None = None  # the span of `start`, both ends inclusive
    last_ms: int | None = None
    namespaces: tuple[str, ...] = ()


def place_in(frame: int | None, offset: int | None, size_bytes: int | None) -> str:
    """`frame 3, bytes 1,024 to 2,047: `, counted from 1 and from 0; the last byte is the last one concerned."""
    told = [f"frame {frame:,}"] if frame is not None else []
    if offset is not None:
        told.append(f"bytes {offset:,} to {offset + size_bytes - 1:,}" if size_bytes else f"from byte {offset:,}")
    return f"{', '.join(told)}: " if told else ""
