"""The scripted CouchDB: ranks, sequences, revisions, and what happens to them when its files are replaced."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.faults.couchdb import ScriptedCouchDB
from tests.support.scripted import serve
from tests.support.servers import fetch, request, status


class Served:
    def __init__(self, script: ScriptedCouchDB, port: int) -> None:
        self.script = script
        self.url = f"http://127.0.0.1:{port}/acts"

    def put(self, *ids: str) -> Any:
        return request("POST", f"{self.url}/_bulk_docs", {"docs": [{"_id": id, "x": 1} for id in ids]})

    def changes(self, since: str = "0", **options: Any) -> Any:
        return request("POST", f"{self.url}/_changes", {"since": since, **options})

    def now(self) -> str:
        return str(self.changes("now", limit=0)["last_seq"])


@pytest.fixture
def served() -> Iterator[Served]:
    script = ScriptedCouchDB()
    script.create("acts")
    with serve(script) as server:
        yield Served(script, server.port)


def test_offset_is_the_rank_of_the_first_key(served: Served) -> None:
    served.put("a/1", "b/1", "b/2", "c/1")
    found = request("GET", f"{served.url}/_all_docs?startkey={quote(json.dumps('b/'))}&limit=2")
    assert (found["total_rows"], found["offset"], [row["id"] for row in found["rows"]]) == (4, 1, ["b/1", "b/2"])
    beyond = request("GET", f"{served.url}/_all_docs?startkey={quote(json.dumps('z'))}&limit=1")
    assert (beyond["offset"], beyond["rows"]) == (4, [])


def test_keys_are_answered_in_their_order_with_what_is_missing_or_deleted(served: Served) -> None:
    rev = served.put("a", "b")[1]["rev"]
    request("POST", f"{served.url}/_bulk_docs", {"docs": [{"_id": "b", "_rev": rev, "_deleted": True}]})
    rows = request("POST", f"{served.url}/_all_docs?include_docs=true", {"keys": ["b", "z", "a"]})["rows"]
    assert rows[0]["value"]["deleted"]
    assert rows[0]["doc"] is None
    assert rows[1] == {"key": "z", "error": "not_found"}
    assert rows[2]["doc"]["x"] == 1
    assert request("GET", served.url)["doc_count"] == 1


def test_changes_go_on_from_a_sequence_and_tell_what_is_pending(served: Served) -> None:
    served.put("a", "b", "c")
    first = served.changes(limit=2)
    assert ([row["id"] for row in first["results"]], first["pending"]) == (["a", "b"], 1)
    rest = served.changes(first["last_seq"], limit=2, include_docs=True)
    assert ([row["doc"]["_id"] for row in rest["results"]], rest["pending"]) == (["c"], 0)
    assert rest["last_seq"] == served.now()
    assert served.now().startswith("3-g1AAA")


def test_a_stored_document_conflicts_until_its_revision_is_named(served: Served) -> None:
    (stored,) = served.put("a")
    (refused,) = served.put("a")
    assert refused["error"] == "conflict"
    again = request("POST", f"{served.url}/_bulk_docs", {"docs": [{"_id": "a", "_rev": stored["rev"], "x": 2}]})
    assert again[0]["rev"].startswith("2-")


def test_a_document_is_found_by_an_encoded_slash_only(served: Served) -> None:
    served.put("guest/1")
    assert request("GET", f"{served.url}/guest%2F1")["x"] == 1
    assert status("GET", f"{served.url}/guest/1") == 404


def test_files_that_were_rolled_back_keep_their_identity_and_know_no_newer_sequence(served: Served) -> None:
    served.put("a", "b")
    snapshot, before = served.script.snapshot("acts"), request("GET", served.url)
    served.put("c", "d", "e")
    newest = served.now()
    served.script.roll_back("acts", snapshot)
    assert request("GET", served.url) == before
    assert served.changes(newest)["results"] == []
    assert served.now().startswith("2-")


def test_a_recreated_database_has_another_identity_and_reads_from_the_beginning(served: Served) -> None:
    served.put("a", "b")
    began, newest = request("GET", served.url)["instance_start_time"], served.now()
    served.script.recreate("acts")
    served.put("c", "d", "e")
    assert request("GET", served.url)["instance_start_time"] != began
    assert [row["id"] for row in served.changes(newest)["results"]] == ["c", "d", "e"]


def test_an_old_version_tells_no_identity() -> None:
    script = ScriptedCouchDB(version="2.3.1")
    script.create("acts")
    with serve(script) as server:
        assert "uuid" not in request("GET", f"http://127.0.0.1:{server.port}/")
        assert request("GET", f"http://127.0.0.1:{server.port}/acts")["instance_start_time"] == "0"


def test_documents_come_as_the_bytes_that_were_put(served: Served) -> None:
    served.script.put("acts", "a", b'"n":9007199254740993,"t":1e22')
    assert fetch("GET", f"{served.url}/a").endswith(b'"n":9007199254740993,"t":1e22}\n')
