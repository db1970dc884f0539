"""Refusals end to end: what a server has against a document sets it aside, what it has against all rejects none.

On every version of Elasticsearch and OpenSearch, through the command line as an operator uses it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from migrator.activations.document import Document, Form
from migrator.api.copy import copy
from migrator.commands.main import migrator
from migrator.demo.servers import Server
from migrator.events import Event, Retrying
from migrator.testing.documents import activation
from tests.conftest import fresh_database
from tests.support.places import CouchDBPlace, SearchPlace
from tests.support.servers import request


def some(count: int, namespace: str = "guest", first: int = 0, *, form: Form = Form.COUCHDB, **changes: Any) -> Any:
    return [activation(first + at, namespace, form=form, **changes) for at in range(count)]


def bodies(documents: list[Document]) -> dict[str, bytes]:
    return {document.id: document.body for document in documents}


def run(*words: str, state: Path) -> Result:
    return CliRunner().invoke(migrator, [*words, "--state", str(state)])


def rejected(job: str, state: Path) -> dict[str, dict[str, Any]]:
    """What `status JOB --rejected` exports, by id."""
    lines = run("status", job, "--rejected", state=state).stdout.splitlines()
    return {found["id"]: found for found in map(json.loads, lines)}


@pytest.fixture
def source(couchdb_database: str) -> CouchDBPlace:
    return CouchDBPlace(couchdb_database)


@pytest.fixture
def search(search_server: Server, index_prefix: str) -> SearchPlace:
    return SearchPlace(search_server, index_prefix)


# -- about the document -----------------------------------------------------------------------------------------


def test_mapping_conflicts_are_set_aside_and_brought_over_later(
    source: CouchDBPlace, search: SearchPlace, state: Path
) -> None:
    """Good documents are there, the others kept with the server's reason; once the mapping takes them they go over."""
    good, bad = some(300, extra=7), some(20, first=1_000, extra="seven")
    source.put(bodies([*good, *bad]))
    index = search.create("guest", properties={"extra": {"type": "long"}})

    copied = run("copy", source.location, search.location, "--json", state=state)
    report = json.loads(copied.stdout)
    assert (copied.exit_code, report["exit_code"], report["rejected"], report["adds_up"]) == (3, 3, 20, True)
    assert search.contents().keys() == bodies(good).keys()
    kept = rejected(report["job"], state)
    assert kept.keys() == bodies(bad).keys()
    assert all("extra" in each["reason"] and "_exception" in each["reason"] for each in kept.values())
    assert kept[bad[0].id]["document"]["extra"] == "seven"

    assert run("retry-rejected", report["job"], state=state).exit_code == 3
    assert rejected(report["job"], state).keys() == bodies(bad).keys()

    forgiving = {"properties": {"extra": {"type": "long", "ignore_malformed": True}}}
    request("PUT", f"{search.url}/{index}/_mapping{'/_doc' if search.typed else ''}", forgiving)
    again = run("retry-rejected", report["job"], "--json", state=state)
    assert again.exit_code == 0
    became = {"written": 20, "present": 0, "differing": 0, "rejected": 0}
    assert json.loads(again.stdout) == {"tried": 20, **became, "remarks": {}}
    assert search.contents().keys() == bodies([*good, *bad]).keys()
    assert rejected(report["job"], state) == {}
    last = run("copy", source.location, search.location, "--json", state=state)
    assert (last.exit_code, json.loads(last.stdout)["totals"]["rejected"]) == (0, 0)


def test_ids_that_couchdb_refuses_are_set_aside(search: SearchPlace, couchdb_database: str, state: Path) -> None:
    """CouchDB refuses the whole request for one id that begins with `_`; the documents beside it are there."""
    form = Form.ELASTICSEARCH
    good, bad = some(300, form=form), some(5, "_odd", first=1_000, form=form)
    search.put(bodies([*good, *bad]))
    target = CouchDBPlace(couchdb_database)
    copied = run("copy", search.location, target.location, "--json", state=state)
    report = json.loads(copied.stdout)
    assert (copied.exit_code, report["rejected"], report["adds_up"]) == (3, 5, True)
    assert target.contents().keys() == bodies(good).keys()
    kept = rejected(report["job"], state)
    assert kept.keys() == bodies(bad).keys()
    assert all("underscore" in each["reason"] for each in kept.values())
    assert run("retry-rejected", report["job"], state=state).exit_code == 3


def test_documents_that_a_design_document_forbids_go_over_once_it_is_gone(
    source: CouchDBPlace, couchdb_address: str, state: Path
) -> None:
    """`validate_doc_update` of the target speaks of the document; its reason is kept."""
    good, bad = some(50), some(5, first=1_000, name="forbidden")
    source.put(bodies([*good, *bad]))
    with fresh_database(couchdb_address) as location:
        target = CouchDBPlace(location)
        check = "function (doc) { if (doc.name === 'forbidden') throw {forbidden: 'not this one'}; }"
        design = request("PUT", f"{target.url}/_design/check", {"validate_doc_update": check})
        copied = run("copy", source.location, target.location, "--json", state=state)
        report = json.loads(copied.stdout)
        assert (copied.exit_code, report["rejected"]) == (3, 5)
        assert target.contents().keys() == bodies(good).keys()
        assert {each["reason"] for each in rejected(report["job"], state).values()} == {"forbidden: not this one"}
        request("DELETE", f"{target.url}/_design/check?rev={design['rev']}")
        assert run("retry-rejected", report["job"], state=state).exit_code == 0
        assert target.contents().keys() == bodies([*good, *bad]).keys()


# -- about the server -------------------------------------------------------------------------------------------


@contextmanager
def read_only(search: SearchPlace) -> Iterator[None]:
    """As the flood stage of the disk watermark leaves an index."""
    index = search.create("guest")
    request("PUT", f"{search.url}/{index}/_settings", {"index.blocks.read_only_allow_delete": True})
    yield
    request("PUT", f"{search.url}/{index}/_settings", {"index.blocks.read_only_allow_delete": None})


@contextmanager
def closed(search: SearchPlace) -> Iterator[None]:
    index = search.create("guest")
    request("POST", f"{search.url}/{index}/_close")
    yield
    request("POST", f"{search.url}/{index}/_open")
    request("GET", f"{search.url}/_cluster/health/{index}?wait_for_status=yellow")


@contextmanager
def cluster_setting(search: SearchPlace, name: str, value: object) -> Iterator[None]:
    request("PUT", f"{search.url}/_cluster/settings", {"persistent": {name: value}})
    try:
        yield
    finally:
        request("PUT", f"{search.url}/_cluster/settings", {"persistent": {name: None}})


def auto_creation_off(search: SearchPlace) -> AbstractContextManager[None]:
    return cluster_setting(search, "action.auto_create_index", "false")


def no_more_shards(search: SearchPlace) -> AbstractContextManager[None]:
    search.create("another")
    return cluster_setting(search, "cluster.max_shards_per_node", 1)


CONDITIONS: dict[str, tuple[Callable[[SearchPlace], AbstractContextManager[None]], str]] = {
    "read-only": (read_only, "free disk space"),
    "closed": (closed, "/_open"),
    "auto-creation-off": (auto_creation_off, "action.auto_create_index"),
    "no-more-shards": (no_more_shards, "cluster.max_shards_per_node"),
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_condition_of_the_server_rejects_nothing(
    source: CouchDBPlace, search: SearchPlace, state: Path, name: str
) -> None:
    """The run waits a bounded time, ends with exit code 5 and what to do, and goes on when the condition is gone."""
    condition, advice = CONDITIONS[name]
    documents = some(300)
    source.put(bodies(documents))
    copy_words = ("copy", source.location, search.location, "--namespace", "guest", "--json", "--retry-for", "1")
    with condition(search):
        stopped = run(*copy_words, state=state)
        if name == "no-more-shards" and search.typed:  # 6.7 only warns of too many shards
            assert stopped.exit_code == 0
            assert advice in stopped.stderr
            return
    assert (stopped.exit_code, stopped.stdout) == (5, "")
    assert advice in stopped.stderr
    assert "resume with: migrator copy " in stopped.stderr
    (job,) = map(json.loads, run("status", "--json", state=state).stdout.splitlines())
    assert (job["state"], job["rejected"], job["differing"], job["totals"]["written"]) == ("unfinished", 0, 0, 0)

    going_on = run(*copy_words, state=state)
    assert "resuming job" in going_on.stderr
    report = json.loads(going_on.stdout)
    assert (going_on.exit_code, report["totals"]["written"], report["totals"]["rejected"]) == (0, 300, 0)
    assert search.contents().keys() == bodies(documents).keys()


def test_condition_that_ends_in_time_is_waited_out(
    source: CouchDBPlace, elasticsearch_server: Server, index_prefix: str, state: Path
) -> None:
    """Within `retry_for` the same run goes on by itself, with nothing rejected."""
    search = SearchPlace(elasticsearch_server, index_prefix)
    documents = some(300)
    source.put(bodies(documents))
    waited = threading.Event()

    def tell(event: Event) -> None:
        if isinstance(event, Retrying) and "free disk space" in event.reason:
            waited.set()

    with ThreadPoolExecutor(1) as pool:
        with read_only(search):
            copying = pool.submit(copy, source.location, search.location, state=state, retry_for_s=60, tell=tell)
            assert waited.wait(60)
        report = copying.result()
    assert (report.run, report.exit_code, report.totals.written, report.totals.rejected) == (1, 0, 300, 0)
    assert search.contents().keys() == bodies(documents).keys()
