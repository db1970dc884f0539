"""Local files that are there wholly or not at all, whenever the process or the machine dies.

A temporary name in the same folder, fsync of the file, rename, fsync of the folder: the one way in which this product
gives a local file its final name.
"""

from __future__ import annotations

import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.partial")


def open_temporary(final: Path) -> BinaryIO:
    """A new file beside `final`, open for reading and writing; `put_in_place` gives it its name.

    It has no buffer: what the disk refuses is told by the very call, and can be called again. Write with `write_all`.
    """
    return (final.parent / f".{final.name}.{secrets.token_hex(4)}.partial").open("x+b", buffering=0)


def open_anonymous() -> BinaryIO:
    """A new file that has no name, in the folder for temporary files (TMPDIR); it is gone when it is closed."""
    return cast("BinaryIO", tempfile.TemporaryFile(buffering=0))


def write_all(file: BinaryIO, data: bytes) -> None:
    """Write all of the data to a file without a buffer."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


def put_in_place(file: BinaryIO, final: Path) -> None:
    """Make a temporary file durable under its final name, and close it.

    Raises `OSError`; then it is open still, and this can be called again.
    """
    os.fsync(file.fileno())
    Path(file.name).replace(final)
    sync_folder(final.parent)
    file.close()


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
def replacing(final: Path) -> Iterator[BinaryIO]:
    """A file to write into, which has its final name when the block ends well, and isn't there otherwise."""
    file = open_temporary(final)
    try:
        yield file
        put_in_place(file, final)
    except BaseException:
        discard(file)
        raise


def write_file(final: Path, data: bytes) -> None:
    """Write a whole small file."""
    with replacing(final) as file:
        write_all(file, data)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folders(folder: Path) -> None:
    """Make a folder and those above it that are missing, durably."""
    missing = [folder, *folder.parents]
    missing = [each for each in missing if not each.exists()]
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        sync_folder(each.parent)
