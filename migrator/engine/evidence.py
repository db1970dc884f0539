"""The durable memory of one verification: what was read on both sides, and what was found.

One SQLite file in the verification's folder. Every commit is one transaction with the positions up to which it speaks,
so that a process may die between any two instructions. Holds ids and digests, no document and no secret. Its size
follows the buckets and the documents in those that differ, not the stores.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from migrator.adapters.base import Description, Plan, Slice, Token
from migrator.engine.buckets import MODULUS, WHOLE, Bucket
from migrator.engine.statefile import PairFile
from migrator.records import Selection
from migrator.verification import Finding, Refused

FORMAT = 1
SIDES = ("a", "b")

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
CREATE TABLE seen (
    id TEXT PRIMARY KEY, namespace TEXT NOT NULL, hour INTEGER NOT NULL,
    a BLOB, b BLOB, a_copies INTEGER NOT NULL DEFAULT 0, b_copies INTEGER NOT NULL DEFAULT 0
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


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A document of a bucket that differs, as it was read on one side."""

    id: str
    namespace: str
    hour: int
    digest: bytes


class Suspect(msgspec.Struct, frozen=True, kw_only=True):
    """An id under which the two sides were read differently."""

    id: str
    namespace: str
    hour: int
    seen_in: str  # "a", "b" or "ab"


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


class Evidence(PairFile):
    """What is known of one verification. Used by several threads; one at a time is inside."""

    def __init__(self, path: Path | None) -> None:
        """Open or create the file; None keeps it in memory. Raises as `StateFile`."""
        super().__init__(path, schema=_SCHEMA, format=FORMAT, what="the verification")

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
            for table in ("slices", "sums", "seen", "findings", "refused", "remarks"):
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608  our own names
            for name in ("warnings", "incomplete", "restated", "compared"):
                self._db.execute("DELETE FROM meta WHERE name = ?", (name,))
            self._set("stores", stores)
            self._set("selection", selection)
            self._set("began_s", began_s)

    def begin_stage(
        self, stage: str, plans: Mapping[str, Plan] | None = None, snapshots: Mapping[str, Token] | None = None
    ) -> None:
        """Go on to a stage, with what is read for it on each side, and with the first one where the sides stand."""
        with self._transaction():
            self._set("stage", stage)
            self._db.execute("DELETE FROM slices")
            for side, snapshot in (snapshots or {}).items():
                self._set(f"snapshot {side}", snapshot)
            for side, plan in (plans or {}).items():
                self._set("warnings", list(dict.fromkeys([*self.warnings, *plan.warnings])))
                self._set("incomplete", self.incomplete or plan.incomplete)
                self._db.executemany(
                    "INSERT INTO slices (side, slice) VALUES (?, ?)",
                    [(side, msgspec.json.encode(slice).decode()) for slice in plan.slices],
                )

    def forget(self) -> None:
        """Let the next run begin anew."""
        with self._transaction():
            self._set("stage", "new")

    # -- reading ------------------------------------------------------------------------------------------------

    def open_slices(self) -> list[OpenSlice]:
        """The slices that aren't done, those of both sides in turn."""
        rows = self._rows("SELECT number, side, slice, position FROM slices WHERE NOT done ORDER BY number")
        found = [
            OpenSlice(
                number=number,
                side=side,
                slice=msgspec.json.decode(slice, type=Slice),
                position=msgspec.json.decode(position) if position is not None else None,
            )
            for number, side, slice, position in rows
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
        several = f"x'{side.encode().hex()}'"  # no digest, and another one on each side
        with self._transaction():
            self._db.execute(
                "UPDATE slices SET position = ?, done = ? WHERE number = ?",
                (msgspec.json.encode(added.position).decode(), added.done, added.slice),
            )
            self._db.executemany(
                """INSERT INTO sums VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
                documents = documents + excluded.documents, s0 = s0 + excluded.s0, s1 = s1 + excluded.s1,
                s2 = s2 + excluded.s2, s3 = s3 + excluded.s3""",
                [(*bucket, side, documents, *_limbs(sum % MODULUS)) for bucket, (documents, sum) in added.sums.items()],
            )
            # A document that stands in several indices: equal copies count as one, others as something that differs.
            self._db.executemany(
                f"""INSERT INTO seen (id, namespace, hour, {side}, {side}_copies) VALUES (?, ?, ?, ?, 1)
                ON CONFLICT DO UPDATE SET {side}_copies = {side}_copies + 1, {side} =
                CASE WHEN {side} IS NULL OR {side} = excluded.{side} THEN excluded.{side} ELSE {several} END""",  # noqa: S608  as above
                [(each.id, each.namespace, each.hour, each.digest) for each in added.seen],
            )
            self._refuse(added.refused)
            if added.compared and side == "a":
                self._set("compared", self.compared + added.compared)
            self._db.executemany(
                "INSERT INTO remarks VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET "
                "documents = documents + excluded.documents",
                [(side, kind, documents) for kind, documents in added.remarks.items()],
            )

    def _refuse(self, refused: Iterable[Refused]) -> None:
        self._db.executemany(
            "INSERT OR REPLACE INTO refused VALUES (?, ?, ?, ?)",
            [(each.side, each.id, each.namespace, each.reason) for each in refused],
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
                sides = _sides(text)
                yield BucketPair(
                    namespace=namespace, hour=hour, part=part, a=sides.get("a", (0, 0)), b=sides.get("b", (0, 0))
                )
            after = rows[-1][:3]

    # -- findings -----------------------------------------------------------------------------------------------

    def drop_agreeing(self) -> None:
        """Of what was seen in buckets that differ, keep what was read differently on the two sides."""
        with self._transaction():
            self._db.execute("DELETE FROM seen WHERE a IS b AND a_copies = b_copies")

    def suspects(self, count: int) -> list[Suspect]:
        """The first ids that were read differently on the two sides and weren't looked at again yet."""
        rows = self._rows(
            "SELECT id, namespace, hour, a IS NOT NULL, b IS NOT NULL FROM seen ORDER BY id LIMIT ?", count
        )
        return [
            Suspect(id=id, namespace=namespace, hour=hour, seen_in=f"{'a' if a else ''}{'b' if b else ''}")
            for id, namespace, hour, a, b in rows
        ]

    def judge(
        self, ids: Sequence[str], findings: Sequence[Finding], refused: Sequence[Refused], *, restated: int
    ) -> None:
        """Suspects were looked at again; what came of it."""
        with self._transaction():
            self._db.executemany("DELETE FROM seen WHERE id = ?", [(id,) for id in ids])
            self._db.executemany(
                "INSERT OR REPLACE INTO findings VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (
                        each.id,
                        each.kind,
                        each.namespace,
                        each.hour,
                        msgspec.json.encode(each.fields).decode(),
                        each.note,
                    )
                    for each in findings
                ],
            )
            self._refuse(refused)
            if restated:
                self._set("restated", self.restated + restated)

    def came_meanwhile(self, ids: Sequence[str], side: str) -> None:
        """These were stored on a side since the beginning: where one is among the findings, that is what it is."""
        with self._transaction():
            self._db.executemany(
                "UPDATE findings SET kind = 'meanwhile', note = ? WHERE id = ? AND kind <> 'meanwhile'",
                [(f"was stored in {side.upper()}", id) for id in ids],
            )

    def has_findings(self) -> bool:
        return bool(self._rows("SELECT 1 FROM findings WHERE kind <> 'meanwhile' LIMIT 1"))

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


def _limbs(sum: int) -> tuple[int, int, int, int]:
    return sum & 0xFFFFFFFF, sum >> 32 & 0xFFFFFFFF, sum >> 64 & 0xFFFFFFFF, sum >> 96


def _sides(text: str) -> dict[str, tuple[int, int]]:
    words = text.split(" ")
    found: dict[str, tuple[int, int]] = {}
    for at in range(0, len(words), 6):
        limbs = [int(word) for word in words[at + 2 : at + 6]]
        found[words[at]] = int(words[at + 1]), sum(limb << 32 * place for place, limb in enumerate(limbs)) % MODULUS
    return found
