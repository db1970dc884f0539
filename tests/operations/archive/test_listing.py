"""What the list says of backups, whole or not."""

from __future__ import annotations

from pathlib import Path

import pytest

from migrator.activations.document import Form
from migrator.adapters.archive import ArchiveWriter
from migrator.adapters.archive.folder import Folder
from migrator.errors import NotFound, UsageError
from migrator.operations.archive.listing import list_archive
from migrator.testing.documents import activation
from tests.support.archives import add_backup
from tests.support.damage import make_archive, put


def states(folder: Path) -> list[tuple[str, str]]:
    return [(each.backup, each.state) for each in list_archive(f"archive:{folder}").backups]


def test_a_chain_is_listed_as_one(tmp_path: Path) -> None:
    """The full backup, then what builds on it, though another chain was begun in between."""
    first, second = make_archive(tmp_path, 12)
    other = add_backup(tmp_path, Form.COUCHDB, [[activation(50)]])
    third = add_backup(tmp_path, Form.COUCHDB, [[activation(60)]], parent=second.backup)
    listing = list_archive(f"archive:{tmp_path}")
    assert listing.chains == 2
    assert [(each.backup, each.depth) for each in listing.backups] == [
        (first.backup, 0),
        (second.backup, 1),
        (third.backup, 2),
        (other.backup, 0),
    ]
    listed = listing.backups[0]
    assert (listed.mode, listed.documents, listed.parts, listed.namespaces) == ("full", 12, 2, 2)
    assert (listed.first_ms, listed.last_ms) == (1_700_000_000_000, 1_700_000_011_000)
    assert listed.size_bytes > first.size_bytes
    assert listed.raw_bytes == first.raw_bytes


def test_a_backup_without_documents_is_listed(tmp_path: Path) -> None:
    add_backup(tmp_path, Form.COUCHDB, [])
    (listed,) = list_archive(f"archive:{tmp_path}").backups
    assert (listed.state, listed.documents, listed.first_ms) == ("complete", 0, None)


def test_what_is_not_complete_is_named(tmp_path: Path) -> None:
    """Each by what is wrong with it, and with the reason."""
    full, increment = make_archive(tmp_path, 12)
    damaged = add_backup(tmp_path, Form.COUCHDB, [[activation(50)]])
    put(tmp_path, {f"{damaged.folder}manifest.json": b"{"})
    lost = add_backup(tmp_path, Form.COUCHDB, [[activation(51)]])
    (tmp_path / lost.folder / "manifest.json").unlink()
    writer = ArchiveWriter(Folder(str(tmp_path)))
    writer.continue_from(increment.backup)
    writer.prepare()
    writer.close()
    (tmp_path / full.folder / "part-000002.ndjson.zst").unlink()
    assert sorted(states(tmp_path)) == sorted(
        [
            (full.backup, "incomplete"),
            (increment.backup, "broken"),
            (damaged.backup, "damaged"),
            (lost.backup, "remains"),
            (writer.backup, "unfinished"),
        ]
    )
    by_id = {each.backup: each for each in list_archive(f"archive:{tmp_path}").backups}
    assert by_id[writer.backup].parent == increment.backup
    assert "part-000002.ndjson.zst is missing" in str(by_id[full.backup].reason)
    assert "part-000002.ndjson.zst is missing" in str(by_id[increment.backup].reason)
    assert "can't be read" in str(by_id[damaged.backup].reason)


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no archive"):
        list_archive(f"archive:{tmp_path / 'none'}")
    with pytest.raises(NotFound, match=r"archive\.json is missing"):
        list_archive(f"archive:{tmp_path}")
    with pytest.raises(UsageError, match="isn't an archive"):
        list_archive("memory:store")
