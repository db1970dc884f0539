"""The end of a part, and ids of backups, as those who damage or forge them write them."""

from __future__ import annotations

import hashlib
import re
import struct
import tracemalloc
from collections.abc import Callable, Iterable

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from migrator.activations.document import Document, Form, Given
from migrator.activations.selection import parse_moment
from migrator.adapters.archive import format as bytes_of_parts
from migrator.adapters.archive.format import (
    SEEK_MAGIC,
    FrameNote,
    decompress,
    id_hash,
    make_end,
    make_frame,
    new_compressor,
    read_frame,
    read_index,
    read_line,
    read_lines,
    read_notes,
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
        lines = split_lines(read_frame(data[frame.offset : frame.offset + frame.size_bytes], frame))
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


# -- what is said of damage ------------------------------------------------------------------------------------------


def refused(told: str) -> pytest.RaisesExc[ArchiveDamaged]:
    return pytest.RaisesExc(ArchiveDamaged, match=f"^{re.escape(told)}$")


def forged(notes: list[FrameNote], hashes: bytes, *, raw_bytes: int | None = None) -> bytes:
    """A part of one frame with an index that says something else of it."""
    frame = make_frame(DOCUMENTS, new_compressor(3))
    raw = frame.raw_bytes if raw_bytes is None else raw_bytes
    return frame.data + b"".join(bytes_of_parts.end_pieces([(len(frame.data), raw)], notes, hashes))


def test_an_end_that_is_none_says_in_what(monkeypatch: pytest.MonkeyPatch) -> None:
    data = part()
    index = read_index(data, len(data))
    for tail in (data[-16:], b""):
        with refused("it is too short for a part"):
            tail_needed(tail)
        with refused("it is too short for a part"):
            read_index(tail, len(data))
    ends = "it doesn't end with a seek table: it was truncated, or something was appended"
    for other in (data + b"x", data[:-1], data[:-5] + b"\x01" + data[-4:], data[:-9] + bytes(4) + data[-5:]):
        with refused(ends):
            tail_needed(other)
    with refused("its seek table is damaged: it is longer than the part"):
        read_index(data[-24:], len(data))
    with refused("its seek table is damaged: it is longer than the part"):
        read_index(data[index.end - 3 :], len(data))
    for at in (0, 4):
        changed = data[: index.end + at] + bytes([data[index.end + at] ^ 1]) + data[index.end + at + 1 :]
        with refused("its seek table is damaged"):
            read_index(changed, len(changed))
    for size in (len(data) - 1, len(data) + 1):
        with refused("its frames don't add up to its size: something was cut out or added"):
            read_index(data, size)
    monkeypatch.setattr(bytes_of_parts, "_MOST_FRAMES", 1)
    with refused("its seek table lists 2 frames, more than a part can have"):
        tail_needed(data)


def test_an_index_that_does_not_fit_its_frames_is_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    note = make_frame(DOCUMENTS, new_compressor(3)).note
    hashes = b"".join(id_hash(each.id) for each in DOCUMENTS)
    assert forged([note], hashes) == part()
    for notes, of in (([note, note], hashes), ([], hashes), ([note], hashes[8:]), ([note], hashes + hashes[:8])):
        data = forged(notes, of)
        with refused("its index doesn't fit its frames"):
            read_index(data, len(data))
    none = forged([msgspec.structs.replace(note, documents=0)], b"")
    raw = make_frame(DOCUMENTS, new_compressor(3)).raw_bytes
    with refused(f"a frame claims {raw:,} bytes in 0 lines, which no writer produces"):
        read_index(none, len(none))
    few = forged([note], hashes, raw_bytes=4)
    with refused("a frame claims 4 bytes in 5 lines, which no writer produces"):
        read_index(few, len(few))
    enough = forged([note], hashes, raw_bytes=5)
    assert read_index(enough, len(enough)).frames[0].raw_bytes == 5
    monkeypatch.setattr(bytes_of_parts, "_MOST_HEADER_BYTES", 1)
    for read in (tail_needed, lambda data: read_index(data, len(data))):
        with pytest.raises(
            ArchiveDamaged, match=r"^(its index is damaged|a frame claims \d+ bytes, and none has more)"
        ):
            read(part())


def test_the_length_of_a_header_may_not_lead_out_of_the_index() -> None:
    """Up to the one at which no hash is left."""
    data = part()
    index = read_index(data, len(data))
    at = index.end - 4
    (header,) = struct.unpack_from("<I", data, at)
    for told in (header + index.hashes_bytes + 1, len(data), 2**32 - 1):
        changed = data[:at] + struct.pack("<I", told) + data[at + 4 :]
        with refused("its index is damaged"):
            read_index(changed, len(changed))
    for told in (header - 1, header + index.hashes_bytes):
        changed = data[:at] + struct.pack("<I", told) + data[at + 4 :]
        with pytest.raises(ArchiveDamaged, match=r"^a frame is damaged: "):
            read_index(changed, len(changed))


def test_a_frame_that_is_not_what_the_index_says_tells_how() -> None:
    frame = make_frame(DOCUMENTS, new_compressor(3))
    raw = as_lines(DOCUMENTS)
    assert decompress(frame.data, len(raw)) == decompress(frame.data, None) == raw
    for told in (len(raw) - 1, len(raw) + 1):
        with refused("a frame's size isn't that of the seek table"):
            decompress(frame.data, told)
    with refused(f"a frame claims {len(raw):,} bytes, and none has more than {len(raw) - 1:,}"):
        decompress(frame.data, len(raw), most_bytes=len(raw) - 1)
    assert decompress(frame.data, len(raw), most_bytes=len(raw)) == raw
    without_size = zstandard.ZstdCompressor(write_content_size=False).compress(raw)
    with refused("a frame's size isn't that of the seek table"):
        decompress(without_size, None)
    for data in (b"", b"no frame at all", frame.data[:-1], frame.data + b"x", frame.data + frame.data):
        with pytest.raises(ArchiveDamaged, match=r"^a frame (is damaged: |was truncated, or something follows it$)"):
            decompress(data, len(raw))
    index = read_index(part(), len(part()))
    with refused("a frame has 5 lines instead of 4"):
        read_frame(frame.data, msgspec.structs.replace(index.frames[0], note=FrameNote(4, 0, 0, ())))
    with refused("a frame doesn't end with a line"):
        split_lines(b"{}\n{}")
    assert split_lines(b"{}\n\n") == [b"{}", b""]


def test_notes_are_read_as_they_were_written_and_nothing_else_is() -> None:
    note = FrameNote(2, 3, 4, ("guest",))
    written = msgspec.json.encode({"frames": [note], "hashes": "0" * 64})
    assert read_notes(written) == (note,)
    for other in (b"", b"{}", b"[]", written[:-1], b'{"frames":[1],"hashes":""}'):
        assert read_notes(other) is None


@pytest.mark.parametrize(
    ("line", "form", "read"),
    [
        (b'{"_id":"guest/1","x":1}', Form.COUCHDB, ("guest/1", b'{"_id":"guest/1","x":1}', None)),
        (b'{"_index":"a","_id":"guest/1","_source":{"x":1}}', Form.ELASTICSEARCH, ("guest/1", b'{"x":1}', "a")),
        (b'{"_index":"","_id":"guest/1","_source":{"x":1}}', Form.ELASTICSEARCH, ("guest/1", b'{"x":1}', None)),
        (b'{"_id":"guest/1","_source":{"x":1}}', Form.ELASTICSEARCH, ("guest/1", b'{"x":1}', None)),
    ],
)
def test_a_line_is_its_document_in_either_form(line: bytes, form: Form, read: tuple[str, bytes, str | None]) -> None:
    assert read_line(line, form) == read


def test_the_lines_of_a_frame_are_read_as_each_by_itself() -> None:
    """With whatever white space may stand in them; an id and an index may be missing where they may be in a line."""
    spelt = [
        b'{"_index":"a","_id":"guest/1","_source":{"x":1}}',
        b' { "_id" : "guest/\\u00e4",\t"_source":{"x": [ 2 ] }} ',
    ]
    spelt += [b'{"_type":"_doc","_source":{"y":"\\n"},"_id":"","_index":""}']
    raw = b"".join([line + b"\n" for line in spelt])
    assert list(read_lines(raw, Form.ELASTICSEARCH)) == [read_line(line, Form.ELASTICSEARCH) for line in spelt]
    assert list(read_lines(raw, Form.COUCHDB)) == [(None, line, None) for line in spelt]


@pytest.mark.parametrize(
    "raw",
    [
        b'{"_id":"guest/1","_source":{}}\n{"_id":"guest/2"}\n',
        b'{"_id":"guest/1","_source":{}}\n{"_id":"guest/2","_source":{}\n',
        b'{"_id":"guest/1","_source":{}}\n\n',
        b'{"_id":"guest/1",\n"_source":{}}\n',
        b'{"_id":"guest/1","_source":{}}{"_id":"guest/2","_source":{}}\n\n',
        b'{"_id":"guest/1","_source":{}}{"_id":"guest/2","_source":{}\n}\n',
        b'{"_id":"guest/1","_source":{"x":[{}\n,{}]}}{"_id":"guest/2","_source":{}}\n',
        b"{}{}\n",
        b"\n\n",
        b"1\n2\n",
    ],
)
def test_lines_that_are_no_documents_or_not_one_each_are_refused(raw: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        list(read_lines(raw, Form.ELASTICSEARCH))


def test_a_frame_of_far_too_many_documents_on_a_line_is_refused_before_all_are_read() -> None:
    """They would take several times the memory of the frame."""
    raw = b'{"_id":"","_source":0}' * 200_000 + b"\n"
    tracemalloc.start()
    try:
        with pytest.raises(msgspec.MsgspecError):
            list(read_lines(raw, Form.ELASTICSEARCH))
        assert tracemalloc.get_traced_memory()[1] < 3 * len(raw)
    finally:
        tracemalloc.stop()


@examples(200)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["guest/1", "guest/\u00e4", 'a"b', ""]),
            st.sampled_from([b"{}", b'{"x":1}', b'{"x":"}\\n{"}', b'{"x": [ {} , {} ]}', b"7", b'"}"']),
            st.sampled_from([b"", b" ", b"\r", b"\n", b"\t"]),
        ),
        max_size=6,
    )
)
def test_reading_all_lines_is_reading_each(given: list[tuple[str, bytes, bytes]]) -> None:
    """Also where they are no lines: both refuse the same."""
    raw = b"".join(
        b'{"_id":%b,%b"_source":%b}%b\n' % (msgspec.json.encode(id), odd, body, odd) for id, body, odd in given
    )

    def outcome(read: Callable[[], Iterable[Given]]) -> list[Given] | None:
        try:
            return list(read())
        except (msgspec.MsgspecError, ArchiveDamaged):
            return None

    one_by_one = outcome(lambda: (read_line(line, Form.ELASTICSEARCH) for line in split_lines(raw)))
    assert outcome(lambda: read_lines(raw, Form.ELASTICSEARCH)) == one_by_one


# -- what can be written ---------------------------------------------------------------------------------------------


def given_as(id: str, body: bytes, form: Form = Form.COUCHDB, index: str | None = None) -> Document:
    return Document(id, form, body, "guest", "hello", 1, index=index)


@pytest.mark.parametrize("before", [b"", b" \t\r\n"])
def test_a_document_without_its_id_is_given_it(before: bytes) -> None:
    """As every store would; the others of its batch stay as they are."""
    other = activation(1)
    without = given_as('guest/"1', before + b'{"start":1}')
    kept, rejected = storable([other, without])
    assert [each.body for each in kept] == [other.body, b'{"_id":"guest/\\"1","start":1}']
    assert rejected == []
    assert read_line(kept[1].body, Form.COUCHDB)[0] == without.id


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (given_as("guest/1", b'{"_id":"guest/2"}'), "its _id is read as 'guest/2', and it was given as 'guest/1'"),
        (
            given_as("guest/\ud800", b"{}", Form.ELASTICSEARCH),
            "its id or index holds a lone surrogate (\\ud800 to \\udfff), which is not text",
        ),
        (
            given_as("guest/1", b"{}", Form.ELASTICSEARCH, index="\udfff"),
            "its id or index holds a lone surrogate (\\ud800 to \\udfff), which is not text",
        ),
    ],
)
def test_a_document_whose_line_would_be_another_is_rejected_with_the_reason(document: Document, reason: str) -> None:
    """Alone."""
    others = [activation(1), activation(2)]
    kept, rejected = storable([others[0], document, others[1]])
    assert kept == others
    assert [(each.id, each.reason, each.body) for each in rejected] == [(document.id, reason, document.body)]


def test_a_document_that_is_no_json_is_rejected() -> None:
    kept, (rejected,) = storable([given_as("guest/1", b'{"_id":"guest/1",')])
    assert list(kept) == []
    assert "truncated" in rejected.reason or "JSON" in rejected.reason


def test_a_frame_says_what_is_in_it() -> None:
    """Whatever the order of its documents."""
    documents = [activation(3, "whisk.system"), activation(1), activation(2)]
    frame = make_frame(documents, new_compressor(3))
    assert frame.note == FrameNote(3, documents[1].start_ms, documents[0].start_ms, ("guest", "whisk.system"))
    assert frame.hashes == b"".join(id_hash(each.id) for each in documents)
    assert (frame.raw_bytes, decompress(frame.data, None)) == (len(as_lines(documents)), as_lines(documents))
    parameters = zstandard.get_frame_parameters(frame.data)
    assert (parameters.has_checksum, parameters.content_size) == (True, frame.raw_bytes)


def test_the_hash_of_an_id_is_eight_bytes_of_blake2b() -> None:
    """Of its UTF-8, and of what stands for it where it isn't text."""
    assert id_hash("guest/ä") == hashlib.blake2b("guest/ä".encode(), digest_size=8).digest()
    assert id_hash("\ud800") == hashlib.blake2b(b"\xed\xa0\x80", digest_size=8).digest()


def test_an_archive_has_the_numbers_of_its_description() -> None:
    """What other programs rely on, and what is refused before memory is taken for it."""
    names = ("FRAME_BYTES", "MOST_LINE_BYTES", "_MOST_BODY_BYTES", "MOST_FRAME_BYTES", "_MOST_LINES", "_MOST_FRAMES")
    assert [getattr(bytes_of_parts, name) for name in names] == [
        2**20,
        100 * 2**20,
        100 * 2**20 - 64 * 2**10,
        117 * 2**20,
        2**18,
        2**20,
    ]
    assert (bytes_of_parts._MOST_HEADER_BYTES, bytes_of_parts.FULL_HEADER_BYTES) == (64 * 2**20, 16 * 2**20)
    assert bytes_of_parts.TAIL_BYTES == 128 * 2**10
