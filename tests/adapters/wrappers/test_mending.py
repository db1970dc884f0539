"""Documents under ids that OpenWhisk doesn't look up: told, and mended where that is requested."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from migrator.activations.document import Form
from migrator.activations.selection import Selection, SelectionSpec
from migrator.adapters.memory import MemoryReader, MemoryStore, _stores, memory_store
from migrator.adapters.wrappers.mending import MendingReader
from migrator.api.copy import copy
from migrator.api.verify import verify
from migrator.commands.main import migrator
from migrator.demo.servers import Server
from migrator.errors import UsageError
from migrator.testing.documents import activation, activation_id
from tests.support.servers import request

COUNT = 12


def put(store: MemoryStore, number: int, id: str, **changes: Any) -> None:
    store.put(id, json.dumps({**json.loads(activation(number, **changes).body), "_id": id}).encode())


@pytest.fixture
def source() -> Iterator[MemoryStore]:
    """Twelve activations: under the right ids, under the activation id alone, and under one that a server made."""
    _stores.clear()
    store = memory_store("source")
    for number in range(COUNT):
        id = activation_id(number)
        put(store, number, (f"guest/{id}", id, f"AXk{number}")[number % 3])
    yield store
    _stores.clear()


def test_odd_ids_are_told_and_stay(source: MemoryStore, tmp_path: Path) -> None:
    """A remark in the report; copied as they are, byte for byte."""
    report = copy("memory:source", "memory:target", state=tmp_path)
    assert (report.exit_code, report.totals.written, dict(report.remarks)) == (0, COUNT, {"odd-id": 8})
    assert memory_store("target").entries.keys() == source.entries.keys()
    done = CliRunner().invoke(migrator, ["status", report.job, "--state", str(tmp_path)])
    assert "an id that OpenWhisk doesn't look up; --mend-ids" in " ".join(done.stdout.split())


@pytest.mark.parametrize("form", list(Form))
def test_mended_ids_are_those_that_openwhisk_looks_up(source: MemoryStore, tmp_path: Path, form: Form) -> None:
    """In either form, with the id in the document; the accounts add up, and a verification agrees."""
    memory_store("target", form)
    report = copy("memory:source", "memory:target", state=tmp_path, mend_ids=True)
    assert (report.exit_code, report.totals.written, dict(report.remarks)) == (0, COUNT, {"mended-id": 8})
    assert report.totals.adds_up
    found = memory_store("target").entries
    assert set(found) == {f"guest/{activation_id(number)}" for number in range(COUNT)}
    if form is Form.COUCHDB:
        assert all(json.loads(entry.body or b"")["_id"] == id for id, entry in found.items())
    assert verify("memory:source", "memory:target", state=tmp_path, mend_ids=True).exit_code == 0
    assert verify("memory:source", "memory:target", state=tmp_path).exit_code == 4


def test_verification_looks_mended_ids_up_again(source: MemoryStore, tmp_path: Path) -> None:
    """What differs is confirmed under the mended id, wherever the source has it."""
    copy("memory:source", "memory:target", state=tmp_path, mend_ids=True)
    target = memory_store("target")
    for number in range(3):
        put(target, number, f"guest/{activation_id(number)}", logs=["another"])
    target.put(f"guest/{activation_id(4)}", None)
    found = verify("memory:source", "memory:target", state=tmp_path, mend_ids=True)
    assert (found.totals.different, found.totals.missing, found.totals.extra) == (3, 1, 0)
    assert found.mend is not None
    assert all(each.options["mend_ids"] for each in (found.request, found.listing, found.mend))


def test_mended_ids_are_not_looked_up_for_little(source: MemoryStore) -> None:
    """One that isn't there is looked for in everything."""
    assert MemoryReader(source).abilities.looks_up
    assert not MendingReader(MemoryReader(source)).abilities.looks_up


def test_selected_namespace_is_found_under_any_id(source: MemoryStore, tmp_path: Path) -> None:
    put(source, 50, "AXkother", namespace="other")
    report = copy(
        "memory:source", "memory:target", state=tmp_path, mend_ids=True, wanted=SelectionSpec(namespaces=("guest",))
    )
    assert (report.totals.written, report.totals.filtered) == (COUNT, 1)


def test_two_under_one_mended_id_are_a_conflict(source: MemoryStore, tmp_path: Path) -> None:
    """The same twice is present, another version differs and is kept with the job."""
    put(source, 0, activation_id(0))
    put(source, 3, activation_id(3), logs=["another"])
    report = copy("memory:source", "memory:target", state=tmp_path, mend_ids=True)
    totals = report.totals
    assert (totals.written, totals.present, totals.differing, report.exit_code) == (COUNT, 1, 1, 3)


def test_each_batch_has_an_id_once_and_reading_goes_on_at_every_position(source: MemoryStore) -> None:
    for number in range(COUNT):
        put(source, number, f"again{number}")
    reader = MendingReader(MemoryReader(source, page_documents=7))
    (slice,) = reader.plan(Selection(), slice_documents=100).slices
    batches = list(reader.read(slice, None, Selection()))
    for number, batch in enumerate(batches):
        ids = [document.id for document in batch.documents]
        assert len(ids) == len(set(ids))
        rest = [each.id for later in batches[number + 1 :] for each in later.documents]
        again = [each.id for later in reader.read(slice, batch.position, Selection()) for each in later.documents]
        assert again[len(again) - len(rest) :] == rest
    assert sum(len(batch.documents) for batch in batches) == 2 * COUNT


def test_job_that_was_begun_without_is_not_resumed(source: MemoryStore, tmp_path: Path) -> None:
    """Half finished it is refused; complete it starts over."""
    source.put("broken", b'{"activationId":1}')
    with pytest.raises(Exception, match="`max_rejects=0`"):
        copy("memory:source", "memory:target", state=tmp_path, max_rejects=0)
    with pytest.raises(UsageError, match="`mend_ids` None instead of True"):
        copy("memory:source", "memory:target", state=tmp_path, mend_ids=True)
    source.put("broken", None)
    copy("memory:source", "memory:target", state=tmp_path)
    report = copy("memory:source", "memory:target", state=tmp_path, mend_ids=True)
    assert (report.totals.read, report.totals.written) == (COUNT, 8)


@pytest.mark.servers
def test_ids_that_elasticsearch_made_are_mended(
    elasticsearch_server: Server, index_prefix: str, tmp_path: Path
) -> None:
    """A document that was indexed without an id; on a real server, there and back."""
    _stores.clear()
    url = f"{elasticsearch_server.url}/{index_prefix}guest/_doc"
    for number in range(5):
        request("POST", url, json.loads(activation(number, form=Form.ELASTICSEARCH).body))
    source = f"elasticsearch://127.0.0.1:{elasticsearch_server.port}/?index-pattern={index_prefix}%25s"
    assert dict(copy(source, "memory:as-they-are", state=tmp_path).remarks) == {"odd-id": 5}
    report = copy(source, "memory:mended", state=tmp_path, mend_ids=True, wanted=SelectionSpec(namespaces=("guest",)))
    assert (report.exit_code, report.totals.written) == (0, 5)
    assert set(memory_store("mended").entries) == {activation(number).id for number in range(5)}
    memory_store("mended").put(activation(2).id, activation(2, logs=["another"]).body)
    found = verify(source, "memory:mended", state=tmp_path, mend_ids=True)
    assert (found.totals.different, found.totals.missing, found.totals.extra) == (1, 0, 0)
