"""Activations in a file of SQLite, as a source and as a target of `migrator`: `sqlite:/var/lib/activations.db`.

A sample of an adapter in a package of its own. Every document that is stored takes the next sequence number, also one
that replaces another, so that ranges of numbers are slices, and what has a higher number than a snapshot is new.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from migrator.activations import comparing
from migrator.activations.document import Document, Form, read_document
from migrator.activations.selection import Selection
from migrator.adapters.base import (
    Abilities,
    Batch,
    Completion,
    Description,
    Plan,
    Reader,
    Slice,
    SupportsCatchUp,
    SupportsCensus,
    SupportsFetch,
    SupportsStored,
    SupportsTargetCensus,
    Token,
    WriteOutcome,
    Writer,
)
from migrator.adapters.shared.paging import Page
from migrator.errors import NotFound, Unavailable, UsageError
from migrator.settings.stores import Store

_TABLES = """
CREATE TABLE IF NOT EXISTS store (identity TEXT NOT NULL);
INSERT INTO store SELECT hex(randomblob(16)) WHERE NOT EXISTS (SELECT 1 FROM store);
CREATE TABLE IF NOT EXISTS activations
    (sequence INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, body BLOB NOT NULL);
"""
_PAGE_IDS = 500


def open_reader(store: Store, *, page_bytes: int = 4_000_000) -> SqliteReader:
    """Open a file to read from; the entry point `sqlite` leads here."""
    return SqliteReader(_File(store), page_bytes)


def open_writer(store: Store) -> SqliteWriter:
    """Open a file to write to, which is made if it isn't there."""
    return SqliteWriter(_File(store))


class _File:
    """One connection, used by one thread at a time."""

    def __init__(self, store: Store) -> None:
        self.location = store.location.printed
        self._path = Path(store.location.path)
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    @contextmanager
    def opened(self, *, make: bool = False) -> Iterator[sqlite3.Connection]:
        """A transaction, which is durable at its end. Its exceptions become those of the contract."""
        with self._lock:
            if not (make or self._path.exists()):
                raise NotFound(f"{self.location}: there is no such file")
            try:
                if self._connection is None:
                    self._connection = sqlite3.connect(self._path, timeout=5, check_same_thread=False)
                    self._connection.execute("PRAGMA synchronous = FULL")
                with self._connection:
                    yield self._connection
            except sqlite3.DatabaseError as error:
                # Another process holds a lock, or has stored what wasn't there a moment ago: a second try may succeed.
                passes = isinstance(error, sqlite3.OperationalError | sqlite3.IntegrityError)
                passes = passes and "no such table" not in str(error)
                raise (Unavailable if passes else UsageError)(f"{self.location}: {error}") from error

    def describe(self, *, make: bool = False) -> Description:
        with self.opened(make=make) as connection:
            if make:
                connection.executescript(_TABLES)
            (identity,) = connection.execute("SELECT identity FROM store").fetchone()
        return Description(
            location=self.location, product="SQLite", version=sqlite3.sqlite_version, identity={"store": identity}
        )

    def last(self) -> int:
        """The highest number that was ever given."""
        with self.opened() as connection:
            found = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'activations'").fetchone()
        return int(found[0]) if found else 0

    def stored(self, ids: Sequence[str]) -> dict[str, tuple[int, bytes]]:
        """What is under these ids, with its number."""
        query, found = "SELECT sequence, body FROM activations WHERE id = ?", {}
        with self.opened() as connection:
            for id in ids:
                for row in connection.execute(query, (id,)):
                    found[id] = row
        return found

    def count(self, upto: int) -> int:
        with self.opened() as connection:
            counted = connection.execute("SELECT count(*) FROM activations WHERE sequence <= ?", (upto,)).fetchone()
        return int(counted[0])

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


class SqliteReader(Reader, SupportsCatchUp, SupportsCensus, SupportsFetch):
    """Reads by number; what is replaced meanwhile moves beyond the snapshot, and a catch-up round gives it."""

    form = Form.COUCHDB
    abilities = Abilities(unique_ids=True, dedicated=True)

    def __init__(self, file: _File, page_bytes: int) -> None:
        self._file = file
        self._page_bytes = page_bytes

    def describe(self) -> Description:
        return self._file.describe()

    def plan(self, selection: Selection, *, slice_documents: int) -> Plan:
        now = self._file.last()
        return Plan(slices=_slices(0, now, slice_documents, replaces=False), snapshot=now)

    def catch_up(self, snapshot: Token, selection: Selection, *, slice_documents: int) -> Plan:
        now, then = self._file.last(), msgspec.convert(snapshot, int)
        return Plan(slices=_slices(then, now, slice_documents, replaces=True), snapshot=now)

    def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
        position = slice.spec["above"] if after is None else msgspec.convert(after, int)
        query = "SELECT sequence, id, body FROM activations WHERE sequence > ? AND sequence <= ? ORDER BY sequence"
        while True:
            page, size_bytes, began = Page(self.form, selection), 0, position
            with self._file.opened() as connection:
                for sequence, id, body in connection.execute(query, (position, slice.spec["upto"])):
                    page.take(id, body)
                    position, size_bytes = sequence, size_bytes + len(body)
                    if size_bytes >= self._page_bytes:
                        break
            if position == began:
                return
            yield page.batch(position, size_bytes=size_bytes)

    def fetch(self, ids: Sequence[str], after: Token, selection: Selection) -> Iterator[Batch]:
        for at in range(0 if after is None else msgspec.convert(after, int), len(ids), _PAGE_IDS):
            some = ids[at : at + _PAGE_IDS]
            page, found = Page(self.form, selection), self._file.stored(some)
            for id, (_, body) in found.items():
                page.take(id, body)
            yield page.batch(at + len(some), size_bytes=sum(len(body) for _, body in found.values()))

    def census(self, selection: Selection, snapshot: Token) -> int | None:
        return self._file.count(msgspec.convert(snapshot, int))  # what isn't selected is read too, and filtered

    def close(self) -> None:
        self._file.close()


def _slices(above: int, upto: int, documents: int, *, replaces: bool) -> tuple[Slice, ...]:
    return tuple(
        Slice(
            key=f"{low}..{min(low + documents, upto)}",
            spec={"above": low, "upto": min(low + documents, upto)},
            documents=min(documents, upto - low),
            replaces=replaces,
        )
        for low in range(above, upto, documents)
    )


class SqliteWriter(Writer, SupportsStored, SupportsTargetCensus):
    """Each write is one transaction."""

    form: Form | None = Form.COUCHDB
    abilities = Abilities()

    def __init__(self, file: _File) -> None:
        self._file = file

    def describe(self) -> Description:
        return self._file.describe(make=True)

    def prepare(self) -> Token:
        return None

    def write(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
        there = self.stored(documents)
        known = [each for each in documents if each.id in there]
        present = [each for each in known if comparing.same(each, there[each.id], doubles=False)]
        same = {each.id for each in present}
        differing = [] if replace else [each for each in known if each.id not in same]
        kept = same | {each.id for each in differing}
        written = [each for each in documents if each.id not in kept]
        with self._file.opened() as connection:
            rows = [(each.id, each.body) for each in written]
            # Not `OR REPLACE` where nothing may be replaced: what another process stored meanwhile makes it fail.
            verb = "INSERT OR REPLACE" if replace else "INSERT"
            connection.executemany(f"{verb} INTO activations (id, body) VALUES (?, ?)", rows)
        return WriteOutcome(written=tuple(written), present=tuple(present), differing=tuple(differing))

    def stored(self, documents: Sequence[Document]) -> Mapping[str, Document]:
        found = self._file.stored([each.id for each in documents])
        return {each.id: _as_stored(each, found[each.id][1]) for each in documents if each.id in found}

    def mark(self) -> Token:
        return self._file.last()

    def stored_since(self, mark: Token, documents: Sequence[Document]) -> frozenset[str]:
        found, since = self._file.stored([each.id for each in documents]), msgspec.convert(mark, int)
        return frozenset(id for id, (sequence, _) in found.items() if sequence > since)

    def census(self) -> int | None:
        return self._file.count(self._file.last())

    def flush(self) -> Token:
        return None  # every write was durable

    def finish(self, completion: Completion) -> None:
        pass

    def close(self) -> None:
        self._file.close()


def _as_stored(document: Document, body: bytes) -> Document:
    read = read_document(document.id, body, Form.COUCHDB)
    return read if isinstance(read, Document) else msgspec.structs.replace(document, body=body)
