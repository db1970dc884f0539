"""Reads one file of documents: elasticdump's, couchbackup's, or lines of either form; plain or compressed.

A file is one slice, read from its beginning to its end; a position is where in the text reading goes on, with a frame
from which it can be decompressed. What of the file can be read is given, whatever is wrong behind it: a file that is
damaged or cut off ends with `ArchiveDamaged`, after everything before. A plain file that was cut exactly between two
lines can't be told from a whole one.

A later line is newer: of two versions of a document the last one counts, as in a file that was written while its source
changed, or where couchbackup went on after an interruption.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import msgspec
from typing_extensions import override

from migrator.activations.document import Form
from migrator.activations.selection import Selection
from migrator.adapters.base import Abilities, Batch, Description, Plan, Reader, Slice, SupportsCatchUp, Token
from migrator.adapters.files.compression import Compression, Frame
from migrator.adapters.files.formats import Shape
from migrator.adapters.files.input import Input
from migrator.adapters.files.lines import Cursor
from migrator.adapters.files.look import Look, look
from migrator.adapters.files.taking import Gathered, Pass
from migrator.adapters.questions import SupportsVolume, Volume
from migrator.adapters.shared.room import room_of_folder
from migrator.errors import ArchiveDamaged, UsageError
from migrator.events.watching import Stop
from migrator.text.decoding import convert


class _Position(msgspec.Struct, frozen=True):
    """Where reading goes on."""

    at: int = 0  # in the text
    frame_offset: int = 0  # of a frame that begins there or before, in the file
    frame_raw: int = 0  # and in the text
    inside: bool = False  # an array, between two of its elements

    @property
    def frame(self) -> Frame:
        return Frame(self.frame_offset, self.frame_raw)


class FileReader(Reader, SupportsCatchUp, SupportsVolume):
    """Reads the documents of a file, or of standard input."""

    def __init__(self, input: Input, *, form: Form | None, page_bytes: int) -> None:
        self.abilities = Abilities(dedicated=True, reads_once=input.reads_once)
        self._input = input
        self._asked = form
        self._page_bytes = page_bytes

    @cached_property
    def _look(self) -> Look:
        return look(self._input, self._asked)

    @property
    def _shape(self) -> Shape:
        return self._look.shape

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

    @override
    def plan(self, selection: Selection, *, slice_documents: int) -> Plan:
        fingerprint = self._input.fingerprint()
        whole = Slice(key=self._input.printed, spec={"fingerprint": fingerprint}, replaces=True)
        return Plan(slices=(whole,), snapshot=fingerprint)

    def catch_up(self, snapshot: Token, selection: Selection, *, slice_documents: int) -> Plan:
        """Nothing, unless the file is another than it was; then it is read again, as a whole."""
        if self._input.fingerprint() == snapshot:
            return Plan(slices=(), snapshot=snapshot)
        return self.plan(selection, slice_documents=slice_documents)

    @override
    def volume(self, selection: Selection, *, exact: bool, stop: Stop) -> Volume:
        path = self._input.path
        if path is None:
            return Volume()
        size_bytes = path.stat().st_size if selection.is_all and path.is_file() else None
        return Volume(stored_bytes=size_bytes, rooms=room_of_folder(str(path)))

    # -- reading ------------------------------------------------------------------------------------------------

    def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
        self._input.check_same(slice.spec["fingerprint"])
        begin = _Position() if after is None else convert(after, _Position)
        pass_ = Pass(self._shape, is_plain=self._input.compression is Compression.PLAIN)
        gathered = Gathered(self._shape.form, selection)
        position = begin
        damage: ArchiveDamaged | UsageError | None = None
        with self._input.open(begin.frame) as chunks:
            try:
                cursor = Cursor(self._look.of_lines(chunks), begin.frame, begin.at)
                pass_.inside = begin.inside
                while (taken := pass_.next(cursor, 4 * self._page_bytes)) is not None:
                    if gathered.is_full(self._page_bytes) and not gathered.continues(taken):
                        yield gathered.batch(msgspec.to_builtins(position))
                    gathered.add(taken)
                    position = _Position(cursor.at, *cursor.frame, pass_.inside)
            except (ArchiveDamaged, UsageError) as error:  # the second: a frame that asks for too much
                damage = error
        if not gathered.is_empty:
            yield gathered.batch(msgspec.to_builtins(position))
        if damage is not None:
            kind = type(damage)
            raise kind(f"{self._input.printed}: {damage}; everything before it was copied") from damage

    def close(self) -> None:
        self._input.close()
