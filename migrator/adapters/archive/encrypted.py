"""Encryption at rest: a place around a place, in which a piece named `.age` is a whole file of the age format.

What was put into such a piece comes out of `read_range` again; names, sizes and hashes are those of what lies there,
and every other piece passes as it is. Who writes needs the recipients' public keys, who reads an identity: a machine
that backs up can't read what it wrote. What isn't encrypted is in files without a name only.

Source: age-encryption.org/v1; `pyrage` is the binding of its implementation in Rust.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from migrator import durable
from migrator.adapters.archive.keys import read_identities, read_recipient
from migrator.adapters.archive.places import Place, Stored
from migrator.adapters.shared.local_files import local_file_error
from migrator.errors import AccessDenied, ArchiveDamaged, MigratorError, NotFound, UsageError
from migrator.text.arguments import argument

if TYPE_CHECKING:
    from pyrage.x25519 import Identity

AGE = "age"
_PIECE_BYTES = 4 << 20  # of what lies there, read at once
_BEGINNING_BYTES = 64 << 10  # the header, which has a hundred bytes for each recipient
_MOST_COPIES = 128  # of decrypted pieces: one for each thread that reads, of which there are fewer


class Encrypted:
    """A place that encrypts to `recipients`, and decrypts with the identities of a file."""

    def __init__(self, inner: Place, *, recipients: Sequence[str] = (), identity_file: str | None = None) -> None:
        """Raises `UsageError` where a recipient is no public key. The file isn't read before it is needed."""
        self.printed = inner.printed
        self._inner = inner
        self._recipients = [read_recipient(each) for each in recipients]
        self._identity_file = identity_file
        self._lock = threading.Lock()
        self._copies: dict[int, _Copy] = {}  # by thread: the piece that it reads, decrypted

    def exists(self) -> bool:
        return self._inner.exists()

    def read(self, name: str) -> bytes:
        if not _is_mine(name):
            return self._inner.read(name)
        copy = self._copy(name)
        return copy.read(0, copy.size_bytes)

    def read_range(self, name: str, offset: int, size_bytes: int) -> bytes:
        if not _is_mine(name):
            return self._inner.read_range(name, offset, size_bytes)
        data = self._copy(name).read(offset, size_bytes)
        if len(data) != size_bytes:
            raise ArchiveDamaged(f"{self.printed}: {name} is truncated: it ends before byte {offset + size_bytes:,}")
        return data

    def size(self, name: str) -> int | None:
        return self._inner.size(name)

    def unlock(self, name: str) -> None:
        size = self._inner.size(name) if _is_mine(name) else None
        if size is not None:
            beginning = self._inner.read_range(name, 0, min(size, _BEGINNING_BYTES))
            with suppress(ArchiveDamaged):  # it ends too early, if nothing worse; the key was found before that
                self._decrypt(name, io.BytesIO(beginning).read, io.BytesIO().write)

    def content_bytes(self, name: str, size_bytes: int) -> int:
        return self._copy(name).size_bytes if _is_mine(name) else self._inner.content_bytes(name, size_bytes)

    def names(self, prefix: str) -> Iterator[tuple[str, int]]:
        return self._inner.names(prefix)

    def spool(self, name: str) -> BinaryIO:
        if not _is_mine(name):
            return self._inner.spool(name)
        with self._on_disk(name):
            return durable.open_anonymous()

    def store(self, name: str, spool: BinaryIO) -> Stored:
        """As the contract has it; what is stored, and told of, is encrypted."""
        if not _is_mine(name):
            return self._inner.store(name, spool)
        sealed = self._inner.spool(name)
        try:
            with self._on_disk(name):
                spool.seek(0)
                self._encrypt(spool.read, lambda data: durable.write_all(sealed, data))
            stored = self._inner.store(name, sealed)
        except BaseException:
            self._inner.discard(sealed)
            raise
        spool.close()
        return stored

    def discard(self, spool: BinaryIO) -> None:
        self._inner.discard(spool)

    def write(self, name: str, data: bytes) -> None:
        if not _is_mine(name):
            return self._inner.write(name, data)
        spool = self.spool(name)
        try:
            with self._on_disk(name):
                durable.write_all(spool, data)
            self.store(name, spool)
        finally:
            self.discard(spool)
        return None

    def delete(self, name: str) -> None:
        self._inner.delete(name)

    def sweep(self, prefix: str) -> None:
        self._inner.sweep(prefix)

    def close(self) -> None:
        with self._lock:
            while self._copies:
                self._copies.popitem()[1].close()
        self._inner.close()

    # -- keys -----------------------------------------------------------------------------------------------------

    def _encrypt(self, read: Callable[[int], bytes], write: Callable[[bytes], object]) -> None:
        if not self._recipients:
            raise UsageError(
                f"{self.printed}: the backup is encrypted, but no recipient is given; give {argument('encrypt_to')}"
            )
        from pyrage import EncryptError, encrypt_io

        source, sink = _Source(read), _Sink(write)
        try:
            encrypt_io(source, sink, self._recipients)
        except (EncryptError, OSError) as error:
            raise source.raised or sink.raised or error from error

    def _decrypt(self, name: str, read: Callable[[int], bytes], write: Callable[[bytes], object]) -> None:
        identities = self._identities
        if not identities:
            raise AccessDenied(
                f"{self.printed}: {name} is encrypted; give the file with its key with {argument('identity')} or "
                "MIGRATOR_IDENTITY"
            )
        from pyrage import DecryptError, decrypt_io

        source, sink = _Source(read), _Sink(write)
        try:
            decrypt_io(source, sink, identities)
        except (DecryptError, OSError) as error:
            if raised := source.raised or sink.raised:
                raise raised from error
            if str(error) == "No matching keys found":
                raise AccessDenied(
                    f"{self.printed}: {name}: no key of {self._identity_file} opens it; "
                    "it was encrypted to other keys, or its header is damaged"
                ) from error
            reason = " ".join(str(error).split())
            raise ArchiveDamaged(f"{self.printed}: {name}: it was altered or truncated ({reason})") from error

    @cached_property
    def _identities(self) -> list[Identity]:
        return read_identities(Path(self._identity_file)) if self._identity_file else []

    # -- decrypted copies -----------------------------------------------------------------------------------------

    def _copy(self, name: str) -> _Copy:
        """The piece that this thread reads; the one that it read before is dropped."""
        me = threading.get_ident()
        with self._lock:
            copy = self._copies.pop(me, None)
        if copy is None or copy.name != name:
            if copy is not None:
                copy.close()
            copy = self._decrypted_copy(name)
        with self._lock:
            self._copies[me] = copy
            if len(self._copies) > _MOST_COPIES:
                self._copies.pop(next(iter(self._copies))).close()
        return copy

    def _decrypted_copy(self, name: str) -> _Copy:
        size = self._inner.size(name)
        if size is None:
            raise NotFound(f"{self.printed}: {name} isn't there")
        pieces = io.BufferedReader(_Raw(self._inner, name, size), _PIECE_BYTES)
        with self._on_disk(name):
            file = durable.open_anonymous()
            try:
                self._decrypt(name, pieces.read, lambda data: durable.write_all(file, data))
                return _Copy(name, file)
            except BaseException:
                file.close()
                raise

    @contextmanager
    def _on_disk(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise local_file_error(f"{self.printed}: {name}: temporary file", error) from error


def _is_mine(name: str) -> bool:
    return name.endswith(f".{AGE}")


class _Copy:
    """The content of a piece, in a file without a name."""

    def __init__(self, name: str, file: BinaryIO) -> None:
        self.name = name
        self.size_bytes = file.tell()
        self._file = file

    def read(self, offset: int, size_bytes: int) -> bytes:
        return os.pread(self._file.fileno(), size_bytes, offset)

    def close(self) -> None:
        self._file.close()


class _Raw(io.RawIOBase):
    """A piece as it lies there, from its beginning."""

    def __init__(self, place: Place, name: str, size_bytes: int) -> None:
        self._place = place
        self._name = name
        self._left_bytes = size_bytes
        self._offset = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = min(len(buffer), self._left_bytes)
        if count:
            buffer[:count] = self._place.read_range(self._name, self._offset, count)
            self._offset += count
            self._left_bytes -= count
        return count


class _Source:
    """What pyrage reads from; it keeps what was raised, of which pyrage passes on the text only."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self.raised: Exception | None = None

    def read(self, size_bytes: int) -> bytes:
        try:
            return self._read(size_bytes)
        except (MigratorError, OSError) as error:
            self.raised = error
            raise


class _Sink:
    """What pyrage writes to; as `_Source`."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self.raised: Exception | None = None

    def write(self, data: bytes) -> int:
        try:
            self._write(data)
        except OSError as error:
            self.raised = error
            raise
        return len(data)

    def flush(self) -> None:
        """Nothing waits."""
