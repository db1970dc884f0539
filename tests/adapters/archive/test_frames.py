"""What is found in a part without its index's help."""

from __future__ import annotations

from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from migrator.activations.document import Form
from migrator.adapters.archive import format as bytes_of_parts
from migrator.adapters.archive import frames as scanning
from migrator.adapters.archive import lane as lanes
from migrator.adapters.archive.folder import Folder
from migrator.adapters.archive.format import make_end, make_frame, new_compressor, read_index
from migrator.adapters.archive.frames import Found, Gap, Notes, WholeFrame, scan
from migrator.adapters.shared.lines import as_lines
from migrator.errors import ArchiveDamaged
from migrator.testing.documents import activation
from tests.support.archives import add_backup
from tests.support.profiles import examples

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


# -- any mixture ---------------------------------------------------------------------------------------------------


class Bytes(Folder):
    """A place with one piece, which is read as a part of a folder is: exactly what was asked for, or damage."""

    def __init__(self, data: bytes) -> None:
        super().__init__(".")
        self.data = data
        self.asked: list[tuple[int, int]] = []

    def read_range(self, name: str, offset: int, size_bytes: int) -> bytes:
        self.asked.append((offset, size_bytes))
        if not 0 <= offset < offset + size_bytes <= len(self.data):
            raise ArchiveDamaged(f"{size_bytes} bytes from {offset} of {len(self.data)}")
        return self.data[offset : offset + size_bytes]


def all_of(data: bytes) -> list[Found]:
    return list(scan(Bytes(data), "part", len(data)))


FRAMES = [make_frame(DOCUMENTS[at : at + 2], new_compressor(3)) for at in (0, 2, 4)]
END = make_end(FRAMES)
INDEX_BYTES = 8 + int.from_bytes(END[4:8], "little")
JUNK = st.one_of(
    st.sampled_from([FRAMES[0].data[:4], FRAMES[1].data[:-5], END[:8], END[:12], FRAMES[0].data[:40], b"\n", b"{}\n"]),
    st.binary(min_size=1, max_size=40),
)


@given(
    pieces=st.lists(st.one_of(st.sampled_from(["first", "second", "third", "index"]), JUNK), max_size=6),
    table=st.booleans(),
    window_bytes=st.sampled_from([16, 64, 300, 4 << 20]),
    piece_bytes=st.sampled_from([1, 16, 4 << 10]),
)
@examples(40)
def test_whatever_is_whole_is_found_between_whatever_else(
    pieces: list[str | bytes], table: bool, window_bytes: int, piece_bytes: int
) -> None:
    """However little of it is in memory at a time. A seek table counts where it ends the part."""
    whole = {name: frame.data for name, frame in zip(("first", "second", "third"), FRAMES, strict=True)}
    whole["index"] = END[:INDEX_BYTES]
    data, expected, gap_at = b"", list[Found](), 0

    def end_gap() -> None:
        if gap_at < len(data):
            expected.append(Gap(gap_at, len(data) - gap_at))

    for piece in [*pieces, *(["table"] if table else [])]:
        if isinstance(piece, bytes):
            data += piece
            continue
        end_gap()
        if piece == "index":
            expected.append(Notes(tuple(frame.note for frame in FRAMES)))
        elif piece != "table":
            at = 2 * list(whole).index(piece)
            lines = as_lines(DOCUMENTS[at : at + 2]).splitlines()
            expected.append(WholeFrame(len(data), len(whole[piece]), lines))
        data += END[INDEX_BYTES:] if piece == "table" else whole[piece]
        gap_at = len(data)
    end_gap()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scanning, "_WINDOW_BYTES", window_bytes)
        patch.setattr(scanning, "_PIECE_BYTES", piece_bytes)
        assert all_of(data) == expected


def test_a_seek_table_that_something_follows_is_a_gap() -> None:
    """It doesn't end the part; nor does one whose length leads beyond the end count."""
    table = END[INDEX_BYTES:]
    assert all_of(FRAMES[0].data + table)[1:] == []
    at = len(FRAMES[0].data)
    assert all_of(FRAMES[0].data + table + b"x")[1:] == [Gap(at, len(table) + 1)]
    assert all_of(FRAMES[0].data + table[:-1])[1:] == [Gap(at, len(table) - 1)]


def test_a_skippable_frame_of_others_is_a_gap() -> None:
    other = bytes_of_parts.SKIPPABLE.pack(0x184D2A50, 4) + b"abcd"
    assert all_of(other + FRAMES[0].data)[0] == Gap(0, 12)


@pytest.mark.parametrize(("checksum", "size"), [(False, True), (True, False)])
def test_a_frame_that_proves_nothing_is_a_gap(checksum: bool, size: bool) -> None:
    """One without a checksum, or without its size."""
    compressor = zstandard.ZstdCompressor(level=3, write_checksum=checksum, write_content_size=size)
    frame = compressor.compress(as_lines(DOCUMENTS))
    assert all_of(frame) == [Gap(0, len(frame))]


@pytest.mark.parametrize("content", [b"no line", b'{"frames":1}', b"[]"])
def test_a_frame_of_neither_lines_nor_notes_is_a_gap(content: bytes) -> None:
    frame = new_compressor(3).compress(content)
    assert all_of(frame) == [Gap(0, len(frame))]


def test_a_frame_up_to_the_limits_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """And one beyond them is a gap: in bytes, or in lines."""
    frame = FRAMES[0]
    monkeypatch.setattr(scanning, "MOST_FRAME_BYTES", frame.raw_bytes)
    monkeypatch.setattr(bytes_of_parts, "_MOST_LINES", 2)
    assert [type(each) for each in all_of(frame.data)] == [WholeFrame]
    monkeypatch.setattr(scanning, "MOST_FRAME_BYTES", frame.raw_bytes - 1)
    assert all_of(frame.data) == [Gap(0, len(frame.data))]
    monkeypatch.setattr(scanning, "MOST_FRAME_BYTES", frame.raw_bytes)
    monkeypatch.setattr(bytes_of_parts, "_MOST_LINES", 1)
    assert all_of(frame.data) == [Gap(0, len(frame.data))]


def test_an_index_whose_length_is_wrong_is_a_gap() -> None:
    """Its last four bytes tell how long the header before them is; the header is found by itself all the same."""
    index = END[:INDEX_BYTES]
    header = int.from_bytes(index[-4:], "little")
    for told in (0, header - 1, header + 1, INDEX_BYTES, 2**32 - 1):
        data = index[:-4] + told.to_bytes(4, "little")
        assert all_of(data) == [
            Gap(0, INDEX_BYTES - 4 - header),
            Notes(tuple(frame.note for frame in FRAMES)),
            Gap(INDEX_BYTES - 4, 4),
        ]


def test_no_more_is_read_than_a_window_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing twice, but what a step back into the window before takes."""
    monkeypatch.setattr(scanning, "_WINDOW_BYTES", 200)
    monkeypatch.setattr(scanning, "_PIECE_BYTES", 50)
    data = b"x" * 5_000 + FRAMES[0].data
    place = Bytes(data)
    list(scan(place, "part", len(data)))
    assert max(size_bytes for _, size_bytes in place.asked) == 200
    assert sum(size_bytes for _, size_bytes in place.asked) < 3 * len(data)
