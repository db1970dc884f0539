"""What depends on the version of the server, on every version: what it answers, what it refuses, how it says so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import pytest

from migrator.activations.document import Document, Form
from migrator.activations.selection import Selection
from migrator.adapters import elasticsearch
from migrator.adapters.base import Batch, Plan, WriteOutcome
from migrator.adapters.elasticsearch.reader import ElasticsearchReader
from migrator.adapters.elasticsearch.writer import ElasticsearchWriter
from migrator.demo.servers import Server
from migrator.errors import NotFound, RequestRefused, Unavailable
from migrator.settings.stores import Store
from migrator.testing.documents import activation
from migrator.testing.writers import COMPLETION
from tests.adapters.elasticsearch.test_conformance import Raw, store_of
from tests.support.servers import request, status

ALL = Selection()


def some(count: int, namespace: str = "guest", first: int = 0, **changes: Any) -> list[Document]:
    return [activation(first + at, namespace, form=Form.ELASTICSEARCH, **changes) for at in range(count)]


class Place:
    """The indices of one test on one server."""

    def __init__(self, server: Server, prefix: str) -> None:
        self.server = server
        self.url = server.url
        self.raw = Raw(server, prefix)
        self.prefix = prefix
        self.store = store_of(server, f"{prefix}%s")
        self.opened: list[ElasticsearchReader | ElasticsearchWriter] = []

    @property
    def is_typed(self) -> bool:
        return self.raw.typed

    def reader(self, store: Store | None = None) -> ElasticsearchReader:
        reader = elasticsearch.open_reader(store or self.store, page_bytes=200_000)
        self.opened.append(reader)
        return reader

    def writer(self, *, pattern: str = "%s", **options: Any) -> ElasticsearchWriter:
        writer = elasticsearch.open_writer(store_of(self.server, self.prefix + pattern), **options)
        self.opened.append(writer)
        return writer

    def close(self) -> None:
        for each in self.opened:
            each.close()

    def create(self, namespace: str, *, settings: Any = None, properties: Any = None, **mapping: Any) -> str:
        """Create the index of a namespace past the adapter; its name."""
        index = self.raw.index(namespace)
        mappings = {**({"properties": properties} if properties else {}), **mapping}
        mappings = {"_doc": mappings} if self.is_typed and mappings else mappings
        body = {"settings": settings or {}, **({"mappings": mappings} if mappings else {})}
        request("PUT", f"{self.url}/{index}", body)
        return index

    def set_index(self, index: str, settings: dict[str, Any]) -> None:
        request("PUT", f"{self.url}/{index}/_settings", settings)

    @contextmanager
    def cluster_setting(self, name: str, value: Any) -> Iterator[None]:
        request("PUT", f"{self.url}/_cluster/settings", {"persistent": {name: value}})
        try:
            yield
        finally:
            request("PUT", f"{self.url}/_cluster/settings", {"persistent": {name: None}})


@pytest.fixture
def place(search_server: Server, index_prefix: str) -> Iterator[Place]:
    place = Place(search_server, index_prefix)
    yield place
    place.close()


def read(reader: ElasticsearchReader, plan: Plan, selection: Selection = ALL) -> list[Batch]:
    return [batch for slice in plan.slices for batch in reader.read(slice, None, selection)]


def documents_of(batches: list[Batch]) -> dict[str, Document]:
    return {document.id: document for batch in batches for document in batch.documents}


def ids(documents: Any) -> set[str]:
    return {document.id for document in documents}


def nothing_rejected(outcome: WriteOutcome, deferred: int) -> str:
    """What the condition says, of an outcome that put documents off and rejected none."""
    assert not outcome.rejected
    assert not outcome.written
    assert len(outcome.deferred) == deferred
    assert isinstance(outcome.condition, Unavailable)
    return str(outcome.condition)


# -- carrying -------------------------------------------------------------------------------------------------------


def test_bytes_come_back_as_they_went(place: Place) -> None:
    """What was written is read with the very bytes, numbers and spaces included."""
    (plain,) = some(1)
    odd = plain.body[:-1] + b', "big":9007199254740993,"float":1.10,"exponent":1e22,"minus":-0.0,"spaced" : [ 1 ,2 ]}'
    document = Document(plain.id, plain.form, odd, plain.namespace, plain.name, plain.start_ms)
    writer, reader = place.writer(), place.reader()
    assert len(writer.write([document], replace=False).written) == 1
    writer.finish(COMPLETION)
    found = documents_of(read(reader, reader.plan(ALL, slice_documents=100)))
    assert found[document.id].body == odd
    assert writer.stored([document])[document.id].body == odd


def test_description_names_product_and_version(place: Place) -> None:
    """The server says what it is, also where `GET /` isn't answered; the indices belong to the target's identity."""
    writer = place.writer()
    writer.write(some(1), replace=False)
    found = writer.describe()
    assert found.product.lower() == place.server.product
    assert found.version == place.server.version
    assert isinstance(found.identity, dict)
    assert found.identity["cluster"]
    before = found.identity["indices"][place.raw.index("guest")]
    request("DELETE", f"{place.url}/{place.raw.index('guest')}")
    writer.write(some(1), replace=False)
    again = writer.describe().identity
    assert isinstance(again, dict)
    assert again["indices"][place.raw.index("guest")] != before


def test_catch_up_gives_overwritten_and_new_documents(place: Place) -> None:
    """After overwriting, rounds give the newest version of each document until there is nothing more."""
    place.raw.put_all(some(120))
    reader = place.reader()
    plan = reader.plan(ALL, slice_documents=50)
    first = documents_of(read(reader, plan))
    assert len(first) == 120
    place.raw.put_all([*some(30, logs=["changed"]), *some(20, "later", first=500)])
    round_ = reader.catch_up(plan.snapshot, ALL, slice_documents=50)
    caught = documents_of(read(reader, round_))
    assert ids(caught.values()) == ids([*some(30), *some(20, "later", first=500)])
    assert all(b"changed" in caught[document.id].body for document in some(30))
    assert reader.catch_up(round_.snapshot, ALL, slice_documents=50).slices == ()


def test_written_again_replaced_and_differing(place: Place) -> None:
    """Present, differing and replaced are distinguished on every version, and what was stored since a mark is known."""
    writer = place.writer()
    old = some(10)
    assert len(writer.write(old, replace=False).written) == 10
    mark = json.loads(json.dumps(writer.mark()))
    assert len(writer.write(old, replace=False).present) == 10
    changed = some(4, logs=["changed"])
    assert len(writer.write(changed, replace=False).differing) == 4
    assert len(writer.write(changed, replace=True).written) == 4
    assert writer.stored_since(mark, old) == ids(changed)


def test_what_is_there_is_found_without_sending_it(place: Place) -> None:
    """Once nearly all was there; what was deleted or changed meanwhile, or has no index yet, goes its usual way."""
    writer, documents = place.writer(), some(50)
    assert len(writer.write(documents, replace=False).written) == 50
    assert len(writer.write(documents, replace=False).present) == 50
    index = place.raw.index("guest")
    request("DELETE", f"{place.url}/{index}/_doc/{documents[0].id.replace('/', '%2F')}")
    other = some(1, first=1, logs=["another"])
    assert len(place.writer().write(other, replace=True).written) == 1
    elsewhere = some(1, "nobody", first=90)
    outcome = writer.write([*documents, *elsewhere], replace=False)
    assert ids(outcome.written) == {documents[0].id, elsewhere[0].id}
    assert ids(outcome.differing) == {documents[1].id}
    assert ids(outcome.present) == ids(documents[2:])
    assert len(writer.write(documents, replace=True).written) == 1
    assert len(writer.write([*documents, *elsewhere], replace=False).present) == 51


def test_time_is_asked_of_the_server_where_start_is_long(place: Place) -> None:
    """With `start` mapped as long only the span is read; documents without it or with text there aren't lost."""
    place.raw.put_all(some(30))
    reader, documents = place.reader(), some(30)
    selection = Selection(since_ms=documents[10].start_ms, until_ms=documents[20].start_ms)
    plan = reader.plan(selection, slice_documents=100)
    batches = read(reader, plan, selection)
    assert ids(documents_of(batches).values()) == ids(documents[10:20])
    assert not [batch for batch in batches if batch.filtered]
    assert reader.count(selection) == 10

    place.create("dates", properties={"start": {"type": "date"}})
    place.raw.put_all(some(30, "dates"))
    batches = read(reader, reader.plan(selection, slice_documents=100), selection)
    assert len(documents_of(batches)) == 20
    assert sum(batch.filtered.get("dates", 0) for batch in batches) == 20
    assert reader.count(selection) is None


@pytest.mark.parametrize("bad", [b'{"odd":"\\ud800",%s', b'{"deep":' + b"[" * 990 + b"]" * 990 + b",%s"])
def test_document_that_cannot_be_decoded_stands_alone(place: Place, bad: bytes) -> None:
    """A lone surrogate, or nesting too deep, rejects its document with its bytes; all others are read."""
    place.create("guest", settings={"number_of_shards": 1}, enabled=False)
    documents = some(250)
    place.raw.put_all(documents[:130])
    (victim,) = some(1, first=999)
    body = bad % victim.body[1:]
    place.raw.put(place.raw.index("guest"), victim.id, body)
    place.raw.put_all(documents[130:])
    reader = place.reader()
    batches = read(reader, reader.plan(ALL, slice_documents=1000))
    (rejection,) = [rejection for batch in batches for rejection in batch.rejections]
    assert (rejection.id, rejection.body, rejection.namespace) == (victim.id, body, "guest")
    assert ids(documents_of(batches).values()) == ids(documents)
    fetched = list(reader.fetch([*ids(documents[:40]), victim.id, *ids(documents[40:])], None, ALL))
    assert [rejection for batch in fetched for rejection in batch.rejections] == [rejection]
    assert ids(documents_of(fetched).values()) == ids(documents)


def test_an_index_that_gives_few_documents_at_once_is_read_in_small_pages(place: Place) -> None:
    """Where `index.max_result_window` was lowered the first page is refused, and no later one."""
    place.create("guest", settings={"number_of_shards": 1, "index.max_result_window": 30})
    documents = some(200)
    place.raw.put_all(documents)
    reader = place.reader()
    batches = read(reader, reader.plan(ALL, slice_documents=1000))
    assert ids(documents_of(batches).values()) == ids(documents)
    assert max(len(batch.documents) for batch in batches) == 30


def test_fetch_looks_into_every_index_of_the_pattern(place: Place) -> None:
    """A document is found where OpenWhisk wouldn't have put it, and given for each index that holds it."""
    documents = some(3)
    place.raw.put_all(documents[:2])
    place.raw.put_all(documents[1:], index=place.raw.index("elsewhere"))
    (batch,) = place.reader().fetch([document.id for document in some(4)], None, ALL)
    places = sorted((document.id, document.index or "") for document in batch.documents)
    guest, elsewhere = place.raw.index("guest"), place.raw.index("elsewhere")
    expected = [(0, guest), (1, guest), (1, elsewhere), (2, elsewhere)]
    assert places == sorted((documents[at].id, index) for at, index in expected)
    assert batch.position == 4


def test_stored_document_that_cannot_be_decoded_differs(place: Place) -> None:
    """A lone surrogate in what is there makes it differ from what comes, and hides nothing beside it."""
    documents = some(5)
    writer = place.writer()
    writer.write(documents[1:], replace=False)
    place.raw.put(place.raw.index("guest"), documents[0].id, documents[0].body.replace(b"line 0", b"\\ud800"))
    outcome = writer.write(documents, replace=False)
    assert ids(outcome.differing) == {documents[0].id}
    assert ids(outcome.present) == ids(documents[1:])


def test_index_without_source_is_rejected_not_lost(place: Place) -> None:
    """Documents of an index that keeps no `_source` are rejections that say so."""
    place.create("guest", _source={"enabled": False})
    place.raw.put_all(some(3))
    reader = place.reader()
    batches = read(reader, reader.plan(ALL, slice_documents=100))
    rejections = [rejection for batch in batches for rejection in batch.rejections]
    assert ids(rejections) == ids(some(3))
    assert all("_source" in rejection.reason for rejection in rejections)


# -- indices --------------------------------------------------------------------------------------------------------


def test_closed_index_is_reported_and_caught_up_once_it_is_open(place: Place) -> None:
    """A closed index makes the plan incomplete with a warning; the others are read, and it is once it opens."""
    place.raw.put_all([*some(5), *some(5, "shut", first=100)])
    shut = place.raw.index("shut")
    request("POST", f"{place.url}/{shut}/_flush")
    request("POST", f"{place.url}/{shut}/_close")
    reader = place.reader()
    plan = reader.plan(ALL, slice_documents=100)
    assert plan.incomplete
    assert [shut in warning for warning in plan.warnings] == [True]
    assert ids(documents_of(read(reader, plan)).values()) == ids(some(5))
    request("POST", f"{place.url}/{shut}/_open?wait_for_active_shards=1")
    again = reader.catch_up(plan.snapshot, ALL, slice_documents=100)
    assert not again.incomplete
    assert ids(documents_of(read(reader, again)).values()) == ids(some(5, "shut", first=100))


def test_alias_is_resolved_to_its_indices(place: Place) -> None:
    """A pattern that is an alias for two indices reads both, each by its own shards."""
    place.raw.put_all(some(5), index=f"{place.prefix}v1")
    place.raw.put_all(some(5, first=50), index=f"{place.prefix}v2")
    actions = [{"add": {"index": f"{place.prefix}{name}", "alias": f"{place.prefix}both"}} for name in ("v1", "v2")]
    request("POST", f"{place.url}/_aliases", {"actions": actions})
    reader = place.reader(store_of(place.server, f"{place.prefix}both"))
    assert reader.describe().product
    plan = reader.plan(ALL, slice_documents=100)
    assert {slice.spec["index"] for slice in plan.slices} == {f"{place.prefix}v1", f"{place.prefix}v2"}
    assert len(documents_of(read(reader, plan))) == 10


def test_hidden_and_missing_indices(place: Place) -> None:
    """Nothing behind the pattern is an error; a namespace without an index is a warning; hidden ones are read."""
    with pytest.raises(NotFound, match="no index matches"):
        place.reader().describe()
    with pytest.raises(NotFound, match="no index matches"):
        place.reader().plan(ALL, slice_documents=10)
    plan = place.reader().plan(Selection(namespaces=("nobody",)), slice_documents=10)
    assert plan.slices == ()
    assert "nobody" in plan.warnings[0]
    place.raw.put_all(some(2))
    if not place.is_typed:
        place.create("concealed", settings={"index.hidden": True})
        place.raw.put_all(some(2, "concealed", first=10))
    expected = 2 if place.is_typed else 4
    assert len(documents_of(read(place.reader(), place.reader().plan(ALL, slice_documents=10)))) == expected


def test_a_rolled_over_alias_is_read_from_all_its_indices(place: Place) -> None:
    """A namespace whose name is an alias is read from the old and the new index behind it, by name and by glob."""
    alias = place.raw.index("guest")
    body = {"aliases": {alias: {"is_write_index": True}}}
    request("PUT", f"{place.url}/{alias}-000001", body)
    place.raw.put_all(some(30))
    request("POST", f"{place.url}/{alias}/_rollover/{alias}-000002", {})
    place.raw.put_all(some(20, first=30))
    reader = place.reader()
    for selection in (ALL, Selection(namespaces=("guest",)), Selection(namespaces=("gues?",))):
        plan = reader.plan(selection, slice_documents=100)
        assert {slice.spec["index"] for slice in plan.slices} == {f"{alias}-000001", f"{alias}-000002"}
        assert ids(documents_of(read(reader, plan, selection)).values()) == ids(some(50))
        assert plan.warnings == ()
        assert reader.census(selection, plan.snapshot) == 50


def test_a_data_stream_is_read(place: Place) -> None:
    """The hidden indices behind a data stream are read, by wildcard and by the namespace it stands for."""
    stream = place.raw.index("streamed")
    template = {"index_patterns": [stream], "data_stream": {}, "priority": 500}
    if status("GET", f"{place.url}/_data_stream") != 200:
        pytest.skip("this server has no data streams")
    request("PUT", f"{place.url}/_index_template/{stream}", template)
    try:
        lines = [
            line for each in some(40, "streamed") for line in (b'{"create":{"_id":"%s"}}' % each.id.encode(), each.body)
        ]
        answer = request("POST", f"{place.url}/{stream}/_bulk", b"\n".join([*lines, b""]))
        assert not answer["errors"], answer
        reader = place.reader()
        for selection in (ALL, Selection(namespaces=("streamed",)), Selection(namespaces=("strea*",))):
            plan = reader.plan(selection, slice_documents=100)
            assert ids(documents_of(read(reader, plan, selection)).values()) == ids(some(40, "streamed"))
            assert all(slice.spec["index"].startswith(".ds-") for slice in plan.slices)
    finally:
        request("DELETE", f"{place.url}/_data_stream/{stream}")
        request("DELETE", f"{place.url}/_index_template/{stream}")


def test_a_shrunk_index_is_read_whole(place: Place) -> None:
    """Five shards made into one have five documents for each number; copies and verifications read all of them."""
    settings = {"number_of_shards": 5, "number_of_replicas": 0}
    settings |= {} if place.is_typed else {"number_of_routing_shards": 5}
    before = place.create("before", settings=settings)
    place.raw.put_all(some(3_000), index=before)
    place.set_index(before, {"index.blocks.write": True})
    shrunk = place.raw.index("guest")
    after = {"index.number_of_shards": 1, "index.number_of_replicas": 0, "index.blocks.write": None}
    request("POST", f"{place.url}/{before}/_shrink/{shrunk}", {"settings": after})
    request("GET", f"{place.url}/_cluster/health/{shrunk}?wait_for_status=green&timeout=60s")
    request("DELETE", f"{place.url}/{before}")
    reader = place.reader()
    plan = reader.plan(ALL, slice_documents=200)
    numbers = [document.id for batch in read(reader, plan) for document in batch.documents]
    assert len(numbers) == len(set(numbers)) == 3_000
    assert reader.census(ALL, plan.snapshot) == 3_000
    (slice,) = reader.plan(ALL, slice_documents=100_000).slices
    batches = list(reader.read(slice, None, ALL))
    middle = len(batches) // 2
    rest = list(reader.read(slice, batches[middle].position, ALL))
    assert ids(documents_of(rest).values()) == ids(documents_of(batches[middle + 1 :]).values())
    verifying = reader.plan_verification(ALL, slice_documents=200)
    assert len(documents_of(read(reader, verifying))) == 3_000


def test_ids_repeat_where_documents_have_custom_routing(place: Place) -> None:
    """One id may stand in two shards then; no id does by itself, and an index that is gone has none."""
    index = place.create("guest", settings={"number_of_shards": 3, "number_of_replicas": 0})
    place.raw.put_all([*some(20), *some(5, "gone", first=100)])
    reader = place.reader()
    plan = reader.plan(ALL, slice_documents=100)
    assert not reader.repeats_ids(plan.snapshot)
    for routing in ("one", "two", "three", "four"):
        (document,) = some(1)
        path = f"{place.url}/{index}/_doc/{quote(document.id, safe='')}"
        request("PUT", f"{path}?routing={routing}&refresh=true", document.body)
    assert reader.repeats_ids(plan.snapshot)
    request("DELETE", f"{place.url}/{place.raw.index('gone')}")
    assert reader.repeats_ids(plan.snapshot)
    plan = reader.plan(ALL, slice_documents=100)
    read_ids = [document.id for batch in read(reader, plan) for document in batch.documents]
    assert len(read_ids) > len(set(read_ids)) == 20


def test_an_index_that_keeps_a_part_of_its_documents_is_reported(place: Place) -> None:
    """A mapping whose `_source` leaves fields out makes the plan incomplete, with the reason."""
    place.create("guest", _source={"excludes": ["logs"]})
    place.raw.put_all(some(3))
    plan = place.reader().plan(ALL, slice_documents=10)
    assert plan.incomplete
    assert "_source with excludes logs" in plan.warnings[0]


def test_index_recreated_is_read_again(place: Place) -> None:
    """An index that was deleted and recreated is read whole with a warning; one that is gone is reported."""
    place.raw.put_all([*some(5), *some(5, "gone", first=100)])
    reader = place.reader()
    plan = reader.plan(ALL, slice_documents=100)
    for namespace in ("guest", "gone"):
        request("DELETE", f"{place.url}/{place.raw.index(namespace)}")
    place.raw.put_all(some(3, first=50))
    for slice in plan.slices:
        with pytest.raises(NotFound, match="start over with `restart`"):
            list(reader.read(slice, None, ALL))
    again = reader.catch_up(plan.snapshot, ALL, slice_documents=100)
    assert ids(documents_of(read(reader, again)).values()) == ids(some(3, first=50))
    assert any("recreated" in warning for warning in again.warnings)
    assert any("gone" in warning for warning in again.warnings)
    assert not {slice.key for slice in plan.slices} & {slice.key for slice in again.slices}


# -- refusals and conditions ----------------------------------------------------------------------------------------


def test_refused_documents_leave_the_others_alone(place: Place) -> None:
    """Mapping conflicts, impossible names and too many fields reject their documents with the server's reason."""
    writer = place.writer()
    writer.write(some(1, extra={"a": {"b": 1}}), replace=False)
    good = some(20, first=10)
    conflict = some(1, first=100, extra={"a": "text"})
    empty = some(1, first=101, extra={"": 1})
    fields = some(1, first=102, extra={f"f{number}": number for number in range(1100)})
    blank = some(1, "my space", first=103)
    slash = some(1, "guest/package", first=104)
    long = some(1, "x" * 250, first=105)
    colon = some(1, "a:b", first=106)
    outcome = writer.write([*good, *conflict, *empty, *fields, *blank, *slash, *long, *colon], replace=False)
    assert outcome.condition is None
    reasons = {rejection.id: rejection.reason for rejection in outcome.rejected}
    assert set(reasons) == ids([*conflict, *empty, *fields, *blank, *slash, *long, *([] if place.is_typed else colon)])
    assert ids(outcome.written) == ids([*good, *(colon if place.is_typed else [])])
    assert "extra.a" in reasons[conflict[0].id]
    assert "empty" in reasons[empty[0].id]
    assert "Limit of total fields [1000]" in reasons[fields[0].id]
    assert "holds ' '" in reasons[blank[0].id]
    assert "holds '/'" in reasons[slash[0].id]
    assert "longer than 255 bytes" in reasons[long[0].id]
    assert all(rejection.body for rejection in outcome.rejected)


def test_too_long_id_refuses_the_request(place: Place) -> None:
    """An id over 512 bytes makes the server refuse the whole bulk, which may then be taken apart."""
    (document,) = some(1)
    long = Document("x" * 600, document.form, document.body, "guest", "hello", 1)
    with pytest.raises(RequestRefused, match="512 bytes") as refused:
        place.writer().write([long, *some(2, first=5)], replace=False)
    assert refused.value.status == 400
    assert not refused.value.passing


def test_full_disk_rejects_nothing(place: Place) -> None:
    """An index that the disk watermark made read-only puts documents off, says how to clear it, and then takes them."""
    index = place.create("guest")
    place.set_index(index, {"index.blocks.read_only_allow_delete": True})
    writer = place.writer()
    text = nothing_rejected(writer.write(some(5), replace=False), 5)
    assert "free disk space" in text
    assert any("read_only_allow_delete" in finding for finding in writer.preflight(["guest"]))
    place.set_index(index, {"index.blocks.read_only_allow_delete": None})
    assert len(writer.write(some(5), replace=False).written) == 5
    assert list(writer.preflight(["guest"])) == []


def test_closed_index_rejects_nothing(place: Place) -> None:
    """A closed index puts documents off and says how to open it."""
    index = place.create("guest")
    request("POST", f"{place.url}/{index}/_close")
    writer = place.writer()
    assert "_open" in nothing_rejected(writer.write(some(5), replace=False), 5)
    assert any("closed" in finding for finding in writer.preflight(["guest"]))
    request("POST", f"{place.url}/{index}/_open")
    request("GET", f"{place.url}/_cluster/health/{index}?wait_for_status=yellow")
    assert len(writer.write(some(5), replace=False).written) == 5


def test_auto_creation_off_rejects_nothing(place: Place) -> None:
    """Where indices aren't created by writing, documents are put off and the preflight says so."""
    writer = place.writer()
    with place.cluster_setting("action.auto_create_index", "false"):
        assert "action.auto_create_index" in nothing_rejected(writer.write(some(5), replace=False), 5)
        assert any("action.auto_create_index" in finding for finding in writer.preflight(["guest"]))
    with place.cluster_setting("action.auto_create_index", f"-nothing*,+{place.prefix}*"):
        assert list(writer.preflight(["guest"])) == []
    with place.cluster_setting("action.auto_create_index", f"-{place.prefix}*,+*"):
        assert any("action.auto_create_index" in finding for finding in writer.preflight(["guest"]))
    assert len(writer.write(some(5), replace=False).written) == 5


def test_no_more_shards_rejects_nothing(place: Place) -> None:
    """Where the cluster allows no more shards, documents are put off; 6.7 only warns, and the preflight still tells."""
    place.create("other")
    writer = place.writer()
    with place.cluster_setting("cluster.max_shards_per_node", 1):
        assert any("cluster.max_shards_per_node" in finding for finding in writer.preflight(["guest"]))
        outcome = writer.write(some(5), replace=False)
        if place.is_typed:
            assert len(outcome.written) == 5
            return
        assert "raise cluster.max_shards_per_node" in nothing_rejected(outcome, 5)
    assert len(writer.write(some(5), replace=False).written) == 5


# -- before writing -------------------------------------------------------------------------------------------------


def test_preflight_finds_what_will_be_refused(place: Place) -> None:
    """Names that can't be an index and fields that date detection spoilt are reported before the first byte moves."""
    place.create("guest", properties={"name": {"type": "date"}, "start": {"type": "text"}})
    findings = list(place.writer().preflight(["guest", "my space", "fine"]))
    assert len(findings) == 3
    assert any("mapped name as date" in finding for finding in findings)
    assert any("mapped start as text" in finding for finding in findings)
    assert any("my space" in finding for finding in findings)
