"""Faults planted in real servers past the adapters: what is missing, extra, or changed by as little as one digit."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import quote

import msgspec

from migrator.activations import forms
from migrator.activations.document import Document, Form, read_document
from migrator.demo import samples
from tests.support.servers import request

Fields = dict[str, Any]
_CHUNK = 1000


class Place(Protocol):
    """A store past its adapter."""

    form: Form

    def get(self, ids: Sequence[str]) -> Mapping[str, Fields]:
        """What is stored under ids that are there."""
        ...

    def put(self, documents: Sequence[tuple[str, Fields]]) -> None:
        """Store documents, replacing what is there."""
        ...

    def delete(self, ids: Sequence[str]) -> None: ...


class CouchDBPlace:
    form = Form.COUCHDB

    def __init__(self, url: str) -> None:
        self._url = url

    def get(self, ids: Sequence[str]) -> Mapping[str, Fields]:
        answer = request("POST", f"{self._url}/_all_docs?include_docs=true", {"keys": list(ids)})
        return {row["id"]: row["doc"] for row in answer["rows"]}

    def put(self, documents: Sequence[tuple[str, Fields]]) -> None:
        self._bulk([{**fields, "_id": id} for id, fields in documents])

    def delete(self, ids: Sequence[str]) -> None:
        self._bulk([{"_id": id, "_rev": fields["_rev"], "_deleted": True} for id, fields in self.get(ids).items()])

    def load(self, bodies: Iterator[bytes]) -> list[str]:
        """Store many documents; returns their ids."""
        ids: list[str] = []
        for chunk in _chunks(bodies):
            answer = request("POST", f"{self._url}/_bulk_docs", b'{"docs":[' + b",".join(chunk) + b"]}")
            assert not any("error" in item for item in answer)
            ids += (item["id"] for item in answer)
        return ids

    def _bulk(self, documents: Sequence[Fields]) -> None:
        answer = request("POST", f"{self._url}/_bulk_docs", {"docs": documents})
        assert not any("error" in item for item in answer), answer


class SearchPlace:
    """Elasticsearch, with an index for each namespace; `typed` where documents have a type (6.x)."""

    form = Form.ELASTICSEARCH

    def __init__(self, url: str, prefix: str, *, typed: bool) -> None:
        self._url = url
        self._prefix = prefix
        self._typed = {"_type": "_doc"} if typed else {}

    def get(self, ids: Sequence[str]) -> Mapping[str, Fields]:
        answer = request("POST", f"{self._url}/_mget", {"docs": [self._address(id) for id in ids]})
        return {doc["_id"]: doc["_source"] for doc in answer["docs"]}

    def put(self, documents: Sequence[tuple[str, Fields]]) -> None:
        self._bulk([line for id, fields in documents for line in ({"index": self._address(id)}, fields)])

    def delete(self, ids: Sequence[str]) -> None:
        self._bulk([{"delete": self._address(id)} for id in ids])

    def _address(self, id: str) -> Fields:
        return {"_index": f"{self._prefix}{id.partition('/')[0].lower()}", **self._typed, "_id": id}

    def _bulk(self, lines: Sequence[Fields]) -> None:
        body = "\n".join([*map(json.dumps, lines), ""]).encode()
        answer = request("POST", f"{self._url}/_bulk", body)
        assert not answer["errors"], answer


def plant(place: Place, ids: Sequence[str], each: int, *, seed: int = 1) -> dict[str, str]:
    """Plant `each` faults of every kind among the documents of these ids; returns the kind by id."""
    chance = random.Random(seed)
    order = chance.sample(list(ids), len(ids))
    planted = dict.fromkeys(order[:each], "missing")
    place.delete(list(planted))
    # The changes are taken in turn; a document that one of them doesn't fit is left to the next.
    changed: list[tuple[str, Fields]] = []
    left = iter(order[each:])
    while len(changed) < each:
        id = next(left)
        fields = dict(place.get([id])[id])
        if _CHANGES[len(changed) % len(_CHANGES)](fields, place.form):
            changed.append((id, fields))
    place.put(changed)
    planted.update((id, "different") for id, _ in changed)
    extra = [_document(body, place.form) for body in samples.everyday(each, seed=10_000 + seed)]
    place.put([(document.id, json.loads(document.body)) for document in extra])
    planted.update((document.id, "extra") for document in extra)
    return planted


def remove_extra(place: Place, planted: Mapping[str, str]) -> None:
    """Take away what was planted as extra: a copy never does."""
    place.delete([id for id, kind in planted.items() if kind == "extra"])


def _document(body: bytes, form: Form) -> Document:
    document = read_document(json.loads(body)["_id"], body, Form.COUCHDB)
    assert isinstance(document, Document)
    converted = forms.convert(document, form)
    assert isinstance(converted, Document)
    return converted


def _digit(fields: Fields, form: Form) -> bool:
    """One digit of the result becomes another."""
    result = fields["response"].get("result")
    text = result if form is Form.ELASTICSEARCH else msgspec.json.encode(result).decode()
    changed = re.sub(r"[1-8]", lambda digit: str(int(digit[0]) + 1), text, count=1)
    fields["response"]["result"] = changed if form is Form.ELASTICSEARCH else json.loads(changed)
    return changed != text


def _log_line(fields: Fields, form: Form) -> bool:
    """The first and the last line of the log change places."""
    logs = fields["logs"]
    if len(logs) < 2 or logs[0] == logs[-1]:
        return False
    logs[0], logs[-1] = logs[-1], logs[0]
    return True


def _annotation(fields: Fields, form: Form) -> bool:
    """The limit of memory of an action becomes another."""
    annotations = fields["annotations"]
    if form is Form.COUCHDB:
        annotations = {annotation["key"]: annotation["value"] for annotation in annotations}
    if "limits" not in annotations:
        return False
    annotations["limits"]["memory"] += 1
    return True


_CHANGES: tuple[Callable[[Fields, Form], bool], ...] = (_digit, _log_line, _annotation)


def _chunks(bodies: Iterator[bytes]) -> Iterator[list[bytes]]:
    chunk: list[bytes] = []
    for body in bodies:
        chunk.append(body)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def couchdb_place(server: str, database: str) -> CouchDBPlace:
    """A new database."""
    url = f"{server}/{quote(database, safe='')}"
    request("PUT", url)
    return CouchDBPlace(url)
