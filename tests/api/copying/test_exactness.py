"""What the local CouchDB server would alter, from and to a CouchDB that gives and takes every byte as it is.

These are the shapes that `tests/api/copying/test_directions.py` leaves out: `numbers-beyond-2^53`,
`numbers-whole-doubles`, `numbers-beyond-doubles`, `keys-like-integers` and, read from CouchDB, `lone-surrogates`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from migrator.api.copy import copy
from migrator.demo.samples import ODD_SHAPES, label_odd
from migrator.demo.servers import Server
from tests.api.copying.conftest import by_id
from tests.support.documents import in_elasticsearch
from tests.support.losses import expected_after_round_trip, parse_exact
from tests.support.places import SearchPlace
from tests.support.scripted import serve
from tests.support.scripted_couchdb import DATABASE, ScriptedCouchDB


@pytest.fixture
def unheld() -> dict[str, bytes]:
    """Every shape that the local server alters, twice, by id; CouchDB's revision is in each."""
    labelled = label_odd(2 * len(ODD_SHAPES), holdable=False)
    bodies = by_id(body for label, body in labelled if ODD_SHAPES[label].not_held and ODD_SHAPES[label].readable)
    return {id: body.replace(b'{"_id"', b'{"_rev":"1-967a00","_id"', 1) for id, body in bodies.items()}


def test_every_digit_goes_to_elasticsearch_and_back(
    elasticsearch_server: Server, index_prefix: str, state: Path, unheld: dict[str, bytes]
) -> None:
    """Numbers keep their spelling and keys their order, both ways."""
    search, back = SearchPlace(elasticsearch_server, index_prefix), ScriptedCouchDB()
    with serve(ScriptedCouchDB(unheld)) as source:
        report = copy(f"couchdb://127.0.0.1:{source.port}/{DATABASE}", search.location, state=state, retry_for_s=5)
    assert (report.totals.written, report.exit_code) == (len(unheld), 0)
    assert search.contents() == {id: in_elasticsearch(id, body).body for id, body in unheld.items()}
    with serve(back) as target:
        report = copy(search.location, f"couchdb://127.0.0.1:{target.port}/{DATABASE}", state=state, retry_for_s=5)
    assert (report.totals.written, report.exit_code) == (len(unheld), 0)
    returned = {id: parse_exact(body) for id, body in back.documents.items()}
    assert returned == {id: expected_after_round_trip(parse_exact(body)) for id, body in unheld.items()}


def test_every_byte_goes_from_couchdb_to_couchdb(state: Path, unheld: dict[str, bytes]) -> None:
    """Only the revision is left behind."""
    target = ScriptedCouchDB()
    with serve(ScriptedCouchDB(unheld)) as source, serve(target) as served:
        report = copy(
            f"couchdb://127.0.0.1:{source.port}/{DATABASE}",
            f"couchdb://127.0.0.1:{served.port}/{DATABASE}",
            state=state,
            retry_for_s=5,
        )
    assert (report.totals.written, report.exit_code) == (len(unheld), 0)
    assert target.documents == {id: body.replace(b'"_rev":"1-967a00",', b"") for id, body in unheld.items()}
