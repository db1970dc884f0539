"""What a verification of two small stores comes to, as one value, and what it tells on the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import msgspec
import pytest

from migrator.activations.document import Document, Form
from migrator.activations.forms import instant
from migrator.activations.requests import JobRequest
from migrator.activations.selection import Selection
from migrator.adapters.base import Batch, Plan, Slice, Token
from migrator.adapters.memory import MemoryReader, MemoryStore
from migrator.engine.verification import compare as compare_module
from migrator.engine.verification import result as result_module
from migrator.engine.verification.compare import VerifyOptions, run_verify
from migrator.engine.verification.evidence import Evidence
from migrator.engine.verification.hours import digest, spelled_digest
from migrator.engine.verification.values import Finding, HourResult, NamespaceResult, Refused, Verification, VerifySpec
from migrator.errors import Incomplete, Unavailable
from migrator.events import (
    Event,
    ReadAgain,
    RunUnfinished,
    SourceWarning,
    VerificationRestarted,
    VerificationResumed,
)
from migrator.events.watching import Progress, Stop
from migrator.testing.documents import activation
from tests.support.reports import described

REQUEST, LISTING, MEND = (
    JobRequest(verb=verb, source="memory:a", target="memory:b") for verb in ("verify", "verify", "copy")
)
SPEC = VerifySpec(id="0123456789ab", request=REQUEST, listing=LISTING, mend=MEND)
HOUR_MS = 3_600_000
FIRST_HOUR = 472_222  # of `at(0)`


def at(hour: int, number: int, namespace: str = "guest", **changes: Any) -> Document:
    start_ms = (FIRST_HOUR + hour) * HOUR_MS + number
    return activation(number, namespace, start=start_ms, end=start_ms, **changes)


class Pair:
    """Two stores in memory in CouchDB's form."""

    def __init__(self) -> None:
        self.a, self.b = MemoryStore("a"), MemoryStore("b")
        self.events: list[Event] = []
        self.phases: list[tuple[str, int | None]] = []
        self.evidence = Evidence(None)

    def put(self, *documents: Document, only: str = "ab") -> None:
        for document in documents:
            for side in only:
                getattr(self, side).put(document.id, document.body)

    def observe(self, progress: Progress) -> None:
        if not self.phases or self.phases[-1] != (progress.phase, progress.documents):
            self.phases.append((progress.phase, progress.documents))

    def verify(self, *, a: Any = None, b: Any = None, spec: VerifySpec = SPEC, **options: Any) -> Verification:
        self.events.clear()
        self.phases.clear()
        found = run_verify(
            {"a": a or MemoryReader(self.a), "b": b or MemoryReader(self.b)},
            self.evidence,
            spec,
            Selection(),
            VerifyOptions(jobs=1, **options),
            stop=Stop(),
            observe=self.observe,
            tell=self.events.append,
            clock=lambda: 1_800_000_000.0,
        )
        assert 0 < found.duration_s < 600
        return msgspec.structs.replace(found, duration_s=0.0)


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    with closing(made.evidence):
        yield made


def summed(*documents: Document, alike: Sequence[Document] = ()) -> str:
    """The digest of a side that holds these; in hours that are alike to the byte, of the bytes."""
    digests = [*(digest(each, doubles=False) for each in documents), *map(spelled_digest, alike)]
    return f"{sum(map(int.from_bytes, digests)) % 2**128:032x}"


def hour(hour: int, namespace: str, a: Sequence[Document], b: Sequence[Document], **found: int) -> HourResult:
    return HourResult(
        namespace=namespace,
        hour=instant((FIRST_HOUR + hour) * HOUR_MS),
        a=len(a),
        b=len(b),
        a_digest=summed(*a),
        b_digest=summed(*b),
        **found,
    )


SAME = [at(0, number) for number in range(3)]
MISSING, EXTRA = at(1, 10), at(2, 11, "other")
CHANGED = [at(1, 12), at(1, 12, logs=["other"])]


def test_a_verification_is_reported_with_all_that_was_found(pair: Pair) -> None:
    """By namespace and by hour, with the digests of both sides, and each finding with what differs in it."""
    pair.put(*SAME)
    pair.put(MISSING, CHANGED[0], only="a")
    pair.put(EXTRA, CHANGED[1], only="b")
    unreadable = activation(20)
    pair.a.put(unreadable.id, unreadable.body[:-1])
    found = pair.verify()
    namespaces = {
        "guest": NamespaceResult(
            a=5,
            b=4,
            missing=1,
            different=1,
            refused=1,
            a_digest=summed(MISSING, CHANGED[0], alike=SAME),
            b_digest=summed(CHANGED[1], alike=SAME),
        ),
        "other": NamespaceResult(b=1, extra=1, a_digest=summed(), b_digest=summed(EXTRA)),
    }
    assert found == Verification(
        verification="0123456789ab",
        run=1,
        a=described("a"),
        b=described("b"),
        a_form=Form.COUCHDB,
        b_form=Form.COUCHDB,
        doubles=found.doubles,
        request=REQUEST,
        listing=LISTING,
        mend=MEND,
        allow_extra=False,
        sample=None,
        namespaces=namespaces,
        buckets=3,
        differing_buckets=2,
        hours=(
            hour(1, "guest", [MISSING, CHANGED[0]], [CHANGED[1]], missing=1, different=1),
            hour(2, "other", [], [EXTRA], extra=1),
        ),
        examples=tuple(
            sorted(
                (
                    Finding(kind="missing", id=MISSING.id, namespace="guest", hour=FIRST_HOUR + 1),
                    Finding(kind="extra", id=EXTRA.id, namespace="other", hour=FIRST_HOUR + 2),
                    Finding(
                        kind="different", id=CHANGED[0].id, namespace="guest", hour=FIRST_HOUR + 1, fields=("logs",)
                    ),
                ),
                key=lambda each: each.id,
            )
        ),
        refused_examples=(
            Refused(side="a", id=unreadable.id, namespace="guest", reason="is not JSON: Input data was truncated"),
        ),
        compared=5,
        unexplained_hours=0,
        unexplained=(),
        restated=0,
        copies=0,
        remarks={"a": {}, "b": {}},
        began_s=1_800_000_000.0,
        run_read=found.run_read,
        duration_s=0.0,
    )
    assert pair.events == []


def test_extra_ones_that_are_allowed_are_counted_and_not_named(pair: Pair) -> None:
    pair.put(*SAME)
    pair.put(EXTRA, only="b")
    found = pair.verify(spec=msgspec.structs.replace(SPEC, allow_extra=True))
    assert (found.examples, found.totals.extra, found.exit_code) == ((), 1, 0)


def test_examples_and_hours_are_told_up_to_a_number(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them are counted."""
    monkeypatch.setattr(result_module, "EXAMPLES", 2)
    monkeypatch.setattr(result_module, "HOURS_TOLD", 3)
    pair.put(*(at(number, number) for number in range(5)), only="a")
    found = pair.verify()
    assert (len(found.examples), len(found.hours), found.differing_buckets, found.totals.missing) == (2, 3, 5, 5)
    assert [each.id for each in found.examples] == sorted(at(number, number).id for number in range(5))[:2]


def test_the_phases_are_told_with_what_is_to_be_read_in_each(pair: Pair) -> None:
    pair.put(*SAME)
    pair.put(MISSING, only="a")
    pair.verify()
    assert pair.phases == [("comparing", 7), ("listing the hours that differ", 14)]


def test_only_the_span_of_hours_that_differ_is_read_again(pair: Pair) -> None:
    """Cut down to what is selected."""
    asked: list[Selection] = []

    class Asked(MemoryReader):
        def plan(self, selection: Selection, *, slice_documents: int) -> Plan:
            asked.append(selection)
            return super().plan(selection, slice_documents=slice_documents)

    pair.put(*SAME)
    pair.put(MISSING, at(3, 15), only="a")
    pair.verify(a=Asked(pair.a))
    begin_ms = (FIRST_HOUR + 1) * HOUR_MS
    assert asked == [Selection(), Selection(since_ms=begin_ms, until_ms=begin_ms + 3 * HOUR_MS)]


@pytest.mark.parametrize(
    ("much", "many", "stages"),
    [
        (3, 1, ["comparing", "narrowing down what differs", "listing what differs"]),
        (4, 1, ["comparing", "listing the hours that differ"]),
        (3, 2, ["comparing", "listing the hours that differ"]),
    ],
)
def test_where_much_is_in_hours_that_differ_they_are_narrowed_down(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, much: int, many: int, stages: list[str]
) -> None:
    """More than so many documents altogether, and in each hour: here four in two hours."""
    monkeypatch.setattr(compare_module, "_MUCH", much)
    monkeypatch.setattr(compare_module, "_MANY", many)
    pair.put(*(at(hour, 2 * hour + number) for hour in (0, 1) for number in (0, 1)), only="a")
    assert pair.verify().totals.missing == 4
    assert [phase for phase, _ in pair.phases] == stages


def test_where_nothing_differs_one_reading_is_enough(pair: Pair) -> None:
    pair.put(*SAME)
    found = pair.verify()
    assert (found.run_read, found.hours, found.exit_code) == (6, (), 0)
    assert pair.phases == [("comparing", 6)]


class Closed(MemoryReader):
    """A store of which a part can't be read."""

    def plan(self, selection: Selection, *, slice_documents: int) -> Plan:
        plan = super().plan(selection, slice_documents=slice_documents)
        return msgspec.structs.replace(plan, warnings=("index x is closed",), incomplete=True)


def test_what_a_store_cannot_give_is_reported_once_and_kept(pair: Pair) -> None:
    pair.put(*SAME)
    found = pair.verify(a=Closed(pair.a), b=Closed(pair.b))
    assert pair.events == [SourceWarning("index x is closed")]
    assert (found.warnings, found.incomplete, found.exit_code) == (("index x is closed",), True, 3)


class Short(MemoryReader):
    """A store that leaves out the last document of each page for so many readings."""

    def __init__(self, store: MemoryStore, readings: int) -> None:
        super().__init__(store)
        self.left = readings

    def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
        self.left -= 1
        for batch in super().read(slice, after, selection):
            kept = batch.documents[:-1] if self.left >= 0 else batch.documents
            yield msgspec.structs.replace(batch, documents=kept)


def test_what_was_read_short_is_read_again_and_then_refused(pair: Pair) -> None:
    pair.put(*SAME)
    told = "B, memory:b: the server counts 3 documents, but only 2 were read"
    assert pair.verify(b=Short(pair.b, 1)).agrees
    assert pair.events == [ReadAgain(told)]
    with pytest.raises(Incomplete, match=f"^{told}$"):
        pair.verify(b=Short(pair.b, 9))
    assert pair.events == [ReadAgain(told), RunUnfinished("verification", "0123456789ab", REQUEST)]
    assert pair.evidence.stage == "new"


class Away(MemoryReader):
    def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
        raise Unavailable("away")
        yield


def test_a_verification_that_was_interrupted_is_resumed_or_starts_over(pair: Pair) -> None:
    """Over, where a store was replaced meanwhile."""
    pair.put(*SAME)

    def fail() -> None:
        with pytest.raises(Unavailable, match=r"^away$"):
            pair.verify(b=Away(pair.b))

    fail()
    assert pair.events == [RunUnfinished("verification", "0123456789ab", REQUEST)]
    assert pair.verify().run == 2
    assert pair.events == [VerificationResumed("0123456789ab", "compare", 2)]
    fail()
    pair.b.clear()
    pair.put(*SAME, only="b")
    assert pair.verify().agrees
    assert pair.events == [VerificationRestarted()]
