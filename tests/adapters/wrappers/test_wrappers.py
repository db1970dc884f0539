"""The wrappers: trying again, holding back, and only pretending to write. No clock is real here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.activations.document import Document, Form
from migrator.activations.selection import Selection
from migrator.adapters.base import Batch, Description, Slice, Token, WriteOutcome
from migrator.adapters.memory import MemoryReader, MemoryStore, MemoryWriter
from migrator.adapters.shared.patience import Policy
from migrator.adapters.shared.waiting import LongWaits
from migrator.adapters.wrappers.dry_run import DryRunWriter
from migrator.adapters.wrappers.rates import parse_timetable
from migrator.adapters.wrappers.retrying import RetryingReader, RetryingWriter
from migrator.adapters.wrappers.throttled import Throttle, ThrottledReader
from migrator.errors import AccessDenied, NothingAccepted, RequestRefused, Unavailable
from migrator.testing.documents import activation
from tests.support.profiles import examples
from tests.support.said import into


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


def test_tries_can_be_bounded(policy: Policy, time: Time) -> None:
    """So many in all, however long the patience would last."""
    three = msgspec.structs.replace(policy, tries=3)
    inner = Scripted("u" * 1000)
    with pytest.raises(Unavailable, match="away"):
        RetryingWriter(inner, three).write(documents(1), replace=False)
    assert (inner.calls, len(time.slept)) == (3, 2)


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
@pytest.mark.parametrize("at", [{0}, {63}, {0, 1}, {7, 40}, set(range(10))])
def test_refused_request_is_taken_apart(status: int, at: set[int], policy: Policy) -> None:
    """The documents that are meant stand alone in the end and are rejected; all others are written."""
    every = documents(64)
    inner = Poisoned({every[number].id for number in at}, status=status)
    outcome = RetryingWriter(inner, policy).write(every, replace=False)
    assert {d.id for d in outcome.rejected} == inner.poison
    assert {d.id for d in outcome.written} == {d.id for d in every} - inner.poison
    assert all(str(status) in rejection.reason for rejection in outcome.rejected)


@pytest.mark.parametrize("status", [400, 413, 500])
@pytest.mark.parametrize("count", [1, 2, 64, 2000])
def test_server_that_refuses_every_request_rejects_nothing(status: int, count: int, policy: Policy, time: Time) -> None:
    """Documents that are refused alone are all refused alike: it is the server, and the run ends resumably."""
    every = documents(count)
    inner = Counting({document.id for document in every}, status=status)
    with pytest.raises(NothingAccepted, match="Nothing was rejected") as raised:
        RetryingWriter(inner, policy).write(every, replace=False)
    assert raised.value.exit_code == 5
    assert inner._store.entries == {}
    assert inner.calls < (60 if status != 500 else 1000)
    assert sum(time.slept) < (1 if status != 500 else 120), "a passing one is waited out, no longer than patience lasts"


class Counting(Poisoned):
    calls = 0

    def write(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
        self.calls += 1
        return super().write(documents, replace=replace)


@pytest.mark.parametrize("status", [400, 413])
def test_request_of_bad_documents_alone_is_distinguished_from_a_bad_server(status: int, policy: Policy) -> None:
    """What went through before goes through again, so that it is the documents."""
    every = documents(30)
    inner = Poisoned({document.id for document in every[10:]}, status=status)
    writer = RetryingWriter(inner, policy)
    assert len(writer.write(every[:10], replace=False).written) == 10
    assert len(writer.write(every[10:], replace=False).rejected) == 20
    assert len(inner._store.entries) == 10


class Full(MemoryWriter):
    """A server whose disk is full: it finds what it holds, and refuses with 500 every request with anything new."""

    full = True

    def write(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
        if self.full and any(self._store.get(document.id) is None for document in documents):
            raise RequestRefused("500 enospc", status=500, passing=True)
        return super().write(documents, replace=replace)


def test_full_disk_rejects_nothing(policy: Policy) -> None:
    """That documents which are there already are found proves nothing of new ones."""
    inner = Full(MemoryStore("b"))
    every = documents(40)
    for document in every[:20]:
        inner._store.put(document.id, document.body)
    with pytest.raises(NothingAccepted, match="enospc"):
        RetryingWriter(inner, policy).write(every, replace=False)
    assert len(inner._store.entries) == 20


def test_disk_that_is_full_for_a_while_is_waited_out(policy: Policy, time: Time) -> None:
    """Once there is room again every document is written."""
    inner = Full(MemoryStore("b"))

    def sleep(seconds: float) -> None:
        time.sleep(seconds)
        inner.full = time.now_s < 1040

    outcome = RetryingWriter(inner, msgspec.structs.replace(policy, sleep=sleep)).write(documents(40), replace=False)
    assert len(outcome.written) == 40
    assert not outcome.rejected


def test_document_that_is_refused_among_known_ones_is_rejected_once_patience_is_over(policy: Policy) -> None:
    """A target that is copied to again, and one document in a page that it answers with 500: the job can end."""
    every = documents(40)
    inner = Poisoned({every[7].id}, status=500)
    for document in every[:7] + every[8:]:
        inner._store.put(document.id, document.body)
    outcome = RetryingWriter(inner, policy).write(every, replace=False)
    assert [rejection.id for rejection in outcome.rejected] == [every[7].id]
    assert len(outcome.present) == 39


def test_moment_of_errors_rejects_no_document(policy: Policy, time: Time) -> None:
    """A document that is refused with 500 at a bad moment is retried alone, though its neighbours went through."""
    every = documents(8)

    class Moment(MemoryWriter):
        alone = 0

        def write(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
            if every[3] in documents:
                self.alone += len(documents) == 1
                if self.alone < 2:
                    raise RequestRefused("500", status=500, passing=True)
            return super().write(documents, replace=replace)

    outcome = RetryingWriter(Moment(MemoryStore("b")), policy).write(every, replace=False)
    assert (len(outcome.written), outcome.rejected) == (8, ())


@given(
    poison=st.frozensets(st.integers(0, 39), max_size=12),
    there=st.frozensets(st.integers(0, 39), max_size=40),
    status=st.sampled_from([400, 413, 500]),
)
@examples(200)
def test_documents_are_all_accounted_for_or_none_is_rejected(
    poison: frozenset[int], there: frozenset[int], status: int
) -> None:
    """Whatever is refused and whatever is there already, an outcome holds each document once."""
    time, every = Time(), documents(40)
    inner = Poisoned({every[number].id for number in poison}, status=status)
    for number in there - poison:
        inner._store.put(every[number].id, every[number].body)
    writer = RetryingWriter(inner, Policy(patience_s=60, sleep=time.sleep, clock=time.clock))
    try:
        outcome = writer.write(every, replace=False)
    except NothingAccepted:
        assert status == 500
        assert there - poison == frozenset(range(40)) - poison, "nothing new went through"
        assert len(poison) >= 3
    else:
        ids = [
            *(document.id for document in (*outcome.written, *outcome.present)),
            *(rejection.id for rejection in outcome.rejected),
        ]
        assert sorted(ids) == sorted(document.id for document in every)
        assert {rejection.id for rejection in outcome.rejected} == inner.poison


def test_outage_of_ten_hours_is_waited_out(time: Time) -> None:
    """The pauses stay at their longest, however often something was tried."""
    policy = Policy(patience_s=24 * 3600, sleep=time.sleep, clock=time.clock)

    class Away(MemoryWriter):
        def write(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
            if time.now_s < 1000 + 10 * 3600:
                raise Unavailable("away")
            return super().write(documents, replace=replace)

    assert len(RetryingWriter(Away(MemoryStore("b")), policy).write(documents(3), replace=False).written) == 3
    assert len(time.slept) > 1100
    assert max(time.slept) <= 20


class Looking(MemoryWriter):
    """A store that is looked at before."""

    def preflight(self, namespaces: Sequence[str]) -> Sequence[str]:
        return namespaces


@pytest.mark.parametrize("call", ["describe", "preflight", "prepare", "mark", "census", "flush"])
def test_every_request_in_the_middle_of_a_run_is_tried_again(
    call: str, policy: Policy, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One 503 or one cut connection ends no run; only the first contact is asked once."""
    left = 2
    inner = Looking(MemoryStore("b"))
    asked = getattr(inner, call)

    def shaky(*arguments: Any) -> Any:
        nonlocal left
        if left:
            left -= 1
            raise Unavailable("503")
        return asked(*arguments)

    writer = RetryingWriter(inner, policy)
    writer.describe()
    monkeypatch.setattr(inner, call, shaky)
    getattr(writer, call)(*((),) if call == "preflight" else ())
    assert left == 0
    assert len(time.slept) == 2


def test_first_contact_is_not_tried_again(policy: Policy, time: Time) -> None:
    """A host that was mistyped is reported at once; once a store was reached it is waited for."""

    class Shaky(MemoryReader):
        away = True

        def describe(self) -> Description:
            if self.away:
                raise Unavailable("no such host")
            return super().describe()

    inner = Shaky(MemoryStore("a"))
    reader = RetryingReader(inner, policy)
    with pytest.raises(Unavailable):
        reader.describe()
    assert time.slept == []
    inner.away = False
    reader.describe()
    inner.away = True
    with pytest.raises(Unavailable):
        reader.describe()
    assert sum(time.slept) == pytest.approx(60)


def test_reader_that_does_not_come_forward_is_given_up(policy: Policy, time: Time) -> None:
    """A source that gives the same position for ever would be read for ever."""

    class Still(MemoryReader):
        def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
            while True:
                yield Batch(documents=(), position=7)

    reader = RetryingReader(Still(MemoryStore("a")), policy)
    with pytest.raises(Unavailable, match="makes no progress"):
        list(reader.read(Slice(key="x", spec={}), None, Selection()))
    assert time.slept == []


def test_reader_that_breaks_off_without_coming_forward_uses_up_its_patience(policy: Policy, time: Time) -> None:
    """A batch at the same position is no success, so that the time goes on."""

    class Breaking(MemoryReader):
        def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
            yield Batch(documents=(), position=7)
            raise Unavailable("cut off")

    reader = RetryingReader(Breaking(MemoryStore("a")), policy)
    with pytest.raises(Unavailable):
        list(reader.read(Slice(key="x", spec={}), 7, Selection()))
    assert sum(time.slept) == pytest.approx(60)


def test_what_is_waited_for_is_reported(time: Time) -> None:
    """After 15 seconds, then each time that twice as much has passed; nothing of what is over."""
    told: list[str] = []
    waiting = LongWaits(into(told), clock=time.clock)
    with waiting.for_("couchdb://a: reading guest/0..guest/8"):
        for seconds in range(0, 130, 5):
            time.now_s = 1000 + seconds
            waiting.look()
        with waiting.for_("couchdb://a: counting"):
            waiting.look()
    time.now_s += 1000
    waiting.look()
    assert told == [
        f"couchdb://a: reading guest/0..guest/8: no answer for {seconds} s; still waiting"
        for seconds in (15, 30, 60, 120)
    ]


def test_calls_are_waited_for_under_their_names(policy: Policy) -> None:
    """Each says which store, and what is asked of it."""
    names: list[str] = []

    @contextmanager
    def waiting(what: str) -> Iterator[None]:
        names.append(what)
        yield

    policy = msgspec.structs.replace(policy, waiting=waiting)
    store = MemoryStore("a")
    store.put(documents(1)[0].id, documents(1)[0].body)
    reader, writer = RetryingReader(MemoryReader(store), policy), RetryingWriter(MemoryWriter(MemoryStore("b")), policy)
    reader.describe()
    writer.describe()
    (slice,) = reader.plan(Selection(), slice_documents=10).slices
    read = [document for batch in reader.read(slice, None, Selection()) for document in batch.documents]
    writer.write(read, replace=False)
    assert names[2:] == [
        "memory:a: planning",
        "memory:a: reading first..last",
        "memory:a: reading first..last",
        "memory:b: writing 1 document",
    ]


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
    """An answer that breaks off is requested again from where it was; nothing comes twice."""
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
    throttle = Throttle(parse_timetable(100), sleep=time.sleep, clock=time.clock)
    reader = ThrottledReader(MemoryReader(store, page_documents=30), throttle)
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
