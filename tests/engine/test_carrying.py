"""How one batch is written: by the conflict rule, and over nothing that isn't this job's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from typing import Any

import pytest

from migrator.activations.document import Document, Form
from migrator.adapters.base import Abilities, Batch, Slice, Token, WriteOutcome
from migrator.adapters.memory import MemoryStore, MemoryWriter
from migrator.engine.carrying import Carrying, OutpacedError, Terms
from migrator.engine.held import Flushed
from migrator.engine.state.checkpoint import Commit, OpenSlice
from migrator.events.watching import Stop
from migrator.testing.documents import activation


class Job:
    """What a worker asks of the job, and what it tells it."""

    any_aside = False

    def __init__(self) -> None:
        self.proven: Set[str] = frozenset()
        self.differing: Set[str] = frozenset()
        self.told: list[Any] = []

    def among_differing(self, documents: Sequence[Document]) -> Set[str]:
        return self.differing & {each.id for each in documents}

    def carried(self, commit: Commit) -> None:
        self.told.append(("carried", commit.position))

    def flushed(self, flushed: Flushed) -> None:
        self.told.append(("flushed", [each.position for each in flushed.commits]))


class Target(MemoryWriter):
    """Notes how it was asked to write."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.asked: list[tuple[str, list[str]]] = []

    def write(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
        self.asked.append(("replace" if replace else "add", [each.id for each in documents]))
        return super().write(documents, replace=replace)

    def replace_before(self, documents: Sequence[Document], mark: Token) -> WriteOutcome:
        self.asked.append(("replace before", [each.id for each in documents]))
        return super().replace_before(documents, mark)


def open_slice(*, replaces: bool = False, begun_before: bool = False, attempt: int = 0) -> OpenSlice:
    slice = Slice(key="all", spec={}, replaces=replaces)
    return OpenSlice(number=3, slice=slice, position=None, begun_before=begun_before, attempt=attempt)


class Bench:
    def __init__(self) -> None:
        self.store = MemoryStore("b", Form.COUCHDB)
        self.writer = Target(self.store)
        self.job = Job()

    def put(self, document: Document) -> None:
        self.store.put(document.id, document.body)

    def carrying(self, *, fenced: bool = False, commits_late: bool = False, **terms: Any) -> Carrying:
        return Carrying(self.writer, Terms(**terms), self.job, fenced=fenced, commits_late=commits_late)

    def carry(self, document: Document, *, slice: OpenSlice, **terms: Any) -> Flushed:
        (flushed,) = list(self.carrying(**terms).carry(slice, [Batch(documents=(document,), position=1)], Stop()))
        return flushed


@pytest.fixture
def bench() -> Bench:
    return Bench()


OLD, NEW = activation(1), activation(1, logs=["newer"])


def there(bench: Bench) -> bytes | None:
    return bench.store.entries[OLD.id].body


@pytest.mark.parametrize("begun_before", [False, True])
@pytest.mark.parametrize("replaces", [False, True])
@pytest.mark.parametrize("rereads_newer", [False, True])
@pytest.mark.parametrize("whose", ["stranger", "ours", "ours, listed"])
def test_only_an_older_version_of_our_own_gives_way(
    bench: Bench, begun_before: bool, replaces: bool, rereads_newer: bool, whose: str
) -> None:
    """And only where the slice may bring a newer one: in catch-up, or in what an earlier attempt may have read."""
    if whose == "stranger":
        bench.put(OLD)
    mark = bench.writer.mark()
    if whose != "stranger":
        bench.put(OLD)
    if whose == "ours, listed":
        bench.job.differing = frozenset({OLD.id})
    slice = open_slice(replaces=replaces, begun_before=begun_before)
    flushed = bench.carry(NEW, slice=slice, mark=mark, rereads_newer=rereads_newer)
    gives_way = whose == "ours" and (replaces or (begun_before and rereads_newer))
    assert there(bench) == (NEW if gives_way else OLD).body
    (commit,) = flushed.commits
    counts = commit.counts["guest"]
    assert (counts.read, counts.written, counts.differing) == ((1, 1, 0) if gives_way else (1, 0, 1))
    assert [each.kind for each in commit.set_aside] == ([] if gives_way else ["differing"])
    assert bench.writer.asked == [("add", [OLD.id]), *([("replace", [OLD.id])] if gives_way else [])]


def test_with_overwrite_whatever_is_there_is_replaced(bench: Bench) -> None:
    bench.put(OLD)
    bench.carry(NEW, slice=open_slice(), mark=bench.writer.mark(), on_conflict="overwrite")
    assert there(bench) == NEW.body
    assert bench.writer.asked == [("replace", [OLD.id])]


@pytest.mark.parametrize(
    ("slice", "terms", "created"),
    [
        (open_slice(), {}, 1),
        (open_slice(replaces=True), {}, 0),
        (open_slice(begun_before=True), {}, 0),
        (open_slice(), {"on_conflict": "overwrite"}, 0),
        (open_slice(), {"on_conflict": "fail"}, 1),
    ],
)
def test_a_document_is_created_where_no_version_of_it_can_have_been_there(
    bench: Bench, slice: OpenSlice, terms: dict[str, Any], created: int
) -> None:
    flushed = bench.carry(OLD, slice=slice, **terms)
    (commit,) = flushed.commits
    assert (commit.slice, commit.position, commit.created) == (3, 1, created)
    assert sum(commit.there.values()) == (0 if slice.slice.replaces else 1)


@pytest.mark.parametrize(
    ("slice", "terms", "fenced", "fences"),
    [
        (open_slice(), {}, True, False),
        (open_slice(replaces=True), {}, True, True),
        (open_slice(begun_before=True), {}, True, True),
        (open_slice(), {"on_conflict": "overwrite"}, True, True),
        (open_slice(replaces=True), {}, False, False),
        (open_slice(begun_before=True), {"on_conflict": "overwrite"}, False, False),
    ],
)
def test_an_attempt_that_may_be_one_of_several_writes_over_nothing_newer(
    bench: Bench, slice: OpenSlice, terms: dict[str, Any], fenced: bool, fences: bool
) -> None:
    """What was stored since it began stays, and another attempt reads again."""
    mark = bench.writer.mark()
    bench.put(OLD)
    carrying = bench.carrying(fenced=fenced, mark=mark, rereads_newer=True, **terms)
    carrying.begin(slice)
    batch = Batch(documents=(NEW,), position=1)
    if not fences:
        list(carrying.carry(slice, [batch], Stop()))
        assert "replace before" not in dict(bench.writer.asked)
        return
    bench.put(activation(1, logs=["of somebody else"]))
    told = f"^{OLD.id} was stored by something else meanwhile; reading it again$"
    with pytest.raises(OutpacedError, match=told):
        list(carrying.carry(slice, [batch], Stop()))
    assert there(bench) == activation(1, logs=["of somebody else"]).body
    carrying.begin(slice)
    list(carrying.carry(slice, [batch], Stop()))
    assert there(bench) == NEW.body


def test_each_batch_is_committed_and_the_end_comes_with_the_rest(bench: Bench) -> None:
    """In the order: durable, told, and only then counted; a stop ends it after the batch in hand."""
    batches = [Batch(documents=(activation(at),), position=at) for at in range(3)]
    carrying = bench.carrying()
    slice = open_slice(attempt=7)
    found = list(carrying.carry(slice, batches, Stop()))
    assert [([each.position for each in flushed.commits], flushed.ended) for flushed in found] == [
        ([0], []),
        ([1], []),
        ([2], []),
    ]
    assert bench.job.told == [told for at in range(3) for told in (("flushed", [at]), ("carried", at))]
    (rest,) = list(carrying.rest())
    assert (rest.commits, rest.ended, rest.attempts) == ([], [3], {3: 7})
    assert list(carrying.rest()) == []
    stop = Stop()
    stop.ask()
    stopped = bench.carrying()
    assert [len(each.commits) for each in stopped.carry(slice, batches, stop)] == [1]
    assert list(stopped.rest()) == []


def test_what_is_committed_late_comes_at_once_with_the_rest(bench: Bench) -> None:
    batches = [Batch(documents=(activation(at),), position=at) for at in range(3)]
    carrying = bench.carrying(commits_late=True)
    assert list(carrying.carry(open_slice(), batches, Stop())) == []
    (rest,) = list(carrying.rest())
    assert ([each.position for each in rest.commits], rest.ended) == ([0, 1, 2], [3])


@pytest.mark.parametrize(("terms", "sampled"), [({}, True), ({"dry_run": True}, False)])
def test_the_first_document_of_a_namespace_that_is_not_proven_is_a_sample(
    bench: Bench, terms: dict[str, Any], sampled: bool
) -> None:
    """Not in a dry run, which writes nothing."""
    documents = [activation(at, namespace) for at, namespace in enumerate(["guest", "guest", "other", "known"])]
    bench.job.proven = frozenset({"known"})
    batch = Batch(documents=tuple(documents), position=1)
    (flushed,) = list(bench.carrying(**terms).carry(open_slice(), [batch], Stop()))
    assert [each.id for each in flushed.samples] == ([documents[0].id, documents[2].id] if sampled else [])


def carried_at(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, moments: Sequence[tuple[float, str]]
) -> list[list[Token]]:
    """The positions of each commit, of a batch with one document of a namespace at each moment, then of the rest."""
    now_s = 0.0
    monkeypatch.setattr("migrator.engine.held.time.monotonic", lambda: now_s)
    bench.writer.abilities = Abilities(visible_after_s=1.5)
    carrying = bench.carrying()
    found: list[list[Token]] = []
    for at, (now_s, namespace) in enumerate(moments):
        batch = Batch(documents=(activation(at, namespace),), position=now_s)
        for flushed in carrying.carry(open_slice(), [batch], Stop()):
            found.append([each.position for each in flushed.commits])
            bench.job.proven |= flushed.namespaces
    found += [[each.position for each in flushed.commits] for flushed in carrying.rest()]
    return [positions for positions in found if positions]


def test_samples_are_looked_up_once_the_target_shows_them(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written to a namespace whose place isn't proven is committed late; after that nothing waits."""
    moments = [(0.0, "guest"), (0.4, "guest"), (1.4, "guest"), (1.5, "guest"), (1.6, "guest"), (9.0, "other")]
    assert carried_at(bench, monkeypatch, moments) == [[0.0, 0.4, 1.4, 1.5], [1.6], [9.0]]


def test_a_new_sample_is_waited_for_but_not_for_ever(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = [(float(at), f"team-{at}") for at in range(8)]
    assert carried_at(bench, monkeypatch, moments) == [[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [7.0]]
    moments = [(0.0, "a"), (1.0, "b"), (2.0, "a"), (2.5, "b"), (3.0, "a")]
    assert carried_at(Bench(), monkeypatch, moments) == [[0.0, 1.0, 2.0, 2.5], [3.0]]


def test_what_is_held_is_committed_though_the_source_is_slow(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """None among the batches says that nothing has come for a while."""
    now = 0.0
    monkeypatch.setattr("migrator.engine.held.time.monotonic", lambda: now)
    bench.writer.abilities = Abilities(visible_after_s=1.5)

    def batches() -> Iterator[Batch | None]:
        nonlocal now
        yield None
        yield Batch(documents=(NEW,), position=1)
        now = 1.0
        yield None
        assert committed == []
        now = 1.6
        yield None
        assert committed == [[1]]

    carrying, committed = bench.carrying(), list[list[Token]]()
    for flushed in carrying.carry(open_slice(), batches(), Stop()):
        committed.append([commit.position for commit in flushed.commits])
    assert committed == [[1]]
    assert [[*flushed.ended] for flushed in carrying.rest()] == [[3]]


def test_what_is_set_aside_or_large_or_was_there_is_not_held(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for a document after an error finds it in the checkpoint; what is held is no more than a page."""
    monkeypatch.setattr("migrator.engine.held.time.monotonic", lambda: 0.0)
    bench.writer.abilities = Abilities(visible_after_s=1.5)

    def committed(*documents: Document) -> int:
        batch = Batch(documents=documents, position=1)
        return sum(len(each.commits) for each in bench.carrying().carry(open_slice(), [batch], Stop()))

    large = activation(7, logs=["x" * 4_000_000])
    many = [activation(at, f"team-{at}") for at in range(501)]
    bench.put(OLD)
    assert [committed(activation(5)), committed(activation(6), NEW), committed(large)] == [0, 1, 1]
    assert [committed(activation(5)), committed(*many[:500]), committed(*many), committed(*many)] == [1, 0, 1, 1]


def test_a_batch_without_documents_asks_the_target_nothing(bench: Bench) -> None:
    batch = Batch(documents=(), position=5, filtered={"": 2})
    (flushed,) = list(bench.carrying().carry(open_slice(), [batch], Stop()))
    assert bench.writer.asked == []
    assert flushed.commits[0].position == 5


def test_terms_and_job_may_be_renewed(bench: Bench) -> None:
    carrying, other = bench.carrying(), Job()
    bench.put(OLD)
    carrying.renew(Terms(on_conflict="overwrite"), other)
    list(carrying.carry(open_slice(), [Batch(documents=(NEW,), position=1)], Stop()))
    assert there(bench) == NEW.body
    assert (bench.job.told, len(other.told)) == ([], 2)
