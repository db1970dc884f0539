"""What is saved of one part, and each thing that is missing with all that is known of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from migrator.activations.document import Document, Form
from migrator.adapters.archive import lane
from migrator.adapters.archive.findings import Missing, place_in
from migrator.adapters.archive.folder import Folder
from migrator.adapters.archive.format import Frame, Index, make_end, make_frame, new_compressor, read_index
from migrator.adapters.archive.manifest import PartNote
from migrator.adapters.archive.salvage_part import save_part
from migrator.adapters.shared.lines import as_lines
from migrator.errors import AccessDenied, ArchiveDamaged
from migrator.testing.documents import activation
from tests.support.archives import add_backup
from tests.support.damage import flipped

DOCUMENTS = [activation(number, "guest" if number % 3 else "whisk.system") for number in range(8)]


class Patient:
    """A part of four frames of two documents."""

    def __init__(self, folder: Path) -> None:
        made = add_backup(folder, Form.COUCHDB, [DOCUMENTS])
        self.place = Folder(str(folder))
        self.note: PartNote = made.parts[0]
        self.name = f"{made.folder}{self.note.name}"
        self.file = folder / self.name
        self.data = self.file.read_bytes()
        self.index: Index = read_index(self.data, len(self.data))
        self.saved: list[Document] = []

    @property
    def frames(self) -> Sequence[Frame]:
        return self.index.frames

    def save(self, data: bytes, *, noted: bool = True) -> list[Missing]:
        self.file.write_bytes(data)
        self.saved.clear()
        note = self.note if noted else None
        return save_part(self.place, self.name, len(data), note, Form.COUCHDB, self.saved.extend)

    def of_frame(self, number: int, what: str, offset: int, size_bytes: int | None) -> Missing:
        note = self.frames[number - 1].note
        return Missing(
            piece=self.name,
            what=what,
            documents=note.documents,
            frame=number,
            offset=offset,
            size_bytes=size_bytes,
            first_ms=note.first_ms,
            last_ms=note.last_ms,
            namespaces=note.namespaces,
        )

    def of_part(self, what: str, documents: int | None) -> Missing:
        return Missing(
            piece=self.name,
            what=what,
            documents=documents,
            first_ms=self.note.first_ms,
            last_ms=self.note.last_ms,
            namespaces=("guest", "whisk.system"),
        )


@pytest.fixture
def patient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Patient:
    monkeypatch.setattr(lane, "FRAME_BYTES", len(DOCUMENTS[0].body) + 1)
    made = Patient(tmp_path)
    assert [frame.note.documents for frame in made.frames] == [2, 2, 2, 2]
    return made


def kept(*numbers: int) -> list[Document]:
    """The documents of some frames."""
    return [each for number in numbers for each in DOCUMENTS[2 * number - 2 : 2 * number]]


def ids(documents: Sequence[Document]) -> list[str]:
    return [each.id for each in documents]


def test_nothing_is_missing_in_a_whole_part(patient: Patient) -> None:
    assert patient.save(patient.data) == []
    assert ids(patient.saved) == ids(DOCUMENTS)


@pytest.mark.parametrize("lost", [(1,), (2,), (4,), (1, 3), (2, 4), (1, 2, 4), (2, 3)])
def test_what_damaged_frames_held_is_known_from_the_index(patient: Patient, lost: tuple[int, ...]) -> None:
    """Each with its own number and place; two that stand side by side are one gap."""
    data = patient.data
    for number in lost:
        frame = patient.frames[number - 1]
        data = flipped(data, 8 * (frame.offset + frame.size_bytes - 1))
    missing = patient.save(data)
    expected = []
    for number in lost:
        frame = patient.frames[number - 1]
        first, last = frame, frame
        while patient.frames.index(first) in lost:
            first = patient.frames[patient.frames.index(first) - 1]
        while patient.frames.index(last) + 2 in lost:
            last = patient.frames[patient.frames.index(last) + 1]
        size_bytes = last.offset + last.size_bytes - first.offset
        expected.append(patient.of_frame(number, "the frame is damaged", first.offset, size_bytes))
    assert missing == expected
    assert ids(patient.saved) == ids(kept(*({1, 2, 3, 4} - {*lost})))


def test_a_frame_that_was_cut_out_is_missing_where_it_stood(patient: Patient) -> None:
    frame = patient.frames[2]
    data = patient.data[: frame.offset] + patient.data[frame.offset + frame.size_bytes :]
    assert patient.save(data) == [patient.of_frame(3, "the frame is missing", frame.offset, None)]
    first = patient.frames[0]
    assert patient.save(patient.data[first.size_bytes :]) == [patient.of_frame(1, "the frame is missing", 0, None)]


def test_what_is_lost_with_the_index_is_counted_by_the_manifest(patient: Patient) -> None:
    """And where it was is reported by the gaps, or by the end."""
    index_at = patient.index.hashes_offset - 8
    assert patient.save(patient.data[:index_at]) == []
    second = patient.frames[1]
    assert patient.save(patient.data[: second.offset]) == [
        patient.of_part(f"the index is lost, and with it the content of byte {second.offset:,}", 6)
    ]
    data = flipped(flipped(patient.data[:index_at], 8 * second.offset), 8 * patient.frames[3].offset)
    where = [place_in(None, frame.offset, frame.size_bytes).removesuffix(": ") for frame in (second, patient.frames[3])]
    assert patient.save(data) == [
        patient.of_part(f"the index is lost, and with it the content of {where[0]}, {where[1]}", 4)
    ]
    assert ids(patient.saved) == ids(kept(1, 3))


def test_without_index_and_manifest_only_the_gaps_are_known(patient: Patient) -> None:
    index_at = patient.index.hashes_offset - 8
    whole = patient.data[:index_at]
    what = "the index is lost; whether more documents followed is unknown"
    assert patient.save(whole, noted=False) == [Missing(piece=patient.name, what=what, offset=index_at)]
    assert ids(patient.saved) == ids(DOCUMENTS)
    gaps = [patient.frames[0], patient.frames[2]]
    for frame in gaps:
        whole = flipped(whole, 8 * frame.offset)
    what = "these bytes are not a complete frame, and neither index nor manifest says what they were"
    assert patient.save(whole, noted=False) == [
        Missing(piece=patient.name, what=what, offset=frame.offset, size_bytes=frame.size_bytes) for frame in gaps
    ]


def test_a_line_that_is_no_document_is_missing_by_its_number(patient: Patient) -> None:
    """The others of its frame are saved, and the frame isn't reported besides."""
    frames = [make_frame(DOCUMENTS[:2], new_compressor(3)), make_frame(DOCUMENTS[2:4], new_compressor(3))]
    lines = as_lines(DOCUMENTS[2:4]).splitlines()
    raw = lines[0] + b'\n{"hello":1}\n'
    other = msgspec.structs.replace(
        make_frame([DOCUMENTS[2]], new_compressor(3)), data=new_compressor(3).compress(raw), raw_bytes=len(raw)
    )
    data = frames[0].data + other.data + make_end([frames[0], other])
    assert patient.save(data) == [
        Missing(
            piece=patient.name,
            what="line 2 of an intact frame: it is not a document: Object missing required field `_id`",
            documents=1,
            offset=len(frames[0].data),
            size_bytes=len(other.data),
        )
    ]
    assert ids(patient.saved) == ids(DOCUMENTS[:3])


def test_a_frame_without_any_document_is_reported_line_by_line(patient: Patient) -> None:
    raw = b"{}\n{}\n"
    data = new_compressor(3).compress(raw)
    found = patient.save(data)
    assert [each.what.partition(" of ")[0] for each in found] == [
        "line 1",
        "line 2",
        "the index is lost, and with it the content",
    ]
    assert found[2].documents == 8
    assert patient.saved == []


@pytest.mark.parametrize("noted", [True, False])
def test_a_part_that_is_not_there_or_cannot_be_decrypted_is_missing_as_a_whole(patient: Patient, noted: bool) -> None:
    note = patient.note if noted else None

    class Locked(Folder):
        error: Exception

        def content_bytes(self, name: str, size_bytes: int) -> int:
            raise self.error

    place = Locked(str(patient.file.parents[2]))
    unreadable = "the part can't be decrypted any more"

    def of_part(what: str) -> list[Missing]:
        return [patient.of_part(what, 8) if noted else Missing(piece=patient.name, what=what)]

    take = patient.saved.extend
    assert save_part(place, patient.name, None, note, Form.COUCHDB, take) == of_part("the part is missing")
    for error in (ArchiveDamaged("cut"), AccessDenied("no key")):
        place.error = error
        assert save_part(place, patient.name, 100, note, Form.COUCHDB, take) == of_part(unreadable)
    assert patient.saved == []


@pytest.mark.parametrize(
    ("frame", "offset", "size_bytes", "told"),
    [
        (None, None, None, ""),
        (1_234, None, None, "frame 1,234: "),
        (None, 1_024, 1_024, "bytes 1,024 to 2,047: "),
        (3, 0, 1, "frame 3, bytes 0 to 0: "),
        (3, 5_000, None, "frame 3, from byte 5,000: "),
        (None, 0, 0, "from byte 0: "),
        (None, None, 7, ""),
    ],
)
def test_a_place_in_a_part_is_reported_by_its_first_and_last_byte(
    frame: int | None, offset: int | None, size_bytes: int | None, told: str
) -> None:
    assert place_in(frame, offset, size_bytes) == told
