"""What there is to check in an archive, and everything that can be found wrong without reading a part.

A place enters, an `Inventory` leaves: `archive.json`, each manifest against `SHA256SUMS` and against the pieces in its
folder, the links of chains.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec

from migrator.adapters.archive.findings import Finding
from migrator.adapters.archive.manifest import (
    ARCHIVE,
    BACKUPS,
    MANIFEST,
    SUMS,
    UNFINISHED,
    Manifest,
    PartNote,
    folder_of,
    is_own,
    is_part_name,
    make_sums,
    read_head,
    read_manifest,
    strangers_told,
    uneven_counts,
)
from migrator.adapters.archive.places import Place
from migrator.errors import ArchiveDamaged, NotFound, UsageError
from migrator.text.decoding import decode
from migrator.text.units import counted


class Inventory(msgspec.Struct, kw_only=True):
    """What there is to check, and what was found on the way."""

    manifests: list[Manifest] = []
    findings: list[Finding] = []
    notes: list[str] = []
    parts: list[tuple[Manifest, PartNote]] = []  # those that are there in their size
    cut: list[tuple[str, int]] = []  # parts of another size, with the size they have


def take_inventory(place: Place) -> Inventory:
    """Look at everything but the content of parts."""
    if not place.exists():
        raise NotFound(f"{place.printed}: there is no archive; check the path")
    inventory = Inventory()
    folders: dict[str, dict[str, int]] = {}
    has_head = False
    strangers: list[str] = []
    for name, size in place.names(""):
        backup, _, piece = name.removeprefix(BACKUPS).partition("/")
        if name == ARCHIVE:
            has_head = True
        elif is_own(name) and name != UNFINISHED:
            folders.setdefault(backup, {})[piece] = size
        elif (base := name.rpartition("/")[2]) == MANIFEST or is_part_name(base):
            inventory.findings.append(Finding(piece=name, what="it is not part of an archive"))
        else:
            strangers.append(name)
    if strangers:
        inventory.notes.append(strangers_told(strangers))
    if not has_head and UNFINISHED in strangers:
        what = "it is missing: `migrator archive check repair=True` into it was interrupted; run that command again"
        return Inventory(findings=[Finding(piece=ARCHIVE, what=what)])
    if not has_head and not folders:
        raise NotFound(f"{place.printed}: it isn't an archive: {ARCHIVE} is missing")
    archive = _read_head(place, has_head, folders, inventory)
    for backup, sizes in folders.items():
        if MANIFEST in sizes:
            try:
                _check_backup(place, backup, sizes, archive, inventory)
            except NotFound:
                inventory.notes.append(f"backup {backup} was deleted meanwhile")
        elif UNFINISHED in sizes:
            inventory.notes.append(f"backup {backup} is unfinished: it is being written, or was interrupted")
        else:
            what = "it is missing: it was lost, or a deletion was interrupted"
            inventory.findings.append(Finding(piece=folder_of(backup) + MANIFEST, what=what))
    _check_chains(inventory)
    return inventory


def _read_head(place: Place, has_head: bool, backups: Mapping[str, object], inventory: Inventory) -> str:
    """The id of the archive; where `archive.json` can't tell it, the one that a manifest names.

    A later version is refused, unless a manifest shows that this is an archive of a version known here.
    """
    where = f"{place.printed}: {ARCHIVE}"
    try:
        if has_head:
            return read_head(place.read(ARCHIVE), where).archive
        raise ArchiveDamaged("it is missing")
    except (ArchiveDamaged, UsageError) as error:
        told = [archive for backup in backups if (archive := archive_of(place, backup)) is not None]
        if isinstance(error, UsageError) and not told:
            raise
        what = str(error).removeprefix(f"{where}: ").partition("; use a newer")[0]
        inventory.findings.append(Finding(piece=ARCHIVE, what=what))
        return max(told, key=told.count, default="")


def archive_of(place: Place, backup: str) -> str | None:
    """The archive that a backup's manifest names, where that is readable."""

    class Named(msgspec.Struct):
        archive: str

    try:
        data = place.read(folder_of(backup) + MANIFEST)
        archive = decode(data, Named).archive
        read_manifest(data, "", archive=archive, backup=backup)
    except (NotFound, ArchiveDamaged, UsageError, msgspec.MsgspecError):
        return None
    return archive


def _check_backup(place: Place, backup: str, sizes: Mapping[str, int], archive: str, inventory: Inventory) -> None:
    """A manifest, the hashes beside it, and the sizes of its pieces."""
    folder = folder_of(backup)
    data = place.read(folder + MANIFEST)
    sums = place.read(folder + SUMS) if SUMS in sizes else None
    own = f"{hashlib.sha256(data).hexdigest()}  {MANIFEST}\n".encode()
    where = f"{place.printed}: {folder}{MANIFEST}"
    try:
        manifest = read_manifest(data, where, archive=archive, backup=backup)
    except (ArchiveDamaged, UsageError) as error:
        if isinstance(error, UsageError) and sums is not None and sums.startswith(own):
            raise  # it is whole: another version wrote it
        what = str(error).removeprefix(f"{where}: ").partition("; use a newer")[0]
        inventory.findings.append(Finding(piece=folder + MANIFEST, what=what))
        return
    inventory.manifests.append(manifest)
    if (uneven := uneven_counts(manifest)) is not None:
        inventory.findings.append(Finding(piece=folder + MANIFEST, what=uneven))
    if sums is None:
        inventory.findings.append(Finding(piece=folder + SUMS, what="it is missing"))
    elif sums != sums_of(manifest, data):
        inventory.findings.append(_wrong_sums(folder, sums, own))
    for note in manifest.parts:
        size = sizes.get(note.name)
        if size is None:
            inventory.findings.append(
                Finding(piece=folder + note.name, what="it is missing, and the manifest lists it")
            )
        elif size != note.size_bytes:
            what = f"it has {counted(size, 'byte')} instead of {note.size_bytes:,}"
            inventory.findings.append(Finding(piece=folder + note.name, what=what))
            if manifest.encryption is None:
                inventory.cut.append((folder + note.name, size))
        else:
            inventory.parts.append((manifest, note))
    expected = {MANIFEST, SUMS, UNFINISHED, *(note.name for note in manifest.parts)}
    for extra in sorted(sizes.keys() - expected):
        inventory.findings.append(Finding(piece=folder + extra, what="the manifest doesn't list it"))


def sums_of(manifest: Manifest, data: bytes) -> bytes:
    """What `SHA256SUMS` has to be, with the bytes of the manifest."""
    return make_sums(manifest, hashlib.sha256(data).hexdigest())


def _wrong_sums(folder: str, sums: bytes, own: bytes) -> Finding:
    """Which of the two is to blame, as far as that can be determined."""
    if sums.startswith(own):
        return Finding(piece=folder + SUMS, what="its hashes of parts don't match the manifest")
    return Finding(piece=folder + MANIFEST, what=f"its SHA-256 doesn't match {SUMS}: one of the two was altered")


def _check_chains(inventory: Inventory) -> None:
    by_id = {manifest.backup: manifest for manifest in inventory.manifests}
    for manifest in inventory.manifests:
        if manifest.parent is None:
            continue
        parent = by_id.get(manifest.parent)
        what = None
        if parent is None:
            what = f"it continues backup {manifest.parent}, which is missing or can't be read"
        elif parent.form is not manifest.form:
            what = f"it continues backup {manifest.parent}, which has the other form"
        if what:
            inventory.findings.append(Finding(piece=manifest.folder + MANIFEST, what=what))
