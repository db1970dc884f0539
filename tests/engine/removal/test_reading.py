"""What a purge reads: the progress shown meanwhile, the candidates it keeps, and the documents it names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

import msgspec
import pytest

from migrator.activations.document import Form
from migrator.activations.selection import Selection
from migrator.adapters.base import Plan
from migrator.adapters.memory import MemoryReader, MemoryStore
from migrator.engine.removal.reading import Candidate, Candidates, Ledger, Reading
from migrator.engine.removal.values import EXAMPLES, Kept
from migrator.events.watching import Stop
from migrator.testing.documents import activation


class Counted(MemoryReader):
    """A source that knows how many documents its slices hold, or of some doesn't."""

    slices: Sequence[int | None] = ()

    def plan(self, selection: Selection, *, slice_documents: int) -> Plan:
        plan = super().plan(selection, slice_documents=slice_documents)
        known = zip(plan.slices, self.slices, strict=True)
        slices = tuple(msgspec.structs.replace(slice, documents=documents) for slice, documents in known)
        return msgspec.structs.replace(plan, slices=slices, warnings=("index x is closed",))


@pytest.fixture
def reader() -> Iterator[Counted]:
    store = MemoryStore("a", Form.COUCHDB)
    store.put("_design/x", b'{"_id":"_design/x","views":{}}')
    for number in range(19):
        store.put(activation(number).id, activation(number).body)
    reader = Counted(store, page_documents=3)
    yield reader
    reader.close()


def test_progress_counts_what_is_expected_of_all_that_is_read(reader: Counted) -> None:
    """First the proof, then the store, each with what was read before it; unknown where a slice is."""
    reading = Reading(jobs=2, slice_documents=10, stop=Stop(), observe=lambda _: None)
    taken: list[str] = []
    reader.slices = (10, 10)
    told = reading.read(
        reader, Selection(), "reading the proof", lambda batch: taken.extend(each.id for each in batch.documents)
    )
    assert told == ("index x is closed",)
    assert len(set(taken)) == len(taken) == 19
    progress = reading.progress
    assert (progress.phase, progress.documents, progress.counts.read) == ("reading the proof", 20, 20)
    reader.slices = (9, 0)
    reading.read(reader, Selection(), "comparing", lambda _: None)
    assert (progress.phase, progress.documents, progress.counts.read) == ("comparing", 29, 40)
    reader.slices = (9, None)
    reading.read(reader, Selection(), "comparing", lambda _: None)
    assert progress.documents is None


@pytest.mark.parametrize("size", [1, 3, 10, 11])
@pytest.mark.parametrize("first", [None, 1, 4])
def test_candidates_come_in_batches_as_often_as_they_are_asked_for(size: int, first: int | None) -> None:
    made = [Candidate(f"guest/{number}", f"acts-{number % 2}" if number % 3 else None, "guest") for number in range(10)]
    with closing(Candidates()) as candidates:
        for each in made:
            candidates.add(each)
        assert candidates.documents == 10
        for _ in range(2):
            batches = list(candidates.batches(size, first=first))
            assert [each for batch in batches for each in batch] == made
            assert len(batches[0]) == min(first or size, 10)
            assert all(len(batch) == size for batch in batches[1:-1])
            assert all(batches)


def test_documents_that_stay_are_counted_named_and_logged() -> None:
    """The report names the first, the log all, in bulks, so that millions of them aren't held."""
    logged: list[Sequence[Kept]] = []
    ledger = Ledger(logged.append)
    made = [
        Kept(kind="missing" if number % 2 else "differs", id=f"a/{number}", namespace="ab"[number % 2])
        for number in range(1001)
    ]
    for each in made:
        ledger.keep(each)
    assert [len(each) for each in logged] == [1000]
    ledger.save()
    ledger.save()
    assert [each for some in logged for each in some] == made
    assert len(logged) == 2
    assert ledger.examples == made[:EXAMPLES]
    assert ledger.kinds == {"missing": 500, "differs": 501}
    assert {name: account.kept for name, account in ledger.namespaces.items()} == {"a": 501, "b": 500}
