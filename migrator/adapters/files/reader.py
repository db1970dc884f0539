"""Reads one file of documents: elasticdump's, couchbackup's, or lines of either form; plain, gzip or Zstandard.

A file is one slice, read from its beginning to its end; a position is where in the text reading goes on, with a frame
from which it can be decompressed. What of the file can be read is given, whatever is wrong behind it: a file that is
damaged or cut off ends with `ArchiveDamaged`, after everything before. A plain file that was cut exactly between two
lines can't be told from a whole one.

A later line is newer: of two versions of a document the last one counts, as in a file that was written while its source
changed, or where couchbackup went on after an interruption.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import groupby
from typing import NamedTuple

import msgspec

from migrator.adapters.base import Abilities, Batch, Description, Plan, Slice, Token
from migrator.adapters.files.compression import Compression, Frame
from migrator.adapters.files.formats import RESUMED, Entry, Shape, elements_of, entry_of, is_note, shape_of, winners
from migrator.adapters.files.input import Input
from migrator.adapters.files.lines import Cursor, Line, TooLong, Torn
from migrator.adapters.pages import Page
from migrator.adapters.scanning import fetch_by_reading
from migrator.errors import ArchiveDamaged
from migrator.records import Form, Rejection, Selection

_MOST_DOCUMENTS = 5000  # in a page
_MOST_LINE_BYTES = 256_000_000  # of a document; no store takes one of half that size
_LOOKED_AT_LINES = 200
_LOOKED_AT_BYTES = 16_000_000


class _Position(msgspec.Struct, frozen=True):
    """Where reading goes on."""

    at: int = 0  # in the text
    frame_offset: int = 0  # of a frame that begins there or before, in the file
    frame_raw: int = 0  # and in the text
    inside: bool = False  # an array, between two of its elements

    @property
    def frame(self) -> Frame:
        return Frame(self.frame_offset, self.frame_raw)


class FileReader:
    """Reads the documents of a file, or of standard input."""

    abilities = Abilities(catches_up=True)

    def __init__(self, input: Input, *, form: Form | None, page_bytes: int) -> None:
        self._input = input
        self._asked = form
        self._page_bytes = page_bytes

    @cached_property
    def _shape(self) -> Shape:
        with self._input.peeked() as chunks:
            return shape_of(_first_lines(Cursor(chunks)), self._asked, self._input.printed)

    @property
    def form(self) -> Form:
        return self._shape.form

    def describe(self) -> Description:
        name, _, version = self._shape.name.partition(" ")
        return Description(
            location=self._input.printed,
            product=f"file of {name}",
            version=f"{version} {self._input.compression}".strip(),
            identity={"file": self._input.printed},
        )

    # -- plans --------------------------------------------------------------------------------------------------

    def plan(self, selection: Selection, *, slice_documents: int) -> Plan:  # noqa: ARG002  a file is read in order
        fingerprint = self._input.fingerprint()
        whole = Slice(key=self._input.printed, spec={"fingerprint": fingerprint}, replaces=True)
        return Plan(slices=(whole,), snapshot=fingerprint)

    def catch_up(self, snapshot: Token, selection: Selection, *, slice_documents: int) -> Plan:
        """Nothing, unless the file is another than it was; then it is read anew, as a whole."""
        if self._input.fingerprint() == snapshot:
            return Plan(slices=(), snapshot=snapshot)
        return self.plan(selection, slice_documents=slice_documents)

    def plan_verification(self, selection: Selection, *, slice_documents: int) -> Plan:
        return self.plan(selection, slice_documents=slice_documents)

    def census(self, selection: Selection, snapshot: Token) -> int | None:  # noqa: ARG002  the contract's
        return None

    def count(self, selection: Selection) -> int | None:  # noqa: ARG002  only reading all of it would tell
        return None

    def fetch(self, ids: Sequence[str], after: Token, selection: Selection) -> Iterator[Batch]:
        return fetch_by_reading(self, ids, after, selection)

    # -- reading ------------------------------------------------------------------------------------------------

    def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
        self._input.check_same(slice.spec["fingerprint"])
        begin = _Position() if after is None else msgspec.convert(after, _Position)
        pass_ = _Pass(self._shape, selection, is_plain=self._input.compression is Compression.PLAIN)
        position, damage = begin, None
        with self._input.opened(begin.frame) as chunks:
            try:
                cursor = Cursor(chunks, begin.frame, begin.at)
                pass_.inside = begin.inside
                while (taken := pass_.next(cursor, 4 * self._page_bytes)) is not None:
                    if pass_.is_full(self._page_bytes) and not pass_.continues(taken):
                        yield pass_.batch(msgspec.to_builtins(position))
                    pass_.add(taken)
                    position = _Position(cursor.at, *cursor.frame, pass_.inside)
            except ArchiveDamaged as error:
                damage = error
        if not pass_.is_empty:
            yield pass_.batch(msgspec.to_builtins(position))
        if damage is not None:
            raise ArchiveDamaged(f"{self._input.printed}: {damage}; what stands before was carried over") from damage

    def close(self) -> None:
        self._input.close()


def _first_lines(cursor: Cursor) -> Iterator[bytes]:
    """Lines from which the shape of a file can be told; what is damaged is seen when it is read."""
    for _ in range(_LOOKED_AT_LINES):
        try:
            cursor.skip_blank()
            line = cursor.line(_LOOKED_AT_BYTES)
        except TooLong:
            if cursor.enter_array():
                yield b"["
            return
        except ArchiveDamaged:
            return
        if line is None:
            return
        text = line.text.strip()
        if text and (line.whole or text.startswith(b"[") or text.endswith(b"}")):
            yield text


class _Taken(NamedTuple):
    """What a line, or an element of a long array, gave."""

    entries: list[Entry] = []  # noqa: RUF012  never changed
    rejections: list[Rejection] = []  # noqa: RUF012  as above
    size_bytes: int = 0
    array: int | None = None  # the array they are elements of, by where it begins


class _Pass:
    """A file as it is read: where reading stands in it, and the page in the making."""

    def __init__(self, shape: Shape, selection: Selection, *, is_plain: bool) -> None:
        self._shape = shape
        self._selection = selection
        self._of_what = "" if is_plain else " of the text"
        self.inside = False  # a long array, whose elements are taken one by one
        self._array = -1
        self._clear()

    # -- lines and elements -------------------------------------------------------------------------------------

    def next(self, cursor: Cursor, most_bytes: int) -> _Taken | None:
        """The next line, or the next element of a line beyond `most_bytes`; None at the end of the file."""
        if self.inside:
            return self._element(cursor)
        cursor.skip_blank()
        at = cursor.at
        try:
            line = cursor.line(most_bytes)
        except TooLong:
            if self._enter(cursor, at):
                return _Taken()
            try:
                line = cursor.line(_MOST_LINE_BYTES)
            except TooLong:
                raise ArchiveDamaged(f"the line {self._at(at)} is longer than any document can be") from None
        if line is None:
            return None
        text = line.text.strip()
        if text.startswith(b"[") and self._shape.is_couchbackup:
            elements = elements_of(text)
            if elements is None:
                # A document in it that can't be read, or the line was torn: its elements are taken one by one.
                cursor.unread(line)
                self._enter(cursor, at)
                return _Taken()
            found = [self._entry(element, at) for element in elements]
            entries = [each for each in found if isinstance(each, Entry)]
            return _Taken(entries, [each for each in found if isinstance(each, Rejection)], len(text), at)
        if not text or is_note(text):
            return _Taken()
        return self._document(line, text, at)

    def _enter(self, cursor: Cursor, at: int) -> bool:
        self.inside = self._shape.is_couchbackup and cursor.enter_array()
        self._array = at
        return self.inside

    def _element(self, cursor: Cursor) -> _Taken:
        at = cursor.at
        try:
            element = cursor.element()
        except Torn as torn:
            if torn.at_end:
                raise ArchiveDamaged(f"the last line is cut off; its last document begins {self._at(at)}") from None
            self.inside = False
            if torn.rest.endswith(RESUMED):
                return _Taken()  # couchbackup writes the documents of this line again
            return _Taken([], [self._rejection(torn.rest, at, "the line ends inside this document")])
        if element is None:
            self.inside = False
            return _Taken()
        entry = self._entry(element, at)
        if isinstance(entry, Rejection):
            return _Taken([], [entry], len(element))
        return _Taken([entry], [], len(element), self._array)

    def _document(self, line: Line, text: bytes, at: int) -> _Taken:
        entry = self._entry(text, at)
        if isinstance(entry, Entry):
            return _Taken([entry], [], len(text))
        if not line.whole:
            raise ArchiveDamaged(f"the last line is cut off; it begins {self._at(at)}")
        if text.endswith(RESUMED) and self._shape.is_couchbackup:
            return _Taken()
        return _Taken([], [entry], len(text))

    def _entry(self, text: bytes, at: int) -> Entry | Rejection:
        try:
            entry = entry_of(text, self._shape.form)
        except ValueError as error:
            return self._rejection(text, at, f"is not JSON: {error}")
        if not (entry.id.isascii() or _is_text(entry.id)):
            return self._rejection(text, at, "its _id holds a lone surrogate (\\ud800 to \\udfff), which is no text")
        return entry if entry.id else msgspec.structs.replace(entry, id=_nameless(at))

    def _rejection(self, text: bytes, at: int, reason: str) -> Rejection:
        return Rejection(_nameless(at), f"{self._at(at)}: {reason}", text, form=self._shape.form)

    def _at(self, offset: int) -> str:
        return f"at byte {offset:,}{self._of_what}"

    # -- the page -----------------------------------------------------------------------------------------------

    def _clear(self) -> None:
        self._entries: list[tuple[int | None, Entry]] = []
        self._rejections: list[Rejection] = []
        self._size_bytes = 0

    @property
    def is_empty(self) -> bool:
        return not (self._entries or self._rejections)

    def is_full(self, page_bytes: int) -> bool:
        return self._size_bytes >= page_bytes or len(self._entries) >= _MOST_DOCUMENTS

    def continues(self, taken: _Taken) -> bool:
        """Whether what comes is another revision of the last document: they stay in one page."""
        if not (self._entries and taken.entries and taken.array is not None):
            return False
        array, last = self._entries[-1]
        return array == taken.array and last.id == taken.entries[0].id

    def add(self, taken: _Taken) -> None:
        self._entries += [(taken.array, entry) for entry in taken.entries]
        self._rejections += taken.rejections
        self._size_bytes += taken.size_bytes

    def batch(self, position: Token) -> Batch:
        """What was added, each document once; then the page is empty."""
        page = Page(self._shape.form, self._selection)
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


def _is_text(id: str) -> bool:
    """Whether an id can be written, to a store or to the job's own file."""
    try:
        id.encode()
    except UnicodeEncodeError:
        return False
    return True


def _nameless(at: int) -> str:
    """An id for what has none; it is in no namespace."""
    return f"/byte-{at}"


def _namespace(entry: Entry) -> str:
    return entry.id.partition("/")[0]
