"""What CouchDB's settings mean for activations: said only where it is true, and only of what may be read."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from migrator.adapters.couchdb import health
from migrator.adapters.opening import open_reader
from migrator.adapters.questions import Finding, Probe, SupportsProbe
from migrator.settings.locations import parse_location
from migrator.testing.documents import activation
from tests.support.scripted import Request, Script, answer, serve
from tests.support.scripted_couchdb import DATABASE, ScriptedCouchDB

CONFIG = "/_node/_local/_config"
GOOD = {"couchdb": {"max_document_size": "16000000"}, "chttpd": {"chunked_response_buffer": "100000"}}


def database(**settings: dict[str, str]) -> ScriptedCouchDB:
    found = ScriptedCouchDB({each.id: each.body for each in map(activation, range(3))})
    found.settings = {**GOOD, **settings}
    return found


def probed(script: Script) -> Probe:
    with serve(script) as server:
        location = parse_location(f"couchdb://127.0.0.1:{server.port}/{DATABASE}")
        with closing(open_reader(location.store())) as reader:
            assert isinstance(reader, SupportsProbe)
            return reader.probe(exact=False)


def kinds(script: Script) -> dict[str, Finding]:
    return {finding.kind: finding for finding in probed(script).findings}


def of_version(script: ScriptedCouchDB, version: str) -> Script:
    def versioned(request: Request) -> bytes:
        if request.path == "/":
            return answer({"couchdb": "Welcome", "version": version})
        return script(request)

    return versioned


def with_sizes(script: ScriptedCouchDB, **about: Any) -> Script:
    def sized(request: Request) -> bytes:
        if request.path == f"/{DATABASE}":
            return answer({"db_name": DATABASE, "doc_count": 3, "update_seq": "3-x", **about})
        return script(request)

    return sized


def test_nothing_is_said_of_good_settings() -> None:
    found = probed(database())
    assert (found.activations, found.findings) == (3, ())


@pytest.mark.parametrize(
    ("couchdb", "version", "said"),
    [
        ({}, "3.5.0", "more than 8.0 MB"),  # its own default
        ({"max_document_size": "1000000"}, "2.3.1", "more than 1.0 MB"),
        ({"max_document_size": "8000000 ; bytes"}, "3.2.2", "more than 8.0 MB"),
        ({}, "2.3.1", None),  # 4 GB
        ({"max_document_size": "4294967296"}, "3.5.0", None),
        ({"max_document_size": "infinity"}, "3.5.0", None),
    ],
)
def test_a_limit_below_what_openwhisk_may_write_is_reported(
    couchdb: dict[str, str], version: str, said: str | None
) -> None:
    """By the server's own default where it isn't set, which is another before CouchDB 3."""
    found = kinds(of_version(database(couchdb=couchdb), version))
    assert found.keys() == ({"document-limit"} if said else set())
    assert said is None or said in found["document-limit"].text


def test_writes_that_are_confirmed_too_early_are_told() -> None:
    """CouchDB 3 has no such setting any more, and ignores one that was left."""
    settings = {"max_document_size": "16000000", "delayed_commits": "true"}
    assert kinds(of_version(database(couchdb=settings), "2.3.1")).keys() == {"delayed-commits"}
    assert not kinds(of_version(database(couchdb=settings), "3.5.0"))
    assert not kinds(of_version(database(couchdb={**settings, "delayed_commits": "false"}), "2.3.1"))


def test_compaction_that_is_switched_off_is_reported() -> None:
    assert kinds(database(smoosh={"db_channels": ""})).keys() == {"compaction-off"}
    assert not kinds(database(smoosh={"db_channels": "ratio_dbs", "state_dir": "./data"}))


def test_small_pieces_of_answers_are_told_of_a_large_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a small one it makes no difference."""
    assert not kinds(database(chttpd={}))
    monkeypatch.setattr(health, "_MANY", 3)
    assert "1,490 bytes" in kinds(database(chttpd={}))["small-answers"].text
    assert not kinds(database())


@pytest.mark.parametrize(
    ("about", "told"),
    [
        ({"sizes": {"file": 900_000_000, "active": 100_000_000}}, True),
        ({"sizes": {"file": 900_000_000, "active": 100_000_000}, "compact_running": True}, False),
        ({"sizes": {"file": 900_000_000, "active": 500_000_000}}, False),
        ({"sizes": {"file": 9_000_000, "active": 1_000_000}}, False),
        ({"sizes": {"file": 900_000_000}}, False),
        ({"disk_size": 900_000_000}, False),
    ],
)
def test_space_that_a_compaction_would_free_is_reported(about: dict[str, Any], told: bool) -> None:
    """Not while one runs, nor where CouchDB would do it by itself, nor where it isn't known."""
    found = kinds(with_sizes(database(), **about))
    assert found.keys() == ({"space-to-free"} if told else set())
    if told:
        assert "800.0 MB of the 900.0 MB" in found["space-to-free"].text
        assert f"POST /{DATABASE}/_compact" in found["space-to-free"].advice


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 500, 200])
def test_nothing_is_concluded_from_settings_that_cannot_be_read(status: int) -> None:
    """An ordinary user, a hosted server, a proxy, or an answer that is none; the rest is reported all the same."""
    plain = database()
    asked: list[str] = []

    def hidden(request: Request) -> bytes:
        if request.path.startswith(CONFIG):
            asked.append(request.path)
            return answer(b"<html>nothing here</html>", status)
        return plain(request)

    found = probed(hidden)
    assert (found.activations, found.findings) == (3, ())
    assert {*asked} == {f"{CONFIG}/couchdb"}


@pytest.mark.parametrize("welcome", [{"express-pouchdb": "Welcome!"}, {"couchdb": "W", "vendor": {"name": "Cloudant"}}])
def test_other_servers_are_not_asked_for_settings(welcome: dict[str, Any]) -> None:
    plain = database()

    def other(request: Request) -> bytes:
        assert not request.path.startswith(CONFIG)
        return answer({**welcome, "version": "3.5.0"}) if request.path == "/" else plain(request)

    assert not probed(other).findings
