"""What is in a file of documents: whose file it is, and what each line of it holds.

Lines enter; the shape of the file and the entries of its lines leave, each an id around the document's own bytes. Knows
nothing of files.

| shape | a line is |
|---|---|
| `couchbackup` | an array of documents; the first line may say which version wrote it, and with which mode |
| `pouchdb-dump` | an object around an array of documents; the first and some others tell of the dump |
| `elasticdump` | a hit: an object with `_id`, `_source`, mostly `_index` |
| `bulk request` | what to do with the document of the next line: the body of Elasticsearch's `_bulk` |
| `NDJSON` | the document itself; without `_id` its id is NAMESPACE/ACTIVATION_ID |
| `JSON` | a part of a hit or a document, which stand one after another or in one array, as `jq` prints them |

Source: couchbackup 2.11 `includes/backup.js`, `includes/restoreMappings.js`, `app.js`; elasticdump 6.125
`lib/transports/file.js`; pouchdb-dump 1.2 (pouchdb-replication-stream), `lib/index.js`.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from migrator.activations import canonical
from migrator.activations.document import Form
from migrator.errors import UsageError
from migrator.text.decoding import UNREADABLE, decoder

RESUMED = b'{"marker":"@cloudant/couchbackup:resume"}'
"""What couchbackup writes, with a line end, where it goes on; the line that was torn may stand before it."""

_MOST_DEPTH = 2000  # twice what msgspec follows
_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)
_ABSENT = msgspec.Raw(b"")  # never `Raw | None`, which msgspec takes for null only


class Layout(enum.Enum):
    """How documents stand in a file."""

    LINES = enum.auto()
    ARRAYS = enum.auto()  # lines of arrays
    PACKETS = enum.auto()  # lines of objects that hold arrays
    ACTIONS = enum.auto()  # each behind a line that says what to do with it
    ACROSS = enum.auto()  # over as many lines as they take


class Shape(msgspec.Struct, frozen=True):
    """Whose file it is, and the form of its documents."""

    name: str  # "couchbackup 2.11.12 full", "elasticdump", "NDJSON"
    form: Form
    layout: Layout = Layout.LINES


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A document as it is in a file."""

    id: str
    body: bytes
    index: str | None = None
    deleted: bool = False
    rev: str = ""
    remarks: tuple[str, ...] = ()


class SourcelessError(ValueError):
    """A hit without the document that it is of."""

    def __init__(self, reason: str, hit: _Line) -> None:
        super().__init__(reason)
        self.id = hit.id or ""
        self.index = hit.index


class _Line(msgspec.Struct, gc=False):
    """What is looked at in a line, whatever it is."""

    id: str | None = msgspec.field(name="_id", default=None)
    rev: str = msgspec.field(name="_rev", default="")
    deleted: bool = msgspec.field(name="_deleted", default=False)
    index: str | None = msgspec.field(name="_index", default=None)
    source: msgspec.Raw = msgspec.field(name="_source", default=_ABSENT)
    namespace: msgspec.Raw = _ABSENT
    activation_id: msgspec.Raw = msgspec.field(name="activationId", default=_ABSENT)


class _Head(msgspec.Struct):
    """What tells the shape of a file."""

    id: str | None = msgspec.field(name="_id", default=None)
    index: msgspec.Raw = msgspec.field(name="_index", default=_ABSENT)
    source: msgspec.Raw = msgspec.field(name="_source", default=_ABSENT)
    annotations: msgspec.Raw = _ABSENT
    path: msgspec.Raw = _ABSENT
    timestamp: msgspec.Raw = msgspec.field(name="@timestamp", default=_ABSENT)
    name: msgspec.Raw = _ABSENT
    version: msgspec.Raw = _ABSENT
    mode: msgspec.Raw = _ABSENT
    db_type: msgspec.Raw = _ABSENT


class _Action(msgspec.Struct):
    """A line of a bulk request that isn't a document."""

    id: str | None = msgspec.field(name="_id", default=None)
    index: str | None = msgspec.field(name="_index", default=None)


_line = decoder(_Line)
_head = decoder(_Head)
_array = decoder(list[msgspec.Raw])
_text = decoder(str)
_any = decoder(dict[str, msgspec.Raw])
_actions = decoder(dict[str, _Action])


# -- shapes -------------------------------------------------------------------------------------------------------


def shape_of(lines: Iterable[bytes], asked: Form | None, where: str) -> Shape:
    """The shape of a file that begins with these lines; `asked` is the form that the location names.

    Raises `UsageError` where it can't be determined, or where it isn't what was requested.
    """
    told: Shape | None = None
    refusal = ""
    for line in lines:
        try:
            told = _shape_of(line)
        except ValueError as error:
            refusal = refusal or f"this is not a file of JSON lines: {error}"
        else:
            refusal = refusal or "the form of its documents is unknown; add ?form=couchdb or ?form=elasticsearch"
        if told is not None:
            break
    if told is None:
        if refusal and (asked is None or refusal.startswith("this")):
            raise UsageError(f"{where}: {refusal}")
        return Shape("NDJSON", asked or Form.COUCHDB)
    if asked is not None and told.form is not asked:
        if told.name == "NDJSON":
            return Shape(told.name, asked)
        raise UsageError(f"{where}: a file of {told.name} has documents in the form of {told.form}; leave ?form out")
    return told


def _shape_of(line: bytes) -> Shape | None:
    """The shape that a line tells. Raises `ValueError` where it is not a JSON object or array."""
    if line.startswith(b"["):
        first = next(iter(elements_of(line) or ()), b"")
        told = _shape_of(first) if first.startswith(b"{") else None
        if told is not None and told.form is Form.ELASTICSEARCH:
            return Shape("JSON arrays", Form.ELASTICSEARCH, Layout.ARRAYS)
        return Shape("couchbackup", Form.COUCHDB, Layout.ARRAYS)
    try:
        head = _head.decode(line)
    except UNREADABLE as error:
        if line.startswith(b"{"):
            return None  # a document that can't be read; the next may tell
        raise ValueError(error) from None
    if _string(head.name) == "@cloudant/couchbackup" and head.mode:
        version, mode = _string(head.version) or "", _string(head.mode) or ""
        return Shape(f"couchbackup {version} {mode}", Form.COUCHDB, Layout.ARRAYS)
    if head.db_type and head.version:
        return Shape(f"pouchdb-dump {_string(head.version) or ''}".strip(), Form.COUCHDB, Layout.PACKETS)
    if head.source or (head.index and head.id is not None):
        return Shape("elasticdump", Form.ELASTICSEARCH)
    if head.id is not None or bytes(head.annotations).startswith(b"["):
        return Shape("NDJSON", Form.COUCHDB)
    if head.timestamp or head.path or bytes(head.annotations).startswith(b"{"):
        return Shape("NDJSON", Form.ELASTICSEARCH)
    if action_of(line) is not None:
        return Shape("bulk requests", Form.ELASTICSEARCH, Layout.ACTIONS)
    return None


# -- lines --------------------------------------------------------------------------------------------------------


def entry_of(text: bytes, form: Form) -> Entry:
    """The document that a line, or an element of couchbackup's arrays, holds. Raises `ValueError` where it isn't JSON.

    One that `msgspec` can't read (a lone surrogate, deep nesting) is an entry all the same: who reads its header
    rejects it.
    """
    try:
        found = _line.decode(text)
    except UNREADABLE:
        found = _odd(text)
    if form is Form.ELASTICSEARCH and not found.source and found.id is not None and found.index is not None:
        raise SourcelessError("this hit has no _source, so that the document isn't in the file", found)
    if form is Form.ELASTICSEARCH and found.source:
        body = bytes(found.source)
        if body == b"null" or (body.startswith(b"{") and not body[1:-1].strip()):
            raise SourcelessError("the _source of this hit is empty, so that the document isn't in the file", found)
        return Entry(found.id if found.id is not None else _id_in(body), body, found.index or None)
    id = found.id if found.id is not None else _id(found)
    return Entry(id, text, None, found.deleted and form is Form.COUCHDB, found.rev)


def action_of(text: bytes) -> tuple[str, str | None, str | None] | None:
    """What a line of a bulk request asks for: the verb, the id and the index; None where it is none."""
    if _ACTION.match(text) is None:
        return None
    try:
        ((verb, action),) = _actions.decode(text).items()
    except (*UNREADABLE, ValueError):
        return None
    return verb, action.id, action.index


_ACTION = re.compile(rb'\{\s*"(index|create|update|delete)"\s*:\s*\{')


def packet_of(text: bytes) -> bytes | None:
    """The array that a line of pouchdb-dump holds, from its bracket on; None where the line tells of the dump."""
    found = _PACKET.match(text)
    return text[found.end() - 1 :] if found else None


_PACKET = re.compile(rb'\{\s*"docs"\s*:\s*\[')


def is_about_dump(text: bytes) -> bool:
    """Whether a line of pouchdb-dump tells of the dump: its first, and where the source stood."""
    try:
        names = _any.decode(text).keys()
    except UNREADABLE:
        return False
    return "db_type" in names or names == {"seq"}


def is_json(text: bytes) -> bool:
    """Whether a text is a whole JSON object, whatever it holds."""
    try:
        _any.decode(text)
    except UNREADABLE:
        return False
    return True


def flat(text: bytes) -> bytes:
    """JSON without line ends, which are no part of any string of it."""
    if b"\n" not in text and b"\r" not in text:
        return text
    try:
        return msgspec.json.format(text, indent=-1)
    except UNREADABLE:
        return text.translate(_NO_LINE_ENDS)


_NO_LINE_ENDS = bytes.maketrans(b"\r\n", b"  ")


def is_note(text: bytes) -> bool:
    """Whether a line is couchbackup's own and no document: what begins a file, or says that it was resumed."""
    if text == RESUMED:
        return True
    if not text.startswith(b"{") or b"@cloudant/couchbackup" not in text[:200]:
        return False
    try:
        head = _head.decode(text)
    except UNREADABLE:
        return False
    return _string(head.name) == "@cloudant/couchbackup" and bool(head.mode)


def elements_of(line: bytes) -> list[bytes] | None:
    """The elements of an array; None where some of it can't be read."""
    try:
        return [bytes(element) for element in _array.decode(line)]
    except UNREADABLE:
        return None


def winners(entries: Sequence[Entry]) -> tuple[list[Entry], list[Entry]]:
    """Of the revisions of a document that stand in one array, the one that CouchDB shows; then the others.

    couchbackup writes all of them. One that isn't deleted wins, then the one with more changes behind it, then the
    one whose hash sorts last. One that won over another that lives is remarked.
    Source: CouchDB's documentation, "Conflict Model"; couchbackup asks `_bulk_get` for ids without revisions.
    """
    best: dict[str, Entry] = {}
    others: list[Entry] = []
    for number, entry in enumerate(entries):
        rival = best.get(entry.id) if entry.id else None
        if rival is None:
            best[entry.id or f"without an id {number}"] = entry
            continue
        winner, loser = (entry, rival) if _rank(entry) > _rank(rival) else (rival, entry)
        if not loser.deleted and loser.rev != winner.rev:
            winner = msgspec.structs.replace(winner, remarks=("conflicts",))
        best[entry.id] = winner
        others.append(loser)
    return list(best.values()), others


def _rank(entry: Entry) -> tuple[bool, int, str]:
    changes, _, hash = entry.rev.partition("-")
    return not entry.deleted, int(changes) if changes.isdecimal() else 0, hash


def _odd(text: bytes) -> _Line:
    """A line that `msgspec` can't read. Raises `ValueError` where it isn't a JSON object."""
    if nests_deeply(text):
        raise ValueError("it is nested too deeply to be read")
    value: Any = canonical.parse(text.decode("utf-8", "surrogatepass"), doubles=False)
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004  it is what was read that is wrong
    id, rev, index = (value.get(name) for name in ("_id", "_rev", "_index"))
    found = _Line(
        id=id if isinstance(id, str) else None,
        rev=rev if isinstance(rev, str) else "",
        deleted=value.get("_deleted") is True,
        index=index if isinstance(index, str) else None,
    )
    if isinstance(source := value.get("_source"), dict):
        # Its spelling is lost with what surrounds it; it is kept to be rejected.
        found.source = msgspec.Raw(canonical.encode(source))
    elif found.id is None:
        found.namespace, found.activation_id = (
            msgspec.Raw(canonical.encode(value[name])) if isinstance(value.get(name), str) else _ABSENT
            for name in ("namespace", "activationId")
        )
    return found


def nests_deeply(text: bytes) -> bool:
    """Whether a text opens more arrays and objects in one another than any JSON reader here follows.

    Asked before one is tried: a deep text of some megabytes would take gigabytes.
    """
    if text.count(b"[") + text.count(b"{") <= _MOST_DEPTH:
        return False
    depth = 0
    for found in _BRACKETS.finditer(text):
        sign = found[0]
        if sign in (b"[", b"{"):
            depth += 1
            if depth > _MOST_DEPTH:
                return True
        elif sign in (b"]", b"}"):
            depth -= 1
    return False


def _id_in(body: bytes) -> str:
    try:
        return _id(_line.decode(body))
    except UNREADABLE:
        return ""


def _id(found: _Line) -> str:
    """The id under which OpenWhisk stores an activation that comes without one; empty where it isn't one."""
    if not found.activation_id:
        return ""
    return f"{_string(found.namespace) or ''}/{_string(found.activation_id) or ''}"


def _string(raw: msgspec.Raw) -> str | None:
    try:
        return _text.decode(raw)
    except UNREADABLE:
        return None
