"""A CouchDB that plays back what it is given byte for byte: for documents that the local server would alter.

It is a script for `tests.scripted.serve`. It answers as CouchDB 3.4 does to what a copy asks, holds documents as bytes,
and checks nothing of them.
"""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterable, Mapping

import msgspec

from tests.scripted import Request, answer, chunked

DATABASE = "acts"
_REV = "1-967a00dff5e02add41819138abb3284d"


class _Sent(msgspec.Struct):
    docs: list[msgspec.Raw]


class _Head(msgspec.Struct):
    id: str = msgspec.field(name="_id")


def _plain(request: Request) -> bytes:
    """The body of a request, which the SDK compresses."""
    return gzip.decompress(request.body) if request.headers.get("content-encoding") == "gzip" else request.body


class ScriptedCouchDB:
    """The script, with its documents by id."""

    def __init__(self, documents: Mapping[str, bytes] | None = None) -> None:
        self.documents = dict(documents or {})
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> bytes:
        with self._lock:
            if request.path == "/":
                return answer({"couchdb": "Welcome", "version": "3.4.2", "uuid": "85fb71bf700c17267fef77535820e371"})
            if request.path == "/_session":
                return answer({"ok": True, "userCtx": {"name": None, "roles": ["_admin"]}})
            operation = request.path.removeprefix(f"/{DATABASE}").removeprefix("/")
            if operation == "":
                about = {"db_name": DATABASE, "doc_count": len(self.documents), "instance_start_time": "1700000000"}
                return answer({**about, "update_seq": self._sequence, "props": {}})
            if operation == "_security":
                return answer({"admins": {"roles": ["_admin"]}, "members": {"roles": ["_admin"]}})
            if operation == "_changes":
                return answer({"results": [], "last_seq": self._sequence, "pending": 0})
            if operation == "_bulk_docs":
                return self._store(_plain(request))
            assert operation == "_all_docs", request
            return self._list(request)

    @property
    def _sequence(self) -> str:
        return f"{len(self.documents)}-g1AAAACbeJzLYWBgYMpgTmHgz8tPSTV0MDQy1zMAQsMckEQiQ1L9____szKYExlzgQLsZskm"

    def _store(self, body: bytes) -> bytes:
        results = []
        for sent in msgspec.json.decode(body, type=_Sent).docs:
            id = msgspec.json.decode(sent, type=_Head).id
            if id in self.documents:
                results.append({"id": id, "error": "conflict", "reason": "Document update conflict."})
            else:
                self.documents[id] = bytes(sent)
                results.append({"ok": True, "id": id, "rev": _REV})
        return answer(results, 201)

    def _list(self, request: Request) -> bytes:
        ids = sorted(self.documents, key=str.encode)
        if request.method == "POST":
            found: Iterable[str] = [id for id in json.loads(_plain(request))["keys"] if id in self.documents]
            offset = 0
        else:
            low, high = (json.loads(request.query.get(name, "null")) for name in ("startkey", "endkey"))
            offset = sum(id < (low or "") for id in ids)
            fitting = [id for id in ids[offset:] if high is None or id < high]
            found = fitting[: int(request.query["limit"])]
        rows = [self._row(id, with_doc="include_docs" in request.query) for id in found]
        head = b'{"total_rows":%d,"offset":%d,"rows":[\r\n' % (len(ids), offset)
        return chunked(head + b",\r\n".join(rows) + b"\r\n]}\n")

    def _row(self, id: str, *, with_doc: bool) -> bytes:
        key = json.dumps(id).encode()
        doc = b',"doc":' + self.documents[id] if with_doc else b""
        return b'{"id":%s,"key":%s,"value":{"rev":"%s"}%s}' % (key, key, _REV.encode(), doc)
