"""An activation as `wsk activation get` shows it.

A document of either form enters, JSON leaves. Numbers keep every digit.

Source: OpenWhisk's `WhiskActivation.toExtendedJson` and `ActivationResponse.toExtendedJson`.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from migrator.activations import forms
from migrator.activations.document import Document, Form
from migrator.text.decoding import decode, decoder

_STATUS = {0: "success", 1: "application error", 2: "action developer error", 3: "whisk internal error"}
_HIDDEN = forms.COUCHDB_FIELDS | {"updated", "entityType"}
_ORDER = (
    *("namespace", "name", "version", "subject", "activationId", "cause", "start", "end", "duration"),
    *("response", "logs", "annotations", "publish"),
)

_fields = decoder(dict[str, Raw])


def as_wsk_shows(document: Document) -> bytes:
    """Compact JSON; a document that can't be converted is given as it stands."""
    converted = forms.convert(document, Form.COUCHDB)
    if not isinstance(converted, Document):
        return document.body
    try:
        fields: dict[str, Any] = _fields.decode(converted.body)
        for name in _HIDDEN & fields.keys():
            del fields[name]
        _settle_end(fields)
        if "response" in fields:
            fields["response"] = _response(fields["response"])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError, ValueError):
        return converted.body
    ordered = {name: fields[name] for name in _ORDER if name in fields}
    return msgspec.json.encode({**ordered, **fields})


def _settle_end(fields: dict[str, Any]) -> None:
    """What didn't end shows no end; what did shows how long it took."""
    end = int(bytes(fields.get("end", b"0")))
    if end == 0:
        fields.pop("end", None)
    elif bytes(fields.get("duration", b"null")) == b"null":
        fields["duration"] = end - int(bytes(fields["start"]))


def _response(raw: Raw) -> dict[str, Any]:
    parts: dict[str, Any] = _fields.decode(raw)
    code = decode(parts["statusCode"], int) if "statusCode" in parts else 0
    return {"status": _STATUS.get(code, str(code)), "statusCode": code, "success": code == 0, **parts}
