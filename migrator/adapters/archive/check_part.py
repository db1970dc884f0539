"""Whether a part is what its manifest and its own index say: read once, frame by frame, in the order of its bytes.

A part enters, findings leave. Quick: the hash of the file. Deep: also every frame is decompressed, every line read as
a document, its id hashed again, and counts, spans and namespaces compared with index and manifest.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator

from migrator.activations.document import Document, Form, read_document
from migrator.adapters.archive.findings import Finding
from migrator.adapters.archive.format import (
    HASH_BYTES,
    INDEX_MAGIC,
    SKIPPABLE,
    Frame,
    id_hash,
    read_frame,
    read_line,
    split_lines,
)
from migrator.adapters.archive.frames import Gap, Notes, scan
from migrator.adapters.archive.manifest import Manifest, PartNote
from migrator.adapters.archive.parts import Part
from migrator.adapters.archive.places import Place
from migrator.errors import ArchiveDamaged, MigratorError
from migrator.text.decoding import UNREADABLE
from migrator.text.units import counted

_PIECE_BYTES = 1 << 20

Tick = Callable[[int, int], None]
"""Told how many documents and bytes were read since; may raise to stop."""


class _Seen:
    """What the lines of a part come to."""

    def __init__(self) -> None:
        self.namespaces: Counter[str] = Counter()
        self.raw_bytes = 0
        self.first_ms: int | None = None
        self.last_ms: int | None = None

    def add(self, frame: Frame, first_ms: int, last_ms: int, namespaces: Counter[str]) -> None:
        self.raw_bytes += frame.raw_bytes
        self.namespaces += namespaces
        self.first_ms = first_ms if self.first_ms is None else min(self.first_ms, first_ms)
        self.last_ms = last_ms if self.last_ms is None else max(self.last_ms, last_ms)


def quick_check(place: Place, manifest: Manifest, note: PartNote, tick: Tick) -> list[Finding]:
    """The hash of a part that is there in its size."""
    name = manifest.folder + note.name
    sha256 = hashlib.sha256()
    tick(note.documents, 0)
    for piece in _pieces(place, name, 0, note.size_bytes):
        sha256.update(piece)
        tick(0, len(piece))
    return [] if sha256.hexdigest() == note.sha256 else [Finding(piece=name, what=_OTHER_HASH)]


_OTHER_HASH = "its SHA-256 doesn't match the manifest"


def deep_encrypted_check(
    place: Place, contents: Place, manifest: Manifest, note: PartNote, tick: Tick
) -> list[Finding]:
    """The hash of an encrypted part, and where that is right everything in it; `contents` is the place decrypted."""
    found = quick_check(place, manifest, note, lambda _, size_bytes: tick(0, size_bytes))
    if found:
        tick(note.documents, 0)
        return found
    return deep_check(contents, manifest, note, tick)


def deep_check(place: Place, manifest: Manifest, note: PartNote, tick: Tick) -> list[Finding]:
    """Everything in a part that is there in its size."""
    part = Part(place, manifest, note)
    size_bytes = place.content_bytes(part.name, note.size_bytes)
    try:
        index = part.index
    except ArchiveDamaged as error:
        wrong = [Finding(piece=part.name, what=_reason(error, place, part.name))]
        if manifest.encryption is None:
            wrong += quick_check(place, manifest, note, tick)
        return wrong + gaps(place, part.name, size_bytes)
    found: list[Finding] = []
    try:
        hashes: bytes | None = part.hashes()
    except ArchiveDamaged as error:
        hashes = None
        what = _reason(error, place, part.name)
        found.append(Finding(piece=part.name, what=what, offset=index.hashes_offset, size_bytes=index.hashes_bytes))
    sha256, seen, line = hashlib.sha256(), _Seen(), 0
    for number, frame in enumerate(index.frames, 1):
        data = place.read_range(part.name, frame.offset, frame.size_bytes)
        sha256.update(data)
        own = None if hashes is None else hashes[line * HASH_BYTES : (line + frame.note.documents) * HASH_BYTES]
        line += frame.note.documents
        try:
            _check_lines(split_lines(read_frame(data, frame)), frame, manifest.form, own, seen)
        except ArchiveDamaged as error:
            found.append(
                Finding(
                    piece=part.name, what=str(error), frame=number, offset=frame.offset, size_bytes=frame.size_bytes
                )
            )
        tick(frame.note.documents, frame.size_bytes)
    end = index.hashes_offset - SKIPPABLE.size
    rest = b"".join(_pieces(place, part.name, end, size_bytes - end))
    sha256.update(rest)
    whole = not found
    if SKIPPABLE.unpack_from(rest) != (INDEX_MAGIC, index.end - index.hashes_offset):
        found.append(
            Finding(piece=part.name, what="its index has no valid beginning", offset=end, size_bytes=SKIPPABLE.size)
        )
    if manifest.encryption is None and sha256.hexdigest() != note.sha256:
        found.append(Finding(piece=part.name, what=_OTHER_HASH))
    if whole:
        found += _compare(part.name, note, seen)
    return found


def _check_lines(lines: list[bytes], frame: Frame, form: Form, hashes: bytes | None, seen: _Seen) -> None:
    """Raises `ArchiveDamaged` with the first thing that is wrong."""
    namespaces: Counter[str] = Counter()
    starts: list[int] = []
    for at, line in enumerate(lines):
        document = document_of(line, form)
        if not isinstance(document, Document):
            raise ArchiveDamaged(f"line {at + 1:,}: {document}")
        if hashes is not None and id_hash(document.id) != hashes[at * HASH_BYTES : (at + 1) * HASH_BYTES]:
            raise ArchiveDamaged(f"line {at + 1:,}: the index has the hash of another id than {document.id}")
        namespaces[document.namespace] += 1
        starts.append(document.start_ms)
    note = frame.note
    if (min(starts), max(starts)) != (note.first_ms, note.last_ms):
        raise ArchiveDamaged("the start times of its documents don't match the index")
    if tuple(sorted(namespaces)) != note.namespaces:
        raise ArchiveDamaged("the namespaces of its documents don't match the index")
    seen.add(frame, min(starts), max(starts), namespaces)


def document_of(line: bytes, form: Form) -> Document | str:
    """The document of a line, or why it is none, as the end of a sentence."""
    try:
        id, body, index = read_line(line, form)
    except UNREADABLE as error:
        return f"it is not a document: {error}"
    document = read_document(id, body, form, index=index)
    if document is None:
        return "it is not an activation"
    return document if isinstance(document, Document) else f"it is not an activation: {document.reason}"


def _compare(name: str, note: PartNote, seen: _Seen) -> list[Finding]:
    """What the manifest says of a part against what its frames hold."""
    told = {
        "namespaces": (dict(note.namespaces), dict(seen.namespaces)),
        "bytes of documents": (note.raw_bytes, seen.raw_bytes),
        "start times": ((note.first_ms, note.last_ms), (seen.first_ms, seen.last_ms)),
    }
    return [
        Finding(piece=name, what=f"its {what} don't match the manifest")
        for what, (said, found) in told.items()
        if said != found
    ]


def gaps(place: Place, name: str, size_bytes: int) -> list[Finding]:
    """Where a part whose index can't be used isn't whole."""
    found: list[Finding] = []
    frames, has_index = 0, False
    for each in scan(place, name, size_bytes):
        if isinstance(each, Gap):
            before = counted(frames, "complete frame precedes", "complete frames precede")
            what = f"these bytes are not a complete frame; {before} them"
            found.append(Finding(piece=name, what=what, offset=each.offset, size_bytes=each.size_bytes))
        elif isinstance(each, Notes):
            has_index = True
        else:
            frames += 1
    if not found and not has_index:
        found.append(Finding(piece=name, what=f"it ends after {counted(frames, 'complete frame')}", offset=size_bytes))
    return found


def _pieces(place: Place, name: str, offset: int, size_bytes: int) -> Iterator[bytes]:
    end = offset + size_bytes
    while offset < end:
        yield place.read_range(name, offset, min(_PIECE_BYTES, end - offset))
        offset += _PIECE_BYTES


def _reason(error: MigratorError, place: Place, name: str) -> str:
    """The end of a message that names the part already."""
    return str(error).removeprefix(f"{place.printed}: {name}: ")
