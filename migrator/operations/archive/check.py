"""Whether an archive is what it says: `archive.json`, every manifest and its hashes, every part.

An archive enters, a `CheckReport` with every finding leaves; nothing is changed. Parts are read by several threads,
each a frame at a time, so that memory doesn't grow with the archive.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import msgspec

from migrator.activations.accounts import Counts
from migrator.adapters.archive.check_part import Tick, deep_check, deep_encrypted_check, gaps, quick_check
from migrator.adapters.archive.contents import open_archive, open_archive_contents
from migrator.adapters.archive.findings import Finding, place_in
from migrator.adapters.archive.inventory import take_inventory
from migrator.adapters.archive.manifest import Manifest, PartNote
from migrator.adapters.archive.places import Place
from migrator.api.opening import resolve_store
from migrator.errors import ArchiveDamaged, NotFound, UsageError
from migrator.events import Tell
from migrator.events.watching import Observer, Progress, Stop
from migrator.settings.stores import Store
from migrator.text.arguments import argument
from migrator.text.units import counted, plural

__all__ = ["CheckReport", "Finding", "check_archive", "place_in"]


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


def check_archive(
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
        raise UsageError(
            f"{argument('quick')} reads every part's hash, {argument('sample')} some parts to the end; give one of them"
        )
    if sample is not None and not 0 < sample <= 1:
        raise UsageError(f"{argument('sample')}: give a share such as 5%, above 0 and up to 100%")
    if not 1 <= jobs <= 64:
        raise UsageError(f"{argument('jobs', jobs)}: give a number from 1 to 64")
    store = resolve_store(archive, "source", tell)
    with open_archive(store) as place, open_archive_contents(store) as contents:
        inventory = take_inventory(place)
        chosen = inventory.parts
        if sample is not None and chosen:
            chosen = _some(chosen, sample, chance or random.SystemRandom())
            inventory.notes.append(_what_it_proves(len(chosen), len(inventory.parts)))
        has_key = store.identity_file is not None
        deep = [] if quick else [each for each in chosen if has_key or each[0].encryption is None]
        if not quick and len(deep) < len(chosen):
            inventory.notes.append(_only_hashed(len(chosen) - len(deep)))
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


def _only_hashed(parts: int) -> str:
    which = plural(
        parts, "is encrypted, and only its hash was checked", "are encrypted, and only their hashes were checked"
    )
    return (
        f"{counted(parts, 'part')} {which}; give the file with the key with {argument('identity')} to read "
        f"{plural(parts, 'it', 'them')}"
    )


def _some(
    parts: Sequence[tuple[Manifest, PartNote]], share: float, chance: random.Random
) -> list[tuple[Manifest, PartNote]]:
    """A share of the parts, at least one, in their order."""
    count = max(1, round(len(parts) * share))
    return sorted(chance.sample(parts, count), key=lambda each: (each[0].backup, each[1].name))


def _what_it_proves(count: int, total: int) -> str:
    """What can be said after a sample without a finding."""
    if count == total:
        return f"{counted(total, 'part was', 'parts were')} read, which is all"
    share = 100 * (1 - 0.05 ** (1 / count))
    read = f"{count:,} of {counted(total, 'part')} {plural(count, 'was', 'were')} read"
    return (
        f"{read}, chosen at random: damage in more than {share:.1f} % of the parts would have been found "
        "with a probability of 95 %; damage in a single part would probably be missed"
    )


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
        stop.check()

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
