"""Activations as they are carried: values of a few header fields around the bytes that the source sent.

Raw JSON enters, `Document` leaves, or the reason why there is none. Knows nothing of stores, of HTTP, or of how one
form becomes the other (`forms`).

Source: the fields are those of OpenWhisk's `WhiskActivation`.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import msgspec

from migrator.text.decoding import UNREADABLE, decode, decoder


class Form(enum.StrEnum):
    """The shape in which a store keeps an activation."""

    COUCHDB = "couchdb"
    ELASTICSEARCH = "elasticsearch"


class Document(msgspec.Struct, frozen=True, gc=False):
    """One activation in the form of one store.

    `body` is a JSON object: in CouchDB form the whole document with `_id` and mostly `_rev`; in Elasticsearch form the
    `_source`. It holds the very bytes of the source until a conversion takes it apart.
    """

    id: str  # the document's id in its store, normally NAMESPACE/ACTIVATION_ID
    form: Form
    body: bytes
    namespace: str
    name: str
    start_ms: int  # epoch milliseconds
    path: str | None = None  # NAMESPACE/[PACKAGE/]NAME where the reader was asked to select by it
    index: str | None = None  # the index it was read from (Elasticsearch)
    remarks: tuple[str, ...] = ()  # kinds of `REMARKS` seen while reading

    @property
    def size_bytes(self) -> int:
        return len(self.body)

    def rejection(self, reason: str) -> Rejection:
        """The same as a document that can't be copied."""
        return Rejection(self.id, reason, self.body, self.namespace, self.form, self.index)


class Rejection(msgspec.Struct, frozen=True, gc=False):
    """A document that can't be copied: why, and the document itself as far as it is known."""

    id: str
    reason: str
    body: bytes
    namespace: str = ""
    form: Form | None = None
    index: str | None = None


ODD_ID, MENDED_ID = "odd-id", "mended-id"

REMARKS = {
    "attachments": "has attachments, which were not copied",
    "conflicts": "has conflicting revisions; only the winning one was copied",
    "couchdb-form": "is stored in Elasticsearch in CouchDB's form; OpenWhisk reads it without annotations and result",
    MENDED_ID: "had an id that OpenWhisk doesn't look up, and is now stored as NAMESPACE/ACTIVATION_ID",
    ODD_ID: "has an id that OpenWhisk doesn't look up; `mend_ids` stores it as NAMESPACE/ACTIVATION_ID",
    "result-not-json": "its result isn't JSON text; it was kept as a string",
}
"""What is worth telling about a document that was copied, by kind."""

LOSSES = frozenset({"attachments", "conflicts"})
"""Kinds of remarks that mean something was left behind: a run with any of them doesn't end with exit code 0."""


class _Header(msgspec.Struct, gc=False):
    """The fields of an activation that are looked at, whatever its form; the names are OpenWhisk's."""

    activationId: str  # noqa: N815  the field's name in OpenWhisk
    namespace: str
    name: str
    start: int
    annotations: msgspec.Raw = msgspec.Raw(b"")
    path: msgspec.Raw = msgspec.Raw(b"")
    attachments: msgspec.Raw | None = msgspec.field(default=None, name="_attachments")
    conflicts: msgspec.Raw | None = msgspec.field(default=None, name="_conflicts")


class _NamedHeader(_Header, gc=False):
    """The same, and the id where the body names it."""

    id: str = msgspec.field(default="", name="_id")


class _Named(msgspec.Struct, gc=False):
    id: str = msgspec.field(name="_id")


_named = decoder(_Named)
_header = decoder(_Header)
_named_header = decoder(_NamedHeader)
_fields = decoder(dict[str, msgspec.Raw])
_annotation_list = decoder(list[dict[str, msgspec.Raw]])
_annotation_object = decoder(dict[str, msgspec.Raw])
_MISSING = msgspec.Raw(b"")


def read_document(
    id: str, body: bytes, form: Form, *, index: str | None = None, with_path: bool = False
) -> Document | Rejection | None:
    """Look at one document's header fields.

    Returns None where it isn't an activation (a design document, another entity, some other tool's record), a
    `Rejection` where it should be one but can't be understood. `with_path` finds the path as well, which costs a look
    into the annotations.
    """
    try:
        header = _header.decode(body)
        start_ms = header.start
    except UNREADABLE:
        found = _read_odd_header(id, body, form, index)
        if not isinstance(found, _Header):
            return found
        header, start_ms = found, found.start
    remarks = _remarks(id, header, form is Form.ELASTICSEARCH)
    path = None
    if with_path:
        path = _string(header.path) if form is Form.ELASTICSEARCH else None
        path = path or activation_path(header.namespace, header.name, header.annotations)
    return Document(id, form, body, header.namespace, header.name, start_ms, path, index, remarks)


Given: TypeAlias = tuple[str | None, bytes, str | None]
"""A document as a store gives it: its id, its body and its index; with None for its id, its body names it (`_id`)."""


def read_plain_documents(given: Iterable[Given], form: Form) -> Iterator[Document | Given]:
    """Look at the header fields of many documents, each as soon as it is given, while its bytes are at hand.

    What `read_document` has more to say of is given back as it is: it isn't an activation, can't be understood, or has
    remarks. The others, nearly all, are what it returns.
    """
    decode, is_elasticsearch = _named_header.decode, form is Form.ELASTICSEARCH
    for each in given:
        id, body, index = each
        try:
            header = decode(body)
        except UNREADABLE:
            yield each
            continue
        if id is None:
            id = header.id
        if not id.isascii() or _remarks(id, header, is_elasticsearch):
            yield each
        else:
            yield Document(id, form, body, header.namespace, header.name, header.start, None, index)


def own_id(body: bytes) -> str:
    """The `_id` in the body of a document in CouchDB form. Raises `msgspec.MsgspecError` where it has none."""
    return _named.decode(body).id


def _remarks(id: str, header: _Header, is_elasticsearch: bool) -> tuple[str, ...]:
    """What is worth telling about a document, as its header shows it."""
    remarks: tuple[str, ...] = ()
    if header.attachments is not None:
        remarks += ("attachments",)
    if header.conflicts is not None:
        remarks += ("conflicts",)
    if is_elasticsearch and bytes(header.annotations).startswith(b"["):
        remarks += ("couchdb-form",)
    if id != f"{header.namespace}/{header.activationId}":
        remarks += (ODD_ID,)
    return remarks


def _read_odd_header(id: str, body: bytes, form: Form, index: str | None) -> _Header | Rejection | None:
    """Tell why a header isn't the ordinary one; accept the spellings that OpenWhisk accepts."""

    def rejection(reason: str) -> Rejection:
        return Rejection(id, reason, body, namespace=id.partition("/")[0], form=form, index=index)

    try:
        fields = _fields.decode(body)
    except UNREADABLE as error:
        return rejection(unreadable(error, body))
    if "activationId" not in fields and _string(fields.get("entityType", _MISSING)) != "activation":
        return None
    texts = {name: _string(fields.get(name, _MISSING)) for name in ("activationId", "namespace", "name")}
    for name, text in texts.items():
        if text is None:
            return rejection(f"{name} is missing or not a string")
    try:
        start_ms = epoch_ms(fields.get("start", _MISSING))
    except ValueError as error:
        return rejection(f"start {error}")
    return _Header(
        activationId=texts["activationId"] or "",
        namespace=texts["namespace"] or "",
        name=texts["name"] or "",
        start=start_ms,
        annotations=fields.get("annotations", _MISSING),
        path=fields.get("path", _MISSING),
        attachments=fields.get("_attachments"),
        conflicts=fields.get("_conflicts"),
    )


def unreadable(error: Exception, body: bytes) -> str:
    """Why JSON can't be taken apart, as a reason for a person. `error` is what `msgspec` raised."""
    if isinstance(error, RecursionError):
        return "is nested too deeply to be read"
    if isinstance(error, UnicodeDecodeError):
        return "is not UTF-8"
    if isinstance(error, msgspec.ValidationError):
        return f"is not a JSON object: {error}"
    if _SURROGATE.search(body):  # msgspec says "truncated" of these
        return "holds a lone surrogate escape (\\ud800 to \\udfff), which is not text"
    return f"is not JSON: {error}"


_SURROGATE = re.compile(rb"\\u[dD][89abAB]..(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..)\\u[dD][c-fC-F]")


def epoch_ms(raw: msgspec.Raw) -> int:
    """The epoch milliseconds of a `start` or `end` as OpenWhisk reads it: a number, cut, or an ISO instant.

    Raises `ValueError` with the end of a sentence. Source: measured on OpenWhisk's `ArtifactActivationStore`.
    """
    try:
        value = decode(raw, int | float | str)
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is None:
                raise ValueError("has no time zone")
            return (moment - _EPOCH) // timedelta(milliseconds=1)
        return int(value)
    except (msgspec.MsgspecError, OverflowError):
        raise ValueError("is missing or not a time in milliseconds") from None
    except ValueError:
        raise ValueError("is text, but not an ISO instant") from None


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _string(raw: msgspec.Raw) -> str | None:
    """The value of a raw JSON string; None where it is missing or anything else."""
    try:
        return decode(raw, str)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def activation_path(namespace: str, name: str, annotations: msgspec.Raw) -> str:
    """The path under which OpenWhisk lists an activation, from its annotations in either form.

    A string `binding` wins over a string `path`; with neither it is NAMESPACE/NAME.
    Source: OpenWhisk's `ElasticSearchActivationStore`, measured.
    """
    found: dict[str, str | None] = {}
    try:
        if bytes(annotations).startswith(b"["):
            for item in _annotation_list.decode(annotations):
                key = _string(item.get("key", _MISSING))
                if key in ("binding", "path"):
                    found[key] = _string(item.get("value", _MISSING))
        elif annotations:
            pairs = _annotation_object.decode(annotations)
            found = {key: _string(pairs[key]) for key in ("binding", "path") if key in pairs}
    except UNREADABLE:
        found = {}
    if (binding := found.get("binding")) is not None:
        return f"{binding}/{name}"
    if (path := found.get("path")) is not None:
        return path
    return f"{namespace}/{name}"


def as_json(value: Any) -> bytes:
    """The JSON bytes of one of our own values (never of a document)."""
    return msgspec.json.encode(value)
