"""An archive in the making: everything is where it will be, but nobody takes it for an archive."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from migrator.adapters.archive.folder import Folder
from migrator.adapters.archive.places import Place
from migrator.adapters.archive.unpublished import Unpublished
from migrator.errors import NotFound, UsageError
from tests.support.damage import pieces, put

PART = "backups/20261124T021500Z-3f9a2c/part-000001.ndjson.zst"


@pytest.fixture
def place(tmp_path: Path) -> Unpublished:
    return Unpublished(Folder(str(tmp_path / "new")))


def stored(place: Place, name: str, data: bytes) -> None:
    spool = place.spool(name)
    spool.write(data)
    assert place.store(name, spool).size_bytes == len(data)


def test_its_head_lies_under_another_name_until_it_is_published(place: Unpublished, tmp_path: Path) -> None:
    """For whoever looks from outside; through the place itself it is there."""
    assert place.printed == f"archive:{tmp_path / 'new'}"
    assert not place.exists()
    place.write("archive.json", b"head")
    stored(place, PART, b"part")
    assert place.exists()
    assert pieces(tmp_path / "new") == {"unfinished.json": b"head", PART: b"part"}
    assert sorted(place.names("")) == [("archive.json", 4), (PART, 4)]
    assert list(place.names("backups/")) == [(PART, 4)]
    for name, data in (("archive.json", b"head"), (PART, b"part")):
        assert place.read(name) == data
        assert place.read_range(name, 1, 2) == data[1:3]
        assert place.size(name) == 4
        assert place.content_bytes(name, 4) == 4
        place.unlock(name)
    place.publish()
    assert pieces(tmp_path / "new") == {"archive.json": b"head", PART: b"part"}


def test_a_head_may_be_spooled_and_deleted_as_any_piece(place: Unpublished, tmp_path: Path) -> None:
    stored(place, "archive.json", b"head")
    assert pieces(tmp_path / "new") == {"unfinished.json": b"head"}
    place.delete("archive.json")
    stored(place, PART, b"part")
    place.delete(PART)
    assert pieces(tmp_path / "new") == {}
    with pytest.raises(NotFound):
        place.read("archive.json")
    spool = place.spool(PART)
    place.discard(spool)
    assert pieces(tmp_path / "new") == {}
    left = place.spool(PART)  # as a process that died leaves it
    place.sweep("x/")
    assert len(pieces(tmp_path / "new")) == 1
    place.sweep(PART.rpartition("/")[0] + "/")
    assert pieces(tmp_path / "new") == {}
    left.close()
    place.close()


def test_nothing_is_published_where_nothing_was_written(place: Unpublished, tmp_path: Path) -> None:
    place.publish()
    assert not (tmp_path / "new").exists()


def test_an_empty_place_is_begun_and_an_interrupted_attempt_is_cleared(place: Unpublished, tmp_path: Path) -> None:
    """What systems leave everywhere makes no place a used one, and stays."""
    assert place.begin() is False
    put(tmp_path / "new", {".DS_Store": b""})
    assert place.begin() is False
    place.write("archive.json", b"head")
    stored(place, PART, b"part")
    put(tmp_path / "new", {"notes.txt": b""})
    unfinished = place.spool(PART)
    assert len(pieces(tmp_path / "new")) == 5
    assert place.begin() is True
    assert pieces(tmp_path / "new") == {".DS_Store": b"", "notes.txt": b""}
    unfinished.close()


@pytest.mark.parametrize("there", [["notes.txt"], ["archive.json"], ["archive.json", "unfinished.json"], [PART]])
def test_a_place_with_anything_else_is_refused(place: Unpublished, tmp_path: Path, there: list[str]) -> None:
    content = dict.fromkeys(there, b"x")
    put(tmp_path / "new", content)
    told = f"archive:{tmp_path / 'new'}: it isn't empty; give a new folder to `repair`"
    with pytest.raises(UsageError, match=f"^{re.escape(told)}$"):
        place.begin()
    assert pieces(tmp_path / "new") == content
