"""Lines of any length, and the elements of an array that is too long for one piece of memory.

Chunks of text enter; lines and array elements leave, with the offset at which reading stands. Knows nothing of what is
in them.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from migrator.adapters.files.compression import BEGINNING, PIECE_BYTES, Chunk, Frame
from migrator.errors import ArchiveDamaged

_OUTSIDE = re.compile(rb'["{}\[\],\n]')  # what matters between the strings of a JSON text
_INSIDE = re.compile(rb'["\\\n]')  # and in a string
_BLANK_SIGNS = b" \t\r\n"
_BLANK = re.compile(rb"[ \t\r\n]*")
_MOST_BLANK_BYTES = 1 << 20  # without a line end; a longer one is a line like others
_OPENING, _CLOSING = b"{[", b"}]"
_STRUCTURE = re.compile(rb'["{}\[\]]')
_QUOTE = re.compile(rb'["\\]')
_END_OF_WORD = re.compile(rb"[ \t\r\n,\[\]{]")
BOM = b"\xef\xbb\xbf"


class Line(NamedTuple):
    text: bytes  # without its line end
    whole: bool  # False: the file ends without a line end


class TooLong(Exception):
    """A line is longer than was requested; nothing of it was taken."""


class Torn(Exception):
    """An array isn't one: its line, or the file, ends inside; `rest` is what stands after its last whole element."""

    def __init__(self, rest: bytes, *, at_end: bool) -> None:
        super().__init__()
        self.rest = rest
        self.at_end = at_end  # of the file


class Cursor:
    """Reads on from the offset `at` of a text, whose chunks begin with the frame `begin`, before it or there."""

    def __init__(self, chunks: Iterator[Chunk], begin: Frame = BEGINNING, at: int = 0) -> None:
        self._chunks = chunks
        self._buffer = b""
        self._next = 0  # in the buffer
        self._base = begin.raw  # the offset of the buffer's beginning
        self._frames: deque[Frame] = deque([begin])
        self._damage: ArchiveDamaged | None = None
        while self.at < at and self._more():
            self._next = min(at - self._base, len(self._buffer))

    @property
    def at(self) -> int:
        """The offset of what is read next."""
        return self._base + self._next

    @property
    def frame(self) -> Frame:
        """A frame that begins at or before `at`; from there decompressing can begin."""
        while len(self._frames) > 1 and self._frames[1].raw <= self.at:
            self._frames.popleft()
        return self._frames[0]

    def line(self, most_bytes: int) -> Line | None:
        """The next line; None at the end of the file. Raises `TooLong`."""
        end = self._buffer.find(b"\n", self._next)
        while end < 0:
            had = len(self._buffer) - self._next
            if had > most_bytes:
                raise TooLong
            if not self._more():
                return Line(self._advance(len(self._buffer), 0), whole=False) if had else None
            end = self._buffer.find(b"\n", self._next + had)
        if end - self._next > most_bytes:
            raise TooLong
        return Line(self._advance(end, 1), whole=True)

    def skip_blank(self) -> None:
        """Stand behind the blank lines that come next; a file may hold gigabytes of them in a few megabytes."""
        while True:
            if self._next < len(self._buffer) and self._buffer[self._next] not in _BLANK_SIGNS:
                return
            left_bytes = len(self._buffer) - self._next
            are_many = left_bytes <= PIECE_BYTES and not self._buffer[self._next : self._next + 256].strip()
            if are_many and not self._buffer[self._next :].translate(None, _BLANK_SIGNS):
                end = len(self._buffer)  # all of it, told four times as fast as by looking for the first that isn't
            else:
                found = _BLANK.match(self._buffer, self._next)
                end = found.end() if found else self._next
            self._next = max(self._next, self._buffer.rfind(b"\n", self._next, end) + 1)
            if end < len(self._buffer) or len(self._buffer) - self._next > _MOST_BLANK_BYTES or not self._more():
                return

    def unread(self, line: Line) -> None:
        """Stand before a line again that was just read."""
        self._next -= len(line.text) + line.whole

    def enter_array(self) -> bool:
        """Whether an array begins at the cursor; then it stands inside afterwards."""
        here = self._next
        here += len(BOM) if self._buffer.startswith(BOM, here) else 0
        while self._buffer[here : here + 1] in (b" ", b"\t"):
            here += 1
        if self._buffer[here : here + 1] != b"[":
            return False
        self._next = here + 1
        return True

    def element(self) -> bytes | None:
        """The next element of the array that the cursor is in; None after its last one. Raises `Torn`."""
        depth, in_string, looked = 0, False, self._next
        while True:
            found = (_INSIDE if in_string else _OUTSIDE).search(self._buffer, looked)
            if found is None:
                looked = max(looked, len(self._buffer)) - self._next
                if not self._more():
                    raise Torn(self._advance(len(self._buffer), 0), at_end=True)
                looked += self._next
                continue
            sign, here = found[0], found.start()
            looked = here + 1
            if sign == b"\n":
                raise Torn(self._advance(here, 1), at_end=False)
            if in_string:
                looked += sign == b"\\"  # and what it escapes
                in_string = sign != b'"'
            elif sign == b'"':
                in_string = True
            elif sign in _OPENING:
                depth += 1
            elif depth:
                depth -= sign in _CLOSING
            elif sign == b"]":
                last = self._advance(here, 0).strip()
                if last:
                    return last  # the bracket stays, and gives None the next time
                self._next += 1
                return None
            elif sign == b",":
                return self._advance(here, 1).strip()

    def value(self, *, inside: bool, most_bytes: int) -> bytes | None:
        """The next JSON value, over as many lines as it takes; None at the end of the file.

        `[`, `]` and `,` between values are given as well; `inside` an array `[` begins a value. Raises `TooLong`, and
        `Torn` where the file ends inside of a value.
        """
        self._skip_to_value()
        sign = self._buffer[self._next : self._next + 1]
        if not sign:
            return None
        if sign in (b",", b"]") or (sign == b"[" and not inside):
            return self._advance(self._next + 1, 0)
        if sign not in (b"{", b"["):
            return self._word(most_bytes)
        depth, in_string, looked = 0, False, self._next
        while True:
            found = (_QUOTE if in_string else _STRUCTURE).search(self._buffer, looked)
            if found is None or (found[0] == b"\\" and found.end() == len(self._buffer)):
                looked = self._further(found.start() if found else len(self._buffer), most_bytes)
                continue
            looked = found.end()
            if in_string:
                looked += found[0] == b"\\"
                in_string = found[0] != b'"'
            elif found[0] == b'"':
                in_string = True
            else:
                depth += 1 if found[0] in _OPENING else -1
                if not depth:
                    return self._advance(looked, 0)

    def _skip_to_value(self) -> None:
        while True:
            found = _BLANK.match(self._buffer, self._next)
            self._next = found.end() if found else self._next
            if self._buffer.startswith(BOM, self._next):
                self._next += len(BOM)
            elif self._next < len(self._buffer) or not self._more():
                return

    def _word(self, most_bytes: int) -> bytes:
        """What is no object and no array, up to where a value may begin or end."""
        looked = self._next + 1
        while (found := _END_OF_WORD.search(self._buffer, looked)) is None:
            try:
                looked = self._further(len(self._buffer), most_bytes)
            except Torn as torn:
                return torn.rest
        return self._advance(found.start(), 0)

    def _further(self, here: int, most_bytes: int) -> int:
        """Read on; where a place of the buffer stands afterwards."""
        at = here - self._next
        if len(self._buffer) - self._next > most_bytes:
            raise TooLong
        if not self._more():
            raise Torn(self._advance(len(self._buffer), 0), at_end=True)
        return self._next + at

    def _advance(self, end: int, past: int) -> bytes:
        """What stands up to a place of the buffer, from which reading goes on `past` bytes later."""
        text = self._buffer[self._next : end]
        self._next = end + past
        return text

    def _more(self) -> bool:
        """Drop what was read, and read as much again as is left, so that long texts aren't copied over and over.

        False at the end of the file. Damage is raised when everything before it was taken.
        """
        if self._damage is not None:
            raise self._damage
        rest = self._buffer[self._next :]
        pieces, size = [rest], 0
        try:
            while size <= len(rest) and (chunk := next(self._chunks, None)) is not None:
                if self._frames[-1] != chunk.frame:
                    self._frames.append(chunk.frame)
                pieces.append(chunk.data)
                size += len(chunk.data)
        except ArchiveDamaged as error:
            if not size:
                raise
            self._damage = error
        self._base += self._next
        self._buffer, self._next = b"".join(pieces), 0
        return size > 0
