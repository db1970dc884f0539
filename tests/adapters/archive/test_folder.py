"""A folder as the place of an archive."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from migrator import durable
from migrator.adapters.archive.folder import Folder
from migrator.adapters.archive.places import Place
from migrator.errors import AccessDenied, NotFound, Unavailable
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
