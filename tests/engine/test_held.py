"""What a worker holds until it is durable, and the outcome of the documents of a batch."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from migrator.activations.accounts import Counts
from migrator.activations.document import Form, Rejection
from migrator.adapters.base import Batch, WriteOutcome
from migrator.engine.accounting import account
from migrator.engine.held import Held
from migrator.engine.state.checkpoint import Commit, SetAside
from migrator.engine.state.notes import Origin
from migrator.testing.documents import activation

ASIDE = SetAside(kind="rejected", id="guest/0", namespace="guest", reason="too large", body=b"{}")


def commit(**changes: Any) -> Commit:
    return Commit(**{"slice": 1, "position": 1, "counts": {}, "settled": ["guest/1"], **changes})


def test_commits_leave_together_with_their_receipt() -> None:
    """In their order, and once; what comes meanwhile waits for the next flush."""
    held = Held()
    assert not held.waits_for_flush
    first, second = commit(), commit(position=2)
    held.add(first, set_aside=True)
    assert held.waits_for_flush
    held.end(7)
    flushed = held.flush({"name": "p1"})
    assert (flushed.commits, flushed.ended, flushed.receipt) == ([first], [7], {"name": "p1"})
    assert held.flushed is flushed
    held.add(second, set_aside=True)
    assert not held.waits_for_flush
    held.committed()
    assert held.flushed is None
    assert held.waits_for_flush
    assert held.flush(None).commits == [second]
    held.committed()
    assert not held.waits_for_flush
    held.end(8)
    assert held.waits_for_flush
    assert (held.flush(None).commits, held.flushed and held.flushed.ended) == ([], [8])


@pytest.mark.parametrize("kept", [False, True])
def test_ids_are_held_only_where_they_may_be_set_aside(kept: bool) -> None:
    """By the checkpoint, or by a commit that is held itself."""
    held = Held()
    held.add(commit(), set_aside=kept)
    held.add(commit(set_aside=[ASIDE]), set_aside=kept)
    held.add(commit(), set_aside=kept)
    settled = [list(each.settled) for each in held.flush(None).commits]
    there = ["guest/1"]
    assert settled == [there if kept else [], there if kept else [], there]


def test_first_document_of_each_namespace_that_was_not_proven_is_a_sample() -> None:
    """Until it is committed; what is flushed keeps its own."""
    held = Held()
    ours, others = [activation(number) for number in range(3)], [activation(number, "other") for number in range(3)]
    held.sample(ours[:2], proven=set(), written=True)
    held.sample([activation(5, "third"), *others, *ours[2:]], proven={"third"}, written=True)
    assert held.flush(None).samples == (ours[0], others[0])
    held.committed()
    held.sample([*ours, activation(1, "third")], proven={"guest", "other"}, written=True)
    assert held.flush(None).samples == (activation(1, "third"),)


def test_namespaces_are_those_of_which_documents_are_in_the_target() -> None:
    held = Held()
    for name in ("written", "present", "differing", "rejected", "filtered"):
        held.add(commit(counts={name: Counts(**{"read": 1, name: 1})}), set_aside=True)
    held.add(commit(counts={"written": Counts(read=2, written=2)}), set_aside=True)
    flushed = held.flush(None)
    assert flushed.namespaces == {"written", "present", "differing"}
    assert flushed.written == 3


@pytest.mark.parametrize("bulk", [False, True])
@pytest.mark.parametrize("created", [False, True])
def test_each_document_of_a_batch_is_accounted_for_once(created: bool, bulk: bool) -> None:
    """By the outcome of it; its bytes are those of the source, and so is what is set aside of it."""
    source = [activation(number, "guest" if number < 4 else "other") for number in range(7)]
    there = [activation(number, "guest" if number < 4 else "other", form=Form.ELASTICSEARCH) for number in range(7)]
    unread = Rejection("guest/x", "cut off", b"{...", "guest")
    there[0] = msgspec.structs.replace(there[0], remarks=("odd",))
    refused = [unread, Rejection(source[3].id, "no counterpart", source[3].body, "guest", Form.COUCHDB)]
    outcome = WriteOutcome(
        written=(there[0], there[1], there[4]),
        present=(there[2],),
        differing=(there[5],),
        rejected=(there[6].rejection("denied"),),
    )
    batch = Batch(
        documents=tuple(source), position={"at": 7}, rejections=(unread,), filtered={"guest": 2, "third": 1}, deleted=4
    )
    found = account(batch, 3, outcome, refused, created=created, bulk=bulk)
    sizes = [len(each.body) for each in source]
    assert found.counts == {
        "guest": Counts(
            read=7, written=2, present=1, rejected=2, filtered=2, size_bytes=sum(sizes[:4]) + len(unread.body)
        ),
        "other": Counts(read=3, written=1, differing=1, rejected=1, size_bytes=sum(sizes[4:])),
        "third": Counts(read=1, filtered=1),
    }
    assert all(counts.adds_up for counts in found.counts.values())
    assert (found.slice, found.position, found.deleted) == (3, {"at": 7}, 4)
    assert (found.created, found.there) == (3 if created else 0, {Origin("", ""): 5 if bulk else 0})
    assert list(found.settled) == [there[number].id for number in (0, 1, 4, 2)]
    assert {kind: list(ids) for kind, ids in found.remarks.items()} == {"odd": [there[0].id]}
    assert [(each.kind, each.id, each.reason, each.body, each.form) for each in found.set_aside] == [
        ("differing", source[5].id, "another version is in the target", source[5].body, Form.COUCHDB),
        ("rejected", "guest/x", "cut off", b"{...", None),
        ("rejected", source[3].id, "no counterpart", source[3].body, Form.COUCHDB),
        ("rejected", source[6].id, "denied", source[6].body, Form.COUCHDB),
    ]
