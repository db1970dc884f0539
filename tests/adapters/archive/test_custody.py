"""Whether an archive still holds what was read from it: what a purge asks before each batch."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from migrator.activations.document import Form
from migrator.adapters.archive.custody import busy, lost
from migrator.adapters.archive.folder import Folder
from migrator.adapters.archive.manifest import ARCHIVE, MANIFEST, SUMS, Manifest, read_head
from migrator.testing.documents import activation
from tests.support.archives import add_backup


@pytest.fixture
def chain(tmp_path: Path) -> list[Manifest]:
    """A full backup of two parts, and one that continues it."""
    full = add_backup(tmp_path / "a", Form.COUCHDB, [[activation(1), activation(2)]], part_documents=1)
    return [full, add_backup(tmp_path / "a", Form.COUCHDB, [[activation(3)]], parent=full.backup)]


def what_is_lost(archive: Path, chain: list[Manifest], of: Path | None = None) -> str | None:
    """As seen by one who read the chain from the archive `of`."""
    head = read_head(((of or archive) / ARCHIVE).read_bytes(), "the archive")
    return lost(Folder(str(archive)), head.archive, chain)


def test_an_archive_that_only_grew_holds_all(tmp_path: Path, chain: list[Manifest]) -> None:
    add_backup(tmp_path / "a", Form.COUCHDB, [[activation(4)]], parent=chain[1].backup)
    assert what_is_lost(tmp_path / "a", chain) is None
    assert what_is_lost(tmp_path / "a", chain[:1]) is None


def test_an_archive_that_was_deleted_or_replaced_holds_nothing(tmp_path: Path, chain: list[Manifest]) -> None:
    """Also by one that has the same backups, such as a copy that was salvaged."""
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    add_backup(tmp_path / "c", Form.COUCHDB, [[activation(1)]])
    shutil.copy(tmp_path / "c" / ARCHIVE, tmp_path / "b" / ARCHIVE)
    assert what_is_lost(tmp_path / "b", chain, of=tmp_path / "a") == "the archive was replaced by another"
    assert lost(Folder(str(tmp_path / "gone")), "0" * 32, chain) == "the archive was deleted"


@pytest.mark.parametrize("gone", [MANIFEST, SUMS])
@pytest.mark.parametrize("at", [0, 1])
def test_a_backup_without_its_manifest_is_lost(tmp_path: Path, chain: list[Manifest], at: int, gone: str) -> None:
    (tmp_path / "a" / chain[at].folder / gone).unlink()
    assert what_is_lost(tmp_path / "a", chain) == f"backup {chain[at].backup} was deleted"


def test_a_backup_whose_folder_went_is_lost(tmp_path: Path, chain: list[Manifest]) -> None:
    shutil.rmtree(tmp_path / "a" / chain[1].folder)
    assert what_is_lost(tmp_path / "a", chain) == f"backup {chain[1].backup} was deleted"
    assert what_is_lost(tmp_path / "a", chain[:1]) is None


@pytest.mark.parametrize(("at", "part"), [(0, 0), (0, 1), (1, 0)])
def test_a_part_that_went_or_has_another_size_is_lost(
    tmp_path: Path, chain: list[Manifest], at: int, part: int
) -> None:
    name = chain[at].parts[part].name
    path = tmp_path / "a" / chain[at].folder / name
    told = f"{name} of backup {chain[at].backup} was deleted or cut off"
    path.write_bytes(path.read_bytes()[:-1])
    assert what_is_lost(tmp_path / "a", chain) == told
    path.unlink()
    assert what_is_lost(tmp_path / "a", chain) == told


def test_an_archive_with_a_backup_that_is_not_complete_is_busy(tmp_path: Path, chain: list[Manifest]) -> None:
    """One that is being written has no manifest yet, one that is being deleted none any more; the oldest is named."""
    place = Folder(str(tmp_path / "a"))
    assert busy(place) is None
    for each in reversed(chain):
        (tmp_path / "a" / each.folder / MANIFEST).unlink()
        assert busy(place) == (
            f"backup {each.backup} is being written, or was left unfinished: wait for it, resume it, or delete it with "
            "`migrator archive prune`"
        )
