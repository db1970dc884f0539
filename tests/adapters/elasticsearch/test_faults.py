"""What the adapter makes of answers that no healthy server gives: a scripted server plays them back byte for byte."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import count
from typing import Any

import msgspec
import pytest

from migrator.activations.document import Document, Form
from migrator.activations.selection import Selection
from migrator.adapters import elasticsearch
from migrator.adapters.base import Slice
from migrator.adapters.elasticsearch.bulk import Flow, Item, read_answer
from migrator.adapters.elasticsearch.client import Cause
from migrator.adapters.elasticsearch.destinations import Address
from migrator.adapters.elasticsearch.indices import may_hold
from migrator.adapters.elasticsearch.names import check_pattern, check_writable, name_refusal
from migrator.adapters.elasticsearch.reader import ElasticsearchReader
from migrator.adapters.elasticsearch.writer import ElasticsearchWriter
from migrator.errors import AccessDenied, MigratorError, NotFound, RequestRefused, Unavailable, UsageError
from migrator.settings.stores import Location, Login, LoginKind, Secret, Store
from migrator.testing.documents import activation

ALL = Selection()
ROOT = {"cluster_uuid": "c1", "version": {"number": "7.17.0"}}


def some(count: int, first: int = 0, **changes: Any) -> list[Document]:
    return [activation(first + at, form=Form.ELASTICSEARCH, **changes) for at in range(count)]


def answer(body: Any, status: str = "200 OK", **headers: str) -> bytes:
    """An HTTP answer; `length` as a header lies about the length of the body."""
    data = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
    length = headers.pop("length", str(len(data)))
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {length}", "Content-Type: application/json"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + data


def error(status: int, type: str, reason: str = "a reason", **headers: str) -> bytes:
    return answer({"error": {"type": type, "reason": reason}, "status": status}, f"{status} Some", **headers)


class Script:
    """A server on loopback that gives its answers in order, whatever is asked, and keeps what was asked.

    A connection is closed after an answer that lies about its length.
    """

    def __init__(self) -> None:
        self.answers: list[bytes | Callable[[bytes], bytes]] = []
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            while line := stream.readline().decode():
                headers: dict[str, str] = {}
                while (header := stream.readline().decode().strip()) != "":
                    name, _, value = header.partition(": ")
                    headers[name.lower()] = value
                body = stream.read(int(headers.get("content-length", "0")))
                self.requests.append((line.strip().removesuffix(" HTTP/1.1"), headers, body))
                if not self.answers:
                    return
                given = self.answers.pop(0)
                given = given if isinstance(given, bytes) else given(body)
                connection.sendall(given)
                head, _, rest = given.partition(b"\r\n\r\n")
                if f"Content-Length: {len(rest)}\r\n".encode() not in head + b"\r\n":
                    return

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:  # a test that failed leaves its reader open
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def asked(self, number: int) -> str:
        """Method and path of a request."""
        return self.requests[number][0].partition("?")[0]


@pytest.fixture
def script() -> Iterator[Script]:
    script = Script()
    yield script
    script.close()


def store_of(*ports: int, login: Login | None = None) -> Store:
    hosts = tuple(("127.0.0.1", port) for port in ports)
    location = Location(kind="elasticsearch", hosts=hosts, index_pattern="openwhisk-%s")
    return Store(location=location, login=login or Login())


@pytest.fixture
def reader(script: Script) -> Iterator[ElasticsearchReader]:
    reader = elasticsearch.open_reader(store_of(script.port), page_bytes=100_000)
    yield reader
    reader.close()


@pytest.fixture
def writer(script: Script) -> Iterator[ElasticsearchWriter]:
    script.answers += [answer(ROOT), *THERE]
    writer = elasticsearch.open_writer(store_of(script.port))
    yield writer
    writer.close()


SETTINGS = {"openwhisk-guest": {"settings": {"index": {"uuid": "u1", "number_of_shards": "1"}}}}
LISTED = [answer(SETTINGS), answer({"openwhisk-guest": {"aliases": {}}})]
"""The indices, by their settings and by their aliases."""
THERE = [
    answer({"openwhisk-guest": {"aliases": {}, "settings": {"index": {"uuid": "u1"}}}}),
    answer({"_shards": {"failed": 0}}),
    answer({"count": 0, "_shards": {"failed": 0}}),
]
"""What a writer hears of an ordinary index before the first bulk."""
WINDOW = Slice(
    key="openwhisk-guest[0]",
    spec={"index": "openwhisk-guest", "uuid": "u1", "history": "h1", "shard": 0, "above": -1, "last": 9},
)


def stats(checkpoint: int = 9, uuid: str = "u1", history: str = "h1", shard: str = "0") -> bytes:
    copy = {
        "routing": {"primary": True, "state": "STARTED"},
        "seq_no": {"max_seq_no": checkpoint, "global_checkpoint": checkpoint},
        "commit": {"user_data": {"history_uuid": history}},
    }
    return answer({"indices": {"openwhisk-guest": {"uuid": uuid, "shards": {shard: [copy]}}}})


def page(
    documents: Sequence[Document],
    *,
    numbers: Iterable[int] | None = None,
    timed_out: bool = False,
    total: int = 1,
    successful: int = 1,
    found: int | None = None,
) -> bytes:
    hits = b",".join(
        b'{"_index":"openwhisk-guest","_id":%s,"_seq_no":%d,"_source":%s,"sort":[%d]}'
        % (msgspec.json.encode(document.id), number, document.body, number)
        for number, document in zip(numbers or count(), documents, strict=False)
    )
    head = {"took": 1, "timed_out": timed_out, "_shards": {"total": total, "successful": successful, "failed": 0}}
    found = len(documents) if found is None else found
    return answer(json.dumps(head)[:-1].encode() + b',"hits":{"total":%d,"hits":[' % found + hits + b"]}}")


def counted(documents: int) -> bytes:
    return answer({"count": documents, "_shards": {"total": 1, "successful": 1, "failed": 0}})


NOTHING_ABOVE = answer(
    {"responses": [{"timed_out": False, "_shards": {"total": 1, "successful": 1}, "hits": {"total": 0, "hits": []}}]}
)
SETTLED = [NOTHING_ABOVE, counted(0), answer({}), answer(ROOT), answer({}, "404 Not Found")]
"""What follows a refresh: nothing above the checkpoints or without a number, no mapping that matters, no security."""


def bulk(*items: dict[str, Any]) -> Callable[[bytes], bytes]:
    """An answer that says this of the documents of a bulk, in their order."""

    def of(body: bytes) -> bytes:
        sent = [json.loads(line) for line in body.splitlines()[::2]]
        told = [
            {operation: {"_index": action["_index"], "_id": action["_id"], **item}}
            for action, item in zip(sent, items, strict=False)
            for operation, action in action.items()
        ]
        return answer({"errors": any(item["status"] >= 300 for item in items), "items": told})

    return of


GUEST = {"_index": "openwhisk-guest", "_id": some(1)[0].id}
DONE: dict[str, Any] = {"status": 201}
BUSY: dict[str, Any] = {"status": 429, "error": {"type": "es_rejected_execution_exception", "reason": "queue full"}}


# -- reading --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (page(some(2), timed_out=True), "stopped before it had searched everything"),
        (page(some(2), successful=0), "only 0 of 1 shard answered"),
        (page([], total=0, successful=0), "only 0 of 1 shard answered"),
        (answer(page(some(2)).partition(b"\r\n\r\n")[2][:300], length="4000"), "no answer"),
        (answer(b"<html>sign in</html>"), "can't be read"),
        (answer(b"<html>bad gateway</html>", "502 Bad Gateway"), "502 <html>bad gateway"),
        (error(503, "search_phase_execution_exception", "all shards failed"), "all shards failed"),
        (error(400, "index_closed_exception", "closed"), "_open"),
        (b"", "no answer"),
    ],
    ids=["timed-out", "failed-shard", "no-shard", "cut", "login-page", "proxy", "unavailable", "closed", "hung-up"],
)
def test_a_page_that_is_not_whole_is_no_end(
    script: Script, reader: ElasticsearchReader, given: bytes, told: str
) -> None:
    """Whatever isn't a whole page of the one shard raises `Unavailable`; it is never taken for the end."""
    script.answers += [given] * 12
    with pytest.raises(Unavailable, match=told):
        list(reader.read(WINDOW, None, ALL))


def test_index_that_changed_while_it_was_read_is_reported(script: Script, reader: ElasticsearchReader) -> None:
    """After the last page the identity is looked at: another uuid or history ends the run."""
    for changed in (stats(uuid="u2"), stats(history="h2")):
        script.answers += [page(some(10)), counted(10), changed]
        with pytest.raises(NotFound, match="recreated, or restored"):
            list(reader.read(WINDOW, None, ALL))


def test_checkpoints_are_taken_before_the_refresh(script: Script, reader: ElasticsearchReader) -> None:
    """First the sequence numbers, then the refresh: what came between them belongs to the next round."""
    script.answers += [*LISTED, stats(4), answer({"_shards": {"failed": 0}}), *SETTLED]
    plan = reader.plan(ALL, slice_documents=2)
    assert [script.asked(number).split("/")[-1] for number in range(4)] == ["_settings", "_alias", "docs", "_refresh"]
    assert [(slice.spec["above"], slice.spec["last"]) for slice in plan.slices] == [(-1, 1), (1, 3), (3, 4)]


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ([*LISTED, stats(), answer({"_shards": {"failed": 1}})], "1 shard failed"),
        ([*LISTED, stats(shard="1"), answer({"_shards": {"failed": 0}})], "have no primary that is up"),
        ([*LISTED, answer({}), error(503, "no_shard_available_action_exception")], "have no primary that"),
        ([*LISTED, stats(uuid="u2"), answer({"_shards": {"failed": 0}})], "just recreated"),
    ],
    ids=["refresh-failed", "shard-missing", "all-shards-missing", "another-index"],
)
def test_a_plan_that_would_leave_documents_out_is_refused(
    script: Script, reader: ElasticsearchReader, answers: list[bytes], told: str
) -> None:
    """A shard without a primary, or one that couldn't be refreshed, is waited for, not left out."""
    script.answers += answers
    with pytest.raises(Unavailable, match=told):
        reader.plan(ALL, slice_documents=100)


@pytest.mark.parametrize(
    ("known", "above"),
    [
        (("u1", "h1", 4), 4),
        (("u2", "h1", 4), -1),
        (("u1", "h2", 4), -1),
        (("u1", "h1", 99), -1),
    ],
    ids=["continued", "another-uuid", "another-history", "number-beyond-the-highest"],
)
def test_positions_that_no_longer_hold(
    script: Script, reader: ElasticsearchReader, known: tuple[str, str, int], above: int
) -> None:
    """A catch-up goes on from its number, or reads all again, with a warning, where the number means nothing."""
    uuid, history, checkpoint = known
    script.answers += [*LISTED, stats(9), answer({"_shards": {"failed": 0}}), *SETTLED]
    snapshot = {"indices": {"openwhisk-guest": {"uuid": uuid, "shards": {"0": [history, checkpoint]}}}}
    plan = reader.catch_up(snapshot, ALL, slice_documents=100)
    assert [(slice.spec["above"], slice.spec["last"]) for slice in plan.slices] == [(above, 9)]
    assert bool(plan.warnings) == (above == -1)


def test_a_page_that_grows_too_large_is_asked_for_again(script: Script) -> None:
    """The answer is given up while it arrives and fewer documents are requested, down to one of any size."""
    reader = elasticsearch.open_reader(store_of(script.port), page_bytes=1000)
    small, large = some(2)
    large = msgspec.structs.replace(large, body=some(2, logs=["x" * 10_000])[1].body)
    script.answers += [page([small, large]), page([small], found=2), counted(1)]
    script.answers += [page([large], numbers=[1]), counted(1), stats()]
    window = msgspec.structs.replace(WINDOW, spec={**WINDOW.spec, "last": 1})
    batches = list(reader.read(window, None, ALL))
    reader.close()
    asked = [json.loads(body) for line, _, body in script.requests if "_search" in line]
    assert [each["size"] for each in asked] == [2, 1, 1]
    assert [document.body for batch in batches for document in batch.documents] == [small.body, large.body]


def test_a_page_that_holds_its_whole_window_is_asked_for_in_any_order(
    script: Script, reader: ElasticsearchReader
) -> None:
    """What comes in the order of the disk is complete all the same, since no more was requested than fits."""
    script.answers += [page(some(3), numbers=[2, 0, 1]), counted(3), stats()]
    window = msgspec.structs.replace(WINDOW, spec={**WINDOW.spec, "last": 2})
    batches = list(reader.read(window, None, ALL))
    asked = json.loads(script.requests[0][2])
    assert (asked["size"], asked["sort"]) == (3, [{"_doc": "asc"}])
    assert [batch.position for batch in batches] == [2]
    assert len(batches[0].documents) == 3


def test_a_window_without_gaps_is_read_in_any_order_page_by_page(script: Script) -> None:
    """A full page that ends where its numbers end shows no gap, and the next needn't be sorted either."""
    reader = elasticsearch.open_reader(store_of(script.port), page_bytes=4_000_000)
    for first, last in ((0, 100), (100, 500), (500, 1000)):
        script.answers += [page(some(last - first, first), numbers=range(first, last)), counted(last - first)]
    script.answers.append(stats())
    window = msgspec.structs.replace(WINDOW, spec={**WINDOW.spec, "last": 999})
    assert [batch.position for batch in reader.read(window, None, ALL)] == [99, 499, 999]
    reader.close()
    assert orders(script) == ["_doc"] * 3


def test_a_page_that_may_not_hold_its_window_is_asked_for_by_number(script: Script) -> None:
    """Where numbers have gaps a page spans more of them than it may have documents; only so is its end known."""
    reader = elasticsearch.open_reader(store_of(script.port), page_bytes=4_000_000)
    script.answers += [page(some(20)), counted(20)]
    script.answers += [page(some(400, 20), numbers=range(100, 900, 2), found=440), counted(400)]
    script.answers += [page(some(10, 420), numbers=range(910, 920)), counted(10), stats()]
    window = msgspec.structs.replace(WINDOW, spec={**WINDOW.spec, "last": 999})
    assert [batch.position for batch in reader.read(window, None, ALL)] == [99, 898, 999]
    reader.close()
    assert orders(script) == ["_doc", "_seq_no", "_doc"]


def orders(script: Script) -> list[str]:
    """What the pages were sorted by."""
    searches = [json.loads(body) for line, _, body in script.requests if "/_search" in line]
    return [order for each in searches for (order,) in each["sort"]]


# -- writing --------------------------------------------------------------------------------------------------------


def test_documents_that_a_busy_server_puts_off(script: Script, writer: ElasticsearchWriter) -> None:
    """429 for single items defers them, writes the others and makes the next bulks smaller and fewer."""
    script.answers.append(bulk(DONE, BUSY, DONE))
    outcome = writer.write(some(3), replace=False)
    assert len(outcome.written) == 2
    assert [document.id for document in outcome.deferred] == [some(3)[1].id]
    assert isinstance(outcome.condition, Unavailable)
    assert "queue full" in str(outcome.condition)
    assert writer._flow.bulk_bytes == 2_500_000
    assert writer._flow.bulks == 4
    script.answers.append(bulk(DONE))
    writer.write(outcome.deferred, replace=False)
    assert writer._flow.bulk_bytes == 2_750_000


def test_refused_right_for_an_index_is_the_condition(script: Script, writer: ElasticsearchWriter) -> None:
    """403 for an item rejects nothing, and wins over what would pass by itself."""
    denied = {"status": 403, "error": {"type": "security_exception", "reason": "action is unauthorized"}}
    script.answers.append(bulk(denied, BUSY))
    outcome = writer.write(some(2), replace=False)
    assert not outcome.rejected
    assert len(outcome.deferred) == 2
    assert isinstance(outcome.condition, AccessDenied)
    assert "create_index" in str(outcome.condition)


def test_too_large_bulk_is_split_and_remembered(script: Script, writer: ElasticsearchWriter) -> None:
    """413 halves what is sent until it goes through, and no bulk is as large again."""
    documents = some(8)

    def small_server(body: bytes) -> bytes:
        count = body.count(b"\n") // 2
        return bulk(*[DONE] * count)(body) if count <= 2 else answer(b"", "413 Request Entity Too Large")

    script.answers += [small_server] * 20
    outcome = writer.write(documents, replace=False)
    assert sorted(document.id for document in outcome.written) == sorted(document.id for document in documents)
    sent = len(script.requests)
    writer.write(documents, replace=False)
    assert all(body.count(b"\n") // 2 <= 2 for _, _, body in script.requests[sent:])


def test_a_document_that_is_too_large_alone(script: Script, writer: ElasticsearchWriter) -> None:
    """413 for a single document refuses the request, so that the document can be rejected."""
    script.answers.append(answer(b"", "413 Request Entity Too Large"))
    with pytest.raises(RequestRefused) as refused:
        writer.write(some(1), replace=False)
    assert refused.value.status == 413


@pytest.mark.parametrize(
    ("given", "kind", "told"),
    [
        (bulk(DONE), Unavailable, "is about 1 document, but 2 were sent"),
        (answer({"errors": False, "items": []}), Unavailable, "is about 0 documents"),
        (answer(b'{"errors":false,"items":['), Unavailable, "can't be read"),
        (answer(b'{"errors":false,', length="999"), Unavailable, "no answer"),
        (error(429, "circuit_breaking_exception", "too much"), Unavailable, "too much"),
        (error(403, "cluster_block_exception", "read-only / allow delete"), Unavailable, "free disk space"),
        (error(401, "security_exception", "missing token"), AccessDenied, "check user and password"),
        (error(403, "security_exception", "not allowed"), AccessDenied, "create_index"),
        (error(500, "some_exception"), RequestRefused, "500"),
        (error(404, "index_not_found_exception", "no such path"), NotFound, "no such path"),
    ],
)
def test_a_bulk_that_is_not_accounted_for(
    script: Script,
    writer: ElasticsearchWriter,
    given: bytes | Callable[[bytes], bytes],
    kind: type[MigratorError],
    told: str,
) -> None:
    """An answer that doesn't tell of every document is an exception, of the kind that says what happens next."""
    script.answers.append(given)
    with pytest.raises(kind, match=told) as raised:
        writer.write(some(2), replace=False)
    assert type(raised.value) is kind


def test_the_server_says_when_to_come_again(script: Script, writer: ElasticsearchWriter) -> None:
    """`Retry-After` is handed on."""
    script.answers.append(error(429, "too_many", Retry_After="7"))
    with pytest.raises(Unavailable) as raised:
        writer.write(some(1), replace=False)
    assert raised.value.retry_after_s == 7


def test_document_that_goes_between_two_requests_is_written_later(script: Script, writer: ElasticsearchWriter) -> None:
    """There at the bulk, gone at the look: neither present nor lost."""
    conflict = {"status": 409, "error": {"type": "version_conflict_engine_exception"}}
    script.answers += [bulk(conflict), answer({"docs": [GUEST | {"found": False}]})]
    outcome = writer.write(some(1), replace=False)
    assert len(outcome.deferred) == 1
    assert isinstance(outcome.condition, Unavailable)


def test_answers_are_counted() -> None:
    """However the answer is spelt, an item too few or too many is noticed."""
    sent = [(Address("i"), document) for document in some(2)]
    first, second = ({"_index": "i", "_id": document.id, "status": 201} for _, document in sent)
    items = [{"create": first}, {"create": second}]
    fine = json.dumps({"errors": False, "items": items}, separators=(",", ":")).encode()
    assert read_answer(fine, "create", sent) is None
    spaced = json.dumps({"errors": False, "items": items}).encode()
    assert read_answer(spaced, "create", sent) == [msgspec.convert(each, Item) for each in (first, second)]
    for wrong in (sent[:1], [*sent, sent[0]]):
        with pytest.raises(ValueError, match="is about 2 documents"):
            read_answer(fine, "create", wrong)


@pytest.mark.parametrize(
    ("item", "refuses"),
    [
        (Item(400, Cause("mapper_parsing_exception", "failed to parse field [a]")), True),
        (Item(400, Cause("illegal_argument_exception", "Limit of total fields [1000] has been exceeded")), True),
        (Item(400, Cause("strict_dynamic_mapping_exception")), True),
        (Item(400, Cause("mapper_parsing_exception", "Failed to parse mapping [_doc]: no handler for type")), False),
        (Item(400, Cause("illegal_argument_exception", "pipeline with id [x] does not exist")), False),
        (Item(400, Cause("a_kind_nobody_foresaw", "reason")), False),
        (Item(400), False),
        (Item(503, Cause("mapper_parsing_exception", "failed to parse")), False),
    ],
)
def test_about_the_document_or_about_the_server(item: Item, refuses: bool) -> None:
    """Only a 400 of a kind that speaks of the document rejects it."""
    assert item.refuses_document is refuses


def test_bulks_under_way_together_fall_once() -> None:
    """Two bulks that are pushed back by the same burst halve the size once; a later one halves it again."""
    flow = Flow(bulk_bytes=4_000_000, bulks=8)
    with flow.turn() as first, flow.turn() as second:
        flow.pushed_back(first)
        flow.pushed_back(second)
    assert (flow.bulk_bytes, flow.bulks) == (2_000_000, 4)
    for _ in range(20):
        with flow.turn() as falls:
            flow.pushed_back(falls)
    assert (flow.bulk_bytes, flow.bulks) == (100_000, 1)
    for _ in range(100):
        flow.went_through()
    assert (flow.bulk_bytes, flow.bulks) == (4_000_000, 8)


def test_a_bulk_waits_for_its_turn() -> None:
    """No more bulks are under way at once than are allowed; one that ends lets the next begin."""
    flow = Flow(bulk_bytes=1_000_000, bulks=1)
    began = threading.Event()

    def second() -> None:
        with flow.turn():
            began.set()

    with flow.turn():
        thread = threading.Thread(target=second)
        thread.start()
        assert not began.wait(0.2)
    thread.join()
    assert began.is_set()


# -- connections and logins -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("login", "header"),
    [
        (Login(kind=LoginKind.BASIC, user="me", secret=Secret("pä:ss")), "Basic bWU6cMOkOnNz"),
        (Login(kind=LoginKind.API_KEY, secret=Secret("id:key")), "ApiKey aWQ6a2V5"),
        (Login(kind=LoginKind.API_KEY, secret=Secret("aWQ6a2V5")), "ApiKey aWQ6a2V5"),
        (Login(kind=LoginKind.BEARER, secret=Secret("t0ken")), "Bearer t0ken"),
        (Login(), None),
    ],
    ids=["basic", "key", "key-in-base64", "bearer", "none"],
)
def test_login_goes_with_every_request_and_into_no_message(script: Script, login: Login, header: str | None) -> None:
    """The header is what the server expects; a refusal names the place and never the secret."""
    script.answers.append(error(401, "security_exception", "unable to authenticate"))
    reader = elasticsearch.open_reader(store_of(script.port, login=login))
    with pytest.raises(AccessDenied) as denied:
        reader.describe()
    reader.close()
    assert script.requests[0][1].get("authorization") == header
    assert f"127.0.0.1:{script.port}" in str(denied.value)
    if login.secret:
        assert login.secret.reveal() not in f"{denied.value!r} {denied.value}"


def test_login_that_the_server_does_not_have() -> None:
    """A session is CouchDB's: a configuration error, before anything is asked."""
    with pytest.raises(UsageError, match="session"):
        elasticsearch.open_reader(store_of(1, login=Login(kind=LoginKind.SESSION, user="me")))


def test_the_next_host_is_asked_where_one_is_down(script: Script) -> None:
    """Of several hosts one that answers is enough, whichever is tried first."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        dead: int = taken.getsockname()[1]
    for ports in ((dead, script.port), (script.port, dead)):
        for _ in range(4):
            script.answers += [answer(ROOT), *LISTED]
            reader = elasticsearch.open_reader(store_of(*ports))
            assert reader.describe().version == "7.17.0"
            reader.close()


def test_unreachable_server_is_unavailable() -> None:
    """A port where nobody listens: one line with the place and what to look at."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        dead: int = taken.getsockname()[1]
    reader = elasticsearch.open_reader(store_of(dead))
    with pytest.raises(Unavailable, match=f"127.0.0.1:{dead}.*refused.*is the server up") as raised:
        reader.describe()
    reader.close()
    assert "\n" not in str(raised.value)


# -- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["", "/", "a-%s-%s", "a-%d", "100%"])
def test_patterns_that_name_no_index(pattern: str) -> None:
    """OpenWhisk would fail on such a pattern: said at once."""
    with pytest.raises(UsageError):
        check_pattern(pattern)


@pytest.mark.parametrize("pattern", ["OpenWhisk-%s", "open whisk-%s", "_%s", "a,b", "a*"])
def test_patterns_that_cannot_be_written(pattern: str) -> None:
    """A pattern of which no namespace makes an index is a configuration error, not a million rejections."""
    with pytest.raises(UsageError):
        check_writable(check_pattern(pattern))


def test_pattern_loses_leading_slashes() -> None:
    assert check_writable(check_pattern("//openwhisk-%s")) == "openwhisk-%s"
    assert check_writable("%s") == "%s"


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("openwhisk-alice@example.com_dev", True),
        ("openwhisk-a&b", True),
        ("openwhisk-a..b", True),
        ("openwhisk-dot.", True),
        ("openwhisk-ä", True),
        ("a" * 255, True),
        ("a" * 256, False),
        ("ä" * 128, False),
        ("..", False),
        ("-a", False),
        ("my space", False),
        ("Upper", False),
        ("a#b", False),
        ("", False),
    ],
)
def test_index_names(name: str, allowed: bool) -> None:
    assert (name_refusal(name) is None) is allowed


def test_globs_leave_out_indices_that_cannot_hold_them() -> None:
    """An index is left out only where its name shows that no selected namespace is in it."""
    selection = Selection(namespaces=("Team-*", "guest"))
    assert may_hold("openwhisk-%s", "openwhisk-team-a", selection)
    assert may_hold("openwhisk-%s", "openwhisk-guest", selection)
    assert not may_hold("openwhisk-%s", "openwhisk-other", selection)
    assert may_hold("openwhisk-%s", "behind-an-alias", selection)
    assert may_hold("everything", "everything", selection)
    assert may_hold("openwhisk-%s", "openwhisk-other", ALL)
