"""What goes on, over HTTP: a page for people, health for Kubernetes, metrics for Prometheus.

    /          the page, for browsers; for others as /health
    /live      200 while the daemon looks after its schedules, or the command runs, else 503: start it again
    /health    200 where every schedule is well, else 503: look at it; as JSON, with what `schedule list` prints as JSON
    /metrics   the same for Prometheus, and jobs

Serves what it is given; knows nothing of schedules. Only answers GET, and has no login: it is off by default, and
listens on this machine alone unless an address is given.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec

from migrator.errors import UsageError
from migrator.scheduling.metrics import CONTENT_TYPE
from migrator.scheduling.site import Site
from migrator.text.arguments import argument

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def parse_address(text: str) -> tuple[str, int]:
    """`9464` or `:9464` on this machine alone, `0.0.0.0:9464` for everybody. Raises `UsageError`."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or not 0 <= int(port) <= 65_535:
        raise UsageError(f"{argument('listen', text)}: give a port, or an address and a port: 0.0.0.0:9464")
    return host.strip("[]") or "127.0.0.1", int(port)


@contextmanager
def serve(address: tuple[str, int], site: Site) -> Iterator[int]:
    """Answer while the block goes on; gives the port. Raises `UsageError` where it can't be listened on."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 10.0  # a client that says nothing must not keep a thread
        server_version = sys_version = ""

        def do_GET(self) -> None:
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
        server = ThreadingHTTPServer(address, Handler)
    except OSError as error:
        raise UsageError(
            f"{argument('listen', f'{address[0]}:{address[1]}')}: can't listen there: {error.strerror or error}"
        ) from error
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="health", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
