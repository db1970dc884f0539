"""`migrator find` and answers of CouchDB that are about something else, or come through a proxy that decodes paths."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result

from migrator.commands.main import migrator
from migrator.testing.documents import activation
from tests.support.scripted import Request, answer, serve
from tests.support.scripted_couchdb import ScriptedCouchDB

DATABASE = "acts"
SOME = activation(1)
OTHER = activation(2)
ABSENT = f"guest/{'0' * 32}"


def find(port: int, *ids: str) -> Result:
    words = ["find", *ids, "--in", f"couchdb://127.0.0.1:{port}/{DATABASE}", "--json"]
    return CliRunner().invoke(migrator, words, env={"MIGRATOR_CONFIG": os.devnull})


class Database:
    """Two activations, requested by their keys; `alter` changes the rows of an answer."""

    def __init__(self, alter: Callable[[list[Any]], Any] = lambda _: None) -> None:
        self._documents = {each.id: json.loads(each.body) for each in (SOME, OTHER)}
        self._alter = alter

    def __call__(self, request: Request) -> bytes:
        if request.path == "/":
            return answer({"couchdb": "Welcome", "version": "3.4.2"})
        if request.path == f"/{DATABASE}":
            return answer({"db_name": DATABASE, "doc_count": 2, "instance_start_time": "1"})
        if request.path != f"/{DATABASE}/_all_docs":
            # The path was decoded on the way: an attachment of a document that isn't there.
            return answer({"error": "not_found", "reason": "missing"}, 404)
        if not request.body:  # to tell why something isn't there, a store is read, which this one doesn't allow
            return answer({"error": "forbidden", "reason": "look-ups only"}, 403)
        body = request.body if request.body.startswith(b"{") else gzip.decompress(request.body)  # as the SDK sends it
        rows = [self._row(key, "include_docs" in request.query) for key in json.loads(body)["keys"]]
        self._alter(rows)
        return answer({"total_rows": 2, "offset": 0, "rows": rows})

    def _row(self, key: str, with_doc: bool) -> dict[str, Any]:
        if key not in self._documents:
            return {"key": key, "error": "not_found"}
        row = {"id": key, "key": key, "value": {"rev": "1-a"}}
        return {**row, "doc": self._documents[key]} if with_doc else row


def test_a_proxy_that_decodes_paths_hides_nothing() -> None:
    """Every look-up is in a body."""
    with serve(Database()) as server:
        found = find(server.port, SOME.id, ABSENT)
    assert found.exit_code == 10
    there, missing = map(json.loads, found.stdout.splitlines())
    assert (there["id"], missing["id"], missing["copies"]) == (SOME.id, ABSENT, [])
    assert f"{ABSENT}: found in none of" in found.stderr


def _not_there(rows: list[Any]) -> None:
    rows[:] = [{"key": row["key"], "error": "internal_server_error"} for row in rows]


def _of_another(rows: list[Any]) -> None:
    rows[:] = [{"id": OTHER.id, "key": OTHER.id, "value": {"rev": "1-a"}} for _ in rows]


def _another_document(rows: list[Any]) -> None:
    for row in rows:
        row["id"] = OTHER.id


def _without_document(rows: list[Any]) -> None:
    for row in rows:
        if "doc" in row:
            row["doc"] = None


@pytest.mark.parametrize("alter", [list.clear, _not_there, _of_another, _another_document, _without_document])
def test_nothing_is_concluded_from_an_answer_about_something_else(alter: Callable[[list[Any]], Any]) -> None:
    """Empty, failed, or about another key."""
    with serve(Database(alter)) as server:
        found = find(server.port, SOME.id)
    assert found.exit_code == 5, found.output
    assert "found in none" not in found.output


def test_a_store_that_answers_at_the_second_look_is_asked_twice() -> None:
    """A server that is starting, a gateway that was restarted."""
    down = [True]
    database = Database()

    def script(request: Request) -> bytes:
        if request.path.endswith("_all_docs") and down:
            down.pop()
            return answer({"error": "service_unavailable"}, 503)
        return database(request)

    with serve(script) as server:
        assert find(server.port, SOME.id).exit_code == 0


@pytest.mark.parametrize("left", [slice(0, 0), slice(1, None), slice(0, -1)], ids=["empty", "first", "last"])
def test_an_id_is_in_no_namespace_only_where_all_are_known(left: slice) -> None:
    """Looks at keys that leave some out end as unavailable, or another way finds the namespace."""
    bodies = {each.id: each.body for each in (SOME, OTHER)}

    def look_less(asked: str, request: Request, body: dict[str, Any]) -> dict[str, Any] | None:
        if asked != "_all_docs" or request.method == "POST":
            return None
        return {**body, "rows": body["rows"][left]}

    with serve(ScriptedCouchDB(bodies, fault=look_less)) as server:
        found = find(server.port, SOME.id.rpartition("/")[2])
    assert found.exit_code in (0, 5), found.output


def test_an_id_that_is_in_no_namespace_is_reported() -> None:
    """Both ways to list namespaces agree."""
    with serve(ScriptedCouchDB({each.id: each.body for each in (SOME, OTHER)})) as server:
        assert find(server.port, "0" * 32).exit_code == 10
