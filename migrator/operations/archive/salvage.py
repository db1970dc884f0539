"""Saves what is whole in a damaged archive: every document of every whole frame, into a new archive.

A damaged archive enters; a new one, with the same backups and chains, and an exact list of what is missing leave.
Nothing in the damaged archive is trusted that a checksum doesn't prove: a manifest that can't be read is done
without, frames are found by themselves where the index of a part is gone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

import msgspec

from migrator.activations.accounts import Counts
from migrator.activations.document import Document, Form
from migrator.activations.selection import Selection
from migrator.adapters.archive import ArchiveWriter, open_writer
from migrator.adapters.archive.check_part import document_of
from migrator.adapters.archive.contents import open_archive, open_archive_contents
from migrator.adapters.archive.encrypted import AGE
from migrator.adapters.archive.findings import Missing
from migrator.adapters.archive.frames import WholeFrame, scan
from migrator.adapters.archive.inventory import archive_of, sums_of
from migrator.adapters.archive.manifest import (
    BACKUPS,
    MANIFEST,
    SUMS,
    UNFINISHED,
    Manifest,
    PartNote,
    folder_of,
    id_ms,
    is_own,
    is_part_name,
    read_manifest,
)
from migrator.adapters.archive.order import in_order
from migrator.adapters.archive.places import Place
from migrator.adapters.archive.salvage_part import save_part
from migrator.adapters.archive.unpublished import Unpublished
from migrator.adapters.base import Completion, Description, Token
from migrator.api.opening import resolve_store
from migrator.errors import AccessDenied, UsageError
from migrator.events import RepairDiscarded, Tell
from migrator.events.watching import Observer, Progress, Stop
from migrator.settings.stores import Store
from migrator.text.arguments import argument
from migrator.text.units import counted

__all__ = ["Missing", "SalvageReport", "Saved", "salvage_archive"]


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """A backup that was saved, as far as it was whole."""

    backup: str  # in the damaged archive
    saved_as: str  # in the new one
    documents: int
    missing: tuple[Missing, ...]


class SalvageReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was saved, and what is missing."""

    archive: str
    out: str
    backups: tuple[Saved, ...]
    notes: tuple[str, ...]

    @property
    def documents(self) -> int:
        return sum(each.documents for each in self.backups)

    @property
    def missing(self) -> tuple[Missing, ...]:
        return tuple(missing for each in self.backups for missing in each.missing)


class _Remains(msgspec.Struct, frozen=True, kw_only=True):
    """What is left of a backup."""

    backup: str
    manifest: Manifest | None
    parts: Mapping[str, int]  # the sizes of those that are there


def salvage_archive(
    archive: Store | str,
    out: Store | str,
    *,
    stop: Stop | None = None,
    observe: Observer = lambda _: None,
    tell: Tell = lambda _: None,
) -> SalvageReport:
    """Save every document of every whole frame of `archive` into `out`, which must be new or empty.

    Backups keep their times, their order and their chains, so that any state can be restored as far as it was saved.
    Unfinished backups are left out. `out` becomes an archive when all of it is there: what an interruption leaves is
    none, and the same call discards it and starts over. The next backup into the new archive is a full one. What is
    encrypted is read with the key of `archive`, and encrypted again where `out` has recipients. Raises `UsageError`
    where `out` isn't empty, `AccessDenied` where a key is missing, else what the places raise.
    """
    source, target = resolve_store(archive, "source", tell), resolve_store(out, "target", tell)
    if source.location.identity == target.location.identity:
        raise UsageError(
            f"{source.location.printed}: {argument('repair')} saves to a new archive; give another location for it"
        )
    with open_archive_contents(source) as place, open_archive(target) as out_place:
        new = Unpublished(out_place)
        if new.begin():
            tell(RepairDiscarded(new.printed))
        remains, notes = _find_remains(place)
        encrypted = [
            folder_of(each.backup) + name for each in remains for name in each.parts if name.endswith(f".{AGE}")
        ]
        _unlock(place, encrypted)
        if encrypted and not target.encrypt_to:
            notes.append(f"{new.printed} isn't encrypted as {place.printed} is; keep it where nobody else can read it")
        run = _Salvage(place, target, new, stop or Stop(), observe)
        run.progress.documents = sum(each.manifest.documents for each in remains if each.manifest is not None)
        try:
            saved = [run.save(each, remains, notes) for each in remains]
        finally:
            run.close()
        new.publish()
        return SalvageReport(
            archive=place.printed,
            out=new.printed,
            backups=tuple(each for each in saved if each is not None),
            notes=tuple(notes),
        )


def _unlock(place: Place, pieces: Sequence[str]) -> None:
    """Raise `AccessDenied` where the key opens none of some encrypted pieces; one of them may be damaged."""
    refusal: AccessDenied | None = None
    for piece in pieces:
        try:
            return place.unlock(piece)
        except AccessDenied as error:
            refusal = refusal or error
    if refusal is not None:
        raise refusal
    return None


def _find_remains(place: Place) -> tuple[list[_Remains], list[str]]:
    """What is left of each backup, the oldest first, and what is to be told of those that are left out."""
    folders: dict[str, dict[str, int]] = {}
    for name, size in place.names(BACKUPS):
        backup, _, piece = name.removeprefix(BACKUPS).partition("/")
        if is_own(name) and name != UNFINISHED:
            folders.setdefault(backup, {})[piece] = size
    remains: list[_Remains] = []
    manifests: list[Manifest] = []
    notes: list[str] = []
    for backup, sizes in sorted(folders.items()):
        if MANIFEST not in sizes and UNFINISHED in sizes:
            notes.append(f"backup {backup} is unfinished and was skipped")
            continue
        manifest = None
        archive = archive_of(place, backup)
        if archive is not None:
            data = place.read(folder_of(backup) + MANIFEST)
            manifest = read_manifest(data, "", archive=archive, backup=backup)
            if SUMS not in sizes or place.read(folder_of(backup) + SUMS) != sums_of(manifest, data):
                notes.append(f"backup {backup}: its manifest can't be verified; its times may be wrong")
            manifests.append(manifest)
        parts = {name: size for name, size in sizes.items() if is_part_name(name)}
        remains.append(_Remains(backup=backup, manifest=manifest, parts=parts))
    # What continues another comes after it, also where the clock was wrong; without a manifest the id is all there is.
    order = {manifest.backup: number for number, manifest in enumerate(in_order(manifests), 1)}
    before = 0
    places: dict[str, tuple[int, int]] = {}
    for each in remains:
        before = max(before, order.get(each.backup, 0))
        places[each.backup] = (order.get(each.backup, before), each.backup not in order)
    return sorted(remains, key=lambda each: (places[each.backup], each.backup)), notes


class _Salvage:
    """One salvage: the backups that were saved so far, by the ids that they had."""

    def __init__(self, place: Place, target: Store, new: Place, stop: Stop, observe: Observer) -> None:
        self._place = place
        self._target = target
        self._new = new
        self._stop = stop
        self._observe = observe
        self._saved: dict[str, Manifest] = {}
        self._writer: ArchiveWriter | None = None
        self.progress = Progress()
        self.progress.phase = "saving"

    def save(self, remains: _Remains, all: Sequence[_Remains], notes: list[str]) -> Saved | None:
        """Save one backup; None where nothing tells what it was."""
        manifest = remains.manifest
        form = manifest.form if manifest is not None else self._form_of(remains)
        if form is None:
            notes.append(f"backup {remains.backup}: its manifest and every document of it are lost")
            return None
        parent, like = self._parent(remains, form, all, notes)
        began = id_ms(remains.backup)
        # A saved backup has the times of the one that it was.
        moments = iter([began / 1000, (manifest.ended_ms if manifest is not None else began) / 1000])
        writer = self._writer = open_writer(self._target, place=self._new, clock=lambda: next(moments))
        writer.continue_from(parent)
        writer.prepare()
        namespaces: Counter[str] = Counter()
        receipts: list[tuple[int, Token]] = []
        missing: list[Missing] = []

        def close_part(layer: int) -> None:
            if (receipt := writer.flush()) is not None:
                receipts.append((layer, receipt))

        def take(layer: int, documents: list[Document]) -> None:
            writer.write(documents, replace=False)
            namespaces.update([document.namespace for document in documents])
            self.progress.add({"": Counts(read=len(documents), size_bytes=sum(each.size_bytes for each in documents))})
            self._observe(self.progress)
            self._stop.check()
            if writer.due():
                close_part(layer)

        for layer, name, note in _parts(remains):
            piece = folder_of(remains.backup) + name
            missing += save_part(self._place, piece, remains.parts.get(name), note, form, partial(take, layer))
            close_part(layer)
        lost = sum(each.documents or 0 for each in missing)
        are = counted(lost, "document is", "documents are")
        warning = f"saved from backup {remains.backup} of {self._place.printed}; {are} missing"
        writer.finish(self._completion(remains, form, like, receipts, namespaces, warning))
        self.close()
        assert writer.manifest is not None  # it is finished
        self._saved[remains.backup] = writer.manifest
        return Saved(
            backup=remains.backup,
            saved_as=writer.backup,
            documents=sum(namespaces.values()),
            missing=tuple(missing),
        )

    def _completion(
        self,
        remains: _Remains,
        form: Form,
        like: Manifest | None,
        receipts: Sequence[tuple[int, Token]],
        namespaces: Mapping[str, int],
        warning: str,
    ) -> Completion:
        """What the manifest of a saved backup says: what its own said, as far as there is one."""
        was = remains.manifest
        return Completion(
            source=Description(
                location=like.source.location if like is not None else self._place.printed,
                product=like.source.product if like is not None else "unknown",
                version=like.source.version if like is not None else "",
                identity=None,  # so that no backup continues where something is missing
            ),
            form=form,
            selection=like.selection if like is not None else Selection(),
            snapshot=None,
            snapshot_s=was.snapshot_ms / 1000 if was and was.snapshot_ms is not None else None,
            began_s=(was.began_ms if was is not None else id_ms(remains.backup)) / 1000,
            receipts=receipts,
            counts={name: msgspec.to_builtins(Counts(read=count, written=count)) for name, count in namespaces.items()},
            deleted=was.deleted if was is not None else 0,
            warnings=[*(was.warnings if was is not None else ()), warning],
            unread=was.unread if was is not None else 0,
        )

    def close(self) -> None:
        """Drop what of a backup isn't durable; no error where nothing is left."""
        if self._writer is not None:
            self._writer.close()

    def _parent(
        self, remains: _Remains, form: Form, all: Sequence[_Remains], notes: list[str]
    ) -> tuple[str | None, Manifest | None]:
        """What a saved backup continues in the new archive, and a manifest that tells of its source.

        Where the link is lost it continues the newest one before it of the same source: a state then holds rather
        too much than too little.
        """
        manifest = remains.manifest
        if manifest is not None:
            if manifest.parent is None:
                return None, manifest
            if (saved := self._saved.get(manifest.parent)) is not None and saved.form is form:
                return saved.backup, manifest
            like = manifest
        else:
            children = [each.manifest for each in all if each.manifest and each.manifest.parent == remains.backup]
            older = [self._saved[each] for each in self._saved if self._saved[each].form is form]
            if not children and not older:
                notes.append(f"backup {remains.backup}: its manifest is lost; it was saved as a full one")
                return None, None
            like = children[0] if children else older[-1]
        before = [saved for saved in self._saved.values() if saved.form is form and saved.line == like.line]
        parent = before[-1].backup if before else None
        lost = "its manifest is lost" if manifest is None else f"backup {manifest.parent}, which it continues, is lost"
        became = f"saved as continuing {parent}" if parent else "saved as a full one"
        notes.append(f"backup {remains.backup}: {lost}; it was {became}")
        return parent, like

    def _form_of(self, remains: _Remains) -> Form | None:
        """The form of a backup without a manifest, from its first whole line."""
        for _, name, _ in _parts(remains):
            for found in scan(self._place, folder_of(remains.backup) + name, remains.parts[name]):
                if isinstance(found, WholeFrame):
                    in_elasticsearch = document_of(found.lines[0], Form.ELASTICSEARCH)
                    return Form.ELASTICSEARCH if isinstance(in_elasticsearch, Document) else Form.COUCHDB
        return None


def _parts(remains: _Remains) -> list[tuple[int, str, PartNote | None]]:
    """The parts of a backup from the oldest on: layer, name, and what the manifest says of it.

    Without a manifest the numbers tell the order, since a part of a later round has a higher one. A part that the
    manifest doesn't list is taken as the oldest.
    """
    if remains.manifest is None:
        return [(layer, name, None) for layer, name in enumerate(sorted(remains.parts))]
    listed = sorted(remains.manifest.parts, key=lambda part: (part.layer, part.name))
    unlisted = sorted(remains.parts.keys() - {part.name for part in listed})
    return [*((0, name, None) for name in unlisted), *((part.layer, part.name, part) for part in listed)]
