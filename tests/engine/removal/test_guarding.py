"""What must hold before anything is removed: two stores, the right time, and nobody else at work."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from migrator.activations.document import Document
from migrator.activations.selection import Selection
from migrator.adapters.base import Batch, Description, Token
from migrator.adapters.questions import Probe
from migrator.adapters.shared.patience import Policy
from migrator.engine.removal.guarding import Guard, _are_same
from migrator.errors import Locked, MigratorError, NotFound, Unavailable, UsageError
from migrator.events.watching import Stop
from migrator.testing.documents import activation


def described(identity: Any, product: str = "Elasticsearch") -> Description:
    return Description(location="here", product=product, version="8", identity=identity)


def indices(**indices: str) -> dict[str, Any]:
    return {"cluster": "one", "indices": indices}


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (described("uuid-1"), described("uuid-1"), True),
        (described("uuid-1"), described("uuid-2"), False),
        (described("uuid-1"), described("uuid-1", "CouchDB"), False),
        (described(None), described(None), False),
        (described("uuid-1"), described(None), False),
        (described(indices(a="1", b="2")), described(indices(c="2")), True),  # an alias, or another pattern
        (described(indices(a="1")), described(indices(a="2")), False),  # of the same name in another cluster
        (described(indices(a="1")), described({"cluster": "one"}), False),
        (described(indices()), described(indices()), False),
    ],
)
def test_two_stores_with_an_index_in_common_are_the_same(a: Description, b: Description, same: bool) -> None:
    assert _are_same(a, b) is same


# -- what must hold before every batch ------------------------------------------------------------------------------


STORE, PROOF = described("uuid-1"), msgspec.structs.replace(described("uuid-2"), location="there")
NOW_MS = 1_800_000_000_000


class Remover:
    def __init__(self) -> None:
        self.now = STORE
        self.clock: int | None = NOW_MS

    def describe(self) -> Description:
        return self.now

    def clock_ms(self) -> int | None:
        return self.clock


class Store:
    """A proof that is a store in use."""

    def __init__(self) -> None:
        self.held: dict[str, list[Document]] = {}

    def describe(self) -> Description:
        return PROOF

    def fetch(self, ids: Sequence[str], after: Token, selection: Selection) -> Iterator[Batch]:
        documents = tuple(each for id in ids for each in self.held.get(id, ()))
        yield Batch(documents=documents, position=len(ids))


class Archive(Store):
    """A proof that doesn't change."""

    newest_ms: int | None = None
    gone: str | None = None
    written: str | None = None

    def lost(self) -> str | None:
        return self.gone

    def busy(self) -> str | None:
        return self.written

    def probe(self, *, exact: bool, stop: Stop | None = None) -> Probe:
        assert not exact
        return Probe(newest_backup_ms=self.newest_ms)


class Guarded:
    def __init__(self, proof: Store) -> None:
        self.remover, self.proof = Remover(), proof
        self.other: str | None = None
        self.identified = PROOF
        self.slept: list[float] = []
        comparison = SimpleNamespace(digest=lambda each: each.body, proof_digest=lambda each: each.body)
        self.guard = Guard(
            cast(Any, self.remover),
            cast(Any, proof),
            cast(Any, comparison),
            Policy(sleep=self.slept.append),
            identify=lambda: self.identified,
            busy=lambda: self.other,
        )


@pytest.fixture(params=[Store, Archive])
def guarded(request: pytest.FixtureRequest) -> Guarded:
    return Guarded(request.param())


def refused(error: type[MigratorError], told: str) -> pytest.RaisesExc[MigratorError]:
    return pytest.RaisesExc(error, match=f"^{re.escape(told)}$")


def test_a_store_is_no_proof_of_itself() -> None:
    proof = Store()
    proof.describe = lambda: STORE  # type: ignore[method-assign]  # it describes itself as the store
    with refused(UsageError, "here and here are the same store; a store is no proof of itself"):
        Guard(
            cast(Any, Remover()),
            cast(Any, proof),
            cast(Any, None),
            Policy(),
            identify=lambda: STORE,
            busy=lambda: None,
        )


def test_nothing_is_refused_where_nothing_is_wrong(guarded: Guarded) -> None:
    guarded.guard.check()
    guarded.guard.check_clock(NOW_MS)
    guarded.remover.clock = None
    guarded.guard.check_clock(0)
    assert guarded.guard.proof_endures is isinstance(guarded.proof, Archive)


@pytest.mark.parametrize(("off_s", "how"), [(300, None), (-300, None), (301, "ahead of"), (-301, "behind")])
def test_a_clock_may_be_five_minutes_wrong(guarded: Guarded, off_s: int, how: str | None) -> None:
    guarded.remover.clock = NOW_MS - 1000 * off_s
    if how is None:
        guarded.guard.check_clock(NOW_MS)
        return
    told = (
        f"the clock of this machine is 301 s {how} that of here, so the age of its activations isn't known; "
        "correct the clock"
    )
    with refused(UsageError, told):
        guarded.guard.check_clock(NOW_MS)


def test_a_backup_may_have_ended_five_minutes_from_now() -> None:
    archive = Archive()
    guarded = Guarded(archive)
    archive.newest_ms = NOW_MS + 300_000
    guarded.guard.check_clock(NOW_MS)
    archive.newest_ms += 1
    told = (
        "the clock says 2027-01-15T08:00:00Z, but the newest backup in there ended later, at "
        "2027-01-15T08:05:00.001Z; correct the clock"
    )
    with refused(UsageError, told):
        guarded.guard.check_clock(NOW_MS)


def test_whatever_stands_in_the_way_is_named() -> None:
    archive = Archive()
    guarded = Guarded(archive)
    archive.written = "backup x is being written"
    with refused(Locked, "there: backup x is being written; nothing is removed meanwhile"):
        guarded.guard.check()
    archive.written, archive.gone = None, "backup x was deleted"
    again = "run the same command again to prove what is left of it"
    told = f"there: backup x was deleted since it was read as a proof; {again}"
    with refused(NotFound, told):
        guarded.guard.check()
    archive.gone, guarded.other = None, "job x is running"
    with refused(Locked, "job x is running; nothing is removed meanwhile. Run the same command again afterwards"):
        guarded.guard.check()
    guarded.other = None
    guarded.guard.check()


@pytest.mark.parametrize("which", ["store", "proof"])
def test_a_store_that_was_replaced_is_believed_after_several_looks(guarded: Guarded, which: str) -> None:
    if which == "store":
        guarded.remover.now = described("uuid-3")
    else:
        guarded.identified = msgspec.structs.replace(PROOF, identity="uuid-3")
    where = "here" if which == "store" else "there"
    told = f"{where} was deleted or recreated: it was recreated; run the same command again to prove what is left"
    with refused(Unavailable, told):
        guarded.guard.check()
    assert guarded.slept == [0.2, 0.4, 0.8, 1.6]


def test_an_index_that_this_run_deleted_is_no_longer_looked_for(guarded: Guarded) -> None:
    """Others still are; one of the same name that was made again isn't the one there was."""
    guard = guarded.guard
    guard.store = described(indices(a="1", b="2"))
    guarded.remover.now = described(indices(a="1", b="3"))
    assert [guard.has(name) for name in ("a", "b", "c")] == [True, False, True]
    guard.dropped("b")
    assert guard.store == described(indices(a="1"))
    guard.check()


def test_a_store_in_use_is_asked_again_whether_it_holds_a_document() -> None:
    """As it is: another version of it, or several, prove it only where it is among them."""
    store = Store()
    guard = Guarded(store).guard
    documents = [activation(number) for number in range(4)]
    newer = [activation(number, logs=["newer"]) for number in range(4)]
    store.held = {
        documents[0].id: [documents[0]],
        documents[1].id: [newer[1]],
        documents[2].id: [newer[2], documents[2]],
    }
    proven = dict(zip([each.id for each in documents], (True, False, True, False), strict=True))
    assert guard.still_proven(documents) == proven
    guard.survived(documents[0])
    told = (
        f"there: {documents[3].id} is gone there after it was removed from here. Is one a replica of the other? "
        "Nothing more is removed; stop the replication and restore the document"
    )
    with refused(Unavailable, told):
        guard.survived(documents[3])


def test_an_archive_holds_what_it_held() -> None:
    guard = Guarded(Archive()).guard
    documents = [activation(1), activation(2)]
    assert guard.still_proven(documents) == {each.id: True for each in documents}
    guard.survived(documents[0])
