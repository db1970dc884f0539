"""What is whole in a damaged archive is saved, whatever was damaged, and the rest is listed exactly."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from migrator.activations.document import Form
from migrator.adapters.archive import ArchiveWriter
from migrator.adapters.archive.catalog import read_catalog
from migrator.adapters.archive.folder import Folder
from migrator.adapters.archive.manifest import Manifest
from migrator.adapters.memory import MemoryStore, _stores, memory_store
from migrator.api.backup import backup
from migrator.errors import UsageError
from migrator.operations.archive.check import check_archive
from migrator.operations.archive.salvage import SalvageReport, salvage_archive
from migrator.rendering.archive import missing_line
from migrator.testing.documents import activation
from tests.support.archives import add_backup, read_archive
from tests.support.damage import documents_of, exit_code, flipped, frame_contents, index_of, make_archive, pieces, put


class Patient:
    """An archive of 40 documents in frames of two or three, of which one backup is damaged."""

    def __init__(self, folder: Path, form: Form = Form.COUCHDB) -> None:
        self.folder = folder / "damaged"
        self.out = folder / "saved"
        self.made = make_archive(self.folder, 40, form=form, part_documents=20)
        self.whole = documents_of(self.folder)
        self.frames = [frame_contents(self.folder, self.made[0], part) for part in (0, 1)]
        self.part = f"{self.made[0].folder}{self.made[0].parts[0].name}"
        self.data = pieces(self.folder)[self.part]

    def damage(self, data: bytes) -> None:
        put(self.folder, {self.part: data})

    def save(self) -> SalvageReport:
        """Salvage; what was saved passes a check, and is what it was."""
        report = salvage_archive(f"archive:{self.folder}", f"archive:{self.out}")
        assert check_archive(f"archive:{self.out}").findings == ()
        saved = documents_of(self.out)
        assert {id: self.whole.get(id) for id in saved} == saved or self.older(saved)
        return report

    def older(self, saved: dict[str, bytes]) -> bool:
        """Where the increment is lost the older versions are right."""
        full = {document.id: document.body for document in read_archive(self.out)}
        return saved == full

    def saved_lines(self) -> set[bytes]:
        """The lines of the first part that are in the new archive."""
        backups = read_catalog(Folder(str(self.out))).backups
        return {
            line
            for part in range(len(backups[0].parts))
            for _, _, lines in frame_contents(self.out, backups[0], part)
            for line in lines
        }

    def untouched(self, damaged: Sequence[range]) -> set[bytes]:
        """The lines of all frames of the full backup that no damaged range of the first part touches."""
        kept = [
            lines
            for begin, end, lines in self.frames[0]
            if not any(begin < each.stop and each.start < end for each in damaged)
        ]
        return {line for lines in [*kept, *(lines for _, _, lines in self.frames[1])] for line in lines}


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    return Patient(tmp_path)


def test_one_damaged_frame_costs_its_documents_only(patient: Patient) -> None:
    """What is missing is listed with frame, bytes, span of time and namespaces."""
    frame = index_of(patient.folder, patient.made[0]).frames[3]
    patient.damage(flipped(patient.data, (frame.offset + 50) * 8))
    report = patient.save()
    assert patient.saved_lines() == patient.untouched([range(frame.offset, frame.offset + 1)])
    (missing,) = report.missing
    assert (missing.piece, missing.frame, missing.documents) == (patient.part, 4, frame.note.documents)
    assert (missing.offset, missing.size_bytes) == (frame.offset, frame.size_bytes)
    assert (missing.first_ms, missing.last_ms) == (frame.note.first_ms, frame.note.last_ms)
    assert missing.namespaces == frame.note.namespaces
    assert report.documents == 43 - frame.note.documents
    last = frame.offset + frame.size_bytes - 1
    assert missing_line(missing).startswith(
        f"{patient.part}: frame 4, bytes {frame.offset:,} to {last:,}: {frame.note.documents} documents missing, "
        "started 2023-11-14T"
    )


@pytest.mark.parametrize("form", Form)
def test_random_damage_never_costs_a_whole_frame(tmp_path: Path, form: Form) -> None:
    """Flipped bits, zeroed, cut out, added and lost bytes, the index and the seek table included."""
    patient = Patient(tmp_path, form)
    chance = random.Random(4)
    for number in range(40):
        damaged, data = damage(patient.data, chance)
        patient.damage(data)
        patient.out = tmp_path / f"saved-{number}"
        report = patient.save()
        saved = patient.saved_lines()
        assert patient.untouched(damaged) <= saved, f"damage {number}"
        lost = [each.documents for each in report.missing]
        assert None in lost or sum(filter(None, lost)) == 43 - report.documents, f"damage {number}"


def damage(data: bytes, chance: random.Random) -> tuple[list[range], bytes]:
    """A damaged copy, and which bytes of the original were touched."""
    begin = chance.randrange(len(data))
    end = min(len(data), begin + chance.randrange(1, 200))
    kind = chance.choice(["flip", "zero", "cut out", "add", "cut", "lose the beginning", "twice"])
    if kind == "flip":
        return [range(begin, begin + 1)], flipped(data, begin * 8 + chance.randrange(8))
    if kind == "zero":
        return [range(begin, end)], data[:begin] + bytes(end - begin) + data[end:]
    if kind == "cut out":
        return [range(begin, end)], data[:begin] + data[end:]
    if kind == "add":
        return [range(begin - 1, begin + 1)], data[:begin] + chance.randbytes(100) + data[begin:]
    if kind == "cut":
        return [range(begin, len(data))], data[:begin]
    if kind == "lose the beginning":
        return [range(end)], data[end:]
    first, changed = damage(data, chance)
    return [range(begin, len(data)), *first], changed[:begin]


def test_a_part_without_index_is_saved_frame_by_frame(patient: Patient) -> None:
    """Nothing is missing where only the index and the seek table are gone; the manifest tells that."""
    index = index_of(patient.folder, patient.made[0])
    patient.damage(patient.data[: index.hashes_offset - 8])
    report = patient.save()
    assert report.missing == ()
    assert documents_of(patient.out) == patient.whole


def test_a_missing_part_is_listed(patient: Patient) -> None:
    """With all that the manifest says of it."""
    (patient.folder / patient.part).unlink()
    (missing,) = patient.save().missing
    note = patient.made[0].parts[0]
    assert (missing.piece, missing.documents, missing.what) == (patient.part, 20, "the part is missing")
    assert (missing.first_ms, missing.last_ms) == (note.first_ms, note.last_ms)


@pytest.mark.parametrize("lost", ["archive.json", "SHA256SUMS", "manifest.json", "manifest of the full one", "all"])
def test_what_is_written_about_documents_can_be_lost(patient: Patient, lost: str) -> None:
    """Manifests, hashes and the head of the archive: every document is saved all the same, in the newest version."""
    full = f"{patient.made[0].folder}manifest.json"
    gone = [
        name
        for name in pieces(patient.folder)
        if name.endswith(lost) or (lost == "all" and ".zst" not in name) or (lost.endswith("full one") and name == full)
    ]
    assert gone
    for name in gone:
        (patient.folder / name).unlink()
    assert exit_code(patient.folder) in (10, 12)
    report = patient.save()
    assert report.missing == ()
    assert documents_of(patient.out) == patient.whole


def test_a_manifest_that_nothing_proves_is_used_and_told(patient: Patient) -> None:
    """A flipped bit in a time of it would be believed otherwise."""
    path = patient.folder / patient.made[0].folder / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"ended_ms": 18', b'"ended_ms": 19'))
    report = patient.save()
    assert report.missing == ()
    assert any(patient.made[0].backup in note and "can't be verified" in note for note in report.notes)


def test_states_and_times_stay(patient: Patient) -> None:
    """Backups keep their chain and their times, so that an earlier state can be restored."""
    patient.damage(flipped(patient.data, 400))
    report = patient.save()
    assert [each.backup for each in report.backups] == [each.backup for each in patient.made]
    before, after = patient.made, read_catalog(Folder(str(patient.out))).backups
    assert [(each.mode, each.began_ms, each.ended_ms) for each in after] == [
        (each.mode, each.began_ms, each.ended_ms) for each in before
    ]
    assert after[1].parent == after[0].backup
    assert "documents are missing" in after[0].warnings[-1]


def test_a_lost_full_backup_leaves_the_increment(patient: Patient) -> None:
    """It becomes a full one, and that is reported."""
    for each in (patient.folder / patient.made[0].folder).iterdir():
        each.unlink()
    report = salvage_archive(f"archive:{patient.folder}", f"archive:{patient.out}")
    assert check_archive(f"archive:{patient.out}").findings == ()
    assert len(documents_of(patient.out)) == 3
    assert any("is lost; it was saved as a full one" in note for note in report.notes)


def test_no_backup_continues_what_was_saved(tmp_path: Path) -> None:
    """What is missing would never come again by an increment: the next backup is a full one."""
    _stores.clear()
    store: MemoryStore = memory_store("source")
    for number in range(5):
        store.put(activation(number).id, activation(number).body)
    state = tmp_path / "state"
    made = backup("memory:source", f"archive:{tmp_path / 'a'}", state=state).backup
    assert isinstance(made, Manifest)
    name = f"{made.folder}{made.parts[0].name}"
    put(tmp_path / "a", {name: flipped((tmp_path / "a" / name).read_bytes(), 400)})
    salvage_archive(f"archive:{tmp_path / 'a'}", f"archive:{tmp_path / 'b'}")
    again = backup("memory:source", f"archive:{tmp_path / 'b'}", state=state).backup
    assert again is not None
    assert (again.mode, again.documents) == ("full", 5)
    _stores.clear()


def test_an_unfinished_backup_is_left_out(patient: Patient) -> None:
    writer = ArchiveWriter(Folder(str(patient.folder)))
    writer.prepare()
    writer.write([activation(1)], replace=False)
    writer.flush()
    writer.close()
    assert patient.save().notes == (f"backup {writer.backup} is unfinished and was skipped",)


@pytest.mark.parametrize("spoil", [lambda p: p.folder, lambda p: p.out])
def test_nothing_is_overwritten(patient: Patient, spoil: Callable[[Patient], Path]) -> None:
    """Neither the damaged archive itself nor another one is written into."""
    add_backup(patient.out, Form.COUCHDB, [[activation(1)]])
    before = pieces(patient.folder), pieces(patient.out)
    with pytest.raises(UsageError):
        salvage_archive(f"archive:{patient.folder}", f"archive:{spoil(patient)}")
    assert (pieces(patient.folder), pieces(patient.out)) == before
