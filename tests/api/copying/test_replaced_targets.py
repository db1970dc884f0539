"""Copies into real targets that are deleted and created again meanwhile: nothing is missing at the end."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError

import pytest

from migrator.adapters.memory import _stores, memory_store
from migrator.api.copy import copy
from migrator.demo.servers import Server
from migrator.engine.report import Report
from migrator.errors import NotFound
from migrator.events.watching import Progress
from migrator.testing.documents import activation
from tests.support.places import CouchDBPlace, Place, SearchPlace
from tests.support.said import into
from tests.support.servers import request

DOCUMENTS = 3_000

pytestmark = pytest.mark.servers


def copied(
    target: Place, state: Path, replace: Callable[[], None], *, is_resumed_after: type[Exception] | tuple[()] = ()
) -> tuple[Report, list[str]]:
    """Copy into a target that is replaced once a third of the documents was read; give the command again if it must."""
    source = memory_store(f"source-{uuid.uuid4().hex}")
    told: list[str] = []
    for number in range(DOCUMENTS):
        document = activation(number, "guest" if number % 3 else "whisk.system")
        source.put(document.id, document.body)
    waiting = [replace]

    def run() -> Report:
        return copy(
            f"memory:{source.name}",
            target.location,
            state=state,
            jobs=2,
            max_rate=DOCUMENTS / 3,
            observe=observe,
            tell=into(told),
        )

    def observe(progress: Progress) -> None:
        if waiting and progress.run_read > DOCUMENTS // 3:
            waiting.pop()()

    try:
        try:
            report = run()
        except is_resumed_after:
            report = run()
    finally:
        del _stores[source.name]
    assert not waiting
    return report, told


def test_index_that_is_deleted_in_the_middle_is_filled_again(
    elasticsearch_server: Server, index_prefix: str, state: Path
) -> None:
    """The next bulk creates it again, so that only its identity tells."""
    target = SearchPlace(elasticsearch_server, index_prefix)
    report, told = copied(target, state, lambda: request("DELETE", f"{target.url}/{target.index('guest')}"))
    assert target.count() == DOCUMENTS
    assert report.exit_code == 0
    assert any("copying everything again" in line for line in told), told


def test_indices_of_others_that_go_in_the_middle_change_nothing(
    elasticsearch_server: Server, index_prefix: str, state: Path
) -> None:
    """Deleted, closed, created again, under the same pattern: nothing is copied twice. Ours is behind an alias."""
    target = SearchPlace(elasticsearch_server, index_prefix)
    one = {"settings": {"number_of_shards": 1, "number_of_replicas": 0}}
    request("PUT", f"{target.url}/{index_prefix}real", {**one, "aliases": {target.index("guest"): {}}})
    for name in ("deleted", "closed", "again"):
        request("PUT", f"{target.url}/{target.index(name)}", one)

    def change() -> None:
        request("DELETE", f"{target.url}/{target.index('deleted')}")
        request("POST", f"{target.url}/{target.index('closed')}/_close")
        request("DELETE", f"{target.url}/{target.index('again')}")
        request("PUT", f"{target.url}/{target.index('again')}")

    report, told = copied(target, state, change)
    request("DELETE", f"{target.url}/{target.index('closed')}")
    assert target.count() == DOCUMENTS
    assert (report.totals.written, report.exit_code) == (DOCUMENTS, 0)
    assert not any("again" in line for line in told), told


def test_database_that_is_created_again_in_the_middle_is_filled_again(couchdb_database: str, state: Path) -> None:
    """Also where the server tells no identity, only how many changes there were."""
    target = CouchDBPlace(couchdb_database)

    def replace() -> None:
        request("DELETE", target.url)
        try:
            request("PUT", target.url)
        except HTTPError as error:  # PouchDB's server creates it for a write that comes in between
            if error.code != 412:
                raise

    # A worker may look between the deletion and the creation.
    report, told = copied(target, state, replace, is_resumed_after=NotFound)
    assert target.count() == DOCUMENTS
    assert report.exit_code == 0
    assert any("copying everything again" in line for line in told), told
