"""Copies of a source that is written to meanwhile: nothing is missing at the end, and nothing is stale."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from migrator.activations.document import Form
from migrator.api.copy import copy
from migrator.demo.servers import Server
from migrator.testing.documents import activation
from tests.support.places import CouchDBPlace, Place, SearchPlace

BEFORE = 1_200  # documents that are there when the copy begins; every third is of one writer


class Writers:
    """Three threads that store new documents, overwrite others, and use namespaces that weren't there before."""

    def __init__(self, place: Place, form: Form) -> None:
        self._place = place
        self._form = form
        self._stop = threading.Event()
        self._failures: list[BaseException] = []
        self.stored: list[tuple[float, str, int]] = []  # when the server had confirmed it, id, version

    def put(self, numbers: list[int], namespace: str, version: int) -> None:
        documents = [
            activation(number, namespace, form=self._form, logs=[f"version {version}"], duration=version)
            for number in numbers
        ]
        self._place.put({document.id: document.body for document in documents})
        confirmed_s = time.time()
        self.stored += [(confirmed_s, document.id, version) for document in documents]

    def _work(self, writer: int) -> None:
        chance = random.Random(writer)
        version = 1
        try:
            while not self._stop.wait(0.1):
                version += 1
                # Each has documents of its own, so that its last version is the last. Half of them are new.
                numbers = sorted({chance.randrange(BEFORE * 2 // 3) * 3 + writer for _ in range(5)})
                self.put(numbers, chance.choice(["guest", f"appears-{writer}"]), version)
        except BaseException as error:  # noqa: BLE001  told to the test
            self._failures.append(error)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._work, args=(writer,)) for writer in range(3)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()
        if self._failures:
            raise self._failures[0]

    def newest(self) -> dict[str, int]:
        """The newest version of each document."""
        return {id: version for _, id, version in sorted(self.stored)}

    def settled(self, before_s: float) -> dict[str, int]:
        """The same of documents that were stored before a moment and not again after it."""
        later = {id for confirmed_s, id, _ in self.stored if confirmed_s >= before_s}
        return {id: version for id, version in self.newest().items() if id not in later}


def versions_in(place: Place) -> dict[str, int]:
    return {id: json.loads(body)["duration"] for id, body in place.contents().items()}


def follow(source: Place, target: Place, writers: Writers, state: Path) -> None:
    """Copy while the writers are at work and once more after it; look at the target after each run."""
    for number in range(0, BEFORE, 400):
        writers.put(list(range(number, number + 400)), "guest", 1)
    with writers.at_work():
        first = copy(source.location, target.location, state=state, jobs=2, max_rate=600)
        there = versions_in(target)
    assert first.caught_up_to is not None
    settled = writers.settled(before_s=first.caught_up_to)
    assert {id for id in settled if id.startswith("appears-")}
    assert {id for id, version in settled.items() if version > 1 and id.startswith("guest/")}
    assert {id: version for id, version in settled.items() if there.get(id) != version} == {}

    last = copy(source.location, target.location, state=state)
    assert versions_in(target) == writers.newest()
    for report in (first, last):
        assert report.totals.adds_up
        assert (report.exit_code, report.differing, report.rejected) == (0, 0, 0)


def test_couchdb_that_is_written_to(
    couchdb_database: str, elasticsearch_server: Server, index_prefix: str, state: Path
) -> None:
    """What was stored before the run's snapshot, and not again since, is there; after the last run everything is."""
    source = CouchDBPlace(couchdb_database)
    target = SearchPlace(elasticsearch_server, index_prefix)
    follow(source, target, Writers(source, Form.COUCHDB), state)


@pytest.mark.parametrize("to", ["couchdb", "elasticsearch"])
def test_elasticsearch_that_is_written_to(
    search_server: Server, index_prefix: str, couchdb_database: str, to: str, state: Path
) -> None:
    """The same from every version, where an overwritten document leaves its place and an index may just appear."""
    source = SearchPlace(search_server, f"{index_prefix}from-")
    target = CouchDBPlace(couchdb_database) if to == "couchdb" else SearchPlace(search_server, f"{index_prefix}to-")
    follow(source, target, Writers(source, Form.ELASTICSEARCH), state)
