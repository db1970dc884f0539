"""Activations made for tests, in either form."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from migrator.activations import forms
from migrator.activations.document import Document, Form, read_document


def activation_id(number: int) -> str:
    return hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()


def fields(number: int, namespace: str = "guest", **changes: Any) -> dict[str, Any]:
    """An everyday activation in CouchDB form as a dict, without `_id`."""
    start_ms = 1_700_000_000_000 + number * 1_000
    document: dict[str, Any] = {
        "activationId": activation_id(number),
        "annotations": [
            {"key": "path", "value": f"{namespace}/hello"},
            {"key": "kind", "value": "nodejs:20"},
            {"key": "limits", "value": {"concurrency": 1, "logs": 10, "memory": 256, "timeout": 60000}},
        ],
        "duration": 42,
        "end": start_ms + 42,
        "entityType": "activation",
        "logs": [f"line {number}"],
        "name": "hello",
        "namespace": namespace,
        "publish": False,
        "response": {"result": {"number": number}, "statusCode": 0},
        "start": start_ms,
        "subject": "guest",
        "updated": start_ms + 50,
        "version": "0.0.1",
    }
    document.update(changes)
    return {name: value for name, value in document.items() if value is not ...}


def activation(number: int, namespace: str = "guest", *, form: Form = Form.COUCHDB, **changes: Any) -> Document:
    """The same as a `Document` in a form. `...` as a value leaves the field out."""
    content = fields(number, namespace, **changes)
    id = f"{namespace}/{content['activationId']}"
    text = json.dumps({"_id": id, **content}, ensure_ascii=False, separators=(",", ":"))
    body = text.encode("utf-8", "surrogatepass")
    document = read_document(id, body, Form.COUCHDB)
    assert isinstance(document, Document), document
    converted = forms.convert(document, form)
    assert isinstance(converted, Document), converted
    return converted
