"""What a CouchDB document is after CouchDB -> Elasticsearch -> CouchDB: the table in `forms` told again.

Written on plain parsed JSON, with nothing of `migrator`, so that it can judge `migrator`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any

OWN_FIELDS = {
    "_rev",
    "_attachments",
    "_conflicts",
    "_deleted",
    "_deleted_conflicts",
    "_local_seq",
    "_revisions",
    "_revs_info",
}


@dataclass(frozen=True)
class Number:
    """A JSON number by its text: 1.0, 1 and 1e0 are three numbers."""

    text: str


def parse_exact(text: bytes | str) -> Any:
    """Parsed JSON in which no number was rounded."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogatepass")
    return json.loads(text, parse_int=Number, parse_float=Number)


def parse_doubles(text: bytes | str) -> Any:
    """Parsed JSON with numbers as CouchDB keeps them: integers exact, the others as doubles, 5E-324 as 0.0."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogatepass")
    return json.loads(text, parse_int=Number, parse_float=_double)


def _double(text: str) -> Number:
    value = float(text)
    return Number(repr(value if abs(value) >= 2**-1022 else 0.0 * value))


def expected_after_round_trip(couchdb_document: dict[str, Any]) -> dict[str, Any]:
    """The document that comes back, of one that `parse_exact` or `parse_doubles` gave."""
    after = {
        name: value
        for name, value in couchdb_document.items()
        if name not in OWN_FIELDS and name not in ("path", "@timestamp")
    }
    after["annotations"] = _merged(couchdb_document.get("annotations") or [])
    for name in ("start", "end"):
        if after.get(name) is not None:
            after[name] = _whole_ms(after[name])
    if "response" in after:
        after["response"] = {
            name: value for name, value in after["response"].items() if name != "result" or value is not None
        }
    return after


def _merged(annotations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kept: list[dict[str, Any]] = []
    for annotation in annotations:
        for earlier in kept:
            if earlier["key"] == annotation["key"]:
                earlier["value"] = annotation["value"]
                break
        else:
            kept.append({"key": annotation["key"], "value": annotation["value"]})
    return kept


def _whole_ms(value: Any) -> Number:
    if isinstance(value, Number):
        ms = Fraction(value.text)
    else:
        ms = Fraction(datetime.fromisoformat(value).timestamp()) * 1000
        return Number(str(round(ms)))
    return value if value.text.isdigit() else Number(str(int(ms)))
