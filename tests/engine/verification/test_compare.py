"""Verification on stores in memory: exactly what differs is found, however often the run is interrupted."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.activations import forms
from migrator.activations.document import Document, Form
from migrator.activations.requests import JobRequest
from migrator.activations.selection import Selection
from migrator.adapters.base import Batch, Plan, Reader, Slice, Token
from migrator.adapters.memory import MemoryReader, MemoryStore
from migrator.adapters.shared.patience import Policy
from migrator.adapters.wrappers.retrying import RetryingReader
from migrator.engine.verification import compare as engine
from migrator.engine.verification.compare import VerifyOptions, run_verify
from migrator.engine.verification.evidence import Added, Evidence
from migrator.engine.verification.values import Finding, Verification, VerifySpec
from migrator.errors import Incomplete, Interrupted, Unavailable
from migrator.events.watching import Stop
from migrator.rendering.verification import render_verification, verification_as_dict
from migrator.testing.documents import activation
from tests.support.profiles import examples, stride
from tests.support.said import into
from tests.support.worlds import as_of_the_release_before

SPEC = VerifySpec(
    id="0123456789ab",
    request=JobRequest(verb="verify", source="memory:a", target="memory:b"),
    listing=JobRequest(verb="verify", source="memory:a", target="memory:b"),
    mend=JobRequest(verb="copy", source="memory:a", target="memory:b"),
)


def only(side: str, reader: Reader) -> dict[str, Any]:
    """The arguments of a verification one side of which is read by this."""
    return {side: reader}


class World:
    """Two stores with the same activations, in forms of their own, and how to compare them."""

    def __init__(self, folder: Path, a: Form = Form.COUCHDB, b: Form = Form.ELASTICSEARCH, count: int = 700) -> None:
        self.a = MemoryStore("a", a)
        self.b = MemoryStore("b", b)
        self.path = folder / "evidence.sqlite"
        self.messages: list[str] = []
        self.evidence: Evidence | None = None
        for number in range(count):
            document = self.document(number)
            self.put_a(document)
            self.put_b(document)

    def document(self, number: int, **changes: Any) -> Document:
        """The documents of 700 numbers start in about 20 hours, in two namespaces."""
        start_ms = 1_700_000_000_000 + number * 100_000
        changes = {"start": start_ms, "end": start_ms + 42, **changes}
        return activation(number, "guest" if number % 3 else "whisk.system", **changes)

    def put_a(self, document: Document) -> None:
        self.a.put(document.id, _in_form(document, self.a.form).body)

    def put_b(self, document: Document) -> None:
        self.b.put(document.id, _in_form(document, self.b.form).body)

    def verify(
        self,
        *,
        a: Reader | None = None,
        b: Reader | None = None,
        evidence: Evidence | None = None,
        selection: Selection = Selection(),  # noqa: B008  a frozen value
        stop: Stop | None = None,
        since: Token = None,
        allow_extra: bool = False,
        **options: Any,
    ) -> Verification:
        self.evidence = evidence or Evidence(self.path)
        return run_verify(
            {"a": a or MemoryReader(self.a, page_documents=20), "b": b or MemoryReader(self.b, page_documents=20)},
            self.evidence,
            msgspec.structs.replace(SPEC, allow_extra=allow_extra),
            selection,
            VerifyOptions(**{"jobs": 2, "slice_documents": 100, **options}),
            stop=stop or Stop(),
            since=since,
            tell=into(self.messages),
        )

    def found(self, *kinds: str) -> dict[str, Finding]:
        assert self.evidence
        return {each.id: each for each in self.evidence.findings(*(kinds or ("missing", "extra", "different")))}


def _in_form(document: Document, form: Form) -> Document:
    converted = forms.convert(document, form)
    assert isinstance(converted, Document)
    return converted


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


PAIRS = [(a, b) for a in Form for b in Form]


def plant(world: World) -> dict[str, str]:
    """Five of each fault; returns the kind by id."""
    planted: dict[str, str] = {}
    for number in range(0, 100, 20):
        planted[(document := world.document(number)).id] = "missing"
        world.b.put(document.id, None)
    for number in range(1000, 1005):
        planted[(document := world.document(number)).id] = "extra"
        world.put_b(document)
    changes: list[dict[str, Any]] = [
        {"response": {"result": {"number": 8}, "statusCode": 0}},
        {"logs": ["line 1", "line 2"]},
        {"annotations": [{"key": "kind", "value": "nodejs:21"}]},
        {"start": 1_600_000_000_000},  # it moves to another hour
        {"name": "olleh"},
    ]
    for number, changed in enumerate(changes, 200):
        planted[(document := world.document(number, **changed)).id] = "different"
        world.put_b(document)
    return planted


@pytest.mark.parametrize("side", ["a", "b"])
def test_a_document_that_cannot_be_read_counts_as_read(world: World, side: str) -> None:
    """In what the run read, in the progress that is shown, and in what the result says of the store."""
    store = world.a if side == "a" else world.b
    store.put("guest/odd", b'{"activationId":"odd","namespace":"guest","name":"x"}')
    found = world.verify()
    assert found.run_read == 1401
    assert found.totals.refused == 1
    assert found.exit_code == 3


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_equal_stores_agree(tmp_path: Path, a: Form, b: Form) -> None:
    """Whatever the forms, what a copy would have written is the same, and nothing is read twice."""
    world = World(tmp_path, a, b)
    found = world.verify()
    assert found.agrees
    assert found.exit_code == 0
    assert (found.totals.a, found.totals.b, found.run_read) == (700, 700, 1400)
    assert all(each.a_digest == each.b_digest for each in found.namespaces.values())
    assert found.differing_buckets == 0


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_exactly_the_planted_faults_are_found(tmp_path: Path, a: Form, b: Form) -> None:
    """What is missing, extra or different, by id; nothing else."""
    world = World(tmp_path, a, b)
    planted = plant(world)
    found = world.verify()
    assert {id: each.kind for id, each in world.found().items()} == planted
    assert found.exit_code == 4
    totals = found.totals
    assert (totals.missing, totals.extra, totals.different) == (5, 5, 5)
    assert sum(each.missing + each.extra + each.different for each in found.hours) == 15


def test_differences_are_told_with_their_fields(world: World) -> None:
    """The names at the top level that differ, as they are called in B."""
    document = world.document(7, response={"result": {"number": 8}, "statusCode": 0}, logs=["other"])
    world.put_b(document)
    found = world.verify()
    assert world.found()[document.id].fields == ("logs", "response")
    assert f"different: {document.id}: logs, response" in render_verification(found)


@pytest.mark.parametrize("narrow", [False, True])
def test_everything_differs(world: World, monkeypatch: pytest.MonkeyPatch, narrow: bool) -> None:
    """An empty B is as many missing documents, and a wholly different one as many different ones."""
    if narrow:
        monkeypatch.setattr(engine, "_MUCH", 10)
        monkeypatch.setattr(engine, "_MANY", 1)
    world.b.clear()
    found = world.verify()
    assert (found.totals.missing, found.unexplained_hours) == (700, 0)
    for number in range(700):
        world.put_b(world.document(number, logs=["other"]))
    found = world.verify()
    assert (found.totals.different, found.unexplained_hours) == (700, 0)


def test_large_hours_are_narrowed_down_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where much is in the hours that differ, their parts are compared before anything is listed."""
    monkeypatch.setattr(engine, "_MUCH", 100)
    monkeypatch.setattr(engine, "_MANY", 10)
    listed: list[str] = []

    class Watched(Evidence):
        def commit(self, added: Added) -> None:
            listed.extend(each.id for each in added.seen)
            super().commit(added)

    world = World(tmp_path)
    planted = plant(world)
    found = world.verify(evidence=Watched(world.path))
    assert {id: each.kind for id, each in world.found().items()} == planted
    assert found.exit_code == 4
    assert set(planted) <= set(listed)
    assert len(listed) < 300  # of 1,400


def test_the_order_of_keys_and_the_spelling_of_text_make_no_difference(tmp_path: Path) -> None:
    """Two bodies with the same value are the same activation."""
    world = World(tmp_path, Form.COUCHDB, Form.COUCHDB, count=10)
    for id, entry in list(world.b.entries.items()):
        assert entry.body
        turned = dict(reversed(json.loads(entry.body).items()))
        world.b.put(id, json.dumps(turned, indent=1).encode())
    assert world.verify().agrees


def test_numbers_are_compared_exactly_or_as_doubles(tmp_path: Path) -> None:
    """With a store that keeps doubles 1.10 and 1.1 are the same; 2^53 and its successor never are."""

    def number(world: World, store: MemoryStore, text: bytes) -> None:
        document = world.document(1, response={"result": {"n": "@"}, "statusCode": 0})
        body = _in_form(document, store.form).body
        spelt = b'\\"@\\"' if store.form is Form.ELASTICSEARCH else b'"@"'
        assert spelt in body
        store.put(document.id, body.replace(spelt, text))

    class Doubles(MemoryReader):
        abilities = msgspec.structs.replace(MemoryReader.abilities, doubles=True)

    for a, b, doubles, agrees in [
        (b"1.10", b"1.1", True, True),
        (b"1.10", b"1.1", False, False),
        (b"9007199254740992", b"9007199254740993", True, False),
        (b"1e22", b"10000000000000000000000.0", True, True),
    ]:
        world = World(tmp_path, count=3)
        number(world, world.a, a)
        number(world, world.b, b)
        reader = (Doubles if doubles else MemoryReader)(world.a)
        assert world.verify(a=reader, evidence=Evidence(None)).agrees is agrees, (a, b, doubles)


def test_what_the_form_cannot_hold_is_no_difference_either_way(tmp_path: Path) -> None:
    """Flags of annotations are lost in Elasticsearch; with the CouchDB they came from it agrees, and says so."""
    world = World(tmp_path, Form.ELASTICSEARCH, Form.COUCHDB)
    flagged = world.document(4, annotations=[{"key": "kind", "value": "nodejs:20", "init": True}])
    world.put_a(flagged)
    world.put_b(flagged)
    found = world.verify()
    assert found.agrees
    assert found.restated == 1
    other = world.document(4, annotations=[{"key": "kind", "value": "nodejs:21", "init": True}])
    world.put_b(other)
    assert not world.verify().agrees


def test_a_wrong_path_in_elasticsearch_is_a_difference(world: World) -> None:
    """The path is OpenWhisk's own in that form, though CouchDB's has none."""
    document = _in_form(world.document(5), Form.ELASTICSEARCH)
    world.b.put(document.id, b'"path":"guest/other"'.join(document.body.rsplit(b'"path":"guest/hello"', 1)))
    world.verify()
    assert world.found()[document.id].fields == ("path",)


# -- what can't be compared -------------------------------------------------------------------------------------


def test_what_cannot_be_converted_is_reported_as_such(world: World) -> None:
    """A document of A without a counterpart in B's form is neither missing nor a difference; the exit code says 3."""
    document = world.document(8, annotations={"no": "array"})
    world.a.put(document.id, document.body)
    world.b.put(document.id, None)
    found = world.verify()
    assert found.agrees
    assert found.exit_code == 3
    (refused,) = found.refused_examples
    assert (refused.side, refused.id) == ("a", document.id)
    assert "annotations" in refused.reason


def test_what_cannot_be_read_in_b_is_different(world: World) -> None:
    """An activation without a name, where A has a good one."""
    document = world.document(8)
    world.b.put(document.id, b'{"activationId":"x","namespace":"guest","start":1}')
    found = world.verify()
    assert world.found()[document.id].kind == "different"
    assert "name is missing" in world.found()[document.id].note
    assert found.exit_code == 4


def test_other_entities_do_not_count(world: World) -> None:
    """Design documents and actions are filtered on both sides."""
    world.a.put("_design/x", b'{"_id":"_design/x"}')
    world.b.put("guest/hello", b'{"entityType":"action","name":"hello","namespace":"guest"}')
    assert world.verify().exit_code == 0


# -- selections -------------------------------------------------------------------------------------------------


def test_selection_holds_on_both_sides(world: World) -> None:
    """Faults outside of it aren't looked for."""
    planted = plant(world)
    selection = Selection(namespaces=("guest",), since_ms=1_700_000_000_000 + 150 * 100_000)
    world.verify(selection=selection)
    expected = {id: kind for id, kind in planted.items() if id.startswith("guest/") and kind != "missing"}
    assert {id: each.kind for id, each in world.found().items()} == expected


def test_extra_documents_may_be_allowed(world: World) -> None:
    """What else B holds is reported and no difference."""
    world.put_b(world.document(5000))
    found = world.verify(allow_extra=True)
    assert found.agrees
    assert found.exit_code == 0
    assert found.totals.extra == 1
    assert world.verify().exit_code == 4


def test_sample_counts_everything_and_compares_a_share(world: World) -> None:
    """A missing document is always found; of changed ones those in the sample, the same ones each time."""
    for number in range(0, 700, 2):
        world.put_b(world.document(number, logs=["changed"]))
    missing = world.document(301)
    world.b.put(missing.id, None)
    found = world.verify(sample=0.1)
    first = world.found()
    assert 20 < found.compared < 140
    assert first[missing.id].kind == "missing"
    assert 0 < found.totals.different <= 350
    assert world.verify(sample=0.1).totals.different == found.totals.different
    assert "the content of the others was not compared" in render_verification(found)


def test_sample_of_equal_stores_says_what_it_proves(world: World) -> None:
    """The bound that n equal documents give."""
    found = world.verify(sample=0.1)
    assert found.agrees
    assert f"fewer than {3 / found.compared:.3%}" in render_verification(found)


# -- stores in use ----------------------------------------------------------------------------------------------


class Meddling(MemoryReader):
    """Something else happens in the store each time a page was read."""

    def __init__(self, store: MemoryStore, meddle: Callable[[], None]) -> None:
        super().__init__(store, page_documents=20)
        self._meddle = meddle

    def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
        for batch in super().read(slice, after, selection):
            yield batch
            self._meddle()


def test_what_arrives_meanwhile_is_not_missing(world: World) -> None:
    """New documents of A, changed ones and deleted ones are told apart; a fault from before is found all the same."""
    gone = world.document(21)
    world.b.put(gone.id, None)
    numbers = iter(range(2000, 100_000))

    def meddle() -> None:
        number = next(numbers)
        world.put_a(world.document(number))
        world.put_a(world.document(number % 600 + 50, logs=[f"changed {number}"]))

    found = world.verify(a=Meddling(world.a, meddle))
    assert {id: each.kind for id, each in world.found().items()} == {gone.id: "missing"}
    assert found.totals.meanwhile > 30
    assert "not compared" in render_verification(found)


def test_what_reaches_both_sides_meanwhile_agrees(world: World) -> None:
    """What was missing when it was first read and is there now isn't told at all."""
    late = [world.document(number) for number in range(30, 60)]
    for document in late:
        world.b.put(document.id, None)

    def arrive() -> None:
        if late:
            world.put_b(late.pop())

    found = world.verify(b=Meddling(world.b, arrive))
    assert found.agrees
    assert not world.found("meanwhile", "missing")


def test_what_was_stored_after_a_copy_is_not_missing(world: World) -> None:
    """Given where A stood when the copy ended, what came after it isn't called missing."""
    snapshot = world.a.sequence
    world.put_a(world.document(3000))
    missing = world.document(100)
    world.b.put(missing.id, None)
    found = world.verify(since=snapshot)
    assert set(world.found()) == {missing.id}
    assert found.totals.meanwhile == 1


# -- interruptions ----------------------------------------------------------------------------------------------


class CutError(Exception):
    """The process died here."""


class Cut(Evidence):
    """A memory whose process dies after so many transactions."""

    def __init__(self, path: Path, after: int) -> None:
        self._left = after
        super().__init__(path)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with super()._transaction():
            yield
        self._left -= 1
        if self._left == 0:
            raise CutError


@pytest.mark.parametrize("narrow", [False, True])
def test_cut_after_each_commit_ends_like_an_unbroken_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, narrow: bool
) -> None:
    """Whichever commit was the last, the next run goes on and finds the same."""
    monkeypatch.setattr(engine, "_COMMIT_DOCUMENTS", 60)
    if narrow:
        monkeypatch.setattr(engine, "_MUCH", 10)
        monkeypatch.setattr(engine, "_MANY", 1)
    world = World(tmp_path, count=300)
    planted = plant(world)
    whole = world.verify(evidence=Evidence(None))
    cut_at = 1 - stride()
    while True:
        cut_at += stride()
        world.path = tmp_path / f"{cut_at}.sqlite"
        left = [cut_at]

        class CutAtCommit(Evidence):
            def commit(self, added: Added) -> None:
                super().commit(added)
                left[0] -= 1  # noqa: B023  used before the next turn
                if left[0] == 0:  # noqa: B023  as above
                    raise CutError

        evidence = CutAtCommit(world.path)
        try:
            world.verify(evidence=evidence, jobs=1)
        except CutError:
            evidence.close()
        else:
            break
        found = world.verify()
        assert any("resuming verification" in message for message in world.messages)
        assert {id: each.kind for id, each in world.found().items()} == planted, cut_at
        assert found.namespaces == whole.namespaces
    assert cut_at > 12


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("lies", [False, True])
def test_cut_between_any_two_transactions_ends_like_an_unbroken_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, narrow: bool, lies: bool
) -> None:
    """In each stage, and on the way from one to the next, also where hours have to be listed again."""
    if narrow:
        monkeypatch.setattr(engine, "_MUCH", 10)
        monkeypatch.setattr(engine, "_MANY", 1)
    world = World(tmp_path, count=220)
    planted = plant(world)

    def reader() -> Reader:
        always = [Lie("alter", frozenset({5}), frozenset(range(-1, 1000)), looks=False)]
        return Lying(world, "a", always if lies else [])

    whole = world.verify(a=reader(), evidence=Evidence(None))
    assert whole.unexplained_hours == lies
    cut_at = 1 - stride()
    while True:
        cut_at += stride()
        world.path = tmp_path / f"{cut_at}.sqlite"
        try:
            world.verify(a=reader(), evidence=Cut(world.path, cut_at), jobs=1)
        except CutError:
            pass
        else:
            break
        found = world.verify(a=reader())
        assert {id: each.kind for id, each in world.found().items()} == planted, cut_at
        assert found.namespaces == whole.namespaces, cut_at
        assert found.unexplained == whole.unexplained, cut_at
        assert found.restated == whole.restated
    assert cut_at > 12


def test_a_request_to_stop_keeps_what_was_read(world: World) -> None:
    """The next run reads only what is left."""
    stop = Stop()
    pages = iter(range(10_000))

    def after_pages() -> None:
        if next(pages) == 9:
            stop.ask(130)

    with pytest.raises(Interrupted):
        world.verify(a=Meddling(world.a, after_pages), stop=stop, jobs=1)
    found = world.verify()
    assert found.agrees
    assert found.run == 2
    assert 700 < found.run_read <= 1400 - 180
    assert "resume with: migrator verify memory:a memory:b" in world.messages[0]


@pytest.mark.parametrize("error", [IndexError("odd"), Unavailable("away")])
def test_whatever_ends_a_worker_ends_the_run(world: World, error: Exception) -> None:
    """Nothing is judged by half of what there is; what was read stays."""

    class Failing(MemoryReader):
        def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
            if slice.spec["high"] is None:
                raise error
            yield from super().read(slice, after, selection)

    with pytest.raises(type(error), match=str(error)):
        world.verify(b=Failing(world.b))
    assert world.evidence
    assert world.evidence.stage == "compare"
    found = world.verify()
    assert found.agrees
    assert found.run_read < 1400


class InOneGo(MemoryReader):
    """Its slices can't be resumed; the first readings of each break off in the middle."""

    def __init__(self, store: MemoryStore, *, breaks: int) -> None:
        super().__init__(store, page_documents=20)
        self._breaks = breaks
        self._broke: Counter[str] = Counter()

    def plan_verification(self, selection: Selection, *, slice_documents: int) -> Plan:
        plan = super().plan(selection, slice_documents=slice_documents)
        slices = tuple(msgspec.structs.replace(slice, whole=True) for slice in plan.slices)
        return msgspec.structs.replace(plan, slices=slices)

    def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
        assert after is None or not slice.whole
        for number, batch in enumerate(super().read(slice, after, selection)):
            if number == 3 and slice.whole and self._broke[slice.key] < self._breaks:
                self._broke[slice.key] += 1
                raise Unavailable("the scroll was lost")
            yield batch


def test_a_slice_read_in_one_go_is_taken_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an outage inside it begins again, and what was read of it before doesn't count twice."""
    monkeypatch.setattr(engine, "_COMMIT_DOCUMENTS", 20)
    planted = plant(world)
    policy = Policy(sleep=lambda _: None)
    found = world.verify(
        a=RetryingReader(InOneGo(world.a, breaks=2), policy), b=RetryingReader(InOneGo(world.b, breaks=1), policy)
    )
    assert {id: each.kind for id, each in world.found().items()} == planted
    assert (found.totals.a, found.totals.b) == (700, 700)


def test_a_slice_that_never_ends_ends_the_run(world: World) -> None:
    """A limit, instead of reading the same for ever."""
    with pytest.raises(Unavailable, match="the scroll was lost"):
        world.verify(a=RetryingReader(InOneGo(world.a, breaks=10**9), Policy(sleep=lambda _: None)))


def test_a_complete_verification_starts_over(world: World) -> None:
    """The same verification given again reads everything again."""
    world.verify()
    world.b.put(world.document(1).id, None)
    found = world.verify()
    assert found.run_read >= 1399
    assert found.totals.missing == 1


def test_a_replaced_store_starts_over(world: World) -> None:
    """What an interrupted run read of a store that is another one now means nothing."""
    stop = Stop()
    with pytest.raises(Interrupted):
        world.verify(a=Meddling(world.a, lambda: stop.ask(130)), stop=stop, jobs=1)
    world.a.generation += 1
    assert world.verify().agrees
    assert any("replaced" in message for message in world.messages)


# -- the report -------------------------------------------------------------------------------------------------


def test_report_as_values(world: World) -> None:
    """The JSON holds counts, digests, hours, examples, and what is proved."""
    plant(world)
    plain = json.loads(msgspec.json.encode(verification_as_dict(world.verify())))
    assert plain["message_type"] == "verification"
    assert plain["totals"]["missing"] == 5
    assert plain["exit_code"] == 4
    assert len(plain["namespaces"]["guest"]["a_digest"]) == 32
    assert {hour["hour"][-7:] for hour in plain["hours"]} == {":00:00Z"}
    assert len(plain["examples"]) == 15
    assert plain["proves"].startswith("every activation on both sides was read")


def test_report_for_people(world: World) -> None:
    """What differs, the ids, and the commands to go on with."""
    plant(world)
    text = render_verification(world.verify())
    assert "THEY DIFFER" in text
    assert "migrator verify memory:a memory:b --output FILE" in text
    assert "migrator copy memory:a memory:b --ids FILE" in text
    assert "--on-conflict overwrite" in text
    assert text.count("\nmissing: ") == 5


def test_report_of_agreement_for_people(world: World) -> None:
    """That they are the same, how that was found out, and what the forms lose."""
    text = render_verification(world.verify())
    assert "the same activations are in both" in text
    assert "every activation on both sides was read and compared by content" in text
    assert "what that form can't hold is not a difference" in text
    assert "--ids" not in text


# -- readers that don't tell the truth --------------------------------------------------------------------------


class Lie(msgspec.Struct, frozen=True):
    """What a reader does to the documents with these numbers, in some of its skips everything."""

    kind: str  # "drop", "repeat", "alter", "invent"
    numbers: frozenset[int]
    passes: frozenset[int]  # 0 is the first
    looks: bool  # when it is asked for ids, too


class Lying(MemoryReader):
    """A reader that leaves documents out, gives them twice, or as they aren't, whatever the cause.

    Its server doesn't count, so that only the other side speaks against it.
    """

    def __init__(self, world: World, side: str, lies: Sequence[Lie]) -> None:
        store = world.a if side == "a" else world.b
        super().__init__(store, page_documents=20)
        self._ids = {number: world.document(number).id for number in range(60)}
        self._others = {
            self._ids[number]: _in_form(world.document(number, logs=["a lie"]), store.form) for number in range(60)
        }
        self._lies = lies
        self._pass = -1

    def plan_verification(self, selection: Selection, *, slice_documents: int) -> Plan:
        self._pass += 1
        return self.plan(selection, slice_documents=slice_documents)

    def census(self, selection: Selection, snapshot: Token) -> int | None:
        return None

    def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
        for batch in super().read(slice, after, selection):
            yield self._told(batch, [lie for lie in self._lies if self._pass in lie.passes])

    def fetch(self, ids: Sequence[str], after: Token, selection: Selection) -> Iterator[Batch]:
        for batch in super().fetch(ids, after, selection):
            yield self._told(batch, [lie for lie in self._lies if lie.looks])

    def _told(self, batch: Batch, lies: Sequence[Lie]) -> Batch:
        documents = list(batch.documents)
        for lie in lies:
            ids = {self._ids[number] for number in lie.numbers}
            meant = [document for document in documents if document.id in ids]
            if lie.kind != "repeat":
                documents = [document for document in documents if document.id not in ids]
            if lie.kind == "repeat":
                documents += meant
            elif lie.kind == "alter":
                documents += [self._others[document.id] for document in meant]
        return msgspec.structs.replace(batch, documents=tuple(documents))


LIES = st.lists(
    st.builds(
        Lie,
        kind=st.sampled_from(["drop", "repeat", "alter"]),
        numbers=st.frozensets(st.integers(0, 59), min_size=1, max_size=4),
        passes=st.frozensets(st.integers(0, 4), max_size=5),
        looks=st.booleans(),
    ),
    max_size=2,
)


def assert_consistent(found: Verification) -> None:
    """No count and no digest that is printed speaks against the verdict."""
    text = render_verification(found)
    if found.exit_code in (0, 3):
        assert "the same activations are in both" in text
        assert "≠" not in text
        assert found.totals.a == found.totals.b
        assert all(each.a == each.b and each.a_digest == each.b_digest for each in found.namespaces.values())
    else:
        assert "the same activations" not in text


@examples(150)
@given(
    lies_a=LIES,
    lies_b=LIES,
    missing=st.frozensets(st.integers(0, 59), max_size=2),
    changed=st.frozensets(st.integers(0, 59), max_size=2),
    respelled=st.frozensets(st.integers(0, 59), max_size=4),
    bytes_first=st.booleans(),
    narrow=st.booleans(),
    sample=st.sampled_from([None, 0.5]),
)
def test_the_same_is_only_said_where_all_that_is_printed_agrees(
    lies_a: list[Lie],
    lies_b: list[Lie],
    missing: frozenset[int],
    changed: frozenset[int],
    respelled: frozenset[int],
    bytes_first: bool,
    narrow: bool,
    sample: float | None,
) -> None:
    """Whatever readers leave out, repeat or alter: once, always, when reading or when asked for ids."""
    world = World(Path(), count=60)
    for number in changed:
        world.put_b(world.document(number, logs=["changed"]))
    for number in respelled:
        id = world.document(number).id
        world.b.put(id, json.dumps(json.loads(world.b.get(id) or b""), indent=1).encode())
    for number in missing:
        world.b.put(world.document(number).id, None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "spells_alike", lambda *_: bytes_first)
        if narrow:
            patch.setattr(engine, "_MUCH", 1)
            patch.setattr(engine, "_MANY", 0)
        try:
            found = world.verify(
                a=Lying(world, "a", lies_a), b=Lying(world, "b", lies_b), evidence=Evidence(None), sample=sample, jobs=1
            )
        except Incomplete:
            return
    assert_consistent(found)
    if sample is None and not any(lie.passes or lie.looks for lie in (*lies_a, *lies_b)):
        assert found.exit_code == (4 if missing | changed else 0)


@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("passes", [{0}, {1}, {0, 1}])
def test_a_fault_that_passes_is_no_difference(world: World, side: str, passes: set[int]) -> None:
    """A page that was short or repeated in one pass: what is printed is what the later ones read."""
    lies = [
        Lie("drop", frozenset({3, 9}), frozenset(passes), looks=False),
        Lie("repeat", frozenset({20}), frozenset(passes), looks=False),
        Lie("alter", frozenset({30}), frozenset(passes), looks=False),
    ]
    found = world.verify(**only(side, Lying(world, side, lies)))
    assert found.exit_code == 0
    assert found.totals.a == found.totals.b == 700
    assert_consistent(found)


@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("kind", ["drop", "repeat", "alter"])
def test_what_is_always_read_otherwise_than_it_is_found_by_id_cannot_be_told(
    world: World, side: str, kind: str
) -> None:
    """As from a shrunk index, or a proxy that plays back old pages: exit code 4, with the hours."""
    lies = [Lie(kind, frozenset({3, 9}), frozenset(range(9)), looks=False)]
    found = world.verify(**only(side, Lying(world, side, lies)))
    assert found.exit_code == 4
    assert not world.found()
    assert found.unexplained_hours
    text = render_verification(found)
    assert "CAN'T DETERMINE" in text
    assert found.unexplained[0].hour in text
    assert_consistent(found)


def test_a_deletion_meanwhile_is_reported_apart(world: World) -> None:
    """Read, and then deleted in B: that it isn't there any more is seen by another listing."""
    document = world.document(30)
    world.put_b(world.document(30, logs=["changed"]))

    class Deleting(MemoryReader):
        def fetch(self, ids: Sequence[str], after: Token, selection: Selection) -> Iterator[Batch]:
            if ids == [document.id]:  # not when the two are first looked at
                world.b.put(document.id, None)
            return super().fetch(ids, after, selection)

    found = world.verify(b=Deleting(world.b, page_documents=20))
    assert found.exit_code == 0
    assert world.found("meanwhile")[document.id].note == "was deleted in B"
    assert found.totals.meanwhile == 1
    assert_consistent(found)


class Counting(MemoryReader):
    """A reader whose server counts, and whose first passes give fewer."""

    def __init__(self, store: MemoryStore, counted: int, *, short: int = 0) -> None:
        super().__init__(store, page_documents=20)
        self._counted = counted
        self._short = short
        self._pass = 0

    def plan_verification(self, selection: Selection, *, slice_documents: int) -> Plan:
        self._pass += 1
        return self.plan(selection, slice_documents=slice_documents)

    def census(self, selection: Selection, snapshot: Token) -> int | None:
        assert snapshot == self._store.sequence
        return self._counted

    def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
        for number, batch in enumerate(super().read(slice, after, selection)):
            if number or self._pass > self._short:
                yield batch


@pytest.mark.parametrize("side", ["a", "b"])
def test_fewer_than_the_server_counts_is_no_agreement(world: World, side: str) -> None:
    """Though both sides were read alike: exit code 5, with the numbers; and nothing is kept of such a reading."""
    store = world.a if side == "a" else world.b
    for _ in range(2):
        with pytest.raises(Incomplete, match=rf"{side.upper()}, memory:{side}: .* counts 730 .* only 700 were read"):
            world.verify(**only(side, Counting(store, 730)))
        assert any("reading both sides again" in message for message in world.messages)
        assert world.evidence
        assert world.evidence.stage == "new"
    assert world.verify(**only(side, Counting(store, 700))).exit_code == 0


def test_pages_that_were_short_on_both_sides_are_read_again(world: World) -> None:
    """The same documents were left out of both, so that the sums agree."""
    found = world.verify(a=Counting(world.a, 700, short=1), b=Counting(world.b, 700, short=1))
    assert found.exit_code == 0
    assert (found.totals.a, found.totals.b) == (700, 700)


def test_a_cut_before_another_reading_keeps_no_half_of_it(tmp_path: Path) -> None:
    """Between any two transactions: what was short is dropped together with the plan of the next reading."""
    cut_at, cut = 0, True
    while cut:
        cut_at += 1
        world = World(tmp_path, count=60)
        world.path = tmp_path / f"{cut_at}.sqlite"
        readers: dict[str, Any] = {"a": Counting(world.a, 60, short=1), "b": Counting(world.b, 60, short=1)}
        cut = False
        try:
            found = world.verify(**readers, evidence=Cut(world.path, cut_at), jobs=1)
        except CutError:
            cut = True
            found = world.verify(**readers, jobs=1)
        assert (found.exit_code, found.totals.a, found.totals.b) == (0, 60, 60), cut_at
    assert cut_at > 5


def test_what_does_not_count_is_counted_by_the_server(world: World) -> None:
    """Design documents and what can't be read were read all the same."""
    world.a.put("_design/x", b'{"_id":"_design/x"}')
    world.a.put("guest/odd", b'{"activationId":"x","namespace":"guest","start":1}')
    assert world.verify(a=Counting(world.a, 702)).exit_code == 3


def test_a_lost_history_excuses_nothing(world: World) -> None:
    """Where a store can't tell what is new, a plan of everything must not make of each difference a newcomer."""
    missing = world.document(100)
    world.b.put(missing.id, None)

    class Forgetful(MemoryReader):
        def catch_up(self, snapshot: Token, selection: Selection, *, slice_documents: int) -> Plan:
            plan = super().plan(selection, slice_documents=slice_documents)
            return msgspec.structs.replace(plan, warnings=("index x was recreated",))

    found = world.verify(a=Forgetful(world.a, page_documents=20))
    assert found.exit_code == 4
    assert set(world.found()) == {missing.id}
    assert any("index x was recreated" in warning for warning in found.warnings)


def test_equal_copies_in_several_places_of_a_count_once(world: World) -> None:
    """As after a rollover; the counts are those of what can be in B."""

    class Twice(MemoryReader):
        def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
            for batch in super().read(slice, after, selection):
                yield _twice(batch, world.document(5).id)

        def fetch(self, ids: Sequence[str], after: Token, selection: Selection) -> Iterator[Batch]:
            for batch in super().fetch(ids, after, selection):
                yield _twice(batch, world.document(5).id)

    found = world.verify(a=Twice(world.a, page_documents=20))
    assert found.exit_code == 0
    assert (found.totals.a, found.totals.b, found.copies) == (700, 700, 1)
    assert_consistent(found)


def _twice(batch: Batch, id: str) -> Batch:
    more = tuple(document for document in batch.documents if document.id == id)
    return msgspec.structs.replace(batch, documents=batch.documents + more)


def test_extra_documents_that_are_allowed_are_not_called_the_same(world: World) -> None:
    """The counts differ by what is only in B, and the verdict says so."""
    world.put_b(world.document(5000))
    text = render_verification(world.verify(allow_extra=True))
    assert "all of A is in B, and more" in text
    assert "the same activations" not in text


@pytest.mark.parametrize("stage", ["narrow", "list", "confirm"])
def test_a_verification_that_an_earlier_release_began_is_ended(
    world: World, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it compared isn't read again; what it had listed, in a table of its own, is listed again."""

    class CutBefore(Evidence):
        def begin_stage(self, stage: str, *arguments: Any, **more: Any) -> None:
            if stage == "relist":
                raise CutError
            super().begin_stage(stage, *arguments, **more)

    monkeypatch.setattr(engine, "spells_alike", lambda *_: False)  # it compared by value only
    planted = plant(world)
    with pytest.raises(CutError):
        world.verify(evidence=CutBefore(world.path))
    with closing(sqlite3.connect(world.path)) as file:
        for table in ("listed", "relisted", "vanished"):
            file.execute(f"DROP TABLE {table}")
        file.execute(
            "CREATE TABLE seen (id TEXT PRIMARY KEY, namespace TEXT NOT NULL, hour INTEGER NOT NULL, a BLOB, b BLOB, "
            "a_copies INTEGER NOT NULL DEFAULT 0, b_copies INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID"
        )
        file.execute("INSERT INTO seen VALUES ('guest/x', 'guest', 1, x'00', NULL, 1, 0)")
        file.execute("INSERT INTO findings VALUES ('guest/x', 'missing', 'guest', 1, '[]', '')")
        file.execute("DELETE FROM meta WHERE name LIKE 'read%' OR name LIKE 'relist%' OR name = 'spelled'")
        file.execute("UPDATE meta SET value = ? WHERE name = 'stage'", (json.dumps(stage),))
        file.commit()
    as_of_the_release_before(world.path)
    found = world.verify()
    assert {id: each.kind for id, each in world.found().items()} == planted
    assert found.exit_code == 4
    assert found.run_read < 1400 + 300
