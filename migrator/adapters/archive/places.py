"""Where an archive lies: named pieces of bytes that are written once, whole or not at all.

The contract that a local folder and a bucket fulfil alike. Names are relative, with slashes: `archive.json`,
`backups/20261124T021500Z-3f9a2c/part-000001.ndjson.zst`. Knows nothing of what the bytes mean.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from migrator import durable
from migrator.errors import AccessDenied, ArchiveDamaged, MigratorError, NotFound, Unavailable, UsageError

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


class Folder:
    """A folder of this machine."""

    def __init__(self, path: str) -> None:
        self.printed = f"archive:{path}"
        self._path = Path(path)

    def exists(self) -> bool:
        with self._translated("."):
            return self._path.is_dir()

    def read(self, name: str) -> bytes:
        with self._translated(name):
            return (self._path / name).read_bytes()

    def read_range(self, name: str, offset: int, size_bytes: int) -> bytes:
        with self._translated(name), (self._path / name).open("rb") as file:
            file.seek(offset)
            data = file.read(size_bytes)
        if len(data) != size_bytes:
            raise ArchiveDamaged(f"{self.printed}: {name} was cut: it ends before byte {offset + size_bytes:,}")
        return data

    def size(self, name: str) -> int | None:
        with self._translated(name):
            try:
                return (self._path / name).stat().st_size
            except (FileNotFoundError, NotADirectoryError):
                return None

    def unlock(self, name: str) -> None:
        """Nothing is locked."""

    def content_bytes(self, name: str, size_bytes: int) -> int:  # noqa: ARG002  the contract's
        return size_bytes

    def names(self, prefix: str) -> Iterator[tuple[str, int]]:
        with self._translated(prefix):
            yield from sorted(self._below(prefix))

    def _below(self, prefix: str) -> Iterator[tuple[str, int]]:
        """The files below a folder with their sizes; what other processes remove meanwhile is left out.

        A folder that can't be looked into is an error: its content would seem not to be there, and an older state
        would be taken for the newest. Only the one that a file system keeps for itself may be closed.
        """
        with self._translated(prefix):
            try:
                with os.scandir(self._path / prefix) as entries:
                    found = list(entries)
            except FileNotFoundError:
                return
            except PermissionError:
                if prefix != "lost+found/":
                    raise
                return
        for entry in found:
            with suppress(FileNotFoundError):
                if entry.is_dir():
                    yield from self._below(f"{prefix}{entry.name}/")
                elif entry.is_file() and not durable.is_temporary(entry.name):
                    yield prefix + entry.name, entry.stat().st_size

    def spool(self, name: str) -> BinaryIO:
        with self._translated(name):
            final = self._path / name
            durable.make_folders(final.parent)
            return durable.open_temporary(final)

    def store(self, name: str, spool: BinaryIO) -> Stored:
        with self._translated(name):
            stored = stored_as(name, spool)
            durable.put_in_place(spool, self._path / name)
            return stored

    def discard(self, spool: BinaryIO) -> None:
        durable.discard(spool)

    def write(self, name: str, data: bytes) -> None:
        with self._translated(name):
            final = self._path / name
            durable.make_folders(final.parent)
            durable.write_file(final, data)

    def delete(self, name: str) -> None:
        with self._translated(name):
            path = self._path / name
            path.unlink(missing_ok=True)
            for folder in path.parents:  # a bucket has no empty folders either
                if folder == self._path:
                    break
                try:
                    folder.rmdir()
                except FileNotFoundError:
                    continue  # it was removed before
                except OSError:
                    break  # something is in it
            with suppress(FileNotFoundError):
                durable.sync_folder(folder)

    def sweep(self, prefix: str) -> None:
        with self._translated(prefix):
            for each in (self._path / prefix).rglob(".*.partial"):
                if durable.is_temporary(each.name):
                    each.unlink(missing_ok=True)

    def close(self) -> None:
        pass

    @contextmanager
    def _translated(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise NotFound(f"{self.printed}: {name} isn't there") from error
        except OSError as error:
            raise translated(f"{self.printed}: {name}", error) from error


def stored_as(name: str, spool: BinaryIO) -> Stored:
    """Size and hash of what stands in a spool."""
    spool.seek(0)
    sha256, size_bytes = hashlib.sha256(), 0
    while piece := spool.read(_PIECE_BYTES):
        sha256.update(piece)
        size_bytes += len(piece)
    return Stored(name, size_bytes, sha256.hexdigest())


def translated(where: str, error: OSError) -> MigratorError:
    """What the operating system says of a local file, as one of our errors."""
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ESTALE):
        return Unavailable(f"{where}: {reason}; make room or mend the disk, and run again")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return AccessDenied(f"{where}: {reason}; check the rights of the folder")
    if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG):
        return UsageError(f"{where}: {reason}; an archive is a folder of its own")
    return Unavailable(f"{where}: {reason}")


def open_place(path: str) -> Place:
    """The place of a location's path, a local folder or a bucket by its URL, with the bytes as they lie there.

    `encrypted.open_contents` is the same place with what is encrypted readable.
    """
    if "://" in path:
        from migrator.adapters.archive.buckets import Bucket

        return Bucket(path)
    return Folder(path)
