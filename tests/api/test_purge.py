"""Purges of a store in memory that is proven by an archive: what goes, what stays, and what refuses."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from migrator.activations.document import Document
from migrator.adapters.memory import MemoryRemover, _stores, memory_store
from migrator.adapters.removal import Address, Change, ChangeOutcome, Held
from migrator.api.backup import backup
from migrator.api.purge import purge
from migrator.api.restore import restore
from migrator.engine import identity
from migrator.engine.removal import removing
from migrator.engine.removal.values import PurgeReport
from migrator.engine.state.jobs import lock_folder
from migrator.errors import AccessDenied, Locked, NotFound, Unavailable, UsageError
from migrator.testing.documents import activation
from tests.support.purges import read_log
from tests.support.said import into

DAY_MS = 86_400_000
NOW_S = 1_790_000_000.0
NOW_MS = int(NOW_S * 1000)


class World:
    """A store in memory with an archive of it; half of its activations are older than 90 days."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.archive = f"archive:{folder / 'archive'}"
        self.state = folder / "state"
        self.store = memory_store("live")
        self.said: list[str] = []
        self.old = [self.put(number, days=100 + number % 50) for number in range(40)]
        self.young = [self.put(number, days=number % 80) for number in range(40, 80)]

    def put(self, number: int, *, days: float, **changes: Any) -> Document:
        start_ms = NOW_MS - int(days * DAY_MS)
        namespace = "guest" if number % 3 else "whisk.system"
        document = activation(number, namespace, start=start_ms, end=start_ms + 42, **changes)
        self.store.put(document.id, document.body)
        return document

    def change(self, document: Document, **changes: Any) -> None:
        self.store.put(document.id, json.dumps({**json.loads(document.body), **changes}).encode())

    def backup(self, **more: Any) -> None:
        assert backup("memory:live", self.archive, state=self.state, clock=lambda: NOW_S, **more).report.totals.adds_up

    def purge(self, *, proof: str = "", older_than: str = "90d", clock_s: float = NOW_S, **more: Any) -> PurgeReport:
        more.setdefault("retry_for_s", 0.0)
        return purge(
            "memory:live",
            proof or self.archive,
            older_than=older_than,
            state=self.state,
            clock=lambda: clock_s,
            tell=into(self.said),
            **more,
        )

    def ids(self) -> set[str]:
        return {id for id, entry in self.store.entries.items() if entry.body is not None}

    def logged(self, report: PurgeReport) -> list[dict[str, Any]]:
        assert report.log
        return read_log(Path(report.log))


def ids(documents: Sequence[Document]) -> set[str]:
    return {document.id for document in documents}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(removing, "_TRIAL_S", 0.0)
    monkeypatch.setattr(identity, "_FIRST_PAUSE_S", 0.0)
    _stores.clear()
    yield World(tmp_path)
    _stores.clear()


def test_removes_what_is_old_and_proven(world: World) -> None:
    """All that is older than the limit went, nothing else did, and the log names each with its digest."""
    world.backup()
    report = world.purge()
    assert world.ids() == ids(world.young)
    assert report.exit_code == 0
    assert report.totals.removed == report.totals.proven == report.totals.old == len(world.old)
    logged = world.logged(report)
    assert {line["id"] for line in logged} == ids(world.old)
    assert {line["what"] for line in logged} == {"removed"}
    assert all(len(bytes.fromhex(line["digest"])) == 16 and line["namespace"] for line in logged)


def test_a_dry_run_tells_the_same_and_removes_nothing(world: World) -> None:
    """Counts and bytes by namespace; not even the state folder is made."""
    world.backup()
    shutil.rmtree(world.state)
    told = world.purge(dry_run=True)
    assert world.ids() == ids(world.old) | ids(world.young)
    assert not world.state.exists()
    assert told.log is None
    assert told.totals.proven == len(world.old)
    done = world.purge()
    assert {name: (each.proven, each.proven_bytes) for name, each in told.namespaces.items()} == {
        name: (each.removed, each.removed_bytes) for name, each in done.namespaces.items()
    }
    assert {"guest", "whisk.system"} == set(told.namespaces)


def test_precisely_what_is_not_proven_stays_and_is_named(world: World) -> None:
    """One that differs in the archive, one that isn't in it, and one that was changed in the store after the backup."""
    differs, missing, changed = world.old[3], world.old[7], world.old[11]
    world.change(differs, response={"statusCode": 0, "result": {"number": "another"}})
    world.store.put(missing.id, None)
    world.backup()
    world.store.put(differs.id, differs.body)
    world.store.put(missing.id, missing.body)
    world.change(changed, logs=["a line that the archive doesn't have"])
    report = world.purge()
    stayed = {differs.id: "differs", missing.id: "missing", changed.id: "differs"}
    assert world.ids() == ids(world.young) | set(stayed)
    assert {each.id: each.kind for each in report.examples} == stayed
    assert {line["id"]: line["why"] for line in world.logged(report) if line["what"] == "kept"} == stayed
    assert report.exit_code == 3
    assert report.kept == {"differs": 2, "missing": 1}


def test_what_was_purged_is_restored_equal(world: World) -> None:
    """The archive brings back every document as it was."""
    before = {id: entry.body for id, entry in world.store.entries.items()}
    world.backup()
    world.purge()
    restore(world.archive, "memory:live", state=world.state)
    after = {id: entry.body for id, entry in world.store.entries.items()}
    assert {id: json.loads(body or b"") for id, body in after.items()} == {
        id: json.loads(body or b"") for id, body in before.items()
    }


def test_an_increment_after_a_purge_keeps_what_was_purged(world: World) -> None:
    """A deletion never reaches the archive, and a second purge finds nothing."""
    world.backup()
    world.purge()
    world.put(100, days=1)
    world.backup()
    report = world.purge()
    assert report.totals.old == 0
    assert report.exit_code == 0
    restore(world.archive, "memory:target", state=world.state)
    assert ids(world.old) <= memory_store("target").entries.keys()


def test_only_the_selected_namespace_is_purged(world: World) -> None:
    """The old ones of other namespaces stay, and aren't named."""
    world.backup()
    report = world.purge(namespaces=["whisk.system"])
    assert world.ids() == {each.id for each in [*world.old, *world.young] if each.namespace == "guest"} | {
        each.id for each in world.young
    }
    assert set(report.namespaces) == {"whisk.system"}


def test_a_store_proves_as_an_archive_does(world: World) -> None:
    """A copy of the store in another one."""
    other = memory_store("other")
    for id, entry in world.store.entries.items():
        other.put(id, entry.body)
    other.put(world.old[0].id, None)
    report = world.purge(proof="memory:other")
    assert world.ids() == ids(world.young) | {world.old[0].id}
    assert report.kept == {"missing": 1}


# -- logs alone ----------------------------------------------------------------------------------------------------


def test_logs_alone_are_emptied(world: World) -> None:
    """All else of a document is as before, and one without logs isn't touched."""
    world.change(world.old[0], logs=[])
    world.backup()
    sequence = world.store.entries[world.old[0].id].sequence
    report = world.purge(logs_only=True)
    assert world.ids() == ids(world.old) | ids(world.young)
    for document in world.old:
        body = world.store.get(document.id)
        assert body
        assert json.loads(body) == {**json.loads(document.body), "logs": []}
    for document in world.young:
        assert world.store.get(document.id) == document.body
    assert world.store.entries[world.old[0].id].sequence == sequence
    assert report.totals.removed == len(world.old) - 1
    assert {line["what"] for line in world.logged(report)} == {"logs removed"}


def test_logs_that_are_not_proven_stay(world: World) -> None:
    """The archive holds other logs."""
    world.backup()
    world.change(world.old[5], logs=["later"])
    report = world.purge(logs_only=True)
    body = world.store.get(world.old[5].id)
    assert body
    assert json.loads(body)["logs"] == ["later"]
    assert {each.id: each.kind for each in report.examples} == {world.old[5].id: "differs"}


# -- what must not happen ------------------------------------------------------------------------------------------


@pytest.fixture
def before_change(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Have something happen after a batch was proven and looked at, just before it is removed; once."""

    def install(happen: Callable[[], None]) -> None:
        change, happened = MemoryRemover.change, False

        def changed(self: MemoryRemover, changes: Sequence[Change]) -> ChangeOutcome:
            nonlocal happened
            if not happened:
                happened = True
                happen()
            return change(self, changes)

        monkeypatch.setattr(MemoryRemover, "change", changed)

    return install


def test_a_store_that_was_emptied_and_recreated_is_not_touched(
    world: World, between_batches: Callable[[Callable[[], None]], None]
) -> None:
    """Between proof and deletion another store took its place, with documents under the same ids."""
    world.backup()

    def replace() -> None:
        bodies = {id: entry.body for id, entry in world.store.entries.items()}
        world.store.clear()
        for id, body in bodies.items():
            world.store.put(id, body)

    between_batches(replace)
    with pytest.raises(Unavailable, match="recreated"):
        world.purge()
    assert world.ids() == ids(world.old) | ids(world.young)


def test_a_document_that_was_written_again_stays(
    world: World, before_change: Callable[[Callable[[], None]], None]
) -> None:
    """Under the same id, after it was looked at: the store holds the new one, and it is named."""
    world.backup()
    document = world.old[9]
    before_change(lambda: world.change(document, logs=["written again"]))
    report = world.purge()
    assert world.ids() == ids(world.young) | {document.id}
    assert {each.id: each.kind for each in report.examples} == {document.id: "changed"}


def test_a_document_that_was_changed_between_proof_and_deletion_stays(
    world: World, between_batches: Callable[[Callable[[], None]], None]
) -> None:
    """The version that is looked at last must be the one that was proven."""
    world.backup()
    document = world.old[9]
    between_batches(lambda: world.change(document, logs=["changed"]))
    report = world.purge()
    assert world.ids() == ids(world.young) | {document.id}
    assert {each.id: each.kind for each in report.examples} == {document.id: "changed"}


def test_an_archive_that_was_pruned_meanwhile_proves_nothing(
    world: World, between_batches: Callable[[Callable[[], None]], None]
) -> None:
    """The backup that was read is gone before the first deletion."""
    world.backup()
    (folder,) = (world.folder / "archive" / "backups").iterdir()
    between_batches(lambda: shutil.rmtree(folder))
    with pytest.raises(NotFound, match=r"backup .* was deleted since it was read as a proof"):
        world.purge()
    assert world.ids() == ids(world.old) | ids(world.young)


def test_an_archive_that_lost_a_part_meanwhile_proves_nothing(
    world: World, between_batches: Callable[[Callable[[], None]], None]
) -> None:
    """One part of the chain is missing."""
    world.backup()
    part = next((world.folder / "archive" / "backups").glob("*/part-*"))
    between_batches(part.unlink)
    with pytest.raises(NotFound, match="was deleted or cut off"):
        world.purge()
    assert world.ids() == ids(world.old) | ids(world.young)


def test_a_store_that_lost_its_copy_meanwhile_proves_nothing(
    world: World, between_batches: Callable[[Callable[[], None]], None]
) -> None:
    """A proof that is in use is asked again for every batch."""
    other = memory_store("other")
    for id, entry in world.store.entries.items():
        other.put(id, entry.body)
    between_batches(lambda: other.put(world.old[4].id, None))
    report = world.purge(proof="memory:other")
    assert world.ids() == ids(world.young) | {world.old[4].id}
    assert report.kept == {"missing": 1}


def test_a_replica_is_no_proof(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is deleted in the store goes from the replica too: found out with the first batch, which is small."""
    other = memory_store("other")
    for id, entry in world.store.entries.items():
        other.put(id, entry.body)
    change = MemoryRemover.change

    def replicating(self: MemoryRemover, changes: Sequence[Change]) -> ChangeOutcome:
        outcome = change(self, changes)
        for each in outcome.done:
            other.put(each.held.document.id, None)
        return outcome

    monkeypatch.setattr(MemoryRemover, "change", replicating)
    with pytest.raises(Unavailable, match="Is one a replica of the other"):
        world.purge(proof="memory:other")
    assert len(ids(world.old) - world.ids()) == 1


def test_a_store_is_no_proof_of_itself(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by its own name nor by another one."""
    with pytest.raises(UsageError, match="no proof of itself"):
        world.purge(proof="memory:live")
    monkeypatch.setitem(_stores, "alias", world.store)
    with pytest.raises(UsageError, match="are the same store"):
        world.purge(proof="memory:alias")
    assert world.ids() == ids(world.old) | ids(world.young)


@pytest.mark.parametrize("wrong_s", [-86_400.0, 86_400.0, 400.0])
def test_a_clock_that_is_wrong_refuses(world: World, monkeypatch: pytest.MonkeyPatch, wrong_s: float) -> None:
    """This machine's clock is held against the server's, whichever of them is wrong."""
    world.backup()
    monkeypatch.setattr(MemoryRemover, "clock_ms", lambda _: NOW_MS)
    with pytest.raises(UsageError, match="correct the clock"):
        world.purge(clock_s=NOW_S + wrong_s)
    assert world.ids() == ids(world.old) | ids(world.young)
    monkeypatch.setattr(MemoryRemover, "clock_ms", lambda _: NOW_MS + 60_000)
    assert world.purge().exit_code == 0


def test_a_clock_that_is_behind_the_proof_refuses(world: World) -> None:
    """A backup that ended in the future shows a wrong clock where no server does."""
    world.backup()
    with pytest.raises(UsageError, match="ended later"):
        world.purge(clock_s=NOW_S - 7_200, older_than="30d")


def test_two_purges_of_a_store_exclude_each_other(
    world: World, between_batches: Callable[[Callable[[], None]], None]
) -> None:
    """Whatever their proofs are; and a store that proves isn't purged meanwhile."""
    world.backup()
    other = memory_store("other")
    for id, entry in world.store.entries.items():
        other.put(id, entry.body)
    refused: list[str] = []

    def again() -> None:
        for store, proof in (("memory:live", world.archive), ("memory:other", "memory:live")):
            with pytest.raises(Locked) as error:
                purge(store, proof, older_than="90d", state=world.state, clock=lambda: NOW_S)
            refused.append(str(error.value))

    between_batches(again)
    world.purge(proof="memory:other")
    assert len(refused) == 2
    assert ids(world.old) <= other.entries.keys()
    assert all(other.get(each.id) for each in world.old)


def test_a_running_job_with_the_store_refuses(world: World) -> None:
    """A backup that is running, by its lock; afterwards the purge goes on."""
    world.backup()
    (job,) = (world.state / "jobs").iterdir()
    _, lock = lock_folder(world.state, "job", job.name)
    with pytest.raises(Locked, match="backup job"):
        world.purge()
    assert world.ids() == ids(world.old) | ids(world.young)
    os.close(lock)
    assert world.purge().exit_code == 0


def test_a_backup_that_begins_during_a_purge_stops_it(
    world: World, between_batches: Callable[[Callable[[], None]], None]
) -> None:
    """Nothing is removed while it runs."""
    world.backup()
    (job,) = (world.state / "jobs").iterdir()
    between_batches(lambda: lock_folder(world.state, "job", job.name) and None)
    with pytest.raises(Locked, match="backup job"):
        world.purge()
    assert world.ids() == ids(world.old) | ids(world.young)


def test_an_unfinished_backup_in_the_archive_refuses(world: World) -> None:
    """It may be another machine's that is running."""
    world.backup()
    folder = world.folder / "archive" / "backups" / "20270101T000000Z-abcdef"
    folder.mkdir()
    (folder / "unfinished.json").write_bytes(msgspec.json.encode({"backup": folder.name}))
    with pytest.raises(Locked, match="left unfinished"):
        world.purge()
    assert world.ids() == ids(world.old) | ids(world.young)


def test_documents_that_no_proof_can_hold_stay(world: World) -> None:
    """Conflicting revisions and attachments aren't in any archive; what can't be read has no age."""
    world.change(world.old[1], _conflicts=["1-a"])
    world.change(world.old[2], _attachments={"a": {"stub": True}})
    world.store.put("guest/unreadable", b'{"_id": "guest/unreadable", "activationId": "x", "entityType": "activation"}')
    world.backup()
    report = world.purge()
    stayed = {world.old[1].id: "conflicts", world.old[2].id: "attachments", "guest/unreadable": "unreadable"}
    assert {each.id: each.kind for each in report.examples} == stayed
    assert world.ids() == ids(world.young) | set(stayed)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"older_than": "2999-01-01"}, "in the future"),
        ({"older_than": "soon"}, "not a time"),
        ({"proof": "file:/nowhere/acts.ndjson"}, "a file is no proof"),
        ({"jobs": 0}, "from 1 to 64"),
    ],
)
def test_what_cannot_be_is_refused(world: World, arguments: dict[str, Any], says: str) -> None:
    """In one line, before anything is read."""
    with pytest.raises(UsageError, match=says):
        world.purge(**arguments)


def test_an_archive_is_pruned_and_not_purged(world: World) -> None:
    """Its backups are deleted by another command."""
    with pytest.raises(UsageError, match="archive prune"):
        purge(world.archive, "memory:live", older_than="90d", state=world.state)


# -- resumption ----------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("logs_only", [False, True])
@pytest.mark.parametrize("sent", [False, True])
def test_a_purge_that_died_around_a_request_is_resumed(
    world: World, monkeypatch: pytest.MonkeyPatch, sent: bool, logs_only: bool
) -> None:
    """Whether the request was carried out is found out by the store; both logs together name each document once."""
    world.backup()
    change = MemoryRemover.change

    def dying(self: MemoryRemover, changes: Sequence[Change]) -> ChangeOutcome:
        if sent:
            change(self, changes)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(MemoryRemover, "change", dying)
        with pytest.raises(Killed):
            world.purge(logs_only=logs_only)
    report = world.purge(logs_only=logs_only)
    assert report.earlier == (len(world.old) if sent else 0)
    named = [line["id"] for log in (world.state / "purges").glob("*/*.zst") for line in read_log(log)]
    assert sorted(named) == sorted(ids(world.old))
    assert world.ids() == ids(world.young) | (ids(world.old) if logs_only else set())


def test_an_answer_that_is_lost_is_looked_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request was carried out: nothing is sent twice, and all of it counts as removed."""
    world.backup()
    change, calls = MemoryRemover.change, 0

    def losing(self: MemoryRemover, changes: Sequence[Change]) -> ChangeOutcome:
        nonlocal calls
        calls += 1
        outcome = change(self, changes)
        if calls == 1:
            raise Unavailable("the answer didn't arrive")
        return outcome

    monkeypatch.setattr(MemoryRemover, "change", losing)
    report = world.purge(retry_for_s=30.0)
    assert calls == 1
    assert report.totals.removed == len(world.old)
    assert len(world.logged(report)) == len(world.old)


def test_a_document_that_the_server_refuses_stays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named with the server's reason; the others go."""
    world.backup()
    change, document = MemoryRemover.change, world.old[6]

    def refusing(self: MemoryRemover, changes: Sequence[Change]) -> ChangeOutcome:
        outcome = change(self, [each for each in changes if each.held.document.id != document.id])
        refused = [(each, "forbidden: keep it") for each in changes if each.held.document.id == document.id]
        return msgspec.structs.replace(outcome, refused=tuple(refused))

    monkeypatch.setattr(MemoryRemover, "change", refusing)
    report = world.purge()
    assert world.ids() == ids(world.young) | {document.id}
    assert [(each.id, each.kind, each.note) for each in report.examples] == [
        (document.id, "refused", "forbidden: keep it")
    ]


def test_a_login_that_may_not_delete_ends_the_purge(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, and with its own exit code: the documents aren't at fault."""
    world.backup()

    def denied(_: MemoryRemover, changes: Sequence[Change]) -> ChangeOutcome:
        return ChangeOutcome(unknown=tuple(changes), condition=AccessDenied("you may not"))

    with monkeypatch.context() as patch:
        patch.setattr(MemoryRemover, "change", denied)
        with pytest.raises(AccessDenied):
            world.purge(retry_for_s=1000.0)
    assert world.ids() == ids(world.old) | ids(world.young)
    assert world.purge().totals.removed == len(world.old)


def test_a_rate_is_kept(world: World) -> None:
    """Batches are as large as a second's worth, and each waits for the one before."""
    waited: list[float] = []
    now = [0.0]

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        now[0] += seconds

    pace = removing.Pace(10, sleep=sleep, clock=lambda: now[0])
    assert pace.batch == 10
    for _ in range(5):
        pace.wait(10)
    assert sum(waited) == pytest.approx(4.0)
    assert removing.Pace(None, sleep=sleep).batch == 500


@pytest.mark.parametrize("logs_only", [False, True])
@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize("becomes", ["gone", "changed"])
def test_what_happens_to_a_document_while_its_batch_is_sent_is_accounted_for(
    world: World, monkeypatch: pytest.MonkeyPatch, becomes: str, answered: bool, logs_only: bool
) -> None:
    """In its own namespace. One that went counts as removed only where the request may have done it."""
    world.backup()
    change, document = MemoryRemover.change, world.old[6]
    calls = 0

    def meanwhile(self: MemoryRemover, changes: Sequence[Change]) -> ChangeOutcome:
        nonlocal calls
        calls += 1
        if calls == 1:
            if becomes == "gone":
                world.store.put(document.id, None)
            else:
                world.change(document, duration=77)
        if calls == 1 and not answered:
            raise Unavailable("no answer")
        return change(self, changes)

    monkeypatch.setattr(MemoryRemover, "change", meanwhile)
    report = world.purge(retry_for_s=30.0, logs_only=logs_only)
    may_be_ours = becomes == "gone" and not answered and not logs_only
    account = report.namespaces[document.namespace]
    assert account.gone == (becomes == "gone" and not may_be_ours)
    assert account.kept == (becomes == "changed")
    assert account.removed == account.proven - account.gone - account.kept
    assert report.totals.removed == len(world.old) - (not may_be_ours)
    assert [(each.id, each.kind, each.note) for each in report.examples] == (
        [(document.id, "changed", "")] if becomes == "changed" else []
    )
    assert len(world.logged(report)) == len(world.old) - account.gone


def test_replacements_are_sent_in_requests_of_a_bounded_size(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty logs are sent with all the rest of a document; deletions, which carry nothing, all at once."""
    world.backup()
    change, sizes = MemoryRemover.change, list[list[int]]()

    def noting(self: MemoryRemover, changes: Sequence[Change]) -> ChangeOutcome:
        sizes.append([len(each.body or b"") for each in changes])
        return change(self, changes)

    monkeypatch.setattr(MemoryRemover, "change", noting)
    monkeypatch.setattr(removing, "_BATCH_BYTES", 2000)
    assert world.purge(logs_only=True).totals.removed == len(world.old)
    assert len(sizes) > 1
    assert all(sum(each[:-1]) < 2000 <= sum(each) for each in sizes[:-1])
    sizes.clear()
    assert world.purge().totals.removed == 0  # the archive has the logs: what is left differs
    world.backup()
    assert world.purge().totals.removed == len(world.old)
    assert [len(each) for each in sizes] == [len(world.old)]


@pytest.mark.parametrize("proof", ["", "memory:copy"])
def test_a_purge_goes_on_in_batches(world: World, monkeypatch: pytest.MonkeyPatch, proof: str) -> None:
    """Each looked at once more right before it goes; by a proof that is in use one document goes alone at first."""
    world.backup()
    restore(world.archive, "memory:copy", state=world.state)
    look, sizes = MemoryRemover.look, list[int]()

    def noting(self: MemoryRemover, addresses: Sequence[Address]) -> Sequence[Held]:
        sizes.append(len(addresses))
        return look(self, addresses)

    monkeypatch.setattr(MemoryRemover, "look", noting)
    monkeypatch.setattr(removing, "BATCH_DOCUMENTS", 15)
    assert world.purge(proof=proof).totals.removed == len(world.old)
    assert sizes == ([1, 15, 15, 9] if proof else [15, 15, 10])
