"""An HTTP proxy on loopback that stands before one server and alters chosen answers.

Every request is named by its kind. A rule says which kind is altered, how, and whether once or always.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import socket
import struct
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.faults.alterations import ALL_KINDS, Alteration
from tests.faults.exchange import Exchange, Reply
from tests.faults.kinds import Asked
from tests.faults.secrets import TOKEN

_HOP = frozenset(
    {"connection", "content-length", "keep-alive", "transfer-encoding", "content-encoding", "host"}
    | {"authorization", "cookie"}  # the login is the proxy's; the servers behind it ask for none
)
_SESSION = Reply(
    200,
    b'{"ok":true,"name":"laboratory","roles":["_admin"]}',
    {"content-type": "application/json", "set-cookie": f"AuthSession={TOKEN}; Version=1; Path=/; HttpOnly"},
)
_TRICKLE_S = 0.5  # between two bytes
_ROUTE_S = 60


@dataclass
class Rule:
    """`first` is the number of the request of this kind, from 1, from which on the alteration is tried."""

    kind: str
    alteration: Alteration
    first: int = 1
    once: bool = False
    hidden: str = ""
    applied: int = 0
    before: Callable[[], None] | None = None  # what befalls the store before it is asked


@dataclass
class Proxy:
    """The proxy while it runs. `seen` counts the requests by kind since the rule was set."""

    port: int
    rule: Rule | None = None
    seen: Counter[str] = field(default_factory=Counter)
    earlier: dict[str, list[Reply]] = field(default_factory=lambda: defaultdict(list))
    lock: threading.Lock = field(default_factory=threading.Lock)
    closing: threading.Event = field(default_factory=threading.Event)

    def set(self, rule: Rule | None) -> None:
        with self.lock:
            self.rule = rule
            self.seen.clear()
            self.earlier.clear()

    def answer(self, kind: str, asked: Asked, send: Callable[[Asked], Reply]) -> Reply:
        """The reply to send: altered where the rule says so."""
        with self.lock:
            self.seen[kind] += 1
            rule, earlier = self.rule, list(self.earlier[kind])
            number = self.seen[kind]
            due = (
                rule is not None
                and rule.kind in (kind, ALL_KINDS)
                and number >= rule.first
                and not (rule.once and rule.applied)
            )
        if rule and due and rule.before:
            rule.before()
        exchange = Exchange(kind, asked, send, earlier, rule.hidden if rule else "")
        reply = rule.alteration.alter(exchange) if rule and due else None
        with self.lock:
            if rule and reply is not None:
                rule.applied += 1
            if reply is None or exchange.was_sent:
                # What a cache would have: the server's own words, the first and the latest.
                self.earlier[kind] = [*self.earlier[kind][:1], exchange.reply]
        return exchange.reply if reply is None else reply


@contextlib.contextmanager
def running(upstream: int, kind_of: Callable[[Asked], str]) -> Iterator[Proxy]:
    """Run a proxy on a free port before the server on another port of this machine."""
    local = threading.local()

    def send(asked: Asked) -> Reply:
        if asked.method == "POST" and asked.path == "/_session":
            return _SESSION
        for fresh in (False, True):
            connection = getattr(local, "connection", None)
            if connection is None or fresh:
                connection = local.connection = http.client.HTTPConnection("127.0.0.1", upstream, timeout=_ROUTE_S)
            kept = {name: value for name, value in asked.headers.items() if name not in _HOP}
            if "content-encoding" in asked.headers:
                kept["content-encoding"] = asked.headers["content-encoding"]
            try:
                connection.request(asked.method, asked.target, body=asked.body or None, headers=kept)
                answer = connection.getresponse()
                body = answer.read()
            except (OSError, http.client.HTTPException):
                connection.close()
                if fresh:
                    raise
                continue  # the server closed a connection that it kept
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, body, {name: value for name, value in headers.items() if name not in _HOP})
        raise AssertionError("the second round returns or raises")

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _pass(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, self.path, headers, body)
            try:
                reply = proxy.answer(kind_of(asked), asked, send)
                self._send(reply)
            except OSError:  # the client gave up, or the server is away
                self.close_connection = True

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _pass

        def _send(self, reply: Reply) -> None:
            if reply.sending == "closed":
                self.close_connection = True
                return
            time.sleep(reply.delay_s)
            lines = [f"HTTP/1.1 {reply.status} Altered", f"content-length: {len(reply.body)}"]
            lines += [f"{name}: {value}" for name, value in reply.headers.items()]
            head = "\r\n".join([*lines, "", ""]).encode()
            if self.command == "HEAD" or reply.status == 204:
                self.wfile.write(head.replace(b"content-length: 0\r\n", b""))
                return
            if reply.sending.startswith("cut"):
                self.wfile.write(head + reply.body[: 12_000 if reply.sending == "cut-12k" else len(reply.body) // 2])
                self.close_connection = True
                return
            if reply.sending == "reset":
                self.wfile.write(head + reply.body[: len(reply.body) // 2])
                # Closing now throws away what wasn't sent, and the client sees that.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                self.close_connection = True
                return
            if reply.sending == "trickle":
                self.wfile.write(head)
                for at in range(len(reply.body)):
                    self.wfile.write(reply.body[at : at + 1])
                    if proxy.closing.wait(_TRICKLE_S):
                        self.close_connection = True
                        return
                return
            self.wfile.write(head + reply.body)

        def finish(self) -> None:
            super().finish()
            if (connection := getattr(local, "connection", None)) is not None:
                connection.close()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 64

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that breaks off is no error of the proxy."""

    with Server(("127.0.0.1", 0), Handler) as server:
        server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        proxy = Proxy(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.closing.set()
            server.shutdown()
            thread.join()
