"""An archive that isn't one yet: all of it is there under its names but `archive.json`, which comes last.

A place enters, a place leaves that keeps `archive.json` in a marker of another name until `publish`. So whatever looks
at what an interrupted salvage left finds no archive, never a smaller one than there was.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from migrator.adapters.archive.manifest import ARCHIVE, UNFINISHED, is_junk, is_own
from migrator.adapters.archive.places import Place, Stored
from migrator.errors import UsageError
from migrator.text.arguments import argument


class Unpublished:
    """A place around a place."""

    def __init__(self, inner: Place) -> None:
        self.printed = inner.printed
        self._inner = inner

    def begin(self) -> bool:
        """Clear what an interrupted attempt left, and tell whether it did. Raises `UsageError` for anything else."""
        names = [name for name, _ in self._inner.names("")] if self._inner.exists() else []
        left = [name for name in names if not is_junk(name)]
        if not left:
            return False
        if ARCHIVE in left or UNFINISHED not in left:
            raise UsageError(f"{self.printed}: it isn't empty; give a new folder to {argument('repair')}")
        for name in filter(is_own, left):
            if name != UNFINISHED:
                self._inner.delete(name)
        self._inner.sweep("")
        self._inner.delete(UNFINISHED)  # the last, so that this can be interrupted too
        return True

    def publish(self) -> None:
        """Make an archive of it, where anything was written."""
        if self._inner.size(UNFINISHED) is not None:
            self._inner.write(ARCHIVE, self._inner.read(UNFINISHED))
            self._inner.delete(UNFINISHED)

    def exists(self) -> bool:
        return self._inner.exists()

    def read(self, name: str) -> bytes:
        return self._inner.read(_lies_as(name))

    def read_range(self, name: str, offset: int, size_bytes: int) -> bytes:
        return self._inner.read_range(_lies_as(name), offset, size_bytes)

    def size(self, name: str) -> int | None:
        return self._inner.size(_lies_as(name))

    def unlock(self, name: str) -> None:
        self._inner.unlock(_lies_as(name))

    def content_bytes(self, name: str, size_bytes: int) -> int:
        return self._inner.content_bytes(_lies_as(name), size_bytes)

    def names(self, prefix: str) -> Iterator[tuple[str, int]]:
        for name, size in self._inner.names(prefix):
            yield (ARCHIVE if name == UNFINISHED else name), size

    def spool(self, name: str) -> BinaryIO:
        return self._inner.spool(_lies_as(name))

    def store(self, name: str, spool: BinaryIO) -> Stored:
        return self._inner.store(_lies_as(name), spool)

    def discard(self, spool: BinaryIO) -> None:
        self._inner.discard(spool)

    def write(self, name: str, data: bytes) -> None:
        self._inner.write(_lies_as(name), data)

    def delete(self, name: str) -> None:
        self._inner.delete(_lies_as(name))

    def sweep(self, prefix: str) -> None:
        self._inner.sweep(prefix)

    def close(self) -> None:
        self._inner.close()


def _lies_as(name: str) -> str:
    return UNFINISHED if name == ARCHIVE else name
