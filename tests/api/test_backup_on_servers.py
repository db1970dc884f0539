"""Backups of real servers: what is restored is what was there, and an increment reads what is new.

Odd documents that the local CouchDB server can't hold (`samples.odd` says which) are proven on Elasticsearch here, and
on forms, memory and scripted servers elsewhere.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from migrator.activations.document import Form
from migrator.adapters.memory import _stores, memory_store
from migrator.api.backup import BackupReport, backup
from migrator.api.copy import copy
from migrator.api.restore import restore
from migrator.demo import samples
from migrator.demo.servers import Server
from migrator.settings.stores import Store
from migrator.testing.documents import activation
from tests.adapters.couchdb.test_conformance import store_of as couchdb_store
from tests.adapters.elasticsearch.test_conformance import store_of as search_store
from tests.support.archives import read_archive
from tests.support.losses import expected_after_round_trip, parse_doubles
from tests.support.servers import couchdb_url
from tests.support.servers import request as send


class _Hit(msgspec.Struct):
    id: str = msgspec.field(name="_id")
    source: msgspec.Raw = msgspec.field(name="_source")


class _Hits(msgspec.Struct):
    hits: list[_Hit]


class _Found(msgspec.Struct):
    hits: _Hits


class _Row(msgspec.Struct):
    id: str
    doc: msgspec.Raw


class _Rows(msgspec.Struct):
    rows: list[_Row]


def sources(server: Server, pattern: str) -> dict[str, bytes]:
    """Every `_source` behind a pattern, as the server sends it."""
    indices = quote(pattern.replace("%s", "*"))
    send("POST", f"{server.url}/{indices}/_refresh")
    with urllib.request.urlopen(f"{server.url}/{indices}/_search?size=10000", timeout=60) as answer:
        found = msgspec.json.decode(answer.read(), type=_Found).hits.hits
    assert len(found) < 10_000
    return {hit.id: bytes(hit.source) for hit in found}


def couchdb_documents(location: str) -> dict[str, bytes]:
    """Every document of a database, as the server sends it."""
    with urllib.request.urlopen(f"{couchdb_url(location)}/_all_docs?include_docs=true", timeout=60) as answer:
        return {row.id: bytes(row.doc) for row in msgspec.json.decode(answer.read(), type=_Rows).rows}


def without_revision(body: bytes) -> Any:
    return {name: value for name, value in parse_doubles(body).items() if name != "_rev"}


@pytest.fixture
def second_database(couchdb_database: str) -> Iterator[str]:
    location = f"{couchdb_database}-second"
    send("PUT", couchdb_url(location))
    yield location
    send("DELETE", couchdb_url(location))


@pytest.fixture
def odd_memory() -> Iterator[None]:
    """Everyday and odd activations in memory, in CouchDB form."""
    _stores.clear()
    store = memory_store("odd", Form.COUCHDB)
    for body in chain(samples.everyday(300), samples.odd(500, holdable=False)):
        # A lone surrogate keeps some from being decoded; the ids are plain.
        store.put(body.partition(b'"_id":"')[2].partition(b'"')[0].decode(), body)
    yield
    _stores.clear()


def load(location: str, bodies: Iterator[bytes]) -> None:
    answer = send("POST", f"{couchdb_url(location)}/_bulk_docs", b'{"docs":[' + b",".join(bodies) + b"]}")
    assert not [item for item in answer if "error" in item]


def test_elasticsearch_through_an_archive_into_every_version(
    elasticsearch_server: Server, search_server: Server, index_prefix: str, odd_memory: None, tmp_path: Path
) -> None:
    """6.7.2 -> archive -> each server version: every `_source` is the same bytes."""
    first, second = f"{index_prefix}from-%s", f"{index_prefix}to-%s"
    state = tmp_path / "state"
    loaded = copy("memory:odd", search_store(elasticsearch_server, first), state=state)
    there = sources(elasticsearch_server, first)
    assert len(there) == loaded.totals.written > 700
    archive = f"archive:{tmp_path / 'archive'}"
    made = backup(search_store(elasticsearch_server, first), archive, state=state)
    assert made.backup is not None
    assert made.report.totals.written == made.backup.documents == len(there) - made.report.rejected
    restored = restore(archive, search_store(search_server, second), state=state)
    assert restored.totals.written + restored.rejected == made.backup.documents
    found = sources(search_server, second)
    refused = there.keys() - found.keys()
    assert len(refused) == made.report.rejected + restored.rejected
    assert found == {id: body for id, body in there.items() if id not in refused}
    assert restored.rejected <= 20, "newer versions refuse only what they have refused since"


def test_couchdb_through_an_archive(couchdb_database: str, second_database: str, tmp_path: Path) -> None:
    """CouchDB -> archive -> CouchDB: the archive holds the very bytes, the other database the same documents."""
    load(couchdb_database, chain(samples.everyday(300), samples.odd(500, holdable=True)))
    load(couchdb_database, iter([b'{"_id":"_design/whisks.v2.1.0","views":{}}']))
    archive, state = f"archive:{tmp_path / 'archive'}", tmp_path / "state"
    made = backup(couchdb_store(couchdb_database), archive, state=state)
    assert (made.report.totals.written, made.report.totals.filtered) == (800, 1)
    there = {id: body for id, body in couchdb_documents(couchdb_database).items() if not id.startswith("_design")}
    assert {document.id: document.body for document in read_archive(tmp_path / "archive")} == there
    report = restore(archive, couchdb_store(second_database), state=state)
    assert report.totals.written == 800
    found = couchdb_documents(second_database)
    assert {id: without_revision(body) for id, body in found.items()} == {
        id: without_revision(body) for id, body in there.items()
    }


def test_the_long_way_round(
    couchdb_database: str, second_database: str, elasticsearch_server: Server, index_prefix: str, tmp_path: Path
) -> None:
    """CouchDB -> archive -> Elasticsearch -> archive -> CouchDB: equal up to the table of allowed losses."""
    load(couchdb_database, chain(samples.everyday(200), samples.odd(500, holdable=True)))
    state, pattern = tmp_path / "state", f"{index_prefix}%s"
    first, second = f"archive:{tmp_path / 'first'}", f"archive:{tmp_path / 'second'}"
    search = search_store(elasticsearch_server, pattern)
    backup(couchdb_store(couchdb_database), first, state=state)
    into_search = restore(first, search, state=state)
    backup(search, second, state=state)
    restore(second, couchdb_store(second_database), state=state)
    there, found = couchdb_documents(couchdb_database), couchdb_documents(second_database)
    assert len(found) == into_search.totals.written >= 600
    for id, body in found.items():
        expected = expected_after_round_trip(parse_doubles(there[id]))
        assert without_revision(body) == expected, id


class _Source:
    """A store to back up, and how activations get there past the adapter."""

    def __init__(self, store: Store, put: Any) -> None:
        self.store = store
        self.put = put


@pytest.fixture(params=["couchdb", "elasticsearch"])
def source(request: pytest.FixtureRequest) -> _Source:
    if request.param == "couchdb":
        location = request.getfixturevalue("couchdb_database")

        def put(numbers: range, **changes: Any) -> None:
            load(location, (activation(number, **changes).body for number in numbers))

        return _Source(couchdb_store(location), put)
    server, prefix = request.getfixturevalue("elasticsearch_server"), request.getfixturevalue("index_prefix")

    def put_bulk(numbers: range, **changes: Any) -> None:
        lines: list[bytes] = []
        for number in numbers:
            document = activation(number, form=Form.ELASTICSEARCH, **changes)
            action = {"_index": f"{prefix}guest", "_type": "_doc", "_id": document.id}
            lines += [json.dumps({"index": action}).encode(), document.body]
        assert not send("POST", f"{server.url}/_bulk", b"\n".join([*lines, b""]))["errors"]

    return _Source(search_store(server, f"{prefix}%s"), put_bulk)


@pytest.mark.servers
def test_an_increment_reads_what_is_new_and_misses_nothing(source: _Source, tmp_path: Path) -> None:
    """1,000 new activations, half of which started long before the full backup: the increment reads just these."""
    archive, state = f"archive:{tmp_path / 'archive'}", tmp_path / "state"

    def run() -> BackupReport:
        return backup(source.store, archive, state=state)

    source.put(range(2000, 4000))
    full = run()
    source.put(range(1000, 1500))  # started before those of the full backup
    source.put(range(4000, 4500))
    increment = run()
    assert increment.backup is not None
    assert (increment.backup.mode, increment.backup.documents) == ("incremental", 1000)
    assert increment.report.run_read == 1000
    assert full.backup is not None
    assert increment.backup.parent == full.backup.backup
    ids = sorted(document.id for document in read_archive(tmp_path / "archive"))
    expected = [*range(1000, 1500), *range(2000, 4500)]
    assert ids == sorted(activation(number).id for number in expected)
