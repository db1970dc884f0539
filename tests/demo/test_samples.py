"""The sample activations are what the demo, the tests and the benchmarks take them for."""

from __future__ import annotations

import json
import re
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from migrator.activations import comparing, forms
from migrator.activations.document import Document, Form, Rejection, read_document
from migrator.demo import samples
from migrator.demo.servers import Server
from tests.support.losses import parse_exact
from tests.support.servers import couchdb_url
from tests.support.servers import request as request_json

FOLDER = Path(__file__).parents[2] / "samples"
ODD = len(samples.ODD_SHAPES)


def document(body: bytes) -> Document:
    found = read_document(parse_exact(body)["_id"], body, Form.COUCHDB)
    assert isinstance(found, Document), found
    return found


def in_elasticsearch(body: bytes) -> Document:
    found = forms.convert(document(body), Form.ELASTICSEARCH)
    assert isinstance(found, Document), found
    return found


def test_samples_are_the_same_every_time() -> None:
    """For the same seed, and the first ones whatever the count; another seed gives others."""
    assert list(samples.everyday(50)) == list(islice(samples.everyday(1000), 50))
    assert list(samples.odd(50, holdable=True)) == list(islice(samples.odd(200, holdable=True), 50))
    for make in (samples.everyday, lambda count, seed: samples.odd(count, seed=seed, holdable=True)):
        ids = [{json.loads(body)["_id"] for body in make(100, seed=seed)} for seed in (1, 2)]
        assert not ids[0] & ids[1]


def test_everyday_samples_are_what_openwhisk_stores() -> None:
    """About 1 kB, compact, with every field of an activation; all kinds and namespaces are there."""
    bodies = list(samples.everyday(2000))
    assert 800 < sum(map(len, bodies)) / len(bodies) < 1200
    found = [json.loads(body) for body in bodies]
    for body, each in zip(bodies, found, strict=True):
        assert json.dumps(each, ensure_ascii=False, separators=(",", ":")).encode() == body
        assert each["_id"] == f"{each['namespace']}/{each['activationId']}"
        assert re.fullmatch("[0-9a-f]{32}", each["activationId"])
        assert len(each["subject"]) >= 5
        assert each["response"]["size"] == len(json.dumps(each["response"]["result"], separators=(",", ":")))
        assert each["end"] == (each["start"] + each["duration"] if "duration" in each else 0)
        assert all(isinstance(line, str) for line in each["logs"])
    assert {each["namespace"] for each in found} == set(samples.NAMESPACES)
    assert {each["response"]["statusCode"] for each in found} == {0, 1, 2}
    keys = {annotation["key"] for each in found for annotation in each["annotations"]}
    assert keys == {"path", "waitTime", "kind", "timeout", "limits", "initTime", "causedBy", "topmost", "binding"}
    assert any("cause" in each for each in found)
    assert any(each["end"] == 0 for each in found)
    assert {json.loads(body)["namespace"] for body in samples.everyday(20, namespaces=["one"])} == {"one"}


def test_ids_are_spread_evenly() -> None:
    """Each first hex digit begins about a sixteenth of the ids."""
    first = [json.loads(body)["activationId"][0] for body in samples.everyday(3200)]
    assert all(130 < first.count(digit) < 270 for digit in "0123456789abcdef")


def test_odd_shapes_come_in_rotation() -> None:
    """Every shape once in each turn; those that the local server alters only where they are requested."""
    labels = [label for label, _ in samples.label_odd(2 * ODD, holdable=False)]
    assert labels == [*samples.ODD_SHAPES] * 2
    held = [label for label, shape in samples.ODD_SHAPES.items() if not shape.not_held]
    assert [label for label, _ in samples.label_odd(len(held) + 1, holdable=True)] == [*held, held[0]]
    bodies = list(samples.odd(5 * ODD, holdable=False))
    assert len({parse_exact(body)["_id"] for body in bodies}) == len(bodies)


@pytest.mark.parametrize("label", samples.ODD_SHAPES)
def test_odd_shapes_are_odd_as_they_say(label: str) -> None:
    """Each differs from the plain one in what it changes; those that can be read have no remarks."""
    shape = samples.ODD_SHAPES[label]
    body = dict(samples.label_odd(ODD, holdable=False))[label]
    fields: dict[str, Any] = parse_exact(body)
    for name, value in shape.changes.items():
        assert (name in fields) is (value is not ...)
    found = read_document(fields["_id"], body, Form.COUCHDB)
    if shape.readable:
        assert isinstance(found, Document)
        assert found.remarks == ()
    else:
        assert isinstance(found, Rejection)


def test_sample_files_are_current() -> None:
    """`python -m migrator.demo.samples` was run after the last change; both files hold the same activations."""
    expected = samples.sample_files()
    assert {path.name: path.read_bytes() for path in FOLDER.glob("activations-*.ndjson")} == expected
    couchdb, elasticsearch = (expected[f"activations-{form}.ndjson"].splitlines() for form in Form)
    assert 25 <= len(couchdb) <= 45
    for line, hit in zip(couchdb, map(parse_exact, elasticsearch), strict=True):
        assert (hit["_index"], hit["_type"]) == (f"openwhisk-{document(line).namespace.lower()}", "_doc")
        assert hit["_id"] == document(line).id
        assert hit["_source"] == parse_exact(in_elasticsearch(line).body)


def test_the_local_couchdb_server_holds_the_holdable_ones(couchdb_database: str) -> None:
    """What it gives back is what it was given, by value."""
    labelled = list(samples.label_odd(ODD, holdable=True))
    made = [*labelled, *(("everyday", body) for body in samples.everyday(100))]
    answer = request_json(
        "POST",
        f"{couchdb_url(couchdb_database)}/_bulk_docs",
        b'{"docs":[' + b",".join(body for _, body in made) + b"]}",
    )
    assert [item for item in answer if "error" in item] == []
    rows = request_json("GET", f"{couchdb_url(couchdb_database)}/_all_docs?include_docs=true")["rows"]
    held = {row["id"]: json.dumps(row["doc"]).encode() for row in rows}
    altered = {
        label: comparing.differing_fields(ours, theirs, doubles=True)
        for label, body in made
        for ours, theirs in [(document(body), document(held[document(body).id]))]
        if not comparing.same(ours, theirs, doubles=True)
    }
    assert altered == {}


@pytest.mark.parametrize("backwards", [False, True])
def test_elasticsearch_takes_them_in_any_order(
    elasticsearch_server: Server, index_prefix: str, backwards: bool
) -> None:
    """Dynamic mapping decides by the first document; none of the samples depends on which that is."""
    labelled = [
        (label, body)
        for label, body in samples.label_odd(2 * ODD, holdable=False)
        if samples.ODD_SHAPES[label].readable
    ]
    made = [*labelled, *(("everyday", body) for body in samples.everyday(200))]
    if backwards:
        made.reverse()
    labels = {}
    lines = []
    for label, body in made:
        found = in_elasticsearch(body)
        labels[found.id] = label
        index = f"{index_prefix}{found.namespace.lower()}"
        lines += [json.dumps({"index": {"_index": index, "_type": "_doc", "_id": found.id}}).encode(), found.body]
    answer = request_json("POST", f"{elasticsearch_server.url}/_bulk", b"\n".join(lines) + b"\n")
    refused = {
        labels[item["index"]["_id"]]: item["index"]["error"] for item in answer["items"] if "error" in item["index"]
    }
    assert refused == {}
