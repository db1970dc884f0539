"""Questions to an Elasticsearch that answers for a part of what it holds: nobody hears that there is nothing."""

from __future__ import annotations

import json
import os
import shutil
import time
import urllib.error
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from click.testing import CliRunner, Result

from migrator.adapters.memory import memory_store
from migrator.commands.main import migrator
from migrator.demo.servers import Server
from migrator.testing.documents import activation, activation_id
from tests.support.scripted import Request, answer, serve
from tests.support.servers import fetch, request
from tests.support.stores import elasticsearch_location, fill_elasticsearch

COUNT = 60


def run(*words: str) -> Result:
    return CliRunner().invoke(migrator, list(words), env={"MIGRATOR_CONFIG": os.devnull})


class OneShardDown:
    """An index of five shards in which the primary of one isn't assigned, and what is in it and in the others."""

    def __init__(self, server: Server, prefix: str) -> None:
        self.location = elasticsearch_location(server, f"{prefix}%s")
        fill_elasticsearch(server, f"{prefix}%s", [activation(number) for number in range(COUNT)])
        index = f"{server.url}/{prefix}guest"
        of_shard: dict[int, list[str]] = {}
        for shard in range(5):
            hits = request("GET", f"{index}/_search?size={COUNT}&preference=_shards:{shard}")["hits"]["hits"]
            of_shard[shard] = [hit["_id"] for hit in hits]
        assert all(of_shard.values())
        self.hidden, self.seen = of_shard[3], [id for shard, ids in of_shard.items() if shard != 3 for id in ids]
        uuid = request("GET", f"{index}/_settings")[f"{prefix}guest"]["settings"]["index"]["uuid"]
        request("POST", f"{index}/_close")
        (folder,) = (server.folder / "data").glob(f"nodes/0/indices/{uuid}/3")
        shutil.rmtree(folder)
        request("POST", f"{index}/_open?wait_for_active_shards=0")
        states: dict[int, str] = {}
        ends_s = time.monotonic() + 60
        while Counter(states.values())["STARTED"] < 4 and time.monotonic() < ends_s:
            time.sleep(0.1)
            shards = request("GET", f"{server.url}/_cat/shards/{prefix}guest?format=json")
            states = {int(each["shard"]): each["state"] for each in shards if each["prirep"] == "p"}
        assert states[3] == "UNASSIGNED"


@pytest.fixture
def broken(elasticsearch_server: Server, index_prefix: str) -> OneShardDown:
    return OneShardDown(elasticsearch_server, index_prefix)


@pytest.fixture
def memory() -> Iterator[str]:
    """The location of a store in memory with the same activations."""
    store = memory_store("beside-a-failed-shard")
    for number in range(COUNT):
        document = activation(number)
        store.put(document.id, document.body)
    yield "memory:beside-a-failed-shard"
    store.clear()


def test_nothing_is_said_to_be_nowhere_while_a_shard_is_down(broken: OneShardDown, memory: str, tmp_path: Path) -> None:
    """`find`, `detect`, `stats` and `verify` all end with exit code 5 and name the store; what is known is shown."""
    store = broken.location
    for id in (broken.hidden[0], broken.seen[0]):
        found = run("find", id, "--in", store)
        assert found.exit_code == 5, found.output
        assert "found in none" not in found.output
        assert f"unknown for {store}" in found.stderr

    beside = run("find", broken.hidden[0], "--in", store, "--in", memory, "--json")
    assert beside.exit_code == 5
    assert [copy["store"] for copy in json.loads(beside.stdout)["copies"]] == [memory]

    listed = run("find", "--namespace", "guest", "--in", store, "--in", memory, "--limit", "100")
    assert listed.exit_code == 5
    assert len(listed.stdout.splitlines()) == COUNT

    detected = run("detect", store, "--json")
    assert detected.exit_code == 5, detected.output
    (probe,) = json.loads(detected.stdout)["probes"]
    assert probe["state"] == "incomplete"
    assert "shards of index" in probe["error"]
    text = run("detect", store).stdout
    assert "holds none" not in text
    assert "No store was found that holds activations" in text or "can't be searched" in text

    counted = run("stats", store, "--json", "--quiet")
    assert counted.exit_code == 5
    assert counted.stdout == ""

    verified = run("verify", memory, store, "--state", str(tmp_path / "state"), "--retry-for", "1")
    assert verified.exit_code == 5
    assert "the same" not in verified.output


def test_an_index_whose_shards_are_all_down_is_not_taken_for_a_closed_one(
    elasticsearch_server: Server, index_prefix: str
) -> None:
    """It is missing from the statistics as a closed one is."""
    index = f"{elasticsearch_server.url}/{index_prefix}guest"
    nowhere = {"settings": {"index.routing.allocation.require.box": "none", "index.number_of_shards": 2}}
    request("PUT", f"{index}?wait_for_active_shards=0", nowhere)
    store = elasticsearch_location(elasticsearch_server, f"{index_prefix}%s")
    for words in (["find", "0" * 32, "--in", store], ["detect", store], ["stats", store]):
        assert run(*words).exit_code == 5, words


def test_a_closed_index_is_reported(elasticsearch_server: Server, index_prefix: str) -> None:
    """What others hold is shown; that an id is nowhere isn't said."""
    found = [activation(1), activation(2, "other")]
    fill_elasticsearch(elasticsearch_server, f"{index_prefix}%s", found)
    request("POST", f"{elasticsearch_server.url}/{index_prefix}other/_close")
    store = elasticsearch_location(elasticsearch_server, f"{index_prefix}%s")
    hidden = run("find", activation_id(2), "--in", store)
    assert hidden.exit_code == 5
    assert f"{index_prefix}other can't be searched: closed" in hidden.stderr
    both = run("find", activation_id(1), activation_id(2), "--in", store, "--json")
    assert both.exit_code == 5
    shown, unknown = map(json.loads, both.stdout.splitlines())
    assert (shown["id"], shown["found"]) == (found[0].id, True)
    assert (unknown["id"], unknown["found"]) == (activation_id(2), None)
    assert [each["store"] for each in unknown["unsearched"]] == [store]
    listed = run("find", "--since", "2000-01-01", "--in", store, "--json")
    assert (listed.exit_code, json.loads(listed.stdout)["id"]) == (5, found[0].id)


# -- answers that only claim to be whole ------------------------------------------------------------------------


Alter = Callable[[dict[str, Any]], None]


def _failed(found: dict[str, Any]) -> None:
    found["_shards"] |= {"successful": found["_shards"]["successful"] - 1, "failed": 1}


def _lost(found: dict[str, Any]) -> None:
    found["_shards"] |= {"successful": found["_shards"]["successful"] - 1}


def _fewer(found: dict[str, Any]) -> None:
    found["_shards"] |= {"total": 0, "successful": 0}


def _late(found: dict[str, Any]) -> None:
    found["timed_out"] = True


def _silent(found: dict[str, Any]) -> None:
    del found["_shards"]


def _emptied(found: dict[str, Any]) -> None:
    found["hits"]["hits"] = []
    if "aggregations" in found:
        _failed(found)  # it has no hits in any case


def through(server: Server, alter: Alter) -> Callable[[Request], bytes]:
    """Hand requests on to a server, and alter what it answers to a search."""

    def script(asked: Request) -> bytes:
        path = quote(asked.path) + (f"?{urlencode(asked.query)}" if asked.query else "")
        try:
            body = fetch(asked.method, f"{server.url}{path}", asked.body or None)
        except urllib.error.HTTPError as error:
            with error:
                return answer(error.read(), error.code)
        if not asked.path.endswith("/_search"):
            return answer(body)
        found = json.loads(body)
        alter(found)
        return answer(found)

    return script


@pytest.mark.parametrize("alter", [_failed, _lost, _fewer, _late, _silent, _emptied])
def test_an_answer_that_leaves_something_out_is_no_answer(
    elasticsearch_server: Server, index_prefix: str, alter: Alter
) -> None:
    """A status of 200 proves nothing."""
    pattern = f"{index_prefix}%s"
    fill_elasticsearch(elasticsearch_server, pattern, [activation(number) for number in range(COUNT)])
    store = elasticsearch_location(elasticsearch_server, pattern)
    with serve(through(elasticsearch_server, alter)) as proxy:
        store = f"elasticsearch://127.0.0.1:{proxy.port}/?index-pattern={quote(pattern, safe='')}"
        for words in (
            ["find", activation_id(1), "--in", store],
            ["find", f"guest/{activation_id(1)}", "--in", store],
            ["find", "--namespace", "guest", "--in", store],
            ["detect", store],
            ["stats", store],
        ):
            done = run(*words)
            assert done.exit_code == 5, (words, done.output)
            assert "found in none" not in done.output
