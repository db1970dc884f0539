"""CouchDB form and Elasticsearch form of an activation: each made from the other.

A `Document` enters, one in the other form leaves, or the `Rejection` that says why there is none. The top level is
taken apart into names and raw values, what differs between the forms is changed, and the rest is joined again as the
source spelt it: numbers keep every digit, and a field that nobody foresaw comes through. Knows nothing of stores.

| in CouchDB form | in Elasticsearch form |
|---|---|
| `_id`, `_rev` and CouchDB's other own fields | absent |
| no `path` | `path`: string annotation `binding` and the name, else string annotation `path`, else NAMESPACE/NAME |
| no `@timestamp` | `@timestamp`: `start` as Java's `Instant.toString` prints it |
| `annotations`: array of key, value and flags | `annotations`: object; of duplicate keys the last wins, no flags |
| `response.result`: any JSON, or absent | `response.result`: its compact JSON text; `null` where it is absent |

CouchDB -> Elasticsearch -> CouchDB gives the same activation up to what this table loses. The losses are OpenWhisk's
own: its Elasticsearch store can't hold the difference.

| before | after |
|---|---|
| `_rev`, `_attachments`, `_conflicts` and CouchDB's other own fields, except `_id` | absent |
| `path`, `@timestamp` that some other tool put there | absent |
| annotation flags `init`, `encryption`, or others | absent |
| annotations of the same key | one, at the place of the first, with the value of the last |
| `annotations` absent or null | `[]` |
| `response.result` null | absent |
| `start`, `end` as ISO text or with a fraction | whole epoch milliseconds, as OpenWhisk reads them |

Source: measured on OpenWhisk's `ArtifactActivationStore`, `CouchDbRestStore` and `ElasticSearchActivationStore`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Raw

from migrator.activations import canonical as canonical_json
from migrator.activations.document import Document, Form, Rejection, epoch_ms, unreadable
from migrator.text.decoding import UNREADABLE, decoder

COUCHDB_FIELDS = frozenset(
    {
        "_id",
        "_rev",
        "_attachments",
        "_conflicts",
        "_deleted",
        "_deleted_conflicts",
        "_local_seq",
        "_revisions",
        "_revs_info",
    }
)
"""The fields of a document that are CouchDB's own and no part of the activation."""

_LEFT_BEHIND = COUCHDB_FIELDS | {"path", "@timestamp"}


class _Annotation(msgspec.Struct, gc=False):
    """An annotation in CouchDB form; what else is in it is a flag."""

    key: str
    value: Raw


class _Unconvertible(Exception):
    """A document has no counterpart in the other form; the message is the reason."""


_fields = decoder(dict[str, Raw])
_annotations = decoder(list[_Annotation])
_text = decoder(str)
_encode = msgspec.json.Encoder().encode
_NO_RESULT = Raw(b'"null"')
_LONG = range(-(2**63), 2**63)


def convert(document: Document, form: Form) -> Document | Rejection:
    """The same activation in another form; a document that has that form already is returned as it is."""
    if document.form is form:
        return document
    try:
        if form is Form.ELASTICSEARCH:
            return _to_elasticsearch(document)
        return _to_couchdb(document)
    except _Unconvertible as error:
        reason = str(error)
    except UNREADABLE as error:
        reason = unreadable(error, document.body)
    return document.rejection(reason)


# -- CouchDB form to Elasticsearch form ---------------------------------------------------------------------------


def _to_elasticsearch(document: Document) -> Document:
    fields: dict[str, Any] = _fields.decode(document.body)
    for name in COUCHDB_FIELDS & fields.keys():
        del fields[name]
    _settle_times(fields, document.start_ms)
    annotations = _annotation_object(fields.get("annotations"))
    if annotations is not None:
        fields["annotations"] = annotations
    response = fields.get("response")
    if response is not None:
        parts: dict[str, Any] = _parts(response, "response")
        parts["result"] = _result_text(parts.get("result"))
        fields["response"] = parts
    fields["path"] = _path(document, annotations)
    fields["@timestamp"] = instant(document.start_ms)
    return _change(document, Form.ELASTICSEARCH, fields, document.remarks)


def _annotation_object(raw: Raw | None) -> dict[str, Raw] | None:
    """Annotations by key, None where there are none or null."""
    if raw is None:
        return None
    try:
        return {annotation.key: annotation.value for annotation in _annotations.decode(raw)}
    except msgspec.ValidationError as error:
        if bytes(raw) == b"null":
            return None
        raise _Unconvertible(f"annotations are not an array of keys and values: {error}") from None


def _result_text(raw: Raw | None) -> Raw | str:
    if raw is None:
        return _NO_RESULT
    return str(msgspec.json.format(raw, indent=-1), "utf-8")


def _path(document: Document, annotations: dict[str, Raw] | None) -> Raw | str:
    """The path under which OpenWhisk lists an activation. As in `document.activation_path`."""
    if annotations:
        binding = annotations.get("binding")
        if binding is not None and bytes(binding).startswith(b'"'):
            return f"{_text.decode(binding)}/{document.name}"
        path = annotations.get("path")
        if path is not None and bytes(path).startswith(b'"'):
            return path
    return f"{document.namespace}/{document.name}"


_MINUTES = tuple(f"T{minute // 60:02}:{minute % 60:02}:" for minute in range(24 * 60))
_SECONDS = tuple(f"{second:02}" for second in range(60))
_FRACTIONS = ("Z", *(f".{ms:03}Z" for ms in range(1, 1000)))


def instant(epoch_ms: int) -> str:
    """A moment as Java's `Instant.toString` prints it: no fraction where the milliseconds are 0.

    Years before 0 have a minus, years from 10000 on a plus; four digits at least.
    """
    minute, in_minute_ms = divmod(epoch_ms, 60_000)
    second, ms = divmod(in_minute_ms, 1000)
    return f"{_date(minute // 1440)}{_MINUTES[minute % 1440]}{_SECONDS[second]}{_FRACTIONS[ms]}"


@lru_cache(maxsize=4096)
def _date(day: int) -> str:
    """The date of a day counted from 1970-01-01, in the proleptic Gregorian calendar however far away.

    `datetime` ends at the years 1 and 9999. The calendar repeats every 400 years, which are 146,097 days; years are
    counted from March here, so that the leap day is the last of its year.
    """
    era, of_era = divmod(day + 719_468, 146_097)
    year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    day_of_month = of_year - (153 * month + 2) // 5 + 1
    month += 3 if month < 10 else -9
    year += era * 400 + (month <= 2)
    sign = "-" if year < 0 else "+" if year > 9999 else ""
    return f"{sign}{abs(year):04}-{month:02}-{day_of_month:02}"


# -- Elasticsearch form to CouchDB form ---------------------------------------------------------------------------


def _to_couchdb(document: Document) -> Document:
    source = _fields.decode(document.body)
    fields: dict[str, Any] = {"_id": document.id}
    fields.update((name, raw) for name, raw in source.items() if name not in _LEFT_BEHIND)
    _settle_times(fields, document.start_ms)
    remarks = [*document.remarks]
    fields["annotations"] = _annotation_list(fields.get("annotations"), remarks)
    response = fields.get("response")
    if response is not None:
        parts: dict[str, Any] = _parts(response, "response")
        result = _result(parts.get("result"), remarks)
        if result is None:
            del parts["result"]
        else:
            parts["result"] = result
        fields["response"] = parts
    return _change(document, Form.COUCHDB, fields, tuple(dict.fromkeys(remarks)))


def _annotation_list(raw: Raw | None, remarks: list[str]) -> Raw | list[dict[str, Any]]:
    first = bytes(raw)[:1] if raw is not None else b"n"
    if raw is None or first == b"n":  # OpenWhisk reads both as no annotations
        return []
    if first == b"[":
        remarks.append("couchdb-form")
        return raw
    return [{"key": key, "value": value} for key, value in _parts(raw, "annotations").items()]


def _result(raw: Raw | None, remarks: list[str]) -> Raw | bytes | None:
    """The result that a text spells; None where there is no result."""
    if raw is None:
        return Raw(b"{}")  # as OpenWhisk reads it
    first = bytes(raw)[:1]
    if first == b"n":
        return None
    if first != b'"':
        remarks.append("couchdb-form")
        return raw
    text = _text.decode(raw)
    try:
        value = msgspec.json.format(text.encode(), indent=-1)
    except UNREADABLE as error:
        if _is_json(text):
            raise _Unconvertible(f"the JSON text in response.result {unreadable(error, text.encode())}") from None
        remarks.append("result-not-json")
        return raw
    return None if value == b"null" else Raw(value)


def _is_json(text: str) -> bool:
    """Whether a text that `msgspec` refuses is JSON all the same: with a lone surrogate, or nested deeply."""
    try:
        canonical_json.parse(text, doubles=False)
    except ValueError:
        return False
    return True


# -- both ways ----------------------------------------------------------------------------------------------------


def _parts(raw: Raw, name: str) -> dict[str, Raw]:
    try:
        return _fields.decode(raw)
    except msgspec.ValidationError as error:
        raise _Unconvertible(f"{name}: {error}") from None


def _settle_times(fields: dict[str, Any], start_ms: int) -> None:
    """Give `start` and `end` as the whole milliseconds that OpenWhisk reads in them."""
    if start_ms not in _LONG:
        raise _Unconvertible(f"start {start_ms} is beyond any time that OpenWhisk knows")
    if not bytes(fields.get("start", b"")).isdigit():
        fields["start"] = start_ms
    end = fields.get("end")
    if end is not None and not (text := bytes(end)).isdigit() and text != b"null":
        try:
            fields["end"] = epoch_ms(end)
        except ValueError as error:
            raise _Unconvertible(f"end {error}") from None


def _change(document: Document, form: Form, fields: dict[str, Any], remarks: tuple[str, ...]) -> Document:
    return Document(
        document.id,
        form,
        _encode(fields),
        document.namespace,
        document.name,
        document.start_ms,
        document.path,
        document.index,
        remarks,
    )


def index_name(pattern: str, namespace: str) -> str:
    """The index in which OpenWhisk keeps the activations of a namespace."""
    return pattern.replace("%s", namespace.lower())
