"""What detect finds wrong with real stores, and that what it advises helps."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from migrator.activations import forms
from migrator.activations.document import Document, Form
from migrator.adapters.couchdb import probe as couchdb_module
from migrator.adapters.elasticsearch import health as checks_module
from migrator.commands.main import migrator
from migrator.demo import samples
from migrator.demo.servers import Server
from migrator.operations.detect.conclusions import conclude
from migrator.operations.detect.values import Examined
from migrator.testing.documents import activation
from tests.support.servers import request
from tests.support.stores import (
    couchdb_location,
    documents,
    elasticsearch_location,
    fill_couchdb,
    fill_elasticsearch,
    fill_memory,
    new_database,
)

NOW_MS = 1_800_000_000_000


def detect(*words: str) -> dict[str, Any]:
    """The JSON of a detection; its exit code is 0."""
    result = CliRunner().invoke(migrator, ["detect", *words, "--json"], env={"MIGRATOR_CONFIG": os.devnull})
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def kinds(told: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {finding["kind"]: finding for finding in told["findings"]}


@pytest.fixture
def here(elasticsearch_server: Server, index_prefix: str) -> str:
    """The location of the indices of this test."""
    return elasticsearch_location(elasticsearch_server, f"{index_prefix}%s")


def put_settings(server: Server, path: str, settings: dict[str, Any]) -> None:
    request("PUT", f"{server.url}/{path}/_settings", settings)


# -- Elasticsearch ----------------------------------------------------------------------------------------------


def test_a_pattern_without_a_place_for_the_namespace(elasticsearch_server: Server, index_prefix: str) -> None:
    """All namespaces share one index."""
    pattern = f"{index_prefix}all"
    fill_elasticsearch(elasticsearch_server, pattern, [activation(1, "guest"), activation(2, "other")])
    told = detect(elasticsearch_location(elasticsearch_server, pattern))
    assert "(2 of them)" in kinds(told)["pattern-without-namespace"]["text"]
    assert told["probes"][0]["namespaces"] == {"guest": 1, "other": 1}


def raw_activations(count: int, **changes: Any) -> list[Document]:
    """Such as Elasticsearch takes in CouchDB's form: of several types of annotations it refuses all but the first."""
    return [
        activation(number, annotations=[{"key": "path", "value": "guest/hello"}], **changes) for number in range(count)
    ]


def test_documents_in_the_form_of_couchdb_are_counted(
    elasticsearch_server: Server, index_prefix: str, here: str
) -> None:
    """By their number; those that OpenWhisk wrote aren't taken for some, nor one with an annotation called key."""
    plain = {"response": {"statusCode": 0}}
    fill_elasticsearch(elasticsearch_server, f"{index_prefix}%s", raw_activations(7, **plain), as_they_are=True)
    written = [
        activation(number, annotations=[{"key": "key", "value": "x"}, {"key": "path", "value": "guest/hello"}])
        for number in range(100, 105)
    ]
    assert not kinds(detect(here)).keys() & {"mapping"}
    fill_elasticsearch(elasticsearch_server, f"{index_prefix}other", written)
    told = detect(here)
    assert told["probes"][0]["activations"] == 12
    assert kinds(told)["couchdb-form"]["text"].startswith(
        "documents are stored in Elasticsearch in CouchDB's form (about 7)"
    )


def test_what_openwhisk_wrote_is_no_finding(elasticsearch_server: Server, index_prefix: str, here: str) -> None:
    """Everyday activations in a fresh index, apart from the second copy that one node can't have."""
    fill_elasticsearch(elasticsearch_server, f"{index_prefix}%s", documents(samples.everyday(100)))
    assert kinds(detect(here)).keys() == {"no-replica", "no-recent-backup"}


@pytest.mark.parametrize("in_place", [True, False])
def test_documents_in_the_form_of_couchdb_can_be_mended(
    elasticsearch_server: Server,
    secured_couchdb: Server,
    index_prefix: str,
    here: str,
    tmp_path: Path,
    in_place: bool,
) -> None:
    """As the advice says: taken out into a store of CouchDB's form, and written over what is there.

    Where results were mapped as objects, the index is deleted in between. Afterwards all are as OpenWhisk writes them.
    """
    results = {"response": {"result": ["some", "words"], "statusCode": 0}} if in_place else {}
    raw = raw_activations(20, **results)
    fill_elasticsearch(elasticsearch_server, f"{index_prefix}%s", raw, as_they_are=True)
    finding = kinds(detect(here))["couchdb-form"]
    delete = [command for command in finding["commands"] if command.startswith("DELETE ")]
    assert bool(delete) is not in_place
    aside = couchdb_location(secured_couchdb, new_database(secured_couchdb))
    state = ["--state", str(tmp_path), "--quiet"]
    out = CliRunner().invoke(migrator, ["copy", here, aside, *state])
    assert out.exit_code == 0, out.output
    for command in delete:
        request("DELETE", f"{elasticsearch_server.url}{command.removeprefix('DELETE ')}")
    back = CliRunner().invoke(migrator, ["copy", aside, here, "--on-conflict", "overwrite", *state])
    assert back.exit_code == 0, back.output
    told = detect(here)
    assert "couchdb-form" not in kinds(told)
    assert told["probes"][0]["activations"] == 20
    answer = request("GET", f"{elasticsearch_server.url}/{index_prefix}guest/_search?size=100")
    for hit in answer["hits"]["hits"]:
        document = next(each for each in raw if each.id == hit["_id"])
        converted = forms.convert(document, Form.ELASTICSEARCH)
        assert isinstance(converted, Document)
        assert hit["_source"] == json.loads(converted.body)


def test_date_detection(elasticsearch_server: Server, index_prefix: str, here: str) -> None:
    """A name and an annotation that looked like dates when they came first."""
    annotations = [{"key": "day", "value": "2024-01-01"}]
    first = activation(1, name="2024-01-01", annotations=annotations)
    fill_elasticsearch(elasticsearch_server, f"{index_prefix}%s", [first])
    found = [each["text"] for each in detect(here)["findings"] if each["kind"] == "field-is-date"]
    assert len(found) == 2
    assert any("made name a date" in text for text in found)
    assert any("made annotations.day a date" in text for text in found)


@pytest.mark.parametrize(
    ("field", "mapping", "said"),
    [
        ("start", {"type": "text"}, "start is mapped as text"),
        ("path", {"type": "text"}, "path is mapped as text without .keyword"),
        ("@timestamp", {"type": "keyword"}, "@timestamp is mapped as keyword"),
    ],
)
def test_a_mapping_that_breaks_queries(
    elasticsearch_server: Server, index_prefix: str, here: str, field: str, mapping: dict[str, str], said: str
) -> None:
    """Told by field and type; counts are reported all the same."""
    body = {"mappings": {"_doc": {"properties": {field: mapping}}}}
    request("PUT", f"{elasticsearch_server.url}/{index_prefix}guest", body)
    fill_elasticsearch(elasticsearch_server, f"{index_prefix}%s", [activation(1), activation(2)])
    told = detect(here)
    assert said in kinds(told)["mapping"]["text"]
    assert told["probes"][0]["activations"] == 2


def test_closed_and_blocked_indices(elasticsearch_server: Server, index_prefix: str, here: str) -> None:
    """Both with the request that ends it, and the others are counted."""
    for namespace in ("open", "closed", "blocked"):
        fill_elasticsearch(elasticsearch_server, f"{index_prefix}%s", [activation(1, namespace)])
    request("POST", f"{elasticsearch_server.url}/{index_prefix}closed/_close")
    put_settings(elasticsearch_server, f"{index_prefix}blocked", {"index.blocks.write": True})
    told = detect(here)
    assert f"index {index_prefix}closed can't be read" in kinds(told)["closed-indices"]["text"]
    assert kinds(told)["closed-indices"]["commands"] == [f"POST /{index_prefix}closed/_open"]
    assert f"index {index_prefix}blocked take no writes" in kinds(told)["write-block"]["text"].replace("takes", "take")
    assert told["probes"][0]["activations"] == 2


def test_many_small_shards(
    elasticsearch_server: Server, index_prefix: str, here: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five for each of many namespaces; what counts as many is lowered for the test."""
    monkeypatch.setattr(checks_module, "_MANY_INDICES", 3)
    fill_elasticsearch(elasticsearch_server, f"{index_prefix}%s", [activation(n, f"team-{n}") for n in range(3)])
    finding = kinds(detect(here))["many-shards"]
    assert finding["text"].startswith("3 indices of 5 shards each are 15 shards")
    assert "--index-template --shards 1" in finding["advice"]


def test_the_limit_of_shards_and_the_watermarks_of_disks(
    elasticsearch_server: Server, index_prefix: str, here: str
) -> None:
    """Both by the settings of the cluster in force."""
    fill_elasticsearch(elasticsearch_server, f"{index_prefix}%s", [activation(1)])
    disk = "cluster.routing.allocation.disk"
    settings = {
        "cluster.max_shards_per_node": 5,
        f"{disk}.threshold_enabled": True,
        f"{disk}.watermark.low": "1%",
        f"{disk}.watermark.high": "99.98%",
        f"{disk}.watermark.flood_stage": "99.99%",
    }
    where = f"{elasticsearch_server.url}/_cluster/settings"
    request("PUT", where, {"transient": settings})
    try:
        found = kinds(detect(here))
    finally:
        request("PUT", where, {"transient": dict.fromkeys(settings)})
    assert "of the 5 shards that cluster.max_shards_per_node allows are taken" in found["shard-limit"]["text"]
    assert "beyond the watermark low (1%): no new shards are put there" in found["disk-watermark"]["text"]
    assert not kinds(detect(here)).keys() & {"shard-limit", "disk-watermark"}


def test_no_second_copy(elasticsearch_server: Server, index_prefix: str, here: str) -> None:
    """None requested, or none that has a place: the advice differs."""
    fill_elasticsearch(elasticsearch_server, f"{index_prefix}%s", [activation(1)])
    assert "add a data node" in kinds(detect(here))["no-replica"]["advice"]
    put_settings(elasticsearch_server, f"{index_prefix}guest", {"index.number_of_replicas": 0})
    finding = kinds(detect(here))["no-replica"]
    assert finding["commands"] == [f'PUT /{index_prefix}*/_settings {{"index.number_of_replicas": 1}}']


def test_every_version_is_looked_into(search_server: Server, index_prefix: str) -> None:
    """Numbers, times, namespaces, the form, the mapping, and what find finds are those of 6.7."""
    found = documents(samples.everyday(60, namespaces=("guest", "other")))
    fill_elasticsearch(search_server, f"{index_prefix}%s", found)
    raw = activation(1, "raw", name="2024-01-01", annotations=[{"key": "path", "value": "raw/x"}])
    fill_elasticsearch(search_server, f"{index_prefix}%s", [raw], as_they_are=True)
    where = elasticsearch_location(search_server, f"{index_prefix}%s")
    told = detect(where)
    (probe,) = told["probes"]
    counts = {name: sum(document.namespace == name for document in found) for name in ("guest", "other")}
    assert probe["namespaces"] == {**counts, "raw": 1}
    assert (probe["first_ms"], probe["last_ms"]) == (raw.start_ms, found[-1].start_ms)
    assert {"couchdb-form", "field-is-date", "no-replica"} <= kinds(told).keys()
    assert not kinds(told).keys() & {"mapping", "not-looked-at"}
    assert kinds(told)["couchdb-form"]["text"].startswith("documents are stored in Elasticsearch in CouchDB's form (1)")
    words = ["find", found[5].id.partition("/")[2], "--in", where, "--json"]
    result = CliRunner().invoke(migrator, words, env={"MIGRATOR_CONFIG": os.devnull})
    assert json.loads(result.stdout)["id"] == found[5].id
    words = ["find", "--since", "2026-01-01", "--limit", "5", "--in", where, "--json"]
    result = CliRunner().invoke(migrator, words, env={"MIGRATOR_CONFIG": os.devnull})
    newest = [json.loads(line)["id"] for line in result.stdout.splitlines()]
    assert newest == [document.id for document in reversed(found[-5:])]


def test_no_index_is_an_empty_store(here: str) -> None:
    told = detect(here)
    assert told["probes"][0]["places"] == []
    assert told["conclusions"] == ["No store was found that holds activations."]


# -- CouchDB ----------------------------------------------------------------------------------------------------


def test_a_large_database_is_sampled(secured_couchdb: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number and the namespaces are exact, the times are said to be of a sample; --exact reads all."""
    monkeypatch.setattr(couchdb_module, "_FEW", 100)
    monkeypatch.setattr(couchdb_module, "_SPOT_DOCUMENTS", 5)
    found = documents(samples.everyday(500))
    database = new_database(secured_couchdb)
    fill_couchdb(secured_couchdb, database, found, designs=["whisks.v2.1.0"])
    where = couchdb_location(secured_couchdb, database)
    before = request("GET", f"{secured_couchdb.url}/{database}", access=secured_couchdb.access)
    (sampled,) = detect(where)["probes"]
    assert (sampled["activations"], sampled["is_exact"]) == (500, False)
    assert 100 <= sampled["sampled"] <= 6 * 4 * 5
    assert sampled["namespaces"].keys() == set(samples.NAMESPACES)
    assert found[0].start_ms <= sampled["first_ms"] < sampled["last_ms"] <= found[-1].start_ms
    (exact,) = detect(where, "--exact")["probes"]
    assert (exact["activations"], exact["is_exact"]) == (500, True)
    assert (exact["first_ms"], exact["last_ms"]) == (found[0].start_ms, found[-1].start_ms)
    text = CliRunner().invoke(migrator, ["detect", where], env={"MIGRATOR_CONFIG": os.devnull}).stdout
    assert "sampled (--exact reads all)" in " ".join(text.split())
    after = request("GET", f"{secured_couchdb.url}/{database}", access=secured_couchdb.access)
    assert after["update_seq"] == before["update_seq"]


def test_other_documents_and_bad_ones_are_told(secured_couchdb: Server) -> None:
    """A small deployment keeps everything in one database."""
    database = new_database(secured_couchdb)
    action = {"_id": "guest/hello", "entityType": "action", "name": "hello"}
    bad = {"_id": "guest/bad", "activationId": "x"}
    request(
        "POST", f"{secured_couchdb.url}/{database}/_bulk_docs", {"docs": [action, bad]}, access=secured_couchdb.access
    )
    fill_couchdb(secured_couchdb, database, [activation(1)])
    told = detect(couchdb_location(secured_couchdb, database))
    probe = told["probes"][0]
    assert (probe["activations"], probe["others"], probe["unreadable"]) == (1, 1, 1)
    assert "unreadable" in kinds(told)


def test_a_database_that_is_not_there_is_exit_code_10(secured_couchdb: Server) -> None:
    """With those that it may have been mistaken for."""
    where = couchdb_location(secured_couchdb, "not_there")
    result = CliRunner().invoke(migrator, ["detect", where, "--json"], env={"MIGRATOR_CONFIG": os.devnull})
    assert result.exit_code == 10
    told = json.loads(result.stdout)
    assert told["probes"][0]["state"] == "missing"
    assert "not-there" in kinds(told)


# -- backups and what follows ------------------------------------------------------------------------------------


def probe(kind: str, **changes: Any) -> Examined:
    empty = Examined(kind=kind, location=f"{kind}:x", identity=kind, typed=kind, origins=("here",), login="none")
    return msgspec.structs.replace(empty, **changes)


@pytest.mark.parametrize(
    ("archives", "said"),
    [
        ([], "no archive is known here"),
        ([probe("archive")], "holds no backup"),
        ([probe("archive", newest_backup_ms=NOW_MS - 10 * 86_400_000)], "the newest backup is 10 days old"),
        ([probe("archive", newest_backup_ms=NOW_MS - 86_400_000)], None),
    ],
)
def test_backups(archives: list[Examined], said: str | None) -> None:
    """None, none yet, an old one, a fresh one."""
    _, findings, _ = conclude([], archives, now_ms=NOW_MS)
    assert [said in finding.text for finding in findings if said] == ([True] if said else [])


def test_the_archives_of_the_configuration_are_always_looked_at(tmp_path: Path) -> None:
    """For the age of the newest backup, though other stores were named."""
    (tmp_path / "source.ndjson").touch()
    file = tmp_path / "migrator.toml"
    file.write_text(f"[stores.backups]\nlocation = 'archive:{tmp_path}/archive'\n")
    made = CliRunner().invoke(
        migrator, ["backup", "memory:detect-empty", f"archive:{tmp_path}/archive", "--state", str(tmp_path / "state")]
    )
    assert made.exit_code == 0, made.output
    told = detect("memory:detect-empty", "--config", str(file))
    assert [each["kind"] for each in told["probes"]] == ["memory", "archive"]
    assert told["probes"][1]["newest_backup_ms"] > (time.time() - 600) * 1000
    assert "no-recent-backup" not in kinds(told)


def test_without_a_configuration_the_newest_activation_tells() -> None:
    """And the copy goes there."""
    old = probe("couchdb", activations=5, first_ms=0, last_ms=1_000)
    new = probe("elasticsearch", activations=7, first_ms=2_000, last_ms=3_000)
    sentences, _, commands = conclude([], [old, new], now_ms=NOW_MS)
    assert "The newest activation, of 1970-01-01T00:00:03Z, is in Elasticsearch" in sentences[1]
    assert "CouchDB (couchdb:x) holds 5 older ones" in sentences[2]
    assert commands == ("migrator copy couchdb elasticsearch",)


def test_a_date_that_cannot_be_right_decides_nothing() -> None:
    """An activation of 2200, or of 1969, neither makes its store the newest nor dates it."""
    fill_memory("memory:detect-clock", [activation(1, start=7_258_118_400_000), activation(2, start=-1)])
    fill_memory("memory:detect-right", [activation(3)])
    told = detect("memory:detect-clock", "memory:detect-right")
    odd, right = told["probes"]
    assert (odd["activations"], odd["misdated"], odd["first_ms"], odd["last_ms"]) == (2, 2, None, None)
    assert right["misdated"] == 0
    assert "is in memory (memory:detect-right)" in told["conclusions"][1]
    assert "2 activations from before 2010 or from the future" in kinds(told)["misdated"]["text"]
