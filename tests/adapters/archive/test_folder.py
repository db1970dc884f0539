"""A folder as the place of an archive."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from migrator import durable
from migrator.adapters.archive.folder import Folder
from migrator.adapters.archive.places import Place
from migrator.errors import AccessDenied, ArchiveDamaged, NotFound, Unavailable
from tests.conformance.places import PlaceConformance


class TestFolder(PlaceConformance):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        self.folder = tmp_path / "archive"
        self.folder.mkdir()
        return Folder(str(self.folder))

    def raw(self, name: str) -> bytes | None:
        path = self.folder / name
        return path.read_bytes() if path.exists() else None

    def test_a_folder_that_cannot_be_looked_into_is_an_error(self) -> None:
        """What lies in it would seem not to be there, and an older state would be taken for the newest."""
        with readable_to_all() as folder:
            closed = folder / "backups" / "20261124T021500Z-3f9a2c"
            put_file(closed / "manifest.json")
            closed.chmod(0o700)
            with as_nobody(), pytest.raises(AccessDenied, match=f"backups/{closed.name}/: Permission denied"):
                list(Folder(str(folder)).names(""))

    def test_a_piece_that_has_its_name_is_stored_where_only_the_folder_is_tried_again(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The disk failed between the rename and the folder's fsync."""
        steps = iter([OSError(errno.EIO, os.strerror(errno.EIO)), None])

        def sync_folder(_: Path) -> None:
            if step := next(steps, None):
                raise step

        spool = place.spool("piece")
        spool.write(b"content")
        monkeypatch.setattr(durable, "sync_folder", sync_folder)
        with pytest.raises(Unavailable):
            place.store("piece", spool)
        assert place.store("piece", spool).size_bytes == 7
        assert self.raw("piece") == b"content"
        stolen = place.spool("piece")
        Path(stolen.name).unlink()
        with pytest.raises(NotFound):
            place.store("piece", stolen)
        place.discard(stolen)

    def test_what_a_file_system_keeps_for_itself_may_be_closed(self) -> None:
        """An archive may be the whole of a disk."""
        with readable_to_all() as folder:
            put_file(folder / "archive.json")
            (folder / "lost+found").mkdir(mode=0o700)
            with as_nobody():
                assert list(Folder(str(folder)).names("")) == [("archive.json", 1)]

    def test_a_folder_that_cannot_be_entered_is_reported(self) -> None:
        """In our words, whatever is asked first."""
        with readable_to_all() as folder:
            put_file(folder / "archive.json")
            folder.chmod(0o700)
            with as_nobody():
                for place in (Folder(str(folder)), Folder(str(folder / "below"))):
                    with pytest.raises(AccessDenied, match="Permission denied; check the permissions"):
                        place.size("archive.json")
                with pytest.raises(AccessDenied, match="Permission denied; check the permissions"):
                    place.exists()

    def test_what_vanishes_while_it_is_listed_is_left_out(self, place: Place) -> None:
        """Another process prunes meanwhile."""
        for number in range(60):
            put_file(self.folder / "backups" / f"{number:03}" / "manifest.json")
        gone = threading.Event()

        def prune() -> None:
            while not gone.is_set():
                for number in range(1, 60):
                    shutil.rmtree(self.folder / "backups" / f"{number:03}", ignore_errors=True)
                    put_file(self.folder / "backups" / f"{number:03}" / "manifest.json")

        with ThreadPoolExecutor(1) as pool:
            pruning = pool.submit(prune)
            try:
                for _ in range(20):
                    assert next(iter(place.names(""))) == ("backups/000/manifest.json", 1)
            finally:
                gone.set()
            pruning.result()


def put_file(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")


@contextmanager
def readable_to_all() -> Iterator[Path]:
    """A folder that another user reaches, as pytest's own ones aren't."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without the rights of root."""
    if os.geteuid() != 0:
        pytest.skip("root alone can become another user")
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


# -- by itself ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("odd", ["link to a file", "link to a folder", "pipe", "folder"])
def test_what_is_no_file_is_neither_read_nor_passed_over(tmp_path: Path, odd: str) -> None:
    """It is named with what to do, by every way in."""
    place = Folder(str(tmp_path / "archive"))
    name = "backups/20261124T021500Z-3f9a2c/manifest.json"
    path = tmp_path / "archive" / name
    path.parent.mkdir(parents=True)
    if odd == "pipe":
        os.mkfifo(path)
    elif odd == "folder":
        path.mkdir()
    else:
        target = tmp_path / "elsewhere"
        if odd.endswith("folder"):
            target.mkdir()
        else:
            target.write_bytes(b"x")
        path.symlink_to(target)
    told = (
        f"archive:{tmp_path / 'archive'}: {name} is a link or a special file; only files and folders are read or "
        "deleted in an archive: put there what it points to, or remove it"
    )
    acts: list[Callable[[], object]] = [lambda: place.read(name), lambda: place.read_range(name, 0, 1)]
    acts += [lambda: place.size(name), lambda: list(place.names(""))]
    for act in acts:
        with pytest.raises(ArchiveDamaged, match=f"^{re.escape(told)}$"):
            act()


def test_a_link_in_the_place_of_a_folder_leads_nowhere(tmp_path: Path) -> None:
    """Neither out of the archive nor back into it; one that stands in nobody's way is a stranger."""
    place = Folder(str(tmp_path / "archive"))
    (tmp_path / "archive").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "archive" / "backups").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "archive" / "other").symlink_to(tmp_path / "elsewhere")
    told = f"archive:{tmp_path / 'archive'}: backups is a link or a special file; "
    name = "backups/20261124T021500Z-3f9a2c/manifest.json"
    acts: list[Callable[[], object]] = [lambda: place.read(name), lambda: place.write(name, b"x")]
    acts += [lambda: place.spool(name), lambda: place.sweep("backups/20261124T021500Z-3f9a2c/")]
    acts += [lambda: list(place.names("backups/")), lambda: list(place.names("")), lambda: place.delete(name)]
    for act in acts:
        with pytest.raises(ArchiveDamaged, match=f"^{re.escape(told)}"):
            act()
    assert list((tmp_path / "elsewhere").iterdir()) == []
    (tmp_path / "archive" / "backups").unlink()
    assert list(place.names("")) == [("other", 0)]
    (tmp_path / "archive" / "boX").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArchiveDamaged, match=r": boX is a link or a special file; "):
        list(place.names("boX/"))


def test_a_piece_that_was_cut_says_where_it_ends(tmp_path: Path) -> None:
    place = Folder(str(tmp_path))
    (tmp_path / "archive.json").write_bytes(b"x" * 1000)
    assert place.read_range("archive.json", 990, 10) == b"x" * 10
    told = f"archive:{tmp_path}: archive.json is truncated: it ends before byte 1,001"
    with pytest.raises(ArchiveDamaged, match=f"^{re.escape(told)}$"):
        place.read_range("archive.json", 991, 10)
    told = f"archive:{tmp_path}: manifest.json isn't there"
    acts: list[Callable[[], object]] = [lambda: place.read("manifest.json")]
    acts += [lambda: place.read_range("manifest.json", 0, 1)]
    for act in acts:
        with pytest.raises(NotFound, match=f"^{re.escape(told)}$"):
            act()
    assert place.size("manifest.json") is None


def test_folders_that_get_empty_go_with_their_last_piece(tmp_path: Path) -> None:
    """The archive's own stays; deleting what isn't there is no error."""
    place = Folder(str(tmp_path / "archive"))
    place.delete("backups/x/manifest.json")
    for name in ("backups/x/manifest.json", "backups/x/y", "archive.json"):
        place.write(name, b"x")
    place.delete("backups/x/y")
    place.delete("backups/x/y")
    assert sorted(place.names("")) == [("archive.json", 1), ("backups/x/manifest.json", 1)]
    place.delete("backups/x/manifest.json")
    assert [each.name for each in (tmp_path / "archive").iterdir()] == ["archive.json"]
    place.delete("archive.json")
    assert place.exists()
    assert list(place.names("")) == []


def test_new_files_have_the_mode_that_was_asked_for(tmp_path: Path) -> None:
    """By default their owner's alone."""
    for mode, expected in ((None, 0o600), (0o640, 0o640)):
        place = Folder(str(tmp_path / str(mode)), file_mode=mode)
        place.write("archive.json", b"x")
        spool = place.spool("backups/x")
        spool.write(b"x")
        assert place.store("backups/x", spool).size_bytes == 1
        for name in ("archive.json", "backups/x"):
            assert (tmp_path / str(mode) / name).stat().st_mode & 0o777 == expected
