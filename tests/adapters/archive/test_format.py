"""The end of a part, and ids of backups, as those who damage or forge them write them."""

from __future__ import annotations

import hashlib
import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.activations.document import Document, Form
from migrator.activations.selection import parse_moment
from migrator.adapters.archive import format as bytes_of_parts
from migrator.adapters.archive.format import (
    SEEK_MAGIC,
    id_hash,
    make_end,
    make_frame,
    new_compressor,
    read_frame,
    read_index,
    split_lines,
    storable,
    tail_needed,
)
from migrator.adapters.archive.manifest import ArchiveHead, id_ms, is_backup_id, read_head
from migrator.adapters.shared.lines import as_lines
from migrator.errors import ArchiveDamaged
from migrator.testing.documents import activation
from tests.support.profiles import examples

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


def test_the_seek_table_tells_what_each_frame_decompresses_to() -> None:
    """As tools for seekable Zstandard read it: the index is a frame of nothing, and the sizes add up to the part."""
    frames = [make_frame([activation(number)], new_compressor(3)) for number in range(3)]
    data = b"".join(frame.data for frame in frames) + make_end(frames)
    (number,) = struct.unpack_from("<I", data, len(data) - 9)
    assert number == 4
    table = len(data) - 9 - 8 * number
    entries = [struct.unpack_from("<II", data, table + 8 * at) for at in range(number)]
    assert entries[:-1] == [(len(frame.data), len(as_lines([activation(at)]))) for at, frame in enumerate(frames)]
    assert entries[-1][1] == 0
    assert sum(size for size, _ in entries) == table - 8


def test_any_end_of_a_part_is_enough_or_is_damage() -> None:
    """From nothing to all of it: what `tail_needed` asks for is enough, and no byte more is needed."""
    frames = [make_frame([activation(number)], new_compressor(3)) for number in range(3)]
    data = b"".join(frame.data for frame in frames) + make_end(frames)
    index = read_index(data, len(data))
    table = 8 + 4 * 8 + 9
    needed = table + 4 + struct.unpack_from("<I", data, len(data) - table - 4)[0]
    for size in range(1, len(data) + 1):
        tail = data[-size:]
        if size < 17:
            with pytest.raises(ArchiveDamaged, match="too short"):
                tail_needed(tail)
        elif size < table + 4:
            assert tail_needed(tail) == table + bytes_of_parts.TAIL_BYTES
        else:
            assert tail_needed(tail) == needed
        if size < needed:
            with pytest.raises(ArchiveDamaged):
                read_index(tail, len(data))
        else:
            assert read_index(tail, len(data)) == index
    for size in (len(data) - 1, len(data) + 1):
        with pytest.raises(ArchiveDamaged, match="don't add up"):
            read_index(data, size)


@given(counts=st.lists(st.integers(1, 5), min_size=1, max_size=5), form=st.sampled_from(Form))
@examples(20)
def test_every_frame_is_reported_where_it_stands(counts: list[int], form: Form) -> None:
    """With what it holds, and the hashes of the ids in the order of lines."""
    documents = [activation(number, f"ns{number % 2}", form=form) for number in range(sum(counts))]
    groups, first = [], 0
    for count in counts:
        groups.append(documents[first : first + count])
        first += count
    frames = [make_frame(group, new_compressor(3)) for group in groups]
    data = b"".join(frame.data for frame in frames) + make_end(frames)
    index = read_index(data, len(data))
    assert len(index.frames) == len(groups)
    for group, frame in zip(groups, index.frames, strict=True):
        lines = read_frame(data[frame.offset : frame.offset + frame.size_bytes], frame)
        assert b"".join(line + b"\n" for line in lines) == as_lines(group)
        assert frame.raw_bytes == len(as_lines(group))
        assert (frame.note.first_ms, frame.note.last_ms) == (group[0].start_ms, group[-1].start_ms)
        assert frame.note.namespaces == tuple(sorted({each.namespace for each in group}))
    hashes = data[index.hashes_offset : index.hashes_offset + index.hashes_bytes]
    assert hashes == b"".join(id_hash(each.id) for each in documents)
    assert hashlib.sha256(hashes).hexdigest() == index.hashes_sha256
    assert struct.unpack_from("<I", data, index.end) == (SEEK_MAGIC,)


@pytest.mark.parametrize("form", Form)
def test_a_document_of_the_most_bytes_is_taken(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one byte more is rejected, alone."""
    documents = [activation(1, form=form), activation(2, form=form, logs=["a longer line"])]
    monkeypatch.setattr(bytes_of_parts, "_MOST_BODY_BYTES", len(documents[1].body))
    assert storable(documents) == (documents, [])
    monkeypatch.setattr(bytes_of_parts, "_MOST_BODY_BYTES", len(documents[1].body) - 1)
    kept, rejected = storable(documents)
    assert (kept, [each.id for each in rejected]) == (documents[:1], [documents[1].id])
    size = len(documents[1].body)
    assert rejected[0].reason == f"has {size:,} bytes, and an archive takes {size - 1:,} at most"


def test_a_frame_of_the_most_lines_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """And one line more is damage, wherever it is reported."""
    data = part()
    monkeypatch.setattr(bytes_of_parts, "_MOST_LINES", 5)
    assert len(split_lines(as_lines(DOCUMENTS))) == read_index(data, len(data)).frames[0].note.documents == 5
    monkeypatch.setattr(bytes_of_parts, "_MOST_LINES", 4)
    with pytest.raises(ArchiveDamaged, match="5 lines"):
        split_lines(as_lines(DOCUMENTS))
    with pytest.raises(ArchiveDamaged, match="in 5 lines"):
        read_index(data, len(data))


@pytest.mark.parametrize("name", ["MOST_FRAME_BYTES", "_MOST_FRAMES", "_MOST_HEADER_BYTES"])
def test_a_part_at_a_limit_is_read(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one beyond it is damage before memory is taken for it."""
    data = part()
    index = read_index(data, len(data))
    header = struct.unpack_from("<I", data, index.end - 4)[0]
    at = {"MOST_FRAME_BYTES": index.frames[0].raw_bytes, "_MOST_FRAMES": 2, "_MOST_HEADER_BYTES": header}[name]
    monkeypatch.setattr(bytes_of_parts, name, at)
    assert tail_needed(data) <= len(data)
    if name != "_MOST_HEADER_BYTES":
        assert read_index(data, len(data)) == index
    monkeypatch.setattr(bytes_of_parts, name, at - 1)
    with pytest.raises(ArchiveDamaged):
        tail_needed(data)
        read_index(data, len(data))


@pytest.mark.parametrize("blank", [b"\n", b"\r", b"\r\n"])
def test_line_breaks_between_the_signs_become_blanks(blank: bytes) -> None:
    """Of the document that has them, whichever of a batch it is."""
    plain = activation(1)
    broken = Document(
        plain.id, plain.form, plain.body.replace(b",", b"," + blank), plain.namespace, plain.name, plain.start_ms
    )
    lines = as_lines([plain, broken, plain]).split(b"\n")
    assert lines == [plain.body, broken.body.replace(b"\n", b" ").replace(b"\r", b" "), plain.body, b""]


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
    with pytest.raises(ArchiveDamaged, match="doesn't exist"):
        read_head(data, "archive.json")


def test_an_id_tells_when_its_backup_began() -> None:
    assert id_ms("20261124T021500Z-3f9a2c") == parse_moment("2026-11-24T02:15:00Z", now_ms=0)


@pytest.mark.parametrize("text", ["20261324T021500Z-3f9a2c", "20261124T251500Z-3f9a2c", "../x", "", "20261124T0215"])
def test_what_is_no_id_is_no_backup(text: str) -> None:
    assert not is_backup_id(text)


def test_a_note_takes_as_many_bytes_as_it_adds_to_an_index() -> None:
    """With the comma before it."""
    note = make_frame(DOCUMENTS, new_compressor(3)).note
    two, three = (len(msgspec.json.encode([note] * count)) for count in (2, 3))
    assert bytes_of_parts.note_bytes(note) == three - two
