"""What goes on, over HTTP: a page for people, health for Kubernetes, metrics for Prometheus.

    /          the page, for browsers; for others as /health
    /live      200 while the daemon looks after its schedules, or the command runs, else 503: start it again
    /health    200 where every schedule is well, else 503: look at it; as JSON, with what `schedule list` prints as JSON
    /metrics   the same for Prometheus, and jobs

Serves what it is given; knows nothing of schedules. Only answers GET, and has no login: it is off by default, and
listens on this machine alone unless an address is given. There it also answers only who asks for this machine: a page
of elsewhere whose name was made to lead here (DNS rebinding) asks for its own name, and would read along.
"""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import cast
from urllib.parse import urlsplit

import msgspec

from migrator.errors import UsageError
from migrator.scheduling.metrics import CONTENT_TYPE
from migrator.scheduling.site import Site
from migrator.settings.stores import netloc
from migrator.text.arguments import argument

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def parse_address(text: str) -> tuple[str, int]:
    """`9464` or `:9464` on this machine alone, `0.0.0.0:9464` or `[::]:9464` for everybody. Raises `UsageError`."""
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdecimal()) or not 0 <= int(port) <= 65_535:
        raise UsageError(f"{argument('listen', text)}: give a port, or an address and a port: 0.0.0.0:9464")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if (":" in bare) is (bare == host) and host:
        raise UsageError(f"{argument('listen', text)}: write an IPv6 address in brackets: [::1]:9464")
    return bare or "127.0.0.1", int(port)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        found.sort(key=lambda each: each[0] != socket.AF_INET)  # a name has both; who asks for it tries IPv4 as well
        self.address_family = found[0][0]
        super().__init__(cast("tuple[str, int]", found[0][4]), handler)

    def server_bind(self) -> None:
        """Without looking up the name of this machine, which takes long where no name server answers."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    @property
    def is_local(self) -> bool:
        return ip_address(str(self.server_address[0]).partition("%")[0]).is_loopback


def _is_this_machine(host: str, name: str) -> bool:
    """Whether a request for this `Host` means this machine: an address, `localhost`, or the name it listens on."""
    try:
        asked = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return False
    if asked in ("localhost", name.lower()) or asked.endswith(".localhost"):
        return True
    try:
        ip_address(asked.partition("%")[0])
    except ValueError:
        return False
    return True


@contextmanager
def serve(address: tuple[str, int], site: Site) -> Iterator[int]:
    """Answer while the block goes on; gives the port. Raises `UsageError` where it can't be listened on."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 10.0  # a client that says nothing must not keep a thread
        server_version = sys_version = ""

        def do_GET(self) -> None:
            if server.is_local and not all(_is_this_machine(each, address[0]) for each in self._hosts()):
                self._answer(421, "text/plain", b"only answered for localhost and addresses; send such a Host\n")
                return
            path = self.path.partition("?")[0]
            wants_page = "text/html" in self.headers.get("Accept", "")
            if path == "/live":
                self._answer(200 if site.alive() else 503, "text/plain", b"alive\n" if site.alive() else b"stuck\n")
            elif path == "/metrics":
                self._answer(200, CONTENT_TYPE, site.metrics())
            elif path == "/" and wants_page:
                self._answer(200, "text/html; charset=utf-8", site.page().encode(errors="replace"))
            elif path in ("/", "/health"):
                well, found = site.health()
                self._answer(200 if well else 503, "application/json", msgspec.json.encode(found) + b"\n")
            else:
                self._answer(404, "text/plain", b"there are /, /live, /health and /metrics\n")

        def _hosts(self) -> list[str]:
            return self.headers.get_all("Host", [])  # a browser always sends it; HTTP/1.0 may do without

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            for name, value in _HEADERS.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Requests aren't worth a line."""

    try:
        server = _Server(address, Handler)
    except (OSError, ValueError) as error:  # the latter for what can't be a name
        reason = getattr(error, "strerror", None) or "no such address"
        raise UsageError(f"{argument('listen', netloc(*address))}: can't listen there: {reason}") from error
    thread = threading.Thread(target=server.serve_forever, name="health", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
