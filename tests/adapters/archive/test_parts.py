"""A part is read as the manifest and its own index say, and every error names it once."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from migrator.activations.document import Form
from migrator.adapters.archive import format as bytes_of_parts
from migrator.adapters.archive import lane
from migrator.adapters.archive import parts as parts_module
from migrator.adapters.archive.folder import Folder
from migrator.adapters.archive.format import split_lines
from migrator.adapters.archive.manifest import Manifest
from migrator.adapters.archive.parts import Part
from migrator.errors import ArchiveDamaged
from migrator.testing.documents import activation
from tests.support.archives import add_backup
from tests.support.damage import flipped

DOCUMENTS = [activation(number) for number in range(6)]


class Watched(Folder):
    """A folder that notes which bytes are read."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.asked: list[tuple[int, int]] = []

    def read_range(self, name: str, offset: int, size_bytes: int) -> bytes:
        self.asked.append((offset, size_bytes))
        return super().read_range(name, offset, size_bytes)


class Opened:
    def __init__(self, folder: Path) -> None:
        self.place = Watched(str(folder))
        self.manifest: Manifest = add_backup(folder, Form.COUCHDB, [DOCUMENTS])
        self.note = self.manifest.parts[0]
        self.file = folder / self.manifest.folder / self.note.name
        self.data = self.file.read_bytes()
        self.where = f"archive:{folder}: {self.manifest.folder}{self.note.name}"

    def part(self, **told: object) -> Part:
        return Part(self.place, self.manifest, msgspec.structs.replace(self.note, **told))

    def refused(self, act: Callable[[], object], told: str) -> None:
        with pytest.raises(ArchiveDamaged, match=f"^{re.escape(self.where + told)}"):
            act()


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opened:
    """A part of three frames of two documents."""
    monkeypatch.setattr(lane, "FRAME_BYTES", len(DOCUMENTS[0].body) + 1)
    made = Opened(tmp_path)
    assert len(made.part().index.frames) == 3
    made.place.asked.clear()
    return made


def test_an_index_is_read_once_from_the_end(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one piece where that is enough, else again with as much as it needs, and never before the beginning."""
    part = opened.part()
    size = len(opened.data)
    assert part.index is part.index
    assert opened.place.asked == [(0, size)]
    needed = bytes_of_parts.tail_needed(opened.data)
    for tail_bytes, asked in (
        (needed, [needed]),
        (needed - 1, [needed - 1, needed]),
        (needed + 1, [needed + 1]),
    ):
        monkeypatch.setattr(parts_module, "TAIL_BYTES", tail_bytes)
        opened.place.asked.clear()
        assert opened.part().index == part.index
        assert opened.place.asked == [(size - each, each) for each in asked]


def test_a_part_that_is_not_the_manifests_is_refused_by_name(opened: Opened) -> None:
    size = len(opened.data)
    opened.refused(lambda: opened.part(size_bytes=size + 1).index, f": it has {size:,} bytes instead of {size + 1:,}")
    opened.refused(
        lambda: opened.part(documents=7).index, ": the index and the manifest have different numbers of documents"
    )
    opened.file.write_bytes(flipped(opened.data, 8 * opened.part().index.hashes_offset))
    opened.refused(opened.part().hashes, ": the hashes in its index are damaged")
    opened.file.write_bytes(b"x")
    opened.refused(lambda: opened.part().index, f": it has 1 byte instead of {size:,}")
    whole = opened.part()
    opened.file.write_bytes(opened.data)
    index = whole.index
    opened.file.unlink()
    opened.refused(lambda: opened.part().index, ": it is missing, and the manifest lists it")
    opened.refused(lambda: whole.lines(index.frames[0]), " is missing, and the manifest lists it")


def test_frames_that_stand_side_by_side_are_read_at_once(opened: Opened) -> None:
    part = opened.part()
    frames = part.index.frames
    opened.place.asked.clear()
    lines = [[each.body for each in DOCUMENTS[at : at + 2]] for at in (0, 2, 4)]
    assert [split_lines(each) for each in part.contents(frames)] == lines
    assert [split_lines(each) for each in part.contents(frames[1:2])] == lines[1:2]
    assert [split_lines(each) for each in part.contents(frames[1:])] == lines[1:]
    ends = [frame.offset + frame.size_bytes for frame in frames]
    assert opened.place.asked == [
        (0, ends[2]),
        (frames[1].offset, frames[1].size_bytes),
        (frames[1].offset, ends[2] - frames[1].offset),
    ]


def test_a_damaged_frame_is_reported_with_its_first_byte(opened: Opened) -> None:
    part = opened.part()
    third = part.index.frames[2]
    opened.file.write_bytes(flipped(opened.data, 8 * (third.offset + third.size_bytes - 1)))
    opened.refused(lambda: list(part.contents(part.index.frames)), f": at byte {third.offset:,}: a frame is damaged: ")


def test_a_part_is_proved_where_all_of_it_was_read_in_order(opened: Opened) -> None:
    """Its hash tells then one that somebody put in its place; where something was left out it can't."""
    other = "0" * 64
    orders = [([0, 1, 2], True), ([0, 1], False), ([1, 2, 0], False), ([0, 2, 1], False), ([], False)]
    for order, proves in orders:
        for sha256 in (opened.note.sha256, other):
            part = opened.part(sha256=sha256)
            for at in order:
                part.lines(part.index.frames[at])
            if proves and sha256 == other:
                opened.refused(part.prove, ": its SHA-256 doesn't match the manifest")
            else:
                part.prove()


def test_a_part_that_is_proved_again_is_not_read_again(opened: Opened) -> None:
    part = opened.part()
    assert len(list(part.contents(part.index.frames))) == 3
    part.prove()
    opened.place.asked.clear()
    part.prove()
    assert opened.place.asked == []


def test_the_hash_of_an_encrypted_part_is_not_looked_at(opened: Opened) -> None:
    opened.file.rename(opened.file.with_name(f"{opened.file.name}.age"))
    part = opened.part(sha256="0" * 64, name=f"{opened.note.name}.age")
    assert len(list(part.contents(part.index.frames))) == 3
    part.prove()


def test_hashes_are_those_of_the_ids_in_the_order_of_lines(opened: Opened) -> None:
    assert opened.part().hashes() == b"".join(bytes_of_parts.id_hash(each.id) for each in DOCUMENTS)
