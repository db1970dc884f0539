"""The end of a part, and ids of backups, as those who damage or forge them write them."""

from __future__ import annotations

import struct

import pytest

from migrator.adapters.archive.format import (
    make_end,
    make_frame,
    new_compressor,
    read_index,
    tail_needed,
)
from migrator.adapters.archive.manifest import ArchiveHead, id_ms, is_backup_id, read_head
from migrator.errors import ArchiveDamaged
from migrator.records import parse_moment
from tests.documents import activation

DOCUMENTS = [activation(number) for number in range(5)]


def part() -> bytes:
    frame = make_frame(DOCUMENTS, new_compressor(3))
    return frame.data + make_end([frame])


def test_the_index_is_read_from_the_end() -> None:
    """Whatever stands before it, as far as it is long enough."""
    data = part()
    index = read_index(data, len(data))
    assert index.frames[0].note.documents == 5
    assert read_index(data[-tail_needed(data[-20:]) :], len(data)) == index


@pytest.mark.parametrize("frames", [0, 1, 3, 2**16, 2**32 - 1])
def test_a_seek_table_of_another_length_is_damage(frames: int) -> None:
    """Also one that would be longer than the part."""
    data = part()
    forged = data[:-9] + struct.pack("<I", frames) + data[-5:]
    with pytest.raises(ArchiveDamaged):
        read_index(forged, len(forged))


@pytest.mark.parametrize("version", [0, -1])
def test_a_version_that_never_was_is_damage(version: int) -> None:
    """One flipped bit makes 0 of 1."""
    data = ArchiveHead(archive="0" * 32).encode().replace(b'"version": 1', f'"version": {version}'.encode())
    with pytest.raises(ArchiveDamaged, match="never was"):
        read_head(data, "archive.json")


def test_an_id_tells_when_its_backup_began() -> None:
    assert id_ms("20261124T021500Z-3f9a2c") == parse_moment("2026-11-24T02:15:00Z", now_ms=0)


@pytest.mark.parametrize("text", ["20261324T021500Z-3f9a2c", "20261124T251500Z-3f9a2c", "../x", "", "20261124T0215"])
def test_what_is_no_id_is_no_backup(text: str) -> None:
    assert not is_backup_id(text)
