"""One part to read from: its index, its frames, the hashes of its ids.

A place and what the manifest says of a part enter; lines leave, or `ArchiveDamaged` with the part's name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property

from migrator.adapters.archive.format import (
    SKIPPABLE,
    TAIL_BYTES,
    Frame,
    Index,
    read_frame,
    read_index,
    split_lines,
    tail_needed,
)
from migrator.adapters.archive.manifest import Manifest, PartNote
from migrator.adapters.archive.places import Place
from migrator.errors import ArchiveDamaged, NotFound
from migrator.text.units import counted


class Part:
    """A part of a backup."""

    def __init__(self, place: Place, manifest: Manifest, note: PartNote) -> None:
        self.note = note
        self.name = manifest.folder + note.name
        self._place = place
        self._sha256 = hashlib.sha256()
        self._hashed_bytes = 0  # of the file, from its beginning on

    @cached_property
    def index(self) -> Index:
        """What its end says of it. Raises `ArchiveDamaged`."""
        with self._name_errors():
            size = self._place.size(self.name)
            if size is None:
                raise ArchiveDamaged("it is missing, and the manifest lists it")
            if size != self.note.size_bytes:
                raise ArchiveDamaged(f"it has {counted(size, 'byte')} instead of {self.note.size_bytes:,}")
            size = self._place.content_bytes(self.name, size)
            tail = self._tail(size, TAIL_BYTES)
            while (needed := min(tail_needed(tail), size)) > len(tail):
                tail = self._tail(size, needed)
            index = read_index(tail, size)
            if sum(frame.note.documents for frame in index.frames) != self.note.documents:
                raise ArchiveDamaged("the index and the manifest have different numbers of documents")
            return index

    def _tail(self, size: int, wanted: int) -> bytes:
        wanted = min(wanted, size)
        return self._place.read_range(self.name, size - wanted, wanted)

    def contents(self, frames: Sequence[Frame]) -> Iterator[bytes]:
        """The lines of frames that stand side by side, read at once; as many as they should be in each."""
        with self._name_errors():
            first, last = frames[0], frames[-1]
            data = memoryview(
                self._place.read_range(self.name, first.offset, last.offset + last.size_bytes - first.offset)
            )
            if first.offset == self._hashed_bytes:
                self._sha256.update(data)
                self._hashed_bytes += len(data)
            for frame in frames:
                at = frame.offset - first.offset
                try:
                    raw = read_frame(bytes(data[at : at + frame.size_bytes]), frame)
                except ArchiveDamaged as error:
                    raise ArchiveDamaged(f"at byte {frame.offset:,}: {error}") from error
                yield raw

    def prove(self) -> None:
        """Raise `ArchiveDamaged` where all frames were read in order and the file isn't that of the manifest.

        Checksums of frames tell accidents; only this tells a part that somebody put in the place of another. The hash
        of an encrypted one is that of what lies there, which isn't what is read; age proves it.
        """
        with self._name_errors():
            end = self.index.hashes_offset - SKIPPABLE.size
            if self._hashed_bytes != end or self.name.endswith(".age"):
                return
            self._sha256.update(self._place.read_range(self.name, end, self.note.size_bytes - end))
            self._hashed_bytes = self.note.size_bytes
            if self._sha256.hexdigest() != self.note.sha256:
                raise ArchiveDamaged("its SHA-256 doesn't match the manifest")

    def hashes(self) -> bytes:
        """The hashes of the ids of all its documents, eight bytes each, in the order of lines."""
        with self._name_errors():
            index = self.index
            data = self._place.read_range(self.name, index.hashes_offset, index.hashes_bytes)
            if hashlib.sha256(data).hexdigest() != index.hashes_sha256:
                raise ArchiveDamaged("the hashes in its index are damaged")
            return data

    def lines(self, frame: Frame) -> list[bytes]:
        """The lines of one frame."""
        (raw,) = self.contents([frame])
        with self._name_errors():
            return split_lines(raw)

    @contextmanager
    def _name_errors(self) -> Iterator[None]:
        try:
            yield
        except ArchiveDamaged as error:
            text = str(error)
            if self._place.printed in text:
                raise
            raise ArchiveDamaged(f"{self._place.printed}: {self.name}: {text}") from error
        except NotFound as error:
            raise ArchiveDamaged(f"{self._place.printed}: {self.name} is missing, and the manifest lists it") from error
