"""A file as it is read: from where a cursor stands to the next line, element or value, and what that holds.

A `Cursor` enters, entries and rejections leave, and gathered to a page a `Batch`. What ends inside of a document is
`ArchiveDamaged` with the byte.
"""

from __future__ import annotations

from itertools import groupby
from typing import NamedTuple

import msgspec

from migrator.activations.document import Form, Rejection
from migrator.activations.selection import Selection
from migrator.adapters.base import Batch, Token
from migrator.adapters.files.compression import BEGINNING, Chunk
from migrator.adapters.files.formats import (
    RESUMED,
    Entry,
    Layout,
    Shape,
    SourcelessError,
    action_of,
    elements_of,
    entry_of,
    flat,
    is_about_dump,
    is_json,
    is_note,
    packet_of,
    winners,
)
from migrator.adapters.files.lines import BOM, Cursor, Line, TooLong, Torn
from migrator.adapters.shared.paging import Page
from migrator.errors import ArchiveDamaged

_MOST_DOCUMENTS = 5000  # in a page
_MOST_LINE_BYTES = 256_000_000  # of a document; no store takes one of half that size


class Taken(NamedTuple):
    """What a line, or an element of a long array, gave."""

    entries: list[Entry] = []  # noqa: RUF012  never changed
    rejections: list[Rejection] = []  # noqa: RUF012  as above
    size_bytes: int = 0
    array: int | None = None  # the array they are elements of, by where it begins


class Pass:
    """Reading goes on from where a cursor stands."""

    def __init__(self, shape: Shape, *, is_plain: bool) -> None:
        self._shape = shape
        self._of_what = "" if is_plain else " of the text"
        self.inside = False  # an array, whose elements are taken one by one
        self._array = -1
        self._is_across = shape.layout is Layout.ACROSS
        self._is_of_lines = shape.layout is Layout.LINES

    def next(self, cursor: Cursor, most_bytes: int) -> Taken | None:
        """The next line, the next element of a line beyond `most_bytes`, or the next value; None at the end."""
        if self._is_across:
            return self._value(cursor)
        if self.inside:
            return self._element(cursor)
        cursor.skip_blank()
        at = cursor.at
        try:
            line = cursor.line(most_bytes)
        except TooLong:
            if self._enter(cursor, at):
                return Taken()
            line = self._long_line(cursor, at)
        if line is None:
            return None
        text = line.text.strip()
        if self._is_of_lines and text.startswith(b"{") and text.endswith(b"}"):  # what nearly every line is
            return Taken() if is_note(text) else self._document(line, text, at)
        if text.startswith(BOM):
            text = text.removeprefix(BOM).lstrip()
        if text.startswith(b"\0") or text.endswith(b"\0"):
            return self._with_hole(line, text, at)
        if text.startswith(b"[") and self._shape.layout is Layout.ARRAYS:
            elements = elements_of(text)
            if elements is None:
                # A document in it that can't be read, or the line was torn: its elements are taken one by one.
                cursor.unread(line)
                self._enter(cursor, at)
                return Taken()
            return self._all(elements, at, len(text))
        if not text or is_note(text):
            return Taken()
        if self._shape.layout is Layout.PACKETS:
            return self._packet(line, text, at)
        if self._shape.layout is Layout.ACTIONS and (action := action_of(text)) is not None:
            return self._done(cursor, text, at, *action)
        return self._document(line, text, at)

    def _long_line(self, cursor: Cursor, at: int) -> Line | None:
        try:
            return cursor.line(_MOST_LINE_BYTES)
        except TooLong:
            raise ArchiveDamaged(f"the line {self._at(at)} is longer than any document can be") from None

    def _document(self, line: Line, text: bytes, at: int) -> Taken:
        entry = self._entry(text, at)
        if isinstance(entry, Entry):
            return Taken([entry], [], len(text))
        if not line.whole and not is_json(text):
            raise ArchiveDamaged(f"the last line is cut off; it begins {self._at(at)}")
        if text.endswith(RESUMED) and self._shape.layout is Layout.ARRAYS:
            return Taken()
        return Taken([], [entry], len(text))

    def _with_hole(self, line: Line, text: bytes, at: int) -> Taken:
        """A line in which NUL bytes stand for a piece that was never written, as after a crash of the machine."""
        document = text.strip(b"\0 \t\r\n")
        count = text.count(b"\0")
        if not document and not line.whole:
            raise ArchiveDamaged(f"the file ends with {count:,} NUL bytes, {self._at(at)}, where a piece is missing")
        hole = self._rejection(b"", at, f"{count:,} NUL bytes here, where a piece of the file is missing")
        taken = self._document(line, document, at + text.find(document)) if document else Taken()
        return Taken(taken.entries, [hole, *taken.rejections], len(text))

    # -- arrays -------------------------------------------------------------------------------------------------

    def _all(self, elements: list[bytes], at: int, size_bytes: int) -> Taken:
        """The elements of an array that begins at an offset."""
        found = [self._entry(element, at) for element in elements]
        entries = [each for each in found if isinstance(each, Entry)]
        rejections = [each for each in found if isinstance(each, Rejection)]
        return Taken(entries, rejections, size_bytes, self._revisions_in(at))

    def _revisions_in(self, at: int) -> int | None:
        """An array that may hold several revisions of a document; those of hits don't."""
        return at if self._shape.form is Form.COUCHDB else None

    def _enter(self, cursor: Cursor, at: int) -> bool:
        self.inside = self._shape.layout is Layout.ARRAYS and cursor.enter_array()
        self._array = at
        return self.inside

    def _element(self, cursor: Cursor) -> Taken:
        at = cursor.at
        try:
            element = cursor.element()
        except Torn as torn:
            if torn.at_end:
                raise ArchiveDamaged(f"the last line is cut off; its last document begins {self._at(at)}") from None
            self.inside = False
            if torn.rest.endswith(RESUMED):
                return Taken()  # couchbackup writes the documents of this line again
            return Taken([], [self._rejection(torn.rest, at, "the line ends inside this document")])
        if element is None:
            self.inside = False
            return Taken()
        entry = self._entry(element, at)
        if isinstance(entry, Rejection):
            return Taken([], [entry], len(element))
        return Taken([entry], [], len(element), self._revisions_in(self._array))

    def _packet(self, line: Line, text: bytes, at: int) -> Taken:
        """A line of pouchdb-dump."""
        array = packet_of(text)
        if array is None:
            return Taken() if is_about_dump(text) else self._document(line, text, at)
        elements = elements_of(array[:-1]) if array.endswith(b"}") else None
        if elements is not None:
            return self._all(elements, at, len(text))
        if not line.whole:
            raise ArchiveDamaged(f"the last line is cut off; it begins {self._at(at)}")
        elements = []
        cursor = Cursor(iter([Chunk(array, BEGINNING)]))
        cursor.skip_blank()
        cursor.enter_array()
        try:
            while (element := cursor.element()) is not None:
                elements.append(element)
        except Torn as torn:
            elements.append(torn.rest)
        return self._all(elements, at, len(text))

    # -- bulk requests, and values over several lines -----------------------------------------------------------

    def _done(self, cursor: Cursor, text: bytes, at: int, verb: str, id: str | None, index: str | None) -> Taken:
        """What a line of a bulk request asks for, with the document of the line after it."""
        if verb == "delete":
            return Taken([Entry(id or "", b"", index, deleted=True)], [], len(text))
        begin = cursor.at
        line = self._long_line(cursor, begin)
        document = line.text.strip() if line is not None else b""
        if line is None or not document:
            raise ArchiveDamaged(f"cut off: no document follows what is to be done {self._at(at)}")
        if verb == "update":
            reason = "a bulk request updates part of this document; the complete document isn't in the file"
            return Taken([], [self._rejection(document, begin, reason)], len(document))
        taken = self._document(line, document, begin)
        entries = [msgspec.structs.replace(each, id=id or each.id, index=index or each.index) for each in taken.entries]
        return Taken(entries, taken.rejections, len(text) + len(document))

    def _value(self, cursor: Cursor) -> Taken | None:
        at = cursor.at
        try:
            text = cursor.value(inside=self.inside, most_bytes=_MOST_LINE_BYTES)
        except TooLong:
            raise ArchiveDamaged(f"the value {self._at(at)} is longer than any document can be") from None
        except Torn:
            raise ArchiveDamaged(f"cut off: the last document begins {self._at(at)}") from None
        if text is None:
            if self.inside:
                raise ArchiveDamaged("cut off: the array of documents has no end")
            return None
        if text in (b"[", b"]"):
            self.inside = text == b"["
            return Taken()
        if text == b",":
            return Taken()
        if not text.strip(b"\0"):
            raise ArchiveDamaged(f"there are NUL bytes {self._at(at)}, where a piece of the file is missing")
        entry = self._entry(flat(text), at)
        return Taken([entry], [], len(text)) if isinstance(entry, Entry) else Taken([], [entry], len(text))

    # -- documents ----------------------------------------------------------------------------------------------

    def _entry(self, text: bytes, at: int) -> Entry | Rejection:
        try:
            entry = entry_of(text, self._shape.form)
        except SourcelessError as hit:
            reason = f"{self._at(at)}: {hit}"
            return Rejection(hit.id, reason, text, hit.id.partition("/")[0], self._shape.form, hit.index)
        except ValueError as error:
            return self._rejection(text, at, f"is not JSON: {error}")
        return entry if entry.id else msgspec.structs.replace(entry, id=_nameless(at))

    def _rejection(self, text: bytes, at: int, reason: str) -> Rejection:
        return Rejection(_nameless(at), f"{self._at(at)}: {reason}", text, form=self._shape.form)

    def _at(self, offset: int) -> str:
        return f"at byte {offset:,}{self._of_what}"


class Gathered:
    """What was taken, until it is a page."""

    def __init__(self, form: Form, selection: Selection) -> None:
        self._form = form
        self._selection = selection
        self._clear()

    def _clear(self) -> None:
        self._entries: list[tuple[int | None, Entry]] = []
        self._rejections: list[Rejection] = []
        self._size_bytes = 0

    @property
    def is_empty(self) -> bool:
        return not (self._entries or self._rejections)

    def is_full(self, page_bytes: int) -> bool:
        return self._size_bytes >= page_bytes or len(self._entries) >= _MOST_DOCUMENTS

    def continues(self, taken: Taken) -> bool:
        """Whether what comes is another revision of the last document: they stay in one page."""
        if not (self._entries and taken.entries and taken.array is not None):
            return False
        array, last = self._entries[-1]
        return array == taken.array and last.id == taken.entries[0].id

    def add(self, taken: Taken) -> None:
        self._entries += [(taken.array, entry) for entry in taken.entries]
        self._rejections += taken.rejections
        self._size_bytes += taken.size_bytes

    def batch(self, position: Token) -> Batch:
        """What was added, each document once; then the page is empty."""
        page = Page(self._form, self._selection)
        entries: list[Entry] = []
        for array, some in groupby(self._entries, key=lambda each: each[0]):
            group = [entry for _, entry in some]
            if array is not None:
                group, beaten = winners(group)
                for entry in beaten:
                    page.filter(_namespace(entry))
            entries += group
        last = {entry.id: number for number, entry in enumerate(entries) if not entry.deleted}
        for number, entry in enumerate(entries):
            if entry.deleted:
                page.delete()
            elif last[entry.id] != number:
                page.filter(_namespace(entry))
            else:
                page.take(entry.id, entry.body, index=entry.index, remarks=entry.remarks)
        for rejection in self._rejections:
            page.reject(rejection)
        batch = page.batch(position, size_bytes=self._size_bytes)
        self._clear()
        return batch


def _nameless(at: int) -> str:
    """An id for what has none; it is in no namespace."""
    return f"/byte-{at}"


def _namespace(entry: Entry) -> str:
    return entry.id.partition("/")[0]
