"""Documents keep their revisions in CouchDB when that is requested."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from migrator.activations.document import Document, Form
from migrator.adapters import couchdb
from migrator.adapters.base import Writer
from migrator.adapters.memory import _stores, memory_store
from migrator.api.copy import copy
from migrator.errors import UsageError
from migrator.testing.documents import activation
from tests.adapters.couchdb.test_conformance import Raw, store_of
from tests.support.servers import request

HASH = "a" * 32


def revised(number: int, rev: str, **changes: Any) -> Document:
    """An activation in a revision."""
    document = activation(number, **changes)
    return msgspec.structs.replace(document, body=json.dumps({**json.loads(document.body), "_rev": rev}).encode())


@pytest.fixture
def raw(couchdb_database: str) -> Raw:
    return Raw(couchdb_database)


@pytest.fixture
def writer(couchdb_database: str) -> Iterator[Writer]:
    writer = couchdb.open_writer(store_of(couchdb_database), keep_revisions=True)
    yield writer
    writer.close()


def test_revisions_are_kept_and_known_again(writer: Writer, raw: Raw) -> None:
    """Written with their revision; the same one is present, another one differs and stays."""
    documents = [revised(number, f"{number + 1}-{HASH}") for number in range(3)]
    assert len(writer.write(documents, replace=False).written) == 3
    assert [raw.rev(document.id) for document in documents] == [f"{number}-{HASH}" for number in (1, 2, 3)]
    assert len(writer.write(documents, replace=False).present) == 3
    other = revised(1, f"2-{'b' * 32}", logs=["other"])
    assert [each.id for each in writer.write([other], replace=False).differing] == [other.id]
    assert raw.rev(other.id) == f"2-{HASH}"


def test_newer_revision_replaces_and_leaves_no_conflict(writer: Writer, raw: Raw) -> None:
    """An older or equally old one can't, and differs."""
    writer.write([revised(0, f"2-{HASH}")], replace=False)
    newer = revised(0, f"3-{HASH}", logs=["newer"])
    assert len(writer.write([newer], replace=True).written) == 1
    assert raw.rev(newer.id) == f"3-{HASH}"
    assert "_conflicts" not in request("GET", f"{raw.path(newer.id)}?conflicts=true")
    assert len(writer.write([revised(0, f"2-{HASH}")], replace=True).differing) == 1


def test_deleted_revision_is_rejected_not_lost(writer: Writer, raw: Raw) -> None:
    """CouchDB would say nothing and keep it deleted."""
    document = revised(0, f"1-{HASH}")
    writer.write([document], replace=False)
    raw.delete(document.id)
    outcome = writer.write([document], replace=False)
    (rejection,) = outcome.rejected
    assert "was deleted in the target" in rejection.reason
    assert not outcome.written


def test_document_without_a_revision_is_rejected(writer: Writer) -> None:
    outcome = writer.write([activation(0), revised(1, f"1-{HASH}")], replace=False)
    assert [each.reason for each in outcome.rejected] == ["has no revision (_rev) that could be kept"]
    assert len(outcome.written) == 1


def test_option_is_refused_where_it_means_nothing(tmp_path: Path, couchdb_database: str) -> None:
    """For other targets, for sources in Elasticsearch's form, with overwrite."""
    _stores.clear()
    memory_store("couch")
    memory_store("elastic", Form.ELASTICSEARCH)
    refused: list[tuple[str, str, dict[str, Any]]] = [
        ("memory:couch", "memory:elastic", {}),
        ("memory:elastic", couchdb_database, {}),
        ("memory:couch", couchdb_database, {"on_conflict": "overwrite"}),
    ]
    for source, target, more in refused:
        with pytest.raises(UsageError, match="`keep_revisions`"):
            copy(source, target, keep_revisions=True, state=tmp_path / "state", **more)
