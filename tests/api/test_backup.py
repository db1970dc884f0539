"""Backups and restores on stores in memory and archives in folders: chains, resumption, every crash point."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from migrator import durable
from migrator.activations.document import Form
from migrator.activations.selection import SelectionSpec
from migrator.adapters.archive.catalog import read_catalog
from migrator.adapters.archive.folder import Folder
from migrator.adapters.archive.manifest import Manifest, make_sums
from migrator.adapters.memory import MemoryReader, MemoryStore, _stores, memory_store
from migrator.api.backup import backup
from migrator.api.restore import restore
from migrator.engine import census
from migrator.engine.state.checkpoint import Checkpoint
from migrator.errors import ArchiveDamaged, MigratorError, NotFound, Unavailable, UsageError
from migrator.testing.documents import activation
from tests.support.profiles import stride
from tests.support.said import into


class World:
    """A source in memory, an archive, a target in memory, and the state folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.archive = f"archive:{folder / 'archive'}"
        self.source = memory_store("source")
        self.said: list[str] = []

    def put(self, *numbers: int, **changes: Any) -> None:
        for number in numbers:
            document = activation(number, "guest" if number % 3 else "whisk.system", **changes)
            self.source.put(document.id, document.body)

    def backup(self, **more: Any) -> Manifest:
        made = backup("memory:source", self.archive, state=self.folder / "state", tell=into(self.said), **more)
        assert made.report.totals.adds_up
        assert made.backup is not None
        return made.backup

    def restore(self, name: str = "target", form: Form = Form.COUCHDB, **more: Any) -> dict[str, bytes]:
        target = memory_store(name, form)
        restore(self.archive, f"memory:{name}", state=self.folder / "state", tell=into(self.said), **more)
        return content(target)

    def backups(self) -> tuple[Manifest, ...]:
        return read_catalog(Folder(str(self.folder / "archive"))).backups


def moments(begin_s: int) -> Callable[[], float]:
    """A clock that shows a second more at each look."""
    seconds = iter(range(begin_s, begin_s + 1_000))
    return lambda: float(next(seconds))


def content(store: MemoryStore) -> dict[str, bytes]:
    return {id: entry.body for id, entry in store.entries.items() if entry.body is not None}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    _stores.clear()
    yield World(tmp_path)
    _stores.clear()


# -- chains -------------------------------------------------------------------------------------------------------


def test_what_is_backed_up_is_restored_byte_for_byte(world: World) -> None:
    """Same form: the same bytes."""
    world.put(*range(250))
    made = world.backup()
    assert (made.mode, made.documents) == ("full", 250)
    assert world.restore() == content(world.source)


def test_a_chain_is_restored_as_one_state(world: World) -> None:
    """New documents, changed ones, and what was stored late although it had started long before."""
    world.put(*range(100, 200))
    world.backup()
    world.put(*range(50))  # started earlier than all others
    world.put(150, logs=["changed"])
    second = world.backup()
    assert (second.mode, second.documents) == ("incremental", 51)
    world.put(300)
    world.put(150, logs=["changed again"])
    assert world.backup().documents == 2
    assert world.restore() == content(world.source)


def test_an_earlier_state_is_restored_by_id_and_by_time(world: World) -> None:
    """Each backup of a chain is a state of its own."""
    states: list[tuple[str, dict[str, bytes]]] = []
    moments = iter(range(1_800_000_000, 1_900_000_000, 1000))
    for number in range(3):
        world.put(number, 7, logs=[f"state {number}"])
        made = world.backup(clock=lambda: float(next(moments)))
        states.append((made.backup, content(world.source)))
    for number, (id, state) in enumerate(states):
        assert world.restore(f"by-id-{number}", backup=id) == state
        at = str(world.backups()[number].ended_ms)
        assert world.restore(f"by-time-{number}", at=at) == state
    with pytest.raises(NotFound, match="no backup was complete at that time"):
        world.restore("never", at="2001-01-01")


def test_an_increment_has_no_share_of_what_nobody_counted(world: World) -> None:
    """How much is new isn't known before it was read: a bar would stay at 0 % of all that there is."""
    expected: list[int | None] = []
    world.put(*range(10))
    world.backup(observe=lambda progress: expected.append(progress.documents))
    assert 10 in expected
    expected.clear()
    world.put(11)
    world.backup(observe=lambda progress: expected.append(progress.documents))
    assert expected
    assert {*expected} == {None}


def test_a_backup_without_anything_new_is_a_backup(world: World) -> None:
    """It proves that the schedule ran, and can be continued."""
    world.put(*range(10))
    world.backup()
    empty = world.backup()
    assert (empty.mode, empty.documents, len(empty.parts)) == ("incremental", 0, 0)
    world.put(11)
    assert world.backup().parent == empty.backup
    assert world.restore() == content(world.source)


def test_a_replaced_source_gets_a_full_backup_and_says_why(world: World) -> None:
    """A sequence of another store means nothing."""
    world.put(*range(10))
    first = world.backup()
    world.source.clear()
    world.put(*range(5))
    assert world.backup().mode == "full"
    assert any(first.backup in each and "replaced" in each for each in world.said)
    assert len(world.restore()) == 5


def test_incremental_without_a_full_backup_is_refused(world: World) -> None:
    """And nothing is written, neither archive nor job."""
    world.put(1)
    with pytest.raises(UsageError, match="make a full backup first"):
        world.backup(mode="incremental")
    assert not (world.folder / "archive").exists()


def test_another_selection_is_another_chain(world: World) -> None:
    """A backup of some namespaces isn't continued by one of all."""
    world.put(*range(9))
    world.backup(wanted=SelectionSpec(namespaces=("guest",)))
    assert world.backup().mode == "full"
    assert world.restore() == content(world.source)


def test_a_restore_tells_what_else_is_in_the_archive(world: World) -> None:
    """The newest backup may be of another selection, or of another source, than the operator thinks of."""
    world.put(*range(9))
    whole = world.backup()
    some = world.backup(wanted=SelectionSpec(namespaces=("guest",)))
    report = restore(world.archive, "memory:target", state=world.folder / "state")
    assert report.totals.written == some.documents < whole.documents
    (warning,) = report.warnings
    assert warning == (
        f"{world.archive} also holds backups of another selection of memory:source, which aren't read; "
        f"`backup={whole.backup}` chooses the newest of them"
    )
    choices: list[dict[str, Any]] = [{"backup": some.backup}, {"at": str(whole.ended_ms)}]
    for choice in choices:
        assert restore(world.archive, "memory:other", state=world.folder / "state", **choice).warnings == ()


def test_deletions_are_counted_and_nothing_is_taken_away(world: World) -> None:
    """What was backed up stays in the chain."""
    world.put(1, 2)
    world.backup()
    before = content(world.source)
    world.source.put(activation(1).id, None)
    assert world.backup().deleted == 1
    assert world.restore() == before


def test_a_link_that_lost_a_part_is_not_continued(world: World) -> None:
    """A chain with a hole gets no more increments, and restoring it is refused before anything is written."""
    world.put(*range(10))
    broken = world.backup()
    (world.folder / "archive" / broken.folder / broken.parts[0].name).unlink()
    with pytest.raises(ArchiveDamaged, match="is missing"):
        world.restore()
    assert world.backup().mode == "full"
    assert any("is missing" in each for each in world.said)


def test_a_backup_whose_parts_do_not_hold_what_it_says_is_not_continued(world: World) -> None:
    """As an earlier release made them: no increment would bring what is missing, and a restore tells of it."""
    world.put(*range(10))
    made = world.backup()
    counts = {
        "guest": {"read": 300, "written": 300},
        **{name: made.counts[name] for name in made.counts if name != "guest"},
    }
    uneven = msgspec.structs.replace(made, counts=counts)
    folder, data = world.folder / "archive" / made.folder, uneven.encode()
    (folder / "manifest.json").write_bytes(data)
    (folder / "SHA256SUMS").write_bytes(make_sums(uneven, hashlib.sha256(data).hexdigest()))
    report = restore(world.archive, "memory:target", state=world.folder / "state", tell=into(world.said))
    assert report.exit_code == 3
    assert any("its parts hold 6 documents of namespace guest, and 300 were written" in each for each in world.said)
    with pytest.raises(UsageError, match="its parts hold 6 documents"):
        world.backup(mode="incremental")
    world.put(20)
    assert world.backup().mode == "full"
    restored = restore(world.archive, "memory:other", state=world.folder / "state")
    assert (restored.exit_code, restored.totals.written) == (0, 11)


def test_an_older_state_is_never_taken_for_the_newest(world: World) -> None:
    """A manifest that can't be read may be the newest: then the backup before it must be requested."""
    states = []
    for number in range(3):
        world.put(number)
        made = world.backup(clock=moments(1_800_000_000 + 1000 * number))
        states.append((made, content(world.source)))
    newest = world.folder / "archive" / states[2][0].folder / "manifest.json"
    whole = newest.read_bytes()
    newest.write_bytes(whole[:-20])
    choices: list[dict[str, Any]] = [{}, {"at": "2030-01-01"}]
    for choice in choices:
        with pytest.raises(
            ArchiveDamaged, match=f"`backup={states[1][0].backup}` reads the newest backup that is whole"
        ):
            world.restore("refused", **choice)
    assert world.restore("chosen", backup=states[1][0].backup) == states[1][1]
    assert world.restore("then", at=str(states[1][0].ended_ms)) == states[1][1]
    newest.write_bytes(whole)
    older = world.folder / "archive" / states[1][0].folder / "manifest.json"
    older.write_bytes(b"{")
    with pytest.raises(ArchiveDamaged, match=f"continues {states[1][0].backup}"):
        world.restore("refused")


def test_an_archive_of_damaged_manifests_is_damaged(world: World) -> None:
    """Not empty."""
    world.put(1)
    made = world.backup()
    (world.folder / "archive" / made.folder / "manifest.json").write_bytes(b"{")
    with pytest.raises(ArchiveDamaged, match=r"manifest.json: it can't be read"):
        world.restore()


def test_the_command_that_goes_on_with_a_restore_is_that_command(world: World, tmp_path: Path) -> None:
    """With the key that it needs."""
    world.put(1)
    made = world.backup()
    part = world.folder / "archive" / made.folder / made.parts[0].name
    part.write_bytes(part.read_bytes()[:100] + bytes([part.read_bytes()[100] ^ 1]) + part.read_bytes()[101:])
    key = tmp_path / "key.txt"
    with pytest.raises(ArchiveDamaged):
        world.restore(identity=key)
    assert world.said[-1].endswith(
        f"resume with: migrator restore {world.archive} memory:target --identity {key} --state {world.folder / 'state'}"
    )


def test_selections_of_a_restore_leave_out_the_rest(world: World) -> None:
    """By namespace, name and time."""
    world.put(*range(30))
    world.backup(part_bytes=64 * 1024)
    found = world.restore(wanted=SelectionSpec(namespaces=("whisk.system",)))
    assert found == {id: body for id, body in content(world.source).items() if id.startswith("whisk.system/")}
    since = str(json.loads(activation(20).body)["start"])
    assert len(world.restore("late", wanted=SelectionSpec(since=since))) == 10


def test_a_backup_into_another_form_and_back(world: World) -> None:
    """An archive in CouchDB form is restored into a store of the other form, and from there archived again."""
    world.put(*range(20))
    world.backup()
    there = world.restore("search", Form.ELASTICSEARCH)
    assert len(there) == 20
    assert all(b'"@timestamp"' in body for body in there.values())


def test_nothing_but_an_archive_becomes_an_archive(world: World) -> None:
    """A folder with other things is left alone."""
    (world.folder / "archive").mkdir()
    (world.folder / "archive" / "precious.txt").write_text("mine")
    world.put(1)
    with pytest.raises(NotFound, match="neither an archive nor empty"):
        world.backup()
    with pytest.raises(NotFound, match=r"archive\.json is missing"):
        world.restore()
    assert [each.name for each in (world.folder / "archive").iterdir()] == ["precious.txt"]


# -- crashes ------------------------------------------------------------------------------------------------------


class DiedError(BaseException):
    """The process died here."""


class Instants:
    """Counts the instants before and after each step that lasts, and dies at one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.die_at: int | None = None
        for owner, names in (
            (Folder, ("write", "store", "delete")),
            (Checkpoint, ("begin_run", "begin", "commit", "begin_round", "complete")),
            (durable, ("put_in_place", "sync_folder", "write_all")),
        ):
            for name in names:
                monkeypatch.setattr(owner, name, self._wrapped(getattr(owner, name)))
        # Who is dead cleans up nothing.
        monkeypatch.setattr(durable, "discard", lambda file: file.close())

    def _wrapped(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*words: Any, **options: Any) -> Any:
            self._tick()
            result = call(*words, **options)
            self._tick()
            return result

        return wrapped

    def _tick(self) -> None:
        self.count += 1
        if self.die_at is not None and self.count >= self.die_at:
            raise DiedError


def test_a_backup_that_dies_at_any_instant_is_resumed(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whichever step was the last: no half backup is listed, and the next run ends like an unbroken one."""
    instants = Instants(monkeypatch)
    world.put(*range(260))

    def run(name: str) -> World:
        there = World(tmp_path / name)
        there.backup(jobs=1, part_bytes=64 * 1024)
        return there

    run("unbroken")
    total = instants.count
    assert total > 60
    expected = content(world.source)
    for at in range(1, total + 1, stride()):
        instants.count, instants.die_at = 0, at
        there = World(tmp_path / f"died-{at}")
        with pytest.raises(DiedError):
            there.backup(jobs=1, part_bytes=64 * 1024)
        instants.die_at = None
        if (there.folder / "archive" / "archive.json").exists():
            for made in there.backups():
                read_catalog(Folder(str(there.folder / "archive"))).chain(made, "")
        there.backup(jobs=1, part_bytes=64 * 1024)
        last = there.backups()[-1]
        assert sum(each.documents for each in there.backups()) == 260, f"instant {at}"
        names = {each.name for each in (there.folder / "archive" / last.folder).iterdir()}
        assert names == {"manifest.json", "SHA256SUMS", *(part.name for part in last.parts)}, f"instant {at}"
        if at % 10 == 1:
            assert there.restore(f"target-{at}") == expected


@pytest.mark.parametrize("gone", ["parent", "both"])
def test_an_interrupted_increment_whose_chain_is_gone_becomes_a_full_backup(
    world: World, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    """It would build on nothing; what it had begun is left to a prune, or went with its parent."""
    instants = Instants(monkeypatch)
    world.put(*range(100))
    first = world.backup(jobs=1)
    world.put(*range(100, 150))
    instants.count, instants.die_at = 0, 20
    with pytest.raises(DiedError):
        world.backup(jobs=1)
    instants.die_at = None
    folders = world.folder / "archive" / "backups"
    assert len(list(folders.iterdir())) == 2
    for folder in folders.iterdir():
        if gone == "both" or folder.name == first.backup:
            shutil.rmtree(folder)
    made = world.backup(jobs=1)
    assert (made.mode, made.parent, made.documents) == ("full", None, 150)
    assert world.restore() == content(world.source)


@pytest.mark.parametrize("failing", range(1, 12))
def test_a_full_disk_is_waited_out(world: World, monkeypatch: pytest.MonkeyPatch, failing: int) -> None:
    """A write that fails for lack of room is retried, and no document stands twice."""
    world.put(*range(260))
    real, calls = durable.write_all, 0

    def write_all(file: Any, data: bytes) -> None:
        nonlocal calls
        calls += 1
        if calls == failing:
            real(file, data[: len(data) // 2])
            raise OSError(28, os.strerror(28))
        real(file, data)

    monkeypatch.setattr(durable, "write_all", write_all)
    try:
        made = world.backup(jobs=1, part_bytes=64 * 1024)
    except MigratorError as error:  # where nothing of the job was begun yet there is nothing to wait with
        assert isinstance(error, Unavailable)
        assert "No space left" in str(error)
        assert error.exit_code == 5
        made = world.backup(jobs=1, part_bytes=64 * 1024)
    assert made.documents == 260
    assert world.restore() == content(world.source)


def test_a_manifest_that_the_store_refuses_for_a_moment_is_asked_for_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a backup begins every manifest is read: with thousands of them a bucket says 503 now and then."""
    world.put(*range(10))
    world.backup()
    read, refusals = Folder.read, iter([True])

    def refused_once(self: Folder, name: str) -> bytes:
        if name.endswith("manifest.json") and next(refusals, False):
            raise Unavailable(f"{name}: 503 SlowDown")
        return read(self, name)

    monkeypatch.setattr(Folder, "read", refused_once)
    world.put(10)
    assert world.backup().mode == "incremental"


def test_backup_after_one_that_lacks_documents_is_a_full_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the source counts and didn't give isn't newer than the snapshot, so that no increment would bring it."""
    world.put(*range(30))
    read = MemoryReader.read
    with monkeypatch.context() as lossy:

        def without_one(*arguments: Any) -> Iterator[Any]:
            for batch in read(*arguments):
                yield msgspec.structs.replace(batch, documents=batch.documents[1:])

        lossy.setattr(MemoryReader, "read", without_one)
        lossy.setattr(census, "_PAUSE_S", 0.0)
        made = backup("memory:source", world.archive, state=world.folder / "state", tell=into(world.said))
    assert (made.report.unread, made.report.exit_code) == (1, 3)
    assert made.backup is not None
    assert any("1 is missing" in warning for warning in made.backup.warnings)
    with pytest.raises(UsageError, match="lacks documents"):
        world.backup(mode="incremental")
    assert made.backup.unread == 1
    # Another machine knows only the archive.
    elsewhere: dict[str, Any] = {"state": world.folder / "elsewhere", "tell": into(world.said)}
    with pytest.raises(UsageError, match=r"builds on .*, which lacks 1 document of the source; make a full backup"):
        backup("memory:source", world.archive, mode="incremental", **elsewhere)
    other = backup("memory:source", world.archive, **elsewhere).backup
    assert other is not None
    assert (other.mode, other.unread) == ("full", 0)
    assert world.backup().mode == "full"
    assert len(world.restore()) == 30
    assert world.backup().mode == "incremental"


def test_what_a_chain_rejected_is_reported_by_those_who_go_on_from_it(world: World) -> None:
    """An increment is complete without it, and so is a restore; neither keeps quiet about it."""
    world.put(*range(5))
    world.source.put("guest/unreadable", b'{"_id":"guest/unreadable","activationId":"x","start":')
    world.put(5)
    full = world.backup()
    assert full.counts["guest"]["rejected"] == 1
    world.put(6)
    world.said.clear()
    increment = world.backup()
    assert increment.parent == full.backup
    assert [each for each in world.said if each.startswith("1 document was rejected")]
    world.said.clear()
    assert len(world.restore()) == 7
    assert [each for each in world.said if "1 document was rejected" in each]
    world.source.put("guest/unreadable", None)
    world.backup(mode="full")
    world.put(7)
    world.said.clear()
    world.backup()
    assert len(world.restore("other")) == 8
    assert not [each for each in world.said if "rejected" in each]
