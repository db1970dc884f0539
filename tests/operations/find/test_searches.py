"""`migrator find` in Elasticsearch: "found in none" and "once" are said where a search and a count agree."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result

from migrator.commands.main import migrator
from tests.support.scripted import Request, serve
from tests.support.scripted_elasticsearch import Cluster, Index, Shard, some

DOCUMENTS = some(3)
ID = DOCUMENTS[0].id


def find(cluster: Cluster, id: str) -> Result:
    with serve(cluster.script) as server:
        words = ["find", id, "--in", f"elasticsearch://127.0.0.1:{server.port}/?index-pattern=openwhisk-%s", "--json"]
        return CliRunner().invoke(migrator, words, env={"MIGRATOR_CONFIG": os.devnull})


def cluster() -> Cluster:
    return Cluster(guest=Index([Shard(list(enumerate(DOCUMENTS)))]))


def altered(change: Callable[[list[Any]], list[Any]]) -> Cluster:
    """Whose searches for places give other hits, and a total that agrees with them."""
    made = cluster()

    def alter(request: Request, right: Any) -> Any:
        if request.path.endswith("/_search") and request.json.get("_source") is False:
            hits = change(right["hits"]["hits"])
            right["hits"] = {"hits": hits, "total": {"value": len(hits), "relation": "eq"}}
            return right
        return None

    made.alter = alter
    return made


def test_what_is_there_is_found_once() -> None:
    """And what isn't is found in none."""
    found = find(cluster(), ID)
    assert (found.exit_code, json.loads(found.stdout)["id"]) == (0, ID), found.output
    assert find(cluster(), f"guest/{'0' * 32}").exit_code == 10


@pytest.mark.parametrize("change", [lambda hits: hits[:-1], lambda hits: hits * 2], ids=["fewer", "twice"])
def test_hits_that_agree_with_their_total_alone_are_no_answer(change: Callable[[list[Any]], list[Any]]) -> None:
    """A hit that is left out with its count isn't "found in none"; one that comes twice isn't two documents."""
    found = find(altered(change), ID)
    assert found.exit_code == 5, found.output
    assert "found in none" not in found.output
