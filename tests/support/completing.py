"""A proxy on loopback that adds to answers of PouchDB's server what CouchDB tells and other tools rely on.

couchbackup asks for changes until nothing is `pending`, and a `_bulk_get` of nothing is never answered. couchrestore
takes a database for an empty one when it has no documents and no deleted ones.
"""

from __future__ import annotations

import gzip
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar


class _Completing(BaseHTTPRequestHandler):
    upstream: ClassVar[str]

    def _pass_on(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None
        if data and self.headers.get("Content-Encoding") == "gzip":
            data = gzip.decompress(data)
        headers = {"Content-Type": "application/json"}
        asked = urllib.request.Request(self.upstream + self.path, data, headers, method=self.command)
        status, body = 200, b""
        try:
            if data and data.startswith(b'{"docs":[]'):
                body = b'{"results":[]}'
            else:
                with urllib.request.urlopen(asked, timeout=60) as answer:
                    body = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                status, body = error.code, error.read()
        if "/_changes" in self.path:
            body = json.dumps({"pending": 0, **json.loads(body)}).encode()
        elif self.command == "GET" and self.path.count("/") == 1 and b'"db_name"' in body:
            body = json.dumps({"doc_del_count": 0, **json.loads(body)}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_POST = do_HEAD = _pass_on

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def completed(url: str) -> Iterator[str]:
    """The URL of a proxy before the server at `url`, for the time of the block."""
    handler = type("_Handler", (_Completing,), {"upstream": url})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            serving.join()
