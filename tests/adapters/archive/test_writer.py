"""Backups of which something is deleted while they are written or listed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from migrator.adapters.archive import ArchiveWriter
from migrator.adapters.archive.catalog import delete_backup, read_catalog
from migrator.adapters.archive.places import Folder
from migrator.errors import ArchiveDamaged
from migrator.records import Form
from tests.adapters.archive.archives import CLOCK, add_backup, completion
from tests.documents import activation


def begun(folder: Path, parent: str | None = None) -> tuple[ArchiveWriter, dict[str, object]]:
    """A writer with a part that is durable, and the part's receipt."""
    writer = ArchiveWriter(Folder(str(folder)), clock=CLOCK)
    writer.continue_from(parent)
    writer.prepare()
    writer.write([activation(1)], replace=False)
    receipt = writer.flush()
    assert isinstance(receipt, dict)
    return writer, receipt


def test_a_part_that_was_deleted_meanwhile_is_told(tmp_path: Path) -> None:
    """As by a prune that gives up what was begun long ago."""
    writer, receipt = begun(tmp_path)
    delete_backup(Folder(str(tmp_path)), writer.backup)
    said = f"part-000001.ndjson.zst was deleted or changed while backup {writer.backup} was being written"
    with pytest.raises(ArchiveDamaged, match=re.escape(said)):
        writer.finish(completion(Form.COUCHDB, [(0, receipt)]))
    assert read_catalog(Folder(str(tmp_path))).backups == ()


def test_a_parent_that_was_deleted_meanwhile_is_told(tmp_path: Path) -> None:
    """What continues it couldn't be restored."""
    parent = add_backup(tmp_path, Form.COUCHDB, [[activation(0)]])
    writer, receipt = begun(tmp_path, parent.backup)
    delete_backup(Folder(str(tmp_path)), parent.backup)
    with pytest.raises(ArchiveDamaged, match=f"backup {parent.backup} was deleted"):
        writer.finish(completion(Form.COUCHDB, [(0, receipt)]))
    assert read_catalog(Folder(str(tmp_path))).backups == ()


def test_a_backup_that_is_deleted_leaves_no_file(tmp_path: Path) -> None:
    """Nor what a process that died was writing: nothing lists it, and it would lie there for ever."""
    writer, _ = begun(tmp_path)
    Folder(str(tmp_path)).spool(f"backups/{writer.backup}/part-000002.ndjson.zst").close()
    delete_backup(Folder(str(tmp_path)), writer.backup)
    assert [each.name for each in tmp_path.iterdir()] == ["archive.json"]


def test_a_backup_that_is_deleted_while_the_catalog_is_read_is_left_out(tmp_path: Path) -> None:
    """Listing, restoring and backing up go on while a prune runs."""
    gone, stays = (add_backup(tmp_path, Form.COUCHDB, [[activation(number)]]) for number in range(2))

    class PrunedMeanwhile(Folder):
        def read(self, name: str) -> bytes:
            if name == f"{gone.folder}manifest.json":
                delete_backup(self, gone.backup)
            return super().read(name)

    assert [each.backup for each in read_catalog(PrunedMeanwhile(str(tmp_path))).backups] == [stays.backup]
