"""Parts: their union is the whole, no id is in two, and what an id belongs to never changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.activations.part import Part, parse_part
from migrator.activations.selection import Selection
from migrator.adapters.couchdb.part_ranges import ranges_of_part
from migrator.adapters.couchdb.ranges import Look, Range, cut, spans
from migrator.errors import UsageError

TEXT = st.characters(codec="utf-8")
NAMESPACES = ["", "a", "a-b", "a.b", "guest", "Guest", "guest2", "whisk.system", "ü", "\U0001f600", "_design"]
RESTS = st.one_of(
    st.uuids().map(lambda each: each.hex),
    st.uuids().map(lambda each: str(each).upper()),
    st.text(TEXT, max_size=4),
)
IDS = st.one_of(
    st.builds("{}/{}".format, st.sampled_from(NAMESPACES), RESTS),
    st.text(TEXT, min_size=1, max_size=6),
)
SELECTIONS = [Selection(), Selection(namespaces=("guest",)), Selection(namespaces=("a*", "ü")), Selection(names=("x",))]


class Database:
    """Ids in the order of their code points, looked at as CouchDB shows them."""

    def __init__(self, ids: set[str], *, ranked: bool) -> None:
        self.ids = sorted(ids)
        self.ranked = ranked

    def look(self, low: str, high: str | None, count: int) -> Look:
        found = [id for id in self.ids if id >= low and (high is None or id < high)]
        rank = sum(id < low for id in self.ids) if self.ranked else 0
        return Look(rank, len(self.ids), found[:count])


def held(ranges: list[Range], ids: set[str]) -> list[str]:
    return [id for piece in ranges for id in ids if id >= piece.low and (piece.high is None or id < piece.high)]


@given(st.sets(IDS, max_size=40), st.integers(1, 64), st.booleans(), st.sampled_from(SELECTIONS))
def test_the_ranges_of_all_parts_hold_every_id_once(ids: set[str], of: int, ranked: bool, selection: Selection) -> None:
    """Also ids without a slash, in other alphabets, and on a server that knows no ranks."""
    database = Database(ids, ranked=ranked)
    looked_at = spans(selection)
    whole = set(held(looked_at, ids))
    read: list[str] = []
    for number in range(1, of + 1):
        part = Part(number=number, of=of)
        ranges = ranges_of_part(looked_at, part, database.look, ranked=ranked)
        pieces = cut(ranges, database.look, slice_documents=3)
        given_ids = held(pieces, ids)
        assert len(given_ids) == len(set(given_ids)), "a document twice in one part"
        read += [id for id in given_ids if part.takes_id(id)]
    assert sorted(read) == sorted(whole)


@given(st.sets(IDS, max_size=30), st.sets(IDS, max_size=10), st.integers(1, 64), st.integers(0, 63))
def test_parts_that_are_planned_before_and_after_a_change_share_no_id(
    before: set[str], more: set[str], of: int, turn: int
) -> None:
    """New namespaces and new ids change no other id's part: what was there before is read once, by one part."""
    early, late = Database(before, ranked=True), Database(before | more, ranked=True)
    read: list[str] = []
    for number in range(1, of + 1):
        part = Part(number=number, of=of)
        seen = early if number <= turn else late
        ranges = ranges_of_part(spans(Selection()), part, seen.look, ranked=True)
        read += [id for id in held(ranges, set(seen.ids)) if part.takes_id(id)]
    assert len(read) == len(set(read))
    assert before <= set(read)


@given(st.sets(st.uuids().map(lambda each: each.hex), min_size=4, max_size=30), st.sampled_from(["guest", "b"]))
def test_what_a_look_hides_between_namespaces_is_read_all_the_same(ids: set[str], hidden: str) -> None:
    """A look that leaves out a namespace doesn't agree with the ranks, so what it skipped is read."""
    every = {f"{name}/{id}" for name in ("a", hidden, "zz") for id in ids}
    database = Database(every, ranked=True)

    def forgetful(low: str, high: str | None, count: int) -> Look:
        seen = database.look(low, high, count + len(ids))
        return Look(seen.rank, seen.total, [id for id in seen.ids if not id.startswith(f"{hidden}/")][:count])

    read: list[str] = []
    for number in range(1, 5):
        part = Part(number=number, of=4)
        ranges = ranges_of_part(spans(Selection()), part, forgetful, ranked=True)
        read += [id for id in held(ranges, every) if part.takes_id(id)]
    assert sorted(read) == sorted(every)


@pytest.mark.parametrize("of", range(1, 65))
def test_every_shard_is_in_one_part_and_they_are_spread(of: int) -> None:
    """The shards of an index are dealt out in turn, so no part has two while another has none."""
    parts = [Part(number=number, of=of) for number in range(1, of + 1)]
    for name in ("openwhisk-guest", "openwhisk-ü", "a"):
        owners = [[part.number for part in parts if part.takes_piece(name, shard)] for shard in range(10)]
        assert all(len(owner) == 1 for owner in owners)
        shares = [sum(owner == [part.number] for owner in owners) for part in parts]
        assert max(shares) - min(shares) <= 1


def test_what_belongs_to_a_part_never_changes() -> None:
    """Other machines, later releases and resumed jobs rely on these."""
    part = Part(number=2, of=3)
    assert (part.low, part.high) == ("55555555", "aaaaaaaa")
    assert part.takes_id("guest/55555555")
    assert not part.takes_id("guest/aaaaaaaa")
    assert [shard for shard in range(6) if part.takes_piece("openwhisk-guest", shard)] == [1, 4]


@pytest.mark.parametrize("text", ["", "0/4", "5/4", "1/0", "1", "1/2/3", "-1/4", "1/5000", "a/b", "1 / 4"])
def test_a_part_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="give the number of the part"):
        parse_part(text)
