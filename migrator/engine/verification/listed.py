"""What was listed of the hours that differ, what came of it, and what of the sums that explains.

The part of a verification's memory behind the stages that list and confirm. An id is *suspect* where it was listed
differently on the two sides. Once every suspect has a verdict, each hour's sums are compared with them: a difference
that no finding accounts for is an hour that can't be explained, and is read once more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from migrator.engine.state.planned import PlannedFile
from migrator.engine.verification.hours import MODULUS, WHOLE, Bucket
from migrator.engine.verification.values import Finding, Refused

_NOTHING = (0, 0)
RELISTED, _OUT, _FOUND = -2, -3, -4
"""Parts of sums beside `WHOLE`: as an hour was listed; what isn't judged in it; what its findings account for."""
REFUSED, _RELISTED_REFUSED = -5, -6
"""What can't be compared, and was counted as long as only the sample was looked at; and that as it was listed."""
_AS_LISTED = {WHOLE: RELISTED, REFUSED: _RELISTED_REFUSED}

# What the file of an earlier release lacks; its own table of what was seen is skipped.
ADDED = """
CREATE TABLE IF NOT EXISTS listed (
    id TEXT NOT NULL, side TEXT NOT NULL, namespace TEXT NOT NULL, hour INTEGER NOT NULL,
    documents INTEGER NOT NULL, digest BLOB NOT NULL, verdict TEXT, PRIMARY KEY (id, side, namespace, hour)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS relisted (namespace TEXT NOT NULL, hour INTEGER NOT NULL, PRIMARY KEY (namespace, hour))
WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS vanished (id TEXT PRIMARY KEY, side TEXT NOT NULL) WITHOUT ROWID
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
    vanished: str = ""  # the side on which an earlier look already missed what it had read


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """An hour of a namespace as it is reported: documents and the sum of digests of both sides.

    Without what isn't judged: what came or went meanwhile, what can't be compared, what a form can't hold.
    """

    namespace: str
    hour: int
    a: tuple[int, int]
    b: tuple[int, int]
    explained: bool  # what differs is what was found

    @property
    def differs(self) -> bool:
        return self.a != self.b


Weigh = Callable[[str], bool]
"""Whether the content of an id went into the sums; in a sample that is so of some."""


class Listed(PlannedFile):
    """The tables of what was listed, in the file of a verification."""

    def __init__(self, path: Path | None, **how: Any) -> None:
        super().__init__(path, added=ADDED, **how)
        self._db.create_function("plus", 2, _plus, deterministic=True)

    # -- listing ------------------------------------------------------------------------------------------------

    def relisted(self) -> Iterator[tuple[str, int]]:
        """The hours that are listed as a whole, whose sums are then those of the listing."""
        last: tuple[Any, ...] = ("", -(2**62))
        while rows := self._rows(
            "SELECT namespace, hour FROM relisted WHERE (namespace, hour) > (?, ?) ORDER BY 1, 2 LIMIT 1000", *last
        ):
            yield from rows
            last = rows[-1]

    def _is_relisted(self, namespace: str, hour: int) -> bool:
        query = "SELECT 1 FROM relisted WHERE namespace = ? AND hour = ?"
        return self._db.execute(query, (namespace, hour)).fetchone() is not None

    def _relist(self) -> None:
        """Forget what was listed of the chosen hours; they are to be listed again as a whole.

        An id that is in one of them and in another hour takes that hour along.
        """
        self._db.execute("DELETE FROM relisted")
        self._db.execute("INSERT OR IGNORE INTO relisted SELECT namespace, hour FROM chosen")
        ids = "SELECT id FROM listed NATURAL JOIN relisted"
        while (
            self._db.execute(
                f"INSERT OR IGNORE INTO relisted SELECT namespace, hour FROM listed WHERE id IN ({ids})"  # noqa: S608  our own
            ).rowcount
            > 0
        ):
            pass
        self._db.execute(
            "INSERT OR REPLACE INTO vanished SELECT id, replace(verdict, 'vanished ', '') FROM listed NATURAL JOIN "
            "relisted WHERE verdict LIKE 'vanished %'"
        )
        self._db.execute(f"DELETE FROM findings WHERE id IN ({ids})")  # noqa: S608  as above
        for verdict in ("restated", "copies"):
            query = f"SELECT count(DISTINCT id) FROM listed WHERE verdict = ? AND id IN ({ids})"  # noqa: S608  as above
            (again,) = self._db.execute(query, (verdict,)).fetchone()
            self._set(verdict, int(self._get(verdict, 0)) - again)
        self._db.execute("DELETE FROM listed WHERE (namespace, hour) IN (SELECT namespace, hour FROM relisted)")

    def _list(self, side: str, seen: Iterable[Seen], sums: Mapping[Bucket, tuple[int, int]], *, relisted: bool) -> None:
        """Note what was listed; of hours that are listed as a whole only those, and their sums."""
        if relisted:
            hours = {(namespace, hour) for namespace, hour, _ in sums}
            known = {hour for hour in hours if self._is_relisted(*hour)}
            seen = [each for each in seen if (each.namespace, each.hour) in known]
            self._add_sums(
                side,
                {
                    (namespace, hour, _AS_LISTED[part]): sum
                    for (namespace, hour, part), sum in sums.items()
                    if (namespace, hour) in known
                },
            )
        self._db.executemany(
            """INSERT INTO listed VALUES (?, ?, ?, ?, 1, ?, NULL) ON CONFLICT DO UPDATE SET
            documents = documents + 1, digest = plus(digest, excluded.digest)""",
            [(each.id, side, each.namespace, each.hour, each.digest) for each in seen],
        )

    def _add_sums(self, side: str, sums: Mapping[Bucket, tuple[int, int]]) -> None:
        self._db.executemany(
            """INSERT INTO sums VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
            documents = documents + excluded.documents, s0 = s0 + excluded.s0, s1 = s1 + excluded.s1,
            s2 = s2 + excluded.s2, s3 = s3 + excluded.s3""",
            [(*bucket, side, documents, *limbs(sum % MODULUS)) for bucket, (documents, sum) in sums.items()],
        )

    def take_listing(self) -> None:
        """The listing is complete: what agrees is dropped, and hours that were listed as a whole get its sums."""
        with self._transaction():
            self._db.execute(
                """DELETE FROM listed WHERE (id, namespace, hour) IN (
                SELECT a.id, a.namespace, a.hour FROM listed a JOIN listed b USING (id, namespace, hour)
                WHERE a.side = 'a' AND b.side = 'b' AND a.documents = b.documents AND a.digest = b.digest
                AND a.verdict IS NULL AND b.verdict IS NULL)"""
            )
            self._take_sums()
            self._set("stage", "confirm")

    def _take_sums(self) -> None:
        """Give the hours that were summed as a whole these sums."""
        hours = "(namespace, hour) IN (SELECT * FROM relisted)"
        count = f"SELECT side, sum(documents) FROM sums WHERE part IN (?, ?) AND {hours} GROUP BY side"  # noqa: S608  ours
        before = dict(self._db.execute(count, (*_AS_LISTED,)))
        after = dict(self._db.execute(count, (*_AS_LISTED.values(),)))
        for side in ("a", "b"):
            if (read := self.read(side)) is not None:
                self._set(f"read {side}", read + after.get(side, 0) - before.get(side, 0))
        for part, listed in _AS_LISTED.items():
            self._db.execute(f"DELETE FROM sums WHERE part = ? AND {hours}", (part,))  # noqa: S608  as above
            self._db.execute("UPDATE sums SET part = ? WHERE part = ?", (part, listed))

    def _drop_relisted_sums(self) -> None:
        self._db.execute("DELETE FROM sums WHERE part IN (?, ?)", (*_AS_LISTED.values(),))

    def read(self, side: str) -> int | None:
        """How many documents were read of a side, with those that don't count; None where an earlier release began."""
        found = self._get(f"read {side}")
        return None if found is None else int(found)

    # -- verdicts -----------------------------------------------------------------------------------------------

    def suspects(self, count: int, after: str = "") -> list[Suspect]:
        """The next ids that were read differently on the two sides and weren't looked at again yet."""
        rows = self._rows(
            """SELECT id, min(side), namespace, hour, count(DISTINCT side),
            coalesce((SELECT side FROM vanished WHERE vanished.id = listed.id), '')
            FROM listed WHERE verdict IS NULL AND id > ? GROUP BY id ORDER BY id LIMIT ?""",
            after,
            count,
        )
        return [
            Suspect(id=id, namespace=namespace, hour=hour, seen_in=side if sides == 1 else "ab", vanished=vanished)
            for id, side, namespace, hour, sides, vanished in rows
        ]

    def judge(
        self,
        verdicts: Mapping[str, str],
        findings: Sequence[Finding],
        refused: Sequence[Refused],
    ) -> None:
        """Suspects were looked at again; what came of it, by id (`engine.confirm`)."""
        with self._transaction():
            self._db.executemany(
                "UPDATE listed SET verdict = ? WHERE id = ? AND verdict IS NULL",
                [(verdict, id) for id, verdict in verdicts.items()],
            )
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
            for verdict in ("restated", "copies"):
                if count := sum(each == verdict for each in verdicts.values()):
                    self._set(verdict, int(self._get(verdict, 0)) + count)

    def _refuse(self, refused: Iterable[Refused]) -> None:
        self._db.executemany(
            "INSERT OR REPLACE INTO refused VALUES (?, ?, ?, ?)",
            [(each.side, each.id, each.namespace, each.reason) for each in refused],
        )

    def came_meanwhile(self, ids: Sequence[str], side: str) -> None:
        """These were stored on a side since the beginning: where one is among the findings, that is what it is."""
        with self._transaction():
            self._db.executemany(
                "UPDATE findings SET kind = 'meanwhile', note = ? WHERE id = ? AND kind <> 'meanwhile'",
                [(f"was stored in {side.upper()}", id) for id in ids],
            )
            self._db.executemany(
                "UPDATE listed SET verdict = 'arrived' WHERE id = ? AND verdict = 'same'", [(id,) for id in ids]
            )

    def is_open(self) -> bool:
        """Whether something was found, or can't be explained, that may have come meanwhile."""
        return bool(
            self._rows("SELECT 1 FROM findings WHERE kind <> 'meanwhile' LIMIT 1")
            or self._rows("SELECT 1 FROM listed WHERE verdict = 'same' LIMIT 1")
        )

    # -- settling -----------------------------------------------------------------------------------------------

    def settle(self, weigh: Weigh) -> None:
        """Work out what the verdicts account for in the sums of each hour."""
        with self._transaction():
            self._db.execute("DELETE FROM sums WHERE part IN (?, ?)", (_OUT, _FOUND))
            for rows in self._judge():
                accounts: dict[tuple[str, Bucket], tuple[int, int]] = {}
                for side, namespace, hour, documents, digest, part, sign in _accounts(rows, weigh):
                    at = side, (namespace, hour, part)
                    count, sum = accounts.get(at, (0, 0))
                    accounts[at] = count + sign * documents, sum + sign * digest
                for (side, bucket), sums in accounts.items():
                    self._add_sums(side, {bucket: sums})

    def _judge(self) -> Iterator[list[tuple[Any, ...]]]:
        """What was listed of suspects, with their verdicts: all of some ids at once."""
        last = ""
        while True:
            rows = self._rows(
                """SELECT listed.id, side, listed.namespace, listed.hour, documents, digest, verdict, kind FROM listed
                LEFT JOIN findings USING (id) WHERE listed.id IN
                (SELECT DISTINCT id FROM listed WHERE id > ? ORDER BY id LIMIT 500)
                ORDER BY listed.id, side, listed.namespace, listed.hour""",
                last,
            )
            if not rows:
                return
            yield rows
            last = rows[-1][0]

    def settled(self) -> Iterator[Settled]:
        """The hours as they are reported, ordered by namespace and hour."""
        after: tuple[Any, ...] = ("", -(2**62))
        while True:
            rows = self._rows(
                f"""SELECT namespace, hour, group_concat(
                part || side || ' ' || documents || ' ' || s0 || ' ' || s1 || ' ' || s2 || ' ' || s3, ' ')
                FROM sums WHERE (namespace, hour) > (?, ?) AND part IN ({WHOLE}, {_OUT}, {_FOUND})
                GROUP BY namespace, hour ORDER BY namespace, hour LIMIT 1000""",  # noqa: S608  our own numbers
                *after,
            )
            if not rows:
                return
            for namespace, hour, text in rows:
                yield _settle(namespace, hour, by_side(text))
            after = rows[-1][:2]

    def relist_differing(self) -> None:
        """Have the hours listed as a whole in which the sides differ."""
        self._relist_where(lambda hour: hour.differs, "")

    def relist_unexplained(self) -> bool:
        """Have the hours listed once more of which something can't be explained; False where there are none."""
        return self._relist_where(
            lambda hour: not hour.explained, "WHERE verdict IN ('same', 'gone') OR verdict LIKE 'vanished %'"
        )

    def _relist_where(self, chosen: Callable[[Settled], bool], verdicts: str) -> bool:
        with self._transaction():
            self._db.execute("CREATE TEMP TABLE IF NOT EXISTS chosen (namespace TEXT, hour INTEGER)")
            self._db.execute("DELETE FROM chosen")
            self._db.executemany(
                "INSERT INTO chosen VALUES (?, ?)",
                ((each.namespace, each.hour) for each in self.settled() if chosen(each)),
            )
            if verdicts:
                self._db.execute(f"INSERT INTO chosen SELECT namespace, hour FROM listed {verdicts}")  # noqa: S608  ours
            if not self._db.execute("SELECT 1 FROM chosen").fetchone():
                return False
            self._relist()
        return True


def _accounts(rows: Iterable[tuple[Any, ...]], weigh: Weigh) -> Iterator[tuple[Any, ...]]:
    """What the listed rows of some ids account for: side, namespace, hour, documents, digest, part, sign."""
    by_id: dict[str, list[tuple[Any, ...]]] = {}
    for row in rows:
        by_id.setdefault(row[0], []).append(row)
    for id, of_id in by_id.items():
        weighed = weigh(id)
        entries = [
            (side, namespace, hour, documents, int.from_bytes(digest) if weighed else 0)
            for _, side, namespace, hour, documents, digest, _, _ in of_id
        ]
        verdict, kind = of_id[0][-2:]
        if verdict == "found" and kind != "meanwhile":
            yield from ((*entry, _FOUND, 1) for entry in entries)
        elif verdict in ("found", "refused"):
            yield from ((*entry, _OUT, 1) for entry in entries)
        elif verdict in ("restated", "arrived", "copies"):
            # The sides agree: what one was read as counts for both.
            like = entries[-1 if verdict == "copies" else 0][0]
            for side, *rest in entries:
                if side == like:
                    yield ("b" if like == "a" else "a", *rest, _OUT, -1)
                else:
                    yield (side, *rest, _OUT, 1)


def _settle(namespace: str, hour: int, sides: Mapping[str, tuple[int, int]]) -> Settled:
    def of(side: str) -> tuple[tuple[int, int], tuple[int, int]]:
        documents, sum = sides.get(f"{WHOLE}{side}", _NOTHING)
        out_documents, out_sum = sides.get(f"{_OUT}{side}", _NOTHING)
        found_documents, found_sum = sides.get(f"{_FOUND}{side}", _NOTHING)
        documents, sum = documents - out_documents, sum - out_sum
        return (documents, sum % MODULUS), (documents - found_documents, (sum - found_sum) % MODULUS)

    (a, a_left), (b, b_left) = of("a"), of("b")
    return Settled(namespace=namespace, hour=hour, a=a, b=b, explained=a_left == b_left)


def _plus(one: bytes, other: bytes) -> bytes:
    return ((int.from_bytes(one) + int.from_bytes(other)) % MODULUS).to_bytes(16)


def limbs(sum: int) -> tuple[int, int, int, int]:
    return sum & 0xFFFFFFFF, sum >> 32 & 0xFFFFFFFF, sum >> 64 & 0xFFFFFFFF, sum >> 96


def by_side(text: str) -> dict[str, tuple[int, int]]:
    """Counts and sums by what stands before them: a side, or a part and a side."""
    words = text.split(" ")
    found: dict[str, tuple[int, int]] = {}
    for at in range(0, len(words), 6):
        side, documents, s0, s1, s2, s3 = words[at : at + 6]
        sum = int(s0) + (int(s1) << 32) + (int(s2) << 64) + (int(s3) << 96)
        found[side] = int(documents), sum % MODULUS
    return found
