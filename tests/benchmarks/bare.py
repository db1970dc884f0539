"""Yardsticks with bare sockets: what a server gives and takes at most, with no resume, no checks and no accounts.

Each prints one line of JSON: documents and seconds.

usage: python -m tests.benchmarks.bare all-docs URL DATABASE
       python -m tests.benchmarks.bare windows URL INDEX
       python -m tests.benchmarks.bare post URL PATH FILE      the file has a request body in each line of sizes before
"""

from __future__ import annotations

import base64
import http.client
import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any
from urllib.parse import quote, unquote, urlsplit

CONNECTIONS, PAGE, RANGES = 4, 2_000, 16
PAUSE_S = 0.004
_ROW = b'"value":{"rev"'


def login(url: str) -> dict[str, str]:
    parts = urlsplit(url)
    if not parts.username:
        return {}
    text = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


def ask(url: str, method: str, path: str, body: bytes | None = None) -> Any:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    connection.request(method, path, body, {"Content-Type": "application/json", **login(url)})
    found = json.load(connection.getresponse())
    connection.close()
    return found


def spread(work: Callable[[Any], int], items: list[Any]) -> int:
    """Do the work for all items, several at once; the sum of what each gives."""
    waiting: SimpleQueue[Any] = SimpleQueue()
    for item in items:
        waiting.put(item)

    def drain() -> int:
        done = 0
        while True:
            try:
                item = waiting.get_nowait()
            except Empty:
                return done
            done += work(item)

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        return sum(each.result() for each in [threads.submit(drain) for _ in range(CONNECTIONS)])


def all_docs(url: str, database: str) -> int:
    """Read a database by patient readers: more gathers in the socket between two reads."""
    parts, headers = urlsplit(url), "".join(f"{name}: {value}\r\n" for name, value in login(url).items())
    total = ask(url, "GET", f"/{database}")["doc_count"]
    bounds: list[str | None] = [""]
    for number in range(1, RANGES):
        found = ask(url, "GET", f"/{database}/_all_docs?limit=1&skip={number * total // RANGES}")["rows"]
        bounds += [row["id"] for row in found]
    bounds.append(None)

    def read(span: tuple[str, str | None]) -> int:
        low, high = span
        done = 0
        with socket.create_connection((parts.hostname, parts.port)) as connection:
            while True:
                path = f"/{database}/_all_docs?include_docs=true&limit={PAGE}&startkey={quote(json.dumps(low))}"
                if high is not None:
                    path += f"&endkey={quote(json.dumps(high))}&inclusive_end=false"
                connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {parts.hostname}\r\n{headers}\r\n".encode())
                pieces = [connection.recv(1 << 20)]
                while not pieces[-1].endswith(b"0\r\n\r\n"):
                    time.sleep(PAUSE_S)
                    pieces.append(connection.recv(1 << 20))
                page = b"".join(pieces)
                rows = page.count(_ROW)
                done += rows
                if rows < PAGE:
                    return done
                low = json.loads(page[page.rfind(b'{"id":"') + 6 :].partition(b',"key"')[0]) + "\0"

    return spread(read, list(pairwise(bounds)))


def windows(url: str, index: str) -> int:
    """Read an index by windows of sequence numbers."""
    parts = urlsplit(url)
    spans: list[tuple[str, int, int]] = []
    for name, each in ask(url, "GET", f"/{index}/_stats?level=shards")["indices"].items():
        for number, copies in each["shards"].items():
            last = max(copy["seq_no"]["max_seq_no"] for copy in copies)
            spans += [(name, int(number), low) for low in range(-1, last, PAGE)]

    def read(span: tuple[str, int, int]) -> int:
        name, shard, low = span
        query = {"range": {"_seq_no": {"gt": low, "lte": low + PAGE}}}
        body = json.dumps({"query": query, "size": PAGE, "sort": ["_doc"]}).encode()
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
        path = f"/{quote(name)}/_search?preference=_shards:{shard}&filter_path=hits.hits"
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        page = connection.getresponse().read()
        connection.close()
        return page.count(b'"_source":')

    return spread(read, spans)


def bodies(file: Path) -> Iterator[tuple[int, bytes]]:
    """The documents and the bytes of each request in a file made by `write_bodies`."""
    with file.open("rb") as opened:
        while head := opened.readline():
            documents, size = map(int, head.split())
            yield documents, opened.read(size)


def write_bodies(file: Path, made: Iterator[tuple[int, bytes]]) -> None:
    with file.open("wb") as opened:
        for documents, body in made:
            opened.write(b"%d %d\n" % (documents, len(body)) + body)


def post(url: str, path: str, file: Path) -> int:
    """Post requests that were made in advance, several at once."""
    parts, waiting, turn = urlsplit(url), bodies(file), Lock()

    def send(_: int) -> int:
        connection, done = http.client.HTTPConnection(parts.hostname or "", parts.port), 0
        while True:
            with turn:
                documents, body = next(waiting, (0, b""))
            if not documents:
                return done
            connection.request("POST", path, body, {"Content-Type": "application/json", **login(url)})
            answer = connection.getresponse()
            content = answer.read()
            assert answer.status in (200, 201), content[:500]
            done += documents

    done = spread(send, list(range(CONNECTIONS)))
    if path == "/_bulk":
        ask(url, "POST", "/_refresh")  # without it nothing is found; the end of a restore waits for it as well
    return done


def main() -> None:
    kind, *words = sys.argv[1:]
    began_s = time.monotonic()
    if kind == "post":
        documents = post(words[0], words[1], Path(words[2]))
    else:
        documents = {"all-docs": all_docs, "windows": windows}[kind](*words)
    print(json.dumps({"documents": documents, "seconds": time.monotonic() - began_s}))


if __name__ == "__main__":
    main()
