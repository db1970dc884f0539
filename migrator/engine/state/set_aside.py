"""The documents of a job that were set aside, in the job's own file: rejected ones, and those that differ.

Knows nothing of slices, runs and accounts.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from migrator.activations.document import Document, Form
from migrator.engine.state.notes import SetAside

SCHEMA = """
CREATE TABLE set_aside (
    kind TEXT NOT NULL, id TEXT NOT NULL, namespace TEXT NOT NULL, reason TEXT NOT NULL, form TEXT,
    source_index TEXT, run INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (kind, id)
) WITHOUT ROWID;
"""


def id_digest(id: str) -> bytes:
    """Eight bytes that stand for an id where millions of them are sent; two ids hardly ever share them."""
    return blake2b(id.encode(), digest_size=8).digest()


class DocumentsSetAside:
    """The table of them. Reading takes a turn in the file; what changes it belongs into a transaction of the file."""

    def __init__(self, db: sqlite3.Connection, rows: Callable[..., list[tuple[Any, ...]]]) -> None:
        self._db = db
        self._rows = rows
        self.any = bool(rows("SELECT 1 FROM set_aside LIMIT 1"))
        """Whether there are any; read for every batch, so that the file isn't. True may be out of date."""

    # -- reading ------------------------------------------------------------------------------------------------

    def count(self, kind: str) -> int:
        return int(self._rows("SELECT count(*) FROM set_aside WHERE kind = ?", kind)[0][0])

    def documents(self, kind: str) -> Iterator[SetAside]:
        """The documents of a kind in the order of their ids, read a few at a time."""
        last = ""
        while True:
            rows = self._rows(
                "SELECT kind, id, namespace, reason, form, source_index, body FROM set_aside "
                "WHERE kind = ? AND id > ? ORDER BY id LIMIT 50",
                kind,
                last,
            )
            if not rows:
                return
            for kind_, id, namespace, reason, form, index, body in rows:
                yield SetAside(
                    kind=kind_,
                    id=id,
                    namespace=namespace,
                    reason=reason,
                    form=Form(form) if form else None,
                    index=index,
                    body=zlib.decompress(body),
                )
            last = rows[-1][1]

    def reasons(self, kind: str) -> list[tuple[str, int]]:
        """How many documents were set aside for which reason, the most frequent first."""
        return [
            (str(reason), int(count))
            for reason, count in self._rows(
                "SELECT reason, count(*) AS n FROM set_aside WHERE kind = ? GROUP BY reason ORDER BY n DESC", kind
            )
        ]

    def forms(self, kind: str) -> frozenset[Form]:
        """The forms that the documents of a kind have in their source."""
        rows = self._rows("SELECT DISTINCT form FROM set_aside WHERE kind = ? AND form IS NOT NULL", kind)
        return frozenset(Form(row[0]) for row in rows)

    def among_differing(self, documents: Sequence[Document]) -> frozenset[str]:
        """Which of these documents are listed as differing; their ids."""
        if not self._rows("SELECT 1 FROM set_aside WHERE kind = 'differing' LIMIT 1"):
            return frozenset()
        ids = msgspec.json.encode([document.id for document in documents]).decode()
        rows = self._rows(
            "SELECT id FROM set_aside WHERE kind = 'differing' AND id IN (SELECT value FROM json_each(?))", ids
        )
        return frozenset(str(row[0]) for row in rows)

    def differing_digests(self) -> frozenset[bytes]:
        """What `id_digest` gives for the ids that are listed as differing."""
        return frozenset(id_digest(row[0]) for row in self._rows("SELECT id FROM set_aside WHERE kind = 'differing'"))

    # -- changing, in a transaction of the file -----------------------------------------------------------------

    def keep(self, documents: Sequence[SetAside], run: int) -> None:
        self.any = self.any or bool(documents)
        self._db.executemany(
            "INSERT OR REPLACE INTO set_aside VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    each.kind,
                    each.id,
                    each.namespace,
                    each.reason,
                    each.form,
                    each.index,
                    run,
                    zlib.compress(each.body, 1),
                )
                for each in documents
            ],
        )

    def drop(self, ids: Iterable[str], kind: str | None = None) -> None:
        """Let these documents go; only those of a kind where one is given."""
        if kind is None:
            if self.any:
                self._db.executemany("DELETE FROM set_aside WHERE id = ?", [(id,) for id in ids])
        else:
            self._db.executemany("DELETE FROM set_aside WHERE kind = ? AND id = ?", [(kind, id) for id in ids])

    def explain(self, reasons: Mapping[str, str]) -> None:
        """Note why rejected documents were rejected once more, by id."""
        self._db.executemany(
            "UPDATE set_aside SET reason = ? WHERE kind = 'rejected' AND id = ?",
            [(reason, id) for id, reason in reasons.items()],
        )

    def clear(self) -> None:
        self._db.execute("DELETE FROM set_aside")
        self.any = False
