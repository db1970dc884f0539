"""What is sent between processes, and the job as a worker far from its checkpoint knows it."""

from __future__ import annotations

import msgspec

from migrator.activations.accounts import Counts
from migrator.activations.document import Form
from migrator.activations.selection import Selection
from migrator.engine.carrying import Terms
from migrator.engine.executors.values import Knowledge, RemoteJob, only_counts
from migrator.engine.held import Flushed
from migrator.engine.state.notes import Commit, Origin, SetAside
from migrator.engine.state.set_aside import id_digest
from migrator.testing.documents import activation

ASIDE = SetAside(kind="differing", id="guest/1", namespace="guest", reason="x", body=b"body", form=Form.COUCHDB)
COMMIT = Commit(
    slice=4,
    position=7,
    counts={"guest": Counts(read=2, written=1, differing=1)},
    set_aside=[ASIDE, msgspec.structs.replace(ASIDE, kind="rejected", id="guest/2")],
    settled=["guest/3"],
    remarks={"odd-id": ["guest/3"]},
    deleted=2,
    created=1,
    there={Origin("guest", ""): 1},
)


def test_what_is_counted_far_away_has_neither_ids_nor_bodies() -> None:
    """Of what was set aside only which and why."""
    assert only_counts(COMMIT) == msgspec.structs.replace(
        COMMIT,
        position=None,
        settled=(),
        remarks={},
        set_aside=[msgspec.structs.replace(each, body=b"") for each in COMMIT.set_aside],
    )


def test_a_worker_knows_what_differed_before_and_in_its_own_attempt() -> None:
    """What it was told by digests, and what it found itself; what was rejected doesn't differ."""
    told: list[Commit] = []
    documents = [activation(number) for number in range(4)]
    known = Knowledge(
        terms=Terms(),
        selection=Selection(),
        prepared=None,
        proven=frozenset({"guest"}),
        any_aside=True,
        differing=frozenset({id_digest(documents[0].id)}),
    )
    job = RemoteJob(known, told.append)
    assert (job.proven, job.any_aside) == ({"guest"}, True)
    assert job.among_differing(documents) == {documents[0].id}
    aside = [
        msgspec.structs.replace(ASIDE, id=documents[1].id),
        msgspec.structs.replace(ASIDE, id=documents[2].id, kind="rejected"),
    ]
    commit = msgspec.structs.replace(COMMIT, set_aside=aside)
    job.carried(commit)
    assert job.among_differing(documents) == {documents[0].id, documents[1].id}
    assert told == [only_counts(commit)]
    job.flushed(Flushed(commits=[commit], ended=[], receipt=None, samples=()))
    assert len(told) == 1


def test_a_worker_that_was_told_nothing_knows_of_nothing() -> None:
    job = RemoteJob(Knowledge(terms=Terms(), selection=Selection(), prepared=None), lambda _: None)
    assert (job.proven, job.any_aside, job.among_differing([activation(1)])) == (frozenset(), False, set())
