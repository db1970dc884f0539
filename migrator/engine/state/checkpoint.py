"""The durable memory of one job: slices with positions, accounts, and the documents that were set aside.

One SQLite file in WAL mode in the job's folder. Every commit is one transaction, made only after the target holds
what it speaks of, so that a process may die between any two instructions. Holds no secret. Knows nothing of how
documents are read or written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from migrator.activations.accounts import Counts, sum_accounts, total
from migrator.activations.document import Form
from migrator.activations.selection import Selection
from migrator.adapters.base import Completion, Description, Plan, Token
from migrator.engine.state.earlier import with_request
from migrator.engine.state.lags import LAGS, Lags
from migrator.engine.state.ledger import LEDGER, ORIGINS
from migrator.engine.state.notes import (
    Commit,
    JobSpec,
    OpenSlice,
    Sample,
    SetAside,
    Shortfall,
    VerificationNote,
    documents_in,
    refuse_unproven,
    sum_origins,
)
from migrator.engine.state.set_aside import SCHEMA as SET_ASIDE
from migrator.text.decoding import convert
from migrator.text.secrets import redact
from migrator.text.units import counted

__all__ = ["Checkpoint", "Commit", "JobSpec", "OpenSlice", "Sample", "SetAside", "Shortfall", "VerificationNote"]

_Kept = TypeVar("_Kept")

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE slices (
    number INTEGER PRIMARY KEY, round INTEGER NOT NULL, slice TEXT NOT NULL, run INTEGER NOT NULL,
    position TEXT, done INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE receipts (number INTEGER PRIMARY KEY, round INTEGER NOT NULL, receipt TEXT NOT NULL);
CREATE TABLE runs (
    number INTEGER PRIMARY KEY, began_s REAL NOT NULL, ended_s REAL, outcome TEXT, read INTEGER NOT NULL DEFAULT 0
);
"""
_SAMPLES = """CREATE TABLE IF NOT EXISTS samples (
    minute INTEGER PRIMARY KEY, read INTEGER NOT NULL, size_bytes INTEGER NOT NULL
)"""  # a job that was begun before there was this table gets it when it is opened


class Checkpoint(Lags):
    """The checkpoint of one job. Used by several threads; one at a time is inside."""

    def __init__(self, path: Path | None, *, clock: Callable[[], float] = time.time, view: bool = False) -> None:
        """Open or create the file; None keeps it in memory (a dry run). Raises as `StateFile`."""
        self._clock = clock
        super().__init__(
            path, schema=_SCHEMA + LEDGER + SET_ASIDE, what="the job", added=f"{_SAMPLES};{LAGS};{ORIGINS}", view=view
        )

    # -- the job ------------------------------------------------------------------------------------------------

    @property
    def spec(self) -> JobSpec | None:
        return self._get_with_request("spec", JobSpec)

    @property
    def state(self) -> str:
        """`new` (nothing planned), `unfinished`, or `complete`."""
        return str(self._get("state", "new"))

    @property
    def snapshot(self) -> Token:
        """Where the source stood when the newest round was planned: the next one starts from here."""
        found: Token = self._get("snapshot")
        return found

    @property
    def snapshot_s(self) -> float | None:
        """When that was, in epoch seconds; None before the first plan."""
        found: float | None = self._get("snapshot_s")
        return found

    @property
    def can_abandon_round(self) -> bool:
        """Whether where the round in hand began is known: not in the bulk, nor where an earlier release began it."""
        return self.round > 0 and self._get("round_began_at") is not None

    @property
    def mark(self) -> Token:
        """Where the target stood before the first write."""
        found: Token = self._get("mark")
        return found

    @property
    def stock(self) -> Token:
        """What was in the target before the first write; None where that isn't known."""
        began_s, stock = self._get("stock", (None, None))
        return stock if began_s == self.began_s else None  # else an earlier release began the job again

    @property
    def round(self) -> int:
        """0 while the bulk of the source is read, then the number of the catch-up round."""
        return int(self._get("round", 0))

    @property
    def deleted(self) -> int:
        return int(self._get("deleted", 0))

    @property
    def full(self) -> bool:
        """Whether the job's first plan was of everything selected; False where an earlier release made it."""
        return bool(self._get("full", False))

    @property
    def was_complete(self) -> bool:
        """Whether everything planned was copied once; what came since, catch-up brought."""
        return bool(self._get("was_complete", False))

    @property
    def created(self) -> int:
        """Documents that this job stored and that weren't in the target before in any version."""
        return int(self._get("created", 0))

    @property
    def knows_origins(self) -> bool:
        """Whether `there` speaks of all that was read; False where an earlier release began the job, or ran it."""
        return bool(self._get("knows_origins") == self.began_s and self._get("there") is None)

    @property
    def shortfall(self) -> Shortfall:
        """What is missing by the stores' own counts; the job is to be started over."""
        return convert(self._get("shortfall", {}), Shortfall)

    def note_shortfall(self, shortfall: Shortfall, warning: str) -> None:
        """Keep that documents are missing, until the job starts over."""
        with self._transaction():
            self._set("shortfall", shortfall)
            self._set("incomplete", True)
            self._warn([warning])

    def reserve(self, count: int) -> int:
        """The first of so many numbers in a row that were never reserved before, from 1 on."""
        with self._transaction():
            first = self.reserved + 1
            self._set("reserved", self.reserved + count)
            return first

    def reserve_up_to(self, number: int) -> None:
        """Never reserve this number nor a lower one."""
        if number > self.reserved:
            with self._transaction():
                self._set("reserved", number)

    @property
    def reserved(self) -> int:
        """The highest number that was reserved."""
        return int(self._get("reserved", 0))

    def note_unseen(self, reasons: Sequence[str]) -> None:
        """Keep that there may be documents that nobody could look for."""
        with self._transaction():
            self._set("incomplete", True)
            self._warn(reasons)

    def begin_run(self, spec: JobSpec, source: Description, target: Description) -> int:
        """Note that a run begins; returns its number, counted from 1."""
        with self._transaction():
            self._set("spec", spec)
            self._set("stores", (source, target))
            self._db.execute("INSERT INTO runs (began_s) VALUES (?)", (self._clock(),))
            return int(self._db.execute("SELECT max(number) FROM runs").fetchone()[0])

    def note_stores(self, source: Description, target: Description) -> None:
        """Keep how the stores describe themselves now, so that it is noticed when they are replaced."""
        with self._transaction():
            self._set("stores", (source, target))

    def end_run(self, run: int, outcome: str, *, read: int) -> None:
        with self._transaction():
            self._db.execute(
                "UPDATE runs SET ended_s = ?, outcome = ?, read = ? WHERE number = ?",
                (self._clock(), redact(outcome), read, run),
            )

    @property
    def runs(self) -> list[tuple[int, float, float | None, str | None, int]]:
        """Number, begin, end (epoch seconds), outcome and documents read of each run."""
        return [tuple(row) for row in self._rows("SELECT number, began_s, ended_s, outcome, read FROM runs")]

    @property
    def samples(self) -> list[Sample]:
        """What was copied minute by minute; minutes without anything are absent."""
        rows = self._rows("SELECT minute, read, size_bytes FROM samples ORDER BY minute")
        return [Sample(*row) for row in rows]

    @property
    def verification(self) -> VerificationNote | None:
        """The newest verification of what this job copied."""
        return self._get_with_request("verification", VerificationNote)

    def _get_with_request(self, name: str, type: type[_Kept]) -> _Kept | None:
        """A value with a request in it, also as an earlier release kept it."""
        found = self._get(name)
        try:
            return convert(with_request(found), type) if found else None
        except (msgspec.MsgspecError, KeyError, TypeError, ValueError) as error:
            raise self._state_damaged(f"its {name} can't be read") from error

    def note_verification(self, note: VerificationNote) -> None:
        with self._transaction():
            self._set("verification", note)

    @property
    def prepared(self) -> Token:
        """What the writer prepared for this job."""
        found: Token = self._get("prepared")
        return found

    @property
    def receipts(self) -> list[tuple[int, Token]]:
        """What the writer's flushes returned, in their order, each with the number of its round."""
        rows = self._rows("SELECT round, receipt FROM receipts ORDER BY number")
        return [(int(round), msgspec.json.decode(receipt)) for round, receipt in rows]

    def begin(
        self,
        plan: Plan,
        selection: Selection,
        mark: Token,
        prepared: Token,
        *,
        run: int,
        planned_s: float,
        full: bool = False,
        stock: Token = None,
    ) -> None:
        """Take the plan of a new job; everything that an earlier one left is dropped.

        `full` tells that the plan is of everything selected, not of what is new since a snapshot; `stock` is what was
        in the target before.
        """
        began_s = self._clock()
        with self._transaction():
            for table in ("slices", "accounts", "origins", "remarks", "receipts"):
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608  our own names
            self.aside.clear()
            for name in ("warnings", "incomplete", "deleted", "created", "there", "shortfall", "was_complete"):
                self._db.execute("DELETE FROM meta WHERE name = ?", (name,))
            self._set("selection", selection)
            self._set("full", full)
            self._set("mark", mark)
            self._set("stock", [began_s, stock])
            self._set("prepared", prepared)
            self._set("began_s", began_s)
            self._set("knows_origins", began_s)
            self._set("state", "unfinished")
            self._add(plan, 0, run, planned_s)

    def begin_round(self, plan: Plan, selection: Selection, *, run: int, planned_s: float) -> int:
        """Take the plan of a catch-up round; returns its number. Slices that are done leave the file."""
        with self._transaction():
            number = self.round + 1
            self._drop_plan(done=True)
            self._set("round_began_at", (self.snapshot, self.snapshot_s))
            self._set("selection", selection)
            self._set("state", "unfinished")
            self._add(plan, number, run, planned_s)
            return number

    def abandon_round(self) -> None:
        """Drop what is left of a catch-up round; the next one starts from where this one did."""
        with self._transaction():
            before, before_s = self._get("round_began_at")
            self._drop_plan()
            self._set("snapshot", before)
            self._set("snapshot_s", before_s)

    @property
    def positions(self) -> list[Token]:
        """Where the slices of the round in hand were read to that are done and gave anything."""
        rows = self._rows("SELECT position FROM slices WHERE done AND round = ? AND position IS NOT NULL", self.round)
        return [msgspec.json.decode(position) for (position,) in rows]

    def move_on(self, snapshot: Token) -> None:
        """The next round starts from a later snapshot: all up to it was read."""
        with self._transaction():
            self._set("snapshot", snapshot)

    def _add(self, plan: Plan, number: int, run: int, planned_s: float) -> None:
        self._set("round", number)
        self._set("snapshot", plan.snapshot)
        self._set("snapshot_s", planned_s)
        self._add_plan(plan, round=number, run=run)

    def forget(self) -> None:
        """Drop the plan, so that the job starts over; the history of its runs stays."""
        with self._transaction():
            self._drop_plan()
            self._set("state", "new")

    def complete(self) -> None:
        """Everything planned was copied."""
        with self._transaction():
            if self._db.execute("SELECT 1 FROM slices WHERE NOT done").fetchone():
                raise AssertionError("a job with open slices isn't complete")
            self._set("state", "complete")
            self._set("was_complete", True)

    def completion(self, form: Form | None = None) -> Completion:
        """What the writer learns at the end."""
        assert self.stores is not None  # a run has begun
        return Completion(
            source=self.stores[0],
            form=form,
            selection=self.selection,
            snapshot=self.snapshot,
            snapshot_s=self.snapshot_s,
            began_s=self.began_s,
            receipts=self.receipts,
            counts=msgspec.to_builtins(self.counts),
            deleted=self.deleted,
            warnings=self.warnings,
            unread=self.shortfall.unread,
        )

    def _adopt(self) -> None:
        for name, value in (("spec", self.spec), ("verification", self.verification)):
            if value is not None:
                self._set(name, value)
        _ = self.stores, self.selection, self.receipts, self.remarks, self.shortfall, self.open_slices(0)

    # -- slices and accounts ------------------------------------------------------------------------------------

    def open_slices(self, run: int) -> list[OpenSlice]:
        """The slices that aren't done, in the order of their planning."""
        return [
            OpenSlice(number=number, slice=slice, position=position, begun_before=planned_by < run)
            for number, slice, position, planned_by in self._planned_slices("run")
        ]

    def slices_left(self) -> tuple[int, int]:
        """How many slices of the round are open, and how many it has."""
        ((left, all),) = self._rows("SELECT coalesce(sum(NOT done), 0), count(*) FROM slices")
        return int(left), int(all)

    def commit(
        self,
        commits: Sequence[Commit],
        *,
        run: int,
        ended: Collection[int] = (),
        receipt: Token = None,
        receipts: bool = False,
        target: Description | None = None,
    ) -> None:
        """Note that everything up to the positions of some batches is durable in the target, with the accounts of it.

        `ended` are the numbers of slices that were read to their ends, `receipt` is the writer's for these batches.
        With `receipts` the writer gives one for all that it made durable: documents without it, or another number of
        them, are refused (`Unavailable`), and nothing is noted. `target` is how the target describes itself now.
        """
        if receipts:
            refuse_unproven(sum(commit.written for commit in commits), receipt)
        with self._transaction():
            for commit in commits:
                self._take(commit, run)
            self._count(sum_accounts(commit.counts for commit in commits))
            self._count_there(sum_origins(commit.there for commit in commits))
            for name in ("deleted", "created"):
                if more := sum(getattr(commit, name) for commit in commits):
                    self._set(name, int(self._get(name, 0)) + more)
            self._sample(total(counts for commit in commits for counts in commit.counts.values()))
            self._end(ended)
            if receipt is not None:
                self._db.execute(
                    "INSERT INTO receipts (round, receipt) VALUES (?, ?)",
                    (self.round, msgspec.json.encode(receipt).decode()),
                )
            if target is not None:
                self._set("stores", (self.stores[0] if self.stores else target, target))

    def contradiction(self) -> str | None:
        """How the receipts contradict the accounts, None where they don't; of a writer that gives receipts."""
        proven = [documents_in(receipt) for _, receipt in self.receipts]
        written = total(self.counts.values()).written
        if None in proven or (documents := sum(filter(None, proven))) == written:
            return None
        were = counted(written, "document was", "documents were")
        return f"{were} counted as written, and the parts that are known hold {documents:,}"

    def _take(self, commit: Commit, run: int) -> None:
        for counts in commit.counts.values():
            if not counts.adds_up:
                raise AssertionError(f"the accounts of a batch don't add up: {counts}")
        self._move(commit.slice, commit.position)
        self.aside.drop(commit.settled)
        self.aside.keep(commit.set_aside, run)
        for kind, ids in commit.remarks.items():
            self._remark(kind, ids)

    def _sample(self, counts: Counts) -> None:
        self._db.execute(
            """INSERT INTO samples VALUES (?, ?, ?) ON CONFLICT (minute) DO UPDATE SET
            read = read + excluded.read, size_bytes = size_bytes + excluded.size_bytes""",
            (int(self._clock() // 60), counts.read, counts.size_bytes),
        )
