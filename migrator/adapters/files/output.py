"""Where the bytes of a new file of documents go: a file, under a temporary name until it is whole, or standard output.

Segments enter, each is durable when `append` returns. Knows nothing of documents.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Protocol

from typing_extensions import override

from migrator import durable
from migrator.adapters.base import Refusal, Token
from migrator.adapters.files.compression import WRITABLE, Compression, compress, compression_named, filler
from migrator.adapters.shared.local_files import local_file_error
from migrator.errors import AccessDenied, MigratorError, NotFound, StateDamaged, UsageError
from migrator.text.arguments import argument
from migrator.text.printable import printable_path

Segment = tuple[int, int]  # where it begins in the file, and its bytes


class Output(Protocol):
    """A new file, or standard output."""

    printed: str
    compression: Compression

    def check(self) -> None:
        """Raise where nothing can be written there."""
        ...

    def check_new(self) -> None:
        """Raise `UsageError` where something is already."""
        ...

    def begin(self) -> Token:
        """Begin a new file; what is returned finds it again."""
        ...

    def resume(self, begun: Token, segments: Sequence[Segment]) -> Refusal | None:
        """Continue a file that holds these segments; what else is in it goes. The reason where it isn't there."""
        ...

    def append(self, data: bytes) -> Segment:
        """Make a segment durable. After an exception it can be called again."""
        ...

    def finish(self) -> None:
        """Give the file its name; a compressed one without documents holds a frame of nothing."""
        ...

    def close(self) -> None: ...


class FileOutput:
    """A file of this machine."""

    def __init__(self, path: str) -> None:
        self.printed = f"file:{printable_path(path)}"
        self.compression = compression_named(path)
        self._empty = compress(b"", self.compression)
        self._final = Path(path)
        self._file: BinaryIO | None = None
        self._length = 0
        self._begun = ""  # the temporary name
        self._is_final = False  # this job's own file has its name already

    def check(self) -> None:
        if self.compression not in WRITABLE:
            raise UsageError(
                f"{self.printed}: {self.compression} can only be read; give a name that ends in .ndjson, .gz or .zst"
            )
        if self._final.is_dir():
            raise UsageError(f"{self.printed} is a folder; name a file in it")
        if not self._final.parent.is_dir():
            raise NotFound(f"{self.printed}: there is no folder {self._final.parent}; create it first")
        if not os.access(self._final.parent, os.W_OK | os.X_OK):
            raise AccessDenied(f"{self.printed}: the folder can't be written; check its rights")

    def check_new(self) -> None:
        if self._final.exists():
            raise UsageError(f"{self.printed} already exists; give another name, or move it away")

    def begin(self) -> Token:
        self.check_new()
        self.close()
        try:
            self._file = durable.open_temporary(self._final)
        except OSError as error:
            raise local_file_error(self.printed, error) from error
        self._begun = Path(self._file.name).name
        return self._begun

    def resume(self, begun: Token, segments: Sequence[Segment]) -> Refusal | None:
        """Holes, left by workers whose commit never came, are filled with what readers skip."""
        self.close()
        self._begun = str(begun)
        partial = self._partial()
        ends = {offset + size for offset, size in segments} or {0}
        self._length = max(ends)
        try:
            found = self._final.stat().st_size if self._final.is_file() else None
            # A finished file is this job's own if it ends with one of its segments.
            self._is_final = found in ends or (self._length == 0 and found == len(self._empty))
            if self._is_final and found in (self._length, len(self._empty)):
                partial.unlink(missing_ok=True)
                return None
            if not partial.exists() or partial.stat().st_size < self._length:
                return Refusal.FILE_GONE
            self._file = partial.open("r+b", buffering=0)
            self._file.truncate(self._length)
            for offset, size in _holes(segments):
                self._file.seek(offset)
                durable.write_all(self._file, filler(size, self.compression))
            os.fsync(self._file.fileno())
        except OSError as error:
            raise local_file_error(self.printed, error) from error
        return None

    def _partial(self) -> Path:
        name = Path(self._begun).name
        if not durable.is_temporary(name):
            raise StateDamaged(
                f"{self.printed}: the job's record of it can't be used; start over with {argument('restart')}"
            )
        return self._final.parent / name

    def append(self, data: bytes) -> Segment:
        try:
            file = self._file or self._reopen()
            file.seek(self._length)
            durable.write_all(file, data)
            file.truncate()
            os.fsync(file.fileno())
        except OSError as error:
            raise local_file_error(self.printed, error) from error
        segment = (self._length, len(data))
        self._length += len(data)
        return segment

    def _reopen(self) -> BinaryIO:
        """A copy of the finished file to write on into; the file itself stays whole until the copy replaces it."""
        if not self._is_final:
            raise UsageError(f"{self.printed}: nothing can be added to this file; copy into a new one")
        partial = self._partial()
        os.close(durable.open_private(str(partial), os.O_WRONLY | os.O_CREAT))
        shutil.copyfile(self._final, partial)
        self._file = partial.open("r+b", buffering=0)
        return self._file

    def finish(self) -> None:
        if self._file is None:
            return
        if not self._length:
            self.append(self._empty)
        if not (self._is_final or durable.is_named(self._file, self._final)):
            self.check_new()
        try:
            durable.put_in_place(self._file, self._final)
        except OSError as error:
            raise local_file_error(self.printed, error) from error
        self._file, self._is_final = None, True

    def close(self) -> None:
        """What isn't finished stays under its temporary name, for the run that goes on."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None


def _holes(segments: Sequence[Segment]) -> list[Segment]:
    holes: list[Segment] = []
    end = 0
    for offset, size in sorted(segments):
        if offset > end:
            holes.append((end, offset - end))
        end = offset + size
    return holes


class StandardOutput(Output):
    """What is piped out. Nothing of it can be taken back, so that it is never resumed."""

    printed = "-"
    compression = Compression.PLAIN

    def __init__(self, stream: BinaryIO | None = None) -> None:
        self._stream = stream or sys.stdout.buffer
        self._length = 0

    def check(self) -> None:
        """Whoever reads it may go away at any time; that is seen when it is written."""

    def check_new(self) -> None:
        """It is always new."""

    def begin(self) -> Token:
        return None

    @override
    def resume(self, begun: Token, segments: Sequence[Segment]) -> Refusal | None:
        return Refusal.NOT_KEPT

    def append(self, data: bytes) -> Segment:
        try:
            self._stream.write(data)
            self._stream.flush()
        except OSError as error:
            raise MigratorError(
                f"standard output can't be written: {error.strerror or error}; run the command again to print all of it"
            ) from error
        segment = (self._length, len(data))
        self._length += len(data)
        return segment

    def finish(self) -> None:
        """All of it is out."""

    def close(self) -> None:
        """It belongs to the process."""
