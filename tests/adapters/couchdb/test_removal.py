"""What CouchDB's remover makes of answers that leave something out, refuse it, or are about something else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from migrator.adapters.couchdb.client import Client
from migrator.adapters.couchdb.removal import CouchDBRemover
from migrator.adapters.removal import Address, Change, Held
from migrator.errors import AccessDenied, MigratorError, Unavailable
from migrator.testing.documents import activation
from tests.adapters.couchdb.test_wire import store_at
from tests.support.scripted import Cut, Request, Script, answer, serve
from tests.support.scripted_couchdb import content

REV = "1-967a00dff5e02add41819138abb3284d"
CHANGES = [Change(held=Held(document=activation(number), version=REV)) for number in range(3)]
IDS = [change.held.document.id for change in CHANGES]
CONFIG = "/_node/_local/_config"


@contextmanager
def removing(script: Script) -> Iterator[CouchDBRemover]:
    with serve(script) as served:
        remover = CouchDBRemover(Client(store_at(served.port)))
        try:
            yield remover
        finally:
            remover.close()


def done(id: str) -> dict[str, Any]:
    return {"ok": True, "id": id, "rev": "2-a"}


def test_what_an_answer_does_not_mention_is_unknown() -> None:
    """It may have been removed or not: nobody knows before it is looked up."""
    with removing(lambda _: answer([done(IDS[2]), done(IDS[0])], 201)) as remover:
        outcome = remover.change(CHANGES)
    assert [each.held.document.id for each in outcome.done] == [IDS[0], IDS[2]]
    assert [each.held.document.id for each in outcome.unknown] == [IDS[1]]
    assert isinstance(outcome.condition, Unavailable)


@pytest.mark.parametrize(
    ("error", "where"),
    [("conflict", "outdated"), ("forbidden", "refused"), ("unauthorized", "unknown"), ("internal_error", "unknown")],
)
def test_errors_of_single_documents_are_told_apart(error: str, where: str) -> None:
    """The others are removed all the same."""
    told = [done(IDS[0]), {"id": IDS[1], "error": error, "reason": "for some reason"}, done(IDS[2])]
    with removing(lambda _: answer(told, 201)) as remover:
        outcome = remover.change(CHANGES)
    assert len(outcome.done) == 2
    assert len(getattr(outcome, where)) == 1
    assert isinstance(outcome.condition, AccessDenied) == (error == "unauthorized")


@pytest.mark.parametrize(
    "told",
    [
        answer([done("guest/another"), done(IDS[1]), done(IDS[2])], 201),
        answer({"error": "internal_server_error", "reason": "no"}, 500),
        answer(b'[{"ok":true,"id":'),
        Cut(answer([done(id) for id in IDS], 201)[:-20]),
        b"",
        answer({"error": "unauthorized", "reason": "You are not authorized"}, 401),
    ],
    ids=["of another document", "refused", "not JSON", "cut off", "none", "not logged in"],
)
def test_an_answer_that_is_none_says_nothing_of_any_document(told: bytes) -> None:
    """It is an error, after which all of them are looked up."""
    with removing(lambda _: told) as remover, pytest.raises(MigratorError):
        remover.change(CHANGES)


def test_a_row_whose_document_has_another_revision_is_not_believed() -> None:
    """A cache that mixed two answers; the deletion would name a revision that wasn't compared."""
    document = activation(1)

    def mixed(request: Request) -> bytes:
        body = {**json.loads(document.body), "_rev": "2-b"}
        return answer({"rows": [{"key": document.id, "id": document.id, "value": {"rev": REV}, "doc": body}]})

    with removing(mixed) as remover, pytest.raises(Unavailable, match="different revisions"):
        remover.look([Address(document.id)])


def test_what_is_not_there_is_looked_for_twice() -> None:
    """One answer that finds nothing isn't believed."""
    asked: list[Any] = []

    def absent(request: Request) -> bytes:
        asked.append(json.loads(content(request))["keys"])
        return answer({"rows": [{"key": key, "error": "not_found"} for key in asked[-1]]})

    with removing(absent) as remover:
        assert not remover.look([Address(id) for id in IDS])
    assert asked == [IDS, IDS]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, None),
        ({f"{CONFIG}/couch_scanner_plugins": {"couch_auto_purge_plugin": "true"}}, None),
        (
            {
                f"{CONFIG}/couch_scanner_plugins": {"couch_auto_purge_plugin": "true"},
                f"{CONFIG}/couch_auto_purge_plugin": {"deleted_document_ttl": "30_day"},
            },
            "30_day",
        ),
        (
            {
                f"{CONFIG}/couch_scanner_plugins": {"couch_auto_purge_plugin": "true"},
                f"{CONFIG}/couch_auto_purge_plugin": {"deleted_document_ttl": "30_day"},
                "/acts/_auto_purge": {"deleted_document_ttl": "infinity"},
            },
            None,
        ),
    ],
    ids=["not there", "without a time", "of the server", "not for this database"],
)
def test_a_server_that_drops_tombstones_by_itself_is_reported(settings: dict[str, Any], told: str | None) -> None:
    """As the server spells the time; where it doesn't tell, nothing is said."""

    def configured(request: Request) -> bytes:
        found = settings.get(request.path)
        return answer({"error": "not_found", "reason": "missing"}, 404) if found is None else answer(found)

    with removing(configured) as remover:
        said = remover.preflight()
    assert [f"deleted_document_ttl {told}" in each for each in said] == ([True] if told else [])


@pytest.mark.parametrize("status", [400, 403, 405, 500])
def test_a_server_that_hides_its_configuration_is_purged_all_the_same(status: int) -> None:
    """Hosted servers and proxies refuse such paths in ways of their own."""
    with removing(lambda _: answer({"error": "no"}, status)) as remover:
        assert not remover.preflight()


def test_the_clock_is_that_of_the_answer() -> None:
    """Its `Date`; a server that tells none, or something else, has none."""
    about = {"db_name": "acts", "doc_count": 0}
    with removing(lambda _: answer(about, Date="Wed, 25 Nov 2026 23:03:57 GMT")) as remover:
        assert remover.clock_ms() == 1_795_647_837_000
    with removing(lambda _: answer(about, Date="noon")) as remover:
        assert remover.clock_ms() is None
