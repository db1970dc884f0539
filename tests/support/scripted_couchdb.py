"""A CouchDB that plays back what it is given byte for byte: for documents that the local server would alter.

It is a script for `tests.support.scripted.serve`. It answers as CouchDB 3.5 does to what a copy asks, holds documents
as bytes, and checks nothing of them. `fault` may alter an answer before it is sent. One that `counts` nothing says
where it stands as PouchDB does: in numbers, without what is pending.
"""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from tests.support.scripted import Request, answer, chunked

DATABASE = "acts"
_CONFIG = "/_node/_local/_config/"
_REV = "1-967a00dff5e02add41819138abb3284d"
_TAIL = "g1AAAACbeJzLYWBgYMpgTmHgz8tPSTV0MDQy1zMAQsMckEQiQ1L9____szKYExlzgQLsZskm"


class _Sent(msgspec.Struct):
    docs: list[msgspec.Raw]


class _Head(msgspec.Struct):
    id: str = msgspec.field(name="_id")


Fault = Callable[[str, Request, dict[str, Any]], "dict[str, Any] | bytes | None"]
"""Alters the answer to an operation (`_all_docs`, `_changes`): the operation, what was asked, the answer as JSON.

Bytes that it gives are sent as they are; None leaves the answer as it is.
"""


class ScriptedCouchDB:
    """The script, with its documents by id."""

    def __init__(
        self,
        documents: Mapping[str, bytes] | None = None,
        *,
        fault: Fault | None = None,
        began: str = "1700000000",
        counts: bool = True,
    ) -> None:
        self.counts = counts
        self.documents: dict[str, bytes] = {}
        self.changes: dict[str, int] = {}  # when each id changed, in the order of time
        self.deleted: set[str] = set()
        self.number = 0
        self.began = began
        self.settings: dict[str, dict[str, str]] = {}  # by section, as an administrator reads them
        self.refuses = False  # sequences that another database made
        self.fault = fault
        self.put(documents or {})
        self._lock = threading.Lock()

    def begin_again(self, documents: Mapping[str, bytes], *, began: str) -> None:
        """As a database that was replaced by another one of the same name."""
        vars(self).update(vars(ScriptedCouchDB(documents, began=began, counts=self.counts)))

    def put(self, documents: Mapping[str, bytes]) -> None:
        for id, body in documents.items():
            self._change(id)
            self.documents[id] = body
            self.deleted.discard(id)

    def delete(self, id: str) -> None:
        self._change(id)
        del self.documents[id]
        self.deleted.add(id)

    def _change(self, id: str) -> None:
        self.number += 1
        self.changes.pop(id, None)
        self.changes[id] = self.number

    def __call__(self, request: Request) -> bytes:
        with self._lock:
            if request.path == "/":
                own = {} if self.counts else {"express-pouchdb": "Welcome!"}
                welcome = {"couchdb": "Welcome", "version": "3.5.0", "uuid": "85fb71bf700c17267fef77535820e371"}
                return answer({**own, **welcome})
            if request.path == "/_session":
                return answer({"ok": True, "userCtx": {"name": None, "roles": ["_admin"]}})
            if request.path.startswith(_CONFIG):
                return answer(self.settings.get(request.path.removeprefix(_CONFIG), {}))
            operation = request.path.removeprefix(f"/{DATABASE}").removeprefix("/")
            if operation == "":
                about = {"db_name": DATABASE, "doc_count": len(self.documents), "doc_del_count": len(self.deleted)}
                about |= {"instance_start_time": self.began, "cluster": {"q": 2, "n": 1, "w": 1, "r": 1}}
                return answer({**about, "update_seq": self._sequence(self.number), "props": {}})
            if operation == "_security":
                return answer({"admins": {"roles": ["_admin"]}, "members": {"roles": ["_admin"]}})
            if operation == "_changes" and self.refuses and b"made-elsewhere" in request_text(request):
                reason = "Malformed sequence supplied in 'since' parameter."
                return answer({"error": "bad_request", "reason": reason}, 400)
            if operation == "_changes":
                return self._altered(operation, request, self._feed(request))
            if operation == "_bulk_docs":
                return self._store(content(request))
            assert operation == "_all_docs", request
            return self._altered(operation, request, self._list(request))

    def _altered(self, operation: str, request: Request, body: bytes) -> bytes:
        if self.fault is not None:
            altered = self.fault(operation, request, json.loads(body))
            if altered is not None:
                return altered if isinstance(altered, bytes) else answer(altered)
        return chunked(body)

    def _sequence(self, number: int) -> str | int:
        return f"{number}-{_TAIL}" if self.counts else number

    def _feed(self, request: Request) -> bytes:
        options = {**json.loads(content(request) or b"{}"), **request.query}
        since = str(options.get("since", "0"))
        after = self.number if since == "now" else int(since.partition("-")[0])
        among = options.get("doc_ids", self.changes)
        waiting = [(id, number) for id, number in self.changes.items() if number > after and id in among]
        if str(options.get("descending", "")).lower() == "true":
            waiting = list(self.changes.items())[::-1]
        chosen = waiting[: int(options["limit"])]
        rows = [
            b'{"seq":%s,"id":%s,"changes":[{"rev":"%s"}]%s}'
            % (
                json.dumps(self._sequence(number)).encode(),
                json.dumps(id).encode(),
                (_REV if id not in self.deleted else "2-a").encode(),
                (b',"deleted":true' if id in self.deleted else b"")
                + (b',"doc":' + self.documents.get(id, b"null") if options.get("include_docs") else b""),
            )
            for id, number in chosen
        ]
        last = json.dumps(self._sequence(chosen[-1][1] if chosen else after)).encode()
        pending = b',"pending":%d' % (len(waiting) - len(chosen)) if self.counts else b""
        tail = b'\n],\n"last_seq":%s%s}\n' % (last, pending)
        return b'{"results":[\n' + b",\n".join(rows) + tail

    def _store(self, body: bytes) -> bytes:
        results: list[dict[str, object]] = []
        for sent in msgspec.json.decode(body, type=_Sent).docs:
            id = msgspec.json.decode(sent, type=_Head).id
            if id in self.documents:
                results.append({"id": id, "error": "conflict", "reason": "Document update conflict."})
            else:
                self.put({id: bytes(sent)})
                results.append({"ok": True, "id": id, "rev": _REV})
        return answer(results, 201)

    def _list(self, request: Request) -> bytes:
        ids = sorted(self.documents, key=str.encode)
        if request.method == "POST":
            rows = [
                self._row(id, with_doc="include_docs" in request.query) for id in json.loads(content(request))["keys"]
            ]
            return b'{"total_rows":%d,"offset":null,"rows":[\r\n' % len(ids) + b",\r\n".join(rows) + b"\r\n]}\n"
        low, high = (json.loads(request.query.get(name, "null")) for name in ("startkey", "endkey"))
        skip = int(request.query.get("skip", 0))
        if request.query.get("descending") == "true":
            fitting: Iterable[str] = [id for id in ids[::-1] if (low is None or id <= low) and id >= (high or "")]
            offset = sum(low is not None and id > low for id in ids)
        else:
            fitting = [id for id in ids if id >= (low or "") and (high is None or id < high)]
            offset = sum(id < (low or "") for id in ids)
        found = list(fitting)[skip : skip + int(request.query["limit"])]
        rows = [self._row(id, with_doc="include_docs" in request.query) for id in found]
        head = b'{"total_rows":%d,"offset":%d,"rows":[\r\n' % (len(ids), offset + skip)
        return head + b",\r\n".join(rows) + b"\r\n]}\n"

    def _row(self, id: str, *, with_doc: bool) -> bytes:
        key = json.dumps(id).encode()
        if id in self.deleted:
            return b'{"id":%s,"key":%s,"value":{"rev":"2-a","deleted":true}%s}' % (key, key, b',"doc":null' * with_doc)
        if id not in self.documents:
            return b'{"key":%s,"error":"not_found"}' % key
        doc = b',"doc":' + self.documents[id] if with_doc else b""
        return b'{"id":%s,"key":%s,"value":{"rev":"%s"}%s}' % (key, key, _REV.encode(), doc)


def request_text(request: Request) -> bytes:
    return str(request.query).encode() + content(request)


def content(request: Request) -> bytes:
    """The body of a request, which the SDK compresses."""
    zipped = request.headers.get("content-encoding") == "gzip"
    return gzip.decompress(request.body) if zipped else request.body
