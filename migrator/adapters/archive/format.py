"""The bytes of a part: lines of documents in Zstandard frames, an index of the frames, and a seek table.

    data frame …        whole lines, about 1 MiB of them, each frame a standard one with size and checksum
    index               a skippable frame of ours: hashes of the documents' ids, then what each frame holds
    seek table          the skippable frame that ends a file in the Zstandard seekable format

Documents enter, the bytes of frames leave; the end of a part enters, its `Index` leaves. Opens no file. A program
that knows none of this reads a part with any Zstandard decoder: skippable frames are skipped.

Source: the Zstandard frame format (RFC 8878), and the seekable format of its `contrib/seekable_format`.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from itertools import accumulate

import msgspec
import zstandard

from migrator.activations.document import Document, Form, Given, Rejection, own_id, unreadable
from migrator.adapters.shared.lines import as_lines, encode_string, line_start
from migrator.errors import ArchiveDamaged
from migrator.text.decoding import decode, decoder
from migrator.text.units import counted

FRAME_BYTES = 1 << 20  # of documents in a frame; a larger one makes a larger frame
HASH_BYTES = 8
MOST_LINE_BYTES = 100 << 20
"""Of a document: what no store takes in one request by its defaults, and a reader may hold in memory."""
_MOST_BODY_BYTES = MOST_LINE_BYTES - (64 << 10)  # around it stand the name of the index and the id

DATA_MAGIC = 0xFD2FB528  # of a frame with content
INDEX_MAGIC = 0x184D2A57  # one of the sixteen skippable ones, and no other known format's
SEEK_MAGIC = 0x184D2A5E
_SEEK_END_MAGIC = 0x8F92EAB1
SKIPPABLE = struct.Struct("<II")  # magic, bytes that follow
_SEEK_ENTRY = struct.Struct("<II")  # compressed bytes, decompressed bytes
_SEEK_END = struct.Struct("<IBI")  # frames, descriptor, magic
_HEADER_BYTES = struct.Struct("<I")
MOST_FRAME_BYTES = FRAME_BYTES + MOST_LINE_BYTES + (16 << 20)
"""Of lines in a frame: it is ended by the document that fills it; the rest is for what stands around bodies."""
_MOST_LINES = 1 << 18  # in a frame: no activation has as few bytes as would give more
_MOST_FRAMES = 1 << 20  # in a part
_MOST_HEADER_BYTES = 64 << 20  # of what an index says of frames, decompressed
FULL_HEADER_BYTES = 16 << 20
"""Of what an index says of frames: a part is ended here, with room for all the frames of one more page."""
TAIL_BYTES = 128 * 1024
"""Of the end of a part, enough in most cases for the seek table and what each frame holds."""


class FrameNote(msgspec.Struct, frozen=True):
    """What a frame holds."""

    documents: int
    first_ms: int  # the span of `start`, both ends inclusive
    last_ms: int
    namespaces: tuple[str, ...]  # sorted


def note_bytes(note: FrameNote) -> int:
    """How many bytes of an index a note takes, decompressed."""
    return len(msgspec.json.encode(note)) + 1


class _Header(msgspec.Struct, frozen=True):
    """The readable half of an index; `hashes` is the SHA-256 of the other."""

    frames: tuple[FrameNote, ...]
    hashes: str


class Frame(msgspec.Struct, frozen=True):
    """A frame, where it stands, and what it holds."""

    offset: int
    size_bytes: int  # compressed
    raw_bytes: int  # of its lines
    note: FrameNote


class Index(msgspec.Struct, frozen=True):
    """The frames of a part, and where the hashes of its documents' ids stand: eight bytes each, in order of lines."""

    frames: tuple[Frame, ...]
    hashes_offset: int
    hashes_bytes: int
    hashes_sha256: str
    end: int  # where the seek table begins


def id_hash(id: str) -> bytes:
    """Eight bytes that stand for a document's id in an index."""
    hash = _no_hash.copy()  # making one takes twice as long
    hash.update(id.encode("utf-8", "surrogatepass"))
    return hash.digest()


_no_hash = hashlib.blake2b(digest_size=HASH_BYTES)


# -- lines --------------------------------------------------------------------------------------------------------


class _ElasticsearchLine(msgspec.Struct, gc=False):
    id: str = msgspec.field(name="_id")
    source: msgspec.Raw = msgspec.field(name="_source")
    index: str = msgspec.field(name="_index", default="")


class _Body(msgspec.Struct, gc=False):
    """What must be read again of a document in CouchDB form as it was given."""

    id: str | msgspec.UnsetType = msgspec.field(name="_id", default=msgspec.UNSET)


_body = decoder(_Body)
_NO_LINE = (msgspec.MsgspecError, RecursionError, UnicodeError)
_elasticsearch_line = decoder(_ElasticsearchLine)


def read_line(line: bytes, form: Form) -> tuple[str, bytes, str | None]:
    """Id, body and index of a line. Raises `msgspec.MsgspecError` where it isn't one."""
    if form is Form.COUCHDB:
        return own_id(line), line, None
    found = _elasticsearch_line.decode(line)
    return found.id, bytes(found.source), found.index or None


# -- writing ------------------------------------------------------------------------------------------------------


def storable(documents: Sequence[Document]) -> tuple[Sequence[Document], list[Rejection]]:
    """The documents whose lines `read_line` will give back as they are, and the others with the reason.

    One in CouchDB form without an `_id`, as files may have them, gets the one that every store would give it. Looked at
    before anything is written, since one line that can't be read spoils its whole frame.
    """
    if _all_are_read_again(documents):
        return documents, []
    kept: list[Document] = []
    rejected: list[Rejection] = []
    for document in documents:
        found = _storable(document)
        if isinstance(found, Document):
            kept.append(found)
        else:
            rejected.append(found)
    return kept, rejected


def _all_are_read_again(documents: Sequence[Document]) -> bool:
    """Whether all of them are as they should be, as nearly always."""
    try:
        for document in documents:
            if document.form is not Form.ELASTICSEARCH:
                if own_id(document.body) != document.id:
                    return False
            elif not document.id.isascii():
                encode_string(document.id)  # around a body that a reader has taken apart
        for index in {document.index for document in documents}:
            line_start(index)
    except _NO_LINE:
        return False
    return max([len(document.body) for document in documents], default=0) <= _MOST_BODY_BYTES


def _storable(document: Document) -> Document | Rejection:
    """One document, with the reason where it can't be written."""
    if len(document.body) > _MOST_BODY_BYTES:
        return document.rejection(
            f"has {counted(len(document.body), 'byte')}, and an archive takes {_MOST_BODY_BYTES:,} at most"
        )
    try:
        encode_string(document.id), line_start(document.index)
        if document.form is Form.ELASTICSEARCH:
            return document
        found = _body.decode(document.body)
    except UnicodeEncodeError:
        return document.rejection("its id or index holds a lone surrogate (\\ud800 to \\udfff), which is not text")
    except _NO_LINE as error:
        return document.rejection(unreadable(error, document.body))
    if found.id is msgspec.UNSET:
        return msgspec.structs.replace(document, body=_with_id(document))
    if found.id != document.id:
        return document.rejection(f"its _id is read as {found.id!r}, and it was given as {document.id!r}")
    return document


def _with_id(document: Document) -> bytes:
    rest = document.body.lstrip(b" \t\r\n").removeprefix(b"{")
    return b'{"_id":%b,%b' % (encode_string(document.id), rest)


class Noted(msgspec.Struct, frozen=True):
    """A frame that was made: its bytes, and what will be said of it."""

    data: bytes
    raw_bytes: int
    note: FrameNote
    hashes: bytes


def make_frame(documents: Sequence[Document], compressor: zstandard.ZstdCompressor) -> Noted:
    """One frame of documents."""
    raw = as_lines(documents)
    starts = [document.start_ms for document in documents]
    namespaces = tuple(sorted({document.namespace for document in documents}))
    return Noted(
        compressor.compress(raw),
        len(raw),
        FrameNote(len(documents), min(starts), max(starts), namespaces),
        b"".join([id_hash(document.id) for document in documents]),
    )


def new_compressor(level: int) -> zstandard.ZstdCompressor:
    """A compressor whose frames carry their size and a checksum; without asking for it zstd writes none."""
    return zstandard.ZstdCompressor(level=level, write_checksum=True, write_content_size=True)


def make_end(frames: Sequence[Noted]) -> bytes:
    """The index and the seek table that end a part; of the frames only the notes are looked at."""
    sizes = [(len(frame.data), frame.raw_bytes) for frame in frames]
    hashes = b"".join(frame.hashes for frame in frames)
    return b"".join(end_pieces(sizes, [frame.note for frame in frames], hashes))


def end_pieces(
    sizes: Sequence[tuple[int, int]], notes: Sequence[FrameNote], hashes: bytes | bytearray
) -> tuple[bytes | bytearray, ...]:
    """The same in pieces, from compressed and decompressed sizes, notes and hashes.

    The hashes, which may be megabytes, are given back and not copied.
    """
    header = new_compressor(3).compress(msgspec.json.encode(_Header(tuple(notes), hashlib.sha256(hashes).hexdigest())))
    behind = header + _HEADER_BYTES.pack(len(header))
    payload_bytes = len(hashes) + len(behind)
    # The index is in the table too, as a frame that decompresses to nothing, so that the sizes add up to the table.
    entries = b"".join(_SEEK_ENTRY.pack(*entry) for entry in [*sizes, (SKIPPABLE.size + payload_bytes, 0)])
    table = entries + _SEEK_END.pack(len(sizes) + 1, 0, _SEEK_END_MAGIC)
    before = SKIPPABLE.pack(INDEX_MAGIC, payload_bytes)
    return before, hashes, behind, SKIPPABLE.pack(SEEK_MAGIC, len(table)), table


# -- reading ------------------------------------------------------------------------------------------------------


def tail_needed(tail: bytes) -> int:
    """How many bytes of the end of a part are needed to read its index; raises `ArchiveDamaged`, as below."""
    count = _frames_in_table(tail)
    if count > _MOST_FRAMES:
        raise ArchiveDamaged(f"its seek table lists {counted(count, 'frame')}, more than a part can have")
    table_bytes = SKIPPABLE.size + count * _SEEK_ENTRY.size + _SEEK_END.size
    if len(tail) < table_bytes + _HEADER_BYTES.size:
        return table_bytes + TAIL_BYTES
    (header_bytes,) = _HEADER_BYTES.unpack_from(tail, len(tail) - table_bytes - _HEADER_BYTES.size)
    if header_bytes > _MOST_HEADER_BYTES:
        raise ArchiveDamaged("its index is damaged")
    return table_bytes + _HEADER_BYTES.size + int(header_bytes)


def read_index(tail: bytes, part_bytes: int) -> Index:
    """The index of a part of `part_bytes` from its end. Raises `ArchiveDamaged` with the end of a sentence."""
    count = _frames_in_table(tail)
    table_bytes = count * _SEEK_ENTRY.size + _SEEK_END.size
    table_at = len(tail) - table_bytes
    if table_at < SKIPPABLE.size + _HEADER_BYTES.size:
        raise ArchiveDamaged("its seek table is damaged: it is longer than the part")
    if SKIPPABLE.unpack_from(tail, table_at - SKIPPABLE.size) != (SEEK_MAGIC, table_bytes):
        raise ArchiveDamaged("its seek table is damaged")
    sizes = list(_SEEK_ENTRY.iter_unpack(tail[table_at : len(tail) - _SEEK_END.size]))
    offsets = [0, *accumulate(size for size, _ in sizes)]
    if offsets[-1] + SKIPPABLE.size + table_bytes != part_bytes:
        raise ArchiveDamaged("its frames don't add up to its size: something was cut out or added")
    header_end = table_at - SKIPPABLE.size - _HEADER_BYTES.size
    (header_bytes,) = _HEADER_BYTES.unpack_from(tail, header_end)
    hashes_offset, index_end = offsets[-2] + SKIPPABLE.size, offsets[-1]
    hashes_bytes = index_end - hashes_offset - header_bytes - _HEADER_BYTES.size
    if header_bytes > header_end or hashes_bytes < 0:
        raise ArchiveDamaged("its index is damaged")
    header = _decode_header(tail[header_end - header_bytes : header_end])
    if len(header.frames) != count - 1 or sum(note.documents for note in header.frames) * HASH_BYTES != hashes_bytes:
        raise ArchiveDamaged("its index doesn't fit its frames")
    for (_, raw_bytes), note in zip(sizes, header.frames, strict=False):
        if raw_bytes > MOST_FRAME_BYTES or not 0 < note.documents <= min(_MOST_LINES, raw_bytes):
            raise ArchiveDamaged(
                f"a frame claims {counted(raw_bytes, 'byte')} in {counted(note.documents, 'line')}, which no writer "
                "produces"
            )
    frames = tuple(
        Frame(offset, size, raw, note)
        for offset, (size, raw), note in zip(offsets, sizes[:-1], header.frames, strict=False)
    )
    return Index(frames, hashes_offset, hashes_bytes, header.hashes, index_end)


def _frames_in_table(tail: bytes) -> int:
    if len(tail) < SKIPPABLE.size + _SEEK_END.size:
        raise ArchiveDamaged("it is too short for a part")
    count, descriptor, magic = _SEEK_END.unpack_from(tail, len(tail) - _SEEK_END.size)
    if magic != _SEEK_END_MAGIC or descriptor or not count:
        raise ArchiveDamaged("it doesn't end with a seek table: it was truncated, or something was appended")
    return int(count)


def _decode_header(data: bytes) -> _Header:
    try:
        return decode(decompress(data, None, most_bytes=_MOST_HEADER_BYTES), _Header)
    except msgspec.MsgspecError as error:
        raise ArchiveDamaged(f"its index is damaged: {error}") from error


def read_notes(content: bytes) -> tuple[FrameNote, ...] | None:
    """What each frame of a part holds, from the content of the frame in its index; None where it is something else."""
    try:
        return decode(content, _Header).frames
    except msgspec.MsgspecError:
        return None


def decompress(data: bytes, raw_bytes: int | None, *, most_bytes: int = MOST_FRAME_BYTES) -> bytes:
    """The content of one whole frame; `raw_bytes` is what the seek table says it has. Raises `ArchiveDamaged`.

    No more memory is taken than the frame says it needs, and nothing where that is beyond `most_bytes`.
    """
    try:
        told = zstandard.frame_content_size(data)
        if told < 0 or (raw_bytes is not None and told != raw_bytes):
            raise ArchiveDamaged("a frame's size isn't that of the seek table")
        if told > most_bytes:
            raise ArchiveDamaged(f"a frame claims {counted(told, 'byte')}, and none has more than {most_bytes:,}")
        # Given whole, the content goes into a buffer of exactly the size that the frame tells.
        raw = zstandard.ZstdDecompressor().decompress(data, max_output_size=told, allow_extra_data=False)
    except (zstandard.ZstdError, MemoryError) as error:
        raise ArchiveDamaged(f"a frame is damaged: {error}") from error
    if len(raw) != told:
        raise ArchiveDamaged("a frame was truncated, or something follows it")
    return raw


def split_lines(raw: bytes) -> list[bytes]:
    """The lines of a frame's content, without their ends. Raises `ArchiveDamaged` where they are none."""
    lines = _count_lines(raw)
    if lines > _MOST_LINES:  # each would take more memory than its bytes
        raise ArchiveDamaged(f"a frame has {counted(lines, 'line')}, and none has more than {_MOST_LINES:,}")
    return raw[:-1].split(b"\n")


def _count_lines(raw: bytes) -> int:
    if not raw.endswith(b"\n"):
        raise ArchiveDamaged("a frame doesn't end with a line")
    return raw.count(b"\n")


def read_frame(data: bytes, frame: Frame) -> bytes:
    """The lines of a frame, as many as it should have. Raises `ArchiveDamaged` with the end of a sentence."""
    raw = decompress(data, frame.raw_bytes)
    lines = _count_lines(raw)
    if lines != frame.note.documents:
        raise ArchiveDamaged(f"a frame has {counted(lines, 'line')} instead of {frame.note.documents:,}")
    return raw


def read_lines(raw: bytes, form: Form) -> Iterator[Given]:
    """What each line of a frame gives, as `read_line` reads it. Raises as it does, and `ArchiveDamaged`.

    Where nothing is odd, lines in Elasticsearch form are decoded in one go: none is copied before its body is.
    """
    if form is Form.COUCHDB:
        return ((None, line, None) for line in split_lines(raw))
    if len(raw) > 2 * FRAME_BYTES or not _has_an_object_on_each_line(raw):
        return (read_line(line, form) for line in split_lines(raw))
    return ((each.id, bytes(each.source), each.index or None) for each in _elasticsearch_line.decode_lines(raw))


def _has_an_object_on_each_line(raw: bytes) -> bool:
    """Whether all line ends stand between a closing and an opening brace, as they can't within a document.

    In one go a decoder also takes documents that share a line, or go over two.
    """
    at, end = -1, len(raw) - 1
    if raw[:1] != b"{" or raw[-2:] != b"}\n":
        return False
    while (at := raw.find(b"\n", at + 1)) != end:
        if raw[at - 1] != _CLOSES or raw[at + 1] != _OPENS:
            return False
    return True


_OPENS, _CLOSES = b"{}"
