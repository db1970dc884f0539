"""What is read from CouchDB is proven: no answer that leaves something out ends a range or a feed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from migrator.adapters import couchdb
from migrator.adapters.base import Batch, Plan
from migrator.adapters.couchdb.reader import CouchDBReader
from migrator.adapters.retrying import Policy, RetryingReader
from migrator.errors import Unavailable
from migrator.locations import Location, Store
from migrator.records import Selection
from tests.documents import activation
from tests.scripted import Request, serve
from tests.scripted_couchdb import Fault, ScriptedCouchDB

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


def patient(reader: CouchDBReader) -> RetryingReader:
    """As a run uses it, with a clock by tries."""
    ticks = iter(range(100))
    return RetryingReader(
        reader, Policy(patience_s=30, sleep=lambda _: None, clock=lambda: float(next(ticks)), told=lambda _: None)
    )


def read(reader: RetryingReader, plan: Plan, selection: Selection = ALL) -> list[Batch]:
    return [batch for slice in plan.slices for batch in reader.read(slice, None, selection)]


def ids_of(batches: list[Batch]) -> set[str]:
    return {document.id for batch in batches for document in batch.documents}


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
    selection = ONE if way == "ids downwards" else ALL
    return reader.plan_verification(selection, slice_documents=100), selection


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
    """Whichever page is cut, emptied, reordered or doubled, every document is given in the end."""
    server = ScriptedCouchDB(BODIES)
    fault = once("_changes" if way == "changes" else "_all_docs", alter, at=at)
    with reading(server) as reader:
        server.fault = None if ranked else withhold_ranks(lambda *_: None)
        plan, selection = plan_of(reader, way)
        server.fault = fault if ranked else withhold_ranks(fault)
        assert ids_of(read(patient(reader), plan, selection)) == BODIES.keys()


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


def test_a_range_that_is_resumed_is_proven_as_a_whole() -> None:
    """What was left out before an interruption is noticed after it, and read again."""
    server = ScriptedCouchDB(BODIES)
    with reading(server) as reader:
        (slice,) = reader.plan(ALL, slice_documents=1000).slices
        server.fault = once("_all_docs", without_one, at=1)
        first = next(iter(reader.read(slice, None, ALL)))
    position = json.loads(json.dumps(first.position))
    with reading(server) as reader:
        assert ids_of(list(reader.read(slice, position, ALL))) == BODIES.keys()


def test_a_position_of_an_earlier_version_is_gone_on_with() -> None:
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
