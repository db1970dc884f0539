"""The part that one thread of a writer fills, until it is durable.

Documents enter; a part and its receipt leave. Knows nothing of backups.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import BinaryIO

import msgspec

from migrator import durable
from migrator.activations.document import Document
from migrator.adapters.archive.format import (
    FRAME_BYTES,
    FULL_HEADER_BYTES,
    FrameNote,
    end_pieces,
    make_frame,
    new_compressor,
    note_bytes,
)
from migrator.adapters.archive.manifest import PartNote
from migrator.adapters.archive.places import Place
from migrator.adapters.shared.local_files import local_file_error


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """A part that is durable: what `PartNote` says of it, up to the layer."""

    name: str
    documents: int
    size_bytes: int
    raw_bytes: int
    sha256: str
    first_ms: int
    last_ms: int
    namespaces: dict[str, int]

    def note(self, layer: int) -> PartNote:
        return PartNote(layer=layer, **msgspec.structs.asdict(self))


class Lane:
    """The part that one thread fills, and the documents that aren't in a frame yet."""

    def __init__(self, place: Place, next_name: Callable[[], str], level: int) -> None:
        self._place = place
        self._next_name = next_name
        self._compressor = new_compressor(level)
        self._waiting: list[Document] = []
        self._waiting_bytes = 0
        self._spool: BinaryIO | None = None
        self._forget()

    def _forget(self) -> None:
        self._name = ""
        self._offset = 0  # where the next frame goes
        self._torn = False  # whether something stands there that isn't a frame, as after a write that failed half-way
        self._sizes: list[tuple[int, int]] = []
        self._notes: list[FrameNote] = []
        self._noted_bytes = 0
        self._hashes = bytearray()
        self._namespaces: Counter[str] = Counter()
        self._began_s = time.monotonic()

    def take(self, documents: Sequence[Document]) -> None:
        """Take documents; only memory is needed for it, so that it can't fail half-way."""
        if not (self._waiting or self._sizes):
            self._began_s = time.monotonic()
        self._waiting_bytes += sum([len(document.body) for document in documents])
        self._waiting += documents

    def is_due(self, part_bytes: int, part_s: float) -> bool:
        if not (self._waiting or self._sizes):
            return False
        is_full = self._offset >= part_bytes or self._noted_bytes >= FULL_HEADER_BYTES
        return is_full or time.monotonic() - self._began_s >= part_s

    def drain(self, least_bytes: int) -> None:
        """Write frames while documents of at least so many bytes wait."""
        while self._waiting and self._waiting_bytes >= least_bytes:
            count, size = 0, 0
            while count < len(self._waiting) and size < FRAME_BYTES:
                size += len(self._waiting[count].body)
                count += 1
            frame = make_frame(self._waiting[:count], self._compressor)
            self._append(frame.data)
            self._offset += len(frame.data)
            self._sizes.append((len(frame.data), frame.raw_bytes))
            self._notes.append(frame.note)
            self._noted_bytes += note_bytes(frame.note)
            self._hashes += frame.hashes
            self._namespaces.update([document.namespace for document in self._waiting[:count]])
            del self._waiting[:count]
            self._waiting_bytes -= size

    def _append(self, *pieces: bytes | bytearray) -> None:
        """Write behind the last frame; what else stands there is cut off first."""
        if self._spool is None:
            self._name = self._name or self._next_name()
            self._spool = self._place.spool(self._name)
        try:
            if self._torn:
                self._spool.seek(self._offset)
                self._spool.truncate()
            self._torn = True
            for piece in pieces:
                durable.write_all(self._spool, piece)
            self._torn = False
        except OSError as error:
            raise local_file_error(f"{self._place.printed}: {self._name}", error) from error

    def close(self) -> Receipt | None:
        """End the part and make it durable. After an exception it can be called again."""
        self.drain(0)
        if self._spool is None:
            return None
        self._append(*end_pieces(self._sizes, self._notes, self._hashes))
        self._torn = True  # should storing it fail, the end is rewritten
        stored = self._place.store(self._name, self._spool)
        self._spool = None
        receipt = Receipt(
            name=stored.name.rpartition("/")[2],
            documents=sum(note.documents for note in self._notes),
            size_bytes=stored.size_bytes,
            raw_bytes=sum(raw for _, raw in self._sizes),
            sha256=stored.sha256,
            first_ms=min(note.first_ms for note in self._notes),
            last_ms=max(note.last_ms for note in self._notes),
            namespaces=dict(sorted(self._namespaces.items())),
        )
        self._forget()
        return receipt

    def drop(self) -> None:
        """Give up what isn't durable."""
        if self._spool is not None:
            self._place.discard(self._spool)
            self._spool = None
