"""What is found in a part without its index's help."""

from __future__ import annotations

from pathlib import Path

import pytest

from migrator.activations.document import Form
from migrator.adapters.archive import lane as lanes
from migrator.adapters.archive.folder import Folder
from migrator.adapters.archive.format import read_index
from migrator.adapters.archive.frames import Gap, Notes, WholeFrame, scan
from migrator.testing.documents import activation
from tests.support.archives import add_backup

DOCUMENTS = [activation(number) for number in range(6)]


@pytest.fixture
def part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three frames of two documents."""
    monkeypatch.setattr(lanes, "FRAME_BYTES", len(DOCUMENTS[0].body) + 1)
    made = add_backup(tmp_path, Form.COUCHDB, [DOCUMENTS])
    return tmp_path / made.folder / made.parts[0].name


def found(part: Path) -> list[WholeFrame | Notes | Gap]:
    place = Folder(str(part.parent))
    return list(scan(place, part.name, part.stat().st_size))


def test_a_whole_part_is_frames_and_notes_without_a_gap(part: Path) -> None:
    """The frames stand where the index says, and its notes are found once."""
    data = part.read_bytes()
    index = read_index(data, len(data))
    *frames, notes = found(part)
    assert [(each.offset, each.size_bytes) for each in frames if isinstance(each, WholeFrame)] == [
        (each.offset, each.size_bytes) for each in index.frames
    ]
    assert len(frames) == 3
    assert isinstance(notes, Notes)
    assert notes.frames == tuple(each.note for each in index.frames)


def test_a_damaged_frame_is_a_gap_of_its_size(part: Path) -> None:
    data = bytearray(part.read_bytes())
    second = read_index(bytes(data), len(data)).frames[1]
    data[second.offset + second.size_bytes - 1] ^= 1  # its checksum
    part.write_bytes(data)
    kinds = found(part)
    assert [type(each) for each in kinds] == [WholeFrame, Gap, WholeFrame, Notes]
    gap = kinds[1]
    assert isinstance(gap, Gap)
    assert (gap.offset, gap.size_bytes) == (second.offset, second.size_bytes)


def test_notes_are_found_in_an_index_that_lost_its_beginning(part: Path) -> None:
    """What stands before them is a gap."""
    data = bytearray(part.read_bytes())
    index = read_index(bytes(data), len(data))
    begins = index.frames[-1].offset + index.frames[-1].size_bytes
    data[begins] ^= 1
    part.write_bytes(data)
    kinds = found(part)
    assert [type(each) for each in kinds[:5]] == [WholeFrame, WholeFrame, WholeFrame, Gap, Notes]
    gap = kinds[3]
    assert isinstance(gap, Gap)
    assert gap.offset == begins
