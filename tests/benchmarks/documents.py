"""What each step on the path of a document costs, beside decoding the same documents with `msgspec` and no more.

No server and no thread: one page of everyday samples, every step again and again, the quickest round counts. Prints
documents for a second of processor time, microseconds for a document and, since machines differ, the share of the
plain decoding, which makes Python objects of every field.

usage: python -m tests.benchmarks.documents [--documents 2000] [--rounds 30]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import islice

import msgspec

from migrator.activations import comparing, forms
from migrator.activations.document import Document, Form, read_document
from migrator.activations.forms import index_name
from migrator.activations.selection import Selection
from migrator.adapters.archive.format import make_frame, new_compressor, read_line
from migrator.adapters.archive.writer import LEVEL
from migrator.adapters.base import Batch, WriteOutcome
from migrator.adapters.elasticsearch.bulk import Bodies
from migrator.adapters.elasticsearch.destinations import Address
from migrator.adapters.shared.lines import as_lines
from migrator.adapters.shared.paging import Page
from migrator.demo import samples
from migrator.engine.accounting import account


class _Row(msgspec.Struct, gc=False):
    id: str
    doc: msgspec.Raw


class _Rows(msgspec.Struct):
    rows: list[_Row]


def measure(rounds: int, step: Callable[[], object]) -> float:
    """The processor seconds of the quickest round."""
    best = float("inf")
    for _ in range(rounds):
        began_s = time.thread_time()
        step()
        best = min(best, time.thread_time() - began_s)
    return best


def converted(documents: list[Document], form: Form) -> list[Document]:
    found = [forms.convert(document, form) for document in documents]
    return [document for document in found if isinstance(document, Document)]


def read_page(rows: list[_Row]) -> Batch:
    """What a reader does with the rows of a page."""
    page = Page(Form.COUCHDB, Selection())
    for row in rows:
        page.take(row.id, bytes(row.doc))
    return page.batch(None, size_bytes=0)


def steps(bodies: list[bytes]) -> dict[str, Callable[[], object]]:
    """Each step by name, with what goes into it prepared."""
    answer = b'{"rows":[%s]}' % b",".join(
        b'{"id":%s,"key":%s,"value":{"rev":"1-0"},"doc":%s}' % (id, id, body)
        for body in bodies
        for id in [msgspec.json.encode(msgspec.json.decode(body)["_id"])]
    )
    decode_rows = msgspec.json.Decoder(_Rows).decode
    rows = decode_rows(answer).rows
    batch = read_page(rows)
    assert len(batch.documents) == len(bodies)
    couchdb = list(batch.documents)
    search = converted(couchdb, Form.ELASTICSEARCH)
    assert len(search) == len(converted(search, Form.COUCHDB)) == len(bodies)
    bulks = Bodies(typed=True)
    lines = as_lines(couchdb).splitlines()
    compressor = new_compressor(LEVEL)
    outcome = WriteOutcome(written=tuple(search))

    def write_bodies() -> list[bytes]:
        addressed = [(Address(index_name("openwhisk-%s", document.namespace)), document) for document in search]
        return [body for _, body in bulks.split("create", addressed, 5_000_000)]

    def whole_path() -> object:
        batch = read_page(decode_rows(answer).rows)
        search = converted(list(batch.documents), Form.ELASTICSEARCH)
        addressed = [(Address(index_name("openwhisk-%s", document.namespace)), document) for document in search]
        list(bulks.split("create", addressed, 5_000_000))
        return account(batch, 1, WriteOutcome(written=tuple(search)), ())

    return {
        "plain decoding": lambda: [msgspec.json.decode(body) for body in bodies],
        "a page into raw documents": lambda: decode_rows(answer),
        "headers": lambda: [read_document(row.id, bytes(row.doc), Form.COUCHDB) for row in rows],
        "headers, with the page around them": lambda: read_page(rows),
        "CouchDB form to Elasticsearch form": lambda: converted(couchdb, Form.ELASTICSEARCH),
        "Elasticsearch form to CouchDB form": lambda: converted(search, Form.COUCHDB),
        "bulk bodies": write_bodies,
        "lines of an archive": lambda: as_lines(couchdb),
        "compressed frames, lines included": lambda: make_frame(couchdb, compressor),
        "lines of an archive, read": lambda: [read_line(line, Form.COUCHDB) for line in lines],
        "accounts": lambda: account(batch, 1, outcome, ()),
        "digest of CouchDB form": lambda: [comparing.digest(document, doubles=True) for document in couchdb],
        "digest of Elasticsearch form": lambda: [comparing.digest(document, doubles=True) for document in search],
        "from page to bulk and accounts": whole_path,
    }


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--documents", type=int, default=2000)
    options.add_argument("--rounds", type=int, default=30)
    chosen = options.parse_args()
    bodies = list(islice(samples.everyday(chosen.documents), chosen.documents))
    print(f"{len(bodies):,} everyday samples of {sum(map(len, bodies)) / len(bodies):,.0f} bytes on average")
    yardstick_s = 0.0
    for name, step in steps(bodies).items():
        took_s = measure(chosen.rounds, step)
        yardstick_s = yardstick_s or took_s
        print(
            f"{name:<36} {len(bodies) / took_s:>11,.0f} documents/s {1e6 * took_s / len(bodies):>7.2f} µs "
            f"{took_s / yardstick_s:>6.2f} of the plain decoding",
            flush=True,
        )


if __name__ == "__main__":
    main()
