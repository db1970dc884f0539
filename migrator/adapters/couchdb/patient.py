"""The body of an answer in large pieces, however small those are that it is sent in.

CouchDB sends a chunk for each row, in a packet of its own. Whoever takes what is there gets one document for each
system call, and wakes up for each on the cores that the server may need. So what is there is taken at once, and then
more is given time to gather in the socket: the slower it comes, the more time, since nobody waits for a part of a page.

Takes the place of `http.client`'s reading of chunks, which looks for each chunk's size by calls of its own. Checks as
it does: a size that isn't one, a chunk without its end or an answer without its last chunk is an `IncompleteRead`.
"""

from __future__ import annotations

import ssl
import time
from http.client import HTTPResponse, IncompleteRead
from typing import Any

_PIECE_BYTES = 1 << 18
_SMALL_BYTES = 1 << 15  # a piece after which the next is waited for longer
_PAUSES_S = (0.004, 0.032)  # the shortest and the longest
_WAITED_S = 0.0002  # longer than a read of what is there takes
_EAGER_BYTES = 32_768  # a short answer is taken as it comes
_LINE_BYTES = 10_000  # of the size of a chunk, or of a trailer; in between comes what a proxy may add


class PatientResponse(HTTPResponse):
    """An answer whose chunked body is read in pieces as large as they come; other bodies as ever."""

    _taken = 0  # bytes of the body, as they came
    _left = 0  # of the chunk that isn't whole
    _is_open = False  # whether a chunk's data is whole and its line break is still to come
    _is_last = False  # whether the chunk of no bytes came, and what follows are trailers
    _rest = b""  # what came and isn't a whole line
    _drained = False  # whether nothing more was there after the last piece
    _pause_s = _PAUSES_S[0]

    def __init__(self, sock: Any, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self._by_records = isinstance(sock, ssl.SSLSocket)  # which gives one record at a time, however many are there

    def read(self, amt: int | None = None) -> bytes:
        """The next piece of a chunked body, which may be longer than `amt`; nothing at its end."""
        if not self.chunked or amt is None:
            return super().read(amt)
        while self.fp is not None:
            if data := self._take(self._receive()):
                return data
        return b""

    def _receive(self) -> bytes:
        paused = self._drained and self._taken > _EAGER_BYTES
        if paused:
            time.sleep(self._pause_s)
        began_s = time.perf_counter()
        data: bytes = self.fp.read1(_PIECE_BYTES)
        size = len(data)
        if self._by_records:
            self._drained = time.perf_counter() - began_s > _WAITED_S
        else:
            self._drained = size < _PIECE_BYTES
            if paused:
                shortest, longest = _PAUSES_S
                longer = self._pause_s * (2 if size < _SMALL_BYTES else 0.5 if size > 4 * _SMALL_BYTES else 1)
                self._pause_s = min(max(longer, shortest), longest)
        self._taken += size
        if not data:
            self._fail()
        return self._rest + data if self._rest else data

    def _take(self, data: bytes) -> bytes:
        """What is payload in bytes that came; what is incomplete is kept for the next time."""
        view, at, end = memoryview(data), 0, len(data)
        pieces: list[memoryview] = []
        left, is_open = self._left, self._is_open
        while True:
            if not (left or is_open or self._is_last):
                at = self._take_whole(data, view, at, pieces)
            if left:
                piece = view[at : at + left]
                pieces.append(piece)
                at += len(piece)
                left -= len(piece)
                if left:
                    break
                is_open = True
            line = data.find(b"\r\n", at)
            if line < 0:
                if end - at > _LINE_BYTES or (is_open and end > at and data[at:] != b"\r"):
                    self._fail()
                break
            if is_open:
                if line != at:
                    self._fail()
                is_open = False
            elif self._is_last:
                if line == at:  # behind the trailers, which say nothing that matters here
                    if line + 2 != end:
                        self._fail()
                    self._close_conn()  # type: ignore[attr-defined]
                    break
            else:
                left = self._size(data[at:line])
                self._is_last = not left
            at = line + 2
        self._left, self._is_open, self._rest = left, is_open, data[at:]
        return b"".join(pieces)

    @staticmethod
    def _take_whole(data: bytes, view: memoryview, at: int, pieces: list[memoryview]) -> int:
        """Take the chunks that are there whole, from the size of one on, as most are; returns where they end.

        What else there is, and whatever is wrong, is left for closer looks.
        """
        end, find = len(data), data.find
        while (line := find(b"\r\n", at)) > 0:
            try:
                size = int(data[at:line], 16)
            except ValueError:
                break
            first = line + 2
            last = first + size
            if size <= 0 or last + 2 > end or data[last : last + 2] != b"\r\n":
                break
            pieces.append(view[first:last])
            at = last + 2
        return at

    def _size(self, line: bytes) -> int:
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError:
            size = -1
        if size < 0:
            self._fail()
        return size

    def _fail(self) -> None:
        self._close_conn()  # type: ignore[attr-defined]
        raise IncompleteRead(b"")
