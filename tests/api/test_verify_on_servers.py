"""Verification of real servers: planted faults are found, exactly those, and mended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from migrator.api.copy import copy
from migrator.api.verify import scope_of_job, verify
from migrator.demo import samples
from migrator.demo.servers import Server
from migrator.engine.verification.values import Verification
from migrator.settings.stores import Store
from tests.adapters.couchdb.test_conformance import store_of as couchdb_store
from tests.adapters.elasticsearch.test_conformance import Raw
from tests.adapters.elasticsearch.test_conformance import store_of as search_store
from tests.support.planting import CouchDBPlace, Place, SearchPlace, plant, remove_extra
from tests.support.servers import couchdb_url, request

DOCUMENTS = 3_000
FAULTS = 12


class World:
    """A CouchDB with everyday activations, and an Elasticsearch that they were copied to."""

    def __init__(self, folder: Path, database: str, server: Server, prefix: str) -> None:
        self.state = folder / "state"
        self.output = folder / "found.ndjson"
        self.database = CouchDBPlace(couchdb_url(database))
        self.database_url = couchdb_url(database)
        self.search = SearchPlace(server.url, prefix, typed=True)
        self.raw = Raw(server, prefix)
        self.stores: dict[str, Store] = {
            "couchdb": couchdb_store(database),
            "elasticsearch": search_store(server, f"{prefix}%s"),
        }
        self.places: dict[str, Place] = {"couchdb": self.database, "elasticsearch": self.search}
        self.ids = self.database.load(samples.everyday(DOCUMENTS))
        report = copy(self.stores["couchdb"], self.stores["elasticsearch"], state=self.state)
        assert report.totals.written == DOCUMENTS
        self.job = report.job

    def verify(self, a: str = "couchdb", b: str = "elasticsearch", **more: Any) -> Verification:
        return verify(self.stores[a], self.stores[b], state=self.state, output=self.output, **more)

    def listed(self) -> dict[str, str]:
        return {line["id"]: line["kind"] for line in map(json.loads, self.output.read_text().splitlines())}


@pytest.fixture
def world(tmp_path: Path, couchdb_database: str, elasticsearch_server: Server, index_prefix: str) -> Iterator[World]:
    yield World(tmp_path, couchdb_database, elasticsearch_server, index_prefix)


@pytest.mark.parametrize(("a", "b"), [("couchdb", "elasticsearch"), ("elasticsearch", "couchdb")])
def test_exactly_what_was_planted_is_found_and_mended(world: World, a: str, b: str) -> None:
    """Of equal stores nothing; of planted faults each; after `copy --ids` only what is extra, then nothing."""
    found = world.verify(a, b)
    assert (found.exit_code, found.totals.a, found.totals.b) == (0, DOCUMENTS, DOCUMENTS)
    assert world.listed() == {}
    planted = plant(world.places[b], world.ids, FAULTS)
    assert world.verify(a, b).exit_code == 4
    assert world.listed() == planted
    report = copy(world.stores[a], world.stores[b], ids=world.output, on_conflict="overwrite", state=world.state)
    assert (report.totals.written, report.exit_code) == (2 * FAULTS, 0)
    found = world.verify(a, b, allow_extra=True)
    assert (found.exit_code, found.totals.extra) == (0, FAULTS)
    remove_extra(world.places[b], planted)
    assert world.verify(a, b).exit_code == 0


def test_a_document_in_another_index_is_found(world: World) -> None:
    """Behind the pattern every index counts: a second copy is extra, one in the wrong index isn't missing."""
    first = next(id for id in world.ids if id.startswith("guest/"))
    other = next(id for id in world.ids if id.startswith("whisk.system/"))
    sources = world.search.get([first, other])
    for id, fields in sources.items():
        world.raw.put(world.raw.index("elsewhere"), id, json.dumps(fields).encode())
    world.search.delete([other])
    found = world.verify()
    assert world.listed() == {first: "extra"}
    (example,) = found.examples
    assert example.note == f"is stored in {world.raw.index('elsewhere')}, {world.raw.index('guest')}"


def test_what_was_stored_and_deleted_meanwhile_is_reported_apart(world: World) -> None:
    """While the verification reads, A gets new documents and changed ones; what was missing before is found."""
    gone = world.ids[17]
    world.search.delete([gone])
    new = samples.everyday(40, seed=77)
    changing = iter(world.ids[100:])
    pages: list[int] = []

    def arrive(_: object) -> None:
        if len(pages) < 30:
            pages.append(1)
            world.database.load(iter([next(new)]))
            id = next(changing)
            fields = dict(world.database.get([id])[id])
            fields["logs"] = ["changed"]
            world.database.put([(id, fields)])

    found = world.verify(observe=arrive)
    assert world.listed() == {gone: "missing"}
    assert len(pages) > 3
    # What came before its slice was read, and what came after nobody looked again, isn't noticed at all.
    assert found.totals.meanwhile <= 2 * len(pages)


def test_what_came_after_a_copy_is_reported_apart(world: World) -> None:
    """By where the copy left A: new documents and changed ones aren't missing there; what it lost is."""
    world.database.load(samples.everyday(3, seed=77))
    changed, gone = world.ids[:2]
    world.database.put([(changed, {**world.database.get([changed])[changed], "logs": ["changed"]})])
    world.search.delete([gone])
    found = world.verify(scope=scope_of_job(world.job, world.state), allow_extra=True)
    assert world.listed() == {gone: "missing"}
    assert found.totals.meanwhile == 4


def test_design_documents_and_other_entities_do_not_count(world: World) -> None:
    """As in a copy."""
    request("PUT", f"{world.database_url}/_design%2Fx", {"views": {}})
    world.raw.put(world.raw.index("guest"), "guest/hello", b'{"entityType":"action","namespace":"guest"}')
    found = world.verify()
    assert (found.exit_code, found.totals.a, found.totals.b) == (0, DOCUMENTS, DOCUMENTS)
