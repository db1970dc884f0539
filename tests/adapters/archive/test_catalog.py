"""Which backup of an archive is meant, and whether all that it needs is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from migrator.activations.document import Form
from migrator.adapters.archive.catalog import Catalog, Unproven, chain_parts
from migrator.adapters.archive.manifest import ArchiveHead, Manifest, part_name
from migrator.errors import ArchiveDamaged, NotFound
from migrator.testing.documents import activation
from tests.support.archives import add_backup

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
        with pytest.raises(NotFound, match="there: no backup "):
            catalog(backups).as_of(moment_ms, "there")


def test_the_newest_is_the_last_that_can_be_read(backups: list[Manifest]) -> None:
    """Where none can, that is damage; where there is none, that is reported."""
    damaged = ((IDS[3], "there: it is cut"), ("x", "there: it was changed"))
    assert catalog(backups).newest("there") is backups[3]
    assert catalog(backups[:3], damaged=damaged).newest("there") is backups[2]
    with pytest.raises(ArchiveDamaged, match=r"^there: it was changed; `migrator archive check repair=True` saves"):
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
        with pytest.raises(ArchiveDamaged, match=r"^there: a part is missing; `migrator archive check repair=True`"):
            lacking.chain(backups[2], "there")
        assert lacking.chain(backups[3], "there") == (backups[3],)
    circle = [msgspec.structs.replace(backups[0], parent=IDS[2]), *backups[1:]]
    with pytest.raises(ArchiveDamaged, match=f"the chain of backup {IDS[2]} is broken at"):
        catalog(circle).chain(circle[2], "there")
    mixed = [msgspec.structs.replace(backups[0], form=Form.ELASTICSEARCH), *backups[1:]]
    with pytest.raises(ArchiveDamaged, match=f"the chain of backup {IDS[2]} is broken at {IDS[0]}"):
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
