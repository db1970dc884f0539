"""What a job remembers: of its runs, its slices, its documents; and what a new beginning forgets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from migrator.activations.accounts import Counts
from migrator.activations.document import Form, Rejection
from migrator.activations.selection import Selection
from migrator.adapters.base import Description, Plan, Slice
from migrator.engine.state.checkpoint import Checkpoint, Commit, Sample, SetAside, VerificationNote
from migrator.engine.state.notes import Origin, Shortfall
from migrator.errors import StateDamaged, Unavailable
from migrator.testing.documents import activation
from tests.support.worlds import SPEC

HERE = Origin("guest", "a")
SOURCE = Description(location="memory:a", product="memory", version="1", identity="a#1")
TARGET = Description(location="memory:b", product="memory", version="1", identity="b#1")
SELECTION = Selection(namespaces=("guest",))


def plan(*keys: str, **changes: Any) -> Plan:
    slices = tuple(Slice(key=key, spec={"from": key}, documents=10) for key in keys)
    return Plan(**{"slices": slices, "snapshot": "s1", **changes})


def aside(id: str, kind: str = "rejected", reason: str = "too large") -> SetAside:
    return SetAside(kind=kind, id=id, namespace="guest", reason=reason, body=b"{}", form=Form.COUCHDB, index=None)


def commit(slice: int = 1, **changes: Any) -> Commit:
    counts = {"guest": Counts(read=2, written=2, size_bytes=100)}
    told = {"slice": slice, "position": {"at": 2}, "counts": counts, "set_aside": (), "settled": (), "remarks": {}}
    return Commit(**{**told, **changes})


@pytest.fixture
def clock() -> list[float]:
    return [600.0]


@pytest.fixture(params=[True, False], ids=["in a file", "in memory"])
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path, clock: list[float]) -> Checkpoint:
    return Checkpoint(tmp_path / "job.sqlite" if request.param else None, clock=lambda: clock[0])


def begun(checkpoint: Checkpoint, *keys: str, **changes: Any) -> int:
    run = checkpoint.begin_run(SPEC, SOURCE, TARGET)
    checkpoint.begin(plan(*keys, **changes), SELECTION, {"mark": 1}, {"prepared": 1}, run=run, planned_s=5.5, full=True)
    return run


def test_new_one_remembers_nothing(checkpoint: Checkpoint) -> None:
    assert (checkpoint.state, checkpoint.spec, checkpoint.stores) == ("new", None, None)
    assert (checkpoint.round, checkpoint.deleted, checkpoint.created, checkpoint.there) == (0, 0, 0, {})
    assert (checkpoint.full, checkpoint.was_complete, checkpoint.incomplete) == (False, False, False)
    assert (checkpoint.snapshot, checkpoint.snapshot_s, checkpoint.mark, checkpoint.prepared) == (None,) * 4
    assert (checkpoint.runs, checkpoint.samples, checkpoint.receipts, checkpoint.counts) == ([], [], [], {})
    assert (checkpoint.slices_left(), checkpoint.open_slices(1)) == ((0, 0), [])
    assert not checkpoint.shortfall
    assert not checkpoint.aside.any
    assert checkpoint.verification is None


def test_plan_and_what_it_was_made_of_are_kept(checkpoint: Checkpoint, clock: list[float]) -> None:
    run = begun(checkpoint, "x", "y", warnings=("careful",))
    assert (checkpoint.spec, checkpoint.stores, run) == (SPEC, (SOURCE, TARGET), 1)
    assert (checkpoint.state, checkpoint.full, checkpoint.selection) == ("unfinished", True, SELECTION)
    assert (checkpoint.mark, checkpoint.prepared) == ({"mark": 1}, {"prepared": 1})
    assert (checkpoint.snapshot, checkpoint.snapshot_s, checkpoint.began_s) == ("s1", 5.5, 600.0)
    assert (list(checkpoint.warnings), checkpoint.incomplete) == (["careful"], False)
    slices = [(each.number, each.slice.key, each.position, each.begun_before) for each in checkpoint.open_slices(run)]
    assert slices == [(1, "x", None, False), (2, "y", None, False)]
    assert all(each.begun_before for each in checkpoint.open_slices(run + 1))
    clock[0] = 660.5
    checkpoint.end_run(run, "stopped", read=7)
    assert checkpoint.runs == [(1, 600.0, 660.5, "stopped", 7)]
    assert checkpoint.begin_run(SPEC, SOURCE, TARGET) == 2
    assert checkpoint.runs[1] == (2, 660.5, None, None, 0)


def test_commits_add_up(checkpoint: Checkpoint, clock: list[float]) -> None:
    """Positions, accounts, receipts and what was copied in which minute."""
    run = begun(checkpoint, "x", "y")
    checkpoint.commit([commit(created=1, there={HERE: 1}), commit(deleted=2)], run=run, receipt={"name": "p1"})
    clock[0] += 59.9
    checkpoint.commit([commit(position={"at": 3})], run=run)
    clock[0] += 0.2
    other = {"other": Counts(read=3, written=1, present=1, filtered=1, size_bytes=9)}
    there = {HERE: 2, Origin("guest", "b"): 2, Origin("x", "b"): 0}
    checkpoint.commit([commit(2, counts=other, created=3, there=there, deleted=5)], run=run, ended=[2])
    assert checkpoint.counts == {"guest": Counts(read=6, written=6, size_bytes=300), **other}
    assert (checkpoint.created, checkpoint.deleted) == (4, 7)
    assert checkpoint.there == {HERE: 3, Origin("guest", "b"): 2, Origin("x", "b"): 0}
    assert checkpoint.samples == [Sample(10, 6, 300), Sample(11, 3, 9)]
    assert checkpoint.receipts == [(0, {"name": "p1"})]
    assert checkpoint.slices_left() == (1, 2)
    assert [(each.number, each.position) for each in checkpoint.open_slices(run)] == [(1, {"at": 3})]
    with pytest.raises(AssertionError, match="open slices"):
        checkpoint.complete()
    checkpoint.commit([], run=run, ended=[1])
    checkpoint.complete()
    assert (checkpoint.state, checkpoint.was_complete, checkpoint.slices_left()) == ("complete", True, (0, 2))


def test_rounds_follow_the_bulk(checkpoint: Checkpoint) -> None:
    """Each is counted, what is done leaves, and what was reported or is incomplete stays so."""
    run = begun(checkpoint, "x", "y", warnings=("a", "b"), incomplete=True)
    checkpoint.commit([commit()], run=run, ended=[1])
    more = plan("z", snapshot="s2", warnings=("b", "c"))
    assert checkpoint.begin_round(more, Selection(), run=run, planned_s=6.5) == 1
    assert (checkpoint.round, checkpoint.snapshot, checkpoint.snapshot_s, checkpoint.selection) == (
        1,
        "s2",
        6.5,
        Selection(),
    )
    assert [each.slice.key for each in checkpoint.open_slices(run)] == ["y", "z"]
    assert (list(checkpoint.warnings), checkpoint.incomplete) == (["a", "b", "c"], True)
    checkpoint.commit([commit(2)], run=run, receipt={"name": "p2"})
    assert checkpoint.receipts == [(1, {"name": "p2"})]
    assert checkpoint.begin_round(plan(), Selection(), run=run, planned_s=7.5) == 2


def test_new_beginning_forgets_all_but_the_runs(checkpoint: Checkpoint) -> None:
    run = begun(checkpoint, "x", incomplete=True, warnings=("a",))
    rejected = commit(
        counts={"guest": Counts(read=1, rejected=1)},
        set_aside=[aside("guest/1")],
        remarks={"odd": ["guest/1"]},
        created=1,
        there={HERE: 1},
        deleted=1,
    )
    checkpoint.commit([rejected], run=run, ended=[1], receipt={"name": "p"})
    checkpoint.note_shortfall(Shortfall(unread=1, unstored=2), "some are missing")
    checkpoint.complete()
    assert (checkpoint.aside.any, checkpoint.aside.count("rejected")) == (True, 1)
    assert (checkpoint.shortfall, checkpoint.incomplete) == (Shortfall(unread=1, unstored=2), True)
    assert list(checkpoint.warnings) == ["a", "some are missing"]
    checkpoint.forget()
    assert (checkpoint.state, checkpoint.slices_left()) == ("new", (0, 0))
    begun(checkpoint, "y")
    assert (checkpoint.counts, checkpoint.remarks, checkpoint.receipts, list(checkpoint.warnings)) == ({}, {}, [], [])
    assert (checkpoint.aside.any, checkpoint.aside.count("rejected")) == (False, 0)
    assert (checkpoint.created, checkpoint.there, checkpoint.deleted) == (0, {}, 0)
    assert (checkpoint.was_complete, checkpoint.incomplete, bool(checkpoint.shortfall)) == (False, False, False)
    assert len(checkpoint.runs) == 2


@pytest.mark.parametrize("count", [0, 1, 49, 50, 51, 100, 101])
def test_documents_set_aside_are_read_in_the_order_of_their_ids(checkpoint: Checkpoint, count: int) -> None:
    """However many; of a kind only."""
    run = begun(checkpoint, "x")
    documents = [aside(f"guest/{number:03}") for number in range(count)]
    checkpoint.commit([commit(set_aside=[*reversed(documents), aside("guest/x", "differing")])], run=run)
    assert list(checkpoint.aside.documents("rejected")) == documents
    assert checkpoint.aside.count("rejected") == count
    assert [each.id for each in checkpoint.aside.documents("differing")] == ["guest/x"]


def test_settled_documents_are_no_longer_set_aside(checkpoint: Checkpoint) -> None:
    """Of whatever kind; an id again keeps its newest reason."""
    run = begun(checkpoint, "x")
    checkpoint.commit([commit(set_aside=[aside("1"), aside("2"), aside("3", "differing")])], run=run)
    checkpoint.commit([commit(settled=["1", "3"], set_aside=[aside("2", reason="denied")])], run=run)
    assert list(checkpoint.aside.documents("rejected")) == [aside("2", reason="denied")]
    assert checkpoint.aside.count("differing") == 0
    assert checkpoint.aside.reasons("rejected") == [("denied", 1)]


def test_reasons_are_counted_the_most_frequent_first(checkpoint: Checkpoint) -> None:
    run = begun(checkpoint, "x")
    reasons = ["b", "a", "c", "a", "c", "a"]
    found = [aside(str(number), reason=reason) for number, reason in enumerate(reasons)]
    checkpoint.commit([commit(set_aside=[*found, aside("9", "differing", "c")])], run=run)
    assert checkpoint.aside.reasons("rejected") == [("a", 3), ("c", 2), ("b", 1)]


def test_which_documents_differ_is_known(checkpoint: Checkpoint) -> None:
    run = begun(checkpoint, "x")
    documents = [activation(number) for number in range(4)]
    assert checkpoint.aside.among_differing(documents) == frozenset()
    found = [aside(documents[0].id, "differing"), aside(documents[1].id), aside("guest/other", "differing")]
    checkpoint.commit([commit(set_aside=found)], run=run)
    assert checkpoint.aside.among_differing(documents) == {documents[0].id}


def test_remarks_are_counted_and_some_ids_kept(checkpoint: Checkpoint) -> None:
    """Twenty of them, the first that came."""
    run = begun(checkpoint, "x")
    ids = [f"guest/{number}" for number in range(30)]
    for at in (0, 19, 20, 21):
        checkpoint.commit([commit(remarks={"odd": ids[at : at + 1]})], run=run)
    assert (checkpoint.remarks, checkpoint.remark_examples("odd")) == ({"odd": 4}, [ids[0], *ids[19:22]])
    checkpoint.commit([commit(remarks={"odd": ids, "other": ids[:1]})], run=run)
    assert checkpoint.remarks == {"odd": 34, "other": 1}
    assert checkpoint.remark_examples("odd") == [ids[0], *ids[19:22], *ids[:16]]
    assert checkpoint.remark_examples("none") == []


def test_rejected_documents_that_were_tried_again_are_settled(checkpoint: Checkpoint) -> None:
    """They leave, stay with their newest reason, or are set aside as something else."""
    run = begun(checkpoint, "x")
    rejected = {"guest": Counts(read=3, rejected=3)}
    checkpoint.commit([commit(counts=rejected, set_aside=[aside(id) for id in "123"])], run=run)
    checkpoint.settle(
        ["1", "2", "3"],
        moved={"guest": Counts(written=1, differing=1, rejected=-2)},
        kept=[aside("3", "differing")],
        refused=[Rejection("2", "denied", b"{}", "guest")],
        remarks={"odd": ["1"]},
        run=run,
    )
    assert list(checkpoint.aside.documents("rejected")) == [aside("2", reason="denied")]
    assert list(checkpoint.aside.documents("differing")) == [aside("3", "differing")]
    assert checkpoint.counts == {"guest": Counts(read=3, written=1, differing=1, rejected=1)}
    assert checkpoint.remarks == {"odd": 1}


@pytest.mark.parametrize(
    ("held", "proven"), [(0, False), (1, False), (2, True), (3, False), (None, True), ("all", False)]
)
def test_receipts_speak_of_exactly_what_was_written(checkpoint: Checkpoint, held: Any, proven: bool) -> None:
    """Those of earlier releases don't tell; none at all speaks of nothing."""
    run = begun(checkpoint, "x")
    receipt = {"name": "p", "documents": held} if held != "all" else None
    if proven:
        checkpoint.commit([commit()], run=run, receipt=receipt, receipts=True)
        assert checkpoint.contradiction() is None
    else:
        with pytest.raises(Unavailable):
            checkpoint.commit([commit()], run=run, receipt=receipt, receipts=True)
        assert checkpoint.counts == {}


def test_accounts_that_receipts_contradict_are_told(checkpoint: Checkpoint) -> None:
    run = begun(checkpoint, "x")
    checkpoint.commit([commit()], run=run, receipt={"documents": 1002})
    assert checkpoint.contradiction() == "2 documents were counted as written, and the parts that are known hold 1,002"


def test_what_the_writer_learns_at_the_end(checkpoint: Checkpoint) -> None:
    run = begun(checkpoint, "x", warnings=("careful",))
    checkpoint.commit([commit(deleted=3)], run=run, receipt={"name": "p"})
    checkpoint.note_shortfall(Shortfall(unread=4, unstored=1), "missing")
    told = checkpoint.completion(Form.COUCHDB)
    assert (told.source, told.form, told.selection) == (SOURCE, Form.COUCHDB, SELECTION)
    assert (told.snapshot, told.snapshot_s, told.began_s) == ("s1", 5.5, 600.0)
    assert (told.receipts, told.deleted, told.unread) == ([(0, {"name": "p"})], 3, 4)
    assert list(told.warnings) == ["careful", "missing"]
    assert told.counts["guest"]["written"] == 2


def test_stores_are_noted_as_they_are_now(checkpoint: Checkpoint) -> None:
    run = begun(checkpoint, "x")
    moved = Description(location="memory:b", product="memory", version="1", identity="b#2")
    checkpoint.commit([commit()], run=run, target=moved)
    assert checkpoint.stores == (SOURCE, moved)
    checkpoint.note_stores(moved, TARGET)
    assert checkpoint.stores == (moved, TARGET)


@pytest.mark.parametrize(
    "read",
    [
        lambda checkpoint: checkpoint.state,
        lambda checkpoint: checkpoint.counts,
        lambda checkpoint: list(checkpoint.aside.documents("rejected")),
    ],
)
def test_what_was_kept_is_there_when_the_file_is_opened_again(
    tmp_path: Path, read: Callable[[Checkpoint], object]
) -> None:
    path = tmp_path / "job.sqlite"
    checkpoint = Checkpoint(path)
    run = begun(checkpoint, "x")
    checkpoint.commit([commit(set_aside=[aside("1")])], run=run)
    before = read(checkpoint)
    checkpoint.close()
    again = Checkpoint(path)
    assert read(again) == before
    assert again.aside.any
    again.close()


def test_a_round_makes_a_complete_job_unfinished_again(checkpoint: Checkpoint) -> None:
    """What was complete once is remembered; a round that is given up is read again from where it began."""
    run = begun(checkpoint, "x")
    assert not checkpoint.can_abandon_round
    checkpoint.commit([], run=run, ended=[1])
    checkpoint.complete()
    assert checkpoint.begin_round(plan("y", snapshot="s2"), SELECTION, run=run, planned_s=6.5) == 1
    assert (checkpoint.state, checkpoint.was_complete, checkpoint.can_abandon_round) == ("unfinished", True, True)
    checkpoint.commit([commit(1, position={"at": 9})], run=run, ended=[1])
    assert checkpoint.positions == [{"at": 9}]
    checkpoint.move_on("s3")
    assert (checkpoint.snapshot, checkpoint.snapshot_s) == ("s3", 6.5)
    checkpoint.abandon_round()
    assert (checkpoint.snapshot, checkpoint.snapshot_s, checkpoint.open_slices(run)) == ("s1", 5.5, [])
    checkpoint.forget()
    begun(checkpoint, "x")
    assert not checkpoint.can_abandon_round


def test_numbers_are_reserved_once(checkpoint: Checkpoint) -> None:
    assert (checkpoint.reserved, checkpoint.reserve(3), checkpoint.reserve(1), checkpoint.reserved) == (0, 1, 4, 4)
    checkpoint.reserve_up_to(4)
    checkpoint.reserve_up_to(2)
    assert checkpoint.reserve(1) == 5
    checkpoint.reserve_up_to(9)
    assert (checkpoint.reserved, checkpoint.reserve(2)) == (9, 10)


def test_what_nobody_could_look_for_is_kept(checkpoint: Checkpoint) -> None:
    begun(checkpoint, "x", warnings=("careful",))
    checkpoint.note_unseen(["index y is closed", "careful"])
    assert (list(checkpoint.warnings), checkpoint.incomplete) == (["careful", "index y is closed"], True)


def test_the_newest_verification_is_kept_with_the_job(checkpoint: Checkpoint) -> None:
    for agrees in (False, True):
        note = VerificationNote(
            began_s=1.5, agrees=agrees, counts={"a": 3, "missing": 1}, proves="something", request=SPEC.request
        )
        checkpoint.note_verification(note)
        assert checkpoint.verification == note


def test_a_slice_that_is_not_there_is_damage(checkpoint: Checkpoint) -> None:
    run = begun(checkpoint, "x")
    with pytest.raises(StateDamaged) as refused:
        checkpoint.commit([commit(7)], run=run)
    assert str(refused.value) == (
        f"{checkpoint.path}: the state of the job is damaged and was not used: slice 7 isn't there. Start over with "
        f"the same command and `restart`; for a schedule, remove {checkpoint.path.parent if checkpoint.path else ''} "
        "and run it again"
    )
    assert checkpoint.counts == {}


def test_stock_counts_for_the_beginning_that_it_was_taken_at(checkpoint: Checkpoint, clock: list[float]) -> None:
    run = checkpoint.begin_run(SPEC, SOURCE, TARGET)
    for stock in ({"documents": 5}, None):
        checkpoint.begin(plan("x"), SELECTION, None, None, run=run, planned_s=1.0, stock=stock)
        assert (checkpoint.stock, checkpoint.full, checkpoint.knows_origins) == (stock, False, True)
    checkpoint.begin(plan("x"), SELECTION, None, None, run=run, planned_s=1.0, stock=3)
    with checkpoint._transaction():
        checkpoint._set("began_s", 1.0)  # as an earlier release that began the job again
    assert (checkpoint.stock, checkpoint.knows_origins) == (None, False)
