"""What bad input gets: one line that says what, where and what now, the right exit code, and nothing written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from migrator.demo.servers import Server
from migrator.testing.documents import activation
from tests.commands.test_main import run
from tests.support.places import CouchDBPlace, SearchPlace

CANARY = "kanarienvogel"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def source(couchdb_database: str) -> CouchDBPlace:
    place = CouchDBPlace(couchdb_database)
    place.put({document.id: document.body for document in map(activation, range(50))})
    return place


@pytest.fixture
def target(elasticsearch_server: Server, index_prefix: str) -> SearchPlace:
    return SearchPlace(elasticsearch_server, index_prefix)


def refuse(*words: str, state: Path, code: int, said: str, environ: dict[str, str] | None = None) -> None:
    """Run a copy that must end with a code and one line, and without a job folder."""
    environ = {"MIGRATOR_CONFIG": os.devnull, **(environ or {})}
    ended = run("copy", *words, "--state", str(state), environ=environ)
    line, *more = ended.stderr.splitlines()
    assert (ended.exit_code, ended.stdout, more) == (code, "", []), line
    assert line.startswith("migrator: ")
    assert said in line
    assert CANARY not in line
    assert not state.exists()


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("couchbd://db1/acts", "couchdb"),
        ("mysql://db1/acts", "mysql"),
        ("couchdb://db1", "database"),
        ("couchdb://db1/", "database"),
        ("couchdb://db1:port/acts", "port"),
        ("elasticsearch://es1/?index-patern=x", "index-patern"),
        ("prod", "prod"),
        ("", "location"),
    ],
)
@pytest.mark.parametrize("role", ["source", "target"])
def test_locations_that_are_none(typed: str, said: str, role: str, state: Path) -> None:
    """Nothing is connected to."""
    other = "couchdb://127.0.0.1:9/acts"
    refuse(*((typed, other) if role == "source" else (other, typed)), state=state, code=2, said=said)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--since", "2026-02-30"), "2026-02-30"),
        (("--until", "yesterday"), "yesterday"),
        (("--since", "2d", "--until", "3d"), "not before"),
        (("--jobs", "0"), "--jobs"),
        (("--max-rejects", "-1"), "--max-rejects"),
        (("--max-rate", "0"), "--max-rate"),
        (("--retry-for", "-1"), "--retry-for"),
        (("--on-conflict", "ask"), "--on-conflict"),
        (("--shards", "3"), "--index-template"),
        (("--index-template",), "Elasticsearch target"),
    ],
)
def test_options_that_cannot_be(options: tuple[str, ...], said: str, state: Path) -> None:
    refuse("couchdb://127.0.0.1:9/a", "couchdb://127.0.0.1:9/b", *options, state=state, code=2, said=said)


def test_source_and_target_are_the_same(source: CouchDBPlace, state: Path) -> None:
    refuse(source.location, f"{source.location}/", state=state, code=2, said="the same store")


def test_unreachable_hosts(source: CouchDBPlace, target: SearchPlace, state: Path) -> None:
    """As source and as target, on the network and by name."""
    for dead in ("couchdb://127.0.0.1:9/acts", "elasticsearch://127.0.0.1:9", "couchdb://nowhere.invalid/acts"):
        refuse(dead, target.location, state=state, code=5, said="is the server up")
        refuse(source.location, dead, state=state, code=5, said="is the server up")
    assert target.count() == 0


def test_something_else_answers(source: CouchDBPlace, target: SearchPlace, state: Path) -> None:
    """Elasticsearch where CouchDB should be."""
    port = target.location.partition("127.0.0.1:")[2].partition("/")[0]
    refuse(f"couchdb://127.0.0.1:{port}/acts", target.location, state=state, code=10, said="isn't CouchDB")
    assert source.count() == 50


def test_wrong_passwords(
    source: CouchDBPlace, target: SearchPlace, secured_couchdb: Server, secured_elasticsearch: Server, state: Path
) -> None:
    """Source or target, each is reported with its address and without what was given."""
    couchdb = f"couchdb://operator@127.0.0.1:{secured_couchdb.port}/secured"
    wrong = {"MIGRATOR_SOURCE_PASSWORD": CANARY}
    refuse(couchdb, target.location, state=state, code=6, said="401", environ=wrong)
    wrong = {"MIGRATOR_TARGET_PASSWORD": CANARY}
    refuse(source.location, couchdb, state=state, code=6, said="401", environ=wrong)
    assert secured_elasticsearch.access
    assert secured_elasticsearch.access.ca
    config = state.parent / "migrator.toml"
    config.write_text(
        f'[stores.secured]\nlocation = "elasticsearchs://operator@127.0.0.1:{secured_elasticsearch.port}"\n'
        f'password_env = "CANARY"\nca_file = "{secured_elasticsearch.access.ca}"\n'
    )
    named = {"MIGRATOR_CONFIG": str(config), "CANARY": CANARY}
    refuse(source.location, "secured", state=state, code=6, said="401", environ=named)
    refuse("secured", target.location, state=state, code=6, said="401", environ=named)
    assert target.count() == 0


def test_missing_database_or_index(source: CouchDBPlace, target: SearchPlace, state: Path) -> None:
    """A missing database isn't created, neither as source nor as target."""
    missing = f"{source.location}-x"
    refuse(missing, target.location, state=state, code=10, said="there is no such database")
    refuse(target.location, source.location, state=state, code=10, said="no index matches")
    refuse(source.location, missing, state=state, code=10, said="there is no such database")
    assert target.count() == 0


def test_state_folder_that_cannot_be_written(source: CouchDBPlace, target: SearchPlace, tmp_path: Path) -> None:
    """A file is in its place."""
    (tmp_path / "file").write_text("a file")
    state = tmp_path / "file" / "state"
    refuse(source.location, target.location, state=state, code=2, said="choose another with --state")
    assert target.count() == 0


def test_half_finished_job_with_other_options(source: CouchDBPlace, target: SearchPlace, state: Path) -> None:
    """It is refused, says with which options it was begun, and stays as it was."""
    other = activation(1, logs=["another"])
    source.put({"guest/bad": other.body.replace(other.id.encode(), b"guest/bad").replace(b'"start":', b'"began":')})
    words = ("copy", source.location, target.location, "--state", str(state))
    assert run(*words, "--max-rejects", "0").exit_code == 8
    before = {path: path.read_bytes() for path in state.rglob("*") if path.name != "lock" and path.is_file()}
    there = target.count()
    ended = run(*words, "--on-conflict", "overwrite")
    (line,) = ended.stderr.splitlines()
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert "--on-conflict skip instead of overwrite" in line
    assert "--restart" in line
    assert {path: path.read_bytes() for path in before} == before
    assert target.count() == there
    assert run(*words).exit_code == 3
