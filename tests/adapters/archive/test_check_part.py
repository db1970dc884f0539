"""Everything that is found in one part, in the order in which it is found, and what is reported of the reading."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from migrator.activations.document import Form
from migrator.adapters.archive import check_part, lane
from migrator.adapters.archive.check_part import deep_check, deep_encrypted_check, document_of, gaps, quick_check
from migrator.adapters.archive.findings import Finding
from migrator.adapters.archive.folder import Folder
from migrator.adapters.archive.format import Index, make_end, make_frame, new_compressor, read_index
from migrator.adapters.archive.manifest import Manifest, PartNote
from migrator.testing.documents import activation
from tests.support.archives import add_backup
from tests.support.damage import flipped, remade

DOCUMENTS = [activation(number, "guest" if number % 3 else "whisk.system") for number in range(6)]
OTHER_HASH = "its SHA-256 doesn't match the manifest"


class Part:
    """A part of three frames of two documents, with a manifest that can be made to fit it."""

    def __init__(self, folder: Path) -> None:
        self.place = Folder(str(folder))
        self.manifest: Manifest = add_backup(folder, Form.COUCHDB, [DOCUMENTS])
        self.note: PartNote = self.manifest.parts[0]
        self.name = f"{self.manifest.folder}{self.note.name}"
        self.file = folder / self.name
        self.data = self.file.read_bytes()
        self.ticks: list[tuple[int, int]] = []

    @property
    def index(self) -> Index:
        return read_index(self.data, len(self.data))

    def put(self, data: bytes) -> None:
        self.file.write_bytes(data)

    def forge(self, data: bytes, **told: object) -> None:
        """With a manifest that has its size and its hash."""
        self.put(data)
        sha256 = hashlib.sha256(data).hexdigest()
        self.note = msgspec.structs.replace(self.note, size_bytes=len(data), sha256=sha256, **told)

    def tick(self, documents: int, size_bytes: int) -> None:
        self.ticks.append((documents, size_bytes))

    def deep(self) -> list[Finding]:
        return deep_check(self.place, self.manifest, self.note, self.tick)

    def quick(self) -> list[Finding]:
        return quick_check(self.place, self.manifest, self.note, self.tick)

    def finding(self, what: str, **where: int) -> Finding:
        return Finding(piece=self.name, what=what, **where)


@pytest.fixture
def part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Part:
    monkeypatch.setattr(lane, "FRAME_BYTES", len(DOCUMENTS[0].body) + 1)
    made = Part(tmp_path)
    assert [frame.note.documents for frame in made.index.frames] == [2, 2, 2]
    return made


def test_nothing_is_found_in_a_whole_part_and_all_of_it_is_reported(part: Part) -> None:
    assert part.deep() == []
    assert part.ticks == [(2, frame.size_bytes) for frame in part.index.frames]
    part.ticks.clear()
    assert part.quick() == []
    assert part.ticks == [(6, 0), (0, len(part.data))]


@pytest.mark.parametrize("order", [[5, 4, 3, 2, 1, 0], [2, 3, 0, 1, 4, 5], [2, 3, 4, 5, 0, 1]])
def test_documents_may_stand_in_any_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: list[int]) -> None:
    """The span of a part is that of all its frames."""
    monkeypatch.setattr(lane, "FRAME_BYTES", len(DOCUMENTS[0].body) + 1)
    monkeypatch.setattr("tests.adapters.archive.test_check_part.DOCUMENTS", [DOCUMENTS[at] for at in order])
    assert Part(tmp_path).deep() == []


@pytest.mark.parametrize("piece_bytes", [1, 7, 64])
def test_a_hash_is_made_of_pieces_up_to_the_last_byte(
    part: Part, piece_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_part, "_PIECE_BYTES", piece_bytes)
    part.forge(part.data[: 64 * 3 + 5])
    assert part.quick() == []
    whole, rest = divmod(64 * 3 + 5, piece_bytes)
    assert part.ticks == [(6, 0), *[(0, piece_bytes)] * whole, *([(0, rest)] if rest else [])]
    part.put(flipped(part.data[: 64 * 3 + 5], 8 * (64 * 3 + 4)))
    assert part.quick() == [part.finding(OTHER_HASH)]


def test_a_damaged_frame_is_found_where_it_stands_and_the_others_are_looked_at(part: Part) -> None:
    first, _, third = part.index.frames
    data = part.data
    for frame in (first, third):
        data = flipped(data, 8 * (frame.offset + frame.size_bytes - 1))
    part.put(data)
    *found, last = part.deep()
    assert [msgspec.structs.replace(each, what="") for each in found] == [
        part.finding("", frame=number, offset=frame.offset, size_bytes=frame.size_bytes)
        for number, frame in ((1, first), (3, third))
    ]
    assert all(each.what.startswith("a frame is damaged: ") for each in found)
    assert last == part.finding(OTHER_HASH)
    assert part.ticks == [(2, frame.size_bytes) for frame in part.index.frames]


def test_damaged_hashes_are_found_and_judge_no_line(part: Part) -> None:
    index = part.index
    part.put(flipped(part.data, 8 * index.hashes_offset))
    where = {"offset": index.hashes_offset, "size_bytes": 6 * 8}
    assert part.deep() == [
        part.finding("the hashes in its index are damaged", **where),
        part.finding(OTHER_HASH),
    ]


@pytest.mark.parametrize("at", [0, 3, 4, 7])
def test_an_index_that_does_not_begin_as_one_is_found(part: Part, at: int) -> None:
    """Neither its magic number nor its length is needed to read it."""
    begins = part.index.hashes_offset - 8
    part.put(flipped(part.data, 8 * (begins + at)))
    assert part.deep() == [
        part.finding("its index has no valid beginning", offset=begins, size_bytes=8),
        part.finding(OTHER_HASH),
    ]
    part.forge(part.file.read_bytes())
    assert part.deep() == [part.finding("its index has no valid beginning", offset=begins, size_bytes=8)]


def test_a_part_whose_index_cannot_be_read_is_looked_through(part: Part) -> None:
    end = part.index.end
    part.put(flipped(part.data, 8 * end))
    cut = len(part.data) - end
    assert part.deep() == [
        part.finding("its seek table is damaged"),
        part.finding(OTHER_HASH),
        part.finding(
            "these bytes are not a complete frame; 3 complete frames precede them", offset=end, size_bytes=cut
        ),
    ]
    assert part.ticks == [(6, 0), (0, len(part.data))]


def test_a_part_that_ends_between_two_frames_says_after_how_many(part: Part) -> None:
    for frames, frame in enumerate(part.index.frames):
        part.put(part.data[: frame.offset])
        told = ["0 complete frames", "1 complete frame", "2 complete frames"][frames]
        found = gaps(part.place, part.name, frame.offset)
        assert found == [part.finding(f"it ends after {told}", offset=frame.offset)]


def test_a_gap_says_how_many_frames_precede_it(part: Part) -> None:
    """One that is found before the index, and one before any frame."""
    first, second, third = part.index.frames
    assert gaps(part.place, part.name, len(part.data)) == []
    data = flipped(flipped(part.data, 8 * first.offset), 8 * third.offset)
    part.put(data)
    assert gaps(part.place, part.name, len(data)) == [
        part.finding(
            f"these bytes are not a complete frame; {told} them", offset=frame.offset, size_bytes=frame.size_bytes
        )
        for frame, told in ((first, "0 complete frames precede"), (third, "1 complete frame precedes"))
    ]
    assert second.note.documents == 2


# -- forged: the hashes are right, the content isn't ---------------------------------------------------------------


def set_line(at: int, line: bytes) -> Callable[[list[bytes]], None]:
    def change(lines: list[bytes]) -> None:
        lines[at] = line

    return change


def replace(at: int, was: bytes, now: bytes) -> Callable[[list[bytes]], None]:
    def change(lines: list[bytes]) -> None:
        assert was in lines[at]
        lines[at] = lines[at].replace(was, now)

    return change


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (set_line(0, activation(9).body), f"line 1: the index has the hash of another id than {activation(9).id}"),
        (set_line(3, activation(9).body), f"line 4: the index has the hash of another id than {activation(9).id}"),
        (
            set_line(3, b'{"hello":1}'),
            "line 4: it is not a document: Object missing required field `_id`",
        ),
        (set_line(2, b'{"_id":"guest/x","hello":1}'), "line 3: it is not an activation"),
        (replace(0, b'"start":17', b'"start":16'), "the start times of its documents don't match the index"),
        (replace(3, b'"start":17', b'"start":18'), "the start times of its documents don't match the index"),
        (
            replace(1, b'"namespace":"guest"', b'"namespace":"other"'),
            "the namespaces of its documents don't match the index",
        ),
        (list.pop, "a frame has 3 lines instead of 4"),
    ],
    ids=lambda each: each[:30] if isinstance(each, str) else "",
)
def test_a_line_that_the_index_does_not_know_is_the_only_finding(
    part: Part, change: Callable[[list[bytes]], None], what: str
) -> None:
    """Of its frame; nothing is said of sums, which can't be right then."""
    data = remade(DOCUMENTS[:4], change)
    part.forge(data, documents=4)
    size_bytes = read_index(data, len(data)).frames[0].size_bytes
    assert part.deep() == [part.finding(what, frame=1, offset=0, size_bytes=size_bytes)]
    assert part.ticks == [(4, size_bytes)]


def test_lines_of_a_second_frame_have_their_own_hashes(part: Part) -> None:
    """What is reported of a frame is reported of that one, counted from 1."""
    frames = [make_frame(DOCUMENTS[:1], new_compressor(3)), make_frame(DOCUMENTS[1:3], new_compressor(3))]
    other = make_frame([DOCUMENTS[1], activation(9, namespace=DOCUMENTS[2].namespace)], new_compressor(3))
    data = frames[0].data + other.data + make_end([frames[0], msgspec.structs.replace(frames[1], data=other.data)])
    raw = read_index(data, len(data))
    assert [frame.note.documents for frame in raw.frames] == [1, 2]
    part.forge(data, documents=3)
    (found,) = part.deep()
    assert (found.frame, found.offset) == (2, len(frames[0].data))


@pytest.mark.parametrize(
    ("told", "what"),
    [
        ({"first_ms": 1}, "its start times don't match the manifest"),
        ({"last_ms": 1}, "its start times don't match the manifest"),
        ({"raw_bytes": 1}, "its bytes of documents don't match the manifest"),
        ({"namespaces": {"other": 6}}, "its namespaces don't match the manifest"),
    ],
)
def test_a_manifest_that_says_something_else_is_found(part: Part, told: dict[str, object], what: str) -> None:
    part.forge(part.data, **told)
    assert part.deep() == [part.finding(what)]


def test_all_that_a_manifest_says_wrong_is_found(part: Part) -> None:
    part.forge(part.data, first_ms=1, raw_bytes=1, namespaces={"other": 6})
    said = ("namespaces", "bytes of documents", "start times")
    assert part.deep() == [part.finding(f"its {each} don't match the manifest") for each in said]


# -- encrypted -----------------------------------------------------------------------------------------------------


def test_an_encrypted_part_is_read_only_where_its_hash_is_right(part: Part) -> None:
    """What is reported of it: its bytes first, then its documents, so many as there are."""
    manifest = msgspec.structs.replace(part.manifest, encryption="age")

    def check() -> list[Finding]:
        return deep_encrypted_check(part.place, part.place, manifest, part.note, part.tick)

    assert check() == []
    assert part.ticks == [(0, 0), (0, len(part.data)), *((2, frame.size_bytes) for frame in part.index.frames)]
    part.ticks.clear()
    part.put(flipped(part.data, 0))
    assert check() == [part.finding(OTHER_HASH)]
    assert part.ticks == [(0, 0), (0, len(part.data)), (6, 0)]


def test_the_hash_of_an_encrypted_part_is_not_that_of_what_is_in_it(part: Part) -> None:
    """It is looked at before, in what lies there."""
    part.note = msgspec.structs.replace(part.note, sha256="0" * 64)
    assert part.deep() == [part.finding(OTHER_HASH)]
    part.manifest = msgspec.structs.replace(part.manifest, encryption="age")
    assert part.deep() == []
    part.put(flipped(part.data, 8 * part.index.end))
    assert [each.what for each in part.deep()] == [
        "its seek table is damaged",
        "these bytes are not a complete frame; 3 complete frames precede them",
    ]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"_id":"guest/x","hello":1}', "it is not an activation"),
        (b"{", "it is not a document: Input data was truncated"),
        (b'{"_id":1}', "it is not a document: Expected `str`, got `int` - at `$._id`"),
    ],
)
def test_a_line_that_is_no_document_says_why(line: bytes, why: str) -> None:
    assert document_of(line, Form.COUCHDB) == why


def test_a_line_that_cannot_be_an_activation_says_why() -> None:
    """With the reason for which it would be rejected."""
    fields = msgspec.json.decode(activation(1).body)
    found = document_of(msgspec.json.encode(fields | {"start": "soon"}), Form.COUCHDB)
    assert isinstance(found, str)
    assert found.startswith("it is not an activation: ")
    assert "start" in found
