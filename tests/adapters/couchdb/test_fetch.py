"""Documents by id from CouchDB, where a real server on this machine can't show it: a scripted one plays the bytes."""

from __future__ import annotations

import json

import pytest

from migrator.activations.selection import Selection
from migrator.adapters import couchdb
from migrator.adapters.base import Batch
from migrator.errors import Unavailable
from migrator.settings.stores import Location, Store
from migrator.testing.documents import activation
from tests.support.scripted import Request, Script, answer, serve

DOCUMENTS = {document.id: document.body for document in (activation(number) for number in range(250))}
VICTIM = activation(77).id


def fetch(script: Script, *, page_bytes: int = 1_000_000) -> list[Batch]:
    with serve(script) as server:
        location = Location(kind="couchdb", hosts=(("127.0.0.1", server.port),), database="acts")
        reader = couchdb.open_reader(Store(location=location), page_bytes=page_bytes)
        try:
            return list(reader.fetch(list(DOCUMENTS), None, Selection()))
        finally:
            reader.close()


def script_of(documents: dict[str, bytes]) -> Script:
    """A server that holds documents with whatever bytes."""

    def script(request: Request) -> bytes:
        assert "content-encoding" not in request.headers  # the SDK would compress what it sends
        if request.path == "/acts/_all_docs":
            rows = [
                b'{"id":%(id)s,"key":%(id)s,"value":{"rev":"1-a"},"doc":%(doc)s}'
                % {b"id": json.dumps(id).encode(), b"doc": documents[id]}
                if id in documents
                else b'{"key":%s,"error":"not_found"}' % json.dumps(id).encode()
                for id in json.loads(request.body)["keys"]
            ]
            return answer(b'{"total_rows":250,"rows":[' + b",".join(rows) + b"]}")
        return answer(documents[request.path.removeprefix("/acts/")])

    return script


@pytest.mark.parametrize("odd", [b'{"odd":"\\ud800",', b'{"deep":' + b"[" * 5000 + b"]" * 5000 + b","])
def test_document_that_cannot_be_decoded_stands_alone(odd: bytes) -> None:
    """A lone surrogate, or nesting too deep, rejects its document with its bytes; the others are given."""
    body = odd + DOCUMENTS[VICTIM][1:]
    batches = fetch(script_of({**DOCUMENTS, VICTIM: body}))
    (rejection,) = [rejection for batch in batches for rejection in batch.rejections]
    assert (rejection.id, rejection.body) == (VICTIM, body)
    assert {document.id for batch in batches for document in batch.documents} == DOCUMENTS.keys() - {VICTIM}
    assert batches[-1].position == 250


def test_pages_keep_to_their_bound() -> None:
    """Large documents are requested a few at a time; one is taken at any size."""
    large = {id: b'{"x":"%s",%s' % (b"x" * 30_000, body[1:]) for id, body in DOCUMENTS.items()}
    batches = fetch(script_of(large), page_bytes=150_000)
    assert {document.id for batch in batches for document in batch.documents} == DOCUMENTS.keys()
    assert max(batch.size_bytes for batch in batches if len(batch.documents) > 1) <= 600_000


@pytest.mark.parametrize(
    "rows",
    [
        [{"key": "another", "error": "not_found"}] * 100,
        [{"key": id, "id": id, "value": {"rev": "1-a"}, "doc": None} for id in [*DOCUMENTS][:100]],
        [{"key": id, "error": "internal_error"} for id in [*DOCUMENTS][:100]],
    ],
    ids=["other ids", "no document", "an error"],
)
def test_an_answer_that_cannot_be_trusted_is_no_answer(rows: list[object]) -> None:
    """Rows of other ids, of documents that are there but don't come, or that failed."""
    with pytest.raises(Unavailable, match="can't be used"):
        fetch(lambda request: answer({"rows": rows}))
