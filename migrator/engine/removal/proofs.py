"""What a proof holds, as digests that are looked up in constant memory.

Documents' ids and digests enter while the proof is read; for a document of the store it leaves whether the proof holds
it, holds another version, or nothing under its id. Kept in temporary files without a name, sorted, 24 bytes a document:
the hash of the id, and the digest of id and content that `verify` compares.
"""

from __future__ import annotations

import mmap
import tempfile
import threading
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import IO

from migrator.errors import NO_ROOM, Unavailable

_SHARES = 128
_KEY_BYTES = 8
_DIGEST_BYTES = 16
_RECORD_BYTES = _KEY_BYTES + _DIGEST_BYTES


class Proofs:
    """Filled by several threads, then sealed, then looked up by one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.documents = 0
        self._map: mmap.mmap | None = None
        self._shares: list[tuple[int, int]] = []  # of the sealed file: first record, end
        with _room():
            self._files: list[IO[bytes]] = [_open() for _ in range(_SHARES)]

    def add(self, entries: Sequence[tuple[str, bytes]]) -> None:
        """Take ids with their digests."""
        keyed = [(_key(id), digest) for id, digest in entries]
        with self._lock, _room():
            self.documents += len(keyed)
            for key, digest in keyed:
                self._files[key[0] % _SHARES].write(key + digest)

    def seal(self) -> None:
        """Sort what was taken; nothing is taken after it."""
        with _room(), _open() as sealed:
            first = 0
            for file in self._files:
                file.seek(0)
                data = file.read()
                file.close()
                records = sorted(data[at : at + _RECORD_BYTES] for at in range(0, len(data), _RECORD_BYTES))
                sealed.write(b"".join(records))
                self._shares.append((first, first + len(records)))
                first += len(records)
            sealed.flush()
            if first != self.documents:
                raise Unavailable("the temporary file of the proof is incomplete; run the same command again")
            if first:
                self._map = mmap.mmap(sealed.fileno(), 0, access=mmap.ACCESS_READ)

    def verdict(self, id: str, digest: bytes) -> str:
        """Tell `proven`, `differs` where the proof holds something else under the id, or `missing`."""
        if self._map is None:
            return "missing"
        key = _key(id)
        first, end = self._shares[key[0] % _SHARES]
        records = _Records(self._map)
        at, found = bisect_left(records, key, first, end), "missing"
        while at < end and (record := records[at])[:_KEY_BYTES] == key:
            if record[_KEY_BYTES:] == digest:
                return "proven"
            found = "differs"
            at += 1
        return found

    def close(self) -> None:
        for file in self._files:
            file.close()
        if self._map is not None:
            self._map.close()


class _Records(Sequence[bytes]):
    """The records of a sealed file."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data) // _RECORD_BYTES

    def __getitem__(self, at: int) -> bytes:  # type: ignore[override]  # no slices are taken
        return self._data[at * _RECORD_BYTES : (at + 1) * _RECORD_BYTES]


def _key(id: str) -> bytes:
    return blake2b(id.encode("utf-8", "surrogatepass"), digest_size=_KEY_BYTES).digest()


def _open() -> IO[bytes]:
    return tempfile.TemporaryFile(prefix="migrator-")


@contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise Unavailable(
            f"{tempfile.gettempdir()}: the temporary files of the proof can't be written: {error.strerror}; free disk "
            "space or set TMPDIR, then run the same command again"
        ) from error
