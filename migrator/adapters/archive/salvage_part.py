"""Saves what is whole in one part, and tells exactly what isn't.

A piece of a place and what a manifest says of it enter; documents leave by a call, what is missing as values. Each
frame is believed when its checksum holds; what the others held is known from the notes in the index, else from the
manifest, else not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from migrator.activations.document import Document, Form
from migrator.adapters.archive.check_part import document_of
from migrator.adapters.archive.findings import Missing, place_in
from migrator.adapters.archive.format import FrameNote
from migrator.adapters.archive.frames import Gap, Notes, WholeFrame, scan
from migrator.adapters.archive.manifest import PartNote
from migrator.adapters.archive.places import Place
from migrator.errors import AccessDenied, ArchiveDamaged


class _Saved(msgspec.Struct, frozen=True):
    """A frame that was saved, and what it holds."""

    offset: int
    end: int
    note: FrameNote


def save_part(
    place: Place,
    piece: str,
    size_bytes: int | None,
    note: PartNote | None,
    form: Form,
    take: Callable[[list[Document]], None],
) -> list[Missing]:
    """Give the documents of every whole frame to `take`; return what is missing.

    A part that was encrypted is whole or lost: where its end can't be proved, nothing of it is given out.

    `size_bytes` is None where the part isn't there, `note` where no manifest speaks of it.
    """
    if size_bytes is None:
        return [_of_part(piece, note, note.documents if note else None, "the part is missing")]
    try:
        size_bytes = place.content_bytes(piece, size_bytes)
    except (ArchiveDamaged, AccessDenied):  # where its first lines are damaged no key opens it any more
        return [_of_part(piece, note, note.documents if note else None, "the part can't be decrypted any more")]
    saved: list[_Saved] = []
    gaps: list[Gap] = []
    notes: tuple[FrameNote, ...] | None = None
    missing: list[Missing] = []
    for found in scan(place, piece, size_bytes):
        if isinstance(found, Gap):
            gaps.append(found)
        elif isinstance(found, Notes):
            notes = found.frames
        else:
            documents = _documents(piece, found, form, missing)
            if documents:
                saved.append(_Saved(found.offset, found.offset + found.size_bytes, _note_of(documents)))
                take(documents)
    if notes is not None:
        return missing + _by_notes(piece, notes, saved, gaps)
    return missing + _without_notes(piece, size_bytes, note, saved, gaps)


def _documents(piece: str, frame: WholeFrame, form: Form, missing: list[Missing]) -> list[Document]:
    """The documents of a frame; a line that is none, which no writer of ours makes, is reported as missing."""
    documents: list[Document] = []
    for at, line in enumerate(frame.lines, 1):
        document = document_of(line, form)
        if isinstance(document, Document):
            documents.append(document)
        else:
            what = f"line {at:,} of an intact frame: {document}"
            missing.append(
                Missing(piece=piece, what=what, documents=1, offset=frame.offset, size_bytes=frame.size_bytes)
            )
    return documents


def _note_of(documents: Sequence[Document]) -> FrameNote:
    starts = [document.start_ms for document in documents]
    namespaces = tuple(sorted({document.namespace for document in documents}))
    return FrameNote(len(documents), min(starts), max(starts), namespaces)


def _by_notes(piece: str, notes: Sequence[FrameNote], saved: Sequence[_Saved], gaps: Sequence[Gap]) -> list[Missing]:
    """The frames of which the index tells and that weren't found: both come in the order of the part."""
    missing: list[Missing] = []
    at = 0
    for number, note in enumerate(notes, 1):
        if at < len(saved) and saved[at].note == note:
            at += 1
            continue
        begins = saved[at - 1].end if at else 0
        gap = next((gap for gap in gaps if gap.offset >= begins), None)
        missing.append(
            Missing(
                piece=piece,
                what="the frame is damaged" if gap else "the frame is missing",
                documents=note.documents,
                frame=number,
                offset=gap.offset if gap else begins,
                size_bytes=gap.size_bytes if gap else None,
                first_ms=note.first_ms,
                last_ms=note.last_ms,
                namespaces=note.namespaces,
            )
        )
    return missing


def _without_notes(
    piece: str, size_bytes: int, note: PartNote | None, saved: Sequence[_Saved], gaps: Sequence[Gap]
) -> list[Missing]:
    """What is missing where the index tells nothing: the manifest knows how many, the gaps know where."""
    where = ", ".join(place_in(None, gap.offset, gap.size_bytes).rstrip(": ") for gap in gaps) or f"byte {size_bytes:,}"
    if note is not None:
        lost = note.documents - sum(each.note.documents for each in saved)
        what = f"the index is lost, and with it the content of {where}"
        return [_of_part(piece, note, lost, what)] if lost else []
    if not gaps:
        what = "the index is lost; whether more documents followed is unknown"
        return [Missing(piece=piece, what=what, offset=size_bytes)]
    what = "these bytes are not a complete frame, and neither index nor manifest says what they were"
    return [Missing(piece=piece, what=what, offset=gap.offset, size_bytes=gap.size_bytes) for gap in gaps]


def _of_part(piece: str, note: PartNote | None, documents: int | None, what: str) -> Missing:
    """What is missing of a part as a whole; the span and the namespaces are all that the manifest tells."""
    return Missing(
        piece=piece,
        what=what,
        documents=documents,
        first_ms=note.first_ms if note else None,
        last_ms=note.last_ms if note else None,
        namespaces=tuple(sorted(note.namespaces)) if note else (),
    )
