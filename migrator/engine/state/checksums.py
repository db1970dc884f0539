"""Counts and sums over the rows of a SQLite file, by which a changed bit, a lost row or a foreign page is noticed.

SQLite checks the structure of its pages, not what is in them. So every table has a count and a sum of the digests
of its rows, in a table of their own; triggers note every change, whatever statement makes it, and a transaction adds
what was noted before it ends. The digests are keyed, so that a row of another file is no row of this one.
Knows nothing of what the tables mean.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from typing import Any

import msgspec

_NAME = "checksums"
_KEY = "key"  # its row holds the file's own random number
_SCHEMA = "schema"  # its row is over the definitions of the tables
_MASK = (1 << 61) - 1  # two of them add up to less than what SQLite's integers hold
_ADD = f"UPDATE {_NAME} SET rows = rows + ?, total = (total + ?) & {_MASK} WHERE name = ?"  # noqa: S608  our own
_encode = msgspec.msgpack.Encoder().encode

Sum = tuple[int, int]


class Mismatch(Exception):
    """What is in a table isn't what was written there."""


class Checksums:
    """The counts and sums of one open file; its owner lets one thread in at a time."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._keyed = hashlib.blake2b(digest_size=8)
        self._noted: dict[str, Sum] = {}
        self._watched = False

    def make(self) -> None:
        """Begin to keep sums, of what is in the file now. In a transaction."""
        self._db.execute(
            f"CREATE TABLE {_NAME} (name TEXT PRIMARY KEY, rows INTEGER NOT NULL, total INTEGER NOT NULL) WITHOUT ROWID"
        )
        self._keep(_KEY, (0, secrets.randbelow(_MASK)))
        self._read_key()
        for table in self._tables():
            self._keep(table, self._sum_of(table))
        self._keep(_SCHEMA, self._schema())

    def adopt(self) -> None:
        """Take tables in that were made since, and note their changes as well. In a transaction."""
        self._db.execute(f"DELETE FROM {_NAME} WHERE name = ?", (_SCHEMA,))  # noqa: S608  our own
        self._keep(_SCHEMA, self._schema())
        known = {name for (name,) in self._db.execute(f"SELECT name FROM {_NAME}")}  # noqa: S608  our own
        for table in self._tables():
            if table not in known:
                self._keep(table, self._sum_of(table))
                if self._watched:
                    self._watch(table)

    @property
    def kept(self) -> bool:
        """Whether the file has sums."""
        query = "SELECT 1 FROM main.sqlite_master WHERE type = 'table' AND name = ?"
        return self._db.execute(query, (_NAME,)).fetchone() is not None

    def watch(self) -> None:
        """Note every change of a row from now on."""
        if self._watched or not self.kept:
            return
        self._read_key()
        # Without it no trigger sees the row that INSERT OR REPLACE replaces.
        self._db.execute("PRAGMA recursive_triggers = ON")
        self._db.create_function("note_row", -1, self._note)
        for table in self._tables():
            self._watch(table)
        self._watched = True

    def _watch(self, table: str) -> None:
        old, new = (", ".join(f'{row}."{name}"' for name in self._columns(table)) for row in ("OLD", "NEW"))
        for event, calls in (
            ("INSERT", [f"1, {new}"]),
            ("DELETE", [f"-1, {old}"]),
            ("UPDATE", [f"-1, {old}", f"1, {new}"]),
        ):
            body = ", ".join(f"note_row('{table}', {call})" for call in calls)
            self._db.execute(
                f'CREATE TEMP TRIGGER "{_NAME} {table} {event}" AFTER {event} ON main."{table}" '
                f"BEGIN SELECT {body}; END"
            )

    def add_noted(self) -> None:
        """Add what was noted since the transaction began; before it ends."""
        for table, (rows, total) in self._noted.items():
            if self._db.execute(_ADD, (rows, total & _MASK, table)).rowcount != 1:
                raise Mismatch(f"the checksum of table {table} is missing")
        self._noted.clear()

    def forget_noted(self) -> None:
        """The transaction was rolled back, with the triggers that were made in it."""
        self._noted.clear()
        query = "SELECT 1 FROM temp.sqlite_master WHERE type = 'trigger' AND name LIKE ?"
        self._watched = self._db.execute(query, (f"{_NAME} %",)).fetchone() is not None

    def check(self) -> None:
        """Read the whole file; raise `Mismatch` where it isn't as it was written. In a transaction."""
        self.check_structure()
        kept = {name: (rows, total) for name, rows, total in self._db.execute(f"SELECT * FROM {_NAME}")}  # noqa: S608  ours
        self._read_key()
        if kept.get(_SCHEMA) != self._schema():
            raise Mismatch("the definitions of its tables don't match their checksum")
        for table in self._tables():
            if kept.get(table) != self._sum_of(table):
                raise Mismatch(f"table {table} doesn't match its checksum")

    def check_structure(self) -> None:
        """Have SQLite check its own structures."""
        (found,) = self._db.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise Mismatch(" ".join(str(found).split()))

    def _keep(self, name: str, sum: Sum) -> None:
        self._db.execute(f"INSERT INTO {_NAME} VALUES (?, ?, ?)", (name, *sum))  # noqa: S608  our own

    def _read_key(self) -> None:
        row = self._db.execute(f"SELECT total FROM {_NAME} WHERE name = ?", (_KEY,)).fetchone()  # noqa: S608  our own
        if row is None or not isinstance(row[0], int):
            raise Mismatch("the key of its checksums is missing")
        self._keyed = hashlib.blake2b(digest_size=8, key=row[0].to_bytes(8, signed=True))

    def _tables(self) -> list[str]:
        query = "SELECT name FROM main.sqlite_master WHERE type = 'table' AND name <> ? ORDER BY name"
        return [name for (name,) in self._db.execute(query, (_NAME,)) if not name.startswith("sqlite_")]

    def _columns(self, table: str) -> list[str]:
        return [row[1] for row in self._db.execute(f'PRAGMA main.table_info("{table}")')]

    def _schema(self) -> Sum:
        return self._add_up("SELECT type, name, tbl_name, sql FROM main.sqlite_master", _SCHEMA)

    def _sum_of(self, table: str) -> Sum:
        columns = ", ".join(f'"{name}"' for name in self._columns(table))
        return self._add_up(f'SELECT {columns} FROM main."{table}"', table)  # noqa: S608  our own names

    def _add_up(self, query: str, table: str) -> Sum:
        rows = total = 0
        for row in self._db.execute(query):
            rows += 1
            total += self._digest(table, row)
        return rows, total & _MASK

    def _note(self, table: str, sign: int, *values: Any) -> None:
        rows, total = self._noted.get(table, (0, 0))
        self._noted[table] = rows + sign, total + sign * self._digest(table, values)

    def _digest(self, table: str, values: tuple[Any, ...]) -> int:
        keyed = self._keyed.copy()  # faster than keying again
        keyed.update(_encode((table, values)))
        return int.from_bytes(keyed.digest()) & _MASK
