"""Comparing bytes first: what is spelled alike costs little, and what isn't is compared by value all the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from migrator.activations import comparing
from migrator.activations.document import Document, Form
from migrator.activations.selection import Selection
from migrator.adapters.base import Abilities, Batch, Slice, Token
from migrator.adapters.memory import MemoryReader
from migrator.engine.verification import compare as engine
from migrator.engine.verification.evidence import Added, Evidence
from migrator.engine.verification.hours import in_sample
from migrator.engine.verification.values import Verification
from migrator.errors import Interrupted, Unavailable
from migrator.events.watching import Stop
from tests.engine.verification.test_compare import Cut, CutError, World, assert_consistent, only, plant
from tests.support.profiles import examples


class ByReading(MemoryReader):
    """A store that finds a document only by reading much, as an archive does."""

    abilities = Abilities()

    def fetch(self, ids: Sequence[str], after: Token, selection: Selection) -> Iterator[Batch]:
        raise AssertionError("this store isn't to be searched for a few documents")


class Watched(Evidence):
    """The memory of a verification that also tells which stages it went through and what was listed."""

    def __init__(self, path: Path) -> None:
        self.stages: list[str] = []
        self.listed: list[str] = []
        super().__init__(path)

    def begin_stage(self, stage: str, *arguments: Any, **more: Any) -> None:
        self.stages.append(f"{stage} by its bytes" if more.get("spelled") else stage)
        super().begin_stage(stage, *arguments, **more)

    def commit(self, added: Added) -> None:
        self.listed += (each.id for each in added.seen)
        super().commit(added)


def respell(world: World, numbers: Sequence[int], *, unseen: bool = True) -> list[str]:
    """Give activations of B their names in another order, as another writer does; returns their ids.

    Where it's to be `unseen`, those of the page that is looked at first stay as they are.
    """
    first_page = {*sorted(world.a.entries)[:20]} if unseen else set()
    ids = [id for number in numbers if (id := world.document(number).id) not in first_page]
    for id in ids:
        fields = msgspec.json.decode(world.b.get(id) or b"")
        world.b.put(id, msgspec.json.encode(dict(reversed(fields.items()))))
    return ids


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def values(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of which a digest by value was made."""
    made: list[str] = []
    by_value = comparing.canonical

    def canonical(document: Document, *, doubles: bool) -> bytes:
        made.append(document.id)
        return by_value(document, doubles=doubles)

    monkeypatch.setattr(comparing, "canonical", canonical)
    return made


@pytest.mark.parametrize("side", ["a", "b", "neither"])
def test_what_is_spelled_alike_is_never_taken_apart(tmp_path: Path, values: list[str], side: str) -> None:
    """Whichever side can be searched; where none can, stores of one form are taken to spell alike."""
    world = World(tmp_path, b=Form.COUCHDB if side == "neither" else Form.ELASTICSEARCH)
    readers: dict[str, Any] = {
        name: (MemoryReader if name == side else ByReading)(store, page_documents=20)
        for name, store in (("a", world.a), ("b", world.b))
    }
    evidence = Watched(world.path)
    found = world.verify(**readers, evidence=evidence)
    assert (found.exit_code, found.totals.a, found.compared, found.run_read) == (0, 700, 700, 1400)
    assert evidence.stages == ["compare by its bytes", "complete"]
    assert not values


def test_stores_that_spell_otherwise_are_read_once_and_compared_by_value(world: World, values: list[str]) -> None:
    respell(world, range(700), unseen=False)
    evidence = Watched(world.path)
    found = world.verify(evidence=evidence)
    assert (found.exit_code, found.compared, found.run_read) == (0, 700, 1400)
    assert evidence.stages == ["compare", "complete"]
    assert 1400 <= len(values) <= 1500  # with those that were looked at first


def test_couchdb_is_not_expected_to_spell_as_others_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It writes numbers in its own way: a few documents alike prove nothing of the next."""
    world = World(tmp_path, Form.ELASTICSEARCH, Form.COUCHDB)
    monkeypatch.setattr(MemoryReader, "abilities", msgspec.structs.replace(MemoryReader.abilities, doubles=True))
    evidence = Watched(world.path)
    assert world.verify(evidence=evidence).exit_code == 0
    assert evidence.stages[0] == "compare"


@pytest.mark.parametrize("much", [False, True])
def test_what_is_spelled_otherwise_here_and_there_agrees(
    world: World, values: list[str], monkeypatch: pytest.MonkeyPatch, much: bool
) -> None:
    """Only hours with such a document are read by value; where that is much, nothing of them is listed."""
    if much:
        monkeypatch.setattr(engine, "_MUCH", 10)
    respelled = respell(world, range(500, 503))
    evidence = Watched(world.path)
    found = world.verify(evidence=evidence)
    assert (found.exit_code, found.totals.b, found.differing_buckets, found.unexplained_hours) == (0, 700, 0, 0)
    assert evidence.stages == ["compare by its bytes", "respell" if much else "relist", "complete"]
    assert bool(evidence.listed) != much
    assert {*respelled} <= {*values}
    assert len(values) < 300
    assert all(each.a_digest == each.b_digest for each in found.namespaces.values())


@pytest.mark.parametrize("much", [False, True])
@pytest.mark.parametrize("sample", [None, 0.5])
def test_faults_among_what_is_spelled_otherwise_are_found(
    world: World, monkeypatch: pytest.MonkeyPatch, much: bool, sample: float | None
) -> None:
    if much:
        monkeypatch.setattr(engine, "_MUCH", 10)
        monkeypatch.setattr(engine, "_MANY", 1)
    planted = plant(world)
    respell(world, range(500, 700))
    evidence = Watched(world.path)
    found = world.verify(evidence=evidence, sample=sample)
    assert evidence.stages[0] == "compare by its bytes"
    assert found.exit_code == 4
    assert not found.unexplained_hours
    kinds = {id: each.kind for id, each in world.found().items()}
    if sample is None:
        assert kinds == planted
    else:
        assert kinds.items() <= planted.items()
        assert set(kinds.values()) >= {"missing", "extra"}
    again = world.verify(evidence=Watched(world.path.with_name("again.sqlite")), sample=sample)
    assert again.namespaces == found.namespaces


def test_a_slice_that_was_looked_at_is_closed(world: World) -> None:
    """The look ends the reading that it began: a server keeps nothing open for it."""
    ended: list[Token] = []

    class Closing(MemoryReader):
        def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
            try:
                yield from super().read(slice, after, selection)
            finally:
                ended.append(slice.key)

    found = world.verify(a=Closing(world.a, page_documents=20), jobs=1)
    assert found.exit_code == 0
    assert len(ended) == 1 + len({*ended})


@pytest.mark.parametrize("once", ["a", "b"])
def test_what_can_be_read_once_only_is_compared_by_value_at_once(tmp_path: Path, once: str) -> None:
    """Neither the look nor what differs by its bytes may cost another reading."""
    world = World(tmp_path, b=Form.COUCHDB)
    respell(world, range(700), unseen=False)
    begun: set[Token] = set()

    class Pipe(MemoryReader):
        abilities = Abilities(reads_once=True)

        def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
            assert slice.key not in begun
            begun.add(slice.key)
            return super().read(slice, after, selection)

    found = world.verify(**only(once, Pipe(world.a if once == "a" else world.b, page_documents=20)))
    assert (found.exit_code, found.run_read) == (0, 1400)


@pytest.mark.parametrize("looks_up", ["a", "b"])
def test_a_look_that_fails_ends_nothing(world: World, looks_up: str) -> None:
    """Nothing depends on it: it may need a right that reading doesn't, or meet an outage."""

    class Failing(MemoryReader):
        def fetch(self, ids: Sequence[str], after: Token, selection: Selection) -> Iterator[Batch]:
            raise Unavailable("no look-ups now")

    evidence = Watched(world.path)
    readers: dict[str, Any] = {"a": ByReading(world.a), "b": ByReading(world.b)}
    readers[looks_up] = Failing(world.a if looks_up == "a" else world.b)
    assert world.verify(**readers, evidence=evidence).exit_code == 0
    assert evidence.stages == ["compare", "complete"]


def test_a_request_to_stop_ends_the_look(world: World) -> None:
    class Stopped(MemoryReader):
        def fetch(self, ids: Sequence[str], after: Token, selection: Selection) -> Iterator[Batch]:
            stop.ask(130)
            stop.check()
            raise AssertionError

    stop = Stop()
    evidence = Watched(world.path)
    with pytest.raises(Interrupted):
        world.verify(b=Stopped(world.b), stop=stop, evidence=evidence)
    assert not evidence.stages
    assert world.verify().exit_code == 0


def test_the_look_does_not_search_everything_for_little(tmp_path: Path) -> None:
    """Where pages hold nothing that is selected."""
    world = World(tmp_path, count=300)
    pages: list[Token] = []

    class Paged(MemoryReader):
        def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
            for batch in super().read(slice, after, selection):
                pages.append(batch.position)
                yield batch

    selection = Selection(names=("elsewhere",))
    assert world.verify(a=Paged(world.a, page_documents=1), selection=selection, slice_documents=100).exit_code == 0
    assert len(pages) == 300 + 3 * 5


@pytest.mark.parametrize("much", [False, True])
@pytest.mark.parametrize("bytes_first", [False, True])
def test_what_is_counted_only_may_turn_out_to_be_incomparable(
    world: World, monkeypatch: pytest.MonkeyPatch, much: bool, bytes_first: bool
) -> None:
    """Outside of a sample that shows once its hour is listed; it was read all the same, as the server counts it."""
    if much:
        monkeypatch.setattr(engine, "_MUCH", 1)
        monkeypatch.setattr(engine, "_MANY", 1)
    monkeypatch.setattr(engine, "spells_alike", lambda *_: bytes_first)
    document = next(each for each in map(world.document, range(700)) if not in_sample(each.id, 0.5))
    number = int(document.body.partition(b'"line ')[2].partition(b'"')[0])
    odd = world.document(number, annotations={"no": "array"})
    world.a.put(odd.id, odd.body)
    world.b.put(odd.id, None)
    found = world.verify(sample=0.5)
    assert (found.exit_code, found.totals.refused, found.totals.a, found.totals.b) == (3, 1, 699, 699)
    assert_consistent(found)


_NUMBERS = st.frozensets(st.integers(0, 79), max_size=12)


def _said(found: Verification, world: World) -> dict[str, Any]:
    """All that a verification says but for the digests, which are of bytes or of values."""
    assert world.evidence
    return {
        "kinds": {id: each.kind for id, each in world.found().items()},
        "findings": list(world.evidence.findings("missing", "extra", "different", "meanwhile")),
        "refused": [*world.evidence.refused("a"), *world.evidence.refused("b")],
        "namespaces": {
            name: (
                msgspec.structs.replace(each, a_digest="", b_digest=""),
                each.a_digest == each.b_digest,
            )
            for name, each in found.namespaces.items()
        },
        "hours": [msgspec.structs.replace(each, a_digest="", b_digest="") for each in found.hours],
        "counts": (found.exit_code, found.buckets, found.differing_buckets, found.unexplained_hours),
        "documents": (found.compared, found.restated, found.copies, found.remarks),
    }


@example(
    # A document outside of the sample that can't be compared, and another one of its hour that B lacks.
    forms=(Form.COUCHDB, Form.ELASTICSEARCH),
    respelled=frozenset(),
    missing=frozenset({9}),
    extra=frozenset(),
    changed=frozenset(),
    moved=frozenset(),
    flagged=frozenset(),
    odd=frozenset({0}),
    much=0,
    many=0,
    sample=0.5,
    cuts=[],
)
@examples(150)
@given(
    forms=st.tuples(st.sampled_from(Form), st.sampled_from(Form)),
    respelled=st.frozensets(st.integers(0, 79)),
    missing=_NUMBERS,
    extra=_NUMBERS,
    changed=_NUMBERS,
    moved=_NUMBERS,
    flagged=_NUMBERS,
    odd=_NUMBERS,
    much=st.sampled_from([0, 10, 60, 100_000]),
    many=st.sampled_from([0, 5, 1000]),
    sample=st.sampled_from([None, 0.5]),
    cuts=st.lists(st.integers(1, 30), max_size=3),
)
def test_bytes_first_says_what_values_alone_say(
    forms: tuple[Form, Form],
    respelled: frozenset[int],
    missing: frozenset[int],
    extra: frozenset[int],
    changed: frozenset[int],
    moved: frozenset[int],
    flagged: frozenset[int],
    odd: frozenset[int],
    much: int,
    many: int,
    sample: float | None,
    cuts: list[int],
) -> None:
    """Whatever is spelled otherwise or wrong, and wherever the run is cut off, between any two transactions."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        world = World(Path(folder), *forms, count=80)
        for number in changed:
            world.put_b(world.document(number, logs=["changed"]))
        for number in moved:
            world.put_b(world.document(number, start=1_700_000_000_000 + 100_000 * (79 - number)))
        for number in flagged:
            world.put_b(world.document(number, annotations=[{"key": "kind", "value": "nodejs:20", "init": True}]))
        for number in extra:
            world.put_b(world.document(1000 + number))
        respell(world, sorted(respelled), unseen=False)
        for number in missing:
            world.b.put(world.document(number).id, None)
        for number in odd:
            if world.a.form is Form.COUCHDB:
                document = world.document(number, annotations={"no": "array"})
                world.a.put(document.id, document.body)
        patch.setattr(engine, "_MUCH", much)
        patch.setattr(engine, "_MANY", many)
        patch.setattr(engine, "_COMMIT_DOCUMENTS", 30)
        patch.setattr(engine, "spells_alike", lambda *_: False)
        how: dict[str, Any] = {"jobs": 1, "slice_documents": 50}
        all_by_value = _said(world.verify(evidence=Evidence(None), **how), world)
        how["sample"] = sample
        by_value = _said(world.verify(evidence=Evidence(None), **how), world)
        patch.setattr(engine, "spells_alike", lambda *_: True)
        for cut in cuts:
            evidence = Cut(world.path, cut)
            try:
                world.verify(evidence=evidence, **how)
            except CutError:
                pass
            finally:
                evidence.close()
        found = world.verify(**how)
        assert_consistent(found)
        said = _said(found, world)
        if sample is None:
            assert said == by_value
        # Outside of the sample they are seen in hours that are listed.
        assert said["kinds"].items() >= by_value["kinds"].items()
        assert said["kinds"].items() <= all_by_value["kinds"].items()
        assert world.evidence
        world.evidence.close()


_TEXTS = st.text(alphabet='ab"\\é\u2028\n/', max_size=4)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**20) | st.sampled_from([1.5, 1e300, -0.0]) | _TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_TEXTS, inner, max_size=2),
    max_leaves=4,
)


@given(
    bodies=st.lists(
        st.dictionaries(st.sampled_from(["_id", "_rev", "logs", "response", "x"]), _VALUES, max_size=5),
        min_size=2,
        max_size=2,
    ),
    form=st.sampled_from(Form),
    doubles=st.booleans(),
)
@examples(500)
def test_equal_spellings_are_equal_values(bodies: list[dict[str, Any]], form: Form, doubles: bool) -> None:
    """Whatever stands in `_id` and `_rev`, and in whatever order the names are."""
    first, second = (
        Document("guest/1", form, msgspec.json.encode(body), "guest", "hello", 1_700_000_000_000) for body in bodies
    )
    if comparing.spelling(first) == comparing.spelling(second):
        assert comparing.canonical(first, doubles=doubles) == comparing.canonical(second, doubles=doubles)


@pytest.mark.parametrize(
    ("body", "spelled"),
    [
        (b'{"_id":"guest/1","_rev":"1-a","x":1}', b'"x":1}'),
        (b'{"_id":"guest/1","x":1}', b'"x":1}'),
        (b'{"x":1}', b'"x":1}'),
        (b'{"_id":"gu\\"est","_rev":"1-a","x":1}', b'"_id":"gu\\"est","_rev":"1-a","x":1}'),
        (b'{"_id":"guest/1"}', b'"_id":"guest/1"}'),
    ],
)
def test_what_couchdb_puts_first_is_no_part_of_the_spelling(body: bytes, spelled: bytes) -> None:
    def of(form: Form) -> bytes:
        return comparing.spelling(Document("guest/1", form, body, "guest", "hello", 0))

    assert of(Form.COUCHDB) == spelled
    assert of(Form.ELASTICSEARCH) == body
