"""When a store counts as another one, and when a count as short: not after one look only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.activations.accounts import Counts
from migrator.activations.document import Document, Form
from migrator.activations.selection import Selection
from migrator.adapters.base import Abilities, Batch, Description, Plan, Slice, Token, WriteOutcome
from migrator.engine import census
from migrator.engine.accounting import account
from migrator.engine.identity import confirm_change, find_change, still_there
from migrator.engine.state.checkpoint import Checkpoint, Commit
from migrator.engine.state.notes import Origin, Shortfall, sum_origins
from migrator.errors import AccessDenied
from migrator.events import Resumed
from migrator.events.watching import Progress
from migrator.rendering.events import sentence
from tests.support.worlds import SPEC


def store(identity: Token = "a", progress: int | None = None) -> Description:
    return Description(location="memory:b", product="memory", version="1", identity=identity, progress=progress)


@pytest.mark.parametrize(
    ("before", "now", "how"),
    [
        ("a", "a", None),
        ("a", "b", "it was recreated"),
        (None, None, None),
        ({"x": 1}, {"x": 1, "y": 2}, None),
        ({"x": 1, "y": 2}, {"x": 1}, "y is gone"),
        ({"x": 1, "y": 2}, {"x": 1, "y": 3}, "y was recreated"),
        ({"of": {"x": 1, "y": 2}}, {"of": {"x": 1, "y": 2}}, None),
        ({"of": {"x": 1, "y": 2}}, {"of": {"y": 2}}, "x is gone"),
        ({"of": {"x": 1, "y": 2}}, {"of": {"x": 1, "y": 3}}, "y was recreated"),
        ({"of": {"x": 1}}, {"of": "x"}, "of was recreated"),
        ({"x": 1}, "x", "it was recreated"),
        ({}, {"x": 1}, None),
    ],
)
def test_a_store_is_another_where_something_it_named_is_gone(before: Token, now: Token, how: str | None) -> None:
    """What came in addition doesn't matter."""
    assert find_change(store(before), store(now)) == how
    assert still_there(before, now) is (how is None)


@pytest.mark.parametrize(
    ("before", "now", "least", "how"),
    [
        (1000, 1000, None, None),
        (1000, 1001, None, None),
        (1000, 999, None, "it counts 999 changes, but at least 1,000 were made"),
        (None, 0, None, None),
        (1000, None, None, None),
        (1000, 1500, 1500, None),
        (1000, 1499, 1500, "it counts 1,499 changes, but at least 1,500 were made"),
        (None, 0, 1, "it counts 0 changes, but at least 1 was made"),
        (5, 0, 0, None),
    ],
)
def test_a_store_is_another_where_it_went_back(
    before: int | None, now: int | None, least: int | None, how: str | None
) -> None:
    """Behind where it was, or where it must have come."""
    assert find_change(store(progress=before), store(progress=now), least=least) == how


@pytest.mark.parametrize("right", range(7))
def test_five_looks_in_a_row_are_believed(right: int) -> None:
    """Each after a pause twice as long; one look that finds the store as it was is enough."""
    looks = 0
    pauses: list[float] = []

    def look() -> Description:
        nonlocal looks
        looks += 1
        return store("a" if looks >= right else "b")

    how = confirm_change(store("a"), store("a" if right == 0 else "b"), look, sleep=pauses.append)
    assert (how is None, looks) == (True, right) if right <= 4 else (False, 4)
    assert pauses == [0.2, 0.4, 0.8, 1.6][:looks]


# -- what the stores count ----------------------------------------------------------------------------------------


class Reader:
    """Counts what a test says, look by look."""

    def __init__(self, counted: Sequence[int | Exception | None], *, unique: bool = True) -> None:
        self.abilities = Abilities(unique_ids=unique)
        self.counted = list(counted)

    def census(self, *_: object) -> int | None:
        found = self.counted.pop(0) if len(self.counted) > 1 else self.counted[0]
        if isinstance(found, Exception):
            raise found
        return found


class Writer(Reader):
    def census(self, *_: object) -> int | None:
        return super().census()


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(census, "_PAUSE_S", 0.0)


def checkpoint(counts: Counts, *, kind: type[Checkpoint] = Checkpoint, **noted: Any) -> Checkpoint:
    found = kind(None)
    run = found.begin_run(SPEC, store(), store())
    plan = Plan(slices=(Slice(key="all", spec={}),), snapshot=1)
    found.begin(plan, Selection(), None, None, run=run, planned_s=1.0, full=True)
    found.commit([Commit(slice=1, position=1, counts={"guest": counts}, **noted)], run=run, ended=[1])
    return found


@pytest.mark.parametrize(
    ("counted", "short"),
    [
        ([1000], 0),
        ([999], 0),
        ([1001], 1),
        ([2500], 1500),
        ([None], 0),
        ([AccessDenied("no")], 0),
        ([1005, 1000], 0),
        ([1005, 1004, 1000], 0),
        ([1005, 1003, 1004], 3),
        ([1005, 1003, 1004, 1000], 3),
        ([1003, 1004, 1005], 3),
    ],
)
def test_source_that_counts_more_at_three_looks_was_read_short(
    counted: Sequence[int | Exception | None], short: int
) -> None:
    """By the least of them."""
    reader: Any = Reader(counted)
    found = census.unread(reader, checkpoint(Counts(read=1000, written=1000)), "there")
    if not short:
        assert found is None
        return
    assert found is not None
    assert found[0] == Shortfall(unread=short)
    assert found[1] == (
        f"there counts {1000 + short:,} selected documents, but 1,000 were read: "
        f"{short:,} {'is' if short == 1 else 'are'} missing. Run the same command to read everything again"
    )


@pytest.mark.parametrize(
    ("noted", "unique", "counted", "least"),
    [
        ({}, True, [None], 0),
        ({"created": 7}, False, [100], 7),
        ({"created": 7, "there": {Origin("", ""): 9}}, False, [None], 7),
        ({"created": 7, "there": {Origin("", ""): 9}}, True, [None], 9),
        ({"created": 9, "there": {Origin("", ""): 7}}, True, [None], 9),
        ({"created": 7, "there": {Origin("", ""): 9}}, True, [100], 85),
        ({"created": 86, "there": {Origin("", ""): 9}}, True, [100], 86),
        ({"created": 7, "there": {Origin("", ""): 9}}, True, [AccessDenied("no")], 9),
    ],
)
def test_target_holds_at_least_what_was_stored_in_it(
    noted: dict[str, Any], unique: bool, counted: Sequence[int | Exception | None], least: int
) -> None:
    """What was created, what was there; or what the source counts, without what was filtered or rejected."""
    counts = Counts(read=100, written=85, filtered=10, rejected=5)
    for there in {least + 1, least, max(0, least - 1), 0}:
        reader: Any = Reader(counted, unique=unique)
        writer: Any = Writer([there])
        found = census.check_stored(reader, writer, checkpoint(counts, **noted), "there")
        short = max(0, least - there)
        if not short:
            assert found is None
            continue
        assert found is not None
        assert found[0] == Shortfall(unstored=short)
        assert found[1] == (
            f"there counts {there} document{'' if there == 1 else 's'}, but at least {least} were stored or found "
            "there: "
            f"{short} {'is' if short == 1 else 'are'} missing, unless somebody deleted documents there meanwhile. "
            "Run the same command to copy everything again"
        )
    for unknown in (None, AccessDenied("no")):
        reader, writer = Reader(counted, unique=unique), Writer([unknown])
        assert census.check_stored(reader, writer, checkpoint(counts, **noted), "there") is None


_IDS = st.sampled_from(["guest/1", "guest/2", "a/b/1", "a/b/2", "x"])
_READ = st.tuples(
    _IDS, st.sampled_from(["guest", "a", "a/b"]), st.sampled_from(["i", "j", "k"]), st.sampled_from([True, True, False])
)


@given(read=st.lists(_READ, unique_by=lambda each: (each[0], each[2])), batches=st.integers(1, 3))
def test_target_is_never_said_to_lack_what_has_the_id_of_another(
    read: list[tuple[str, str, str, bool]], batches: int
) -> None:
    """Ids in several indices may be the same, and the namespace of an id need not be that of its document.

    Where one index holds everything, each id counts. Some documents are rejected, and written when tried again.
    """
    there = sum_origins(_there(read[number::batches]) for number in range(batches))
    for retried in (False, True):
        ids = {id for id, *_, taken in read if taken or retried}
        written = sum(taken or retried for *_, taken in read)
        counts = Counts(read=len(read), written=written, rejected=len(read) - written)
        known = checkpoint(counts, there=there)
        reader: Any = Reader([len(read)])
        writer: Any = Writer([len(ids)])
        assert census.check_stored(reader, writer, known, "there") is None
        if ids and len({index for _, _, index, _ in read}) == 1:
            writer = Writer([len(ids) - 1])
            assert census.check_stored(reader, writer, known, "there") is not None


def _there(read: Sequence[tuple[str, str, str, bool]]) -> dict[Origin, int]:
    documents = [
        Document(id=id, form=Form.ELASTICSEARCH, body=b"{}", namespace=namespace, name="x", start_ms=0, index=index)
        for id, namespace, index, _ in read
    ]
    refused = [document.rejection("no") for document, each in zip(documents, read, strict=True) if not each[3]]
    taken = tuple(document for document, each in zip(documents, read, strict=True) if each[3])
    outcome = WriteOutcome(written=taken)
    return dict(account(Batch(documents=tuple(documents), position=1), 1, outcome, refused, bulk=True).there)


@pytest.mark.parametrize(
    ("other", "least"),
    [
        (Origin("other", "b"), 88),  # another namespace: the source's own count holds
        (Origin("guest", "b"), 9),  # an alias over two indices, as a rollover leaves it: at least the larger one
        (Origin("", "b"), 9),
    ],
)
def test_documents_of_several_indices_may_be_the_same(other: Origin, least: int) -> None:
    there = {Origin("guest", "a"): 9, other: 3}
    known = checkpoint(Counts(read=88, written=88), created=7, there=there)
    for counted in (least - 1, least):
        reader: Any = Reader([88])
        writer: Any = Writer([counted])
        found = census.check_stored(reader, writer, known, "there")
        assert (found is None) == (counted == least)


def test_job_of_a_release_that_kept_no_origins_is_held_against_what_it_created() -> None:
    class Earlier(Checkpoint):
        knows_origins = False

    known = checkpoint(Counts(read=100, written=100), created=7, there={Origin("", ""): 9}, kind=Earlier)
    reader: Any = Reader([100])
    writer: Any = Writer([7])
    assert census.check_stored(reader, writer, known, "there") is None


def test_origins_count_only_for_the_job_that_noted_them_all() -> None:
    """An earlier release that runs a job, or begins it again, adds nothing to them, and keeps a number instead."""
    known = checkpoint(Counts(read=9, written=9), there={Origin("", ""): 9})
    assert known.knows_origins
    for name, value in (("there", 3), ("began_s", -1.0)):
        before = known._get(name)
        with known._transaction():
            known._set(name, value)
        assert not known.knows_origins
        with known._transaction():
            known._set(name, before)
        assert known.knows_origins


def test_ids_that_repeat_in_one_index_are_no_shortfall() -> None:
    """Which the source is asked before an alarm; what was created in the target counts all the same."""

    class Repeating(Reader):
        def __init__(self, repeats: bool) -> None:
            super().__init__([23])
            self.repeats = repeats

        def repeats_ids(self, snapshot: Token) -> bool:
            return self.repeats

    known = checkpoint(Counts(read=23, written=23), created=15, there={Origin("guest", "a"): 23})
    for repeats, lacking in ((True, [0, 0, 1]), (False, [3, 8, 9])):
        found = []
        for documents in (20, 15, 14):
            reader: Any = Repeating(repeats)
            writer: Any = Writer([documents])
            shortfall = census.check_stored(reader, writer, known, "there")
            found.append(shortfall[0].unstored if shortfall else 0)
        assert found == lacking


def test_what_was_not_read_is_not_looked_for_in_the_target() -> None:
    known = checkpoint(Counts(read=90, written=90))
    known.note_shortfall(Shortfall(unread=10), "missing")
    reader: Any = Reader([100])
    writer: Any = Writer([90])
    assert census.check_stored(reader, writer, known, "there") is None
    writer = Writer([89])
    found = census.check_stored(reader, writer, known, "there")
    assert found is not None
    assert found[0].unstored == 1


def test_shortfalls_add_up() -> None:
    both = Shortfall(unread=1, unstored=2) + Shortfall(unread=3, unstored=4)
    assert both == Shortfall(unread=4, unstored=6)
    assert [bool(each) for each in (both, Shortfall(), Shortfall(unread=1), Shortfall(unstored=1))] == [
        True,
        False,
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("read", "documents", "standing"),
    [
        (12_200, 20_000, "at 61 %, 12,200 of 20,000 documents"),
        (12_200, None, "after 12,200 documents"),
        (12_200, 0, "after 12,200 documents"),
        (0, 20_000, "at 0 %, 0 of 20,000 documents"),
        (199, 200, "at 99 %, 199 of 200 documents"),
        (200, 200, "at 99 %, 200 of 200 documents"),
        (2_000, 200, "at 99 %, 2,000 of 200 documents"),
    ],
)
def test_progress_is_never_all_of_it(read: int, documents: int | None, standing: str) -> None:
    """Catch-up reads some documents again."""
    progress = Progress()
    progress.add({"guest": Counts(read=read), "other": Counts()})
    progress.documents = documents
    resumed = Resumed("3f9a", 2, progress.share, read, progress.documents)
    assert sentence(resumed) == f"resuming job 3f9a {standing} (run 2)"
    assert (progress.run_read, progress.counts) == (read, Counts(read=read))
