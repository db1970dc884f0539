"""A local folder as the place of an archive."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from typing_extensions import override

from migrator import durable
from migrator.adapters.archive.manifest import is_own, is_own_folder
from migrator.adapters.archive.places import Place, Stored, describe_spool
from migrator.adapters.shared.local_files import local_file_error
from migrator.errors import ArchiveDamaged, MigratorError, NotFound
from migrator.text.printable import printable_path

_READ_FILE = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC


class Folder(Place):
    """A folder of this machine."""

    def __init__(self, path: str, *, file_mode: int | None = None) -> None:
        """`file_mode` is that of new files, by default the owner's alone (see `durable.open_temporary`)."""
        self.printed = f"archive:{printable_path(path)}"
        self._mode = file_mode
        self._path = Path(path)

    def exists(self) -> bool:
        with self._translate_errors("."):
            return self._path.is_dir()

    def read(self, name: str) -> bytes:
        with self._open(name) as file:
            return file.read()

    def read_range(self, name: str, offset: int, size_bytes: int) -> bytes:
        with self._open(name) as file:
            file.seek(offset)
            data = file.read(size_bytes)
        if len(data) != size_bytes:
            raise ArchiveDamaged(f"{self.printed}: {name} is truncated: it ends before byte {offset + size_bytes:,}")
        return data

    def size(self, name: str) -> int | None:
        try:
            with self._open(name) as file:
                return os.fstat(file.fileno()).st_size
        except NotFound:
            return None

    @contextmanager
    def _open(self, name: str) -> Iterator[BinaryIO]:
        """A piece to read. No link is followed, nothing but a file opened: a pipe would wait for its other end."""
        with self._translate_errors(name), self._folder(name) as folder:
            handle = os.open(name.rpartition("/")[2], _READ_FILE, dir_fd=folder)
            with os.fdopen(handle, "rb") as file:
                if not stat.S_ISREG(os.fstat(handle).st_mode):
                    raise self._no_file(name)
                yield file

    @contextmanager
    def _folder(self, name: str) -> Iterator[int]:
        """The folder in which a piece is, as an open handle; only the archive's own folder may be a link."""
        handle = os.open(self._path, _FOLDER)
        try:
            for each in name.split("/")[:-1]:
                try:
                    below = os.open(each, _FOLDER | os.O_NOFOLLOW, dir_fd=handle)
                except NotADirectoryError:
                    self._refuse_links(name)
                    raise
                os.close(handle)
                handle = below
            yield handle
        finally:
            os.close(handle)

    def _refuse_links(self, name: str) -> None:
        """Raise where a link stands on the way to a piece, which would lead out of the archive."""
        path = self._path
        for each in name.split("/")[:-1]:
            path /= each
            if path.is_symlink():
                raise self._no_file(path.relative_to(self._path).as_posix())

    def _no_file(self, name: str) -> MigratorError:
        return ArchiveDamaged(
            f"{self.printed}: {name} is a link or a special file; only files and folders are read or deleted in "
            "an archive: put there what it points to, or remove it"
        )

    def unlock(self, name: str) -> None:
        """Nothing is locked."""

    @override
    def content_bytes(self, name: str, size_bytes: int) -> int:
        return size_bytes

    def names(self, prefix: str) -> Iterator[tuple[str, int]]:
        with self._translate_errors(prefix):
            yield from sorted(self._below(prefix))

    def _below(self, prefix: str) -> Iterator[tuple[str, int]]:
        """The files below a folder with their sizes; what other processes remove meanwhile is left out.

        A folder that can't be examined is an error: its content would seem not to be there, and an older state
        would be taken for the newest. Only one in which no piece can be may be closed. Links aren't followed, and one
        in the place of a piece is an error, for the same reason.
        """
        with self._translate_errors(prefix):
            try:
                if prefix and (self._path / prefix).is_symlink():
                    raise self._no_file(prefix.rstrip("/"))
                with os.scandir(self._path / prefix) as entries:
                    found = list(entries)
            except FileNotFoundError:
                return
            except PermissionError:
                if is_own_folder(prefix):
                    raise
                return
        for entry in found:
            name = prefix + entry.name
            with suppress(FileNotFoundError):
                if entry.is_dir(follow_symlinks=False) and not is_own(name):
                    yield from self._below(f"{name}/")
                elif entry.is_file(follow_symlinks=False):
                    if not durable.is_temporary(entry.name):
                        yield name, entry.stat(follow_symlinks=False).st_size
                elif is_own(name) or is_own_folder(f"{name}/"):
                    raise self._no_file(name)
                else:
                    yield name, 0

    def spool(self, name: str) -> BinaryIO:
        with self._translate_errors(name):
            final = self._path / name
            self._refuse_links(name)
            durable.make_folders(final.parent, file_mode=self._mode)
            return durable.open_temporary(final, mode=self._mode)

    def store(self, name: str, spool: BinaryIO) -> Stored:
        with self._translate_errors(name):
            stored = describe_spool(name, spool)
            durable.put_in_place(spool, self._path / name)
            return stored

    def discard(self, spool: BinaryIO) -> None:
        durable.discard(spool)

    def write(self, name: str, data: bytes) -> None:
        with self._translate_errors(name):
            final = self._path / name
            self._refuse_links(name)
            durable.make_folders(final.parent, file_mode=self._mode)
            durable.write_file(final, data, mode=self._mode)

    def delete(self, name: str) -> None:
        with self._translate_errors(name):
            path = self._path / name
            with suppress(FileNotFoundError), self._folder(name) as within:
                os.unlink(path.name, dir_fd=within)
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
        with self._translate_errors(prefix):
            self._refuse_links(prefix)
            for folder, _, names in os.walk(self._path / prefix):  # which follows no links below
                for name in filter(durable.is_temporary, names):
                    (Path(folder) / name).unlink(missing_ok=True)

    def close(self) -> None:
        pass

    @contextmanager
    def _translate_errors(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise NotFound(f"{self.printed}: {name} isn't there") from error
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
                raise self._no_file(name) from error
            raise local_file_error(f"{self.printed}: {name}", error) from error
