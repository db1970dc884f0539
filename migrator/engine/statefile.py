"""One SQLite file in WAL mode that outlasts its process: what checkpoints and verifications are kept in.

Every change is one transaction, so that a process may die between any two instructions. Knows nothing of documents.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from migrator.adapters.base import Description
from migrator.errors import AccessDenied, MigratorError, Unavailable, UsageError
from migrator.records import Selection

_NO_RIGHT = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM)


def _connected(name: str, *, uri: bool = False) -> sqlite3.Connection:
    return sqlite3.connect(name, isolation_level=None, check_same_thread=False, timeout=30, uri=uri)


def _primary(error: sqlite3.Error) -> int:
    """The kind of an error; what is above its lowest byte only says more."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


class StateFile:
    """The file, open. Used by several threads; one at a time is inside."""

    def __init__(self, path: Path | None, *, schema: str, format: int, what: str, added: str = "") -> None:
        """Open or create the file; None keeps it in memory.

        `schema` makes its tables, among them `meta (name, value)`; `added` makes, where it is missing, what a file of
        an earlier release doesn't have; `what` names in messages what is kept. Raises `UsageError` where another
        release wrote it, `Unavailable` where the disk is full, `AccessDenied` where it can't be opened, `MigratorError`
        where it can't be used. So do all methods. A file that may only be read can be looked at.
        """
        self._lock = threading.RLock()
        self.path = path
        self._what = what
        with self._translating():
            try:
                self._db = _connected(str(path) if path else ":memory:")
                self._db.execute("PRAGMA journal_mode=WAL")
                # NORMAL in WAL mode: a killed process loses nothing, a power cut at most the last commits, whose pages
                # are then written again. Source: SQLite's documentation of PRAGMA synchronous.
                self._db.execute("PRAGMA synchronous=NORMAL")
                self._make(schema, format)
                for statement in added.split(";"):
                    self._db.execute(statement)
            except sqlite3.OperationalError as error:
                if path is None or not path.exists() or _primary(error) not in _NO_RIGHT:
                    raise
                self._look_at(path)
            if (found := self._get("format")) != format:
                raise UsageError(
                    f"{path}: {what} was begun by another release (its format is {found}, that of this one {format}); "
                    "finish it with that release, or give --restart to begin anew"
                )

    def _make(self, schema: str, format: int) -> None:
        if not self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
            with self._transaction():
                for statement in schema.split(";"):
                    self._db.execute(statement)
                self._set("format", format)

    def _look_at(self, path: Path) -> None:
        """Open a file that may only be read, such as another user's; every change of it is refused."""
        self._db.close()
        # Without a log beside it nobody has it open, and it is all there is; SQLite would make files for the log.
        mode = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "immutable=1"
        self._db = _connected(f"{path.absolute().as_uri()}?{mode}", uri=True)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock, self._translating():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # a full disk ends it by itself
                    self._db.execute("ROLLBACK")
                raise

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock, self._translating():
            return self._db.execute(query, values).fetchall()

    @contextmanager
    def _translating(self) -> Iterator[None]:
        """Tell what SQLite says by what happens next: only a file that is damaged is given up."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            code, where = _primary(error), f"{self.path}: what is known of {self._what}"
            if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
                raise Unavailable(
                    f"{where} can't be written: {error}; make room, then the same command again"
                ) from error
            if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise Unavailable(f"{where} is in use by another process: {error}; try again") from error
            if code in _NO_RIGHT:
                raise AccessDenied(
                    f"{where} can't be opened or changed: {error}; check the rights of its folder"
                ) from error
            if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
                raise MigratorError(f"{where} can't be used: {error}; --restart begins anew") from error
            raise

    def _get(self, name: str, default: Any = None) -> Any:
        rows = self._rows("SELECT value FROM meta WHERE name = ?", name)
        return msgspec.json.decode(rows[0][0]) if rows else default

    def _set(self, name: str, value: Any) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, msgspec.json.encode(value).decode()))


class PairFile(StateFile):
    """What a job and a verification both keep: two stores, what of them is meant, and what was said of it."""

    @property
    def stores(self) -> tuple[Description, Description] | None:
        """The stores as they described themselves in the last run, the source first; None before the first."""
        found = self._get("stores")
        return msgspec.convert(found, tuple[Description, Description]) if found else None

    @property
    def selection(self) -> Selection:
        return msgspec.convert(self._get("selection", {}), Selection)

    @property
    def began_s(self) -> float:
        """When it began, in epoch seconds; its first run may have been interrupted since."""
        return float(self._get("began_s", 0.0))

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(self._get("warnings", ()))

    @property
    def incomplete(self) -> bool:
        """Whether a plan said that it left documents out."""
        return bool(self._get("incomplete", False))
