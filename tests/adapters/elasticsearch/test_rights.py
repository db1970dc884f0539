"""What a login can't see, as the server's security says, is reported with a plan."""

from __future__ import annotations

from typing import Any

import pytest

from migrator.activations.selection import Selection
from migrator.errors import AccessDenied
from migrator.events.watching import Stop
from tests.support.scripted import Request
from tests.support.scripted_elasticsearch import Cluster, reading, some

ALL = {"names": ["openwhisk-*"], "privileges": ["read"]}
DOCUMENTS = {**ALL, "query": ['{"match_all": {}}']}
FIELDS = {**ALL, "field_security": [{"grant": ["*"], "except": ["logs"]}]}
GRANTED: dict[str, tuple[list[dict[str, Any]], bool]] = {
    "all": ([ALL], False),
    "some documents": ([DOCUMENTS], True),
    "all by another role": ([DOCUMENTS, {**ALL, "names": ["*"]}], False),
    "all of other indices by another role": ([DOCUMENTS, {**ALL, "names": ["openwhisk-guest"]}], True),
    "fewer fields": ([FIELDS], True),
    "every field by name": ([{**ALL, "field_security": [{"grant": ["*"]}]}], False),
    "fields that are granted": ([{**ALL, "field_security": [{"grant": ["name", "start"]}]}], True),
    "one index": ([ALL, {**DOCUMENTS, "names": ["openwhisk-guest"]}], False),
    "other indices": ([ALL, {**DOCUMENTS, "names": ["logs-*"]}], False),
    "a part by itself": ([{**DOCUMENTS, "names": ["openwhisk-guest"]}], True),
    "a part that may not be read": ([ALL, {**DOCUMENTS, "privileges": ["monitor"]}], False),
}


def granting(lacks: dict[str, bool], groups: list[dict[str, Any]] | None) -> Any:
    """A server whose security answers so; None stands for a key, which isn't told its privileges."""

    def alter(request: Request, right: Any) -> Any:
        if request.path.endswith("/_has_privileges"):
            return {"has_all_requested": all(lacks.values()), "cluster": {}, "index": {"openwhisk-*": lacks}}
        if request.path.endswith("/_privileges") and groups is not None:
            return {"indices": groups}
        return None

    return alter


def documents() -> list[tuple[int | None, Any]]:
    return list(enumerate(some(3)))


@pytest.mark.parametrize("case", GRANTED)
def test_role_that_shows_a_part_is_reported(case: str) -> None:
    """A role for all of it, beside others, shows everything."""
    groups, is_part = GRANTED[case]
    cluster = Cluster().of_one(documents())
    cluster.alter = granting({"read": True}, groups)
    with reading(cluster) as (reader, _):
        plan = reader.plan(Selection(), slice_documents=10)
    assert plan.incomplete == is_part
    assert any("restricts the login to some documents or fields" in told for told in plan.warnings) == is_part


def test_wildcard_that_stands_for_some_indices_is_reported() -> None:
    """Of those that the login may not see no answer says anything."""
    cluster = Cluster().of_one(documents())
    cluster.alter = granting({"read": True, "view_index_metadata": False}, [ALL])
    with reading(cluster) as (reader, _):
        plan = reader.plan(Selection(), slice_documents=10)
    assert plan.incomplete
    assert any("it lacks view_index_metadata on some of it" in told for told in plan.warnings)


def test_no_index_that_the_login_is_shown_is_not_no_index() -> None:
    cluster = Cluster()
    cluster.alter = granting({"read": False}, [])
    with reading(cluster) as (reader, _), pytest.raises(AccessDenied, match="that the login can see"):
        reader.describe()


def test_key_that_is_not_told_its_privileges_reads() -> None:
    cluster = Cluster().of_one(documents())
    cluster.alter = granting({"read": True}, None)
    with reading(cluster) as (reader, _):
        assert not reader.plan(Selection(), slice_documents=10).incomplete


def test_nothing_new_is_claimed_by_a_login_that_sees_some_indices_only() -> None:
    """A namespace that it isn't shown may get documents: what is pending is reported, and that it isn't all."""
    cluster = Cluster().of_one(documents())
    with reading(cluster) as (reader, _):
        snapshot = reader.plan(Selection(), slice_documents=10).snapshot
        assert reader.news(snapshot, Selection(), wait_s=0, stop=Stop()).unseen == ()
        cluster.alter = granting({"read": True, "view_index_metadata": False}, [ALL])
        news = reader.news(snapshot, Selection(), wait_s=0, stop=Stop())
    assert news.pending == 0
    assert any("can't see all of" in told for told in news.unseen)
