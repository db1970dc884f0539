"""What a verification remembers, however much it is: read again in pages, in order, nothing twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from migrator.activations.selection import Selection
from migrator.adapters.base import Description, Plan, Slice
from migrator.engine.verification.evidence import SIDES, Added, Evidence
from migrator.engine.verification.hours import MODULUS, WHOLE
from migrator.engine.verification.listed import Seen, by_side, limbs
from migrator.engine.verification.values import Finding, Refused

STORES = tuple(Description(location=f"memory:{side}", product="memory", version="1", identity=side) for side in SIDES)


@pytest.fixture
def evidence() -> Iterator[Evidence]:
    found = Evidence(None)
    found.begin((STORES[0], STORES[1]), Selection(), began_s=1.0)
    yield found
    found.close()


def plans(a: int, b: int) -> dict[str, Plan]:
    return {
        side: Plan(slices=tuple(Slice(key=f"{side}{at}", spec={}) for at in range(count)), snapshot=f"{side}!")
        for side, count in (("a", a), ("b", b))
    }


def begin(evidence: Evidence, stage: str = "compare", a: int = 1, b: int = 1) -> dict[str, int]:
    """Begin a stage; the number of the first slice of each side."""
    evidence.begin_stage(stage, plans(a, b), {"a": "a!", "b": "b!"})
    return {each.side: each.number for each in reversed(evidence.open_slices())}


def added(slice: int, side: str, **changes: Any) -> Added:
    return Added(**{"slice": slice, "side": side, "position": None, "done": True, **changes})


def finding(id: str, kind: str = "missing", **changes: Any) -> Finding:
    told = {"namespace": "guest", "hour": 1, "fields": (), "note": "", **changes}
    return Finding(id=id, kind=kind, **told)


@pytest.mark.parametrize(
    ("a", "b", "order"),
    [
        (0, 0, []),
        (3, 0, ["a0", "a1", "a2"]),
        (2, 2, ["a0", "b0", "a1", "b1"]),
        (2, 4, ["a0", "b0", "b1", "a1", "b2", "b3"]),
        (1, 3, ["a0", "b0", "b1", "b2"]),
    ],
)
def test_slices_of_both_sides_are_read_in_turn(evidence: Evidence, a: int, b: int, order: list[str]) -> None:
    """By the share of its side that is done, so that both end at about the same time."""
    begin(evidence, a=a, b=b)
    assert [each.slice.key for each in evidence.open_slices()] == order


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 2001])
def test_every_bucket_is_read_once(evidence: Evidence, count: int) -> None:
    """In order, with both sides beside each other; hours before 1970 too."""
    slices = begin(evidence)
    keys = [("guest" if at % 2 else "other", at // 2 - 5, WHOLE) for at in range(count)]
    sums = {key: (at + 1, MODULUS - 1 - at) for at, key in enumerate(keys)}
    evidence.commit(added(slices["a"], "a", sums=sums))
    evidence.commit(added(slices["b"], "b", sums=dict(list(sums.items())[::2])))
    expected = [(*key, sums[key], sums[key] if keys.index(key) % 2 == 0 else (0, 0)) for key in sorted(sums)]
    assert [(each.namespace, each.hour, each.part, each.a, each.b) for each in evidence.buckets()] == expected
    assert [(each.namespace, each.hour, each.a, each.b) for each in evidence.settled()] == [
        (namespace, hour, a, b) for namespace, hour, _, a, b in expected
    ]
    assert list(evidence.buckets(whole=False)) == []


def test_sums_of_a_bucket_add_up(evidence: Evidence) -> None:
    """Modulo 2^128, over any number of commits; parts stand beside the whole."""
    slices = begin(evidence)
    values = [MODULUS - 1, 1 << 127, 0xFFFFFFFF, 1 << 96, (1 << 64) - 1]
    for value in values:
        evidence.commit(added(slices["a"], "a", sums={("guest", 1, WHOLE): (1, value), ("guest", 1, 7): (2, value)}))
    (whole,) = evidence.buckets()
    (part,) = evidence.buckets(whole=False)
    assert (whole.a, whole.b, whole.part) == ((5, sum(values) % MODULUS), (0, 0), WHOLE)
    assert (part.a, part.part) == ((10, sum(values) % MODULUS), 7)
    assert whole.differs


@pytest.mark.parametrize("value", [0, 1, 2**32 - 1, 2**32, 2**64 + 5, 2**96 - 1, 2**128 - 1])
def test_a_sum_is_kept_in_four_numbers(value: int) -> None:
    parts = limbs(value)
    assert max(parts) < 2**32
    text = " ".join(["a", "3", *map(str, parts), "b", "0", *map(str, limbs(1))])
    assert by_side(text) == {"a": (3, value), "b": (0, 1)}


@pytest.mark.parametrize("count", [0, 1, 499, 500, 501, 1001])
def test_every_finding_and_every_refusal_is_read_once(evidence: Evidence, count: int) -> None:
    """In the order of ids, of the kinds and the side that are requested."""
    ids = [f"guest/{number:05}" for number in range(count)]
    evidence.judge(
        {},
        [*(finding(id) for id in reversed(ids)), finding("x", "extra", fields=("end",), note="why")],
        [*(Refused(side="a", id=id, namespace="guest", reason="odd") for id in ids)],
    )
    evidence.judge({}, [], [Refused(side="b", id="y", namespace="other", reason="cut off")])
    assert [each.id for each in evidence.findings("missing")] == ids
    assert [each.id for each in evidence.findings("missing", "extra", "different")] == [*ids, "x"]
    assert list(evidence.findings("extra")) == [finding("x", "extra", fields=("end",), note="why")]
    assert [each.id for each in evidence.refused("a")] == ids
    assert list(evidence.refused("b")) == [Refused(side="b", id="y", namespace="other", reason="cut off")]
    counts = {("guest", "missing"): count, ("guest", "extra"): 1}
    assert evidence.finding_counts() == {key: number for key, number in counts.items() if number}
    refused = {("a", "guest"): count, ("b", "other"): 1}
    assert evidence.refused_counts() == {key: number for key, number in refused.items() if number}


def test_hours_with_findings_are_told_the_worst_first(evidence: Evidence) -> None:
    """Those in which something is only too much come last; what came meanwhile is none."""
    evidence.judge(
        {},
        [
            finding("1", "extra", hour=1),
            finding("2", "missing", hour=3),
            finding("3", "different", hour=2),
            finding("4", "missing", hour=2),
            finding("5", "extra", hour=2),
            finding("6", "meanwhile", hour=0),
            finding("7", "extra", hour=0, namespace="a"),
        ],
        [],
    )
    hours = [
        ("guest", 2, {"missing": 1, "extra": 1, "different": 1}),
        ("guest", 3, {"missing": 1, "extra": 0, "different": 0}),
        ("a", 0, {"missing": 0, "extra": 1, "different": 0}),
        ("guest", 1, {"missing": 0, "extra": 1, "different": 0}),
    ]
    for most in range(6):
        assert evidence.finding_hours(most) == hours[:most]


def test_what_is_read_while_comparing_is_counted(evidence: Evidence) -> None:
    """By side, with what doesn't count; compared by content is what A gave."""
    slices = begin(evidence, a=2, b=2)
    evidence.commit(added(slices["a"], "a", position=5, done=False, read=3, compared=2, remarks={"odd": 1}))
    evidence.commit(added(slices["a"], "a", position=9, done=False, read=4, compared=1, remarks={"odd": 2, "x": 1}))
    evidence.commit(added(slices["b"], "b", read=5, compared=5, remarks={"odd": 4}))
    assert (evidence.read("a"), evidence.read("b"), evidence.compared) == (7, 5, 3)
    assert (evidence.remarks("a"), evidence.remarks("b")) == ({"odd": 3, "x": 1}, {"odd": 4})
    assert [(each.slice.key, each.position) for each in evidence.open_slices()] == [
        ("a0", 9),
        ("b1", None),
        ("a1", None),
    ]
    slices = begin(evidence, "list")
    evidence.commit(added(slices["a"], "a", read=100))
    assert (evidence.read("a"), evidence.snapshot("a"), evidence.snapshot("b")) == (7, "a!", "b!")


def test_a_second_reading_counts_from_zero(evidence: Evidence) -> None:
    slices = begin(evidence)
    sums = {("guest", 1, WHOLE): (1, 5)}
    refused = [Refused(side="a", id="y", namespace="other", reason="cut off")]
    evidence.commit(added(slices["a"], "a", read=3, compared=2, sums=sums, refused=refused, remarks={"odd": 1}))
    assert (evidence.readings, evidence.began_s) == (0, 1.0)
    evidence.compare_again(plans(1, 1))
    assert (evidence.readings, evidence.stage, evidence.compared) == (1, "compare", 0)
    assert (evidence.read("a"), evidence.read("b")) == (0, 0)
    assert (list(evidence.buckets()), list(evidence.refused("a")), evidence.remarks("a")) == ([], [], {})
    assert evidence.snapshot("a") == "a!"
    assert len(evidence.open_slices()) == 2
    evidence.compare_again(plans(0, 0))
    assert evidence.readings == 2


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 2001])
def test_every_hour_that_differs_is_listed_once_more(evidence: Evidence, count: int) -> None:
    slices = begin(evidence)
    sums = {("guest" if at % 2 else "other", at // 2, WHOLE): (1, at) for at in range(count)}
    same = {("same", at, WHOLE): (1, at) for at in range(3)}
    evidence.commit(added(slices["a"], "a", sums={**sums, **same}))
    evidence.commit(added(slices["b"], "b", sums=same))
    evidence.relist_differing()
    assert list(evidence.relisted()) == sorted((namespace, hour) for namespace, hour, _ in sums)


def test_hours_that_are_listed_as_a_whole_take_the_place_of_what_was_read_of_them(evidence: Evidence) -> None:
    """In the number that is held against the server's count too; a side without a document in them stays as it was."""
    slices = begin(evidence)
    differing, same = ("guest", 1, WHOLE), ("guest", 2, WHOLE)
    evidence.commit(added(slices["a"], "a", read=5, sums={differing: (2, 7), same: (3, 9)}))
    evidence.commit(added(slices["b"], "b", read=3, sums={same: (3, 9)}))
    evidence.relist_differing()
    slices = begin(evidence, "relist")
    seen = [Seen(id="left", namespace="guest", hour=1, digest=(4).to_bytes(16))]
    evidence.commit(added(slices["a"], "a", seen=seen, sums={differing: (1, 4)}, lists=True))
    evidence.commit(added(slices["b"], "b", lists=True))
    evidence.take_listing()
    assert (evidence.read("a"), evidence.read("b")) == (4, 3)
    assert [each.id for each in evidence.suspects(10)] == ["left"]


def test_suspects_are_what_was_listed_differently(evidence: Evidence) -> None:
    """An id on one side, or on both and not alike; also one that stands twice on one side."""
    slices = begin(evidence, "list")

    def seen(id: str, digest: int, hour: int = 1) -> Seen:
        return Seen(id=id, namespace="guest", hour=hour, digest=digest.to_bytes(16))

    a = [seen("alike", 1), seen("other", 1), seen("only a", 1), seen("twice", 1), seen("twice", 1), seen("moved", 1)]
    b = [seen("alike", 1), seen("other", 2), seen("only b", 1), seen("twice", 2), seen("moved", 1, 2)]
    evidence.commit(added(slices["a"], "a", seen=a, lists=True))
    evidence.commit(added(slices["b"], "b", seen=b, lists=True))
    evidence.take_listing()
    assert evidence.stage == "confirm"
    found = [(each.id, each.seen_in) for each in evidence.suspects(10)]
    assert found == [("moved", "ab"), ("only a", "a"), ("only b", "b"), ("other", "ab"), ("twice", "ab")]
    for count in range(1, 6):
        in_pages: list[tuple[str, str]] = []
        while some := evidence.suspects(count, in_pages[-1][0] if in_pages else ""):
            assert len(some) <= count
            in_pages += [(each.id, each.seen_in) for each in some]
        assert in_pages == found
    evidence.judge({"only a": "found", "twice": "restated", "moved": "copies"}, [finding("only a")], [])
    assert [each.id for each in evidence.suspects(10)] == ["only b", "other"]
    assert (evidence.restated, evidence.copies) == (1, 1)
    assert evidence.is_open()
    evidence.came_meanwhile(["only a", "other"], "b")
    (meanwhile,) = evidence.findings("meanwhile")
    assert (meanwhile.id, meanwhile.note) == ("only a", "was stored in B")
    assert not evidence.is_open()


def test_a_new_one_knows_of_nothing() -> None:
    with closing(Evidence(None)) as evidence:
        assert (evidence.stage, evidence.run, evidence.stores, evidence.selection) == ("new", 0, None, Selection())
        assert (evidence.readings, evidence.relistings, evidence.copies, evidence.restated) == (0, 0, 0, 0)
        assert (evidence.compared, evidence.began_s, evidence.warnings, evidence.incomplete) == (0, 0.0, (), False)
        for side in SIDES:
            assert (evidence.snapshot(side), evidence.read(side), evidence.remarks(side)) == (None, None, {})
            assert list(evidence.refused(side)) == []
        assert (list(evidence.buckets()), list(evidence.settled()), list(evidence.relisted())) == ([], [], [])
        assert (evidence.finding_counts(), evidence.refused_counts(), evidence.open_slices()) == ({}, {}, [])
        assert (evidence.begin_run(), evidence.begin_run()) == (1, 2)


def test_a_beginning_drops_what_was_found_before(evidence: Evidence) -> None:
    numbers = begin(evidence)
    refused = [Refused(side="a", id="guest/1", namespace="guest", reason="cut")]
    seen = {("guest", 1, WHOLE): (2, 5)}
    evidence.commit(added(numbers["a"], "a", sums=seen, refused=refused, remarks={"odd": 1}, compared=2, read=3))
    evidence.judge({}, [finding("guest/2")], [])
    evidence.begin_stage("relist")
    evidence.warn(["careful"])
    assert (evidence.compared, evidence.relistings, evidence.remarks("a")) == (2, 1, {"odd": 1})
    assert (evidence.refused_counts(), evidence.finding_counts()) == ({("a", "guest"): 1}, {("guest", "missing"): 1})
    evidence.begin((STORES[1], STORES[0]), Selection(until_ms=5), began_s=2.0)
    assert (evidence.stores, evidence.selection, evidence.began_s) == (
        (STORES[1], STORES[0]),
        Selection(until_ms=5),
        2.0,
    )
    assert (evidence.compared, evidence.relistings, evidence.remarks("a"), evidence.warnings) == (0, 0, {}, ())
    assert (evidence.refused_counts(), evidence.finding_counts(), list(evidence.buckets())) == ({}, {}, [])
    assert [evidence.read(side) for side in SIDES] == [0, 0]
    assert evidence.open_slices() == []
