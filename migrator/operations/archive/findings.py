"""What a check finds: values, and the one line in which each is reported. Knows nothing of how it was found."""

from __future__ import annotations

import msgspec

from migrator.activations.forms import instant


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that isn't as it should be."""

    piece: str  # the name of the file in its archive
    what: str
    frame: int | None = None  # the first of a part is 1
    offset: int | None = None  # of the first byte concerned
    size_bytes: int | None = None

    @property
    def line(self) -> str:
        return f"{self.piece}: {place_in(self.frame, self.offset, self.size_bytes)}{self.what}"


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

    @property
    def line(self) -> str:
        count = "an unknown number of documents" if self.documents is None else f"{self.documents:,} documents"
        span = f", started {span_of(self.first_ms, self.last_ms)}" if self.first_ms is not None else ""
        named = f", in {', '.join(self.namespaces[:10])}" if self.namespaces else ""
        more = f" and {len(self.namespaces) - 10} more" if len(self.namespaces) > 10 else ""
        return (
            f"{self.piece}: {place_in(self.frame, self.offset, self.size_bytes)}"
            f"{count} missing{span}{named}{more}: {self.what}"
        )


def place_in(frame: int | None, offset: int | None, size_bytes: int | None) -> str:
    """`frame 3, bytes 1,024 to 2,047: `, counted from 1 and from 0; the last byte is the last one concerned."""
    told = [f"frame {frame:,}"] if frame is not None else []
    if offset is not None:
        told.append(f"bytes {offset:,} to {offset + size_bytes - 1:,}" if size_bytes else f"from byte {offset:,}")
    return f"{', '.join(told)}: " if told else ""


def span_of(first_ms: int | None, last_ms: int | None) -> str:
    """A span of time as text; both ends inclusive."""
    if first_ms is None or last_ms is None:
        return "-"
    return f"{instant(first_ms)} to {instant(last_ms)}"
