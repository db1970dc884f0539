"""A copy that follows real servers: what comes, goes and comes back while it does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from migrator.activations.document import Document, Form
from migrator.api.copy import copy
from migrator.demo.servers import Server
from migrator.engine.report import Report
from migrator.events import Event, LagNoted, LagUnknown
from migrator.testing.documents import activation
from tests.api.copying.test_live_sources import Writers, versions_in
from tests.support.places import CouchDBPlace, Place, SearchPlace
from tests.support.servers import couchdb_url, request

IDLE_S = 3


class Steps:
    """Does the next thing each time the target holds all; what the lag was meanwhile is kept."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self._steps = list(steps)
        self.lags: list[int | None] = []
        self.unknown: list[str] = []

    def tell(self, event: Event) -> None:
        if isinstance(event, LagUnknown):
            self.unknown.append(event.reason)
        if not isinstance(event, LagNoted):
            return
        self.lags.append(event.documents)
        if event.documents in (0, None) and self._steps and self.lags[-2:] != [None, None]:
            self._steps.pop(0)()


def some(namespace: str, first: int, count: int, form: Form) -> dict[str, bytes]:
    found: list[Document] = [activation(first + number, namespace, form=form) for number in range(count)]
    return {document.id: document.body for document in found}


def follow(source: Place, target: Place, state: Path, steps: Steps) -> Report:
    return copy(source.location, target.location, state=state, follow=True, until_idle_s=IDLE_S, tell=steps.tell)


@pytest.mark.parametrize("direction", ["to elasticsearch", "to couchdb"])
def test_everything_that_is_written_while_it_follows_arrives(
    couchdb_database: str, elasticsearch_server: Server, index_prefix: str, state: Path, direction: str
) -> None:
    """New documents, changed ones and new namespaces, in their newest version."""
    stores: list[Place] = [CouchDBPlace(couchdb_database), SearchPlace(elasticsearch_server, index_prefix)]
    source, target = stores if direction == "to elasticsearch" else stores[::-1]
    writers = Writers(source, Form.COUCHDB if direction == "to elasticsearch" else Form.ELASTICSEARCH)
    writers.put(list(range(100)), "guest", 1)
    reports: list[Report] = []
    run = threading.Thread(target=lambda: reports.append(follow(source, target, state, Steps())))
    with writers.at_work():
        run.start()
        time.sleep(5)
    run.join()
    (report,) = reports
    assert versions_in(target) == writers.newest()
    assert report.totals.adds_up
    assert (report.exit_code, report.differing) == (0, 0)


def test_indices_that_appear_are_recreated_and_closed_meanwhile(
    elasticsearch_server: Server, couchdb_database: str, index_prefix: str, state: Path
) -> None:
    """No lag of 0 is reported before they were read, and none while one of them is closed."""
    source, target = SearchPlace(elasticsearch_server, index_prefix), CouchDBPlace(couchdb_database)
    guest = f"{elasticsearch_server.url}/{source.index('guest')}"
    source.put(some("guest", 0, 20, Form.ELASTICSEARCH))

    def recreate() -> None:
        request("DELETE", guest)
        source.put(some("guest", 100, 7, Form.ELASTICSEARCH))

    def close_and_add() -> None:
        request("POST", f"{guest}/_close")
        source.put(some("later", 0, 5, Form.ELASTICSEARCH))

    steps = Steps(
        lambda: source.put(some("appears", 0, 3, Form.ELASTICSEARCH)),
        recreate,
        close_and_add,
        lambda: request("POST", f"{guest}/_open?wait_for_active_shards=1"),
        lambda: source.put(some("guest", 200, 2, Form.ELASTICSEARCH)),
    )
    report = follow(source, target, state, steps)
    parts = (("guest", 0, 20), ("appears", 0, 3), ("guest", 100, 7), ("later", 0, 5), ("guest", 200, 2))
    assert {*target.contents()} == {id for part in parts for id in some(*part, Form.COUCHDB)}
    assert {0, 3, 7, 2} <= {*steps.lags}
    assert None in steps.lags
    assert any("is closed" in reason for reason in steps.unknown)
    assert report.totals.adds_up


def test_a_database_that_is_recreated_meanwhile_is_read_as_a_whole(
    elasticsearch_server: Server, couchdb_database: str, index_prefix: str, state: Path
) -> None:
    """Whatever its sequence says."""
    source, target = CouchDBPlace(couchdb_database), SearchPlace(elasticsearch_server, index_prefix)
    source.put(some("guest", 0, 20, Form.COUCHDB))

    def recreate() -> None:
        request("DELETE", couchdb_url(couchdb_database))
        request("PUT", couchdb_url(couchdb_database))
        source.put(some("guest", 100, 30, Form.COUCHDB))

    report = follow(source, target, state, Steps(recreate))
    expected = {**some("guest", 0, 20, Form.COUCHDB), **some("guest", 100, 30, Form.COUCHDB)}
    assert {*target.contents()} == {*expected}
    assert report.totals.adds_up
