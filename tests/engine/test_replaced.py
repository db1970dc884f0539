"""A store that is deleted and created again while it is used: everything is copied again, in the same run."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from migrator.activations.document import Document
from migrator.activations.selection import Selection
from migrator.adapters.base import Batch, Description, Plan, Refusal, Slice, Token, WriteOutcome
from migrator.adapters.memory import MemoryReader, MemoryStore, MemoryWriter
from migrator.engine import census, identity
from migrator.engine.identity import ReplacedError, TargetGuard, find_change
from migrator.engine.state.checkpoint import Checkpoint
from migrator.errors import Unavailable
from migrator.testing.documents import activation
from tests.support.profiles import examples
from tests.support.worlds import World


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "_FIRST_PAUSE_S", 0.0)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


class Moments:
    """Does something at some moments of a run: before or after a request to the target."""

    def __init__(self, at: frozenset[int], act: Any) -> None:
        self._at = at
        self._act = act
        self.lock = threading.Lock()
        self.passed = 0

    def pass_one(self) -> None:
        with self.lock:
            self.passed += 1
            if self.passed in self._at:
                self._act()


class Replaceable(MemoryWriter):
    """Lets moments pass around each of its requests."""

    def __init__(self, store: MemoryStore, moments: Moments) -> None:
        super().__init__(store)
        self._moments = moments

    def describe(self) -> Description:
        self._moments.pass_one()
        found = self._description()
        self._moments.pass_one()
        return found

    def _description(self) -> Description:
        return super().describe()

    def write(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
        self._moments.pass_one()
        outcome = self._write(documents, replace=replace)
        self._moments.pass_one()
        return outcome

    def _write(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
        return super().write(documents, replace=replace)

    def flush(self) -> Token:
        self._moments.pass_one()
        return None


class Indices:
    """An index for each namespace in one store, each made by the first document of its namespace."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._made = 0
        self.uuids: dict[str, str] = {}

    def make(self, namespace: str) -> None:
        if namespace not in self.uuids:
            self._made += 1
            self.uuids[namespace] = f"uuid-{self._made}"

    def delete(self, namespace: str) -> None:
        self.uuids.pop(namespace, None)
        self._store.drop(lambda each: each.startswith(f"{namespace}/"))


class IndexWriter(Replaceable):
    def __init__(self, store: MemoryStore, moments: Moments, indices: Indices) -> None:
        super().__init__(store, moments)
        self._indices = indices

    def _description(self) -> Description:
        return msgspec.structs.replace(super()._description(), identity={"indices": dict(self._indices.uuids)})

    def concerned(self, identity: Token, namespaces: Collection[str]) -> Token:
        assert isinstance(identity, dict)
        return {"indices": {name: uuid for name, uuid in identity["indices"].items() if name in namespaces}}

    def _write(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
        with self._moments.lock:  # no index goes between its making and what is put into it
            for document in documents:
                self._indices.make(document.namespace)
            return super()._write(documents, replace=replace)


class NamelessWriter(Replaceable):
    """A store that tells of itself only how many changes it has seen."""

    def _description(self) -> Description:
        return msgspec.structs.replace(super()._description(), identity=None, progress=self._store.sequence)


def start_over(store: MemoryStore) -> None:
    """Delete a store and create it again."""
    store.clear()
    store.sequence = 0


@pytest.mark.parametrize("moment", range(3, 60, 4))
def test_target_that_is_replaced_is_filled_again_in_the_same_run(world: World, moment: int) -> None:
    """Whenever that happens, the target holds everything at the end, and the run says what it did."""
    moments = Moments(frozenset([moment]), world.target.clear)
    report = world.copy(writer=Replaceable(world.target, moments), small_round=1000)
    assert world.there() == world.expected()
    assert (report.exit_code, report.totals.adds_up) == (0, True)
    assert moments.passed >= moment
    assert any("copying everything again" in message for message in world.messages)


@pytest.mark.parametrize("moment", range(3, 60, 4))
def test_target_without_an_identity_shows_by_its_progress(world: World, moment: int) -> None:
    """A store that has seen fewer changes than were made isn't the one that they were made to."""
    moments = Moments(frozenset([moment]), lambda: start_over(world.target))
    report = world.copy(writer=NamelessWriter(world.target, moments), small_round=1000)
    assert world.there() == world.expected()
    assert report.exit_code == 0


@examples(80)
@given(at=st.frozensets(st.integers(1, 80), max_size=2), jobs=st.integers(1, 3))
@example(at=frozenset([4]), jobs=1)  # right after the write that made the first index
@example(at=frozenset([4, 7]), jobs=2)
def test_index_that_is_made_twice_is_noticed(at: frozenset[int], jobs: int) -> None:
    """Also where it was deleted before anyone had seen the first one."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(identity, "_FIRST_PAUSE_S", 0.0)
        patch.setattr(census, "_PAUSE_S", 0.0)
        world = World(Path(folder), 120)
        indices = Indices(world.target)
        moments = Moments(at, lambda: indices.delete("guest"))
        report = world.copy(writer=IndexWriter(world.target, moments, indices), jobs=jobs, small_round=1000)
        lost = set(world.expected()) - set(world.there())
        assert report.exit_code == (3 if lost else 0), "after the last look only the count tells it"


def test_target_that_is_replaced_again_and_again_ends_the_run(world: World) -> None:
    """A run doesn't go on for ever; the next one starts over and completes."""
    moments = Moments(frozenset(range(8, 5000, 6)), world.target.clear)
    told = r"^memory:b was deleted or recreated: .+; run the same command to copy everything again$"
    with pytest.raises(Unavailable, match=told) as raised:
        world.copy(writer=Replaceable(world.target, moments))
    assert raised.value.exit_code == 5
    assert world.copy().exit_code == 0
    assert world.there() == world.expected()


def test_job_of_a_finished_whole_is_started_over_by_the_next_run(world: World) -> None:
    """A target that gives receipts is made of its parts, so that the run ends where it is replaced."""

    class Receipts(Replaceable):
        def resume(self, prepared: Token, receipts: Sequence[tuple[int, Token]]) -> Refusal | None:
            return None

        def write(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
            super().write(documents, replace=replace)
            return WriteOutcome(written=tuple(documents))

        def flush(self) -> Token:
            super().flush()
            return {"part": 1}

    told = r"^memory:b was deleted or recreated: .+; run the same command to copy everything again$"
    with pytest.raises(Unavailable, match=told):
        world.copy(writer=Receipts(world.target, Moments(frozenset([20]), world.target.clear)))
    assert world.copy(writer=Receipts(world.target, Moments(frozenset(), None))).totals.written == 230
    assert world.there() == world.expected()


class _Busy(MemoryReader):
    """Does something after the third page of the bulk, once."""

    def __init__(self, store: MemoryStore, act: Any) -> None:
        super().__init__(store, page_documents=10)
        self._acts = [act]
        self._pages = 0

    def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
        for batch in super().read(slice, after, selection):
            yield batch
            self._pages += 1
            if self._pages == 3 and self._acts:
                self._acts.pop()()


def refilled(world: World) -> None:
    """Delete the source and create it again, with other documents."""
    start_over(world.source)
    for number in range(2000, 2100):
        world.put(activation(number))


def test_source_that_is_replaced_is_read_again_in_the_same_run(world: World) -> None:
    """What the new one holds is in the target too, though it stands at places that were read already."""
    report = world.copy(reader=_Busy(world.source, lambda: refilled(world)), jobs=1)
    assert set(world.expected()) <= set(world.there())
    assert report.exit_code == 0
    assert any("copying everything again" in message for message in world.messages)


class _Nameless(_Busy):
    def describe(self) -> Description:
        return msgspec.structs.replace(super().describe(), identity=None, progress=self._store.sequence)


def test_source_that_was_set_back_since_the_last_run_is_read_again(world: World) -> None:
    """A source that has seen fewer changes than before is another one, or an older state of the same."""
    world.copy(reader=_Nameless(world.source, lambda: None))
    refilled(world)
    report = world.copy(reader=_Nameless(world.source, lambda: None))
    assert set(world.expected()) <= set(world.there())
    assert report.run_read >= 100
    assert any("reading everything again" in message for message in world.messages)


def test_one_replica_that_lags_is_no_other_store(world: World) -> None:
    """A smaller number that the next look doesn't confirm changes nothing."""

    class Lagging(NamelessWriter):
        looks = 0

        def _description(self) -> Description:
            self.looks += 1
            found = super()._description()
            assert found.progress is not None
            return msgspec.structs.replace(found, progress=found.progress - 5 * (self.looks % 3 == 0))

    world.copy(writer=Lagging(world.target, Moments(frozenset(), None)))
    assert world.there() == world.expected()
    assert not any("again" in message for message in world.messages)


def test_new_indices_of_other_workers_are_no_change(world: World) -> None:
    """Many namespaces, each of which makes an index while others are written: nothing is copied again."""
    for number in range(1000, 1200):
        world.put(activation(number, f"space{number % 40}"))
    indices = Indices(world.target)
    world.copy(writer=IndexWriter(world.target, Moments(frozenset(), None), indices), jobs=8)
    assert world.there() == world.expected()
    assert not any("again" in message for message in world.messages)


@pytest.mark.parametrize("at", [1, 9, 30, 60])
def test_index_of_others_that_goes_is_no_change(world: World, at: int) -> None:
    """What no document of the job is in may be deleted, closed or made again while it runs, and after it."""
    indices = Indices(world.target)
    indices.make("others")
    report = world.copy(
        writer=IndexWriter(world.target, Moments(frozenset({at}), lambda: indices.delete("others")), indices)
    )
    assert report.exit_code == 0
    assert "others" not in indices.uuids
    indices.make("others")
    world.put(activation(900))
    world.copy(writer=IndexWriter(world.target, Moments(frozenset({at}), lambda: indices.delete("others")), indices))
    assert world.there() == world.expected()
    assert not any("again" in message or "starting over" in message for message in world.messages)


@pytest.mark.parametrize("at", range(4, 40, 5))
def test_index_that_was_there_before_is_watched_from_its_first_document_on(world: World, at: int) -> None:
    """Also one in which everything was found already; noted as it was before the first look into it."""
    world.copy()
    indices = Indices(world.target)
    for namespace in ("guest", "whisk.system", "others"):
        indices.make(namespace)
    world.path.unlink()

    def replace() -> None:
        indices.delete("guest")
        indices.make("guest")

    world.copy(writer=IndexWriter(world.target, Moments(frozenset({at}), replace), indices))
    assert world.there() == world.expected()


def test_index_that_went_between_two_runs_is_noticed_where_it_is_ours(world: World) -> None:
    """The checkpoint has noted those with documents of the job, and no other."""
    indices = Indices(world.target)
    indices.make("others")
    world.copy(writer=IndexWriter(world.target, Moments(frozenset(), None), indices))
    with closing(Checkpoint(world.path)) as checkpoint:
        assert checkpoint.stores is not None
        identity = checkpoint.stores[1].identity
        assert isinstance(identity, dict)
        assert identity["indices"].keys() == {"guest", "whisk.system"}
    indices.delete("guest")
    world.copy(writer=IndexWriter(world.target, Moments(frozenset(), None), indices))
    assert world.there() == world.expected()
    assert any("guest is gone" in message for message in world.messages)


def test_target_is_looked_at_once_a_commit(world: World) -> None:
    """And twice more: when the run begins, and at its end."""
    moments = Moments(frozenset(), None)

    class Counting(Replaceable):
        looks = commits = 0

        def _description(self) -> Description:
            self.looks += 1
            return super()._description()

        def flush(self) -> Token:
            self.commits += 1
            return super().flush()

    writer = Counting(world.target, moments)
    world.copy(writer=writer, jobs=1)
    assert writer.looks == writer.commits + 2


def test_dry_run_does_not_look_at_the_target_for_each_page(world: World) -> None:
    """Nothing was written that could be lost."""
    from migrator.adapters.wrappers.dry_run import DryRunWriter

    moments = Moments(frozenset(), None)
    world.copy(writer=DryRunWriter(Replaceable(world.target, moments)), dry_run=True)
    assert moments.passed == 2


def test_change_is_reported_in_words() -> None:
    """What is gone, what was made again, and how far the store has come."""
    before = Description(location="x", product="x", version="1", identity={"cluster": "a", "indices": {"i": "1"}})
    assert find_change(before, before) is None
    for identity_now, words in [
        ({"cluster": "a", "indices": {}}, "i is gone"),
        ({"cluster": "a", "indices": {"i": "2"}}, "i was recreated"),
        ({"cluster": "b", "indices": {"i": "1"}}, "cluster was recreated"),
        ({"cluster": "a", "indices": {"i": "1", "j": "1"}}, None),
    ]:
        assert find_change(before, msgspec.structs.replace(before, identity=identity_now)) == words
    assert (
        find_change(msgspec.structs.replace(before, progress=7), msgspec.structs.replace(before, progress=6))
        == "it counts 6 changes, but at least 7 were made"
    )


def test_two_workers_that_saw_two_indices_of_one_name_tell_it(world: World) -> None:
    """Each look is the other's older one; only together they show that the index was made twice."""
    store = world.target
    seen: Sequence[dict[str, Any]] = ({"i": "2"},)
    first = Description(location="x", product="x", version="1", identity={})

    class Looks(MemoryWriter):
        def describe(self) -> Description:
            guard._noted = msgspec.structs.replace(first, identity={"i": "1"})  # meanwhile, by another worker
            return msgspec.structs.replace(first, identity=seen[0])

    guard = TargetGuard(Looks(store), first, sleep=lambda _: None)
    with pytest.raises(ReplacedError, match=r"^x was deleted or recreated: two requests reached different stores$"):
        guard.check()


def test_target_that_does_not_answer_is_asked_for_all_workers_at_once() -> None:
    """One after the other they would wait for it as often as there are workers, and Ctrl-C with them."""
    store, arrived = MemoryStore("target"), threading.Semaphore(0)

    class Away(MemoryWriter):
        looks = 0

        def concerned(self, identity: Token, namespaces: Collection[str]) -> Token:
            arrived.release()
            return identity

        def describe(self) -> Description:
            self.looks += 1
            for _ in range(8 if self.looks == 1 else 0):
                arrived.acquire()
            raise Unavailable("no answer")

    writer = Away(store)
    guard = TargetGuard(writer, MemoryWriter(store).describe(), sleep=lambda _: None)
    told: list[str] = []

    def look() -> None:
        try:
            guard.check()
        except Unavailable as error:
            told.append(str(error))

    workers = [threading.Thread(target=look) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert told == ["no answer"] * 8
    assert writer.looks < 8


def test_plan_stays_what_readers_promise(world: World) -> None:
    """A source that stays the same is planned once."""
    plans = 0

    class Counting(MemoryReader):
        def plan(self, selection: Selection, *, slice_documents: int) -> Plan:
            nonlocal plans
            plans += 1
            return super().plan(selection, slice_documents=slice_documents)

    world.copy(reader=Counting(world.source, page_documents=10))
    assert plans == 1
