"""The list of indices is compared with a second one, and places of ids against what the server counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from migrator.activations.selection import Selection
from migrator.errors import Unavailable
from tests.support.scripted import Request, answer
from tests.support.scripted_elasticsearch import Alter, Cluster, Index, Shard, reading, some

ALL = Selection()
FIRST, SECOND = "openwhisk-guest", "openwhisk-other"
PATTERNS = pytest.mark.parametrize("selection", [ALL, Selection(namespaces=("guest", "other"))])


def cluster() -> Cluster:
    return Cluster(
        guest=Index([Shard(list(enumerate(some(10))))]),
        other=Index([Shard(list(enumerate(some(5, 100, namespace="other"))))], uuid="u2"),
    )


def without_first(*, always: bool) -> Alter:
    """Settings that leave out the first index of their answer."""
    left = iter(range(1 << 30 if always else 1))

    def alter(request: Request, right: Any) -> Any:
        if not request.path.endswith("/_settings") or next(left, None) is None:
            return None
        return dict(list(right.items())[1:])

    return alter


@PATTERNS
def test_an_index_that_the_settings_leave_out_always_is_unavailable(selection: Selection) -> None:
    """It has documents, so no plan is made without it."""
    altered = cluster()
    altered.alter = without_first(always=True)
    with reading(altered) as (reader, _), pytest.raises(Unavailable, match=f"{FIRST} exists"):
        reader.plan(selection, slice_documents=100)


@PATTERNS
def test_an_index_that_the_settings_leave_out_once_is_read(selection: Selection) -> None:
    """Asked by its name, they have it."""
    altered = cluster()
    altered.alter = without_first(always=False)
    with reading(altered) as (reader, _):
        plan = reader.plan(selection, slice_documents=100)
    assert {slice.spec["index"] for slice in plan.slices} == {FIRST, SECOND}


def test_a_login_that_may_not_list_aliases_reads_by_the_settings_alone() -> None:
    """OpenSearch has a right of its own for it."""
    altered = cluster()
    altered.alter = lambda request, _: (
        answer({"error": {"type": "security_exception"}, "status": 403}, 403) if "/_alias" in request.path else None
    )
    with reading(altered) as (reader, _):
        assert len(reader.plan(ALL, slice_documents=100).slices) == 2


def test_an_index_that_this_login_may_not_read_is_left_out() -> None:
    """Aliases list it, and nothing else does."""
    altered = cluster()

    def alter(request: Request, right: Any) -> Any:
        if request.path.endswith("/_settings"):
            return {name: each for name, each in right.items() if name != FIRST}
        if request.path == f"/{FIRST}/_count":
            echo = {"X-Opaque-Id": request.headers["x-opaque-id"]}
            return answer({"error": {"type": "security_exception"}, "status": 403}, 403, **echo)
        return None

    altered.alter = alter
    with reading(altered) as (reader, _):
        assert {slice.spec["index"] for slice in reader.plan(ALL, slice_documents=100).slices} == {SECOND}


def is_for_ids(request: Request) -> bool:
    return request.path.endswith("/_search") and b'"ids"' in request.body


@pytest.mark.parametrize("change", [lambda hits: [*hits[:-1], hits[0]], lambda hits: hits[1:]])
def test_places_that_come_twice_or_not_at_all_are_no_answer(change: Callable[[list[Any]], list[Any]]) -> None:
    """As many hits as are counted, of which one stands in place of another, hide a document."""
    altered = cluster()

    def alter(request: Request, right: Any) -> Any:
        if is_for_ids(request):
            right["hits"]["hits"] = change(right["hits"]["hits"])
            return right
        return None

    altered.alter = alter
    ids = [document.id for document in some(10)]
    with reading(altered) as (reader, _), pytest.raises(Unavailable, match=r"twice|places"):
        list(reader.fetch(ids, None, ALL))


def test_documents_are_asked_for_by_paths_where_bodies_may_name_no_index() -> None:
    """`rest.action.multi.allow_explicit_index: false` refuses an `_mget` that names them."""
    strict = cluster()

    def alter(request: Request, _: Any) -> Any:
        if request.path.endswith("_mget") and b'"_index"' in request.body:
            error = {"type": "illegal_argument_exception", "reason": "explicit index in multi get is not allowed"}
            return answer({"error": {**error, "root_cause": [error]}, "status": 400}, 400)
        return None

    strict.alter = alter
    ids = sorted(document.id for document in (*some(10), *some(5, 100, namespace="other")))
    with reading(strict) as (reader, _):
        given = [document.id for batch in reader.fetch(ids, None, ALL) for document in batch.documents]
    assert sorted(given) == ids


def test_an_index_that_gives_few_hits_at_once_is_asked_for_fewer_ids() -> None:
    """`index.max_result_window` bounds what a search may ask for."""
    altered = cluster()
    reason = "Result window is too large, from + size must be less than or equal to: [5] but was [20]"

    def alter(request: Request, _: Any) -> Any:
        if is_for_ids(request) and 1 < len(request.json["query"]["bool"]["filter"][0]["ids"]["values"]) > 2:
            error = {"type": "illegal_argument_exception", "reason": reason}
            return answer({"error": {**error, "root_cause": [error]}, "status": 400}, 400)
        return None

    altered.alter = alter
    ids = [document.id for document in some(10)]
    with reading(altered) as (reader, _):
        given = [document.id for batch in reader.fetch(ids, None, ALL) for document in batch.documents]
    assert given == ids


def test_documents_that_are_too_large_or_malformed_together_are_asked_for_alone() -> None:
    """Ids are halved until one stands alone; of the few that are left, no more are asked for than there are."""
    altered = cluster()
    victim = some(10)[4].id
    sizes: list[int] = []

    def alter(request: Request, right: Any) -> Any:
        if not request.path.endswith("_mget"):
            return None
        docs = request.json["docs"]
        sizes.append(len(docs))
        if len(docs) > 1 and any(each["_id"] == victim for each in docs):
            return answer(b'{"docs":[{"_id":"cut', 200, **{"X-Opaque-Id": request.headers["x-opaque-id"]})
        return answer({"error": {"type": "too_large"}}, 413) if len(docs) > 3 else None

    altered.alter = alter
    ids = [document.id for document in some(10)]
    with reading(altered) as (reader, _):
        batches = list(reader.fetch(ids, None, ALL))
    assert [document.id for batch in batches for document in batch.documents] == ids
    assert batches[-1].position == len(ids)
    assert sizes[0] == 10
    assert len(sizes) < 20
