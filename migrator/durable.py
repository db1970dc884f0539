"""Local files that are there wholly or not at all, whenever the process or the machine dies.

A temporary name in the same folder, fsync of the file, rename, fsync of the folder: the one way in which this product
gives a local file its final name.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.partial")


def open_temporary(final: Path, *, mode: int | None = None) -> BinaryIO:
    """A new file beside `final`, open for reading and writing; `put_in_place` gives it its name.

    It has no buffer: what the disk refuses is raised by the call itself, which can be repeated. Write with `write_all`.
    Only its owner can read it, and the group where the folder has the setgid bit, unless `mode` says otherwise, or the
    file system keeps no modes.
    """
    path = final.parent / f".{final.name}.{secrets.token_hex(4)}.partial"
    opener = partial(open_private, mode=mode)
    return cast("BinaryIO", open(path, "x+b", buffering=0, opener=opener))


def open_private(path: str, flags: int, *, mode: int | None = None) -> int:
    """Open a file, one that is made as `open_temporary` has it. To be given to `open` as its opener."""
    handle = os.open(path, flags, 0o600)
    try:
        if flags & os.O_CREAT:
            wanted = mode or (0o640 if is_shared(Path(path).parent) else 0o600)
            if stat.S_IMODE(os.fstat(handle).st_mode) != wanted:
                with _where_modes_are_kept(asked=mode is not None):
                    os.fchmod(handle, wanted)
    except OSError:
        os.close(handle)
        raise
    return handle


@contextmanager
def _where_modes_are_kept(*, asked: bool) -> Iterator[None]:
    """Let a mode be refused that nobody requested: on a network share or a disk without modes the mount has the say."""
    try:
        yield
    except OSError as error:
        if asked or error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP):
            raise


def is_shared(folder: Path) -> bool:
    """Whether a folder says by its setgid bit that its group shall read what is put there."""
    return bool(folder.stat().st_mode & stat.S_ISGID)


def open_anonymous() -> BinaryIO:
    """A new file that has no name, in the folder for temporary files (TMPDIR); it is gone when it is closed."""
    return cast("BinaryIO", tempfile.TemporaryFile(buffering=0))


def write_all(file: BinaryIO, data: bytes | bytearray) -> None:
    """Write all of the data to a file without a buffer."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


def put_in_place(file: BinaryIO, final: Path) -> None:
    """Make a temporary file durable under its final name, and close it.

    Raises `OSError`; then it is open still, and this can be called again.
    """
    os.fsync(file.fileno())
    try:
        Path(file.name).replace(final)
    except FileNotFoundError:
        if not is_named(file, final):
            raise
    sync_folder(final.parent)
    file.close()


def is_named(file: BinaryIO, final: Path) -> bool:
    """Whether an open file has its final name already, as after a call that couldn't make the name durable."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), final.stat())
    return False


def discard(file: BinaryIO) -> None:
    """Close a temporary file and remove it."""
    with suppress(OSError):
        file.close()
    if isinstance(file.name, str):  # an anonymous one has a number
        with suppress(OSError):
            Path(file.name).unlink()


def is_temporary(name: str) -> bool:
    """Whether a file's name is one of `open_temporary`'s, left behind by a process that died."""
    return _TEMPORARY.fullmatch(name) is not None


@contextmanager
def replace(final: Path, *, mode: int | None = None) -> Iterator[BinaryIO]:
    """A file to write into, which has its final name when the block ends well, and isn't there otherwise."""
    file = open_temporary(final, mode=mode)
    try:
        yield file
        put_in_place(file, final)
    except BaseException:
        discard(file)
        raise


def write_file(final: Path, data: bytes, *, mode: int | None = None) -> None:
    """Write a whole small file; who may read it, `open_temporary` has."""
    with replace(final, mode=mode) as file:
        write_all(file, data)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folders(folder: Path, *, file_mode: int | None = None) -> None:
    """Make a folder and those above it that are missing, durably; who may read files of this mode may enter them.

    Without a mode they are the owner's own, and the group's where the folder above has the setgid bit.
    """
    missing = [folder, *folder.parents]
    missing = [each for each in missing if not each.exists()]
    for each in reversed(missing):
        shared = is_shared(each.parent)
        mode = file_mode or (0o640 if shared else 0o600)
        with suppress(FileExistsError):  # another thread made it
            each.mkdir(mode=0o700)
            with _where_modes_are_kept(asked=file_mode is not None):
                each.chmod(
                    0o700 | (mode & 0o044) | (mode & 0o044) >> 2 | (mode & 0o022) | (stat.S_ISGID if shared else 0)
                )
        sync_folder(each.parent)
