"""Whether an archive is what it says: `archive.json`, every manifest and its hashes, every part.

An archive enters, a `CheckReport` with every finding leaves; nothing is changed. Parts are read by several threads,
each a frame at a time, so that memory doesn't grow with the archive.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import msgspec

from migrator.adapters.archive.manifest import (
    ARCHIVE,
    BACKUPS,
    MANIFEST,
    SUMS,
    UNFINISHED,
    Manifest,
    PartNote,
    folder_of,
    is_backup_id,
    make_sums,
    read_head,
    read_manifest,
)
from migrator.adapters.archive.places import Place
from migrator.archives.findings import Finding
from migrator.archives.part_check import Tick, deep_check, deep_encrypted_check, gaps, quick_check
from migrator.archives.stock import opened, opened_contents
from migrator.copying import resolved
from migrator.engine.copy import Observer, Progress
from migrator.engine.stopping import Stop
from migrator.errors import ArchiveDamaged, Interrupted, NotFound, UsageError
from migrator.locations import Store
from migrator.report import Counts

Tell = Callable[[str], None]


class CheckReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a check looked at, and what it found."""

    archive: str
    depth: str  # "quick", "full", "sample"
    backups: int
    parts: int
    parts_read: int  # to the last document
    documents: int  # in all parts, as the manifests say
    size_bytes: int  # of all parts
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()  # what isn't damage, but should be known

    @property
    def exit_code(self) -> int:
        return ArchiveDamaged.exit_code if self.findings else 0


class _Inventory(msgspec.Struct, kw_only=True):
    """What there is to check, and what was found on the way."""

    manifests: list[Manifest] = []
    findings: list[Finding] = []
    notes: list[str] = []
    parts: list[tuple[Manifest, PartNote]] = []  # those that are there in their size
    cut: list[tuple[str, int]] = []  # parts of another size, with the size they have


def check(
    archive: Store | str,
    *,
    quick: bool = False,
    sample: float | None = None,
    jobs: int = 2,
    stop: Stop | None = None,
    observe: Observer = lambda _: None,
    tell: Tell = lambda _: None,
    chance: random.Random | None = None,
) -> CheckReport:
    """Check an archive: everything, with `quick` manifests and hashes, with `sample` also that share of its parts.

    `sample` is a share above 0 and up to 1 of the parts, chosen by `chance`; manifests, sizes and hashes of manifests
    are checked in any case. Encrypted parts are read where the store has a key, else their hashes are checked.
    Raises `NotFound` where there is no archive, `UsageError` for one of a later version.
    """
    if quick and sample is not None:
        raise UsageError("--quick reads every part's hash, --sample some parts to the end; give one of them")
    if sample is not None and not 0 < sample <= 1:
        raise UsageError("--sample: give a share such as 5%, above 0 and up to 100%")
    if not 1 <= jobs <= 64:
        raise UsageError(f"--jobs {jobs}: give a number from 1 to 64")
    store = resolved(archive, "source", tell)
    with opened(store) as place, opened_contents(store) as contents:
        inventory = _take_inventory(place)
        chosen, deep = inventory.parts, [] if quick else inventory.parts
        if sample is not None and inventory.parts:
            count = max(1, round(len(inventory.parts) * sample))
            chance = chance or random.SystemRandom()
            chosen = deep = sorted(
                chance.sample(inventory.parts, count), key=lambda each: (each[0].backup, each[1].name)
            )
            inventory.notes.append(_what_it_proves(count, len(inventory.parts)))
        if store.identity_file is None:
            deep = [each for each in deep if each[0].encryption is None]
        if not quick and len(deep) < len(chosen):
            inventory.notes.append(
                f"{len(chosen) - len(deep):,} parts are encrypted, and only their hashes were checked; "
                "name the file with the key by --identity to read them"
            )
        for name, size in inventory.cut:
            inventory.findings += gaps(place, name, size)
        progress = Progress()
        progress.phase = "checking"
        progress.documents = sum(note.documents for _, note in chosen)
        inventory.findings += _check_parts(
            place, contents, chosen, {id(note) for _, note in deep}, jobs, stop or Stop(), progress, observe
        )
        notes = [note for manifest in inventory.manifests for note in manifest.parts]
        return CheckReport(
            archive=place.printed,
            depth="quick" if quick else "full" if sample is None else "sample",
            backups=len(inventory.manifests),
            parts=len(notes),
            parts_read=len(deep),
            documents=sum(note.documents for note in notes),
            size_bytes=sum(note.size_bytes for note in notes),
            findings=tuple(sorted(inventory.findings, key=lambda each: (each.piece, each.offset or 0))),
            notes=tuple(inventory.notes),
        )


def _what_it_proves(count: int, total: int) -> str:
    """What can be said after a sample without a finding."""
    if count == total:
        return f"all {total} parts were read"
    share = 100 * (1 - 0.05 ** (1 / count))
    return (
        f"{count} of {total} parts were read, chosen at random: damage in more than {share:.1f} % of the parts would "
        "have been found with a probability of 95 %; damage in a single one mostly not"
    )


# -- manifests ----------------------------------------------------------------------------------------------------


def _take_inventory(place: Place) -> _Inventory:
    """Look at everything but the content of parts."""
    if not place.exists():
        raise NotFound(f"{place.printed}: there is no archive; check the path")
    inventory = _Inventory()
    folders: dict[str, dict[str, int]] = {}
    has_head = False
    for name, size in place.names(""):
        backup, slash, piece = name.removeprefix(BACKUPS).partition("/")
        if name == ARCHIVE:
            has_head = True
        elif name.startswith(BACKUPS) and slash and is_backup_id(backup):
            folders.setdefault(backup, {})[piece] = size
        else:
            inventory.findings.append(Finding(piece=name, what="it is no piece of an archive"))
    if not has_head and not folders:
        raise NotFound(f"{place.printed}: it isn't an archive: {ARCHIVE} is missing")
    archive = _read_head(place, has_head, folders, inventory)
    for backup, sizes in folders.items():
        if MANIFEST in sizes:
            _check_backup(place, backup, sizes, archive, inventory)
        elif UNFINISHED in sizes:
            inventory.notes.append(f"backup {backup} is unfinished: it is being written, or was interrupted")
        else:
            what = "it is missing: it was lost, or a deletion was interrupted"
            inventory.findings.append(Finding(piece=folder_of(backup) + MANIFEST, what=what))
    _check_chains(inventory)
    return inventory


def _read_head(place: Place, has_head: bool, backups: Mapping[str, object], inventory: _Inventory) -> str:
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
        archive = msgspec.json.decode(data, type=Named).archive
        read_manifest(data, "", archive=archive, backup=backup)
    except (NotFound, ArchiveDamaged, UsageError, msgspec.MsgspecError):
        return None
    return archive


def _check_backup(place: Place, backup: str, sizes: Mapping[str, int], archive: str, inventory: _Inventory) -> None:
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
    if sums is None:
        inventory.findings.append(Finding(piece=folder + SUMS, what="it is missing"))
    elif sums != make_sums(manifest, hashlib.sha256(data).hexdigest()):
        inventory.findings.append(_wrong_sums(folder, sums, own))
    for note in manifest.parts:
        size = sizes.get(note.name)
        if size is None:
            inventory.findings.append(
                Finding(piece=folder + note.name, what="it is missing, and the manifest lists it")
            )
        elif size != note.size_bytes:
            what = f"it has {size:,} bytes instead of {note.size_bytes:,}"
            inventory.findings.append(Finding(piece=folder + note.name, what=what))
            if manifest.encryption is None:
                inventory.cut.append((folder + note.name, size))
        else:
            inventory.parts.append((manifest, note))
    expected = {MANIFEST, SUMS, UNFINISHED, *(note.name for note in manifest.parts)}
    for extra in sorted(sizes.keys() - expected):
        inventory.findings.append(Finding(piece=folder + extra, what="the manifest doesn't list it"))


def _wrong_sums(folder: str, sums: bytes, own: bytes) -> Finding:
    """Which of the two is to blame, as far as that can be told."""
    if sums.startswith(own):
        return Finding(piece=folder + SUMS, what="its hashes of parts aren't those of the manifest")
    return Finding(piece=folder + MANIFEST, what=f"its SHA-256 isn't that of {SUMS}: one of the two was changed")


def _check_chains(inventory: _Inventory) -> None:
    by_id = {manifest.backup: manifest for manifest in inventory.manifests}
    for manifest in inventory.manifests:
        if manifest.parent is None:
            continue
        parent = by_id.get(manifest.parent)
        what = None
        if parent is None:
            what = f"it continues backup {manifest.parent}, which isn't there or can't be read"
        elif parent.form is not manifest.form:
            what = f"it continues backup {manifest.parent}, which has the other form"
        if what:
            inventory.findings.append(Finding(piece=manifest.folder + MANIFEST, what=what))


# -- parts --------------------------------------------------------------------------------------------------------


def _check_parts(
    place: Place,
    contents: Place,
    parts: Sequence[tuple[Manifest, PartNote]],
    deep: set[int],
    jobs: int,
    stop: Stop,
    progress: Progress,
    observe: Observer,
) -> list[Finding]:
    """Check parts, several at once; a few wait, so that a request to stop is heard soon."""

    def tick(documents: int, size_bytes: int) -> None:
        progress.add({"": Counts(read=documents, size_bytes=size_bytes)})
        if stop.asked:
            raise Interrupted("interrupted", exit_code=stop.exit_code or 130)

    found: list[Finding] = []
    waiting = iter(parts)
    running: set[Future[list[Finding]]] = set()
    with ThreadPoolExecutor(jobs, thread_name_prefix="check") as pool:
        try:
            while True:
                while len(running) < jobs and (part := next(waiting, None)) is not None:
                    running.add(pool.submit(_check_part, place, contents, *part, id(part[1]) in deep, tick))
                if not running:
                    return found
                done, running = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
                observe(progress)
                for each in done:
                    found += each.result()
        except BaseException:
            stop.ask()
            raise


def _check_part(
    place: Place, contents: Place, manifest: Manifest, note: PartNote, deep: bool, tick: Tick
) -> list[Finding]:
    try:
        if not deep:
            return quick_check(place, manifest, note, tick)
        if manifest.encryption is not None:
            return deep_encrypted_check(place, contents, manifest, note, tick)
        return deep_check(place, manifest, note, tick)
    except (ArchiveDamaged, NotFound) as error:  # it was changed or deleted meanwhile
        return [Finding(piece=manifest.folder + note.name, what=str(error))]
