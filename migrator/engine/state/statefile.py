"""One SQLite file in WAL mode that outlasts its process: what checkpoints and verifications are kept in.

Every change is one transaction, so that a process may die between any two instructions. Knows nothing of documents.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from migrator.engine.state.checksums import Checksums, Mismatch
from migrator.errors import NO_ROOM, AccessDenied, StateDamaged, Unavailable, UsageError
from migrator.text.arguments import argument

FORMAT = 3
_WITHOUT_SUMS = 1  # formats of earlier releases, which are brought up to date: without checksums,
_WITH_COMMANDS = 2  # and with the shell text that resumed a job in the place of its request

_ADDED = re.compile(r"CREATE TABLE IF NOT EXISTS (\w+)[^;]*")
_NO_RIGHT = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM)
_NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
_IN_USE = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _connect(name: str, *, uri: bool = False) -> sqlite3.Connection:
    return sqlite3.connect(name, isolation_level=None, check_same_thread=False, timeout=30, uri=uri)


def _primary(error: sqlite3.Error) -> int:
    """The kind of an error; what is above its lowest byte only says more. 0 where it isn't SQLite's own."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


def remove_state(path: Path) -> None:
    """Remove a state file with the log beside it. Raises `StateDamaged` where something else is in its place."""
    for each in (path, *(_beside(path, ending) for ending in ("-wal", "-shm", "-journal"))):
        with _system_errors(each):
            if each.is_dir() and not each.is_symlink():
                raise StateDamaged(f"{each} is a folder, not a file; remove it, then run the same command again")
            each.unlink(missing_ok=True)


@contextmanager
def _system_errors(path: Path) -> Iterator[None]:
    """Tell what the operating system says of a file by what happens next."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise Unavailable(
                f"{path}: {error.strerror}; free disk space or repair the disk, then run the same command again"
            ) from error
        raise AccessDenied(f"{path}: {error.strerror}; check the permissions of its folder") from error


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


class StateFile:
    """The file, open. Used by several threads; one at a time is inside."""

    def __init__(self, path: Path | None, *, schema: str, what: str, added: str = "", view: bool = False) -> None:
        """Open or create the file; None keeps it in memory.

        `schema` makes its tables, among them `meta (name, value)`; `added` makes, where it is missing, what a file of
        an earlier release doesn't have; `what` names in messages what is kept. With `view` it is only looked at, also
        while another process works with it, and not brought up to date. Every row is compared with the checksums.
        Raises `UsageError` where another release wrote it, `Unavailable` where the disk is full, `AccessDenied` where
        it can't be opened, `StateDamaged` where it isn't what was written. So do all methods. A file that may only be
        read can be looked at.
        """
        self._lock = threading.RLock()
        self.path = path
        self._what = what
        self._added = {match[1]: match[0] for match in _ADDED.finditer(added)}
        self._statements = [*schema.split(";"), *self._added.values()]
        if path is not None:
            with self._translate_errors(reading=True):
                self._prepare(path, view=view)
        with self._translate_errors(reading=True):
            self._db = self._open(path)
            self._sums = Checksums(self._db)
            try:
                if path is None:
                    self._make()
                else:
                    self._load(view=view)
                self._sums.watch()
            except BaseException:
                self._db.close()
                raise

    # -- opening ------------------------------------------------------------------------------------------------

    def _prepare(self, path: Path, *, view: bool) -> None:
        """Have a whole file under its name, or raise: one that has it is never taken for one that is being made."""
        with _system_errors(path):
            if path.is_dir():
                raise Mismatch("it is a folder")
            if path.exists() and not path.stat().st_size:
                raise Mismatch("it is empty")
            if path.exists() or path.is_symlink() or view:
                return
        unfinished = _beside(path, ".unfinished")
        remove_state(unfinished)
        remove_state(path)  # a log whose file is gone would be read as the new one's
        self._db = _connect(str(unfinished))
        try:
            self._db.execute("PRAGMA journal_mode=MEMORY")  # one that isn't whole is thrown away
            self._sums = Checksums(self._db)
            self._make()
        finally:
            self._db.close()
        with _system_errors(path):
            unfinished.replace(path)

    def _make(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        for statement in self._statements:
            self._db.execute(statement)
        self._set("format", FORMAT)
        self._sums.make()
        self._db.execute("COMMIT")

    def _open(self, path: Path | None) -> sqlite3.Connection:
        if path is None:
            return _connect(":memory:")
        uri = path.absolute().as_uri()
        try:
            db = _connect(f"{uri}?mode=rw", uri=True)
            try:
                db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
            except BaseException:
                db.close()
                raise
        except sqlite3.OperationalError as error:
            if _primary(error) not in _NO_RIGHT:
                raise
            # It may only be read, such as another user's; every change of it is refused. Without a log beside it
            # nobody has it open, and it is all there is; SQLite would make files for the log.
            return _connect(f"{uri}?mode=ro{'' if _beside(path, '-wal').exists() else '&immutable=1'}", uri=True)
        return db

    def _load(self, *, view: bool) -> None:
        """Hold the file against its checksums; bring an older one up to date."""
        self._db.execute("BEGIN")  # so that what is read is of one moment
        try:
            if not self._has("meta"):
                raise Mismatch("it isn't a file of the migrator")
            found = self._get("format")
            if found not in (_WITHOUT_SUMS, _WITH_COMMANDS, FORMAT):
                raise UsageError(
                    f"{self.path}: {self._what} was started by another release (its format is {found}, this release's "
                    f"{FORMAT}); finish it with that release, or start over with {argument('restart')}"
                )
            if self._sums.kept != (found != _WITHOUT_SUMS):
                raise Mismatch("its checksums don't belong to its format")
            if self._sums.kept:
                self._sums.check()
            else:
                self._sums.check_structure()
        finally:
            self._db.execute("ROLLBACK")
        # NORMAL in WAL mode: a killed process loses nothing, a power cut at most the last commits, whose pages are then
        # written again. Source: SQLite's documentation of PRAGMA synchronous.
        self._db.execute("PRAGMA synchronous=NORMAL")
        if not view:
            with suppress(AccessDenied), self._translate_errors():
                self._db.execute("PRAGMA journal_mode=WAL")
        lacking = any(not self._has(table) for table in self._added)
        if not view and (lacking or found != FORMAT):
            with suppress(AccessDenied):  # what may only be read is looked at as it is
                self._bring_up_to_date()
        self._add_what_lacks("TEMP ")

    def _bring_up_to_date(self) -> None:
        with self._transaction():
            try:
                self._adopt()
            except (msgspec.MsgspecError, TypeError, ValueError) as error:
                raise Mismatch("a value in it can't be read") from error
            self._add_what_lacks()
            self._set("format", FORMAT)
            if self._sums.kept:
                self._sums.adopt()
            else:
                self._sums.make()

    def _add_what_lacks(self, kind: str = "") -> None:
        for table, statement in self._added.items():
            if not self._has(table):
                self._db.execute(statement.replace("CREATE TABLE", f"CREATE {kind}TABLE", 1))

    def _has(self, table: str) -> bool:
        return bool(self._db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone())

    def _adopt(self) -> None:
        """Read the values of an earlier release's file, so that one that can't be read is noticed, and renew them."""

    def check(self) -> None:
        """Hold everything against its checksums once more. Raises `StateDamaged`."""
        with self._lock, self._translate_errors(reading=True):
            self._db.execute("BEGIN")
            try:
                if self._sums.kept:
                    self._sums.check()
            finally:
                self._db.execute("ROLLBACK")

    def claim(self, id: str) -> None:
        """Note what the file is about. Raises `StateDamaged` where it is about something else."""
        found = self._get("of")
        if found is None:
            with self._transaction():
                self._set("of", id)
        elif found != id:
            raise self._state_damaged(f"it is that of {found}")

    def close(self) -> None:
        with self._lock:
            self._db.close()

    # -- changing and reading -----------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock, self._translate_errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._sums.watch()  # where another process brought the file up to date meanwhile
                yield
                self._sums.add_noted()
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # a full disk ends it by itself
                    self._db.execute("ROLLBACK")
                self._sums.forget_noted()
                raise

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock, self._translate_errors():
            return self._db.execute(query, values).fetchall()

    @contextmanager
    def _translate_errors(self, *, reading: bool = False) -> Iterator[None]:
        """Tell what SQLite says by what happens next: only a file that is damaged is given up.

        While the whole file is being read, whatever SQLite can't make sense of is damage.
        """
        try:
            yield
        except Mismatch as error:
            raise self._state_damaged(str(error)) from error
        except (sqlite3.Error, MemoryError, OverflowError, UnicodeError) as error:
            code = _primary(error) if isinstance(error, sqlite3.Error) else 0
            where = f"{self.path}: the state of {self._what}"
            if code in _NO_ROOM:
                raise Unavailable(
                    f"{where} can't be written: {error}; free disk space, then run the same command again"
                ) from error
            if code in _IN_USE:
                raise Unavailable(f"{where} is in use by another process: {error}; try again") from error
            if code in _NO_RIGHT:
                raise AccessDenied(
                    f"{where} can't be opened or changed: {error}; check the permissions of its folder"
                ) from error
            undecodable = code == 0 and isinstance(error, sqlite3.OperationalError)
            if reading or undecodable or code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
                raise self._state_damaged(str(error) or type(error).__name__) from error
            raise

    def _state_damaged(self, how: str) -> StateDamaged:
        folder = self.path.parent if self.path else ""
        return StateDamaged(
            f"{self.path}: the state of {self._what} is damaged and was not used: {how}. Start over with the "
            f"same command and {argument('restart')}; for a schedule, remove {folder} and run it again"
        )

    def _get(self, name: str, default: Any = None) -> Any:
        rows = self._rows("SELECT value FROM meta WHERE name = ?", name)
        try:
            return msgspec.json.decode(rows[0][0]) if rows else default
        except (msgspec.MsgspecError, UnicodeError, TypeError) as error:
            raise self._state_damaged(f"its {name} can't be read") from error

    def _set(self, name: str, value: Any) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, msgspec.json.encode(value).decode()))
