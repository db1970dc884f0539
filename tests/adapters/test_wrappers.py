"""The wrappers: trying again, holding back, and only pretending to write. No clock is real here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from migrator.adapters.base import Batch, Slice, Token, WriteOutcome
from migrator.adapters.dryrun import DryRunWriter
from migrator.adapters.memory import MemoryReader, MemoryStore, MemoryWriter
from migrator.adapters.retrying import Policy, RetryingReader, RetryingWriter
from migrator.adapters.throttled import ThrottledReader
from migrator.errors import AccessDenied, RequestRefused, Unavailable
from migrator.records import Document, Form, Selection
from tests.documents import activation


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds

    def clock(self) -> float:
        return self.now_s


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def policy(time: Time) -> Policy:
    return Policy(patience_s=60, sleep=time.sleep, clock=time.clock)


def documents(count: int) -> list[Document]:
    return [activation(number) for number in range(count)]


class Scripted(MemoryWriter):
    """Follows a script, a letter a write: `w` writes, `d` defers half, `u` unavailable, `5` refuses with 500."""

    def __init__(self, script: str) -> None:
        super().__init__(MemoryStore("b"))
        self.script = iter(script)
        self.calls = 0

    def write(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
        self.calls += 1
        match next(self.script, "w"):
            case "d":
                half = len(documents) // 2
                outcome = super().write(documents[:half], replace=replace)
                return outcome + WriteOutcome(deferred=tuple(documents[half:]), condition=Unavailable("busy"))
            case "u":
                raise Unavailable("away")
            case "p":
                raise Unavailable("slow down", retry_after_s=7)
            case "5":
                raise RequestRefused("500", status=500, passing=True)
            case "a":
                return WriteOutcome(deferred=tuple(documents), condition=AccessDenied("no right"))
        return super().write(documents, replace=replace)


@pytest.mark.parametrize("script", ["w", "uw", "dw", "ddddddw", "udud", "uuuw", "55w", "u5du"])
def test_writer_gets_through_in_the_end(script: str, policy: Policy) -> None:
    """Whatever passes by, every document is written once and none stays deferred."""
    inner = Scripted(script)
    outcome = RetryingWriter(inner, policy).write(documents(64), replace=False)
    assert sorted(d.id for d in outcome.written) == sorted(d.id for d in documents(64))
    assert not outcome.deferred
    assert len(inner._store.entries) == 64


def test_patience_ends_with_the_condition(policy: Policy, time: Time) -> None:
    """When the time is used up the last condition is raised, having slept no longer than that."""
    with pytest.raises(Unavailable, match="away"):
        RetryingWriter(Scripted("u" * 1000), policy).write(documents(1), replace=False)
    assert sum(time.slept) == pytest.approx(60)


def test_pauses_grow_and_are_bounded(policy: Policy, time: Time) -> None:
    """There is no busy loop: pauses double up to the longest."""
    RetryingWriter(Scripted("uuuuuw"), policy).write(documents(1), replace=False)
    assert len(time.slept) == 5
    for tries, pause_s in enumerate(time.slept):
        assert 0.125 * 2**tries <= pause_s <= 0.25 * 2**tries


def test_server_asks_for_a_pause(policy: Policy, time: Time) -> None:
    """`Retry-After` is kept to."""
    RetryingWriter(Scripted("pw"), policy).write(documents(1), replace=False)
    assert time.slept == [7]


def test_access_denied_isnt_tried_again(policy: Policy, time: Time) -> None:
    """A refused right ends the run at once, also when single documents were refused for it."""
    with pytest.raises(AccessDenied):
        RetryingWriter(Scripted("a"), policy).write(documents(3), replace=False)
    assert time.slept == []


class Poisoned(MemoryWriter):
    """Refuses every request that holds one of some documents, as CouchDB does."""

    def __init__(self, poison: set[str], *, status: int) -> None:
        super().__init__(MemoryStore("b"))
        self.poison = poison
        self.status = status

    def write(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
        if any(document.id in self.poison for document in documents):
            raise RequestRefused(f"refused with {self.status}", status=self.status, passing=self.status == 500)
        return super().write(documents, replace=replace)


@pytest.mark.parametrize("status", [400, 413, 500])
@pytest.mark.parametrize("at", [{0}, {63}, {0, 1}, {7, 40}, set(range(64))])
def test_refused_request_is_taken_apart(status: int, at: set[int], policy: Policy) -> None:
    """The documents that are meant stand alone in the end and are rejected; all others are written."""
    every = documents(64)
    inner = Poisoned({every[number].id for number in at}, status=status)
    outcome = RetryingWriter(inner, policy).write(every, replace=False)
    assert {d.id for d in outcome.rejected} == inner.poison
    assert {d.id for d in outcome.written} == {d.id for d in every} - inner.poison
    assert all(str(status) in rejection.reason for rejection in outcome.rejected)


class Breaking(MemoryReader):
    """Breaks off after every batch, once for each position."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store, page_documents=7)
        self.broken: set[str] = set()

    def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
        for batch in super().read(slice, after, selection):
            yield batch
            if str(batch.position) not in self.broken:
                self.broken.add(str(batch.position))
                raise Unavailable("cut off")


def test_reader_goes_on_from_the_last_position(policy: Policy) -> None:
    """An answer that breaks off is asked for again from where it was; nothing comes twice."""
    store = MemoryStore("a")
    for document in documents(50):
        store.put(document.id, document.body)
    reader = RetryingReader(Breaking(store), policy)
    (slice,) = reader.plan(Selection(), slice_documents=100).slices
    read = [d.id for batch in reader.read(slice, None, Selection()) for d in batch.documents]
    assert read == sorted(d.id for d in documents(50))


def test_reader_gives_up_when_nothing_comes(time: Time, policy: Policy) -> None:
    """A source that stays away ends the run with its condition."""

    class Away(MemoryReader):
        def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
            raise Unavailable("away")

    reader = RetryingReader(Away(MemoryStore("a")), policy)
    with pytest.raises(Unavailable, match="away"):
        list(reader.read(Slice(key="x", spec={}), None, Selection()))
    assert sum(time.slept) == pytest.approx(60)


def test_throttle_keeps_to_the_rate(time: Time) -> None:
    """1,000 documents at 100 a second take ten seconds, however they come."""
    store = MemoryStore("a")
    for document in documents(1000):
        store.put(document.id, document.body)
    reader = ThrottledReader(MemoryReader(store, page_documents=30), 100, sleep=time.sleep, clock=time.clock)
    (slice,) = reader.plan(Selection(), slice_documents=2000).slices
    assert sum(len(batch.documents) for batch in reader.read(slice, None, Selection())) == 1000
    assert sum(time.slept) == pytest.approx(10)


@pytest.mark.parametrize("replace", [False, True])
def test_dry_run_tells_what_a_write_would_do(replace: bool) -> None:
    """The outcome is that of the real write, and the store stays as it was."""
    real, pretended = MemoryStore("b", Form.COUCHDB), MemoryStore("b", Form.COUCHDB)
    for store in (real, pretended):
        store.put(documents(1)[0].id, documents(1)[0].body)
        other = activation(1, logs=["other"])
        store.put(other.id, other.body)
    before = dict(pretended.entries)
    expected = MemoryWriter(real).write(documents(5), replace=replace)
    assert DryRunWriter(MemoryWriter(pretended)).write(documents(5), replace=replace) == expected
    assert pretended.entries == before
