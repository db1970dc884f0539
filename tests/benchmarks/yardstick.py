"""A CouchDB for benchmarks: it answers from memory, and on the wire as Apache CouchDB 3.5 does.

What decides the speed of a reader, and what PouchDB's server doesn't show: `_all_docs` and `_changes` arrive with one
HTTP chunk for each row, and each chunk in a packet of its own. Unpaced it shows what a client costs by itself; with
`--rate` rows come at that rate, all connections together, and a client shows whether it keeps up.

Prints its port, then serves until its standard input ends.

usage: python -m tests.benchmarks.yardstick [--documents 0] [--rate DOCUMENTS_A_SECOND]
"""

from __future__ import annotations

import argparse
import gzip
import json
import socket
import sys
import threading
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from migrator.demo import samples

_TAIL = (
    "g1AAAACbeJzLYWBgYMpgTmEQTM4vTc5ISXIwNDLXMwBCwxyQVCJDUv3___-zMpgTGXOBAuxGaRaWZimp2DTgMSaPBUgyNACp_yDTEhmyAFuAIG4"
)
_REV = b"1-0785e9eb543380151003dc452c3a001a"
_UUID = "e8ea45ffa910847a73d1cc819a9a9802"
_REASONS = {200: "OK", 201: "Created", 404: "Object Not Found", 412: "Precondition Failed"}


class _Sent(msgspec.Struct):
    docs: list[msgspec.Raw]
    new_edits: bool = True


class _Head(msgspec.Struct):
    id: str = msgspec.field(name="_id")


class Request(NamedTuple):
    method: str
    path: str
    options: dict[str, Any]  # of the query, and of a body that is an object
    body: bytes


class Database:
    """Documents as they were stored, with their revision behind the id."""

    def __init__(self) -> None:
        self.began = str(int(time.time()))
        self.bodies: dict[str, bytes] = {}
        self.changes: list[str] = []  # ids in the order in which they were stored
        self._ids: list[str] = []
        self._lock = threading.Lock()

    def store(self, bodies: Iterable[bytes], *, new_edits: bool = True) -> list[dict[str, Any]]:
        """The results of documents; with revisions of their own there are none where all is well."""
        results: list[dict[str, Any]] = []
        with self._lock:
            for body in bodies:
                id = msgspec.json.decode(body, type=_Head).id
                if id in self.bodies:
                    results.append({"id": id, "error": "conflict", "reason": "Document update conflict."})
                    continue
                self.changes.append(id)
                if not new_edits:
                    self.bodies[id] = body
                    continue
                head, _, rest = body.partition(b",")  # `_id` comes first
                self.bodies[id] = b'%b,"_rev":"%b",%b' % (head, _REV, rest)
                results.append({"ok": True, "id": id, "rev": _REV.decode()})
        return results

    @property
    def ids(self) -> list[str]:
        with self._lock:
            if len(self._ids) != len(self.bodies):
                self._ids = sorted(self.bodies)
            return self._ids

    def row(self, id: str, *, with_doc: bool) -> bytes:
        key, body = json.dumps(id).encode(), self.bodies.get(id)
        if body is None:
            return b'{"key":%b,"error":"not_found"}' % key
        doc = b',"doc":' + body if with_doc else b""
        return b'{"id":%b,"key":%b,"value":{"rev":"%b"}%b}' % (key, key, _REV, doc)

    def change(self, number: int, *, with_doc: bool) -> bytes:
        id = self.changes[number - 1]
        doc = b',"doc":' + self.bodies[id] if with_doc else b""
        key, seq = json.dumps(id).encode(), sequence(number).encode()
        return b'{"seq":"%b","id":%b,"changes":[{"rev":"%b"}]%b}' % (seq, key, _REV, doc)


def sequence(number: int) -> str:
    return f"{number}-{_TAIL}"


class Yardstick:
    """The server; `rate` is how many documents a second it reads or stores."""

    def __init__(self, rate: float | None = None) -> None:
        self.databases: dict[str, Database] = {}
        self._rate = rate
        self._next_s = 0.0
        self._turn = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listening.getsockname()[1]

    def serve(self) -> None:
        while True:
            connection, _ = self._listening.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _pace(self, documents: int = 1) -> None:
        """Wait until it is the turn of the next documents."""
        if self._rate is None:
            return
        with self._turn:
            now_s = time.monotonic()
            due_s = self._next_s = max(self._next_s, now_s - 0.01) + documents / self._rate
        if due_s > now_s:
            time.sleep(due_s - now_s)

    # -- HTTP ---------------------------------------------------------------------------------------------------

    def _talk(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as incoming:
            try:
                while (request := _read(incoming)) is not None:
                    self._answer(connection, request)
            except OSError:  # the client has gone
                return

    def _answer(self, connection: socket.socket, request: Request) -> None:
        name, _, operation = request.path.strip("/").partition("/")
        if not name:
            welcome = {"couchdb": "Welcome", "version": "3.5.0", "uuid": _UUID}
            send_whole(connection, {**welcome, "vendor": {"name": "yardstick"}})
        elif name == "_session":
            send_whole(connection, {"ok": True, "userCtx": {"name": None, "roles": ["_admin"]}})
        elif request.method == "PUT" and not operation:
            self.databases[unquote(name)] = Database()
            send_whole(connection, {"ok": True}, 201)
        elif (database := self.databases.get(unquote(name))) is None:
            send_whole(connection, {"error": "not_found", "reason": "Database does not exist."}, 404)
        elif request.method == "DELETE":
            del self.databases[unquote(name)]
            send_whole(connection, {"ok": True})
        elif not operation:
            send_whole(connection, _about(unquote(name), database), with_body=request.method != "HEAD")
        elif operation == "_bulk_docs":
            sent = msgspec.json.decode(request.body, type=_Sent)
            self._pace(len(sent.docs))
            results = database.store(map(bytes, sent.docs), new_edits=sent.new_edits)
            send_whole(connection, results, 201)
        elif operation == "_security":
            send_whole(connection, {"admins": {"roles": ["_admin"]}, "members": {"roles": ["_admin"]}})
        elif operation == "_changes":
            self._send_rows(connection, *_feed(database, request.options))
        elif operation == "_all_docs":
            self._send_rows(connection, *_list(database, request.options))
        else:
            send_whole(connection, {"error": "not_found", "reason": "missing"}, 404)

    def _send_rows(self, connection: socket.socket, head: bytes, rows: Iterator[bytes], tail: bytes) -> None:
        """One chunk for each row, in a packet of its own."""
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nCache-Control: must-revalidate\r\nContent-Type: application/json\r\n"
            b"Server: CouchDB/3.5.0 (Erlang OTP/25)\r\nTransfer-Encoding: chunked\r\n\r\n" + _chunk(head)
        )
        between = b"\r\n"
        for row in rows:
            self._pace()
            connection.sendall(_chunk(between + row))
            between = b",\r\n"
        connection.sendall(_chunk(b"\r\n" + tail))
        connection.sendall(b"0\r\n\r\n")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def send_whole(connection: socket.socket, value: Any, status: int = 200, *, with_body: bool = True) -> None:
    body = json.dumps(value).encode() + b"\n"
    head = f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    connection.sendall(head.encode() + b"\r\n" + (body if with_body else b""))


def _read(incoming: Any) -> Request | None:
    first = incoming.readline()
    if not first.strip():
        return None
    method, target, _ = first.decode().split(" ")
    headers: dict[str, str] = {}
    while line := incoming.readline().decode().strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = incoming.read(int(headers.get("content-length", 0)))
    if headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    parts = urlsplit(target)
    options: dict[str, Any] = dict(parse_qsl(parts.query))
    if body[:1] == b"{" and not parts.path.endswith("_bulk_docs"):
        options |= json.loads(body)
        for name in ("startkey", "endkey", "start_key", "end_key"):
            if name in options and name in json.loads(body):
                options[name.replace("_", "")] = json.dumps(options[name])
    return Request(method, parts.path, options, body)


def _about(name: str, database: Database) -> dict[str, Any]:
    count = len(database.bodies)
    return {
        "db_name": name,
        "instance_start_time": database.began,
        "doc_count": count,
        "doc_del_count": 0,
        "update_seq": sequence(len(database.changes)),
        "sizes": {"file": 1000 * count, "external": 1000 * count, "active": 1000 * count},
        "cluster": {"q": 2, "n": 1, "w": 1, "r": 1},
        "props": {},
    }


def _is_on(options: dict[str, Any], name: str) -> bool:
    return str(options.get(name, "")).lower() == "true"


def _list(database: Database, options: dict[str, Any]) -> tuple[bytes, Iterator[bytes], bytes]:
    ids, with_doc = database.ids, _is_on(options, "include_docs")
    if "keys" in options:
        chosen, offset = list(options["keys"]), "null"
    else:
        low, high = (json.loads(options[name]) if name in options else None for name in ("startkey", "endkey"))
        skip, limit = int(options.get("skip", 0)), int(options.get("limit", len(ids)))
        if _is_on(options, "descending"):
            top = len(ids) if low is None else bisect_left(ids, f"{low}\0")
            bottom = 0 if high is None else bisect_left(ids, high)
            chosen, offset = ids[bottom:top][::-1][skip : skip + limit], str(len(ids) - top + skip)
        else:
            bottom = 0 if low is None else bisect_left(ids, low)
            top = len(ids) if high is None else bisect_left(ids, high)
            chosen, offset = ids[bottom:top][skip : skip + limit], str(bottom + skip)
    head = f'{{"total_rows":{len(ids)},"offset":{offset},"rows":['.encode()
    return head, (database.row(id, with_doc=with_doc) for id in chosen), b"]}\n"


def _feed(database: Database, options: dict[str, Any]) -> tuple[bytes, Iterator[bytes], bytes]:
    last, since = len(database.changes), str(options.get("since", "0"))
    after = last if since == "now" else int(since.partition("-")[0])
    numbers = range(last, 0, -1) if _is_on(options, "descending") else range(after + 1, last + 1)
    if "doc_ids" in options:
        among = set(options["doc_ids"])
        numbers = [number for number in numbers if database.changes[number - 1] in among]  # type: ignore[assignment]
    chosen = numbers[: int(options.get("limit", last))]
    end = chosen[-1] if len(chosen) else after
    tail = f'],\n"last_seq":"{sequence(end)}","pending":{len(numbers) - len(chosen)}}}\n'.encode()
    with_doc = _is_on(options, "include_docs")
    return b'{"results":[', (database.change(number, with_doc=with_doc) for number in chosen), tail


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--documents", type=int, default=0)
    options.add_argument("--database", default="whisk_local_activations")
    options.add_argument("--rate", type=float)
    chosen = options.parse_args()
    server = Yardstick(chosen.rate)
    database = server.databases[chosen.database] = Database()
    database.store(chain(samples.everyday(chosen.documents)))
    threading.Thread(target=server.serve, daemon=True).start()
    print(server.port, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
