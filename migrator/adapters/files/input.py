"""Where the bytes of a file of documents come from: a local file, or standard input.

A path enters; chunks of text leave, from any frame on, and what tells the file from another. Standard input can be read
once, from its beginning. Knows nothing of documents.
"""

from __future__ import annotations

import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from hashlib import blake2b
from io import BufferedReader
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from migrator.adapters.base import Token
from migrator.adapters.files.compression import (
    BEGINNING,
    MAGIC_BYTES,
    PIECE_BYTES,
    Chunk,
    Compression,
    Frame,
    compression_named,
    compression_of,
    decompress,
)
from migrator.adapters.shared.local_files import local_file_error
from migrator.errors import ArchiveDamaged, MigratorError, NotFound, UsageError
from migrator.text.arguments import argument
from migrator.text.printable import printable_path

_COMPARED_BYTES = 64 * 1024  # of the beginning and of the end, to know a file again


class Input(Protocol):
    """A file, or standard input."""

    printed: str
    reads_once: bool  # what was read can't be read again

    @property
    def path(self) -> Path | None:
        """Of a file of this machine."""
        ...

    @property
    def compression(self) -> Compression: ...

    def fingerprint(self) -> Token:
        """The same JSON value for the same content."""
        ...

    def check_same(self, fingerprint: Token) -> None:
        """Raise `UsageError` where reading can't go on, because the content isn't the same any more."""
        ...

    @contextmanager
    def open(self, begin: Frame = BEGINNING) -> Iterator[Iterator[Chunk]]:
        """The text from a frame on."""
        ...

    @contextmanager
    def peek(self) -> Iterator[Iterator[Chunk]]:
        """The text from its beginning on, to look at some of it; it can be opened afterwards."""
        ...

    def close(self) -> None: ...


class FileInput:
    """A file of this machine."""

    reads_once = False

    def __init__(self, path: str) -> None:
        self.printed = f"file:{printable_path(path)}"
        self.path = Path(path)

    @cached_property
    def compression(self) -> Compression:
        with self._open_file() as file:
            beginning = file.read(MAGIC_BYTES)
        if len(beginning) < MAGIC_BYTES and compression_named(self.path.name) is not Compression.PLAIN:
            raise ArchiveDamaged(f"{self.printed}: cut off at byte {len(beginning)}")
        return compression_of(beginning)

    def fingerprint(self) -> Token:
        with self._open_file() as file:
            told = os.fstat(file.fileno())
            head = file.read(_COMPARED_BYTES)
            file.seek(max(0, told.st_size - _COMPARED_BYTES))
            tail = file.read(_COMPARED_BYTES)
        digest = blake2b(head + tail, digest_size=12).hexdigest()
        return {"size": told.st_size, "digest": digest, "changed_ns": told.st_mtime_ns}

    def check_same(self, fingerprint: Token) -> None:
        """A copy of the file with another time will do."""
        now = self.fingerprint()
        assert isinstance(now, dict)
        assert isinstance(fingerprint, dict)
        if any(now[name] != fingerprint[name] for name in ("size", "digest")):
            raise UsageError(
                f"{self.printed} was changed since the job started; give {argument('restart')} to start over"
            )

    @contextmanager
    def open(self, begin: Frame = BEGINNING) -> Iterator[Iterator[Chunk]]:
        with self._open_file() as file:
            file.seek(begin.offset)
            yield decompress(iter(partial(file.read, PIECE_BYTES), b""), self.compression, begin)

    @contextmanager
    def peek(self) -> Iterator[Iterator[Chunk]]:
        with self.open() as chunks:
            yield chunks

    @contextmanager
    def _open_file(self) -> Iterator[BinaryIO]:
        try:
            with self.path.open("rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise UsageError(f"{self.printed} is not a regular file; pipe it in and read from -")
                yield file
        except IsADirectoryError as error:
            raise UsageError(f"{self.printed} is a folder; name a file in it") from error
        except FileNotFoundError as error:
            raise NotFound(f"{self.printed}: there is no such file") from error
        except OSError as error:
            raise local_file_error(self.printed, error) from error

    def close(self) -> None:
        """Nothing is open between two uses."""


class StandardInput:
    """What is piped in."""

    printed = "-"
    reads_once = True
    path: Path | None = None

    def __init__(self, stream: BufferedReader | None = None) -> None:
        self._stream = stream or cast(BufferedReader, sys.stdin.buffer)
        self._token = secrets.token_hex(8)
        self._kept: list[bytes] | None = []  # what was looked at; None: all was given

    @cached_property
    def compression(self) -> Compression:
        beginning = b""
        for piece in self._pieces():
            beginning += piece
            if len(beginning) >= MAGIC_BYTES:
                break
        return compression_of(beginning)

    def fingerprint(self) -> Token:
        return {"input": self._token}

    def check_same(self, fingerprint: Token) -> None:
        if fingerprint != self.fingerprint():
            raise UsageError(f"standard input can't be resumed; send all of it again, with {argument('restart')}")

    @contextmanager
    def open(self, begin: Frame = BEGINNING) -> Iterator[Iterator[Chunk]]:
        compression, kept = self.compression, self._kept
        if kept is None or begin != BEGINNING:
            raise UsageError(f"standard input can be read only once; send all of it again, with {argument('restart')}")
        self._kept = None
        yield decompress(chain(kept, self._live()), compression, begin)

    @contextmanager
    def peek(self) -> Iterator[Iterator[Chunk]]:
        yield decompress(self._pieces(), self.compression, BEGINNING)

    def _pieces(self) -> Iterator[bytes]:
        """What was looked at before, then more of it, which is kept."""
        assert self._kept is not None
        yield from list(self._kept)
        for piece in self._live():
            self._kept.append(piece)
            yield piece

    def _live(self) -> Iterator[bytes]:
        try:
            while piece := self._stream.read1(PIECE_BYTES):
                yield piece
        except OSError as error:
            raise MigratorError(f"standard input can't be read: {error.strerror or error}") from error

    def close(self) -> None:
        """It belongs to the process."""
