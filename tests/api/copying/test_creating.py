"""A target that isn't there: created when asked, else refused without naming another database."""

from __future__ import annotations

from pathlib import Path

import pytest

from migrator.activations.document import Form
from migrator.adapters.memory import memory_store
from migrator.api.copy import copy
from migrator.errors import NotFound, UsageError
from migrator.events import Event, TargetCreated
from migrator.testing.documents import activation
from tests.support.servers import fetch


@pytest.fixture
def source() -> str:
    store = memory_store("creating", Form.COUCHDB)
    store.clear()
    for number in range(10):
        document = activation(number)
        store.put(document.id, document.body)
    return "memory:creating"


def test_a_missing_database_is_created_when_asked_and_only_then(
    source: str, couchdb_database: str, tmp_path: Path
) -> None:
    """The message for a missing one offers none of those that are there: they may be in production."""
    missing = f"{couchdb_database}-activations"
    with pytest.raises(NotFound, match=r"there is no such database; check its name, or create it with `create`$"):
        copy(source, missing, state=tmp_path)
    told = list[Event]()
    report = copy(source, missing, create=True, state=tmp_path, tell=told.append)
    assert report.totals.written == 10
    assert [type(each) for each in told if isinstance(each, TargetCreated)] == [TargetCreated]
    told.clear()
    again = copy(source, missing, create=True, state=tmp_path, tell=told.append)
    assert (again.totals.read, [each for each in told if isinstance(each, TargetCreated)]) == (10, [])
    with pytest.raises(NotFound, match=r"there is .*-activations"):
        copy(f"{couchdb_database}-activation", source, state=tmp_path)
    fetch("DELETE", missing.replace("couchdb", "http", 1))


def test_a_dry_run_creates_nothing(source: str, couchdb_database: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="writes nothing"):
        copy(source, f"{couchdb_database}-dry", create=True, dry_run=True, state=tmp_path)
    with pytest.raises(NotFound):
        copy(source, f"{couchdb_database}-dry", state=tmp_path)


def test_only_a_database_is_created(source: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is for a CouchDB database"):
        copy(source, "memory:elsewhere", create=True, state=tmp_path)


def test_a_source_that_is_missing_creates_no_target(couchdb_database: str, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        copy(f"{couchdb_database}-no", f"{couchdb_database}-new", create=True, state=tmp_path)
    with pytest.raises(NotFound, match="create it"):
        copy(couchdb_database, f"{couchdb_database}-new", state=tmp_path)
