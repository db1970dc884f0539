"""What isn't the archive's: files that systems leave everywhere, links, pipes; skipped or refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrator.activations.document import Form
from migrator.adapters.archive.folder import Folder
from migrator.adapters.archive.opening import open_place
from migrator.adapters.memory import _stores, memory_store
from migrator.api.backup import backup
from migrator.errors import ArchiveDamaged, NotFound
from migrator.operations.archive.check import check_archive
from migrator.operations.archive.listing import list_archive
from migrator.operations.archive.prune import prune_archive
from migrator.operations.archive.retention import Retention
from migrator.operations.archive.salvage import salvage_archive
from migrator.testing.documents import activation
from tests.adapters.archive.conftest import bucket, s3  # noqa: F401  fixtures
from tests.support.archives import add_backup, read_archive
from tests.support.damage import documents_of, make_archive, put
from tests.support.s3 import S3Server

STRANGERS = [
    ".DS_Store",
    "backups/Thumbs.db",
    "{folder}.nfs000000000012ab",
    "{folder}@eaDir/part-000001.ndjson.zst@SynoEAStream",
    "{folder}manifest.json~",
    "{folder}.manifest.json.swp",
    "lost+found/#12",
    "notes\n\x1b[31m.txt",
]


@pytest.fixture(autouse=True)
def _no_stores() -> Iterator[None]:
    _stores.clear()
    yield
    _stores.clear()


@pytest.mark.parametrize("stranger", STRANGERS)
def test_a_stranger_is_reported_and_passed_over(tmp_path: Path, stranger: str) -> None:
    """By check, list, restore, salvage, prune and the next backup; it stays where it is."""
    archive = tmp_path / "archive"
    made = make_archive(archive, 12)
    whole = documents_of(archive)
    name = stranger.format(folder=made[0].folder)
    put(archive, {name: b"not ours"})
    report = check_archive(f"archive:{archive}")
    assert (report.findings, report.exit_code) == ((), 0)
    (note,) = report.notes
    assert note.startswith("ignoring 1 file that isn't part of the archive: ")
    assert "\x1b" not in note
    assert [each.state for each in list_archive(f"archive:{archive}").backups] == ["complete", "complete"]
    assert documents_of(archive) == whole
    assert salvage_archive(f"archive:{archive}", f"archive:{tmp_path / 'saved'}").missing == ()
    add_backup(archive, Form.COUCHDB, [[activation(1)]])
    prune_archive(f"archive:{archive}", Retention(last=1))
    assert [each.state for each in list_archive(f"archive:{archive}").backups] == ["complete"]
    assert (archive / name).read_bytes() == b"not ours"
    assert check_archive(f"archive:{archive}").exit_code == 0


def test_the_first_backup_takes_a_folder_with_junk_only(tmp_path: Path) -> None:
    """Anything else in it is named, and makes it no archive."""
    store = memory_store("source")
    store.put(activation(1).id, activation(1).body)
    put(tmp_path / "a", {".DS_Store": b"x", "lost+found/#1": b"x", "@eaDir/x": b"x"})
    assert backup("memory:source", f"archive:{tmp_path / 'a'}", state=tmp_path / "state").backup is not None
    put(tmp_path / "b", {".DS_Store": b"x", "thesis.doc": b"x"})
    with pytest.raises(NotFound, match=r"neither an archive nor empty: it contains thesis\.doc"):
        backup("memory:source", f"archive:{tmp_path / 'b'}", state=tmp_path / "state")


def test_markers_and_odd_keys_in_a_bucket(tmp_path: Path, s3: S3Server, bucket: str) -> None:  # noqa: F811
    """Keys that end with a slash or hold two are reported and skipped; the first backup is made beside them."""
    for key in ("ow/", "ow/backups/"):
        s3.put(bucket, key, b"")
    store = memory_store("source")
    store.put(activation(1).id, activation(1).body)
    archive = f"s3://{bucket}/ow"
    first = backup("memory:source", archive, state=tmp_path / "state").backup
    assert first is not None
    for key in ("ow//odd", "ow/x//y", f"ow/backups/{first.backup}//y"):
        s3.put(bucket, key, b"x")
        store.put(activation(2).id, activation(2, logs=[key]).body)
        second = backup("memory:source", archive, state=tmp_path / "state").backup
        assert second is not None
        assert second.mode == "incremental"
        report = check_archive(archive)
        assert report.findings == ()
        assert "ignoring" in report.notes[0]
        place = open_place(archive)
        assert place.exists()
        assert sum(name.endswith("manifest.json") for name, _ in place.names("")) == len(list_archive(archive).backups)
        place.close()
    assert len(list_archive(archive).backups) == 4


# -- links and what is no file ------------------------------------------------------------------------------------


def linked(tmp_path: Path) -> tuple[Path, Path]:
    """An archive in which a backup's folder, the newest, is a link to one outside."""
    archive, outside = tmp_path / "archive", tmp_path / "outside"
    made = make_archive(archive, 12)
    (archive / made[1].folder.rstrip("/")).rename(outside)
    (archive / made[1].folder.rstrip("/")).symlink_to(outside)
    return archive, outside


def test_a_linked_backup_is_neither_followed_nor_taken_for_missing(tmp_path: Path) -> None:
    """Nothing outside is read or deleted, and no older state passes for the newest."""
    archive, outside = linked(tmp_path)
    before = {each.name: each.read_bytes() for each in outside.iterdir()}
    said = (
        "is a link or a special file; only files and folders are read or deleted in an archive: put there what it "
        "points to, or remove it"
    )
    with pytest.raises(ArchiveDamaged, match=said):
        read_archive(archive)
    with pytest.raises(ArchiveDamaged, match=said):
        check_archive(f"archive:{archive}")
    with pytest.raises(ArchiveDamaged, match=said):
        salvage_archive(f"archive:{archive}", f"archive:{tmp_path / 'saved'}")
    with pytest.raises(ArchiveDamaged, match=said):
        prune_archive(f"archive:{archive}", Retention(last=1), unfinished_older_than="0s")
    folder = Folder(str(archive))
    name = next(each.name for each in (archive / "backups").iterdir() if each.is_symlink())
    for deed in (
        lambda: folder.delete(f"backups/{name}/manifest.json"),
        lambda: folder.sweep(f"backups/{name}/"),
        lambda: folder.read(f"backups/{name}/manifest.json"),
        lambda: folder.write(f"backups/{name}/manifest.json", b"x"),
        lambda: folder.spool(f"backups/{name}/part-000001.ndjson.zst"),
    ):
        with pytest.raises(ArchiveDamaged, match=said):
            deed()
    assert {each.name: each.read_bytes() for each in outside.iterdir()} == before


def test_an_archive_may_be_a_link_itself(tmp_path: Path) -> None:
    make_archive(tmp_path / "archive", 12)
    (tmp_path / "link").symlink_to(tmp_path / "archive")
    assert check_archive(f"archive:{tmp_path / 'link'}").exit_code == 0
    assert documents_of(tmp_path / "link") == documents_of(tmp_path / "archive")


def test_a_link_that_is_a_stranger_is_reported(tmp_path: Path) -> None:
    """Also one that leads back to where it stands."""
    make_archive(tmp_path / "archive", 12)
    (tmp_path / "archive" / "latest").symlink_to(tmp_path / "archive")
    assert "part of the archive: latest" in check_archive(f"archive:{tmp_path / 'archive'}").notes[0]


@pytest.mark.parametrize("name", ["archive.json", "{folder}manifest.json", "{folder}part-000001.ndjson.zst"])
@pytest.mark.parametrize("what", ["pipe", "device", "link", "folder"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, name: str, what: str) -> None:
    """A pipe would wait for ever, and a device give bytes without an end."""
    made = make_archive(tmp_path, 12)
    path = tmp_path / name.format(folder=made[1].folder)
    path.unlink()
    if what == "pipe":
        os.mkfifo(path)
    elif what == "device":
        path.symlink_to("/dev/zero")
    elif what == "link":
        path.symlink_to("/etc/passwd")
    else:
        path.mkdir()
    with pytest.raises((ArchiveDamaged, NotFound)):
        read_archive(tmp_path)
    with pytest.raises(ArchiveDamaged, match="is a link or a special file"):
        check_archive(f"archive:{tmp_path}")


# -- a salvage that is interrupted --------------------------------------------------------------------------------


def test_an_interrupted_salvage_leaves_no_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After whatever step it dies, a check finds that it isn't whole, and the same command makes it so."""
    damaged, saved = tmp_path / "damaged", tmp_path / "saved"
    make_archive(damaged, 12)
    whole = documents_of(damaged)
    real = {name: getattr(Folder, name) for name in ("write", "store", "delete")}
    for die_after in range(60):
        steps = 0

        def dying(self: Folder, *arguments: object, deed: str, limit: int = die_after) -> object:
            nonlocal steps
            if self.printed.endswith("saved"):
                if steps == limit:
                    raise KeyboardInterrupt
                steps += 1
            return real[deed](self, *arguments)

        for name in real:
            monkeypatch.setattr(Folder, name, lambda self, *each, name=name: dying(self, *each, deed=name))
        try:
            salvage_archive(f"archive:{damaged}", f"archive:{saved}")
            assert die_after > 8
            break
        except KeyboardInterrupt:
            pass
        finally:
            monkeypatch.undo()
        if (saved / "archive.json").exists():
            assert documents_of(saved) == whole  # it died when all was there
            break
        try:
            assert check_archive(f"archive:{saved}").exit_code == 12
        except NotFound:
            assert steps <= 1
        with pytest.raises(NotFound):
            read_archive(saved)
    else:
        raise AssertionError("it never came to its end")
    assert check_archive(f"archive:{saved}").findings == ()
    assert documents_of(saved) == whole
