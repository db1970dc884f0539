"""Answers of CouchDB, and of what is in between, that arrive late, in part or as something else."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import msgspec
import pytest

from migrator.activations.document import Document
from migrator.adapters import couchdb
from migrator.adapters.couchdb import CouchDBWriter
from migrator.adapters.couchdb.client import Client
from migrator.adapters.couchdb.reader import CouchDBReader
from migrator.adapters.couchdb.revisions import RevisionKeepingWriter
from migrator.adapters.shared.patience import Policy
from migrator.adapters.wrappers.retrying import RetryingWriter
from migrator.errors import RequestRefused, Unavailable
from migrator.settings.stores import Location, Store
from migrator.testing.documents import activation
from tests.adapters.couchdb.test_proofs import ALL, BODIES, ids_of, patient, read
from tests.support.scripted import Cut, Request, Script, answer, serve
from tests.support.scripted_couchdb import ScriptedCouchDB, content

DOCUMENTS = [activation(number) for number in range(40)]


def store_at(port: int) -> Store:
    return Store(location=Location(kind="couchdb", hosts=(("127.0.0.1", port),), database="acts"))


@contextmanager
def writing(script: Script, kind: type[CouchDBWriter] = CouchDBWriter) -> Iterator[CouchDBWriter]:
    with serve(script) as served:
        writer = kind(Client(store_at(served.port)), bulk_bytes=1_000_000)
        try:
            yield writer
        finally:
            writer.close()


@contextmanager
def trickling(head: bytes) -> Iterator[int]:
    """A server that sends this at once and then a byte every now and then, without end; its port."""
    done = threading.Event()

    def send(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(65_536)
            connection.sendall(head)
            while not done.wait(0.02):
                connection.sendall(b" ")

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)

        def accept() -> None:
            with suppress(OSError):
                send(server.accept()[0])

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            done.set()
            thread.join()


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n",
        b"HTTP/1.1 500 No\r\nContent-Length: 99999\r\n\r\n",
    ],
    ids=["in its headers", "in its body", "of an error"],
)
def test_answer_that_trickles_in_is_given_up(head: bytes) -> None:
    """Each byte comes before the timeout of the socket; the answer has one, too."""
    with trickling(head) as port:
        client = Client(store_at(port), answer_s=0.3)
        began_s = time.monotonic()
        with pytest.raises(Unavailable, match="too slowly"):
            client.about()
        assert time.monotonic() - began_s < 15
        client.close()


def test_link_that_cuts_every_large_answer_gets_through() -> None:
    """Pages become smaller with every cut, down to one document."""
    server = ScriptedCouchDB(BODIES)

    def cutting(request: Request) -> bytes:
        whole = server(request)
        return whole if len(whole) < 4_000 else Cut(whole[:4_000])

    with serve(cutting) as served:
        reader = couchdb.open_reader(store_at(served.port), page_bytes=60_000)
        plan = reader.plan(ALL, slice_documents=1000)
        assert ids_of(read(patient(reader), plan)) == BODIES.keys()
        reader.close()


@pytest.mark.parametrize("kind", [CouchDBWriter, RevisionKeepingWriter])
def test_link_that_cuts_every_large_answer_lets_a_writer_through(kind: type[CouchDBWriter]) -> None:
    """Bulks become smaller with every cut, and so do look-ups of what is there; later ones are larger again."""
    server = ScriptedCouchDB()
    documents = [msgspec.structs.replace(each, body=b'{"_rev":"1-a",' + each.body[1:]) for each in DOCUMENTS]

    def cutting(request: Request) -> bytes:
        whole = server(request)
        return whole if len(whole) < 2_500 else Cut(whole[:2_500])

    with writing(cutting, kind) as writer:
        ticks = iter(range(1000))
        policy = Policy(patience_s=30, sleep=lambda _: None, clock=lambda: float(next(ticks)), tell=lambda _: None)
        patient_writer = RetryingWriter(writer, policy)
        if kind is CouchDBWriter:
            found = patient_writer.write(documents, replace=False)
            assert {each.id for each in (*found.written, *found.present)} == {each.id for each in documents}
            assert {*patient_writer.stored(documents)} == {each.id for each in documents}
        else:
            patient_writer.write(documents, replace=False)
    assert server.documents.keys() == {each.id for each in documents}


@pytest.mark.parametrize("status", [204, 206])
def test_success_without_a_whole_body_is_no_answer(status: int) -> None:
    """It is Unavailable, not an error of ours, and nothing counts as written."""
    odd = answer(b"", status) if status == 204 else answer([], status)
    with writing(lambda _: odd) as writer, pytest.raises(Unavailable, match="can't be used"):
        writer.write(DOCUMENTS, replace=False)


def results(request: Request) -> list[dict[str, object]]:
    return [{"ok": True, "id": document["_id"], "rev": "1-a"} for document in json.loads(content(request))["docs"]]


def test_results_are_matched_by_id() -> None:
    """In whatever order they come."""
    refused = DOCUMENTS[7].id

    def script(request: Request) -> bytes:
        found = [
            {"id": refused, "error": "doc_validation", "reason": "no"} if each["id"] == refused else each
            for each in results(request)
        ]
        return answer(found[::-1], 201)

    with writing(script) as writer:
        outcome = writer.write(DOCUMENTS, replace=False)
    assert [each.id for each in outcome.rejected] == [refused]
    assert len(outcome.written) == 39


def test_document_without_a_result_is_not_written() -> None:
    """It is put off, and written again."""
    with writing(lambda request: answer(results(request)[:-3], 201)) as writer:
        outcome = writer.write(DOCUMENTS, replace=False)
    assert {each.id for each in outcome.deferred} == {each.id for each in DOCUMENTS[-3:]}
    assert len(outcome.written) == 37
    assert isinstance(outcome.condition, Unavailable)


def test_answer_to_another_request_counts_nothing() -> None:
    """A stale answer of `_bulk_docs` is about documents that weren't sent."""
    stale = answer([{"ok": True, "id": f"guest/{number}", "rev": "1-a"} for number in range(40)], 201)
    with writing(lambda _: stale) as writer, pytest.raises(Unavailable, match="weren't sent"):
        writer.write(DOCUMENTS, replace=False)


@pytest.mark.parametrize("status", [500, 417])
def test_full_disk_of_the_server_rejects_no_document(status: int) -> None:
    """CouchDB answers 500 with a result for each document; those that it stored are written, the others put off."""

    def script(request: Request) -> bytes:
        full = {"error": "internal_server_error", "reason": "No space left on device"}
        items = results(request)
        return answer([*items[:4], *({"id": each["id"], **full} for each in items[4:])], status)

    with writing(script) as writer:
        outcome = writer.write(DOCUMENTS, replace=False)
    assert (len(outcome.written), len(outcome.deferred), outcome.rejected) == (4, 36, ())
    assert isinstance(outcome.condition, Unavailable)
    assert not isinstance(outcome.condition, RequestRefused)


def limited(server: Script, most_bytes: int) -> Script:
    """A proxy that takes no larger requests."""

    def script(request: Request) -> bytes:
        if len(content(request)) > most_bytes:
            return answer(b"<html><h1>413 Request Entity Too Large</h1></html>", 413)
        return server(request)

    return script


@pytest.mark.parametrize("kind", [CouchDBWriter, RevisionKeepingWriter])
def test_requests_with_ids_are_split_where_a_proxy_limits_them(kind: type[CouchDBWriter]) -> None:
    """Comparing what is there, and telling what was stored since a mark."""
    server = ScriptedCouchDB({document.id: document.body for document in DOCUMENTS})
    with writing(limited(server, 900), kind) as writer:
        assert writer.stored(DOCUMENTS).keys() == {document.id for document in DOCUMENTS}
        assert writer.stored_since("0-a", DOCUMENTS) == {document.id for document in DOCUMENTS}
        if isinstance(writer, RevisionKeepingWriter):
            assert len(writer._revisions(DOCUMENTS)) == 40


def test_fetch_is_split_where_a_proxy_limits_it() -> None:
    """All ids of a page in one request would never get through."""
    with serve(limited(ScriptedCouchDB(BODIES), 900)) as served:
        reader = couchdb.open_reader(store_at(served.port), page_bytes=60_000)
        assert ids_of(list(reader.fetch(list(BODIES), None, ALL))) == BODIES.keys()
        reader.close()


def odd(document: Document) -> bytes:
    """A body that can be stored, and not be decoded together with others."""
    return b'{"odd":"\\ud800",' + document.body[1:]


def test_document_fetched_alone_is_never_asked_for_by_a_path() -> None:
    """Behind a proxy that decodes `%2F` every such path is 404, which is no deletion."""
    victim = DOCUMENTS[3]
    server = ScriptedCouchDB({**BODIES, victim.id: odd(victim)})
    with serve(server) as served:
        reader = couchdb.open_reader(store_at(served.port), page_bytes=60_000)
        batches = read(patient(reader), reader.plan(ALL, slice_documents=1000))
        fetched = list(reader.fetch([victim.id], None, ALL))
        assert not [path for path in served.paths if "guest" in path]
        reader.close()
    for found in (batches, fetched):
        (rejection,) = [rejection for batch in found for rejection in batch.rejections]
        assert (rejection.id, rejection.body) == (victim.id, odd(victim))


def test_one_look_that_finds_nothing_is_not_believed() -> None:
    """A document that was there a moment ago is looked for twice."""
    server, victim = ScriptedCouchDB(BODIES), DOCUMENTS[3].id
    answers = iter([answer({"total_rows": 400, "offset": None, "rows": [{"key": victim, "error": "not_found"}]})])
    with serve(lambda request: next(answers, None) or server(request)) as served:
        reader = CouchDBReader(Client(store_at(served.port)), page_bytes=60_000)
        assert ids_of(list(reader.fetch([victim], None, ALL))) == {victim}
        reader.close()
