"""Odd documents from any store to any other, on real servers: each one is accounted for and is what it should be.

The local CouchDB server holds numbers as JavaScript does and takes lone surrogates, so it gets only what it can hold.
The shapes `numbers-beyond-2^53`, `numbers-whole-doubles`, `numbers-beyond-doubles`, `keys-like-integers` and
`lone-surrogates` are proven elsewhere: between Elasticsearch servers here, through a scripted CouchDB in
`tests/api/copying/test_exactness.py`, and by the conversions alone in `tests/activations/test_forms.py`.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from migrator.api.copy import copy
from migrator.demo.samples import ODD_SHAPES, label_odd, odd
from migrator.demo.servers import Server
from migrator.engine.report import Report
from migrator.engine.state.jobs import find_job, view_checkpoint
from tests.api.copying.conftest import by_id
from tests.support.documents import in_elasticsearch
from tests.support.losses import expected_after_round_trip, parse_doubles
from tests.support.places import Bodies, CouchDBPlace, Place, SearchPlace

SURROGATES = rb"\ud800 and \udfff"


def different(expected: Bodies, there: Bodies) -> list[str]:
    """The ids of which one side has no document, or another one."""
    return sorted(id for id in expected.keys() | there.keys() if expected.get(id) != there.get(id))


def values(bodies: Bodies) -> dict[str, dict[str, Any]]:
    """The documents as the local CouchDB server holds them, without their revisions."""
    return {id: {k: v for k, v in parse_doubles(body).items() if k != "_rev"} for id, body in bodies.items()}


def agrees(report: Report, target: Place, there: Bodies, *, filtered: int = 0, rejected: int = 0) -> None:
    """The accounts add up, for every namespace, and are those of what is in the target."""
    assert all(counts.adds_up for counts in report.counts.values())
    totals = report.totals
    assert (totals.written, totals.rejected, totals.filtered) == (len(there), rejected, filtered)
    assert (totals.present, totals.differing) == (0, 0)
    assert target.count() == len(there)
    written = {name: counts.written for name, counts in report.counts.items() if counts.written}
    assert written == Counter(id.partition("/")[0] for id in there)
    assert report.exit_code == (3 if rejected else 0)


def test_couchdb_to_elasticsearch_and_back(
    odd_couchdb: CouchDBPlace, search_server: Server, index_prefix: str, couchdb_database: str, state: Path
) -> None:
    """There each is what OpenWhisk would have stored; back again it is the same up to the listed losses."""
    source = odd_couchdb.contents()
    action = source.pop("guest/hello")
    assert b'"entityType":"action"' in action
    assert len(source) >= 5_000
    search, back = SearchPlace(search_server, index_prefix), CouchDBPlace(couchdb_database)

    report = copy(odd_couchdb.location, search.location, state=state)
    there = search.contents()
    agrees(report, search, there, filtered=2)
    assert different({id: in_elasticsearch(id, body).body for id, body in source.items()}, there) == []

    report = copy(search.location, back.location, state=state)
    returned = back.contents()
    agrees(report, back, returned)
    lost = values(source)
    assert {id: expected_after_round_trip(document) for id, document in lost.items()} == values(returned)


def test_elasticsearch_to_elasticsearch(
    odd_elasticsearch: SearchPlace, search_server: Server, index_prefix: str, state: Path
) -> None:
    """From 6.7.2 to every version the bytes are the same, numbers beyond doubles and odd keys included."""
    source, target = odd_elasticsearch.contents(), SearchPlace(search_server, index_prefix)
    assert len(source) >= 5_000
    report = copy(odd_elasticsearch.location, target.location, state=state)
    there = target.contents()
    agrees(report, target, there)
    assert different(source, there) == []


def test_couchdb_to_couchdb(odd_couchdb: CouchDBPlace, couchdb_database: str, state: Path) -> None:
    """The same documents by value, under revisions of the target's own."""
    source, target = odd_couchdb.contents(), CouchDBPlace(couchdb_database)
    del source["guest/hello"]
    report = copy(odd_couchdb.location, target.location, state=state)
    there = target.contents()
    agrees(report, target, there, filtered=2)
    assert values(source) == values(there)


def test_lone_surrogate_is_rejected_with_its_bytes(
    search_server: Server, index_prefix: str, couchdb_database: str, state: Path
) -> None:
    """Elasticsearch takes what is no text; it is set aside with its reason, and all others arrive."""
    label = "lone-surrogates"
    bodies = dict(label_odd(len(ODD_SHAPES), holdable=False))
    ((id, body),) = by_id([bodies[label].replace(SURROGATES, b"@")]).items()
    broken = in_elasticsearch(id, body).body.replace(b"@", SURROGATES)
    good = {id: in_elasticsearch(id, body) for id, body in by_id(odd(200, seed=7, holdable=True)).items()}
    source, target = SearchPlace(search_server, index_prefix), CouchDBPlace(couchdb_database)
    source.put({**{id: document.body for id, document in good.items()}, id: broken})

    report = copy(source.location, target.location, state=state)
    there = target.contents()
    agrees(report, target, there, rejected=1)
    assert there.keys() == good.keys()
    view = find_job(state, report.job)
    checkpoint = view_checkpoint(view)
    (kept,) = checkpoint.aside.documents("rejected")
    checkpoint.close()
    assert (kept.id, kept.body) == (id, broken)
    assert "lone surrogate" in kept.reason
