"""A CouchDB in memory that answers as CouchDB 3.5 does where the local server doesn't: ranks, opaque sequences, chunks.

It is a script for `tests.support.scripted.serve`. It can be rolled back to an earlier snapshot, recreated, and be an
old version that tells nothing of its identity. Documents are kept as the bytes that were stored.
"""

from __future__ import annotations

import base64
import copy
import gzip
import hashlib
import json
import threading
import uuid
from bisect import bisect_left
from collections.abc import Container
from typing import Any, NamedTuple
from urllib.parse import unquote

import msgspec

from tests.support.scripted import Request, answer


class _Stored(NamedTuple):
    rev: str
    body: bytes  # the fields without `_id` and `_rev`, as JSON
    sequence: int
    deleted: bool = False


class _Head(msgspec.Struct):
    id: str = msgspec.field(name="_id")
    rev: str | None = msgspec.field(name="_rev", default=None)
    deleted: bool = msgspec.field(name="_deleted", default=False)


class _Bulk(msgspec.Struct):
    docs: list[msgspec.Raw]
    new_edits: bool = True


class _Database:
    def __init__(self) -> None:
        self.uuid = uuid.uuid4().hex
        self.began = str(1_700_000_000 + int(self.uuid[:6], 16))
        self.documents: dict[str, _Stored] = {}
        self.sequence = 0


class ScriptedCouchDB:
    """The script, with its databases. `version` "2.3.1" tells no identity of server and database."""

    def __init__(self, *, version: str = "3.5.0") -> None:
        self._version = version
        self._uuid = uuid.uuid4().hex
        self._databases: dict[str, _Database] = {}
        self._lock = threading.RLock()

    # -- what a test does past HTTP -------------------------------------------------------------------------------

    def create(self, name: str) -> None:
        self._databases[name] = _Database()

    recreate = create  # an empty database with another identity, whose sequences start over

    def put(self, name: str, id: str, fields: bytes) -> None:
        """Store a document, whatever its bytes are: the inside of an object, without `_id` and `_rev`."""
        with self._lock:
            self._store(self._databases[name], id, fields, deleted=False)

    def snapshot(self, name: str) -> _Database:
        """The files of a database, as a backup of the disk has them."""
        with self._lock:
            return copy.deepcopy(self._databases[name])

    def copy_with(self, name: str, ids: Container[str]) -> _Database:
        """The files as they would be if only these had been stored, the newest of what is kept last."""
        with self._lock:
            earlier = copy.deepcopy(self._databases[name])
            kept = {id: each for id, each in earlier.documents.items() if id in ids}
            earlier.documents = kept
            earlier.sequence = max((each.sequence for each in kept.values()), default=0)
            return earlier

    def roll_back(self, name: str, snapshot: _Database) -> None:
        """Put earlier files in place: the same identity, and sequences that go on from where they stood."""
        with self._lock:
            self._databases[name] = copy.deepcopy(snapshot)

    # -- requests -------------------------------------------------------------------------------------------------

    def __call__(self, request: Request) -> bytes:
        with self._lock:
            return self._answer(request)

    def _answer(self, request: Request) -> bytes:
        # As the server does: the path is taken apart before it is decoded.
        parts = [unquote(part) for part in request.target.partition("?")[0].split("/") if part]
        if not parts:
            vendor = {"name": "The Apache Software Foundation"}
            about = {"couchdb": "Welcome", "version": self._version, "vendor": vendor}
            return answer(about | ({} if self._is_old else {"uuid": self._uuid}))
        if parts[0] == "_session":
            return answer({"ok": True, "userCtx": {"name": None, "roles": ["_admin"]}})
        if parts[0] == "_all_dbs":
            return answer(sorted(self._databases))
        name, rest = parts[0], parts[1:]
        if request.method == "PUT" and not rest:
            self.create(name)
            return answer({"ok": True}, 201)
        database = self._databases.get(name)
        if database is None:
            return _not_found("Database does not exist.")
        if not rest:
            if request.method == "DELETE":
                del self._databases[name]
                return answer({"ok": True})
            return self._about(name, database)
        if rest == ["_security"]:
            return answer({"members": {"roles": ["_admin"]}, "admins": {"roles": ["_admin"]}})
        if rest == ["_all_docs"]:
            return self._all_docs(database, request)
        if rest == ["_changes"]:
            return self._changes(database, request)
        if rest == ["_bulk_docs"]:
            return self._bulk_docs(database, request)
        if rest[0].startswith("_") and rest[0] != "_design":
            return _not_found("missing")
        return self._document(database, rest)

    @property
    def _is_old(self) -> bool:
        return self._version.startswith("2.")

    def _about(self, name: str, database: _Database) -> bytes:
        deleted = sum(each.deleted for each in database.documents.values())
        return answer(
            {
                "db_name": name,
                "update_seq": _sequence(database, database.sequence),
                "doc_count": len(database.documents) - deleted,
                "doc_del_count": deleted,
                "sizes": {"file": 1_000_000, "external": 500_000, "active": 800_000},
                "instance_start_time": "0" if self._is_old else database.began,
                "props": {},
            }
        )

    def _all_docs(self, database: _Database, request: Request) -> bytes:
        ids = sorted((id for id, each in database.documents.items() if not each.deleted), key=str.encode)
        options = {name: json.loads(text) for name, text in request.query.items() if text}
        with_docs = options.get("include_docs", False)
        body = _body(request)
        if request.method == "POST" and "keys" in body:
            rows = [self._row(database, key, with_docs=with_docs) for key in body["keys"]]
            return _in_chunks(b'{"total_rows":%d,"offset":null,"rows":[\r\n' % len(ids), rows, b"\r\n]}\n")
        keys = [id.encode() for id in ids]
        low, high = options.get("startkey", options.get("start_key")), options.get("endkey", options.get("end_key"))
        downwards = options.get("descending", False)
        low, high = (high, low) if downwards else (low, high)
        first = bisect_left(keys, low.encode()) if low is not None else 0
        last = len(keys)
        if high is not None:
            last = bisect_left(keys, high.encode())
            if options.get("inclusive_end", True) and last < len(keys) and ids[last] == high:
                last += 1
        among = ids[first:last][::-1] if downwards else ids[first:last]
        first = len(ids) - last if downwards else first
        chosen = among[options.get("skip", 0) :][: options.get("limit", len(ids))]
        rows = [self._row(database, id, with_docs=with_docs) for id in chosen]
        return _in_chunks(b'{"total_rows":%d,"offset":%d,"rows":[\r\n' % (len(ids), first), rows, b"\r\n]}\n")

    def _row(self, database: _Database, id: str, *, with_docs: bool) -> bytes:
        stored = database.documents.get(id)
        key = json.dumps(id).encode()
        if stored is None:
            return b'{"key":%s,"error":"not_found"}' % key
        value = json.dumps({"rev": stored.rev} | ({"deleted": True} if stored.deleted else {})).encode()
        doc = b""
        if with_docs:
            doc = b',"doc":' + (b"null" if stored.deleted else _whole(id, stored))
        return b'{"id":%s,"key":%s,"value":%s%s}' % (key, key, value, doc)

    def _changes(self, database: _Database, request: Request) -> bytes:
        options: dict[str, Any] = {**request.query, **(_body(request) if request.method == "POST" else {})}
        since = _number(database, str(options.get("since", 0)))
        changed = sorted((each.sequence, id) for id, each in database.documents.items() if each.sequence > since)
        if "doc_ids" in options:
            wanted = set(options["doc_ids"])
            changed = [(sequence, id) for sequence, id in changed if id in wanted]
        limit = max(1, int(options.get("limit", len(changed))))  # as the server: 0 means 1
        shown, pending = changed[:limit], max(0, len(changed) - limit)
        last = shown[-1][0] if pending else max(database.sequence, 0)
        with_docs = str(options.get("include_docs", "")).lower() == "true"
        rows = [self._change(database, sequence, id, with_docs=with_docs) for sequence, id in shown]
        tail = b'\n],\n"last_seq":"%s","pending":%d}\n' % (_sequence(database, last).encode(), pending)
        return _in_chunks(b'{"results":[\n', rows, tail)

    def _change(self, database: _Database, sequence: int, id: str, *, with_docs: bool) -> bytes:
        stored = database.documents[id]
        row: dict[str, Any] = {"seq": _sequence(database, sequence), "id": id, "changes": [{"rev": stored.rev}]}
        row |= {"deleted": True} if stored.deleted else {}
        text = json.dumps(row).encode()
        return text[:-1] + b',"doc":' + _whole(id, stored) + b"}" if with_docs else text

    def _bulk_docs(self, database: _Database, request: Request) -> bytes:
        sent = msgspec.json.decode(_plain(request), type=_Bulk)
        results: list[Any] = []
        for raw in sent.docs:
            head = msgspec.json.decode(raw, type=_Head)
            stored = database.documents.get(head.id)
            fits = stored is None or stored.deleted or stored.rev == head.rev
            if sent.new_edits and not fits:
                results.append({"id": head.id, "error": "conflict", "reason": "Document update conflict."})
                continue
            fields = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
            kept = {name: value for name, value in fields.items() if name not in ("_id", "_rev", "_deleted")}
            body = msgspec.json.encode(kept)[1:-1]
            rev = None if sent.new_edits else head.rev
            stored = self._store(database, head.id, body, deleted=head.deleted, rev=rev)
            if sent.new_edits:
                results.append({"ok": True, "id": head.id, "rev": stored.rev})
        return answer(results, 201)

    def _store(self, database: _Database, id: str, body: bytes, *, deleted: bool, rev: str | None = None) -> _Stored:
        earlier = database.documents.get(id)
        generation = int(earlier.rev.partition("-")[0]) + 1 if earlier else 1
        database.sequence += 1
        digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
        stored = _Stored(rev or f"{generation}-{digest}", body, database.sequence, deleted)
        database.documents[id] = stored
        return stored

    def _document(self, database: _Database, parts: list[str]) -> bytes:
        # Of an id with a slash that isn't encoded, what comes after it names an attachment.
        stored = database.documents.get(parts[0] if len(parts) == 1 else "")
        if stored is None:
            return _not_found("missing")
        if stored.deleted:
            return _not_found("deleted")
        return answer(_whole(parts[0], stored) + b"\n")


def _whole(id: str, stored: _Stored) -> bytes:
    head = {"_id": id, "_rev": stored.rev} | ({"_deleted": True} if stored.deleted else {})
    return json.dumps(head).encode()[:-1] + (b"," + stored.body if stored.body else b"") + b"}"


def _sequence(database: _Database, number: int) -> str:
    """Opaque behind its number; it says which files it is of."""
    return f"{number}-g1AAAA{base64.urlsafe_b64encode(f'{database.uuid}:{number}'.encode()).decode().rstrip('=')}"


def _number(database: _Database, sequence: str) -> int:
    """Where reading begins: at the first change for a sequence of other files, which the server doesn't know."""
    if sequence == "now":
        return database.sequence
    if sequence.isdigit():
        return int(sequence)
    known = sequence == _sequence(database, int(sequence.partition("-")[0]))
    return int(sequence.partition("-")[0]) if known else 0


def _not_found(reason: str) -> bytes:
    return answer({"error": "not_found", "reason": reason}, 404)


def _plain(request: Request) -> bytes:
    zipped = {name.lower(): value for name, value in request.headers.items()}.get("content-encoding") == "gzip"
    return gzip.decompress(request.body) if zipped else request.body


def _body(request: Request) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(_plain(request)) if request.body else {}
    return body


def _in_chunks(head: bytes, rows: list[bytes], tail: bytes) -> bytes:
    """A chunk for each row, as measured on CouchDB 3.5."""
    pieces = [head, *(row + (b",\r\n" if at + 1 < len(rows) else b"") for at, row in enumerate(rows)), tail]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    heading = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    return heading + chunks + b"0\r\n\r\n"
