"""The yardstick: CouchDB to Elasticsearch with bare sockets.

No resume, no checks beyond "no errors", no accounts: what the servers and Python's HTTP client allow at most. For the
everyday samples only. Prints one line of JSON: documents, seconds, own processor seconds.

usage: python -m tests.benchmarks.pump COUCHDB_URL DATABASE ELASTICSEARCH_URL [READERS [WRITERS [PAGE]]]
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from queue import Queue
from urllib.parse import quote, urlsplit

import msgspec

from tests.benchmarks.bare import ask, login


class Row(msgspec.Struct, gc=False):
    id: str
    doc: dict[str, msgspec.Raw]


class Page(msgspec.Struct, gc=False):
    rows: list[Row]


class Annotation(msgspec.Struct, gc=False):
    key: str
    value: msgspec.Raw


pages = msgspec.json.Decoder(Page)
annotation_lists = msgspec.json.Decoder(list[Annotation])
objects = msgspec.json.Decoder(dict[str, msgspec.Raw])
encode = msgspec.json.Encoder().encode


def bulk_lines(row: Row) -> bytes:
    """Make the two lines of a bulk request that index one activation."""
    document = row.doc
    del document["_id"], document["_rev"]
    namespace = msgspec.json.decode(document["namespace"], type=str)
    start_ms = msgspec.json.decode(document["start"], type=int)
    annotations = {item.key: item.value for item in annotation_lists.decode(document["annotations"])}
    response = objects.decode(document["response"])
    response["result"] = msgspec.Raw(encode(bytes(response.get("result", b"null")).decode()))
    document["annotations"] = msgspec.Raw(encode(annotations))
    document["response"] = msgspec.Raw(encode(response))
    seconds, millis = divmod(start_ms, 1000)
    moment = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    document["@timestamp"] = msgspec.Raw(f'"{moment}.{millis:03d}Z"'.encode() if millis else f'"{moment}Z"'.encode())
    document["path"] = annotations.get("path") or msgspec.Raw(encode(f"{namespace}/x"))
    action = {"index": {"_index": f"openwhisk-{namespace.lower()}", "_type": "_doc", "_id": row.id}}
    return encode(action) + b"\n" + encode(document) + b"\n"


def connect(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    return http.client.HTTPConnection(parts.hostname or "", parts.port)


def get_rows(connection: http.client.HTTPConnection, path: str, headers: dict[str, str]) -> list[Row]:
    try:
        connection.request("GET", path, headers=headers)
        return pages.decode(connection.getresponse().read()).rows
    except ConnectionError:
        # The server ends connections that were idle for some seconds, while the writers kept this reader waiting.
        connection.close()
        connection.request("GET", path, headers=headers)
        return pages.decode(connection.getresponse().read()).rows


def key_ranges(couchdb: str, database: str) -> Iterator[tuple[str, str]]:
    """Each namespace in eight ranges by the first hex digit of the activation id."""
    key = ""
    while True:
        rows = ask(couchdb, "GET", f"/{database}/_all_docs?limit=1&startkey={quote(json.dumps(key))}")["rows"]
        if not rows:
            return
        namespace = rows[0]["id"].split("/")[0]
        digits = "02468aceg"
        for low, high in pairwise(digits):
            yield f"{namespace}/{low}", f"{namespace}/{high}"
        key = namespace + "0"  # the character after the slash


def pump(couchdb: str, database: str, search: str, readers: int, writers: int, page: int) -> int:
    """Copy everything; returns the number of documents."""
    ranges, headers = list(key_ranges(couchdb, database)), login(couchdb)
    bodies: Queue[tuple[int, bytes] | None] = Queue(8)
    done: list[int] = []

    def read() -> None:
        connection = connect(couchdb)
        while True:
            try:
                low, high = ranges.pop()
            except IndexError:
                return
            rows: list[Row] = []
            while True:
                query = f"limit={page}&startkey={quote(json.dumps(low))}&endkey={quote(json.dumps(high))}"
                path = f"/{database}/_all_docs?include_docs=true&inclusive_end=false&{query}"
                rows = get_rows(connection, path, headers)
                if rows:
                    bodies.put((len(rows), b"".join(map(bulk_lines, rows))))
                    low = rows[-1].id + "\0"
                if len(rows) < page:
                    break

    def write() -> None:
        connection = connect(search)
        while (item := bodies.get()) is not None:
            connection.request("POST", "/_bulk", item[1], {"Content-Type": "application/x-ndjson"})
            answer = connection.getresponse().read()
            if b'"errors":false' not in answer[:200]:
                raise RuntimeError(answer[:400].decode())
            done.append(item[0])

    writing = [threading.Thread(target=write) for _ in range(writers)]
    reading = [threading.Thread(target=read) for _ in range(readers)]
    for thread in [*writing, *reading]:
        thread.start()
    for thread in reading:
        thread.join()
    for _ in writing:
        bodies.put(None)
    for thread in writing:
        thread.join()
    return sum(done)


def fail_loudly(failure: threading.ExceptHookArgs) -> None:
    """A failed thread ends the run: a yardstick that lost something measures nothing."""
    sys.__excepthook__(failure.exc_type, failure.exc_value or failure.exc_type(), failure.exc_traceback)
    os._exit(1)


if __name__ == "__main__":
    threading.excepthook = fail_loudly
    couchdb, database, search = sys.argv[1:4]
    readers, writers, page = [*map(int, sys.argv[4:]), *(2, 4, 2000)[len(sys.argv) - 4 :]]
    began_s = time.perf_counter()
    documents = pump(couchdb, database, search, readers, writers, page)
    seconds = time.perf_counter() - began_s
    print(json.dumps({"documents": documents, "seconds": seconds, "processor_s": time.process_time()}))
