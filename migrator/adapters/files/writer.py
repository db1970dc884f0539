"""Writes one file of documents, a line each: plain, gzip or Zstandard by its name, or standard output.

Documents of either form enter. A line in CouchDB form is the document itself, in Elasticsearch form the hit that
elasticdump reads. Each thread collects lines, and what it flushes is a segment of its own: some lines, or a gzip member
or a Zstandard frame of them. A receipt says where the segment stands, so that a job continues exactly what was
committed. Knows nothing of what is in the file besides: nothing is compared, a changed document is written again, and a
later line is the newer version.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from typing_extensions import override

from migrator.activations.document import Document, Form, Rejection
from migrator.adapters.base import (
    Completion,
    Description,
    Refusal,
    SupportsBuffer,
    SupportsPreflight,
    SupportsReceipts,
    Token,
    WriteOutcome,
    Writer,
)
from migrator.adapters.files.compression import compress
from migrator.adapters.files.output import Output, Segment
from migrator.adapters.shared.lines import as_lines
from migrator.text.decoding import convert

SEGMENT_BYTES = 4 << 20  # of lines
_SEGMENT_S = 30.0
_WAITING_BYTES = 16 << 20  # of lines, of all threads


class FileWriter(Writer, SupportsReceipts, SupportsBuffer, SupportsPreflight):
    """Writes a new file."""

    def __init__(self, output: Output, *, form: Form | None, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.form = form
        self._output = output
        self._segment_bytes = segment_bytes
        self._lock = threading.Lock()
        self._waiting_bytes = 0
        self._mine = threading.local()

    def describe(self) -> Description:
        self._output.check()
        return Description(location=self._output.printed, product="file", version=str(self._output.compression))

    @override
    def preflight(self, namespaces: Sequence[str]) -> Sequence[str]:
        self._output.check_new()
        return ()

    def prepare(self) -> Token:
        """Begin a new file under a temporary name."""
        return self._output.begin()

    def resume(self, prepared: Token, receipts: Sequence[tuple[int, Token]]) -> Refusal | None:
        segments = [convert(receipt, Segment) for _, receipt in receipts]
        return self._output.resume(prepared, segments)

    # -- writing ------------------------------------------------------------------------------------------------

    @override
    def write(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
        """Every document is written that is text; only memory is needed for it, so that it can't fail half-way."""
        lane = self._lane()
        rejected: list[Rejection] = []
        try:
            lines = as_lines(documents)
        except UnicodeEncodeError:
            documents, rejected = _encodable(documents)
            lines = as_lines(documents)
        with self._lock:
            lane.take(lines)
            self._waiting_bytes += len(lines)
        return WriteOutcome(written=tuple(documents), rejected=tuple(rejected))

    def due(self) -> bool:
        lane = self._lane()
        if not lane.lines:
            return False
        is_old = time.monotonic() - lane.began_s >= _SEGMENT_S
        return is_old or lane.size_bytes >= self._segment_bytes or self._waiting_bytes >= _WAITING_BYTES

    def flush(self) -> Token:
        """Write this thread's lines; None where there are none."""
        lane = self._lane()
        if not lane.lines:
            return None
        data = compress(b"".join(lane.lines), self._output.compression)
        with self._lock:
            segment = self._output.append(data)
            self._waiting_bytes -= lane.size_bytes
        lane.clear()
        return list(segment)

    def _lane(self) -> _Lane:
        lane: _Lane | None = getattr(self._mine, "lane", None)
        if lane is None:
            lane = self._mine.lane = _Lane()
        return lane

    # -- the end ------------------------------------------------------------------------------------------------

    @override
    def finish(self, completion: Completion) -> None:
        """Give the file its name."""
        self._output.finish()

    def close(self) -> None:
        self._output.close()


def _encodable(documents: Sequence[Document]) -> tuple[list[Document], list[Rejection]]:
    """The documents that are text, and those that aren't."""
    kept: list[Document] = []
    rejected: list[Rejection] = []
    for document in documents:
        try:
            as_lines([document])
            kept.append(document)
        except UnicodeEncodeError:
            rejected.append(document.rejection("its id or index holds a lone surrogate, which is not text"))
    return kept, rejected


class _Lane:
    """The lines that one thread handed over and that aren't durable yet."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.lines: list[bytes] = []
        self.size_bytes = 0
        self.began_s = 0.0

    def take(self, lines: bytes) -> None:
        """Add whole lines."""
        if not self.lines:
            self.began_s = time.monotonic()
        self.lines.append(lines)
        self.size_bytes += len(lines)
