"""Answers to a writer are compared with what was sent: whatever tells of other documents counts for nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.activations.document import Document, Form
from migrator.adapters import elasticsearch
from migrator.adapters.elasticsearch.addressed import Addressed
from migrator.adapters.elasticsearch.bulk import Item, read_answer
from migrator.adapters.elasticsearch.destinations import Address
from migrator.adapters.elasticsearch.writer import ElasticsearchWriter
from migrator.adapters.shared.patience import Policy
from migrator.adapters.wrappers.retrying import RetryingWriter
from migrator.errors import RequestRefused, Unavailable
from migrator.settings.stores import Location, Store
from migrator.testing.documents import activation
from tests.support.scripted import Cut, Request, answer, serve

Alter = Callable[[Request, Any], Any]
"""Makes another answer of the true one; may give the bytes of a whole answer."""


def some(count: int, first: int = 0, **changes: Any) -> list[Document]:
    return [activation(first + at, form=Form.ELASTICSEARCH, **changes) for at in range(count)]


def ids(documents: Any) -> set[str]:
    return {document.id for document in documents}


def untouched(request: Request, content: Any) -> Any:
    return content


class Index:
    """A small Elasticsearch that holds one index, whose answers can be altered on their way."""

    def __init__(self) -> None:
        self.documents: dict[str, Any] = {}
        self.refused: dict[str, str] = {}  # the reasons why documents of these ids are refused
        self.alter: Alter = untouched
        self.most_bytes = 1 << 40
        self.bulks = 0

    def play(self, request: Request) -> bytes:
        if len(request.body) > self.most_bytes:
            return answer(b"<html>413 Request Entity Too Large</html>", 413)
        content = self.alter(request, self._content(request))
        return content if isinstance(content, bytes) else answer(content)

    def _content(self, request: Request) -> Any:
        last = request.path.rpartition("/")[2]
        if request.path == "/":
            return {"cluster_uuid": "c1", "version": {"number": "7.17.0"}}
        if last == "_bulk":
            return self._bulk([json.loads(line) for line in request.body.splitlines()])
        if last == "_mget":
            return {"docs": [self._get(each["_index"], each["_id"]) for each in request.json["docs"]]}
        if last == "_refresh":
            return {"_shards": {"failed": 0}}
        if last == "_count":
            return {"count": 0, "_shards": {"total": 1, "successful": 1, "failed": 0}}
        return {"openwhisk-guest": {"aliases": {}, "settings": {"index": {"uuid": "u1", "number_of_shards": "1"}}}}

    def _bulk(self, lines: list[Any]) -> Any:
        items = []
        self.bulks += 1
        for action, source in zip(lines[::2], lines[1::2], strict=True):
            ((operation, where),) = action.items()
            there, status, error = where["_id"] in self.documents, 201, {}
            if where["_id"] in self.refused:
                status, error = 400, {"type": "mapper_parsing_exception", "reason": self.refused[where["_id"]]}
            elif there and operation == "create":
                status, error = 409, {"type": "version_conflict_engine_exception", "reason": "exists"}
            else:
                status = 200 if there else 201
                self.documents[where["_id"]] = source
            item = {"_index": where["_index"], "_id": where["_id"], "status": status}
            items.append({operation: item | ({"error": error} if error else {})})
        return {"errors": any("error" in each for item in items for each in item.values()), "items": items}

    def _get(self, index: str, id: str) -> Any:
        named = {"_index": index, "_id": id}
        source = self.documents.get(id)
        return {**named, "found": False} if source is None else {**named, "found": True, "_source": source}


@pytest.fixture
def index() -> Index:
    return Index()


@pytest.fixture
def writer(index: Index) -> Iterator[ElasticsearchWriter]:
    with serve(index.play) as served:
        location = Location(kind="elasticsearch", hosts=(("127.0.0.1", served.port),), index_pattern="openwhisk-%s")
        writer = elasticsearch.open_writer(Store(location=location))
        yield writer
        writer.close()


def for_bulks(change: Callable[[Any], Any], *, times: int = 1 << 30) -> Alter:
    """Change the answers to bulks, the first few or all."""
    left = iter(range(times))

    def alter(request: Request, content: Any) -> Any:
        return change(content) if request.path.endswith("_bulk") and next(left, None) is not None else content

    return alter


def patient(writer: ElasticsearchWriter) -> RetryingWriter:
    now = iter(range(0, 10_000, 10))
    return RetryingWriter(writer, Policy(sleep=lambda _: None, clock=lambda: float(next(now))))


# -- bulks ----------------------------------------------------------------------------------------------------------


def test_items_in_another_order_belong_to_the_documents_they_name(index: Index, writer: ElasticsearchWriter) -> None:
    """The document that the server refused is set aside, not the one in its place."""
    documents = some(6)
    index.refused = {documents[1].id: "failed to parse field [a]"}
    index.documents = {documents[2].id: json.loads(documents[2].body)}
    index.alter = for_bulks(lambda content: {**content, "items": content["items"][::-1]})
    outcome = writer.write(documents, replace=False)
    assert ids(outcome.rejected) == {documents[1].id}
    assert ids(outcome.present) == {documents[2].id}
    assert ids(outcome.written) == ids([documents[0], *documents[3:]])


def test_the_answer_of_another_bulk_counts_nothing_as_written(index: Index, writer: ElasticsearchWriter) -> None:
    """A stale answer names other documents: those that were sent are looked up, and aren't there."""
    stale: list[Any] = []

    def keep(content: Any) -> Any:
        stale.append(content)
        return content

    index.alter = for_bulks(keep)
    assert len(writer.write(some(5), replace=False).written) == 5
    lost = some(5, first=50)

    def instead(request: Request, content: Any) -> Any:
        if not request.path.endswith("_bulk"):
            return content
        for document in lost:
            index.documents.pop(document.id, None)
        return stale[0]

    index.alter = instead
    outcome = writer.write(lost, replace=False)
    assert ids(outcome.deferred) == ids(lost)
    assert not outcome.written
    with pytest.raises(Unavailable, match="altered in transit"):
        patient(writer).write(lost, replace=False)
    index.alter = untouched
    assert ids(patient(writer).write(lost, replace=False).written) == ids(lost)


@pytest.mark.parametrize(
    "change",
    [
        lambda item: {**item, "_id": "guest/another"},
        lambda item: {**item, "_index": "openwhisk-other"},
        lambda item: {"status": item["status"]},
        lambda item: {**item, "status": 200},
    ],
    ids=["id", "index", "unnamed", "dropped"],
)
@pytest.mark.parametrize("operation", ["create", "index"])
def test_what_no_item_tells_of_is_looked_up(
    index: Index, writer: ElasticsearchWriter, change: Callable[[Any], Any], operation: str
) -> None:
    """Documents that were stored are found there, and those that weren't are put off; none is believed."""
    documents = some(8)
    stored, dropped = documents[:5], documents[5:]
    if operation == "index":
        index.documents = {document.id: {"logs": ["other"]} for document in documents}

    def alter(request: Request, content: Any) -> Any:
        told = [next(iter(item)) for item in content.get("items", [])]
        if operation not in told:
            return content
        for document in dropped:
            index.documents[document.id] = {"logs": ["other"]}
            if operation == "create":
                del index.documents[document.id]
        return {"errors": False, "items": [{operation: change(item[operation])} for item in content["items"]]}

    index.alter = alter
    outcome = writer.write(documents, replace=operation == "index")
    if operation == "index" and change({"status": 0}).get("status") == 200:
        assert ids(outcome.written) == ids(documents)  # what a replaced document says anyhow
        return
    assert ids([*outcome.written, *outcome.present]) == ids(stored)
    assert ids(outcome.deferred) == ids(dropped)


@pytest.mark.parametrize(
    "given",
    [
        b"",
        b"{}",
        b"[]",
        b"<html>sign in</html>",
        b'{"errors":false,"items":[]}',
        b'{"errors":false,"items":[{',
        b"null",
    ],
)
def test_a_200_that_is_no_answer_to_a_bulk(index: Index, writer: ElasticsearchWriter, given: bytes) -> None:
    """Once it is got over, since writing again changes nothing; always, it ends the run with nothing rejected."""
    documents = some(5)
    index.alter = for_bulks(lambda _: answer(given), times=1)
    outcome = patient(writer).write(documents, replace=False)
    assert ids([*outcome.written, *outcome.present]) == ids(documents) == index.documents.keys()
    index.alter = for_bulks(lambda _: answer(given))
    with pytest.raises(Unavailable):
        patient(writer).write(some(5, first=9), replace=False)


@given(
    st.permutations(range(6)),
    st.lists(st.sampled_from([201, 201, 201, 400, 409, 429]), min_size=6, max_size=6),
    st.booleans(),
)
def test_every_order_gives_each_document_its_own_item(order: list[int], statuses: list[int], compact: bool) -> None:
    """Whatever the order and the spelling, what is read is what the server said of each."""
    sent: list[Addressed] = [(Address(f"i{at % 2}"), document) for at, document in enumerate(some(6))]
    told = [
        Item(status, index=address.index, id=document.id)
        for (address, document), status in zip(sent, statuses, strict=True)
    ]
    items = [{"create": {"_index": told[at].index, "_id": told[at].id, "status": told[at].status}} for at in order]
    content = {"errors": any(status != 201 for status in statuses), "items": items}
    body = json.dumps(content, separators=(",", ":") if compact else None).encode()
    found = read_answer(body, "create", sent)
    assert (told if found is None else found) == told
    assert found is not None or set(statuses) == {201}


# -- looking up -----------------------------------------------------------------------------------------------------


NO_LOOKS: dict[str, Callable[[Any], Any]] = {
    "reordered": lambda docs: docs[::-1],
    "short": lambda docs: docs[:-1],
    "repeated": lambda docs: [docs[0]] * len(docs),
    "other-index": lambda docs: [{**each, "_index": "openwhisk-other"} for each in docs],
    "undecided": lambda docs: [{name: each[name] for name in ("_index", "_id")} for each in docs],
}
"""Answers to a request for some ids that can't be the answers to it."""


def for_looks(change: Callable[[Any], Any], *, times: int = 1 << 30) -> Alter:
    """Change the documents in the answers to requests for ids, the first few or all."""
    left = iter(range(times))

    def alter(request: Request, content: Any) -> Any:
        if not request.path.endswith("_mget") or next(left, None) is None:
            return content
        return {"docs": change(content["docs"])}

    return alter


@pytest.mark.parametrize("change", NO_LOOKS.values(), ids=NO_LOOKS)
def test_what_is_stored_is_not_taken_from_another_answer(
    index: Index, writer: ElasticsearchWriter, change: Callable[[Any], Any]
) -> None:
    """Documents that are compared are those that were requested; anything else is asked again."""
    documents = some(4)
    index.documents = {document.id: json.loads(document.body) for document in documents}
    index.alter = lambda request, content: (
        {"docs": change(content["docs"])} if request.path.endswith("_mget") else content
    )
    for call in (lambda: writer.write(documents, replace=True), lambda: writer.stored(documents)):
        with pytest.raises(Unavailable, match="can't be read"):
            call()
    index.alter = untouched
    assert ids(writer.write(documents, replace=True).present) == ids(documents)


class TestLookedUpFirst:
    """Where all of the last documents were there, the next are looked up before they are sent."""

    @pytest.fixture
    def documents(self, index: Index, writer: ElasticsearchWriter) -> list[Document]:
        documents = some(20)
        for _ in range(2):
            writer.write(documents, replace=False)
        assert index.documents.keys() == ids(documents)
        index.bulks = 0
        assert ids(writer.write(documents, replace=False).present) == ids(documents)
        assert not index.bulks
        return documents

    @pytest.mark.parametrize("change", NO_LOOKS.values(), ids=NO_LOOKS)
    def test_an_answer_that_cannot_be(
        self, index: Index, writer: ElasticsearchWriter, documents: list[Document], change: Callable[[Any], Any]
    ) -> None:
        """Nothing counts as present by it, not even what is there."""
        index.alter = for_looks(change)
        with pytest.raises(Unavailable, match="can't be read"):
            writer.write(documents, replace=False)
        index.alter = for_looks(change, times=1)
        assert ids(patient(writer).write(documents, replace=False).present) == ids(documents)

    @pytest.mark.parametrize(
        "change",
        [
            lambda docs: [{"_index": each["_index"], "_id": each["_id"], "found": False} for each in docs],
            lambda docs: [{**each, "_source": {"logs": ["another"]}} for each in docs],
            lambda docs: [{**each, "_source": docs[0]["_source"]} for each in docs],
        ],
        ids=["not-there", "another", "neighbour"],
    )
    def test_a_wrong_look_is_made_good_by_the_server(
        self, index: Index, writer: ElasticsearchWriter, documents: list[Document], change: Callable[[Any], Any]
    ) -> None:
        """What it doesn't show to be the same is sent, and is compared after the server's conflict."""
        index.alter = for_looks(change, times=1)
        outcome = writer.write(documents, replace=False)
        assert ids(outcome.present) == ids(documents)
        assert index.bulks
        assert not (outcome.written or outcome.differing or outcome.deferred)

    def test_what_is_gone_or_another_there(
        self, index: Index, writer: ElasticsearchWriter, documents: list[Document]
    ) -> None:
        """Each is counted as what it is."""
        del index.documents[documents[3].id]
        index.documents[documents[4].id] = {"logs": ["another"]}
        absent = some(1, first=50)
        outcome = writer.write([*documents, *absent], replace=False)
        assert ids(outcome.written) == ids([documents[3], *absent])
        assert ids(outcome.differing) == {documents[4].id}
        assert ids(outcome.present) == ids([*documents[:3], *documents[5:]])
        assert index.documents[documents[4].id] == {"logs": ["another"]}

    def test_what_is_no_answer_to_a_bulk_ends_the_run(
        self, index: Index, writer: ElasticsearchWriter, documents: list[Document]
    ) -> None:
        """As ever, since what isn't there is sent."""
        index.alter = for_bulks(lambda _: answer(b"{}"))
        with pytest.raises(Unavailable):
            patient(writer).write(some(5, first=100), replace=False)
        index.alter = untouched
        assert ids(patient(writer).write(documents, replace=False).present) == ids(documents)


def test_a_proxy_that_takes_small_requests_only(index: Index, writer: ElasticsearchWriter) -> None:
    """Bulks and requests for ids alike are split until they pass, and no later one is as large."""
    documents = some(200)
    index.most_bytes = 3000
    assert ids(writer.write(documents, replace=False).written) == ids(documents)
    assert ids(writer.write(documents, replace=False).present) == ids(documents)
    assert ids(writer.stored(documents).values()) == ids(documents)


def test_a_link_that_cuts_large_answers(index: Index, writer: ElasticsearchWriter) -> None:
    """What is stored is requested in parts whose answers arrive."""
    documents = some(200)
    index.documents = {document.id: json.loads(document.body) for document in documents}

    def cut(request: Request, content: Any) -> Any:
        whole = answer(content)
        return Cut(whole[:12_000]) if request.path.endswith("_mget") and len(whole) > 12_000 else content

    index.alter = cut
    assert ids(writer.stored(documents).values()) == ids(documents)


def test_a_document_too_large_alone_is_reported_as_such(index: Index, writer: ElasticsearchWriter) -> None:
    """Among others it alone is refused; it is the cause, and the others are stored."""
    documents = [*some(4), *some(1, first=4, logs=["x" * 5000]), *some(3, first=5)]
    index.most_bytes = 3000
    outcome = patient(writer).write(documents, replace=False)
    assert ids(outcome.rejected) == {documents[4].id}
    assert ids([*outcome.written, *outcome.present]) == ids([*documents[:4], *documents[5:]])
    with pytest.raises(RequestRefused) as refused:
        writer.write(documents[4:5], replace=False)
    assert refused.value.status == 413


def test_a_refusal_of_a_request_for_ids_rejects_nothing(index: Index, writer: ElasticsearchWriter) -> None:
    """A 400 or 500 for `_mget` is no document's fault."""
    documents = some(4)
    index.documents = {document.id: json.loads(document.body) for document in documents}
    for status in (400, 500):
        refusal = answer({"error": {"type": "some_exception", "reason": "no"}}, status)

        def alter(request: Request, content: Any, refusal: bytes = refusal) -> Any:
            return refusal if request.path.endswith("_mget") else content

        index.alter = alter
        with pytest.raises(Unavailable) as raised:
            patient(writer).write(documents, replace=False)
        assert not isinstance(raised.value, RequestRefused)


@pytest.mark.parametrize(
    "reason",
    [
        "Action/metadata line [1] contains an unknown parameter [_type]",
        "Malformed action/metadata line [1], expected FIELD_NAME but found [VALUE_STRING]",
        "request [/_bulk] contains unrecognized parameter: [filter_path]",
    ],
)
def test_a_request_refused_for_its_form_rejects_nothing(index: Index, writer: ElasticsearchWriter, reason: str) -> None:
    """What the server has against the request as such ends the run, and says what may be the cause."""
    refusal = answer({"error": {"type": "illegal_argument_exception", "reason": reason}}, 400)
    index.alter = for_bulks(lambda _: refusal)
    with pytest.raises(Unavailable, match="proxy") as raised:
        patient(writer).write(some(4), replace=False)
    assert not isinstance(raised.value, RequestRefused)
