"""What lies in an archive: every backup in its state, with its reason, its size and its place in the order."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from migrator.activations.document import Form
from migrator.adapters.archive import ArchiveWriter
from migrator.adapters.archive.contents import (
    STATES,
    BackupEntry,
    check_kind,
    open_archive,
    open_archive_contents,
    read_contents,
)
from migrator.adapters.archive.encrypted import Encrypted
from migrator.adapters.archive.folder import Folder
from migrator.adapters.archive.manifest import Manifest
from migrator.errors import NotFound, UsageError
from migrator.settings.stores import Location, Store
from migrator.testing.documents import activation
from tests.support.archives import add_backup
from tests.support.damage import make_archive, put


def entries(folder: Path) -> list[BackupEntry]:
    contents = read_contents(Folder(str(folder)))
    assert contents.printed == f"archive:{folder}"
    return list(contents.backups)


def size_of(folder: Path, backup: str) -> int:
    return sum(each.stat().st_size for each in (folder / "backups" / backup).iterdir())


def complete(folder: Path, manifest: Manifest) -> BackupEntry:
    size_bytes = size_of(folder, manifest.backup)
    return BackupEntry(backup=manifest.backup, state="complete", manifest=manifest, size_bytes=size_bytes)


def test_whole_backups_are_complete_and_tell_their_parents(tmp_path: Path) -> None:
    full, increment = make_archive(tmp_path, 12)
    found = entries(tmp_path)
    assert found == [complete(tmp_path, full), complete(tmp_path, increment)]
    assert [each.parent for each in found] == [None, full.backup]


def test_a_backup_without_a_part_breaks_what_builds_on_it(tmp_path: Path) -> None:
    full, increment = make_archive(tmp_path, 12)
    missing = f"{full.folder}{full.parts[1].name} is missing"
    (tmp_path / full.folder / full.parts[1].name).unlink()
    first, second = entries(tmp_path)
    assert first == msgspec.structs.replace(complete(tmp_path, full), state="incomplete", reason=missing)
    assert second == msgspec.structs.replace(
        complete(tmp_path, increment),
        state="broken",
        reason=f"archive:{tmp_path}: {missing}; `migrator archive check repair=True` saves what is intact",
    )


def test_a_cut_part_says_what_it_has(tmp_path: Path) -> None:
    (full,) = [add_backup(tmp_path, Form.COUCHDB, [[activation(1)]])]
    name = f"{full.folder}{full.parts[0].name}"
    (tmp_path / name).write_bytes(b"x")
    (found,) = entries(tmp_path)
    assert (found.state, found.reason) == ("incomplete", f"{name} has 1 byte instead of {full.parts[0].size_bytes:,}")


def test_a_damaged_manifest_is_listed_with_what_it_seems_to_continue(tmp_path: Path) -> None:
    full, increment = make_archive(tmp_path, 12)
    manifest = tmp_path / increment.folder / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"ended_ms": 1', b'"ended_ms": 2'))
    where = f"archive:{tmp_path}: {increment.folder}manifest.json"
    assert entries(tmp_path)[1] == BackupEntry(
        backup=increment.backup,
        state="damaged",
        seems_to_continue=full.backup,
        reason=f"{where}: its SHA-256 doesn't match SHA256SUMS: one of the two was altered",
        size_bytes=size_of(tmp_path, increment.backup),
    )
    assert entries(tmp_path)[1].parent == full.backup


def test_what_has_no_manifest_is_unfinished_or_remains(tmp_path: Path) -> None:
    """By the writer's note; one that can't be read can't be resumed, and is unfinished all the same."""
    writer = ArchiveWriter(Folder(str(tmp_path)), clock=lambda: 1_700_000_000.0)
    writer.prepare()
    writer.write([activation(1)], replace=False)
    writer.flush()
    (found,) = entries(tmp_path)
    assert found.begun is not None
    assert found == BackupEntry(
        backup=writer.backup,
        state="unfinished",
        begun=found.begun,
        reason="it is being written, or was interrupted; the command that started it resumes it",
        size_bytes=size_of(tmp_path, writer.backup),
    )
    assert found.size_bytes > 100
    note = tmp_path / "backups" / writer.backup / "unfinished.json"
    note.write_bytes(b"{")
    assert entries(tmp_path)[0] == msgspec.structs.replace(
        found, begun=None, size_bytes=size_of(tmp_path, writer.backup)
    )
    note.unlink()
    (remains,) = entries(tmp_path)
    assert (remains.state, remains.begun, remains.reason) == ("remains", None, STATES["remains"])
    assert remains.reason == "it has no manifest: the manifest was lost, or a deletion was interrupted"
    writer.close()


def test_one_without_a_manifest_stands_where_its_id_would_have_it(tmp_path: Path) -> None:
    """After the newest that is older, by name among each other; before all where all are newer."""
    full, increment = make_archive(tmp_path, 2)
    ids = ["20200101T000000Z-aaaaaa", "20200101T000000Z-bbbbbb", "20990101T000000Z-bbbbbb", "20990101T000000Z-aaaaaa"]
    between = f"{full.backup[:-6]}ffffff"
    for id in [*ids, between]:
        put(tmp_path, {f"backups/{id}/part-000001.ndjson.zst": b"x"})
    found = entries(tmp_path)
    assert [each.backup for each in found] == [
        ids[0],
        ids[1],
        full.backup,
        between,
        increment.backup,
        ids[3],
        ids[2],
    ]
    assert [each.size_bytes for each in found if each.state == "remains"] == [1] * 5


def test_an_archive_is_opened_by_its_location(tmp_path: Path) -> None:
    """As it lies there, or as it is read with a key; anything else is refused."""
    make_archive(tmp_path, 2)
    store = Store(location=Location(kind="archive", path=str(tmp_path)))
    with open_archive(store) as place:
        assert isinstance(place, Folder)
        assert place.exists()
    with open_archive_contents(store) as place:
        assert isinstance(place, Encrypted)
        assert place.exists()
    told = "memory:other: it isn't an archive; write archive:/var/backups/openwhisk"
    with pytest.raises(UsageError, match=f"^{re.escape(told)}$"):
        check_kind(Store(location=Location(kind="memory", database="other")))
    with pytest.raises(NotFound, match=r"there is no archive; check the path, or create one with `migrator backup`$"):
        read_contents(Folder(str(tmp_path / "none")))


def test_every_state_of_a_backup_is_said_in_words() -> None:
    assert STATES == {
        "complete": "it and everything it builds on are there",
        "unfinished": "it is being written, or was interrupted; the command that started it resumes it",
        "incomplete": "a part is missing or cut",
        "broken": "a backup it builds on isn't complete",
        "damaged": "its manifest can't be read, or doesn't match SHA256SUMS",
        "remains": "it has no manifest: the manifest was lost, or a deletion was interrupted",
    }
