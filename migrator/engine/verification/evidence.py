"""The durable memory of one verification: what was read on both sides, and what was found (`engine.listed`).

One SQLite file in the verification's folder. Every commit is one transaction with the positions up to which it speaks,
so that a process may die between any two instructions. Holds ids and digests, no document and no secret. Its size
follows the buckets and the documents in those that differ, not the stores.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from migrator.activations.selection import Selection
from migrator.adapters.base import Description, Plan, Slice, Token
from migrator.engine.verification.hours import WHOLE, Bucket
from migrator.engine.verification.listed import Listed, Seen, by_side
from migrator.engine.verification.values import Finding, Refused

SIDES = ("a", "b")
_LISTS_WHOLE = ("relist", "respell")  # the stages that sum the hours again in which the sides differ

# A sum is kept as four sums of 32 bits: SQLite's integers have 64, so that two thousand million digests fit.
_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE slices (
    number INTEGER PRIMARY KEY, side TEXT NOT NULL, slice TEXT NOT NULL, position TEXT, done INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE sums (
    namespace TEXT NOT NULL, hour INTEGER NOT NULL, part INTEGER NOT NULL, side TEXT NOT NULL,
    documents INTEGER NOT NULL, s0 INTEGER NOT NULL, s1 INTEGER NOT NULL, s2 INTEGER NOT NULL, s3 INTEGER NOT NULL,
    PRIMARY KEY (namespace, hour, part, side)
) WITHOUT ROWID;
CREATE TABLE findings (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, namespace TEXT NOT NULL, hour INTEGER NOT NULL, fields TEXT NOT NULL,
    note TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE refused (
    side TEXT NOT NULL, id TEXT NOT NULL, namespace TEXT NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (side, id)
) WITHOUT ROWID;
CREATE TABLE remarks (
    side TEXT NOT NULL, kind TEXT NOT NULL, documents INTEGER NOT NULL, PRIMARY KEY (side, kind)
) WITHOUT ROWID;
"""


class Added(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker has read of one slice since its last commit."""

    slice: int
    side: str
    position: Token
    done: bool
    sums: Mapping[Bucket, tuple[int, int]] = {}
    seen: Sequence[Seen] = ()
    refused: Sequence[Refused] = ()
    remarks: Mapping[str, int] = {}
    compared: int = 0  # by content, in the first stage
    read: int = 0  # with what doesn't count
    lists: bool = False  # what was seen is listed


class OpenSlice(msgspec.Struct, frozen=True, kw_only=True):
    number: int
    side: str
    slice: Slice
    position: Token


class BucketPair(msgspec.Struct, frozen=True, kw_only=True):
    """A bucket on both sides: documents and the sum of digests."""

    namespace: str
    hour: int
    part: int
    a: tuple[int, int]
    b: tuple[int, int]

    @property
    def differs(self) -> bool:
        return self.a != self.b


class Evidence(Listed):
    """What is known of one verification. Used by several threads; one at a time is inside."""

    def __init__(self, path: Path | None) -> None:
        """Open or create the file; None keeps it in memory. Raises as `StateFile`."""
        super().__init__(path, schema=_SCHEMA, what="the verification")

    # -- the verification ---------------------------------------------------------------------------------------

    @property
    def stage(self) -> str:
        """`new`, one of the stages of `engine.verify`, or `complete`."""
        return str(self._get("stage", "new"))

    @property
    def run(self) -> int:
        return int(self._get("run", 0))

    def snapshot(self, side: str) -> Token:
        """Where a side stood when the verification began."""
        found: Token = self._get(f"snapshot {side}")
        return found

    @property
    def spelled(self) -> bool:
        """Whether the first stage sums the bytes as they are, not the values."""
        return bool(self._get("spelled", False))

    @property
    def compared(self) -> int:
        """Documents of A that were compared by content, not only counted."""
        return int(self._get("compared", 0))

    @property
    def restated(self) -> int:
        """Documents that agree only once B is brought into A's form: what differs, that form can't hold."""
        return int(self._get("restated", 0))

    def begin_run(self) -> int:
        with self._transaction():
            self._set("run", self.run + 1)
        return self.run

    def begin(self, stores: tuple[Description, Description], selection: Selection, *, began_s: float) -> None:
        """Begin a verification; everything that an earlier one found is dropped."""
        with self._transaction():
            for table in ("slices", "sums", "listed", "relisted", "vanished", "findings", "refused", "remarks"):
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608  our own names
            for name in ("warnings", "incomplete", "restated", "copies", "compared", "readings", "relistings"):
                self._db.execute("DELETE FROM meta WHERE name = ?", (name,))
            for side in SIDES:
                self._set(f"read {side}", 0)
            self._set("stores", stores)
            self._set("selection", selection)
            self._set("began_s", began_s)

    def compare_again(self, plans: Mapping[str, Plan]) -> None:
        """Drop what was read, for another reading of everything. Where the sides stood at the beginning stays."""
        with self._transaction():
            for table in ("sums", "refused", "remarks"):
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608  as above
            for name in ("compared", *(f"read {side}" for side in SIDES)):
                self._set(name, 0)
            self._set("readings", self.readings + 1)
            self._begin_stage("compare", plans)

    @property
    def readings(self) -> int:
        """How often everything was read before this time."""
        return int(self._get("readings", 0))

    @property
    def relistings(self) -> int:
        """How often hours were listed once more."""
        return int(self._get("relistings", 0))

    @property
    def copies(self) -> int:
        """Documents of A that stand in several places alike, and in fewer of B."""
        return int(self._get("copies", 0))

    def adopt(self) -> None:
        """Take over the file of an earlier release: what it had listed and found is found once more."""
        if self.stage in ("narrow", "list", "confirm") and self._get("read a") is None and not self._get("adopted"):
            with self._transaction():
                self._db.execute("DELETE FROM sums WHERE part <> ?", (WHOLE,))
                self._drop_plan()
                self._db.execute("DELETE FROM findings")
                self._set("adopted", True)
                self._set("stage", "compare")

    def begin_stage(
        self,
        stage: str,
        plans: Mapping[str, Plan] | None = None,
        snapshots: Mapping[str, Token] | None = None,
        *,
        spelled: bool | None = None,
    ) -> None:
        """Go on to a stage, with what is read for it on each side, and with the first one where the sides stand."""
        with self._transaction():
            if spelled is not None:
                self._set("spelled", spelled)
            for side, snapshot in (snapshots or {}).items():
                self._set(f"snapshot {side}", snapshot)
            self._begin_stage(stage, plans or {})

    def _begin_stage(self, stage: str, plans: Mapping[str, Plan]) -> None:
        self._set("stage", stage)
        if stage == "relist":
            self._set("relistings", self.relistings + 1)
        if stage in _LISTS_WHOLE:
            self._drop_relisted_sums()
        self._drop_plan()
        for side, plan in plans.items():
            self._add_plan(plan, side=side)

    def take_values(self) -> None:
        """The hours that differed by their bytes have sums by value now; on with what differs by these."""
        with self._transaction():
            self._take_sums()
            self._db.execute("DELETE FROM relisted")
            self._set("spelled", False)
            self._set("stage", "compare")

    def forget(self) -> None:
        """Let the next run start over."""
        with self._transaction():
            self._set("stage", "new")

    def _adopt(self) -> None:
        _ = self.stores, self.selection, self.open_slices()

    # -- reading ------------------------------------------------------------------------------------------------

    def open_slices(self) -> list[OpenSlice]:
        """The slices that aren't done, those of both sides in turn."""
        found = [
            OpenSlice(number=number, side=side, slice=slice, position=position)
            for number, slice, position, side in self._planned_slices("side")
        ]
        totals = Counter(each.side for each in found)
        before: Counter[str] = Counter()
        order: list[tuple[float, int]] = []
        for at, each in enumerate(found):
            order.append((before[each.side] / totals[each.side], at))
            before[each.side] += 1
        return [found[at] for _, at in sorted(order)]

    def commit(self, added: Added) -> None:
        """Note what was read of a slice up to a position."""
        side = added.side
        with self._transaction():
            self._move(added.slice, added.position)
            if added.done:
                self._end([added.slice])
            if added.lists:
                self._list(side, added.seen, added.sums, relisted=self.stage in _LISTS_WHOLE)
            else:
                self._add_sums(side, added.sums)
            self._refuse(added.refused)
            if self.stage == "compare" and (read := self.read(side)) is not None:
                self._set(f"read {side}", read + added.read)
            if added.compared and side == "a":
                self._set("compared", self.compared + added.compared)
            self._db.executemany(
                "INSERT INTO remarks VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET "
                "documents = documents + excluded.documents",
                [(side, kind, documents) for kind, documents in added.remarks.items()],
            )

    # -- buckets ------------------------------------------------------------------------------------------------

    def buckets(self, *, whole: bool = True) -> Iterator[BucketPair]:
        """The buckets of both sides side by side, ordered by namespace and hour: undivided ones, or parts."""
        after: tuple[Any, ...] = ("", -(2**62), WHOLE - 1)
        while True:
            rows = self._rows(
                f"""SELECT namespace, hour, part, group_concat(
                side || ' ' || documents || ' ' || s0 || ' ' || s1 || ' ' || s2 || ' ' || s3, ' ')
                FROM sums WHERE (namespace, hour, part) > (?, ?, ?) AND part {"=" if whole else ">"} {WHOLE}
                GROUP BY namespace, hour, part ORDER BY namespace, hour, part LIMIT 1000""",  # noqa: S608  as above
                *after,
            )
            if not rows:
                return
            for namespace, hour, part, text in rows:
                sides = by_side(text)
                yield BucketPair(
                    namespace=namespace, hour=hour, part=part, a=sides.get("a", (0, 0)), b=sides.get("b", (0, 0))
                )
            after = rows[-1][:3]

    # -- findings -----------------------------------------------------------------------------------------------

    def findings(self, *kinds: str) -> Iterator[Finding]:
        """The findings of some kinds in the order of their ids, read a few at a time."""
        last = ""
        marks = ", ".join("?" for _ in kinds)
        while True:
            rows = self._rows(
                f"SELECT kind, id, namespace, hour, fields, note FROM findings WHERE kind IN ({marks}) AND id > ? "  # noqa: S608  as above
                "ORDER BY id LIMIT 500",
                *kinds,
                last,
            )
            if not rows:
                return
            for kind, id, namespace, hour, fields, note in rows:
                yield Finding(
                    kind=kind,
                    id=id,
                    namespace=namespace,
                    hour=hour,
                    fields=tuple(msgspec.json.decode(fields)),
                    note=note,
                )
            last = rows[-1][1]

    def refused(self, side: str) -> Iterator[Refused]:
        """The documents of a side that can't be compared, in the order of their ids."""
        last = ""
        while True:
            rows = self._rows(
                "SELECT id, namespace, reason FROM refused WHERE side = ? AND id > ? ORDER BY id LIMIT 500", side, last
            )
            if not rows:
                return
            for id, namespace, reason in rows:
                yield Refused(side=side, id=id, namespace=namespace, reason=reason)
            last = rows[-1][0]

    def finding_counts(self) -> dict[tuple[str, str], int]:
        """How many findings there are, by namespace and kind."""
        rows = self._rows("SELECT namespace, kind, count(*) FROM findings GROUP BY namespace, kind")
        return {(namespace, kind): count for namespace, kind, count in rows}

    def finding_hours(self, most: int) -> list[tuple[str, int, dict[str, int]]]:
        """The buckets with findings: namespace, hour, how many of which kind. Those with extra ones only come last."""
        rows = self._rows(
            "SELECT namespace, hour, sum(kind = 'missing'), sum(kind = 'extra'), sum(kind = 'different') FROM findings "
            "WHERE kind <> 'meanwhile' GROUP BY namespace, hour "
            "ORDER BY sum(kind <> 'extra') = 0, namespace, hour LIMIT ?",
            most,
        )
        return [
            (namespace, hour, {"missing": missing, "extra": extra, "different": different})
            for namespace, hour, missing, extra, different in rows
        ]

    def refused_counts(self) -> dict[tuple[str, str], int]:
        """How many documents can't be compared, by side and namespace."""
        rows = self._rows("SELECT side, namespace, count(*) FROM refused GROUP BY side, namespace")
        return {(side, namespace): count for side, namespace, count in rows}

    def remarks(self, side: str) -> dict[str, int]:
        return dict(self._rows("SELECT kind, documents FROM remarks WHERE side = ?", side))
