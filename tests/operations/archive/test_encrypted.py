"""Encrypted archives: what can be seen without the key, and what needs it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pyrage
import pytest

from migrator.activations.document import Form
from migrator.adapters.archive import open_writer
from migrator.adapters.archive.catalog import read_catalog
from migrator.adapters.archive.folder import Folder
from migrator.adapters.archive.manifest import Manifest
from migrator.adapters.base import Token
from migrator.errors import AccessDenied
from migrator.operations.archive.cat import cat_archive
from migrator.operations.archive.check import check_archive
from migrator.operations.archive.diff import diff_archive
from migrator.operations.archive.listing import list_archive
from migrator.operations.archive.prune import prune_archive
from migrator.operations.archive.retention import Retention
from migrator.operations.archive.salvage import salvage_archive
from migrator.settings.locations import parse_location
from migrator.settings.stores import Store
from migrator.testing.documents import activation
from tests.support.archives import CLOCK, completion
from tests.support.damage import flipped, pieces, put


class Sealed:
    """An archive of two encrypted backups, and its key."""

    def __init__(self, folder: Path) -> None:
        identity = pyrage.x25519.Identity.generate()
        self.recipient = str(identity.to_public())
        self.key = folder / "key.txt"
        self.key.write_text(f"{identity}\n")
        self.key.chmod(0o600)
        self.folder = folder / "sealed"
        self.closed = parse_location(f"archive:{self.folder}").store()
        self.open = msgspec.structs.replace(self.closed, identity_file=str(self.key))
        self.made = [self.add(range(20)), self.add(range(10, 30))]

    def add(self, numbers: range) -> Manifest:
        writer = open_writer(msgspec.structs.replace(self.closed, encrypt_to=(self.recipient,)), clock=CLOCK)
        writer.prepare()
        receipts: list[tuple[int, Token]] = []
        for first in (numbers.start, numbers.start + 10):
            writer.write([activation(number) for number in range(first, first + 10)], replace=False)
            receipts.append((0, writer.flush()))
        writer.finish(completion(Form.COUCHDB, receipts))
        writer.close()
        return read_catalog(Folder(str(self.folder))).find(writer.backup, "the archive")

    def damage(self, bit: int) -> str:
        name = f"{self.made[0].folder}{self.made[0].parts[0].name}"
        put(self.folder, {name: flipped(pieces(self.folder)[name], bit)})
        return name


@pytest.fixture
def sealed(tmp_path: Path) -> Sealed:
    return Sealed(tmp_path)


def test_without_the_key_hashes_are_checked(sealed: Sealed) -> None:
    """Quickly and without a word; a full check says that it could read nothing."""
    quick = check_archive(sealed.closed, quick=True)
    assert (quick.findings, quick.notes) == ((), ())
    full = check_archive(sealed.closed)
    assert (full.findings, full.parts_read) == ((), 0)
    assert "4 parts are encrypted, and only their hashes were checked" in full.notes[0]
    assert [each.encryption for each in list_archive(sealed.closed).backups] == ["age", "age"]
    assert len(prune_archive(sealed.closed, Retention(last=1), dry_run=True).deleted) == 1


def test_with_the_key_everything_is_read(sealed: Sealed) -> None:
    assert (check_archive(sealed.open).findings, check_archive(sealed.open).parts_read) == ((), 4)
    assert len(list(cat_archive(sealed.open))) == 20
    total = diff_archive(sealed.open, sealed.made[0].backup, sealed.made[1].backup).total
    assert (total.added, total.gone, total.same) == (10, 10, 10)


@pytest.mark.parametrize("bit", [100, 3_000, 8_000])
def test_damage_is_found_with_and_without_the_key(sealed: Sealed, bit: int) -> None:
    """In the header of the file, and in its content."""
    name = sealed.damage(bit)
    for store in (sealed.closed, sealed.open):
        for quick in (False, True):
            assert [each.piece for each in check_archive(store, quick=quick).findings] == [name]


def test_another_key_is_refused(sealed: Sealed) -> None:
    """As a right that is missing, not as damage."""
    other = sealed.key.with_name("other.txt")
    other.write_text(f"{pyrage.x25519.Identity.generate()}\n")
    wrong = msgspec.structs.replace(sealed.open, identity_file=str(other))
    for store in (wrong, sealed.closed):
        with pytest.raises(AccessDenied):
            list(cat_archive(store))
        with pytest.raises(AccessDenied):
            salvage_archive(store, f"archive:{sealed.folder}-saved")
    with pytest.raises(AccessDenied):
        check_archive(wrong)


@pytest.mark.parametrize("bit", [100, 8_000])
def test_whole_parts_are_saved(sealed: Sealed, bit: int) -> None:
    """A damaged part can't be decrypted; the others are saved, encrypted again where recipients are named."""
    name = sealed.damage(bit)
    for store in targets(sealed):
        report = salvage_archive(sealed.open, store)
        assert [(each.piece, each.documents) for each in report.missing] == [(name, 10)]
        assert report.documents == 30
        again = check_archive(msgspec.structs.replace(store, identity_file=str(sealed.key)))
        assert (again.findings, again.parts_read) == ((), 3)
        saved = list_archive(store).backups
        assert {each.encryption for each in saved} == ({"age"} if store.encrypt_to else {None})
        assert any("isn't encrypted" in note for note in report.notes) == (not store.encrypt_to)


def targets(sealed: Sealed) -> list[Store]:
    plain = parse_location(f"archive:{sealed.folder}-plain").store()
    secret = parse_location(f"archive:{sealed.folder}-secret").store()
    return [plain, msgspec.structs.replace(secret, encrypt_to=(sealed.recipient,))]
