"""What one batch adds to the accounts, compared as a whole."""

from __future__ import annotations

import msgspec
import pytest

from migrator.activations.accounts import Counts
from migrator.activations.document import Document, Form, Rejection
from migrator.adapters.base import Batch, WriteOutcome
from migrator.engine.accounting import account
from migrator.engine.state.notes import Commit, Origin, SetAside


def document(id: str, namespace: str = "guest", *, index: str | None = None, remarks: tuple[str, ...] = ()) -> Document:
    return Document(id, Form.COUCHDB, b"x" * len(id), namespace, "hello", 1, index=index, remarks=remarks)


def test_every_document_of_a_batch_is_accounted_for_by_its_outcome() -> None:
    """In its own namespace, with its bytes; what is set aside stands there as the source has it."""
    written = document("guest/1", remarks=("odd-id",))
    present, differing = document("guest/22"), document("other/333", "other")
    converted = msgspec.structs.replace(differing, form=Form.ELASTICSEARCH, body=b"converted")
    sent = document("guest/4444")
    unreadable = Rejection("guest/55555", "it is cut", b"cut", "guest", Form.COUCHDB, "an-index")
    batch = Batch(
        documents=(written, present, differing, sent),
        position={"at": 5},
        rejections=(unreadable,),
        filtered={"": 2, "guest": 3},
        deleted=7,
    )
    outcome = WriteOutcome(
        written=(written,), present=(present,), differing=(converted,), rejected=(sent.rejection("too large"),)
    )
    assert account(batch, 9, outcome, [unreadable], created=True, bulk=True) == Commit(
        slice=9,
        position={"at": 5},
        counts={
            "guest": Counts(read=7, written=1, present=1, rejected=2, filtered=3, size_bytes=7 + 8 + 10 + 3),
            "other": Counts(read=1, differing=1, size_bytes=9),
            "": Counts(read=2, filtered=2),
        },
        set_aside=[
            SetAside(
                kind="differing",
                id="other/333",
                namespace="other",
                reason="another version is in the target",
                body=b"x" * 9,
                form=Form.COUCHDB,
            ),
            SetAside(
                kind="rejected",
                id="guest/55555",
                namespace="guest",
                reason="it is cut",
                body=b"cut",
                form=Form.COUCHDB,
                index="an-index",
            ),
            SetAside(
                kind="rejected",
                id="guest/4444",
                namespace="guest",
                reason="too large",
                body=b"x" * 10,
                form=Form.COUCHDB,
            ),
        ],
        settled=["guest/1", "guest/22"],
        remarks={"odd-id": ["guest/1"]},
        deleted=7,
        created=1,
        there={Origin("", ""): 3},
    )


@pytest.mark.parametrize(("created", "bulk"), [(True, False), (False, True), (False, False)])
def test_what_is_created_and_what_is_there_depend_on_the_slice(created: bool, bulk: bool) -> None:
    """Created is only what surely wasn't there; only the bulk is held against the target's count."""
    written = document("guest/1")
    batch = Batch(documents=(written,), position=1)
    commit = account(batch, 1, WriteOutcome(written=(written,)), [], created=created, bulk=bulk)
    assert commit.created == (1 if created else 0)
    assert commit.there == {Origin("", ""): 1 if bulk else 0}
    assert account(batch, 1, WriteOutcome(written=(written,)), []).created == 0
    assert account(batch, 1, WriteOutcome(written=(written,)), []).there == {Origin("", ""): 0}


def test_documents_of_indices_are_there_by_index_and_by_the_namespace_that_their_id_tells() -> None:
    """Where only rejected ones were read counts with 0; an id of another namespace tells none."""
    documents = [
        document("guest/1", index="a"),
        document("guest/2", index="a"),
        document("guest/3", index="b"),
        document("other/4", index="a"),
        document("5", index="b"),
    ]
    unreadable = Rejection("guest/6", "cut", b"", "guest", Form.COUCHDB, "c")
    nameless = Rejection("guest/7", "cut", b"", "guest")
    batch = Batch(documents=tuple(documents), position=1, rejections=(unreadable, nameless))
    outcome = WriteOutcome(written=tuple(documents[:4]), rejected=(documents[4].rejection("no"),))
    expected = {
        Origin("guest", "a"): 2,
        Origin("guest", "b"): 1,
        Origin("", "a"): 1,
        Origin("", "b"): 0,
        Origin("guest", "c"): 0,
        Origin("guest", ""): 0,
    }
    refused = [unreadable, nameless]
    assert account(batch, 1, outcome, refused, bulk=True).there == expected
    assert account(batch, 1, outcome, refused).there == dict.fromkeys(expected, 0)


def test_a_batch_of_nothing_adds_its_position_only() -> None:
    assert account(Batch(documents=(), position="here"), 3, WriteOutcome(), []) == Commit(
        slice=3, position="here", counts={}, set_aside=[], settled=[]
    )
