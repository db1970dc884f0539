"""What every reader's pages do with documents that can't be stored anywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.activations.document import Document, Form, Given, Rejection, read_document, read_plain_documents
from migrator.activations.selection import Selection, literal
from migrator.adapters.memory import _stores, memory_store
from migrator.adapters.shared.paging import Page
from migrator.api.copy import copy
from migrator.engine.state.jobs import find_job, view_checkpoint
from migrator.testing.documents import activation


def test_id_with_a_lone_surrogate_is_rejected_and_kept(tmp_path: Path) -> None:
    """No store, no checkpoint and no terminal takes such an id: it is kept with escapes, and the others go over."""
    _stores.clear()
    source = memory_store("odd-ids")
    source.put("guest/\udcff", activation(1).body)
    source.put(activation(2, "team").id, activation(2, "team").body)
    report = copy("memory:odd-ids", "memory:target", state=tmp_path, retry_for_s=0)
    assert (report.totals.written, report.totals.rejected, report.exit_code) == (1, 1, 3)
    (kept,) = view_checkpoint(find_job(tmp_path, report.job)).aside.documents("rejected")
    assert kept.id == "guest/\\udcff"
    assert kept.body == activation(1).body


def test_rejections_and_namespaces_with_lone_surrogates_can_be_stored() -> None:
    page = Page(Form.COUCHDB, Selection())
    page.reject(Rejection("\ud800/a", "broken", b"", "\ud800"))
    page.filter("\ud800")
    batch = page.batch(None, size_bytes=0)
    assert [rejection.id.encode() for rejection in batch.rejections] == [b"\\ud800/a"]
    assert batch.filtered == {"\\ud800": 1}


_PLAIN = json.loads(activation(1).body)
_BODIES: list[tuple[str, bytes]] = [
    ("guest/" + _PLAIN["activationId"], activation(1).body),
    ("team/" + _PLAIN["activationId"], json.dumps(_PLAIN | {"namespace": "team"}).encode()),
    ("no id that OpenWhisk looks up", activation(2).body),
    ("guest/\udcff", activation(3).body),
    ("mañana/" + _PLAIN["activationId"], json.dumps(_PLAIN | {"namespace": "mañana"}).encode()),
    ("guest/attached", json.dumps(_PLAIN | {"_attachments": {}}).encode()),
    ("guest/in conflict", json.dumps(_PLAIN | {"_conflicts": ["1-a"]}).encode()),
    (
        "owner/" + _PLAIN["activationId"],
        json.dumps(_PLAIN | {"namespace": "owner", "annotations": {"path": "guest/other"}}).encode(),
    ),
    ("guest/started", json.dumps(_PLAIN | {"start": "2026-11-26T00:00:00Z"}).encode()),
    ("guest/unnamed", json.dumps(_PLAIN | {"name": None}).encode()),
    ("guest/other", b'{"entityType":"action"}'),
    ("_design/views", b"{}"),
    ("guest/cut off", activation(4).body[:-1]),
    ("guest/not UTF-8", b'{"a":"\xff"}'),
    ("guest/an array", b"[1]"),
]


@given(
    found=st.lists(st.tuples(st.sampled_from(_BODIES), st.sampled_from([None, "one", "other"])), max_size=20),
    form=st.sampled_from(Form),
    selection=st.sampled_from(
        [
            Selection(),
            Selection(namespaces=(literal("guest"),)),
            Selection(names=(literal("guest/hello"),)),
            Selection(since_ms=1),
            Selection(until_ms=1),
        ]
    ),
)
def test_documents_that_are_taken_together_become_what_each_becomes_by_itself(
    found: list[tuple[tuple[str, bytes], str | None]], form: Form, selection: Selection
) -> None:
    together, by_themselves = Page(form, selection), Page(form, selection)
    together.take_all((id, body, index) for (id, body), index in found)
    for (id, body), index in found:
        by_themselves.take(id, body, index=index)
    assert together.batch(1, size_bytes=2) == by_themselves.batch(1, size_bytes=2)


def test_most_documents_need_no_closer_look() -> None:
    """What is taken together is read at once: only a remark, a fault, a stranger or an odd id is looked at again."""
    for form, expected in ((Form.COUCHDB, ["guest", "team", "owner"]), (Form.ELASTICSEARCH, ["owner"])):
        all_given: list[Given] = [(id, body, None) for id, body in _BODIES]
        plain = list(read_plain_documents(all_given, form))
        assert [document.namespace for document in plain if isinstance(document, Document)] == expected
        for (id, body), document in zip(_BODIES, plain, strict=True):
            assert document == ((id, body, None) if isinstance(document, tuple) else read_document(id, body, form))


def test_documents_are_read_as_they_are_given() -> None:
    """So that the bytes of each are looked at while they are at hand, and none is held for the others."""
    coming: Iterator[Given] = iter([(each.id, each.body, None) for each in map(activation, range(3))])
    plain = read_plain_documents(coming, Form.COUCHDB)
    assert next(plain) == activation(0)
    assert [id for id, _, _ in coming] == [activation(1).id, activation(2).id]


def test_a_body_may_name_its_document() -> None:
    """Whether the header is an ordinary one or not; a body that names none is no document."""
    plain, remarked = activation(1), activation(2)
    odd = msgspec.json.encode(msgspec.json.decode(remarked.body) | {"_conflicts": ["1-a"]})
    named, told = Page(Form.COUCHDB, Selection()), Page(Form.COUCHDB, Selection())
    named.take_all([(None, plain.body, None), (None, odd, None)])
    told.take_all([(plain.id, plain.body, None), (remarked.id, odd, None)])
    assert named.batch(1, size_bytes=2) == told.batch(1, size_bytes=2)
    assert [each.id for each in named.batch(1, size_bytes=2).documents] == [plain.id, remarked.id]
    with pytest.raises(msgspec.ValidationError, match="_id"):
        named.take_all([(None, b'{"entityType":"action"}', None)])
