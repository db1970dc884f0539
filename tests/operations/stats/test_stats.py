"""`migrator stats`: what is counted, on memory, archives and real servers; and the pages and tables that tell it."""

from __future__ import annotations

import json
import os
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from migrator.activations.amounts import DAY_MS, Amounts, Sum
from migrator.activations.document import Document
from migrator.adapters.memory import memory_store
from migrator.adapters.questions import Room
from migrator.commands.main import migrator
from migrator.demo import samples
from migrator.demo.servers import Server
from migrator.operations.stats.outlook import forecasts_of, growth_of, retention_of, select_days, shards_of
from migrator.operations.stats.values import Statistics
from migrator.rendering.bars import bar
from migrator.rendering.statistics import render
from migrator.rendering.statistics_page import page
from migrator.testing.documents import activation
from tests.support.pages import assert_stands_alone
from tests.support.servers import delete_indices
from tests.support.stores import (
    couchdb_location,
    documents,
    elasticsearch_location,
    fill_couchdb,
    fill_elasticsearch,
    fill_memory,
    new_database,
)

ALL = documents(chain(samples.everyday(600), samples.odd(60, holdable=True)))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SAMPLE_ARCHIVE = f"archive:{Path(__file__).parents[3] / 'samples/archive'}"


def run(*words: str) -> Result:
    return CliRunner().invoke(migrator, ["stats", *words], env={"MIGRATOR_CONFIG": os.devnull, "COLUMNS": "80"})


def stats(*words: str) -> dict[str, Any]:
    result = run(*words, "--json", "--quiet")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def recounted(found: list[Document]) -> dict[str, Any]:
    """What the numbers must be, counted in another way."""
    bodies = [json.loads(document.body) for document in found]
    failed = [body["response"]["statusCode"] != 0 for body in bodies]
    days = [str((EPOCH + timedelta(milliseconds=document.start_ms)).date()) for document in found]
    return {
        "activations": len(bodies),
        "errors": sum(failed),
        "namespaces": Counter(body["namespace"] for body in bodies),
        "days": Counter(days),
        "failed_days": Counter(day for day, each in zip(days, failed, strict=True) if each),
    }


def counted(found: dict[str, Any]) -> dict[str, Any]:
    return {
        "activations": found["activations"],
        "errors": found["errors"],
        "namespaces": Counter({each["name"]: each["activations"] for each in found["namespaces"]}),
        "days": Counter({each["name"]: each["activations"] for each in found["days"]}),
        "failed_days": Counter({each["name"]: each["errors"] for each in found["days"] if each["errors"]}),
    }


def groups(found: dict[str, Any], kind: str) -> dict[str, tuple[int, int]]:
    return {each["name"]: (each["activations"], each["errors"]) for each in found[kind]}


# -- counting ---------------------------------------------------------------------------------------------------


def test_what_is_read_is_counted_exactly(memory: str) -> None:
    """Activations, errors, namespaces and days are those of another count; bytes are those of the documents."""
    fill_memory(memory, ALL)
    found = stats(memory)
    assert found["method"] == "read"
    assert counted(found) == recounted(ALL)
    assert found["size_bytes"] == sum(document.size_bytes for document in ALL)
    assert sum(each["size_bytes"] for each in found["actions"]) == found["size_bytes"]
    largest = sorted((document.size_bytes for document in ALL), reverse=True)[:10]
    assert [each["size_bytes"] for each in found["largest"]] == largest


def test_an_action_is_named_by_its_path(memory: str) -> None:
    """Two packages may have actions of one name."""
    paths = ("guest/hello", "guest/a/hello", "guest/b/hello", "guest/b/hello")
    fill_memory(memory, [activation(at, annotations=[{"key": "path", "value": path}]) for at, path in enumerate(paths)])
    assert groups(stats(memory), "actions") == {"guest/b/hello": (2, 0), "guest/a/hello": (1, 0), "guest/hello": (1, 0)}


def test_logs_and_results_have_their_share(memory: str) -> None:
    fill_memory(memory, [activation(1, logs=["x" * 4000], response={"result": {"text": "y" * 1988}, "statusCode": 1})])
    found = stats(memory)
    assert found["logs_bytes"] == len('["') + 4000 + len('"]')
    assert found["results_bytes"] == len('{"text":""}') + 1988
    assert found["errors"] == 1


def test_an_archive_counts_each_document_once(tmp_path: Path) -> None:
    """An increment brings newer versions; the state that would be restored is what counts."""
    name = uuid.uuid4().hex
    restored = CliRunner().invoke(
        migrator, ["restore", SAMPLE_ARCHIVE, f"memory:{name}", "--state", str(tmp_path), "--quiet"]
    )
    assert restored.exit_code == 0, restored.output
    expected = counted(stats(f"memory:{name}"))
    memory_store(name).clear()
    found = stats(SAMPLE_ARCHIVE)
    assert counted(found) == expected
    assert found["stored_bytes"] < found["size_bytes"] / 3
    assert found["forecasts"][0]["room"]["name"].startswith("the disk of ")


def test_memory_is_bounded_however_many_names_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes under names beyond the bound is one sum, and nothing is lost of the total."""
    monkeypatch.setattr("migrator.activations.amounts._NAMES", 5)
    amounts = Amounts()
    amounts.take([activation(at, f"ns-{at % 9}", start=at * DAY_MS) for at in range(90)])
    assert len(amounts.namespaces.by_name) == 6
    assert sum(each.activations for each in amounts.namespaces.by_name.values()) == 90
    assert len(amounts.days) == 5
    assert amounts.namespaces.groups(3)[-1].name == "(others)"
    assert sum(each.activations for each in amounts.namespaces.groups(3)) == 90


# -- real servers -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def indices(elasticsearch_server: Server) -> Iterator[str]:
    prefix = f"test-{uuid.uuid4().hex}-"
    fill_elasticsearch(elasticsearch_server, f"{prefix}%s", ALL)
    yield elasticsearch_location(elasticsearch_server, f"{prefix}%s")
    delete_indices(elasticsearch_server, prefix)


@pytest.mark.parametrize(
    "selection",
    [
        (),
        ("--namespace", "team-*"),
        ("--namespace", "guest", "--namespace", "Bob_Upper-CASE"),
        ("--name", "hello"),
        ("--name", "slack/post"),
        ("--name", "guest/*"),
        ("--since", "2026-01-10", "--until", "2026-01-20T12:00:00Z"),
    ],
    ids=" ".join,
)
def test_aggregations_count_what_reading_counts(indices: str, selection: tuple[str, ...]) -> None:
    """Elasticsearch's own counts of a selection are those of the documents read one by one."""
    asked, read = stats(indices, *selection), stats(indices, *selection, "--exact")
    assert (asked["method"], read["method"]) == ("aggregated", "read")
    assert read["activations"] > 0
    assert counted(asked) == counted(read)
    assert groups(asked, "actions") == groups(read, "actions")
    assert (asked["first_ms"], asked["last_ms"]) == (read["first_ms"], read["last_ms"])


def test_every_server_counts_alike(search_server: Server, index_prefix: str, memory: str, tmp_path: Path) -> None:
    """Each version of Elasticsearch and OpenSearch counts what a copy brought there, and tells its disk."""
    fill_memory(memory, ALL)
    target = elasticsearch_location(search_server, f"{index_prefix}%s")
    copied = CliRunner().invoke(migrator, ["copy", memory, target, "--state", str(tmp_path), "--quiet"])
    assert copied.exit_code == 0, copied.output
    found = stats(target)
    assert found["method"] == "aggregated"
    assert counted(found) == recounted(ALL)
    assert 0 < found["sampled"] <= len(ALL)
    assert found["forecasts"][0]["room"]["free_bytes"] > 0


def test_elasticsearch_tells_its_disks_and_shards(indices: str) -> None:
    found = stats(indices)
    assert found["forecasts"][0]["room"]["free_bytes"] > 0
    assert {each["now"] for each in found["shards"]} == {5}
    assert {each["suggested"] for each in found["shards"]} == {1}
    assert found["stored_bytes"] > 0


def test_a_pattern_that_matches_nothing_is_said(elasticsearch_server: Server) -> None:
    result = run(elasticsearch_location(elasticsearch_server, f"nothing-{uuid.uuid4().hex}-%s"))
    assert result.exit_code == 10
    assert "no index matches" in result.stderr


def test_a_field_that_cannot_be_aggregated_is_read(elasticsearch_server: Server, index_prefix: str) -> None:
    """Date detection has made the name a date: the index is read instead."""
    fill_elasticsearch(elasticsearch_server, f"{index_prefix}%s", [activation(1, name="2026-01-01")])
    found = stats(elasticsearch_location(elasticsearch_server, f"{index_prefix}%s"))
    assert (found["method"], found["activations"]) == ("read", 1)


def test_a_large_couchdb_is_sampled_and_exact_on_request(couchdb_server: Server) -> None:
    """A sample gives the number of documents, and shares that are near; --exact gives everything."""
    some = documents(samples.everyday(6000))
    database = new_database(couchdb_server)
    fill_couchdb(couchdb_server, database, some)
    location = couchdb_location(couchdb_server, database)
    sampled, exact = stats(location), stats(location, "--exact")
    assert (sampled["method"], exact["method"]) == ("sampled", "read")
    assert sampled["activations"] == 6000
    assert sampled["sampled"] < 6000
    assert abs(sampled["errors"] / exact["errors"] - 1) < 0.35
    assert abs(sampled["size_bytes"] / exact["size_bytes"] - 1) < 0.1
    assert counted(exact) == recounted(some)
    assert any("--disk-free" in note for note in sampled["notes"])


# -- what follows -----------------------------------------------------------------------------------------------

TODAY = 20_000


def history(*activations: int, size_bytes: int = 1000) -> dict[int, Sum]:
    """So many a day up to today."""
    first = TODAY - len(activations) + 1
    return {first + at: Sum(each, each * size_bytes, 0) for at, each in enumerate(activations) if each}


NOW_MS = TODAY * DAY_MS + DAY_MS // 2


def test_growth_is_the_mean_of_whole_days() -> None:
    """Today isn't over and doesn't count; a day without activations does."""
    growth = growth_of(history(30, 0, 60, 5), now_ms=NOW_MS, stored_each_byte=0.5)
    assert growth is not None
    assert (growth.days, growth.activations, growth.stored_bytes) == (3, 30, 15_000)
    assert growth_of(history(5), now_ms=NOW_MS, stored_each_byte=1) is None
    assert growth_of({}, now_ms=NOW_MS, stored_each_byte=1) is None


def test_growth_tells_a_change_from_week_to_week() -> None:
    growth = growth_of(history(*[100] * 7, *[150] * 7, 1), now_ms=NOW_MS, stored_each_byte=1)
    assert growth is not None
    assert growth.change == pytest.approx(0.5)


def test_stray_days_and_the_future_are_left_out() -> None:
    """One activation of 1970 and one of the year 2200 among thousands say nothing of growth."""
    days = history(*[1000] * 10) | {0: Sum(1, 1, 0), TODAY + 60_000: Sum(1, 1, 0)}
    assert select_days(days, now_ms=NOW_MS) == list(range(TODAY - 9, TODAY + 1))
    growth = growth_of(days, now_ms=NOW_MS, stored_each_byte=1)
    assert growth is not None
    assert growth.activations == 1000


def test_the_disk_that_is_full_first_comes_first() -> None:
    """What comes is shared among the disks; without growth no day is foretold."""
    growth = growth_of(history(*[100] * 9), now_ms=NOW_MS, stored_each_byte=1)
    rooms = [Room(name=name, free_bytes=free, room_bytes=free, limit="") for name, free in (("a", 10**7), ("b", 10**6))]
    found = forecasts_of(rooms, growth, now_ms=NOW_MS)
    assert [(each.room.name, each.days) for each in found] == [("b", 20), ("a", 200)]
    assert found[0].at_ms == NOW_MS + 20 * DAY_MS
    assert forecasts_of(rooms, None, now_ms=NOW_MS)[0].days is None


def test_a_retention_holds_what_is_there_or_what_will_be() -> None:
    """Within the history days are counted; beyond it the mean of a day stands for those that are missing."""
    days = history(*[100] * 10)
    growth = growth_of(days, now_ms=NOW_MS, stored_each_byte=1)
    room = [Room(name="d", free_bytes=500_000, room_bytes=500_000, limit="")]
    week, long = retention_of((7, 100), days, growth, room, now_ms=NOW_MS, stored_bytes=1_000_000, stored_each_byte=1.0)
    assert (week.activations, week.stored_bytes, week.is_projected, week.fits) == (700, 700_000, False, True)
    assert (long.activations, long.is_projected, long.fits) == (10_000, True, False)


def test_shards_follow_the_size() -> None:
    found = shards_of({"small": (1e6, 5), "large": (2e10, 5)}, 4)
    assert [(each.name, each.suggested) for each in found] == [("large", 3), ("small", 1)]


# -- how it is reported ---------------------------------------------------------------------------------------------


@pytest.fixture
def told(memory: str) -> Statistics:
    fill_memory(memory, ALL)
    result = run(memory, "--json", "--disk-free", "1GB")
    return msgspec.json.decode(result.stdout, type=Statistics)


@pytest.mark.parametrize("width", [60, 80, 132])
def test_no_bar_goes_beyond_the_terminal(told: Statistics, width: int) -> None:
    lines = render(told, width=width).splitlines()
    bars = [line for line in lines if "█" in line]
    assert bars if width > 60 else True
    assert max(map(len, bars), default=0) <= width


def test_a_bar_shows_what_is_not_nothing() -> None:
    assert [bar(value, 100, 4) for value in (0, 0.1, 50, 56.25, 100)] == ["", "▏", "██", "██▎", "████"]


def test_no_colour_where_nobody_sees_it(memory: str) -> None:
    """Into a pipe go plain letters."""
    fill_memory(memory, documents(samples.everyday(100)))
    result = run(memory)
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert "by namespace" in result.stdout
    assert "by day" in result.stdout


def test_the_page_stands_alone(told: Statistics) -> None:
    """It holds no script and no reference to anything outside, and tells the numbers."""
    text = assert_stands_alone(page(told))
    assert f"{told.activations:,}" in text
    assert "alice@example.com_dev" in text


def test_names_cannot_become_markup(memory: str, tmp_path: Path) -> None:
    """A namespace or an action is text, whatever it spells."""
    name = "<script>alert(1)</script>"
    fill_memory(memory, [activation(at, "a&b", name=name, annotations=[], start=at * DAY_MS) for at in range(1, 4)])
    result = run(memory, "--html", str(tmp_path / "page.html"), "--quiet")
    assert result.exit_code == 0, result.output
    assert name in assert_stands_alone((tmp_path / "page.html").read_text())


def test_an_empty_store_is_reported_too(memory: str, tmp_path: Path) -> None:
    result = run(memory, "--html", str(tmp_path / "page.html"))
    assert result.exit_code == 0, result.output
    assert "not known before a full day" in result.stdout
    assert_stands_alone((tmp_path / "page.html").read_text())


@pytest.mark.parametrize(
    "words", [("--retention", "soon"), ("--retention", "0d"), ("--disk-free", "much"), ("--html", "/no/such/folder/x")]
)
def test_what_cannot_be_is_refused(memory: str, words: tuple[str, ...]) -> None:
    result = run(memory, *words)
    assert result.exit_code == 2
    assert words[0] in result.stderr or "can't be written" in result.stderr
