"""The outcome of the documents of a job: the accounts, and what was remarked on.

The part of a checkpoint that speaks of documents, in the job's own file. Knows nothing of slices and runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from migrator.activations.accounts import Counts
from migrator.activations.document import Rejection
from migrator.engine.state.notes import Origin, SetAside
from migrator.engine.state.planned import PlannedFile
from migrator.engine.state.set_aside import DocumentsSetAside

LEDGER = """
CREATE TABLE accounts (
    namespace TEXT PRIMARY KEY, read INTEGER NOT NULL, written INTEGER NOT NULL, present INTEGER NOT NULL,
    differing INTEGER NOT NULL, rejected INTEGER NOT NULL, filtered INTEGER NOT NULL, size_bytes INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE remarks (kind TEXT PRIMARY KEY, documents INTEGER NOT NULL, examples TEXT NOT NULL) WITHOUT ROWID;
"""
ORIGINS = """CREATE TABLE IF NOT EXISTS origins (
    namespace TEXT NOT NULL, "index" TEXT NOT NULL, there INTEGER NOT NULL, PRIMARY KEY (namespace, "index")
) WITHOUT ROWID"""
_REMARK_EXAMPLES = 20


class Ledger(PlannedFile):
    """The tables of accounts, remarks and documents set aside, in the file of a job."""

    def __init__(self, path: Path | None, **how: Any) -> None:
        super().__init__(path, **how)
        self.aside = DocumentsSetAside(self._db, self._rows)

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

    @property
    def there(self) -> dict[Origin, int]:
        """Documents of the bulk that the target held when they came, in whatever version, by where they were read.

        Places that only later rounds read are among them, with 0.
        """
        return {Origin(*row[:2]): row[2] for row in self._rows('SELECT namespace, "index", there FROM origins')}

    def _count_there(self, there: Mapping[Origin, int]) -> None:
        self._db.executemany(
            """INSERT INTO origins VALUES (?, ?, ?) ON CONFLICT (namespace, "index") DO UPDATE SET
            there = there + excluded.there""",
            [(origin.namespace, origin.index, documents) for origin, documents in there.items()],
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
            self.aside.drop([id for id in ids if id not in stays], "rejected")
            self.aside.explain(stays)
            self.aside.keep(kept, run)
            self._count(moved)
            for kind, remarked in remarks.items():
                self._remark(kind, remarked)
