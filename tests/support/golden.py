"""The activations in `tests/data/golden`, which OpenWhisk's own stores wrote and read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from migrator.activations.document import Document, Form, read_document

FOLDER = Path(__file__).parents[1] / "data" / "golden"


@dataclass(frozen=True, slots=True)
class Golden:
    """One activation. `elasticsearch` is None where that store refused it; so is `read`, what OpenWhisk reads there."""

    label: str
    couchdb: Document
    elasticsearch: Document | None
    index: str | None
    read: bytes | None


@cache
def activations() -> tuple[Golden, ...]:
    """All of them, in the order of `labels.tsv`."""
    labels = dict(line.split("\t") for line in (FOLDER / "labels.tsv").read_text().splitlines())
    couchdb = {json.loads(line)["_id"]: line for line in _lines("couchdb.ndjson")}
    hits = {hit["_id"]: hit for hit in _raw_lines("elasticsearch.ndjson")}
    reads = {line["_id"]: line.get("activation") for line in _raw_lines("openwhisk-reads-elasticsearch.ndjson")}
    found = []
    for id, label in labels.items():
        hit, read = hits.get(id), reads[id]
        found.append(
            Golden(
                label,
                _document(id, couchdb[id], Form.COUCHDB),
                _document(id, bytes(hit["_source"]), Form.ELASTICSEARCH) if hit else None,
                hit["_index"] if hit else None,
                bytes(read) if read is not None else None,
            )
        )
    return tuple(found)


@cache
def refused_by_couchdb() -> tuple[Document, ...]:
    """Documents that CouchDB refused."""
    return tuple(_document(json.loads(line)["_id"], line, Form.COUCHDB) for line in _lines("couchdb-refused.ndjson"))


def _document(id: str, body: bytes, form: Form) -> Document:
    document = read_document(id, body, form)
    assert isinstance(document, Document), document
    return document


def _lines(name: str) -> list[bytes]:
    return (FOLDER / name).read_bytes().strip().split(b"\n")


def _raw_lines(name: str) -> list[dict[str, Any]]:
    """Lines as dicts in which `_source` and `activation` are raw and the rest is text."""
    found = []
    for line in _lines(name):
        fields = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
        found.append(
            {
                name: raw if name in ("_source", "activation") else msgspec.json.decode(raw)
                for name, raw in fields.items()
            }
        )
    return found
