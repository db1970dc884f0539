"""What is read from CouchDB is proven: no answer that leaves something out ends a range or a feed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import msgspec
import pytest

from migrator.activations.selection import Selection
from migrator.adapters import couchdb
from migrator.adapters.base import Batch, Plan
from migrator.adapters.couchdb.reader import CouchDBReader
from migrator.adapters.shared.patience import Policy
from migrator.adapters.wrappers.retrying import RetryingReader
from migrator.errors import Unavailable
from migrator.settings.stores import Location, Store
from migrator.testing.documents import activation
from tests.support.scripted import Request, serve
from tests.support.scripted_couchdb import Fault, ScriptedCouchDB

ALL = Selection()
ONE = Selection(namespaces=("guest",))
BODIES = {document.id: document.body for document in (activation(number) for number in range(400))}
IDS = sorted(BODIES)


@contextmanager
def reading(server: ScriptedCouchDB, *, page_bytes: int = 60_000) -> Iterator[CouchDBReader]:
    with serve(server) as served:
        location = Location(kind="couchdb", hosts=(("127.0.0.1", served.port),), database="acts")
        reader = couchdb.open_reader(Store(location=location), page_bytes=page_bytes)
        try:
            yield reader
        finally:
            reader.close()


def patient(reader: CouchDBReader, *, patience_s: float = 30) -> RetryingReader:
    """As a run uses it, with a clock by tries."""
    ticks = iter(range(100))
    return RetryingReader(
        reader,
        Policy(patience_s=patience_s, sleep=lambda _: None, clock=lambda: float(next(ticks)), tell=lambda _: None),
    )


def read(reader: RetryingReader, plan: Plan, selection: Selection = ALL) -> list[Batch]:
    return [batch for slice in plan.slices for batch in reader.read(slice, None, selection)]


def ids_of(batches: list[Batch]) -> set[str]:
    return {document.id for batch in batches for document in batch.documents}


def all_ids(batches: list[Batch]) -> list[str]:
    """One for each time that a document was given."""
    return sorted(document.id for batch in batches for document in batch.documents)


def is_page(request: Request) -> bool:
    return "include_docs" in request.query or b"include_docs" in request.body


def rows_of(body: dict[str, Any]) -> list[Any]:
    rows: list[Any] = body["rows"] if "rows" in body else body["results"]
    return rows


def with_rows(body: dict[str, Any], rows: list[Any]) -> dict[str, Any]:
    return {**body, ("rows" if "rows" in body else "results"): rows}


def cut(body: dict[str, Any]) -> dict[str, Any]:
    return with_rows(body, rows_of(body)[: len(rows_of(body)) // 2])


def emptied(body: dict[str, Any]) -> dict[str, Any]:
    return with_rows(body, [])


def without_one(body: dict[str, Any]) -> dict[str, Any]:
    rows = rows_of(body)
    return with_rows(body, rows[:1] + rows[2:])


def without_last(body: dict[str, Any]) -> dict[str, Any]:
    return with_rows(body, rows_of(body)[:-1])


def reordered(body: dict[str, Any]) -> dict[str, Any]:
    return with_rows(body, rows_of(body)[::-1])


def doubled(body: dict[str, Any]) -> dict[str, Any]:
    rows = rows_of(body)
    return with_rows(body, rows[:1] + rows[:-1])


ALTERATIONS = pytest.mark.parametrize(
    "alter", [cut, emptied, without_one, without_last, reordered, doubled], ids=lambda alter: alter.__name__
)
WAYS = pytest.mark.parametrize("way", ["ids", "ids downwards", "changes"])
Alter = Callable[[dict[str, Any]], dict[str, Any]]


def once(operation: str, alter: Alter, *, at: int) -> Fault:
    """Alter one answer of an operation that has more than one row, the `at`-th."""
    seen = 0

    def fault(asked: str, _: Request, body: dict[str, Any]) -> dict[str, Any] | None:
        nonlocal seen
        if asked != operation or len(rows_of(body)) < 3:
            return None
        seen += 1
        return alter(body) if seen == at else None

    return fault


def always(operation: str, alter: Alter) -> Fault:
    return lambda asked, _, body: alter(body) if asked == operation and rows_of(body) else None


def plan_of(reader: CouchDBReader, way: str) -> tuple[Plan, Selection]:
    if way == "ids":
        return reader.plan(ALL, slice_documents=100), ALL
    if way == "changes":
        return reader.catch_up(0, ALL, slice_documents=100), ALL
    return reader.plan_verification(ONE, slice_documents=100), ONE


def withhold_ranks(fault: Fault) -> Fault:
    """The same from a server that knows no ranks and counts nothing as pending."""

    def plain(asked: str, request: Request, body: dict[str, Any]) -> dict[str, Any] | bytes | None:
        altered = fault(asked, request, body)
        if asked != "_all_docs" or isinstance(altered, bytes):
            return altered
        return {**(altered or body), "offset": 0}

    return plain


@ALTERATIONS
@WAYS
@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize("ranked", [True, False], ids=["ranks", "no ranks"])
def test_answer_altered_once_costs_no_document(alter: Alter, way: str, at: int, ranked: bool) -> None:
    """Whichever page is cut, emptied, reordered or duplicated, every document is given in the end, and once."""
    server = ScriptedCouchDB(BODIES)
    fault = once("_changes" if way == "changes" else "_all_docs", alter, at=at)
    with reading(server) as reader:
        server.fault = None if ranked else withhold_ranks(lambda *_: None)
        plan, selection = plan_of(reader, way)
        server.fault = fault if ranked else withhold_ranks(fault)
        assert all_ids(read(patient(reader), plan, selection)) == IDS


@ALTERATIONS
@WAYS
@pytest.mark.parametrize("ranked", [True, False], ids=["ranks", "no ranks"])
def test_answers_that_are_always_altered_end_as_unavailable(alter: Alter, way: str, ranked: bool) -> None:
    """Or everything is given all the same; a part is never given as the whole, and no reading goes on for ever."""
    server = ScriptedCouchDB(BODIES)
    fault = always("_changes" if way == "changes" else "_all_docs", alter)
    with reading(server) as reader:
        server.fault = None if ranked else withhold_ranks(lambda *_: None)
        plan, selection = plan_of(reader, way)
        server.fault = fault if ranked else withhold_ranks(fault)
        given: set[str] = set()
        try:
            for slice in plan.slices:
                for batch in patient(reader).read(slice, None, selection):
                    given |= ids_of([batch])
        except Unavailable:
            return
        assert given == BODIES.keys()


def with_news(fault: Fault | None = None) -> tuple[ScriptedCouchDB, Callable[[CouchDBReader], Plan]]:
    """A server that counts nothing; and what changed in it since a snapshot: three fifths of its documents are new."""
    server = ScriptedCouchDB({id: BODIES[id] for id in IDS[:160]}, counts=False)

    def plan(reader: CouchDBReader) -> Plan:
        snapshot = reader.plan(ALL, slice_documents=100).snapshot
        server.put({id: BODIES[id] for id in IDS[160:]})
        server.fault = fault
        return reader.catch_up(snapshot, ALL, slice_documents=100)

    return server, plan


@ALTERATIONS
@pytest.mark.parametrize("stops_after", [0, 1, 100], ids=["unbroken", "after one page", "at the end"])
def test_changes_that_a_server_without_counts_leaves_out_whenever_it_is_asked_are_missed(
    alter: Alter, stops_after: int
) -> None:
    """Listing them once more tells nothing then; how many documents there are does, also to who goes on later."""
    server, plan = with_news(always("_changes", alter))
    with reading(server) as reader:
        (slice,) = plan(reader).slices
        given, position = set[str](), None
        try:
            for batch in islice(patient(reader).read(slice, None, ALL), stops_after):
                given, position = given | ids_of([batch]), batch.position
            for batch in patient(reader).read(slice, position, ALL):
                given |= ids_of([batch])
        except Unavailable:
            return
        assert given >= set(IDS[160:])


def test_changes_of_a_server_without_counts_are_whole_whatever_is_changed_and_deleted_beside_them() -> None:
    """What was deleted, before or while it is read, isn't taken for left out, and nothing is read again."""
    server, plan = with_news()
    with reading(server) as reader:
        (slice,) = plan(reader).slices
        server.delete(IDS[0])
        server.delete(IDS[200])
        server.put({IDS[1]: BODIES[IDS[1]]})
        batches = list[Batch]()
        for batch in patient(reader).read(slice, None, ALL):
            if not batches:
                server.delete(IDS[390])
                server.put({IDS[200]: BODIES[IDS[200]]})
            batches.append(batch)
        assert len(batches) > 1
        given = all_ids(batches)
    assert set(given) == {*IDS[160:], IDS[1]} - {IDS[390]}
    assert len(given) == len(set(given))


def test_a_count_that_was_wrong_once_only_costs_a_whole_reading() -> None:
    """A snapshot that a proxy told too few documents of doesn't end each later reading."""
    server, plan = with_news()
    with reading(server) as reader:
        (slice,) = plan(reader).slices
        slice = msgspec.structs.replace(slice, spec={**slice.spec, "documents": 100})
        assert ids_of(read(patient(reader), Plan(slices=(slice,), snapshot=0))) == BODIES.keys()


def test_a_position_of_an_earlier_version_says_nothing_of_what_came_before_it() -> None:
    server, plan = with_news()
    with reading(server) as reader:
        (slice,) = plan(reader).slices
        first = next(patient(reader).read(slice, None, ALL))
        assert isinstance(first.position, dict)
        rest = patient(reader).read(slice, first.position["since"], ALL)
        assert ids_of(list(rest)) == set(IDS[160:]) - ids_of([first])


@WAYS
def test_a_cap_on_limit_means_more_pages(way: str) -> None:
    """A gateway that lets no more than 10 documents through at once hides none."""
    server = ScriptedCouchDB(BODIES)

    def capped(_: str, request: Request, body: dict[str, Any]) -> dict[str, Any] | None:
        rows = rows_of(body)
        if "results" not in body or len(rows) <= 10:
            return with_rows(body, rows[:10])
        return {"results": rows[:10], "last_seq": rows[9]["seq"], "pending": body["pending"] + len(rows) - 10}

    server.fault = capped
    with reading(server) as reader:
        plan, selection = plan_of(reader, way)
        assert ids_of(read(patient(reader), plan, selection)) == BODIES.keys()


def test_changes_whose_last_seq_stands_still_end_as_unavailable() -> None:
    """Documents that come again and again aren't counted for ever."""
    server = ScriptedCouchDB(BODIES)
    with reading(server) as reader:
        plan, _ = plan_of(reader, "changes")
        first = f"0-{'x' * 20}"
        server.fault = lambda asked, request, body: (
            {**body, "last_seq": first} if asked == "_changes" and is_page(request) else None
        )
        with pytest.raises(Unavailable, match="last_seq"):
            read(patient(reader), plan)


def test_changes_that_are_empty_though_some_are_pending_are_no_end() -> None:
    """Asked again, and then it is the server that can't be read."""
    server = ScriptedCouchDB(BODIES)
    with reading(server) as reader:
        plan, _ = plan_of(reader, "changes")
        server.fault = lambda asked, request, body: (
            {"results": [], "last_seq": body["last_seq"], "pending": 126} if is_page(request) else None
        )
        with pytest.raises(Unavailable, match="126 are pending"):
            read(patient(reader), plan)


def test_what_is_deleted_while_it_is_read_is_no_loss() -> None:
    """A range that gives fewer documents than were counted is whole where the feed tells of the deletions."""
    server = ScriptedCouchDB(BODIES)
    with reading(server) as reader:
        plan = reader.plan(ALL, slice_documents=1000)
        given: set[str] = set()
        for slice in plan.slices:
            for number, batch in enumerate(reader.read(slice, None, ALL)):
                given |= ids_of([batch])
                if not number:
                    for id in IDS[-50:]:
                        server.delete(id)
        assert given == {*IDS[:-50]}


@ALTERATIONS
@WAYS
@pytest.mark.parametrize("ranked", [True, False], ids=["ranks", "no ranks"])
def test_a_reading_that_is_resumed_gives_the_rest_once(alter: Alter, way: str, ranked: bool) -> None:
    """What was given before answers began to be altered is behind the position, and nothing else is."""
    server = ScriptedCouchDB(BODIES)
    with reading(server) as reader:
        server.fault = None if ranked else withhold_ranks(lambda *_: None)
        plan, selection = plan_of(reader, way)
        always_altered = always("_changes" if way == "changes" else "_all_docs", alter)
        seen = 0

        def later(asked: str, request: Request, body: dict[str, Any]) -> dict[str, Any] | bytes | None:
            nonlocal seen
            seen += bool(is_page(request))
            return always_altered(asked, request, body) if seen > 1 else None

        given: list[Batch] = []
        left: list[tuple[Any, Any]] = []
        server.fault = later if ranked else withhold_ranks(later)
        for slice in plan.slices:
            position = None
            try:
                for batch in patient(reader, patience_s=3).read(slice, None, selection):
                    given.append(batch)
                    position = json.loads(json.dumps(batch.position))
            except Unavailable:
                left.append((slice, position))
        server.fault = None if ranked else withhold_ranks(lambda *_: None)
        for slice, position in left:
            given += reader.read(slice, position, selection)
        assert all_ids(given) == IDS


def test_a_range_that_is_written_to_is_given_once() -> None:
    """Documents that are stored and deleted all over the database while it is read; those that stay come once."""
    server = ScriptedCouchDB(BODIES)
    new = (activation(number) for number in range(1000, 1400))
    with reading(server, page_bytes=20_000) as reader:
        (slice,) = reader.plan(ALL, slice_documents=1000).slices
        given: list[Batch] = []
        for number, batch in enumerate(reader.read(slice, None, ALL)):
            given.append(batch)
            server.delete(IDS[number * 7])
            server.put({document.id: document.body for document in islice(new, 3)})
    ids = all_ids(given)
    assert len(set(ids)) == len(ids)
    assert {*ids} >= {id for number, id in enumerate(IDS) if number % 7}


@pytest.mark.parametrize("ranked", [True, False], ids=["ranks", "no ranks"])
@pytest.mark.parametrize("way", ["ids", "ids downwards"])
def test_a_small_range_that_is_written_to_all_the_time_is_read(way: str, ranked: bool) -> None:
    """No page of it is ever whole a moment later; smaller ones are, and nothing comes twice."""
    server = ScriptedCouchDB(BODIES)
    new = (activation(number) for number in range(1000, 1_000_000))

    def write(_: str, request: Request, body: dict[str, Any]) -> dict[str, Any] | bytes | None:
        # So many documents of a busy namespace come while a page is on its way.
        server.put({document.id: document.body for document in islice(new, 1 + len(rows_of(body)) // 4)})
        return body if ranked else {**body, "offset": 0}

    with reading(server, page_bytes=4_000_000) as reader:
        plan, selection = plan_of(reader, way)
        slices = tuple(
            msgspec.structs.replace(slice, spec={**slice.spec, "low": "", "high": "~"}) for slice in plan.slices[:1]
        )
        server.fault = write
        ids = all_ids(read(patient(reader), msgspec.structs.replace(plan, slices=slices), selection))
    assert len(set(ids)) == len(ids)
    assert {*ids} >= {*IDS}


def test_a_server_without_ranks_costs_one_more_look_a_page() -> None:
    """And one with ranks one more a slice."""
    costs: list[int] = []
    for ranked in (True, False):
        server, looks, pages = ScriptedCouchDB(BODIES), 0, 0
        with reading(server, page_bytes=20_000) as reader:
            (slice,) = reader.plan(ALL, slice_documents=1000).slices

            def count(_: str, request: Request, body: dict[str, Any], ranked: bool = ranked) -> dict[str, Any] | None:
                nonlocal looks, pages
                pages += is_page(request)
                looks += not is_page(request)
                return None if ranked or "offset" not in body else {**body, "offset": 0}

            server.fault = count
            assert all_ids(list(reader.read(slice, None, ALL))) == IDS
            costs.append(looks)
            assert pages > 3
    assert costs[0] <= 2


def test_a_position_of_an_earlier_version_is_resumed() -> None:
    """It was just an id."""
    with reading(ScriptedCouchDB(BODIES)) as reader:
        (slice,) = reader.plan(ALL, slice_documents=1000).slices
        assert ids_of(list(reader.read(slice, IDS[99], ALL))) == {*IDS[100:]}


def test_census_counts_what_stood_at_the_snapshot() -> None:
    """Neither what was stored since nor what was deleted; None of another database's snapshot."""
    server = ScriptedCouchDB(BODIES)
    with reading(server) as reader:
        snapshot = reader.plan(ALL, slice_documents=1000).snapshot
        assert reader.census(ALL, snapshot) == reader.census(ONE, snapshot) == 400
        server.put({activation(number).id: b"{}" for number in range(500, 530)})
        assert reader.census(ALL, snapshot) == reader.census(ONE, snapshot) == 400
        server.began = "1800000000"
        assert reader.census(ALL, snapshot) is None


def test_census_counts_what_only_the_changes_know() -> None:
    """A document that the tree of the ids has lost, and no count of it misses, is still in that of the changes."""
    server = ScriptedCouchDB(BODIES)
    with reading(server) as reader:
        plan = reader.plan_verification(ALL, slice_documents=100)
        assert reader.census(ALL, plan.snapshot) == len(BODIES)
        del server.documents[IDS[7]]
        assert len(ids_of(read(patient(reader), plan))) == len(BODIES) - 1
        assert reader.census(ALL, plan.snapshot) == len(BODIES)
