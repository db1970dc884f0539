"""What becomes of each document of a batch, whatever happens meanwhile, and how all of it is accounted for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from migrator.activations.document import Document
from migrator.activations.selection import Selection
from migrator.adapters.removal import Address, Change, ChangeOutcome, Held
from migrator.adapters.shared.patience import Policy
from migrator.engine.removal.journal import Entry, Journal
from migrator.engine.removal.reading import Candidate, Candidates, Ledger
from migrator.engine.removal.removing import Pace, Removing, _parts
from migrator.engine.removal.values import Kept, NamespacePurge
from migrator.errors import AccessDenied, Unavailable
from migrator.events.watching import Progress, Stop
from migrator.testing.documents import activation
from tests.support.purges import read_log

INDICES = ("acts-1", "acts-2")
DOCUMENTS = [msgspec.structs.replace(activation(number), index=INDICES[number % 2]) for number in range(20)]


class Remover:
    """A store whose documents are in two indices, and what it is asked for."""

    def __init__(self) -> None:
        self.held = {(each.id, each.index): each for each in DOCUMENTS}
        self.looked: list[Address] = []

    def look(self, addresses: Sequence[Address]) -> list[Held]:
        self.looked += addresses
        found = [self.held.get((each.id, each.index)) for each in addresses]
        return [Held(document=each, version=1) for each in found if each is not None]

    def change(self, changes: Sequence[Change]) -> ChangeOutcome:
        return ChangeOutcome(done=tuple(changes))


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("endures", [True, False])
def test_documents_of_an_index_that_was_deleted_are_looked_at_no_more(
    tmp_path: Path, whole: bool, endures: bool
) -> None:
    """They were accounted for with it. By a proof that is in use, one document goes first, so no index does."""
    remover, ledger, journal = Remover(), Ledger(lambda _: None), Journal(tmp_path)
    journal.begin_log("log")
    guard = SimpleNamespace(
        proof_endures=endures,
        store=SimpleNamespace(identity={}),
        check=lambda: None,
        survived=lambda _: None,
        still_proven=lambda documents: {each.id: True for each in documents},
    )
    comparison = SimpleNamespace(
        verdict=lambda *_: ("proven", ""),
        has_work=lambda _: True,
        replacement=lambda _: None,
        proof_digest=lambda _: b"digest",
    )
    removing = Removing(
        cast(Any, remover),
        cast(Any, guard),
        cast(Any, comparison),
        journal,
        ledger,
        Selection(),
        Policy(sleep=lambda _: None),
        Pace(None, sleep=lambda _: None),
        stop=Stop(),
        observe=lambda _: None,
        tell=lambda _: None,
    )

    def drop(*_: object) -> frozenset[str]:
        for key in [key for key in remover.held if key[1] == "acts-1"]:
            del remover.held[key]
        return frozenset({"acts-1"})

    removing._dropping = cast(Any, SimpleNamespace(run=drop))
    candidates = Candidates()
    for each in DOCUMENTS:
        candidates.add(Candidate(each.id, each.index, each.namespace))
    removing.run(candidates, cast(Any, None), Progress(), whole=whole)
    candidates.close()
    is_dropped = whole and endures
    expected = {(each.id, each.index) for each in DOCUMENTS if not (is_dropped and each.index == "acts-1")}
    assert {(each.id, each.index) for each in remover.looked} == expected
    account = ledger.of("guest")
    assert (account.removed, account.gone, account.kept) == (len(expected), 0, 0)


# -- what becomes of each document ----------------------------------------------------------------------------------


class Store:
    """What a store holds while a batch is sent, and what it answers, step by step."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self.held = {each.id: Held(document=each, version=1) for each in documents}
        self.answers: list[Callable[[Sequence[Change]], ChangeOutcome]] = []
        self.sent: list[list[str]] = []

    def look(self, addresses: Sequence[Address]) -> list[Held]:
        return [self.held[each.id] for each in addresses if each.id in self.held]

    def take(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if change.body is None:
                del self.held[change.held.document.id]
            else:
                document = msgspec.structs.replace(change.held.document, body=change.body)
                self.held[document.id] = Held(document=document, version=2)

    def change(self, changes: Sequence[Change]) -> ChangeOutcome:
        self.sent.append([change.held.document.id for change in changes])
        if self.answers:
            return self.answers.pop(0)(changes)
        self.take(changes)
        return ChangeOutcome(done=tuple(changes))


class Purge:
    """A purge of some documents, in which everything that isn't asked for is as it should be."""

    def __init__(self, folder: Path, documents: Sequence[Document], **how: Any) -> None:
        self.store: Store = how.get("store") or Store(documents)
        self.journal = Journal(folder)
        self.journal.begin_log("log")
        self.kept: list[Kept] = []
        self.ledger = Ledger(self.kept.extend)
        self.verdicts: dict[str, tuple[str, str]] = {}
        self.unproven: set[str] = set()
        self.survivors: list[str] = []
        self.slept: list[float] = []
        self.checks = 0
        self.identity: Any = "store#1"
        self.documents = documents
        self.progress = Progress()
        self.seen: list[int] = []
        self.replaces: bool = how.get("replaces", False)
        self.has_work = how.get("has_work", lambda _: True)
        guard = SimpleNamespace(
            proof_endures=how.get("endures", True),
            store=SimpleNamespace(identity=self.identity),
            check=self._check,
            survived=lambda each: self.survivors.append(each.id),
            dropped=lambda _: None,
            still_proven=lambda some: {each.id: each.id not in self.unproven for each in some},
        )
        comparison = SimpleNamespace(
            verdict=lambda each, _: self.verdicts.get(each.id, ("proven", "")),
            has_work=self.has_work,
            replacement=lambda _: b"{}" if self.replaces else None,
            proof_digest=lambda each: each.body[:4],
        )
        self.removing = Removing(
            cast(Any, self.store),
            cast(Any, guard),
            cast(Any, comparison),
            self.journal,
            self.ledger,
            how.get("selection", Selection()),
            Policy(sleep=self.slept.append, patience_s=1e9, first_pause_s=0.0),
            Pace(how.get("rate"), sleep=self.slept.append, clock=lambda: 0.0),
            stop=Stop(),
            observe=lambda progress: self.seen.append(progress.counts.read),
            tell=lambda _: None,
        )

    def _check(self) -> None:
        self.checks += 1

    def run(self, *, whole: bool = False) -> None:
        with closing(Candidates()) as candidates:
            for each in self.documents:
                candidates.add(Candidate(each.id, each.index, each.namespace))
            self.removing.run(candidates, cast(Any, None), self.progress, whole=whole)

    @property
    def account(self) -> NamespacePurge:
        return self.ledger.of("guest")

    @property
    def logged(self) -> list[dict[str, Any]]:
        assert self.journal.log is not None
        return read_log(self.journal.log)


ONE, TWO, THREE = (activation(number, logs=["x" * 10]) for number in range(3))


def line(document: Document, what: str = "removed", version: Any = 1) -> dict[str, Any]:
    return {
        "what": what,
        "id": document.id,
        "namespace": document.namespace,
        "digest": document.body[:4].hex(),
        "start": document.start_ms,
        "bytes": len(document.body),
        "version": version,
    }


def kept(document: Document, kind: str, note: str = "") -> Kept:
    return Kept(kind=kind, id=document.id, namespace=document.namespace, index=document.index, note=note)


def test_what_is_removed_is_counted_logged_and_seen_to_survive(tmp_path: Path) -> None:
    """The log names each with what it was; only the last one is looked for in the proof."""
    purge = Purge(tmp_path, [ONE, TWO])
    purge.run()
    assert purge.account == NamespacePurge(removed=2, removed_bytes=len(ONE.body) + len(TWO.body))
    assert purge.logged == [line(ONE), line(TWO)]
    assert purge.store.held == {}
    assert (purge.survivors, purge.checks, purge.seen, purge.slept) == ([TWO.id], 1, [2], [])
    assert purge.journal.pending() is None


def test_a_document_of_an_index_is_logged_with_it(tmp_path: Path) -> None:
    stored = msgspec.structs.replace(ONE, index="acts-1")
    purge = Purge(tmp_path, [stored])
    purge.run()
    assert purge.logged == [line(stored) | {"index": "acts-1"}]


@pytest.mark.parametrize(
    ("verdict", "unproven", "kind", "note"),
    [
        (("missing", ""), False, "changed", ""),
        (("differs", "why"), False, "changed", "why"),
        (("proven", ""), True, "missing", ""),
        (("conflicts", ""), False, "conflicts", ""),
        (("attachments", ""), True, "attachments", ""),
    ],
)
def test_what_is_not_proven_any_more_stays(
    tmp_path: Path, verdict: tuple[str, str], unproven: bool, kind: str, note: str
) -> None:
    """It was proven when the store was read: what differs now was changed since."""
    purge = Purge(tmp_path, [ONE, TWO])
    purge.verdicts[ONE.id] = verdict
    purge.unproven = {ONE.id} if unproven else set()
    purge.run()
    assert purge.kept == [kept(ONE, kind, note)]
    assert purge.account == NamespacePurge(removed=1, removed_bytes=len(TWO.body), kept=1)
    assert purge.logged == [line(TWO)]


def test_what_is_not_selected_any_more_was_changed(tmp_path: Path) -> None:
    purge = Purge(tmp_path, [ONE, TWO], selection=Selection(until_ms=TWO.start_ms))
    purge.run()
    assert purge.kept == [kept(TWO, "changed")]
    assert purge.account.removed == 1


def test_what_is_gone_before_it_is_sent_is_counted_as_gone(tmp_path: Path) -> None:
    """So is what there is nothing to remove of any more."""
    purge = Purge(tmp_path, [ONE, TWO], has_work=lambda each: each.id != TWO.id)
    del purge.store.held[ONE.id]
    purge.run()
    assert purge.account == NamespacePurge(gone=2)
    assert (purge.store.sent, purge.logged, purge.survivors) == ([], [], [])


def test_what_the_server_refuses_stays_with_its_reason(tmp_path: Path) -> None:
    purge = Purge(tmp_path, [ONE, TWO])
    purge.store.answers = [lambda changes: ChangeOutcome(done=tuple(changes[1:]), refused=((changes[0], "forbidden"),))]
    purge.run()
    assert purge.kept == [kept(ONE, "refused", "forbidden")]
    assert purge.logged == [line(TWO)]


def test_what_was_outdated_at_once_was_changed_or_is_gone(tmp_path: Path) -> None:
    """Nobody but another can have done it: nothing was sent before."""
    purge = Purge(tmp_path, [ONE, TWO])

    def outdated(changes: Sequence[Change]) -> ChangeOutcome:
        del purge.store.held[ONE.id]
        return ChangeOutcome(outdated=tuple(changes))

    purge.store.answers = [outdated]
    purge.run()
    assert purge.kept == [kept(TWO, "changed")]
    assert purge.account == NamespacePurge(gone=1, kept=1)
    assert purge.logged == []


@pytest.mark.parametrize("replaces", [False, True])
def test_after_a_lost_answer_it_is_looked_up_what_was_done(tmp_path: Path, replaces: bool) -> None:
    """What is as it would be was done; what is as it was is sent again; anything else was changed."""
    purge = Purge(tmp_path, [ONE, TWO, THREE], replaces=replaces)

    def lose(changes: Sequence[Change]) -> ChangeOutcome:
        purge.store.take(changes[:1])
        purge.store.held[THREE.id] = Held(document=THREE, version=9)
        raise Unavailable("cut off")

    purge.store.answers = [lose]
    purge.run()
    assert purge.store.sent == [[ONE.id, TWO.id, THREE.id], [TWO.id]]
    assert purge.kept == [kept(THREE, "changed")]
    removed = sum(len(each.body) - (2 if replaces else 0) for each in (ONE, TWO))
    assert purge.account == NamespacePurge(removed=2, removed_bytes=removed, kept=1)
    what = "logs removed" if replaces else "removed"
    assert purge.logged == [line(ONE, what), line(TWO, what)]
    assert purge.checks == 2


def test_what_is_outdated_after_a_lost_answer_may_be_its_own_doing(tmp_path: Path) -> None:
    purge = Purge(tmp_path, [ONE, TWO])

    def outdated(changes: Sequence[Change]) -> ChangeOutcome:
        purge.store.take(changes[:1])
        return ChangeOutcome(outdated=tuple(changes))

    def unknown(changes: Sequence[Change]) -> ChangeOutcome:
        return ChangeOutcome(unknown=tuple(changes))

    purge.store.answers = [unknown, outdated]
    purge.run()
    assert purge.kept == [kept(TWO, "changed")]
    assert purge.account == NamespacePurge(removed=1, removed_bytes=len(ONE.body), kept=1)


def test_a_login_that_may_not_delete_ends_it(tmp_path: Path) -> None:
    purge = Purge(tmp_path, [ONE])
    denied = AccessDenied("no")
    purge.store.answers = [lambda changes: ChangeOutcome(unknown=tuple(changes), condition=denied)]
    with pytest.raises(AccessDenied, match=r"^no$"):
        purge.run()
    assert purge.journal.pending() is not None


def test_a_proof_in_use_is_tried_with_one_document_first(tmp_path: Path) -> None:
    """A replication is given time to show itself; after each batch the last one is looked for."""
    documents = [activation(number) for number in range(4)]
    purge = Purge(tmp_path, documents, endures=False, rate=2)
    purge.run()
    assert [len(each) for each in purge.store.sent] == [1, 2, 1]
    assert purge.survivors == [documents[0].id, documents[2].id, documents[3].id]
    assert purge.slept == [5.0, 0.5, 1.5]


@pytest.mark.parametrize(
    ("rate", "batch"), [(None, 500), (0.5, 1), (1, 1), (1.9, 1), (2, 2), (499.9, 499), (500, 500), (10_000, 500)]
)
def test_a_batch_is_about_what_a_second_lets_through(rate: float | None, batch: int) -> None:
    assert Pace(rate, sleep=lambda _: None).batch == batch


def test_a_pace_lets_so_many_documents_through_in_a_second() -> None:
    """Time that passes by itself counts; what wasn't used up before doesn't make the next ones faster."""
    now_s, slept = 100.0, list[float]()
    pace = Pace(10, sleep=slept.append, clock=lambda: now_s)
    for documents, later_s in ((5, 0.0), (5, 0.25), (20, 0.75), (10, 10.0), (1, 0.0)):
        now_s += later_s
        pace.wait(documents)
    assert slept == [0.25, 1.0]


def test_replacements_go_in_requests_of_about_a_megabyte() -> None:
    """What is removed altogether takes no room."""

    def change(size_bytes: int | None) -> Change:
        body = None if size_bytes is None else b"x" * size_bytes
        return Change(held=Held(document=ONE, version=1), body=body)

    def sizes(*changes: int | None) -> list[list[int | None]]:
        parts = _parts([change(each) for each in changes])
        return [[None if each.body is None else len(each.body) for each in part] for part in parts]

    assert sizes() == []
    assert sizes(*[None] * 700) == [[None] * 700]
    assert sizes(999_999, 5, 5) == [[999_999, 5], [5]]
    assert sizes(1_000_000, 5) == [[1_000_000], [5]]
    assert sizes(2_000_000, 2_000_000) == [[2_000_000], [2_000_000]]


# -- what an earlier run left ----------------------------------------------------------------------------------------


def entry(document: Document, *, after: str | None = None) -> Entry:
    return Entry(
        id=document.id,
        index=document.index,
        namespace=document.namespace,
        start_ms=document.start_ms,
        size_bytes=len(document.body),
        digest=document.body[:4].hex(),
        version=1,
        after=after,
    )


def test_of_a_batch_that_was_sent_it_is_found_out_what_was_done(tmp_path: Path) -> None:
    """What is gone was removed; what has the content that was to take its place had its logs removed."""
    emptied = msgspec.structs.replace(THREE, body=b"new content")
    purge = Purge(tmp_path, [TWO, emptied])
    other = activation(7)
    batch = [entry(ONE), entry(TWO), entry(THREE, after=b"new ".hex()), entry(other, after=b"new ".hex())]
    purge.journal.begin(batch, "store#1")
    assert purge.removing.settle() == 2
    assert purge.logged == [line(ONE), line(THREE, "logs removed")]
    assert purge.removing.settle() == 0


def test_what_became_of_a_batch_in_a_store_that_was_replaced_is_unknown(tmp_path: Path) -> None:
    purge = Purge(tmp_path, [])
    purge.journal.begin([entry(ONE)], "store#0")
    assert purge.removing.settle() == 0
    assert purge.logged == [line(ONE, "unknown")]
    assert purge.journal.pending() is None


class Indexed(Store):
    """A store whose documents are in indices that it deletes as a whole."""

    def __init__(self, documents: Sequence[Document]) -> None:
        super().__init__(documents)
        self.done: list[str] = []

    def freeze(self, index: str) -> None:
        self.done.append(f"freeze {index}")

    def thaw(self, index: str) -> None:
        self.done.append(f"thaw {index}")

    def count(self, index: str) -> tuple[int, int]:
        return sum(each.document.index == index for each in self.held.values()), 1

    def drop(self, index: str) -> None:
        self.done.append(f"drop {index}")
        self.held = {id: each for id, each in self.held.items() if each.document.index != index}


@pytest.mark.parametrize("whole", [True, False])
def test_an_index_of_which_all_is_proven_goes_as_a_whole_where_that_is_asked_for(tmp_path: Path, whole: bool) -> None:
    """Its documents are logged and counted as any; nothing of it is sent one by one."""
    documents = [msgspec.structs.replace(each, index="acts-1") for each in (ONE, TWO)]
    other = msgspec.structs.replace(THREE, index="acts-2")
    purge = Purge(tmp_path, documents, store=Indexed([*documents, other]))
    purge.run(whole=whole)
    assert isinstance(purge.store, Indexed)
    assert purge.store.done == (["freeze acts-1", "drop acts-1"] if whole else [])
    assert purge.store.sent == ([] if whole else [[ONE.id, TWO.id]])
    assert purge.logged == [line(each) | {"index": "acts-1"} for each in documents]
    assert purge.account == NamespacePurge(removed=2, removed_bytes=len(ONE.body) + len(TWO.body))
    assert list(purge.store.held) == [THREE.id]
