"""`migrator find` over real servers and an archive: where, in which form, whether the copies agree."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from migrator.activations import forms
from migrator.activations.document import Document, Form
from migrator.api.opening import resolve_store
from migrator.commands.main import migrator
from migrator.demo import samples
from migrator.demo.servers import Server
from migrator.errors import UsageError
from migrator.operations.find import find, list_newest, parse_id
from migrator.operations.find.wsk import as_wsk_shows
from migrator.testing.documents import activation, activation_id
from tests.support.servers import delete_indices, request
from tests.support.stores import (
    couchdb_location,
    documents,
    elasticsearch_location,
    fill_couchdb,
    fill_elasticsearch,
    fill_memory,
    new_database,
)

ALL = documents(samples.everyday(200))
SOME = ALL[77]
SOME_ID = SOME.id.rpartition("/")[2]
ABSENT = "0" * 32


def run(*words: str, environ: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(migrator, ["find", *words], env={"MIGRATOR_CONFIG": os.devnull, **(environ or {})})


def back_up(source: str, archive: str) -> None:
    state = f"{archive.partition(':')[2]}-state"
    result = CliRunner().invoke(migrator, ["backup", source, archive, "--state", state, "--quiet"])
    assert result.exit_code == 0, result.output


@pytest.fixture(scope="module")
def stores(
    secured_couchdb: Server, elasticsearch_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str, str]]:
    """A CouchDB database, indices, and an archive, all with the same activations."""
    prefix = f"test-{uuid.uuid4().hex}-"
    database = new_database(secured_couchdb)
    fill_couchdb(secured_couchdb, database, ALL, designs=["whisks.v2.1.0"])
    fill_elasticsearch(elasticsearch_server, f"{prefix}%s", ALL)
    couchdb = couchdb_location(secured_couchdb, database)
    archive = f"archive:{tmp_path_factory.mktemp('find')}/archive"
    back_up(couchdb, archive)
    yield couchdb, elasticsearch_location(elasticsearch_server, f"{prefix}%s"), archive
    delete_indices(elasticsearch_server, prefix)


def among(stores: tuple[str, ...]) -> list[str]:
    return [word for store in stores for word in ("--in", store)]


# -- by id ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelled", [SOME_ID, SOME.id, f"/{SOME.id}", SOME_ID.upper()])
def test_one_activation_is_found_in_all_three_and_the_copies_agree(stores: tuple[str, str, str], spelled: str) -> None:
    """In CouchDB's form twice and in Elasticsearch's once; told with or without its namespace."""
    result = run(spelled, *among(stores), "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["id"], told["agree"]) == (SOME.id, True)
    assert [copy["form"] for copy in told["copies"]] == ["couchdb", "elasticsearch", "couchdb"]
    assert told["copies"][0]["revision"].startswith("1-")
    assert told["copies"][1]["index"].endswith(SOME.namespace.lower())
    assert msgspec.json.encode(told["activation"]) == msgspec.json.encode(msgspec.json.decode(as_wsk_shows(SOME)))
    text = run(spelled, *among(stores))
    assert f"{SOME.id}: in 3 stores, and the copies agree" in text.stderr
    assert "open-sesame" not in text.output + result.output
    assert json.loads(text.stdout) == told["activation"]


def test_raw_prints_the_bytes_of_each_store(stores: tuple[str, str, str]) -> None:
    """One line a copy, in the order of the stores; that of Elasticsearch is what was stored there."""
    result = run(SOME.id, *among(stores), "--raw")
    in_couchdb, in_elasticsearch, in_archive = result.stdout_bytes.splitlines()
    converted = forms.convert(SOME, Form.ELASTICSEARCH)
    assert isinstance(converted, Document)
    assert in_elasticsearch == converted.body
    assert in_archive == in_couchdb
    assert json.loads(in_couchdb)["_rev"].startswith("1-")


def test_a_single_changed_digit_is_named(elasticsearch_server: Server, index_prefix: str, memory: str) -> None:
    """Exit code 4, with the field."""
    fill_memory(memory, [activation(1), activation(2)])
    other = activation(1, response={"result": {"number": 2}, "statusCode": 0})
    fill_elasticsearch(elasticsearch_server, f"{index_prefix}%s", [other, activation(2)])
    places = among((memory, elasticsearch_location(elasticsearch_server, f"{index_prefix}%s")))
    result = run(activation_id(1), activation_id(2), *places, "--json")
    told = {line["id"].partition("/")[2]: line for line in map(json.loads, result.stdout.splitlines())}
    assert result.exit_code == 4
    assert [copy["differs_in"] for copy in told[activation_id(1)]["copies"]] == [[], ["response"]]
    assert told[activation_id(2)]["agree"]
    assert "the copies DIFFER" in run(activation_id(1), *places).stderr


def test_what_is_found_nowhere_is_exit_code_10(stores: tuple[str, str, str]) -> None:
    """And what is found is printed all the same."""
    result = run(SOME.id, ABSENT, f"nobody/{SOME_ID}", *among(stores), "--json")
    assert result.exit_code == 10
    found, *missing = map(json.loads, result.stdout.splitlines())
    assert found["id"] == SOME.id
    assert [(each["id"], each["copies"]) for each in missing] == [(ABSENT, []), (f"nobody/{SOME_ID}", [])]
    assert [each["found"] for each in (found, *missing)] == [True, False, False]
    assert f"{ABSENT}: found in none of" in result.stderr
    assert f"nobody/{SOME_ID}: found in none of" in result.stderr


def test_a_store_that_cannot_be_asked_keeps_no_other_from_answering(stores: tuple[str, str, str]) -> None:
    """It is reported, and the exit code is its own."""
    result = run(SOME.id, *among(stores), "--in", "elasticsearch://127.0.0.1:9", "--json")
    assert result.exit_code == 5
    assert json.loads(result.stdout)["agree"]
    assert "127.0.0.1:9" in result.stderr


def test_each_id_has_a_line_of_one_shape_for_programs(memory: str) -> None:
    """Found, found nowhere, and unknown, since a store couldn't be searched; only the middle one is missing."""
    fill_memory(memory, [activation(1)])
    asked = (activation_id(1), ABSENT)
    all_answer = run(*asked, "--in", memory, "--json")
    one_fails = run(*asked, "--in", memory, "--in", "elasticsearch://127.0.0.1:9", "--json")
    lines = [json.loads(line) for each in (all_answer, one_fails) for line in each.stdout.splitlines()]
    keys = {"id", "found", "copies", "agree", "activation", "reasons", "unsearched"}
    assert [set(line) for line in lines] == [keys] * 4
    assert [line["found"] for line in lines] == [True, False, True, None]
    assert [line["agree"] for line in lines] == [True, None, True, None]
    failed = {"store": "elasticsearch://127.0.0.1:9/?index-pattern=openwhisk-%25s", "exit_code": 5}
    for line, unsearched in zip(lines, ([], [], [failed], [failed]), strict=True):
        assert [{name: each[name] for name in failed} for each in line["unsearched"]] == unsearched
    assert "no answer" in lines[3]["unsearched"][0]["error"]


def test_the_same_id_in_two_namespaces_are_two_activations(
    elasticsearch_server: Server, index_prefix: str, secured_couchdb: Server
) -> None:
    """Told without its namespace both are found, in CouchDB by hopping over the namespaces."""
    twins = [activation(1, "guest"), activation(1, "other"), activation(2, "guest")]
    database = new_database(secured_couchdb)
    fill_couchdb(secured_couchdb, database, twins)
    fill_elasticsearch(elasticsearch_server, f"{index_prefix}%s", twins)
    places = (
        couchdb_location(secured_couchdb, database),
        elasticsearch_location(elasticsearch_server, f"{index_prefix}%s"),
    )
    result = run(activation_id(1), *among(places), "--json")
    told = {line["id"]: len(line["copies"]) for line in map(json.loads, result.stdout.splitlines())}
    assert told == {f"guest/{activation_id(1)}": 2, f"other/{activation_id(1)}": 2}


def test_a_copy_in_the_form_of_couchdb_is_remarked(elasticsearch_server: Server, index_prefix: str) -> None:
    """What another tool left in Elasticsearch."""
    raw = activation(3, annotations=[{"key": "path", "value": "guest/hello"}])
    fill_elasticsearch(elasticsearch_server, f"{index_prefix}%s", [raw], as_they_are=True)
    result = run(activation_id(3), "--in", elasticsearch_location(elasticsearch_server, f"{index_prefix}%s"))
    assert result.exit_code == 0
    assert "is stored in Elasticsearch in CouchDB's form" in result.stderr


def test_the_newest_version_of_a_chain_is_found(memory: str, tmp_path: Path) -> None:
    """An increment replaced the document; the frame of the full backup isn't taken for it."""
    fill_memory(memory, [activation(number) for number in range(50)])
    archive = f"archive:{tmp_path}/archive"
    back_up(memory, archive)
    fill_memory(memory, [activation(7, duration=99), activation(60)])
    back_up(memory, archive)
    result = run(activation_id(7), activation_id(60), activation_id(8), "--in", archive, "--in", memory, "--json")
    told = {line["id"].partition("/")[2]: line for line in map(json.loads, result.stdout.splitlines())}
    assert result.exit_code == 0
    assert told[activation_id(7)]["activation"]["duration"] == 99
    assert all(len(line["copies"]) == 2 and line["agree"] for line in told.values())
    assert len(told) == 3


def test_stores_of_the_configuration_are_looked_into(memory: str, tmp_path: Path) -> None:
    """All of them, by their names."""
    fill_memory(memory, [activation(1)])
    file = tmp_path / "migrator.toml"
    file.write_text(f"[stores.one]\nlocation = '{memory}'\n[stores.two]\nlocation = '{memory}-other'\n")
    told = json.loads(run(activation_id(1), "--config", str(file), "--json").stdout)
    assert [copy["store"] for copy in told["copies"]] == ["one"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give the ids of activations, or select some"),
        ([ABSENT, "--since", "1h"], "give the ids of activations, or select some"),
        (["guest/123", "--in", "memory:x"], "'guest/123' is not an activation id"),
        ([ABSENT], "there is no store to search"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(words: list[str], said: str) -> None:
    result = run(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


# -- lists ------------------------------------------------------------------------------------------------------


def test_a_list_shows_the_newest_first_from_all_stores(stores: tuple[str, str, str]) -> None:
    """The same activations wherever they are, each once, bounded by --limit."""
    namespace, name = "guest", "hello"
    since = "2026-01-05"
    wanted = [
        document
        for document in reversed(ALL)
        if document.namespace == namespace and document.name == name and document.start_ms >= 1_767_571_200_000
    ]
    assert len(wanted) > 3
    words = ["--namespace", namespace, "--name", name, "--since", since]
    for places in (stores, stores[:1], stores[1:2], stores[2:]):
        result = run(*words, *among(places), "--json")
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        assert [line["id"] for line in lines] == [document.id for document in wanted][:30]
        assert {len(line["copies"]) for line in lines} == {len(places)}
        assert result.exit_code == 0
    short = run(*words, "--limit", "2", *among(stores))
    rows = short.stdout.splitlines()
    assert len(rows) == 2
    assert rows[0].startswith(forms.instant(wanted[0].start_ms))
    assert wanted[0].id in rows[0]
    assert "open-sesame" not in short.output


def test_a_list_by_path_selects_exactly(stores: tuple[str, str, str]) -> None:
    """Elasticsearch finds words, and what is more than was requested is left out."""
    expected = None
    for place in stores:
        result = run("--name", "slack/post", "--until", "2026-01-20", "--limit", "500", "--in", place, "--json")
        ids = [json.loads(line)["id"] for line in result.stdout.splitlines()]
        expected = expected or ids
        assert ids == expected
    assert expected


def test_a_list_is_found_by_reading_where_start_cannot_be_sorted(
    elasticsearch_server: Server, index_prefix: str
) -> None:
    """An index that maps `start` as text."""
    index = f"{index_prefix}guest"
    mapping = {"mappings": {"_doc": {"properties": {"start": {"type": "text"}}}}}
    request("PUT", f"{elasticsearch_server.url}/{index}", mapping)
    fill_elasticsearch(elasticsearch_server, f"{index_prefix}%s", [activation(number) for number in range(5)])
    place = elasticsearch_location(elasticsearch_server, f"{index_prefix}%s")
    result = run("--namespace", "guest", "--limit", "2", "--in", place, "--json")
    assert [json.loads(line)["id"] for line in result.stdout.splitlines()] == [
        f"guest/{activation_id(4)}",
        f"guest/{activation_id(3)}",
    ]


# -- as wsk shows it --------------------------------------------------------------------------------------------


def shown(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(as_wsk_shows(activation(1, form=Form.ELASTICSEARCH, **changes)))
    return found


def test_the_form_is_that_of_the_api() -> None:
    """No fields of the store, annotations as an array, the result as a value, the status in words."""
    found = shown()
    assert not found.keys() & {"_id", "_rev", "updated", "entityType", "path", "@timestamp"}
    assert found["annotations"][0] == {"key": "path", "value": "guest/hello"}
    assert found["response"] == {"status": "success", "statusCode": 0, "success": True, "result": {"number": 1}}
    assert list(found)[:4] == ["namespace", "name", "version", "subject"]


def test_what_did_not_end_shows_no_end() -> None:
    """A trigger."""
    assert not shown(end=0, duration=...).keys() & {"end", "duration"}


def test_a_duration_that_is_not_stored_is_shown() -> None:
    assert shown(duration=...)["duration"] == 42


@pytest.mark.parametrize(("code", "status"), [(1, "application error"), (3, "whisk internal error"), (9, "9")])
def test_failures_have_their_words(code: int, status: str) -> None:
    response = shown(response={"statusCode": code})["response"]
    assert response == {"status": status, "statusCode": code, "success": False}


def test_numbers_keep_every_digit() -> None:
    """Beyond 2^53 and with an exponent."""
    document = activation(1)
    body = document.body.replace(b'"number":1', b'"number":[123456789012345678901234567890,1e22,-0.0]')
    assert b"[123456789012345678901234567890,1e22,-0.0]" in as_wsk_shows(msgspec.structs.replace(document, body=body))


# -- for programs -------------------------------------------------------------------------------------------------


def test_a_program_asks_by_words_or_values(memory: str) -> None:
    """Stores by location, ids as they are typed; what is no id or store is refused before any is asked."""
    document = activation(1)
    fill_memory(memory, [document])
    by_words = find([memory], [document.id])
    assert [each.id for each in by_words.activations] == [document.id]
    assert find([resolve_store(memory, "source", lambda _: None)], [parse_id(document.id)]) == by_words
    assert list_newest([memory]).activations == by_words.activations
    with pytest.raises(UsageError, match="is not an activation id"):
        find([memory], ["hello"])
    with pytest.raises(UsageError, match="no store to search"):
        list_newest([])
    with pytest.raises(UsageError, match="`limit=0`"):
        list_newest([memory], limit=0)
