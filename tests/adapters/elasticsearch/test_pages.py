"""What is read of Elasticsearch is all there is, whatever is made of single answers: shown on scripted clusters."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.activations.document import Document
from migrator.activations.selection import Selection
from migrator.adapters import elasticsearch
from migrator.adapters.base import Batch, Reader, Slice
from migrator.adapters.elasticsearch.reader import ElasticsearchReader
from migrator.adapters.elasticsearch.transport import Arrival
from migrator.adapters.shared.paging import PageSize
from migrator.adapters.shared.patience import Policy
from migrator.adapters.wrappers.retrying import RetryingReader
from migrator.errors import Incomplete, NotFound, Unavailable
from migrator.settings.stores import Location, Store
from tests.support.profiles import examples, stride
from tests.support.scripted import Cut, Request, answer, serve
from tests.support.scripted_elasticsearch import Alter, Cluster, Index, Shard, reading, some

ALL = Selection()
PATIENT = Policy(sleep=lambda _: None)


def numbered(
    documents: list[Document], numbers: Iterator[int] | range | None = None
) -> list[tuple[int | None, Document]]:
    return list(zip(numbers or range(len(documents)), documents, strict=False))


def read(reader: Reader, slices: tuple[Slice, ...], selection: Selection = ALL) -> list[Batch]:
    return [batch for slice in slices for batch in reader.read(slice, None, selection)]


def ids(batches: list[Batch]) -> list[str]:
    return sorted(document.id for batch in batches for document in batch.documents)


def all_ids(documents: list[Document]) -> list[str]:
    return sorted(document.id for document in documents)


# -- numbers that several documents have ------------------------------------------------------------------------------


@pytest.mark.parametrize(("page_bytes", "count"), [(500, 40), (3_000, 90), (30_000, 200), (1_000_000, 500)])
def test_documents_of_one_number_are_all_read(page_bytes: int, count: int) -> None:
    """In a shard made by `_shrink` several documents have one number: each is given once, however pages fall."""
    documents = some(count)
    cluster = Cluster().of_one(numbered(documents, (at // 5 for at in range(count))))
    with reading(cluster, page_bytes=page_bytes) as (reader, _):
        assert ids(read(reader, reader.plan(ALL, slice_documents=30).slices)) == all_ids(documents)
        for slice in reader.plan(ALL, slice_documents=1000).slices:
            batches = list(reader.read(slice, None, ALL))
            assert all(isinstance(batch.position, int) for batch in batches)
            for at, batch in [*enumerate(batches)][:: stride()]:
                rest = ids(list(reader.read(slice, batch.position, ALL)))
                assert rest == ids(batches[at + 1 :])


def test_a_large_group_of_one_number_is_read_document_by_document() -> None:
    """Documents of one number that are too large together are distinguished by their ids."""
    documents = some(4, logs=["x" * 5_000])
    with reading(Cluster().of_one(numbered(documents, iter([7] * 4))), page_bytes=1_000) as (reader, _):
        assert ids(read(reader, reader.plan(ALL, slice_documents=100).slices)) == all_ids(documents)


@examples(30)
@given(
    numbers=st.lists(st.integers(0, 60), min_size=1, max_size=120),
    page_bytes=st.sampled_from([600, 5_000, 1_000_000]),
    cap=st.sampled_from([None, 1, 7, 100]),
)
def test_any_numbers_are_read_through_any_cap(numbers: list[int], page_bytes: int, cap: int | None) -> None:
    """Gaps and ties in any mixture, behind a gateway that gives no more than some documents at once."""
    documents = some(len(numbers))
    cluster = Cluster().of_one(numbered(documents, iter(numbers)))
    cluster.alter = capped(cap)
    with reading(cluster, page_bytes=page_bytes) as (reader, _):
        slices = reader.plan(ALL, slice_documents=25).slices
        if cap is None or cap > max(numbers.count(number) for number in numbers):
            assert ids(read(reader, slices)) == all_ids(documents)
        else:
            try:
                found = ids(read(reader, slices))
            except Unavailable:
                return
            assert found == all_ids(documents)


def capped(cap: int | None) -> Alter:
    def alter(request: Request, right: Any) -> Any:
        if cap is not None and request.path.endswith("/_search"):
            right["hits"]["hits"] = right["hits"]["hits"][:cap]

    return alter


def test_a_gateway_that_caps_pages_is_lived_with() -> None:
    """Where no page has more than 100 documents, that many are requested, and all are read."""
    documents = some(900)
    cluster = Cluster().of_one(numbered(documents))
    cluster.alter = capped(100)
    with reading(cluster, page_bytes=1_000_000) as (reader, served):
        assert ids(read(reader, reader.plan(ALL, slice_documents=2_000).slices)) == all_ids(documents)
        assert len([path for path in served.paths if path.endswith("/_search")]) < 20


# -- pages that aren't what was requested -----------------------------------------------------------------------------


def _short(hits: list[Any]) -> list[Any]:
    return hits[:-3]


def _later(hits: list[Any]) -> list[Any]:
    return [{**hit, "_seq_no": hit["_seq_no"] + 1_000} for hit in hits]


FAULTS: dict[str, Callable[[list[Any]], list[Any]]] = {
    "short": _short,
    "empty": lambda _: [],
    "first-missing": lambda hits: hits[1:],
    "doubled": lambda hits: [*hits[:-1], *hits[:1]],
    "of-other-numbers": _later,
    "of-another-index": lambda hits: [{**hit, "_index": "openwhisk-other"} for hit in hits],
}


@pytest.mark.parametrize("way", ["plan", "plan_verification"])
@pytest.mark.parametrize("always", [False, True], ids=["once", "always"])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("total_is_altered", [False, True], ids=["total-right", "total-altered"])
def test_an_altered_page_loses_nothing(fault: str, always: bool, way: str, total_is_altered: bool) -> None:
    """Documents missing, duplicated or foreign in a page: all are read in the end, or it is reported; never fewer."""
    documents = some(300)
    cluster = Cluster().of_one(numbered(documents))
    altered = 0

    def alter(request: Request, right: Any) -> Any:
        nonlocal altered
        if "/_search" in request.path and right.get("hits", {}).get("hits") and (always or not altered):
            altered += 1
            right["hits"]["hits"] = FAULTS[fault](right["hits"]["hits"])
            if total_is_altered:
                right["hits"]["total"]["value"] = len(right["hits"]["hits"])

    with reading(cluster) as (reader, _):
        slices = getattr(reader, way)(ALL, slice_documents=120).slices
        cluster.alter = alter
        try:
            found = [ids(read_patiently(reader, slice)) for slice in slices]
        except Unavailable as error:
            assert always
            assert "is there a proxy or cache in between" in str(error)
        else:
            assert sorted(id for each in found for id in each) == all_ids(documents)
        assert altered


def read_patiently(reader: ElasticsearchReader, slice: Slice) -> list[Batch]:
    """As the engines do: from the last position, or from the beginning where a slice is read in one go."""
    batches: list[Batch] = []
    for left in reversed(range(3)):
        try:
            batches.extend(reader.read(slice, batches[-1].position if batches else None, ALL))
            return batches
        except Unavailable:
            if not left:
                raise
            batches = [] if slice.whole else batches
    raise AssertionError


def test_order_is_checked_where_it_was_asked_for() -> None:
    """A page by number whose documents are in another order isn't believed."""
    cluster = Cluster().of_one(numbered(some(100), range(0, 1_000, 10)))

    def alter(request: Request, right: Any) -> Any:
        if request.path.endswith("/_search") and "_seq_no" in request.json["sort"][0]:
            right["hits"]["hits"].reverse()

    cluster.alter = alter
    with reading(cluster, page_bytes=4_000) as (reader, _), pytest.raises(Unavailable, match="out of order"):
        read(reader, reader.plan(ALL, slice_documents=1_000).slices)


def test_an_answer_to_another_request_is_not_believed() -> None:
    """What carries another request's id, or none where the server gives one, is a cache's."""
    cluster = Cluster().of_one(numbered(some(30)))
    kept = b""

    def replay(request: Request, right: Any) -> Any:
        nonlocal kept
        if not request.path.endswith("/_search"):
            return None
        kept = kept or answer(right, 200, **{"X-Opaque-Id": request.headers["x-opaque-id"]})
        return kept

    def strip(request: Request, right: Any) -> Any:
        return answer(right)

    with reading(cluster) as (reader, _):
        (slice,) = reader.plan(ALL, slice_documents=100).slices
        cluster.alter = replay
        assert len(ids(list(reader.read(slice, None, ALL)))) == 30
        with pytest.raises(Unavailable, match="belongs to another request"):
            list(reader.read(slice, None, ALL))
        cluster.alter = strip
        with pytest.raises(Unavailable, match="belongs to no request of ours"):
            list(reader.read(slice, None, ALL))


def test_a_proxy_that_strips_the_ids_of_requests_is_lived_with() -> None:
    """Where no answer ever named its request, none is expected to."""
    cluster = Cluster().of_one(numbered(some(30)))
    cluster.echoes = False
    with reading(cluster) as (reader, served):
        assert len(ids(read(reader, reader.plan(ALL, slice_documents=100).slices))) == 30
    sent = [request.headers["x-opaque-id"] for request in served.requests]
    assert len(set(sent)) == len(sent)


def test_a_host_whose_proxy_strips_the_ids_of_requests_is_lived_with() -> None:
    """That another host of the store names them says nothing of this one."""
    cluster = Cluster().of_one(numbered(some(30)))
    silent = Cluster(guest=cluster.indices["openwhisk-guest"])
    silent.echoes = False
    with serve(cluster.script) as one, serve(silent.script) as other:
        hosts = (("127.0.0.1", one.port), ("127.0.0.1", other.port))
        location = Location(kind="elasticsearch", hosts=hosts, index_pattern="openwhisk-%s")
        with closing(elasticsearch.open_reader(Store(location=location), page_bytes=4_000)) as reader:
            assert len(ids(read(reader, reader.plan(ALL, slice_documents=10).slices))) == 30
        assert one.requests
        assert other.requests


def test_copies_of_a_shard_that_show_different_moments_are_refreshed() -> None:
    """A replica that isn't refreshed still counts what was deleted; it isn't a document that a page leaves out."""
    cluster = Cluster().of_one(numbered(some(30)))
    stale = False

    def alter(request: Request, right: Any) -> Any:
        nonlocal stale
        if request.path.endswith("/_refresh"):
            stale = False
        if stale and request.path.endswith("/_count") and "preference" in request.query:
            return {**right, "count": right["count"] + 1}
        return None

    cluster.alter = alter
    with reading(cluster) as (reader, _):
        for plan in (reader.plan, reader.plan_verification):
            slices = plan(ALL, slice_documents=100).slices
            stale = True
            assert len(ids(read(reader, slices))) == 30


def test_a_count_of_another_shard_or_of_none_is_not_believed() -> None:
    """A count is compared with a page only if the one shard gave it."""
    for shards in ({"total": 0, "successful": 0, "failed": 0}, {"total": 1, "successful": 0, "failed": 1}):
        cluster = Cluster().of_one(numbered(some(30)))
        cluster.alter = _counting({"count": 0, "_shards": shards})
        with reading(cluster) as (reader, _), pytest.raises(Unavailable):
            read(reader, reader.plan(ALL, slice_documents=100).slices)


def _counting(given: Any) -> Alter:
    return lambda request, _: given if "preference" in request.query and request.path.endswith("_count") else None


# -- the other way ----------------------------------------------------------------------------------------------------


def test_verification_reads_by_scroll() -> None:
    """A verification's slices are read in one go, by a scroll that is ended; copies' aren't."""
    documents = some(300)
    with reading(Cluster().of_one(numbered(documents)), page_bytes=30_000) as (reader, served):
        plan = reader.plan_verification(ALL, slice_documents=1_000)
        assert [slice.whole for slice in plan.slices] == [True]
        assert ids(read(reader, plan.slices)) == all_ids(documents)
        scrolls = [request.method for request in served.requests if request.path == "/_search/scroll"]
        assert scrolls[-1] == "DELETE"
        assert "POST" in scrolls
        assert "/_search" not in "".join(served.paths[-1:])


def test_a_scroll_that_breaks_off_is_read_by_windows() -> None:
    """A page of a scroll that is too large, or cut, can't be requested again: another look reads windows."""
    documents = [*some(150), *some(50, 150, logs=["x" * 20_000])]
    with reading(Cluster().of_one(numbered(documents)), page_bytes=20_000) as (reader, _):
        (slice,) = reader.plan_verification(ALL, slice_documents=1_000).slices
        with pytest.raises(Unavailable, match="can't be read to its end"):
            list(reader.read(slice, None, ALL))
        assert ids(list(reader.read(slice, None, ALL))) == all_ids(documents)


def test_a_scroll_of_an_index_that_gives_few_documents_at_once() -> None:
    """`index.max_result_window` bounds the pages of a scroll, with words of its own; the second look asks for less."""
    cluster = Cluster().of_one(numbered(some(120)))
    reason = "Batch size is too large, size must be less than or equal to: [50] but was [100]. Scroll batch sizes cost"

    def alter(request: Request, _: Any) -> Any:
        if "scroll" in request.query and request.json["size"] > 50:
            error = {"type": "illegal_argument_exception", "reason": reason}
            return answer({"error": {**error, "root_cause": [error]}, "status": 400}, 400)
        return None

    cluster.alter = alter
    with reading(cluster) as (reader, _):
        (slice,) = reader.plan_verification(ALL, slice_documents=1_000).slices
        with pytest.raises(Unavailable, match="Batch size"):
            list(reader.read(slice, None, ALL))
        assert len(ids(list(reader.read(slice, None, ALL)))) == 120


# -- where a shard stands ---------------------------------------------------------------------------------------------


def test_a_checkpoint_that_is_too_low_is_asked_for_again() -> None:
    """Documents above the checkpoint are either below the next one that is reported, or the plan is refused."""
    documents = some(50)
    cluster = Cluster().of_one(numbered(documents))
    shard = cluster.indices["openwhisk-guest"].shards[0]
    shard.checkpoint, shard.highest = 9, 49
    asked = 0

    def recover(request: Request, _: Any) -> Any:
        nonlocal asked
        asked += request.path.endswith("/_msearch")
        shard.checkpoint = None if asked else 9

    with reading(cluster) as (reader, _):
        with pytest.raises(Unavailable, match=r"complete up to number 9, and gives documents up to 49"):
            reader.plan(ALL, slice_documents=100)
        cluster.alter = recover
        assert ids(read(reader, reader.plan(ALL, slice_documents=100).slices)) == all_ids(documents)


def test_a_checkpoint_that_lags_behind_writers_is_no_fault() -> None:
    """On an index in use there is always more above the checkpoint; it only has to pass what was seen first."""
    cluster = Cluster().of_one(numbered(some(20)))
    shard = cluster.indices["openwhisk-guest"].shards[0]
    shard.checkpoint = 10

    def grow(request: Request, _: Any) -> Any:
        if request.path.endswith("_stats/docs"):
            first = len(shard.documents)
            shard.documents += numbered(some(5, first), range(first, first + 5))
            shard.checkpoint = (shard.checkpoint or 0) + 5

    cluster.alter = grow
    with reading(cluster) as (reader, _):
        plan = RetryingReader(reader, PATIENT).plan(ALL, slice_documents=100)
    assert plan.slices[0].spec["last"] >= 19


def test_a_closed_index_is_reported_beside_one_that_is_written_to() -> None:
    """A second look at where the shards of open indices stand doesn't let a closed one be forgotten."""
    cluster = Cluster(
        guest=Index([Shard(numbered(some(20)), checkpoint=10)]),
        shut=Index([Shard()], uuid="u2"),
    )
    shard = cluster.indices["openwhisk-guest"].shards[0]

    def alter(request: Request, right: Any) -> Any:
        if request.path.endswith("/_msearch"):
            shard.checkpoint = None
        if request.path == "/openwhisk-shut/_count":
            error = {"type": "index_closed_exception", "reason": "closed"}
            echo = {"X-Opaque-Id": request.headers["x-opaque-id"]}
            return answer({"error": error, "status": 400}, 400, **echo)
        if request.path.endswith("/_stats/docs"):
            right["indices"].pop("openwhisk-shut", None)
            return right
        return None

    cluster.alter = alter
    with reading(cluster) as (reader, _):
        plan = reader.plan(ALL, slice_documents=100)
        assert plan.incomplete
        assert "index openwhisk-shut is closed" in "; ".join(plan.warnings)
        assert len(ids(read(reader, plan.slices))) == 20


@pytest.mark.parametrize(("checkpoint", "highest"), [(-2, 9), (9, 4)], ids=["unknown", "above-the-highest"])
def test_a_shard_that_does_not_know_where_it_stands(checkpoint: int, highest: int) -> None:
    """A checkpoint of -2, or above the highest number, says nothing; it is no end."""
    cluster = Cluster(guest=Index([Shard(numbered(some(10)), checkpoint=checkpoint, highest=highest)]))
    with reading(cluster) as (reader, _), pytest.raises(Unavailable, match="has no settled checkpoint yet"):
        reader.plan(ALL, slice_documents=100)


def test_documents_without_numbers_are_told() -> None:
    """What Elasticsearch 5 stored has no number and can't be read: the plan says so, and is incomplete."""
    old: list[tuple[int | None, Document]] = [(None, document) for document in some(3, 100)]
    cluster = Cluster(guest=Index([Shard([*old, *numbered(some(5))])]), fine=Index([Shard(numbered(some(2, 50)))]))
    with reading(cluster) as (reader, _):
        plan = reader.plan(ALL, slice_documents=100)
        assert plan.incomplete
        (told,) = plan.warnings
        assert "openwhisk-guest has 3 documents" in told
        assert len(ids(read(reader, plan.slices))) == 7


def test_census_counts_what_the_snapshot_speaks_of() -> None:
    """What the shards count up to the snapshot; nothing of an index that was recreated."""
    cluster = Cluster(
        a=Index([Shard(numbered(some(5))), Shard(numbered(some(4, 10)))]), b=Index([Shard(numbered(some(7, 20)))])
    )
    with reading(cluster) as (reader, _):
        plan = reader.plan(ALL, slice_documents=100)
        for index in cluster.indices.values():
            index.shards[0].documents.append((50, some(1, 90)[0]))
        assert reader.census(ALL, plan.snapshot) == 16
        a, b = some(2, 11)
        assert reader.census(Selection(since_ms=a.start_ms, until_ms=b.start_ms + 1), plan.snapshot) == 2
        cluster.indices["openwhisk-b"].uuid = "u2"
        assert reader.census(ALL, plan.snapshot) == 9
        del cluster.indices["openwhisk-b"]
        assert reader.census(ALL, plan.snapshot) == 9


# -- names ------------------------------------------------------------------------------------------------------------


def test_what_stands_behind_a_name_is_read() -> None:
    """A namespace whose name is an alias is read from the indices behind it, requested by name or by glob, once."""
    cluster = Cluster(other=Index([Shard(numbered(some(3, 50, namespace="other")))]))
    for version in (1, 2):
        shard = Shard(numbered(some(5, 10 * version)))
        cluster.indices[f"archive-{version}"] = Index([shard], uuid=f"v{version}", aliases={"openwhisk-guest": {}})
    with reading(cluster) as (reader, _):
        for namespaces in (("guest",), ("gues?",)):
            selection = Selection(namespaces=namespaces)
            plan = reader.plan(selection, slice_documents=100)
            assert not plan.warnings
            assert len(ids(read(reader, plan.slices, selection))) == 10
            assert len(plan.slices) == 2


def test_an_alias_with_a_filter_is_reported() -> None:
    """An alias that shows a part of an index: the index is looked at for what is selected, and that is reported."""
    cluster = Cluster()
    cluster.indices["all"] = Index([Shard(numbered(some(5)))], aliases={"openwhisk-guest": {"filter": {"term": {}}}})
    with reading(cluster) as (reader, _):
        plan = reader.plan(Selection(namespaces=("guest",)), slice_documents=100)
    assert plan.warnings == (
        "alias openwhisk-guest shows only a part of index all; the whole index is searched for the selection",
    )
    assert not plan.incomplete


def test_indices_of_a_data_stream_are_read_and_those_of_the_system_are_not() -> None:
    """A wildcard gives the indices behind a data stream, whose names begin with a dot, and nothing of the system's."""
    cluster = Cluster()
    shard = Shard(numbered(some(5)))
    for name in (".ds-guest-2026.11.25-000001", ".kibana_1", ".ds-.logs-2026.11.25-000001", "plain"):
        cluster.indices[name] = Index([shard], uuid=name)
    with reading(cluster, pattern="%s") as (reader, _):
        cluster.alter = lambda request, _: (
            {name: {"settings": {"index": {"uuid": name, "number_of_shards": "1"}}} for name in cluster.indices}
            if request.path.endswith("_settings")
            else None
        )
        plan = reader.plan(ALL, slice_documents=100)
    assert {slice.spec["index"] for slice in plan.slices} == {".ds-guest-2026.11.25-000001", "plain"}


def test_a_404_of_a_proxy_is_not_an_absence() -> None:
    """What isn't the server's own word that an index isn't there says nothing of it."""
    cluster = Cluster().of_one(numbered(some(5)))
    cluster.echoes = False
    with reading(cluster) as (reader, _):
        (slice,) = reader.plan(ALL, slice_documents=100).slices
        cluster.alter = lambda request, _: (
            answer(b"<html>no such page</html>", 404) if "_settings" in request.path else None
        )
        with pytest.raises(Unavailable, match="404 <html>"):
            reader.plan(Selection(namespaces=("guest",)), slice_documents=100)
        cluster.alter = lambda request, _: {"status": 404} if request.path.endswith("_search") else None
        with pytest.raises(Unavailable, match="404 for index openwhisk-guest, which exists"):
            list(reader.read(slice, None, ALL))


def test_an_index_recreated_is_noticed() -> None:
    """Created again or restored between plan and reading, or while it is read: the slice doesn't end well."""
    changes: list[dict[str, Any]] = [{"uuid": "u2"}, {}]
    for change in changes:
        cluster = Cluster().of_one(numbered(some(5)))
        with reading(cluster) as (reader, _):
            (slice,) = reader.plan(ALL, slice_documents=100).slices
            index = Index([Shard(numbered(some(5)), history="h2")], **change)
            cluster.indices["openwhisk-guest"] = index
            with pytest.raises(NotFound, match="recreated, or restored"):
                list(reader.read(slice, None, ALL))


@pytest.mark.parametrize(
    "mapping",
    [
        {"_source": {"includes": ["activationId", "name"]}},
        {"_source": {"excludes": ["logs"]}},
        {"_doc": {"_source": {"excludes": ["logs"]}}},
        {"_source": {"mode": "synthetic"}},
    ],
    ids=["includes", "excludes", "typed", "synthetic"],
)
def test_an_index_that_keeps_a_part_of_documents_is_reported(mapping: dict[str, Any]) -> None:
    """Where the mapping says that `_source` isn't what was sent, the plan says so, and is incomplete."""
    cluster = Cluster(guest=Index([Shard(numbered(some(5)))], mapping=mapping))
    with reading(cluster) as (reader, _):
        plan = reader.plan(ALL, slice_documents=100)
    assert plan.incomplete
    assert "openwhisk-guest doesn't keep whole documents" in plan.warnings[0]


# -- by id ------------------------------------------------------------------------------------------------------------


def test_requests_with_ids_are_split_where_they_are_too_large() -> None:
    """A proxy that takes 2 kB: searches for ids and `_mget` ask for fewer."""
    documents = some(120)
    cluster = Cluster().of_one(numbered(documents))
    cluster.alter = lambda request, _: answer(b"<html>too large</html>", 413) if len(request.body) > 2_000 else None
    with reading(cluster) as (reader, _):
        assert ids(list(reader.fetch([document.id for document in documents], None, ALL))) == all_ids(documents)


def test_a_document_is_not_gone_by_one_answer() -> None:
    """What a search has just found and `_mget` denies is requested once more; nothing is asked by a path."""
    documents = some(3)
    cluster = Cluster().of_one(numbered(documents))
    denied = False

    def deny(request: Request, right: Any) -> Any:
        nonlocal denied
        if request.path == "/_mget" and not denied:
            denied = True
            return {"docs": [{**each, "found": False} for each in right["docs"]]}
        return None

    cluster.alter = deny
    with reading(cluster) as (reader, served):
        assert ids(list(reader.fetch([document.id for document in documents], None, ALL))) == all_ids(documents)
        assert denied
        assert not [path for path in served.paths if "guest/" in path and documents[0].id in path]


@pytest.mark.parametrize(
    "fault",
    [
        lambda docs: docs[:-1],
        lambda docs: docs[::-1],
        lambda docs: [{**docs[0], "_id": "guest/other"}, *docs[1:]],
        lambda docs: [{**docs[0], "_index": "other"}, *docs[1:]],
    ],
    ids=["short", "reordered", "another-id", "another-index"],
)
def test_documents_by_id_are_those_that_were_asked_for(fault: Callable[[list[Any]], list[Any]]) -> None:
    """An `_mget` whose documents aren't the ones requested, in their order, is no answer."""
    documents = some(3)
    cluster = Cluster().of_one(numbered(documents))
    cluster.alter = lambda request, right: {"docs": fault(right["docs"])} if request.path == "/_mget" else None
    with reading(cluster) as (reader, _), pytest.raises(Unavailable, match="not the 3 documents asked for"):
        list(reader.fetch([document.id for document in documents], None, ALL))


@pytest.mark.parametrize(
    "part",
    [
        {"_shards": {"total": 5, "successful": 4, "failed": 1}},
        {"_shards": {"total": 5, "successful": 4, "failed": 0}},
        {"timed_out": True},
    ],
    ids=["failed", "missing", "timed-out"],
)
def test_an_answer_without_some_shards_is_none(part: dict[str, Any]) -> None:
    """A search for ids, and every other answer that shards give, counts only if all gave theirs."""
    cluster = Cluster().of_one(numbered(some(3)))
    with reading(cluster) as (reader, _):
        cluster.alter = lambda request, right: {**right, **part} if request.path.endswith("_search") else None
        with pytest.raises(Incomplete):
            list(reader.fetch([some(1)[0].id], None, ALL))
        cluster.alter = lambda request, right: {**right, **part} if request.path.endswith("_count") else None
        with pytest.raises(Incomplete):
            reader.count(ALL)


# -- time and size ----------------------------------------------------------------------------------------------------


class _Trickle(io.RawIOBase):
    """A connection on which a byte comes every two seconds."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def readinto(self, buffer: Any) -> int:
        self.now_s += 2
        buffer[0] = 32
        return 1

    def clock(self) -> float:
        return self.now_s


def test_an_answer_that_trickles_in_ends() -> None:
    """A byte every two seconds passes every timeout of a connection; the time for so few bytes is used up."""
    trickle = _Trickle()
    arrival = Arrival(trickle, trickle.clock)
    with pytest.raises(TimeoutError, match="bytes of the answer arrived in"):
        while True:
            arrival.readinto(bytearray(1))
    assert trickle.now_s < 70


def test_a_link_that_cuts_large_answers_gets_smaller_ones() -> None:
    """Where every answer beyond 30 kB is cut, pages become so small that they get through."""
    documents = some(1_000)
    cluster = Cluster().of_one(numbered(documents))

    def cut(request: Request, right: Any) -> Any:
        echo = {"X-Opaque-Id": request.headers["x-opaque-id"]}
        whole = answer(right, 200, **echo)
        return Cut(whole[:30_000]) if len(whole) > 30_000 else None

    cluster.alter = cut
    with reading(cluster, page_bytes=4_000_000) as (reader, _):
        patient = RetryingReader(reader, PATIENT)
        assert ids(read(patient, patient.plan(ALL, slice_documents=2_000).slices)) == all_ids(documents)
        assert reader._page_size.documents < 100


def test_pages_grow_again_after_many_whole_ones() -> None:
    """A link that is mended, or was cut at random, gets large pages again; each vain try makes the next come later."""
    size = PageSize(aim_bytes=1_000_000, first=1_000)
    size.lower(10)
    pages = 0
    while size.documents < 1_000:
        pages += 1
        size.saw(size.documents, size.documents * 1_000)
    assert 50 < pages < 10_000
    size.lower(10)
    size.saw(10, 10_000)
    assert size.documents == 10
