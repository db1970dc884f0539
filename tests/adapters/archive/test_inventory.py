"""All that can be found wrong in an archive without reading a part, and what there is to check then."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from migrator.activations.document import Form
from migrator.adapters.archive.findings import Finding
from migrator.adapters.archive.folder import Folder
from migrator.adapters.archive.inventory import Inventory, archive_of, take_inventory
from migrator.adapters.archive.manifest import ArchiveHead, Manifest, make_sums
from migrator.errors import NotFound, UsageError
from tests.support.damage import make_archive, put


class Archive:
    """A full backup of two parts, and an increment of one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place = Folder(str(folder))
        self.full, self.increment = make_archive(folder, 12)

    def path(self, name: str) -> Path:
        return self.folder / self.full.folder / name

    def write(self, manifest: Manifest, *, sums: bytes | None = None, **changes: Any) -> None:
        """A manifest, and the sums that belong to it where no others are given."""
        changed = msgspec.structs.replace(manifest, **changes)
        data = changed.encode()
        right = make_sums(changed, hashlib.sha256(data).hexdigest())
        put(
            self.folder,
            {f"{manifest.folder}manifest.json": data, f"{manifest.folder}SHA256SUMS": sums or right},
        )

    def take(self) -> Inventory:
        return take_inventory(self.place)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path)


def found(inventory: Inventory) -> dict[str, list[str]]:
    """What was found, by the piece; nothing else is known without reading."""
    assert all(each == Finding(piece=each.piece, what=each.what) for each in inventory.findings)
    told: dict[str, list[str]] = {}
    for each in inventory.findings:
        told.setdefault(each.piece, []).append(each.what)
    return told


def checked(inventory: Inventory) -> list[str]:
    return [f"{manifest.folder}{note.name}" for manifest, note in inventory.parts]


def test_a_whole_archive_is_all_there_is_to_check(archive: Archive) -> None:
    inventory = archive.take()
    assert sorted(each.backup for each in inventory.manifests) == sorted(
        [archive.full.backup, archive.increment.backup]
    )
    assert sorted(checked(inventory)) == sorted(
        f"{each.folder}{part.name}" for each in (archive.full, archive.increment) for part in each.parts
    )
    assert (inventory.findings, inventory.notes, inventory.cut) == ([], [], [])


def test_pieces_that_are_lost_cut_or_too_many(archive: Archive) -> None:
    """Each by its name, in its kind; only those that are there in their size are checked."""
    first, second = archive.full.parts
    data = archive.path(first.name).read_bytes()
    archive.path(first.name).write_bytes(data[:1000])
    archive.path(second.name).unlink()
    put(archive.folder, {f"{archive.full.folder}part-00000{number}.ndjson.zst": b"" for number in (9, 8)})
    inventory = archive.take()
    folder = archive.full.folder
    assert inventory.findings == [
        Finding(piece=folder + first.name, what=f"it has 1,000 bytes instead of {len(data):,}"),
        Finding(piece=folder + second.name, what="it is missing, and the manifest lists it"),
        Finding(piece=f"{folder}part-000008.ndjson.zst", what="the manifest doesn't list it"),
        Finding(piece=f"{folder}part-000009.ndjson.zst", what="the manifest doesn't list it"),
    ]
    assert inventory.cut == [(folder + first.name, 1000)]
    assert checked(inventory) == [f"{archive.increment.folder}{archive.increment.parts[0].name}"]


def test_of_a_cut_part_that_is_encrypted_nothing_can_be_looked_through(archive: Archive) -> None:
    parts = [msgspec.structs.replace(part, name=f"{part.name}.age") for part in archive.full.parts]
    for part in archive.full.parts:
        archive.path(part.name).rename(archive.path(f"{part.name}.age"))
    archive.path(parts[0].name).write_bytes(b"x")
    archive.write(archive.full, encryption="age", parts=parts)
    inventory = archive.take()
    assert found(inventory) == {
        f"{archive.full.folder}{parts[0].name}": [f"it has 1 byte instead of {parts[0].size_bytes:,}"]
    }
    assert inventory.cut == []


def test_what_sums_say_is_held_against_the_manifest(archive: Archive) -> None:
    """And who is to blame: the manifest where its own hash is another one, else what follows it."""
    manifest, sums = f"{archive.full.folder}manifest.json", f"{archive.full.folder}SHA256SUMS"
    right = archive.path("SHA256SUMS").read_bytes()
    altered = "its SHA-256 doesn't match SHA256SUMS: one of the two was altered"
    cases: list[tuple[bytes, dict[str, list[str]]]] = [
        (right, {}),
        (right + b"\n", {sums: ["its hashes of parts don't match the manifest"]}),
        (right.replace(b"part-000001", b"part-000003"), {sums: ["its hashes of parts don't match the manifest"]}),
        (b"0" + right[1:] if right[:1] != b"0" else b"1" + right[1:], {manifest: [altered]}),
        (b"", {manifest: [altered]}),
    ]
    for said, expected in cases:
        archive.path("SHA256SUMS").write_bytes(said)
        inventory = archive.take()
        assert found(inventory) == expected
        assert len(inventory.parts) == 3
    archive.path("SHA256SUMS").unlink()
    assert found(archive.take()) == {sums: ["it is missing"]}


def test_a_backup_without_its_manifest(archive: Archive) -> None:
    """Lost, or being written: the difference is the note that a writer leaves."""
    archive.path("manifest.json").unlink()
    name = f"{archive.full.folder}manifest.json"
    continues = f"it continues backup {archive.full.backup}, which is missing or can't be read"
    inventory = archive.take()
    assert found(inventory) == {
        name: ["it is missing: it was lost, or a deletion was interrupted"],
        f"{archive.increment.folder}manifest.json": [continues],
    }
    assert inventory.notes == []
    archive.path("unfinished.json").write_bytes(b"{}")
    inventory = archive.take()
    assert found(inventory) == {f"{archive.increment.folder}manifest.json": [continues]}
    assert inventory.notes == [f"backup {archive.full.backup} is unfinished: it is being written, or was interrupted"]


def test_a_backup_that_is_deleted_meanwhile_is_a_note(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    read = archive.place.read

    def gone(name: str) -> bytes:
        if name.startswith(archive.increment.folder):
            raise NotFound(name)
        return read(name)

    monkeypatch.setattr(archive.place, "read", gone)
    inventory = archive.take()
    assert inventory.findings == []
    assert inventory.notes == [f"backup {archive.increment.backup} was deleted meanwhile"]


def test_a_manifest_that_cannot_be_read_says_why(archive: Archive) -> None:
    """Without the place, which is that of the finding; its parts aren't looked at."""
    name = f"{archive.full.folder}manifest.json"
    continues = {
        f"{archive.increment.folder}manifest.json": [
            f"it continues backup {archive.full.backup}, which is missing or can't be read"
        ]
    }
    data = archive.path("manifest.json").read_bytes()
    later = data.replace(b'"version": 1', b'"version": 7')
    cases = [
        (data[:-3], "it can't be read: Input data was truncated"),
        (data.replace(b'"version": 1', b'"version": 0'), "version 0 of the archive format doesn't exist"),
        (later, "version 7 of the archive format, but this release reads up to 1"),
        (data.replace(b'"mode": "full"', b'"mode": "half"'), "mode 'half' with parent None is invalid"),
    ]
    for damaged, why in cases:
        archive.path("manifest.json").write_bytes(damaged)
        inventory = archive.take()
        assert found(inventory) == {name: [why], **continues}
        assert checked(inventory) == [f"{archive.increment.folder}{archive.increment.parts[0].name}"]
    archive.path("SHA256SUMS").write_bytes(f"{hashlib.sha256(later).hexdigest()}  manifest.json\n".encode())
    archive.path("manifest.json").write_bytes(later)
    with pytest.raises(
        UsageError, match="version 7 of the archive format, but this release reads up to 1; use a newer"
    ):
        archive.take()


def test_counts_that_the_parts_do_not_hold_are_found(archive: Archive) -> None:
    archive.write(archive.full, counts={"guest": {"written": 7}, "whisk.system": {"written": 6}})
    assert found(archive.take()) == {
        f"{archive.full.folder}manifest.json": ["its parts hold 6 documents of namespace guest, and 7 were written"]
    }


def test_a_chain_of_two_forms_is_found(archive: Archive) -> None:
    archive.write(archive.increment, form=Form.ELASTICSEARCH)
    assert found(archive.take()) == {
        f"{archive.increment.folder}manifest.json": [
            f"it continues backup {archive.full.backup}, which has the other form"
        ]
    }


# -- what an archive is ---------------------------------------------------------------------------------------------


def test_other_files_are_a_note_and_stray_pieces_are_found(archive: Archive) -> None:
    put(archive.folder, {"notes.txt": b"", "backups/x/part-000001.ndjson.zst": b"", "x/manifest.json": b""})
    inventory = archive.take()
    assert found(inventory) == {
        "backups/x/part-000001.ndjson.zst": ["it is not part of an archive"],
        "x/manifest.json": ["it is not part of an archive"],
    }
    assert inventory.notes == ["ignoring 1 file that isn't part of the archive: notes.txt"]


def test_without_its_head_an_archive_is_known_by_its_manifests(archive: Archive) -> None:
    (archive.folder / "archive.json").unlink()
    assert found(archive.take()) == {"archive.json": ["it is missing"]}
    assert len(archive.take().parts) == 3
    for damaged, why in (
        (b"{", "it can't be read: Input data was truncated"),
        (ArchiveHead(archive="0" * 32).encode().strip(), "it was changed or damaged"),
        (
            ArchiveHead(archive="0" * 32, version=9).encode(),
            "version 9 of the archive format, but this release reads up to 1",
        ),
        (ArchiveHead(archive="0" * 32, format="x").encode(), "its format is 'x', not openwhisk-activation-archive"),
    ):
        put(archive.folder, {"archive.json": damaged})
        inventory = archive.take()
        assert found(inventory) == {"archive.json": [why]}
        assert len(inventory.parts) == 3


def test_the_archive_that_most_manifests_name_is_this_one(archive: Archive, tmp_path: Path) -> None:
    """A backup of another one among them is the stranger."""
    archive.write(archive.increment, archive="f" * 32, parent=None, mode="full")
    (archive.folder / "archive.json").unlink()
    third = msgspec.structs.replace(archive.full, backup=archive.full.backup[:-6] + "ffffff")
    archive.write(third)
    told = found(archive.take())
    assert told.pop("archive.json") == ["it is missing"]
    assert told[f"{archive.increment.folder}manifest.json"] == [
        f"it is the manifest of backup {archive.increment.backup} of archive {'f' * 32}"
    ]
    assert archive_of(archive.place, archive.full.backup) == archive.full.archive
    assert archive_of(archive.place, archive.increment.backup) == "f" * 32
    assert archive_of(archive.place, "20261124T021500Z-3f9a2c") is None


@pytest.mark.parametrize(
    ("make", "error", "told"),
    [
        (lambda folder: folder / "none", NotFound, "there is no archive; check the path"),
        (lambda folder: folder, NotFound, "it isn't an archive: archive.json is missing"),
    ],
)
def test_what_is_no_archive_is_refused(
    tmp_path: Path, make: Callable[[Path], Path], error: type[Exception], told: str
) -> None:
    folder = make(tmp_path)
    with pytest.raises(error) as refused:
        take_inventory(Folder(str(folder)))
    assert str(refused.value) == f"archive:{folder}: {told}"


def test_a_head_of_a_later_version_is_refused_where_nothing_else_is_known(tmp_path: Path) -> None:
    put(tmp_path, {"archive.json": ArchiveHead(archive="0" * 32, version=9).encode()})
    with pytest.raises(UsageError, match=r"archive\.json: version 9 of the archive format"):
        take_inventory(Folder(str(tmp_path)))


def test_a_repair_that_was_interrupted_is_the_only_finding(archive: Archive) -> None:
    (archive.folder / "archive.json").rename(archive.folder / "unfinished.json")
    inventory = archive.take()
    assert inventory == Inventory(
        findings=[
            Finding(
                piece="archive.json",
                what="it is missing: `migrator archive check repair=True` into it was interrupted; "
                "run that command again",
            )
        ]
    )
