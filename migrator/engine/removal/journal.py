"""What a purge removed, as files that outlast its process: a log of everything, and the batch that is on its way.

    FOLDER/state.json                  which log, how much of it counts, and the batch that was sent and isn't in it
    FOLDER/purge-MOMENT.ndjson.zst     one line of JSON for each document that went or stays; a frame for each batch

A batch is noted durably before it is sent, and is in the log before the next one is noted. A process may die between
any two instructions: the next run cuts off what doesn't count, and finds out by the store what became of the batch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from migrator.adapters.base import Token
from migrator.durable import open_private, sync_folder, write_all, write_file
from migrator.errors import NO_ROOM, StateDamaged, Unavailable
from migrator.text.decoding import decode

_STATE = "state.json"


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A document that is to be changed, as the log names it."""

    id: str
    index: str | None = None
    namespace: str
    start_ms: int
    size_bytes: int
    digest: str  # of its id and content as it was, in hexadecimal
    version: Token  # what the store called this version
    after: str | None = None  # the digest of what takes its place; None where nothing does


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """The state: a batch may have been sent, all of it or a part."""

    log: str
    log_bytes: int
    store: Token = None  # the identity of the store that it was sent to
    batch: tuple[Entry, ...] = ()
    index: str = ""  # one that is being deleted as a whole, and takes no writes
    staged_bytes: int = 0  # how much of the log counts once it is gone


class Journal:
    """The files of one purge while its lock is held."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._state = self._read()
        self._encoder = msgspec.json.Encoder()

    def _read(self) -> Pending | None:
        path = self._folder / _STATE
        try:
            return decode(path.read_bytes(), Pending)
        except FileNotFoundError:
            return None
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise StateDamaged(
                f"{path}: the state of the purge is damaged: {error}. Remove it and run the same command again; the "
                "log beside it may lack the last batch"
            ) from error

    @property
    def log(self) -> Path | None:
        return self._folder / self._state.log if self._state else None

    def pending(self) -> Pending | None:
        """The batch of which an earlier run didn't note what became of it; what doesn't count is cut off its log."""
        state = self._state
        if state is None:
            return None
        path = self._folder / state.log
        with _room(path):
            if not path.exists():
                if state.batch or state.log_bytes:
                    self._append(path, b"")
            elif path.stat().st_size > max(state.log_bytes, state.staged_bytes):
                os.truncate(path, max(state.log_bytes, state.staged_bytes))
        return state if state.batch or state.index else None

    def begin_log(self, name: str) -> None:
        """Begin a new log; the one before must be complete."""
        path = self._folder / name
        with _room(path):
            self._append(path, b"")
            self._note(Pending(log=name, log_bytes=path.stat().st_size))

    def begin(self, batch: Sequence[Entry], store: Token) -> None:
        """Note durably what is going to be sent."""
        assert self._state is not None
        self._note(msgspec.structs.replace(self._state, batch=tuple(batch), store=store))

    def freeze(self, index: str, store: Token) -> None:
        """Note durably that an index is going to take no writes."""
        assert self._state is not None
        self._note(msgspec.structs.replace(self._state, index=index, store=store))

    def stage(self, lines: Sequence[Any]) -> None:
        """Add to the log what counts once the index is gone."""
        assert self._state is not None
        path = self._folder / self._state.log
        with _room(path):
            self._append(path, self._frame(lines))
            self._note(msgspec.structs.replace(self._state, staged_bytes=path.stat().st_size))

    def thaw(self, *, is_gone: bool) -> None:
        """The index is gone, and what was staged counts; or it takes writes again, and nothing of it does."""
        state = self._state
        assert state is not None
        kept = state.staged_bytes if is_gone and state.staged_bytes else state.log_bytes
        path = self._folder / state.log
        with _room(path):
            os.truncate(path, kept)
        self._note(Pending(log=state.log, log_bytes=kept))

    def _frame(self, lines: Sequence[Any]) -> bytes:
        text = b"".join(self._encoder.encode(line) + b"\n" for line in lines)
        return zstandard.ZstdCompressor(write_checksum=True).compress(text)

    def end(self, lines: Sequence[Any]) -> None:
        """Add to the log what became of the batch, or what stays; nothing is on its way any more."""
        state = self._state
        assert state is not None
        path = self._folder / state.log
        if lines:
            with _room(path):
                self._append(path, self._frame(lines))
        if lines or state.batch:
            self._note(Pending(log=state.log, log_bytes=path.stat().st_size))

    def _append(self, path: Path, data: bytes) -> None:
        is_new = not path.exists()
        with open(path, "ab", buffering=0, opener=open_private) as file:
            write_all(file, data)
            os.fsync(file.fileno())
        if is_new:
            sync_folder(self._folder)

    def _note(self, state: Pending) -> None:
        path = self._folder / _STATE
        with _room(path):
            write_file(path, msgspec.json.encode(state))
        self._state = state


@contextmanager
def _room(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise Unavailable(
            f"{path}: the log of the purge can't be written: {error.strerror}; free disk space, then run the same "
            "command again. Nothing was removed without being noted"
        ) from error
