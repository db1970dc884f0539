"""The outcome of the documents of a job: the accounts, what was remarked on, and the documents that were set aside.

The part of a checkpoint that speaks of documents, in the job's own file. Knows nothing of slices and runs.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from migrator.activations.accounts import Counts
from migrator.activations.document import Document, Form, Rejection
from migrator.engine.state.notes import SetAside
from migrator.engine.state.planned import PlannedFile

LEDGER = """
CREATE TABLE accounts (
    namespace TEXT PRIMARY KEY, read INTEGER NOT NULL, written INTEGER NOT NULL, present INTEGER NOT NULL,
    differing INTEGER NOT NULL, rejected INTEGER NOT NULL, filtered INTEGER NOT NULL, size_bytes INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE set_aside (
    kind TEXT NOT NULL, id TEXT NOT NULL, namespace TEXT NOT NULL, reason TEXT NOT NULL, form TEXT,
    source_index TEXT, run INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (kind, id)
) WITHOUT ROWID;
CREATE TABLE remarks (kind TEXT PRIMARY KEY, documents INTEGER NOT NULL, examples TEXT NOT NULL) WITHOUT ROWID;
"""
_REMARK_EXAMPLES = 20


class Ledger(PlannedFile):
    """The tables of accounts, remarks and documents set aside, in the file of a job."""

    def __init__(self, path: Path | None, **how: Any) -> None:
        super().__init__(path, **how)
        self.has_set_aside = bool(self._rows("SELECT 1 FROM set_aside LIMIT 1"))
        """Whether documents are set aside; read for every batch, so that the file isn't. True may be out of date."""

    # -- accounts -----------------------------------------------------------------------------------------------

    @property
    def counts(self) -> dict[str, Counts]:
        """The accounts by namespace."""
        rows = self._rows(
            "SELECT namespace, read, written, present, differing, rejected, filtered, size_bytes FROM accounts"
        )
        return {
            row[0]: Counts(
                read=row[1],
                written=row[2],
                present=row[3],
                differing=row[4],
                rejected=row[5],
                filtered=row[6],
                size_bytes=row[7],
            )
            for row in rows
        }

    def _count(self, counts: Mapping[str, Counts]) -> None:
        self._db.executemany(
            """INSERT INTO accounts VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (namespace) DO UPDATE SET
            read = read + excluded.read, written = written + excluded.written, present = present + excluded.present,
            differing = differing + excluded.differing, rejected = rejected + excluded.rejected,
            filtered = filtered + excluded.filtered, size_bytes = size_bytes + excluded.size_bytes""",
            [
                (name, c.read, c.written, c.present, c.differing, c.rejected, c.filtered, c.size_bytes)
                for name, c in counts.items()
            ],
        )

    # -- remarks ------------------------------------------------------------------------------------------------

    @property
    def remarks(self) -> dict[str, int]:
        return {str(kind): int(documents) for kind, documents in self._rows("SELECT kind, documents FROM remarks")}

    def remark_examples(self, kind: str) -> list[str]:
        """Some ids of the documents that a remark was made on."""
        rows = self._rows("SELECT examples FROM remarks WHERE kind = ?", kind)
        return list(msgspec.json.decode(rows[0][0])) if rows else []

    def _remark(self, kind: str, ids: Sequence[str]) -> None:
        rows = self._rows("SELECT documents, examples FROM remarks WHERE kind = ?", kind)
        documents, examples = (rows[0][0], msgspec.json.decode(rows[0][1])) if rows else (0, [])
        examples = [*examples, *ids][:_REMARK_EXAMPLES]
        self._db.execute(
            "INSERT OR REPLACE INTO remarks VALUES (?, ?, ?)",
            (kind, documents + len(ids), msgspec.json.encode(examples).decode()),
        )

    # -- documents set aside ------------------------------------------------------------------------------------

    def count_set_aside(self, kind: str) -> int:
        return int(self._rows("SELECT count(*) FROM set_aside WHERE kind = ?", kind)[0][0])

    def set_aside(self, kind: str) -> Iterator[SetAside]:
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

    def among_differing(self, documents: Sequence[Document]) -> frozenset[str]:
        """Which of these documents are listed as differing; their ids."""
        if not self._rows("SELECT 1 FROM set_aside WHERE kind = 'differing' LIMIT 1"):
            return frozenset()
        ids = msgspec.json.encode([document.id for document in documents]).decode()
        rows = self._rows(
            "SELECT id FROM set_aside WHERE kind = 'differing' AND id IN (SELECT value FROM json_each(?))", ids
        )
        return frozenset(str(row[0]) for row in rows)

    def settle(
        self,
        ids: Sequence[str],
        *,
        moved: Mapping[str, Counts],
        kept: Sequence[SetAside],
        refused: Sequence[Rejection],
        remarks: Mapping[str, Sequence[str]],
        run: int,
    ) -> None:
        """Rejected documents `ids` were tried again: `moved` changes the accounts, `remarks` are ids by kind.

        Those `refused` stay with their newest reason, those `kept` are set aside as something else, the rest leaves.
        """
        stays = {each.id: each.reason for each in refused}
        with self._transaction():
            self._db.executemany(
                "DELETE FROM set_aside WHERE kind = 'rejected' AND id = ?", [(id,) for id in ids if id not in stays]
            )
            self._db.executemany(
                "UPDATE set_aside SET reason = ? WHERE kind = 'rejected' AND id = ?",
                [(reason, id) for id, reason in stays.items()],
            )
            self._keep(kept, run)
            self._count(moved)
            for kind, remarked in remarks.items():
                self._remark(kind, remarked)

    def _keep(self, documents: Sequence[SetAside], run: int) -> None:
        self.has_set_aside = self.has_set_aside or bool(documents)
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
