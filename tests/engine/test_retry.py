"""Rejected documents that are retried: some at a time, each time committed before the next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from migrator.activations.accounts import Counts
from migrator.activations.document import Document, Form
from migrator.activations.selection import Selection
from migrator.adapters.base import Description, Plan, Slice, WriteOutcome
from migrator.adapters.memory import MemoryStore, MemoryWriter
from migrator.engine import retry
from migrator.engine.retry import RetryOutcome, retry_set_aside
from migrator.engine.state.checkpoint import Checkpoint, Commit, SetAside
from migrator.errors import Interrupted, NothingAccepted
from migrator.events.watching import Stop
from migrator.testing.documents import activation
from tests.support.documents import in_elasticsearch
from tests.support.worlds import SPEC

STORE = Description(location="memory:a", product="memory", version="1", identity="a")
DOCUMENTS = sorted((activation(number) for number in range(7)), key=lambda each: each.id)
SIZE = max(len(each.body) for each in DOCUMENTS)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Iterator[Checkpoint]:
    """Seven rejected documents."""
    found = Checkpoint(tmp_path / "job.sqlite")
    run = found.begin_run(SPEC, STORE, STORE)
    plan = Plan(slices=(Slice(key="all", spec={}),), snapshot=1)
    found.begin(plan, Selection(), None, None, run=run, planned_s=1.0, full=True)
    kept = [
        SetAside(kind="rejected", id=each.id, namespace="guest", reason="no", body=each.body, form=each.form)
        for each in DOCUMENTS
    ]
    counts = {"guest": Counts(read=7, rejected=7)}
    found.commit([Commit(slice=1, position=1, counts=counts, set_aside=kept)], run=run, ended=[1])
    found.complete()
    yield found
    found.close()


class Writer(MemoryWriter):
    """Notes how many documents are written at once, and does with some of them what a test says."""

    def __init__(self, *, rejects: Sequence[str] = (), differs: Sequence[str] = (), stop: Stop | None = None) -> None:
        super().__init__(MemoryStore("b", Form.ELASTICSEARCH))
        self.at_once: list[int] = []
        self.flushes = 0
        self._rejects = rejects
        self._differs = differs
        self._stop = stop

    def write(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
        assert not replace
        self.at_once.append(len(documents))
        if self._stop and len(self.at_once) == 2:
            self._stop.ask(143)
        good = [each for each in documents if each.id not in (*self._rejects, *self._differs)]
        return super().write(good, replace=False) + WriteOutcome(
            rejected=tuple(each.rejection("still no") for each in documents if each.id in self._rejects),
            differing=tuple(each for each in documents if each.id in self._differs),
        )

    def flush(self) -> None:
        self.flushes += 1


@pytest.mark.parametrize(
    ("documents", "size_bytes", "at_once"),
    [
        (500, 4_000_000, [7]),
        (7, 4_000_000, [7]),
        (6, 4_000_000, [6, 1]),
        (3, 4_000_000, [3, 3, 1]),
        (1, 4_000_000, [1] * 7),
        (500, 2 * SIZE + 1, [3, 3, 1]),
        (500, SIZE + 1, [2, 2, 2, 1]),
        (500, 1, [1] * 7),
    ],
)
def test_so_many_documents_or_bytes_are_tried_at_once(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch, documents: int, size_bytes: int, at_once: list[int]
) -> None:
    """And made durable before they leave the list."""
    monkeypatch.setattr(retry, "_CHUNK_DOCUMENTS", documents)
    monkeypatch.setattr(retry, "_CHUNK_BYTES", size_bytes)
    writer = Writer()
    outcome = retry_set_aside(writer, checkpoint, run=2, stop=Stop())
    assert outcome == RetryOutcome(tried=7, written=7, present=0, differing=0, rejected=0)
    assert (writer.at_once, writer.flushes, outcome.exit_code) == (at_once, len(at_once), 0)
    assert checkpoint.aside.count("rejected") == 0
    assert checkpoint.counts == {"guest": Counts(read=7, written=7)}


def test_each_document_goes_where_it_belongs(checkpoint: Checkpoint) -> None:
    """Over, or it stays rejected with its newest reason, or it is one that differs."""
    rejected, differing = DOCUMENTS[1], DOCUMENTS[4]
    writer = Writer(rejects=[rejected.id], differs=[differing.id])
    writer.write([in_elasticsearch(DOCUMENTS[6].id, DOCUMENTS[6].body)], replace=False)  # as another job left it
    outcome = retry_set_aside(writer, checkpoint, run=2, stop=Stop())
    assert outcome == RetryOutcome(tried=7, written=4, present=1, differing=1, rejected=1)
    assert outcome.exit_code == 3
    (stays,) = checkpoint.aside.documents("rejected")
    assert (stays.id, stays.reason, stays.body) == (rejected.id, "still no", rejected.body)
    (other,) = checkpoint.aside.documents("differing")
    assert (other.id, other.reason, other.body) == (differing.id, "another version is in the target", differing.body)
    assert checkpoint.counts == {"guest": Counts(read=7, written=4, present=1, differing=1, rejected=1)}


@pytest.mark.parametrize(("rejected", "differing"), [(0, 0), (1, 0), (0, 1)])
def test_exit_code_tells_whether_all_went_over(rejected: int, differing: int) -> None:
    found = RetryOutcome(tried=2, written=1, present=1, differing=differing, rejected=rejected)
    assert found.exit_code == (3 if rejected or differing else 0)


def test_what_was_tried_before_a_stop_is_kept(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of the chunk in which the request came; the exit code is that of the signal."""
    monkeypatch.setattr(retry, "_CHUNK_DOCUMENTS", 2)
    stop = Stop()
    with pytest.raises(Interrupted) as raised:
        retry_set_aside(Writer(stop=stop), checkpoint, run=2, stop=stop)
    assert raised.value.exit_code == 143
    assert [each.id for each in checkpoint.aside.documents("rejected")] == [each.id for each in DOCUMENTS[4:]]
    assert checkpoint.counts == {"guest": Counts(read=7, written=4, rejected=3)}


def test_target_that_takes_nothing_leaves_all_as_it_was(checkpoint: Checkpoint) -> None:
    class Closed(Writer):
        def write(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
            raise NothingAccepted("read-only")

    outcome = retry_set_aside(Closed(), checkpoint, run=2, stop=Stop())
    assert outcome == RetryOutcome(tried=7, written=0, present=0, differing=0, rejected=7)
    assert checkpoint.aside.reasons("rejected") == [("read-only", 7)]
    assert [each.body for each in checkpoint.aside.documents("rejected")] == [each.body for each in DOCUMENTS]
