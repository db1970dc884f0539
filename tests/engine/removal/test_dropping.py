"""Indices that are deleted as a whole: only with nothing in them but what is proven, and no write in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest

from migrator.activations.document import Document
from migrator.adapters.base import Description
from migrator.adapters.removal import Address, Held
from migrator.adapters.shared.patience import Policy
from migrator.engine.removal.dropping import Dropping
from migrator.engine.removal.guarding import Guard
from migrator.engine.removal.journal import Journal
from migrator.engine.removal.proofs import Proofs
from migrator.engine.removal.reading import Candidate, Candidates, Ledger
from migrator.errors import Interrupted, Unavailable
from migrator.events import Event, TargetWarning
from migrator.events.watching import Stop
from migrator.testing.documents import activation
from tests.support.purges import read_log

ID = "live"
DOCUMENTS = [activation(number, "guest" if number % 3 else "other") for number in range(1300)]


class Store:
    """Indices of a server as what is done to them, in its order; each write raises the number of its index."""

    def __init__(self, **indices: Sequence[Document]) -> None:
        self.indices = {name: {each.id: each for each in documents} for name, documents in indices.items()}
        self.writes = dict.fromkeys(indices, 0)
        self.frozen: set[str] = set()
        self.done: list[str] = []
        self.at_count: Callable[[int], object] = lambda _: None
        self._counts = 0

    def freeze(self, index: str) -> None:
        self.done.append(f"freeze {index}")
        self.frozen.add(index)

    def thaw(self, index: str) -> None:
        self.done.append(f"thaw {index}")
        self.frozen.discard(index)

    def count(self, index: str) -> tuple[int, int]:
        self._counts += 1
        self.at_count(self._counts)
        return len(self.indices[index]), self.writes[index]

    def drop(self, index: str) -> None:
        assert index in self.frozen
        self.done.append(f"drop {index}")
        del self.indices[index]

    def write(self, index: str, document: Document) -> None:
        self.indices[index][document.id] = document
        self.writes[index] += 1


class Guarding:
    """A guard that finds nothing wrong unless one is set."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.store = Description(location="live", product="", version="", identity={"indices": {}})
        self.unproven: set[str] = set()
        self.dropped_indices: list[str] = []
        self.checks = 0
        self.failing_check = 0

    def check(self) -> None:
        self.checks += 1
        if self.checks == self.failing_check:
            raise Unavailable("the proof went")

    def has(self, index: str) -> bool:
        return index in self._store.indices

    def dropped(self, index: str) -> None:
        self.dropped_indices.append(index)

    def still_proven(self, documents: Sequence[Document]) -> Mapping[str, bool]:
        return {each.id: each.id not in self.unproven for each in documents}


class World:
    def __init__(self, folder: Path, **indices: Sequence[Document]) -> None:
        self.store = Store(**indices)
        self.guard = Guarding(self.store)
        self.journal = Journal(folder)
        self.journal.begin_log("log")
        self.ledger = Ledger(lambda _: None)
        self.candidates = Candidates()
        self.slept: list[float] = []
        self.told: list[Event] = []
        self.stop = Stop()
        self.changed: set[str] = set()
        self.at_sleep: Callable[[], object] = lambda: None
        for index, documents in indices.items():
            for each in documents:
                self.candidates.add(Candidate(each.id, index, each.namespace))
        self.dropping = Dropping(
            self.store,
            cast(Guard, self.guard),
            self.journal,
            self.ledger,
            Policy(sleep=self._sleep, patience_s=0.0),
            look=self._look,
            line=self._line,
            stop=self.stop,
            tell=self.told.append,
        )

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at_sleep()

    def _look(self, addresses: Sequence[Address]) -> dict[Address, Held]:
        return {
            each: Held(document=self.store.indices[each.index or ""][each.id], version=1)
            for each in addresses
            if each.id in self.store.indices[each.index or ""]
        }

    def _line(self, held: Held, _: Proofs) -> dict[str, object] | None:
        return None if held.document.id in self.changed else {"id": held.document.id}

    def run(self) -> frozenset[str]:
        return self.dropping.run(self.candidates, cast(Proofs, None))

    def logged(self) -> set[str]:
        assert self.journal.log is not None
        lines = read_log(self.journal.log)
        assert len({line["id"] for line in lines}) == len(lines)
        return {line["id"] for line in lines}


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Callable[..., World]]:
    worlds: list[World] = []

    def make(**indices: Sequence[Document]) -> World:
        worlds.append(World(tmp_path, **indices))
        return worlds[-1]

    yield make
    for each in worlds:
        each.candidates.close()


def untouched(world: World, index: str = "a", documents: int = 5) -> None:
    """The index takes writes again, and nothing of it counts as removed."""
    assert len(world.store.indices[index]) == documents
    assert not world.store.frozen
    assert world.logged() == set()
    assert world.journal.pending() is None
    assert not world.ledger.namespaces
    assert world.guard.dropped_indices == []


def test_indices_of_which_everything_is_proven_are_deleted(made: Callable[..., World]) -> None:
    """Frozen for some seconds before they are looked at; each document is in the log and in the accounts."""
    world = made(b=DOCUMENTS[1200:], a=DOCUMENTS[:1200])
    assert world.run() == {"a", "b"}
    assert world.store.done == ["freeze a", "drop a", "freeze b", "drop b"]
    assert world.slept == [2.0, 2.0]
    assert world.guard.dropped_indices == ["a", "b"]
    assert world.guard.checks == 4
    assert world.logged() == {each.id for each in DOCUMENTS}
    assert world.journal.pending() is None
    for namespace in ("guest", "other"):
        own = [each for each in DOCUMENTS if each.namespace == namespace]
        account = world.ledger.of(namespace)
        assert (account.removed, account.removed_bytes) == (len(own), sum(each.size_bytes for each in own))


def test_an_index_that_holds_anything_else_is_left_alone(made: Callable[..., World]) -> None:
    """It isn't even frozen; the others go."""
    world = made(a=DOCUMENTS[:5], b=DOCUMENTS[5:9])
    world.store.write("a", DOCUMENTS[9])
    assert world.run() == {"b"}
    assert world.store.done == ["freeze b", "drop b"]
    assert len(world.store.indices["a"]) == 6


def test_documents_of_a_store_without_indices_are_left_alone(made: Callable[..., World]) -> None:
    world = made()
    world.candidates.add(Candidate("guest/1", None, "guest"))
    assert world.run() == frozenset()
    assert world.store.done == []


@pytest.mark.parametrize("when", [2, 3])
@pytest.mark.parametrize("number", [0, 9])
def test_a_write_that_was_on_its_way_saves_the_index(made: Callable[..., World], when: int, number: int) -> None:
    """A new document as much as one that is written again, whichever of the counts it comes before."""
    world = made(a=DOCUMENTS[:5])
    world.store.at_count = lambda count: world.store.write("a", DOCUMENTS[number]) if count == when else None
    if (when, number) == (2, 0):  # settled before it was looked at: what was looked at is what is deleted
        assert world.run() == {"a"}
        return
    assert world.run() == frozenset()
    assert world.store.done == ["freeze a", "thaw a"]
    untouched(world, documents=5 if number == 0 else 6)


@pytest.mark.parametrize("why", ["went", "changed", "unproven"])
def test_a_document_that_isnt_what_was_proven_saves_the_index(made: Callable[..., World], why: str) -> None:
    world = made(a=DOCUMENTS[:5])
    id = DOCUMENTS[3].id
    if why == "went":
        world.at_sleep = lambda: world.store.indices["a"].pop(id)
    else:
        (world.changed if why == "changed" else world.guard.unproven).add(id)
    assert world.run() == frozenset()
    assert world.store.done == ["freeze a", "thaw a"]
    untouched(world, documents=4 if why == "went" else 5)


@pytest.mark.parametrize("failing", ["check", "freeze", "drop"])
def test_a_failure_ends_the_run_and_the_index_takes_writes_again(
    made: Callable[..., World], monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    world = made(a=DOCUMENTS[:5])

    def fail(index: str) -> None:
        raise Unavailable("no answer")

    if failing == "check":
        world.guard.failing_check = 2
    else:
        monkeypatch.setattr(world.store, failing, fail)
    with pytest.raises(Unavailable):
        world.run()
    (told,) = world.told
    assert isinstance(told, TargetWarning)
    assert "index a isn't deleted as a whole: " in told.text
    assert world.store.done[-1] == "thaw a"
    untouched(world)


def test_an_index_whose_deletion_wasnt_answered_counts_where_it_is_gone(
    made: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log names what was in it; nothing is left frozen, since nothing is left."""
    world = made(a=DOCUMENTS[:5])
    drop = world.store.drop

    def losing(index: str) -> None:
        drop(index)
        raise Unavailable("no answer")

    monkeypatch.setattr(world.store, "drop", losing)
    with pytest.raises(Unavailable):
        world.run()
    assert world.store.done == ["freeze a", "drop a"]
    assert world.logged() == {each.id for each in DOCUMENTS[:5]}
    assert world.journal.pending() is None


@pytest.mark.parametrize("is_gone", [True, False])
def test_an_index_that_a_run_left_frozen_is_settled(made: Callable[..., World], is_gone: bool) -> None:
    """Where it is gone, what was staged counts; where it isn't, it takes writes again."""
    world = made(a=DOCUMENTS[:5])
    world.journal.freeze("a", ID)
    world.journal.stage([{"id": each.id} for each in DOCUMENTS[:5]])
    world.dropping.settle("a", is_gone=is_gone)
    assert world.store.done == ([] if is_gone else ["thaw a"])
    assert len(world.logged()) == (5 if is_gone else 0)
    assert world.journal.pending() is None


def test_a_run_that_is_asked_to_stop_deletes_nothing_more(made: Callable[..., World]) -> None:
    world = made(a=DOCUMENTS[:5], b=DOCUMENTS[5:9])
    world.store.at_count = lambda count: world.stop.ask() if count == 3 else None
    with pytest.raises(Interrupted):
        world.run()
    assert world.store.done == ["freeze a", "drop a"]
    assert world.guard.dropped_indices == ["a"]
    assert set(world.store.indices) == {"b"}
