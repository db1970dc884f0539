"""What copies start from: no configuration of this machine, and sources of odd documents that are only read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import pytest

from migrator.demo.samples import ODD_SHAPES, label_odd, odd
from migrator.demo.servers import Server
from tests.conftest import fresh_database
from tests.support.documents import in_elasticsearch
from tests.support.places import CouchDBPlace, SearchPlace

ODD_DOCUMENTS = 5_100  # of which some 5,030 can be read


@pytest.fixture(autouse=True)
def _no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIGRATOR_CONFIG", os.devnull)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The state folder of one test; it isn't there yet."""
    return tmp_path / "state"


class _Head(msgspec.Struct):
    id: str = msgspec.field(name="_id")


def by_id(bodies: Iterable[bytes]) -> dict[str, bytes]:
    """Documents in CouchDB form by id."""
    return {msgspec.json.decode(body, type=_Head).id: body for body in bodies}


@pytest.fixture(scope="session")
def odd_couchdb(couchdb_address: str) -> Iterator[CouchDBPlace]:
    """A database with odd documents that its server can hold, a design document and another entity; only read."""
    with fresh_database(couchdb_address) as location:
        place = CouchDBPlace(location)
        place.put(by_id(odd(ODD_DOCUMENTS, holdable=True)))
        place.put({"_design/whisks": b'{"_id":"_design/whisks","views":{}}'})
        place.put({"guest/hello": b'{"_id":"guest/hello","entityType":"action","name":"hello","namespace":"guest"}'})
        yield place


@pytest.fixture(scope="session")
def odd_elasticsearch(elasticsearch_server: Server) -> SearchPlace:
    """Indices of Elasticsearch 6.7.2 with odd documents, also those that the local CouchDB alters; only read."""
    place = SearchPlace(elasticsearch_server, "odd-")
    labelled = label_odd(ODD_DOCUMENTS, holdable=False)
    bodies = by_id(body for label, body in labelled if ODD_SHAPES[label].readable)
    place.put({id: in_elasticsearch(id, body).body for id, body in bodies.items()})
    return place
