"""Purges on real servers: what is proven goes, whatever kills the process, and a restore brings all of it back."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from migrator.activations.document import Form
from migrator.adapters.elasticsearch.removal import ElasticsearchRemover
from migrator.api.backup import backup
from migrator.api.purge import purge
from migrator.api.restore import restore
from migrator.demo.servers import Server
from migrator.engine.removal.dropping import Dropping
from migrator.errors import Unavailable
from migrator.testing.documents import activation
from tests.adapters.couchdb.test_conformance import Raw
from tests.adapters.elasticsearch.test_conformance import Raw as RawElasticsearch
from tests.api.test_purge import Killed
from tests.support.purges import read_log
from tests.support.servers import couchdb_url, request
from tests.support.stores import elasticsearch_location

DAY_MS = 86_400_000
KILLS = int(os.environ.get("MIGRATOR_KILLS", "5"))
"""How often a process is killed; 20 have been tried."""
FIELDS = {"_id", "_rev"}


def aged(number: int, days: float, **changes: Any) -> Any:
    start_ms = int(time.time() * 1000) - int(days * DAY_MS)
    namespace = "guest" if number % 3 else "whisk.system"
    return activation(number, namespace, start=start_ms, end=start_ms + 42, **changes)


def everything(location: str) -> Mapping[str, Any]:
    """What a database holds by id, without what the database gave it."""
    rows = request("GET", f"{couchdb_url(location)}/_all_docs?include_docs=true")["rows"]
    return {row["id"]: {name: value for name, value in row["doc"].items() if name not in FIELDS} for row in rows}


def command(location: str, archive: str, state: Path, *more: str) -> list[str]:
    words = [sys.executable, "-m", "migrator", "purge", location, "--only-if-in", archive, "--older-than", "90d"]
    return [*words, "--state", str(state), "--no-compact", "--json", "--quiet", *more]


def kill_at(words: list[str], state: Path, moment_s: float, *, removing: bool) -> None:
    """Start a process, and end it by SIGKILL a while after its start, or after it began to remove.

    It may end by itself before.
    """
    noted = _noted(state)
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while removing and process.poll() is None and _noted(state) == noted:
        time.sleep(0.02)
    try:
        process.wait(moment_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    process.wait()


def _noted(state: Path) -> list[bytes]:
    """What purges have noted of a batch that they send."""
    return [path.read_bytes() for path in (state / "purges").glob("*/state.json") if b'"id":' in path.read_bytes()]


def test_exactly_what_is_proven_goes_through_kills(couchdb_database: str, tmp_path: Path) -> None:
    """One differs in the archive, one isn't in it, one was changed since: these three stay, and are named.

    The logs of all runs together name each of the others once, and a restore brings back every document as it was.
    """
    raw, archive, state = Raw(couchdb_database), f"archive:{tmp_path}/archive", tmp_path / "state"
    old, young = [aged(number, 100) for number in range(600)], [aged(number, 10) for number in range(600, 700)]
    differs, missing, changed = old[17], old[301], old[555]
    raw.put_all([*old, *young])
    before = everything(couchdb_database)
    raw.put(differs.id, {**before[differs.id], "response": {"statusCode": 1}})
    raw.delete(missing.id)
    backup(couchdb_database, archive, state=state)
    raw.put(differs.id, before[differs.id])
    raw.put(missing.id, before[missing.id])
    raw.put(changed.id, {**before[changed.id], "logs": ["another"]})

    words = command(couchdb_database, archive, state, "--max-rate", "40")
    moments = random.Random(20261125)
    for number in range(KILLS):
        kill_at(words, state, moments.uniform(0.0, 2.0), removing=number % 4 > 0)
    ended = subprocess.run(command(couchdb_database, archive, state), capture_output=True, check=False)
    assert ended.returncode == 3, ended.stderr.decode()

    report = json.loads(ended.stdout)
    stayed = {differs.id: "differs", missing.id: "missing", changed.id: "differs"}
    assert {each["id"]: each["kind"] for each in report["examples"]} == stayed
    assert everything(couchdb_database).keys() == {each.id for each in young} | stayed.keys()
    logs = [read_log(log) for log in sorted((state / "purges").glob("*/*.zst"))]
    assert sum(any(line["what"] == "removed" for line in log) for log in logs) > KILLS // 4
    lines = [line for log in logs for line in log]
    went = sorted(line["id"] for line in lines if line["what"] == "removed")
    assert went == sorted({each.id for each in old} - stayed.keys())
    assert {line["id"] for line in lines if line["what"] == "kept"} == stayed.keys()

    restore(archive, couchdb_database, state=state)
    after = everything(couchdb_database)
    assert {id: after[id] for id in before if id != changed.id} == {id: before[id] for id in before if id != changed.id}


def test_a_recreated_database_is_not_touched(
    couchdb_database: str, tmp_path: Path, between_batches: Callable[[Callable[[], None]], None]
) -> None:
    """It was emptied and filled again, with the same documents: it isn't the one that was proven."""
    raw, archive = Raw(couchdb_database), f"archive:{tmp_path}/archive"
    old = [aged(number, 100) for number in range(20)]
    raw.put_all(old)
    backup(couchdb_database, archive, state=tmp_path)

    def recreate() -> None:
        request("DELETE", raw.url)
        time.sleep(1.1)  # a database is known by the second in which it was made
        request("PUT", raw.url)
        raw.put_all(old[:10])

    between_batches(recreate)
    with pytest.raises(Unavailable, match="deleted or recreated"):
        purge(couchdb_database, archive, older_than="90d", state=tmp_path, retry_for_s=5)
    assert len(everything(couchdb_database)) == 10


def test_conflicting_revisions_keep_a_document(couchdb_database: str, tmp_path: Path) -> None:
    """No archive holds the losing ones; removing the winner would bring one of them forward."""
    raw, archive = Raw(couchdb_database), f"archive:{tmp_path}/archive"
    old = [aged(number, 100) for number in range(10)]
    raw.put_all(old)
    loser = {**json.loads(old[3].body), "_rev": "1-00000000000000000000000000000001", "logs": ["the other version"]}
    request("POST", f"{raw.url}/_bulk_docs", {"docs": [loser], "new_edits": False})
    backup(couchdb_database, archive, state=tmp_path)
    report = purge(couchdb_database, archive, older_than="90d", state=tmp_path)
    assert {each.id: each.kind for each in report.examples} == {old[3].id: "conflicts"}
    assert everything(couchdb_database).keys() == {old[3].id}


def test_tombstones_are_dropped_where_that_was_asked_for(couchdb_database: str, tmp_path: Path) -> None:
    """`_purge`, which PouchDB's server doesn't have, and a compaction; the space that was won is reported."""
    if not os.environ.get("COUCHDB_URL"):
        pytest.skip("PouchDB's server has no _purge; COUCHDB_URL names an Apache CouchDB")
    raw, archive = Raw(couchdb_database), f"archive:{tmp_path}/archive"
    raw.put_all([aged(number, 100, logs=["x" * 2000]) for number in range(300)])
    backup(couchdb_database, archive, state=tmp_path)
    report = purge(couchdb_database, archive, older_than="90d", state=tmp_path, purge_tombstones=True)
    assert report.forgotten == report.totals.removed == 300
    assert report.compacted
    about = request("GET", raw.url)
    assert (about["doc_count"], about["doc_del_count"]) == (0, 0)
    assert report.space_before
    assert report.space_after
    assert (report.space_after.size_bytes or 0) < (report.space_before.size_bytes or 0)
    again = backup(couchdb_database, archive, state=tmp_path)
    assert again.report.totals.read == 0
    restore(archive, couchdb_database, state=tmp_path / "other")
    assert len(everything(couchdb_database)) == 300


def test_elasticsearch_is_purged_document_by_document(
    elasticsearch_server: Server, index_prefix: str, tmp_path: Path
) -> None:
    """The three stay, all others that are old go, and a restore brings back every `_source` as it was."""
    raw = RawElasticsearch(elasticsearch_server, index_prefix)
    location, archive = elasticsearch_location(elasticsearch_server, f"{index_prefix}%s"), f"archive:{tmp_path}/archive"
    documents = [aged(number, 100 if number < 200 else 10) for number in range(260)]
    converted = {each.id: activation_in_elasticsearch(each) for each in documents}
    raw.put_all([*converted.values()])
    differs, missing, changed = (converted[documents[number].id] for number in (5, 66, 150))
    fields = json.loads(differs.body)
    raw.put(raw.index(differs.namespace), differs.id, json.dumps({**fields, "version": "9.9.9"}).encode())
    raw.delete(raw.index(missing.namespace), missing.id)
    backup(location, archive, state=tmp_path)
    raw.put_all([differs, missing])
    body = json.dumps({**json.loads(changed.body), "logs": ["another"]}).encode()
    raw.put(raw.index(changed.namespace), changed.id, body)

    told = purge(location, archive, older_than="90d", state=tmp_path, dry_run=True)
    report = purge(location, archive, older_than="90d", state=tmp_path)
    stayed = {differs.id: "differs", missing.id: "missing", changed.id: "differs"}
    assert {each.id: each.kind for each in report.examples} == stayed
    assert told.totals.proven == report.totals.removed == 197
    held = {each.id for each in converted.values() if raw.has(raw.index(each.namespace), each.id)}
    assert held == {each.id for each in documents[200:]} | stayed.keys()
    restore(archive, location, state=tmp_path)
    for each in converted.values():
        if each.id != changed.id:
            assert raw.get(raw.index(each.namespace), each.id) == json.loads(each.body)

    logs = purge(location, archive, older_than="90d", state=tmp_path, logs_only=True, namespaces=["guest"])
    assert logs.totals.removed
    emptied = converted[documents[1].id]
    assert raw.get(raw.index("guest"), emptied.id) == {**json.loads(emptied.body), "logs": []}


def test_a_recreated_index_is_not_touched(
    elasticsearch_server: Server,
    index_prefix: str,
    tmp_path: Path,
    between_batches: Callable[[Callable[[], None]], None],
) -> None:
    """The same name and the same documents, but another uuid."""
    raw = RawElasticsearch(elasticsearch_server, index_prefix)
    location, archive = elasticsearch_location(elasticsearch_server, f"{index_prefix}%s"), f"archive:{tmp_path}/archive"
    documents = [activation_in_elasticsearch(aged(number, 100)) for number in range(20)]
    raw.put_all(documents)
    backup(location, archive, state=tmp_path)

    def recreate() -> None:
        for namespace in ("guest", "whisk.system"):
            request("DELETE", f"{raw.url}/{raw.index(namespace)}")
        raw.put_all(documents)

    between_batches(recreate)
    with pytest.raises(Unavailable, match="deleted or recreated"):
        purge(location, archive, older_than="90d", state=tmp_path, retry_for_s=5)
    assert all(raw.has(raw.index(each.namespace), each.id) for each in documents)


def blocked(raw: RawElasticsearch, namespace: str) -> bool:
    (settings,) = request("GET", f"{raw.url}/{raw.index(namespace)}/_settings").values()
    return bool(settings["settings"]["index"].get("blocks", {}).get("write") == "true")


def test_an_index_goes_as_a_whole_where_all_of_it_is_proven(
    elasticsearch_server: Server, index_prefix: str, tmp_path: Path
) -> None:
    """The other one, which holds a young activation, is purged document by document; a restore brings both back."""
    raw = RawElasticsearch(elasticsearch_server, index_prefix)
    location, archive = elasticsearch_location(elasticsearch_server, f"{index_prefix}%s"), f"archive:{tmp_path}/archive"
    documents = [activation_in_elasticsearch(aged(number, 100 if number != 1 else 1)) for number in range(60)]
    raw.put_all(documents)
    backup(location, archive, state=tmp_path)
    report = purge(location, archive, older_than="90d", state=tmp_path, whole_indices=True)
    assert report.totals.removed == report.totals.proven == 59
    assert len(read_log(Path(report.log or ""))) == 59
    there = set(request("GET", f"{raw.url}/{index_prefix}*/_settings"))
    assert there == {raw.index("guest")}
    assert not blocked(raw, "guest")
    restore(archive, location, state=tmp_path)
    assert all(raw.get(raw.index(each.namespace), each.id) == json.loads(each.body) for each in documents)


@pytest.mark.parametrize("happening", ["written", "changed", "killed"])
def test_an_index_stays_where_something_comes_in_between(
    elasticsearch_server: Server, index_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, happening: str
) -> None:
    """A document that came, or was changed, before it was frozen; or the process dies while it is.

    What isn't proven stays, and the index takes writes again.
    """
    raw = RawElasticsearch(elasticsearch_server, index_prefix)
    location, archive = elasticsearch_location(elasticsearch_server, f"{index_prefix}%s"), f"archive:{tmp_path}/archive"
    documents = [activation_in_elasticsearch(aged(number, 100)) for number in (1, 2, 4, 5)]
    new = activation_in_elasticsearch(aged(7, 0))
    raw.put_all(documents)
    backup(location, archive, state=tmp_path)
    freeze = ElasticsearchRemover.freeze

    def frozen(self: ElasticsearchRemover, index: str) -> None:
        if happening == "written":
            raw.put_all([new])
        elif happening == "changed":
            raw.put(index, documents[0].id, json.dumps({**json.loads(documents[0].body), "logs": ["new"]}).encode())
        freeze(self, index)
        if happening == "killed":
            raise Killed

    monkeypatch.setattr(ElasticsearchRemover, "freeze", frozen)
    if happening == "killed":
        monkeypatch.setattr(Dropping, "_thaw", lambda *_: None)  # a process that was killed doesn't
        with pytest.raises(Killed):
            purge(location, archive, older_than="90d", state=tmp_path, whole_indices=True)
        monkeypatch.undo()
        assert blocked(raw, "guest")
    report = purge(location, archive, older_than="90d", state=tmp_path, whole_indices=happening != "killed")
    assert not blocked(raw, "guest")
    kept = {"written": {new.id}, "changed": {documents[0].id}, "killed": set()}[happening]
    assert {each.id for each in [*documents, new] if raw.has(raw.index("guest"), each.id)} == kept
    assert report.kept == ({"changed": 1} if happening == "changed" else {})


def test_what_was_copied_to_elasticsearch_goes_from_couchdb(
    couchdb_database: str, elasticsearch_server: Server, index_prefix: str, tmp_path: Path
) -> None:
    """The copy is the proof: one that was changed there stays here."""
    from migrator.api.copy import copy

    raw, search = Raw(couchdb_database), RawElasticsearch(elasticsearch_server, index_prefix)
    location = elasticsearch_location(elasticsearch_server, f"{index_prefix}%s")
    old = [aged(number, 100) for number in range(30)]
    raw.put_all(old)
    copy(couchdb_database, location, state=tmp_path)
    altered = activation_in_elasticsearch(old[8])
    body = json.dumps({**json.loads(altered.body), "name": "other"}).encode()
    search.put(search.index(altered.namespace), altered.id, body)
    report = purge(couchdb_database, location, older_than="90d", state=tmp_path)
    assert {each.id: each.kind for each in report.examples} == {altered.id: "differs"}
    assert everything(couchdb_database).keys() == {altered.id}


def activation_in_elasticsearch(document: Any) -> Any:
    fields = json.loads(document.body)
    number = int(re.sub(r"\D", "", fields["logs"][0]))
    return activation(number, fields["namespace"], form=Form.ELASTICSEARCH, start=fields["start"], end=fields["end"])
