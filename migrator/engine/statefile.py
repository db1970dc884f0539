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
from migrator.errors import MigratorError, UsageError
from migrator.records import Selection


class StateFile:
    """The file, open. Used by several threads; one at a time is inside."""

    def __init__(self, path: Path | None, *, schema: str, format: int, what: str, added: str = "") -> None:
        """Open or create the file; None keeps it in memory.

        `schema` makes its tables, among them `meta (name, value)`; `added` makes, where it is missing, what a file of
        an earlier release doesn't have; `what` names in messages what is kept. Raises `UsageError` where another
        release wrote it, `MigratorError` where it can't be used.
        """
        self._lock = threading.RLock()
        self.path = path
        try:
            self._db = sqlite3.connect(
                str(path) if path else ":memory:", isolation_level=None, check_same_thread=False, timeout=30
            )
            self._db.execute("PRAGMA journal_mode=WAL")
            # NORMAL in WAL mode: a killed process loses nothing, a power cut at most the last commits, whose pages
            # are then written again. Source: SQLite's documentation of PRAGMA synchronous.
            self._db.execute("PRAGMA synchronous=NORMAL")
            if not self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
                with self._transaction():
                    for statement in schema.split(";"):
                        self._db.execute(statement)
                    self._set("format", format)
            elif (found := self._get("format")) != format:
                raise UsageError(
                    f"{path}: {what} was begun by another release (its format is {found}, that of this one {format}); "
                    "finish it with that release, or give --restart to begin anew"
                )
            self._db.execute(added)
        except sqlite3.DatabaseError as error:
            raise MigratorError(
                f"{path}: what is known of {what} can't be used: {error}; --restart begins anew"
            ) from error

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(query, values).fetchall()

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
