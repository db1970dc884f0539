"""Documents compared by value, whatever form and bytes they have."""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Any

from migrator.activations import canonical as canonical_json
from migrator.activations.document import Document, Form
from migrator.activations.forms import COUCHDB_FIELDS


def canonical(document: Document, *, doubles: bool) -> bytes:
    """Canonical JSON of an activation: equal bytes for equal values, for documents of the same form.

    Without CouchDB's own fields. Integers count by every digit, other numbers by their text or, with `doubles`, as
    the doubles that CouchDB keeps. In Elasticsearch form `response.result` counts by what its text spells. A body
    that isn't JSON is its own canonical form.
    """
    fields = _values(document, doubles=doubles)
    return document.body if fields is None else canonical_json.encode(fields)


# As CouchDB and `forms` begin a document. A text with an escape isn't matched, so what is cut off ends with its quote.
_COUCHDB_HEAD = re.compile(rb'\{(?:"_id":"[^"\\]*",)?(?:"_rev":"[^"\\]*",)?')


def spelling(document: Document) -> bytes:
    """The bytes of a body without the `_id` and `_rev` that CouchDB puts first.

    Equal bytes mean equal values (`canonical`) of documents of the same form; different bytes mean nothing.
    """
    body = document.body
    if document.form is Form.COUCHDB and (head := _COUCHDB_HEAD.match(body)) is not None:
        return body[head.end() :]
    return body


def digest(document: Document, *, doubles: bool) -> bytes:
    """Sixteen bytes that are equal where `canonical` is."""
    return blake2b(canonical(document, doubles=doubles), digest_size=16).digest()


def same(a: Document, b: Document, *, doubles: bool) -> bool:
    """Whether two documents of the same form are the same activation, by value."""
    return a.body == b.body or canonical(a, doubles=doubles) == canonical(b, doubles=doubles)


def differing_fields(a: Document, b: Document, *, doubles: bool) -> tuple[str, ...]:
    """The names at the top level whose values differ, sorted; for messages. One that isn't JSON differs wholly."""
    if a.body == b.body:
        return ()
    ours, theirs = _values(a, doubles=doubles) or {}, _values(b, doubles=doubles) or {}
    return tuple(
        sorted(
            name
            for name in ours.keys() | theirs.keys()
            if name not in ours
            or name not in theirs
            or canonical_json.encode(ours[name]) != canonical_json.encode(theirs[name])
        )
    )


def _values(document: Document, *, doubles: bool) -> dict[str, Any] | None:
    """The fields that count when documents are compared; None where the body isn't a JSON object."""
    try:
        fields = canonical_json.parse(document.body.decode("utf-8", "surrogatepass"), doubles=doubles)
    except ValueError:
        return None
    if not isinstance(fields, dict):
        return None
    for name in COUCHDB_FIELDS & fields.keys():
        del fields[name]
    if document.form is Form.ELASTICSEARCH:
        response = fields.get("response")
        if isinstance(response, dict) and isinstance(text := response.get("result"), str):
            response["result"] = _canonical_text(text, doubles=doubles)
    return fields


def _canonical_text(text: str, *, doubles: bool) -> str:
    """The canonical spelling of a text that is JSON; any other text as it is.

    It stays a string: a result that is in Elasticsearch as an object isn't the same as its text.
    """
    try:
        value = canonical_json.parse(text, doubles=doubles)
    except ValueError:
        return text
    return canonical_json.encode(value).decode("utf-8", "surrogatepass")
