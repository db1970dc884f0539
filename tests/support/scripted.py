"""A scripted HTTP server on loopback: plays back given bytes, by a function of the request.

For faults, and for what a real server on this machine can't show. The bytes of an answer are those on the wire, status
line and all; `answer` and `chunked` make them.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit


class Request(NamedTuple):
    """What a client sent; `path` is decoded and without the query."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    target: str = ""  # path and query as they were sent

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Cut(bytes):
    """Bytes after which the connection is closed, whatever was announced."""

    __slots__ = ()


Script = Callable[[Request], bytes]
"""The answer to a request; with empty bytes the connection is closed without one."""


def answer(body: Any, status: int = 200, **headers: str) -> bytes:
    """A whole answer; `body` is sent as it is when it is bytes, else as JSON. Names of headers are given with `_`."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return _head(status, {"Content-Length": str(len(content)), **headers}) + content


def chunked(body: bytes, *, chunk_bytes: int = 1490) -> bytes:
    """A whole answer in chunks, by default of the size that CouchDB sends."""
    pieces = [body[at : at + chunk_bytes] for at in range(0, len(body), chunk_bytes)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return _head(200, {"Transfer-Encoding": "chunked"}) + chunks + b"0\r\n\r\n"


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Scripted", "Content-Type: application/json"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def in_turn(answers: Iterable[bytes]) -> Script:
    """A script that gives one answer after the other, whatever is asked."""
    left = iter(answers)
    return lambda _: next(left)


class Scripted:
    """The server. `requests` are those that came, in order."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.requests: list[Request] = []

    @property
    def paths(self) -> list[str]:
        return [request.path for request in self.requests]


@contextlib.contextmanager
def serve(script: Script, *, tls: ssl.SSLContext | None = None) -> Iterator[Scripted]:
    """Run a script on a free port; an exception in it is raised at the end of the block."""
    failures: list[BaseException] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _play(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
            request = Request(self.command, unquote(parts.path), query, dict(self.headers), body, self.path)
            served.requests.append(request)
            try:
                sent = script(request)
            except BaseException as error:  # noqa: BLE001  told to the test that plays the script
                failures.append(error)
                sent = b""
            with contextlib.suppress(ConnectionError):  # a client may give up while it is answered
                self.wfile.write(sent)
            self.close_connection = isinstance(sent, Cut) or not sent

        do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = _play

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that breaks off is no error of the server."""

    with Server(("127.0.0.1", 0), Handler) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        served = Scripted(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()
    if failures:
        raise failures[0]
