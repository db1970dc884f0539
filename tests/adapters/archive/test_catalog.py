"""Which backup of an archive is meant, and whether all that it needs is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from migrator.activations.document import Form
from migrator.adapters.archive.catalog import (
    Catalog,
    Unproven,
    chain_parts,
    delete_backup,
    head_or_new,
    pieces,
    read_catalog,
)
from migrator.adapters.archive.folder import Folder
from migrator.adapters.archive.manifest import ArchiveHead, Manifest, part_name, read_head
from migrator.errors import ArchiveDamaged, NotFound
from migrator.testing.documents import activation
from tests.support.archives import add_backup
from tests.support.damage import put

IDS = ["20261124T021500Z-aaaaaa", "20261125T021500Z-aaaaab", "20261125T021500Z-bbbbbb", "20261127T000000Z-cccccc"]


@pytest.fixture
def backups(tmp_path: Path) -> list[Manifest]:
    """Four: a full one, two that continue it, and a full one."""
    made = add_backup(tmp_path, Form.COUCHDB, [[activation(1)]])
    found = []
    for at, (id, parent) in enumerate(zip(IDS, (None, IDS[0], IDS[1], None), strict=True)):
        mode = "full" if parent is None else "incremental"
        told = {"backup": id, "parent": parent, "mode": mode, "number": at + 1, "ended_ms": 1000 * (at + 1)}
        found.append(msgspec.structs.replace(made, **told))
    return found


def catalog(backups: list[Manifest], **more: Any) -> Catalog:
    return Catalog(ArchiveHead(archive="0" * 32), tuple(backups), **more)


def test_a_backup_is_found_by_the_beginning_of_its_id(backups: list[Manifest]) -> None:
    found = catalog(backups)
    for backup in backups:
        assert found.find(backup.backup, "there") is backup
    assert found.find("20261124", "there") is backups[0]
    for text, told in (("20261125T", "2 backups begin with '20261125T'"), ("2027", "there is no backup '2027'")):
        with pytest.raises(NotFound, match=f"^there: {told}; `migrator archive list` shows them$"):
            found.find(text, "there")


@pytest.mark.parametrize("moment_ms", [0, 999, 1000, 1999, 2000, 3999, 4000, 9000])
def test_as_of_a_moment_is_the_last_that_was_complete(backups: list[Manifest], moment_ms: int) -> None:
    complete = [each for each in backups if each.ended_ms <= moment_ms]
    if complete:
        assert catalog(backups).as_of(moment_ms, "there") is complete[-1]
    else:
        with pytest.raises(
            NotFound, match=r"^there: no backup was complete at that time; `migrator archive list` shows them$"
        ):
            catalog(backups).as_of(moment_ms, "there")


def test_the_newest_is_the_last_that_can_be_read(backups: list[Manifest]) -> None:
    """Where none can, that is damage; where there is none, that is reported."""
    damaged = ((IDS[3], "there: it is cut"), ("x", "there: it was changed"))
    assert catalog(backups).newest("there") is backups[3]
    assert catalog(backups[:3], damaged=damaged).newest("there") is backups[2]
    with pytest.raises(
        ArchiveDamaged, match=r"^there: it was changed; `migrator archive check repair=True` saves what is intact$"
    ):
        catalog([], damaged=damaged).newest("there")
    with pytest.raises(NotFound, match=r"^there: it holds no complete backup$"):
        catalog([]).newest("there")
    with pytest.raises(NotFound, match=r"^there: it holds no complete backup yet$"):
        catalog([], unfinished=(IDS[0],)).newest("there")


def test_a_chain_begins_with_a_full_backup(backups: list[Manifest]) -> None:
    found = catalog(backups)
    assert found.chain(backups[0], "there") == (backups[0],)
    assert found.chain(backups[2], "there") == tuple(backups[:3])
    assert found.chain(backups[3], "there") == (backups[3],)


def test_a_chain_with_a_piece_missing_is_damage(backups: list[Manifest]) -> None:
    """A backup, its manifest, a part of any of them; or what can't be one chain."""
    for more, told in (
        ({}, f"backup {IDS[1]} continues {IDS[0]}, but it isn't there"),
        ({"damaged": ((IDS[0], "it is cut"),)}, f"backup {IDS[1]} continues {IDS[0]}, but it is cut"),
    ):
        with pytest.raises(ArchiveDamaged, match=f"^there: {told}$"):
            catalog(backups[1:], **more).chain(backups[2], "there")
    for at in range(3):
        lacking = catalog(backups, incomplete=((IDS[at], "a part is missing"),))
        told = r"^there: a part is missing; `migrator archive check repair=True` saves what is intact$"
        with pytest.raises(ArchiveDamaged, match=told):
            lacking.chain(backups[2], "there")
        assert lacking.chain(backups[3], "there") == (backups[3],)
    circle = [msgspec.structs.replace(backups[0], parent=IDS[2]), *backups[1:]]
    with pytest.raises(ArchiveDamaged, match=f"^there: the chain of backup {IDS[2]} is broken at {IDS[1]}$"):
        catalog(circle).chain(circle[2], "there")
    mixed = [msgspec.structs.replace(backups[0], form=Form.ELASTICSEARCH), *backups[1:]]
    with pytest.raises(ArchiveDamaged, match=f"^there: the chain of backup {IDS[2]} is broken at {IDS[0]}$"):
        catalog(mixed).chain(mixed[2], "there")


@pytest.mark.parametrize(
    ("damaged", "says", "newer"),
    [
        ("20261125T021500Z-000000", {}, True),  # begun in the same second
        ("20261125T021459Z-000000", {}, False),
        ("20261125T021501Z-000000", {}, True),
        ("20261124T000000Z-000000", {"number": 3}, False),
        ("20261124T000000Z-000000", {"number": 4}, True),
        ("20261124T000000Z-000000", {"number": 2}, False),
    ],
)
def test_a_damaged_backup_may_be_newer(
    backups: list[Manifest], damaged: str, says: dict[str, Any], newer: bool
) -> None:
    """By its id, or by the number that seems to stand in it."""
    unproven = ((damaged, Unproven(**says)),)
    found = catalog(backups, damaged=((damaged, "cut"),), unproven=unproven)
    assert found.may_be_newer(damaged, backups[2]) is newer
    named = msgspec.structs.replace(backups[2], clock_ahead=(damaged,))
    assert not catalog([*backups[:2], named, backups[3]], unproven=unproven).may_be_newer(damaged, named)


def test_what_is_continued_is_older(backups: list[Manifest]) -> None:
    """By a backup that is no newer than the one in question."""
    damaged = "20261126T000000Z-000000"
    for at in range(4):
        changed = list(backups)
        changed[at] = msgspec.structs.replace(backups[at], parent=damaged)
        assert catalog(changed).may_be_newer(damaged, changed[2]) is (at > 2)


def test_parts_stand_in_the_order_of_layers_and_names(backups: list[Manifest]) -> None:
    (part,) = backups[0].parts
    parts = [
        msgspec.structs.replace(part, name=part_name(number, None), layer=layer)
        for number, layer in ((1, 1), (3, 0), (2, 0), (4, 2))
    ]
    first = msgspec.structs.replace(backups[0], parts=parts)
    assert chain_parts([first, backups[1]]) == [(first, 2), (first, 1), (first, 0), (first, 3), (backups[1], 0)]


# -- as it is read from a place -------------------------------------------------------------------------------------


def test_a_catalog_says_of_each_backup_what_is_wrong_with_it(tmp_path: Path) -> None:
    """A manifest that can't be believed, with what seems to stand in it; a part of another size; none yet."""
    whole, cut, gone = (add_backup(tmp_path, Form.COUCHDB, [[activation(at)]]) for at in range(3))
    child = add_backup(tmp_path, Form.COUCHDB, [[activation(3)]], parent=whole.backup)
    other = add_backup(tmp_path, Form.COUCHDB, [[activation(4)]])
    place = Folder(str(tmp_path))
    (tmp_path / cut.folder / cut.parts[0].name).write_bytes(b"xx")
    (tmp_path / gone.folder / gone.parts[0].name).unlink()
    (tmp_path / child.folder / "SHA256SUMS").unlink()
    (tmp_path / other.folder / "manifest.json").write_bytes(b"{")
    begun = "20200101T000000Z-aaaaaa"
    place.write(f"backups/{begun}/unfinished.json", b"{}")
    place.write("backups/notes.txt", b"")
    head = read_head((tmp_path / "archive.json").read_bytes(), "the archive")
    reasons = [
        f"archive:{tmp_path}: {child.folder}manifest.json: it can't be verified, since SHA256SUMS is missing",
        f"archive:{tmp_path}: {other.folder}manifest.json: it can't be read: Input data was truncated",
    ]
    found = read_catalog(place)
    assert found == Catalog(
        head,
        (whole, cut, gone),
        unfinished=(begun,),
        damaged=((child.backup, reasons[0]), (other.backup, reasons[1])),
        incomplete=(
            (cut.backup, f"{cut.folder}{cut.parts[0].name} has 2 bytes instead of {cut.parts[0].size_bytes:,}"),
            (gone.backup, f"{gone.folder}{gone.parts[0].name} is missing"),
        ),
        unproven=((child.backup, Unproven(number=4, parent=whole.backup)), (other.backup, Unproven())),
    )
    assert pieces(place)[begun] == {"unfinished.json": 2}
    assert "notes.txt" not in pieces(place)


def test_a_manifest_that_was_altered_is_refused_with_what_tells_most(tmp_path: Path) -> None:
    """What is wrong with it, else that its hash is another; of a later version too."""
    made = add_backup(tmp_path, Form.COUCHDB, [[activation(1)]])
    path = tmp_path / made.folder / "manifest.json"
    where = f"archive:{tmp_path}: {made.folder}manifest.json"
    data = path.read_bytes()
    other_hash = "its SHA-256 doesn't match SHA256SUMS: one of the two was altered"
    for was, now, told in (
        (b'"mode": "full"', b'"mode": "half"', "mode 'half' with parent None is invalid"),
        (b'"deleted": 0', b'"deleted": 1', other_hash),
        (b'"version": 1', b'"version": 9', other_hash),
    ):
        assert was in data
        path.write_bytes(data.replace(was, now))
        assert read_catalog(Folder(str(tmp_path))).damaged == ((made.backup, f"{where}: {told}"),)


@pytest.mark.parametrize(
    ("there", "told"),
    [
        (None, "there is no archive; check the path, or create one with `migrator backup`"),
        ({}, "it isn't an archive: archive.json is missing"),
        ({"notes.txt": b""}, "it isn't an archive: archive.json is missing"),
    ],
)
def test_what_is_no_archive_has_no_catalog(tmp_path: Path, there: dict[str, bytes] | None, told: str) -> None:
    folder = tmp_path / "a"
    if there is not None:
        folder.mkdir()
        put(folder, there)
    with pytest.raises(NotFound, match=f"^{re.escape(f'archive:{folder}: {told}')}$"):
        read_catalog(Folder(str(folder)))


def test_an_archive_comes_to_be_only_where_nothing_else_lies(tmp_path: Path) -> None:
    """What systems leave everywhere is nothing; one that is there stays which it is."""
    place = Folder(str(tmp_path / "a"))
    head = head_or_new(place)
    assert re.fullmatch(r"[0-9a-f]{32}", head.archive)
    assert read_head(place.read("archive.json"), "x") == head == head_or_new(place)
    put(tmp_path / "b", {".DS_Store": b"", "notes\x1b.txt": b""})
    told = (
        f"archive:{tmp_path / 'b'}: neither an archive nor empty: it contains notes\\x1b.txt; give an empty folder or "
        "an archive"
    )
    with pytest.raises(NotFound, match=f"^{re.escape(told)}$"):
        head_or_new(Folder(str(tmp_path / "b")))
    (tmp_path / "b" / "notes\x1b.txt").unlink()
    assert head_or_new(Folder(str(tmp_path / "b"))).archive != head.archive


def test_a_backup_is_deleted_from_its_manifest_on(tmp_path: Path) -> None:
    """So that it never seems whole while it isn't; what isn't its own stays."""
    made = add_backup(tmp_path, Form.COUCHDB, [[activation(1)]])
    put(tmp_path, {f"{made.folder}notes.txt": b""})
    deleted: list[str] = []

    class Watched(Folder):
        def delete(self, name: str) -> None:
            deleted.append(name.removeprefix(made.folder))
            super().delete(name)

    delete_backup(Watched(str(tmp_path)), made.backup)
    assert deleted == ["manifest.json", "SHA256SUMS", made.parts[0].name]
    assert [name for name, _ in Folder(str(tmp_path)).names("backups/")] == [f"{made.folder}notes.txt"]
