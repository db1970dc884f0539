"""What every writer must do, whatever store it writes.

An adapter's test subclasses `WriterConformance` and supplies hooks that look at the store *past* the adapter.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from migrator.activations import comparing
from migrator.activations.document import Document, Form
from migrator.activations.selection import Selection
from migrator.adapters.base import (
    Completion,
    Description,
    SupportsBuffer,
    SupportsFence,
    SupportsPreflight,
    SupportsReceipts,
    SupportsStored,
    WriteOutcome,
    Writer,
)
from migrator.testing.documents import activation

COMPLETION = Completion(
    source=Description(location="memory:source", product="memory", version="1"),
    form=None,
    selection=Selection(),
    snapshot=None,
    snapshot_s=None,
    began_s=0.0,
    receipts=(),
    counts={},
    deleted=0,
    warnings=(),
)
"""What a writer learns at the end of a job."""


class WriterConformance:
    """What holds for every writer, also for one whose every run makes a new piece (a backup, a file).

    Subclasses give the hooks below and the fixture `writer`, whose target is empty and whose job is prepared.
    """

    form: Form

    def fetch(self, document: Document) -> Any:
        """What is stored, past the adapter: parsed JSON without id and revision; None where there is nothing."""
        raise NotImplementedError

    def settle(self, writer: Writer) -> None:
        """Make what was written final, so that it can be fetched."""
        writer.flush()
        writer.finish(COMPLETION)

    @pytest.fixture
    def writer(self) -> Writer:
        raise NotImplementedError

    # -- helpers ------------------------------------------------------------------------------------------------

    def some(self, count: int, namespace: str = "guest", first: int = 0, **changes: Any) -> list[Document]:
        return [activation(first + number, namespace, form=self.form, **changes) for number in range(count)]

    @staticmethod
    def content(document: Document) -> Any:
        return {name: value for name, value in json.loads(document.body).items() if name not in ("_id", "_rev")}

    @staticmethod
    def assert_holds_every_document(outcome: WriteOutcome, documents: Sequence[Document]) -> None:
        accounted = [
            *(each.id for each in outcome.written),
            *(each.id for each in outcome.present),
            *(each.id for each in outcome.differing),
            *(each.id for each in outcome.rejected),
            *(each.id for each in outcome.deferred),
        ]
        assert sorted(accounted) == sorted(document.id for document in documents)

    # -- writing ------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("count", [0, 1, 250])
    def test_written_documents_are_there(self, writer: Writer, count: int) -> None:
        """What is accounted as written can be fetched past the adapter, field by field."""
        documents = self.some(count)
        outcome = writer.write(documents, replace=False)
        self.settle(writer)
        assert len(outcome.written) == count
        self.assert_holds_every_document(outcome, documents)
        for document in documents:
            assert self.fetch(document) == self.content(document)

    def test_odd_text_is_stored_exactly(self, writer: Writer) -> None:
        """Control characters, line separators, emoji and quotes arrive as they were."""
        text = 'tab\t nul\u0000 line\u2028sep "quoted" back\\slash \x7f emoji😀 ünïcode \r\n end'
        documents = self.some(1, logs=[text])
        writer.write(documents, replace=False)
        self.settle(writer)
        assert self.fetch(documents[0])["logs"] == [text]

    def test_namespaces_of_every_spelling_are_stored(self, writer: Writer) -> None:
        """What OpenWhisk stores under its namespaces is stored."""
        names = ["guest", "Bob_Upper-CASE", "bob_upper-case", "alice@example.com_dev", "org-a.b-c", "a..b", "a&b", "ä"]
        documents = [document for at, name in enumerate(names) for document in self.some(1, name, first=at)]
        outcome = writer.write(documents, replace=False)
        assert len(outcome.written) == len(names), (outcome.rejected, outcome.condition)
        self.settle(writer)
        for document in documents:
            assert self.fetch(document) == self.content(document)

    def test_large_documents_are_stored(self, writer: Writer) -> None:
        """A write may hold more bytes than one request takes."""
        documents = [*self.some(10, logs=["y" * 900_000]), *self.some(10, first=20)]
        outcome = writer.write(documents, replace=False)
        assert len(outcome.written) == 20
        self.settle(writer)
        assert len(self.fetch(documents[3])["logs"][0]) == 900_000

    def test_pretty_printed_body_is_stored(self, writer: Writer) -> None:
        """White space and line ends between the tokens of a body do no harm."""
        (document,) = self.some(1)
        pretty = json.dumps(json.loads(document.body), indent=2).encode()
        spread = Document(document.id, document.form, pretty, document.namespace, document.name, document.start_ms)
        outcome = writer.write([spread], replace=False)
        assert len(outcome.written) == 1
        self.settle(writer)
        assert self.fetch(document) == self.content(document)

    # -- receipts -----------------------------------------------------------------------------------------------

    def test_what_is_due_can_be_flushed_and_continued(self, writer: Writer) -> None:
        """Prepared tokens and receipts survive a checkpoint, and a job goes on by them."""
        prepared = writer.prepare()
        writer.write(self.some(3), replace=False)
        if isinstance(writer, SupportsBuffer):
            assert writer.due() in (True, False)
        receipt = json.loads(json.dumps(writer.flush()))
        assert (receipt is not None) is isinstance(writer, SupportsReceipts)
        if isinstance(writer, SupportsReceipts):
            assert writer.resume(json.loads(json.dumps(prepared)), [(0, receipt)]) is None

    # -- the store itself ---------------------------------------------------------------------------------------

    def test_description_names_the_store(self, writer: Writer) -> None:
        """Location, product and version are there; what the identity names stays the same by writing."""
        before = writer.describe()
        writer.write(self.some(1), replace=False)
        after = writer.describe()
        assert before.location == after.location
        assert before.product
        assert before.version

    def test_preflight_finds_nothing_in_a_healthy_store(self, writer: Writer) -> None:
        """Where all is well there is nothing to tell."""
        if isinstance(writer, SupportsPreflight):
            assert list(writer.preflight(["guest"])) == []


class StoreWriterConformance(WriterConformance):
    """What holds besides for the writer of a store that keeps one version of each document under its id."""

    def test_writing_again_changes_nothing(self, writer: Writer) -> None:
        """The same documents once more are present."""
        documents = self.some(20)
        writer.write(documents, replace=False)
        for replace in (False, True):
            outcome = writer.write(documents, replace=replace)
            assert len(outcome.present) == 20
            self.assert_holds_every_document(outcome, documents)

    def test_another_version_stays(self, writer: Writer) -> None:
        """Without `replace` a differing document isn't touched; the others beside it are written."""
        (old,) = self.some(1, logs=["old"])
        writer.write([old], replace=False)
        documents = [*self.some(1, logs=["new"]), *self.some(3, first=10)]
        outcome = writer.write(documents, replace=False)
        assert [each.id for each in outcome.differing] == [old.id]
        assert len(outcome.written) == 3
        self.assert_holds_every_document(outcome, documents)
        assert self.fetch(old)["logs"] == ["old"]

    def test_replace_puts_the_new_version(self, writer: Writer) -> None:
        """With `replace` the newer version is there afterwards, and equal ones count as present."""
        writer.write([*self.some(1, logs=["old"]), *self.some(1, first=5)], replace=False)
        documents = [*self.some(1, logs=["new"]), *self.some(1, first=5), *self.some(1, first=9)]
        outcome = writer.write(documents, replace=True)
        assert {each.id for each in outcome.written} == {documents[0].id, documents[2].id}
        assert [each.id for each in outcome.present] == [documents[1].id]
        self.assert_holds_every_document(outcome, documents)
        assert self.fetch(documents[0])["logs"] == ["new"]

    def test_stored_gives_what_is_there(self, writer: Writer) -> None:
        """Documents that are there come back equal, the others are absent."""
        documents = self.some(5)
        writer.write(documents[:3], replace=False)
        assert isinstance(writer, SupportsStored)
        found = writer.stored([*documents, *self.some(1, "never-written", first=50)])
        assert sorted(found) == sorted(document.id for document in documents[:3])
        for document in documents[:3]:
            assert comparing.same(found[document.id], document, doubles=writer.abilities.doubles)

    def test_stored_since_tells_new_from_old(self, writer: Writer) -> None:
        """Documents written after a mark are told from those that were there before it."""
        before = self.some(3)
        writer.write(before, replace=False)
        assert isinstance(writer, SupportsStored)
        mark = json.loads(json.dumps(writer.mark()))
        after = [*self.some(2, first=10), *self.some(1, "appeared", first=20)]
        writer.write(after, replace=False)
        never = self.some(1, first=30)
        assert writer.stored_since(mark, [*before, *after, *never]) == {document.id for document in after}

    def test_stored_since_sees_replaced_documents(self, writer: Writer) -> None:
        """A document that was there before the mark and was replaced after it counts as stored since."""
        writer.write(self.some(2, logs=["old"]), replace=False)
        assert isinstance(writer, SupportsStored)
        mark = writer.mark()
        changed = self.some(1, logs=["new"])
        writer.write(changed, replace=True)
        assert writer.stored_since(mark, self.some(2)) == {changed[0].id}

    def test_an_older_attempt_replaces_what_was_there_before_it_and_nothing_newer(self, writer: Writer) -> None:
        """Whoever took a mark, slept and wakes up can't put an older version back over what came meanwhile."""
        if not (isinstance(writer, SupportsFence) and isinstance(writer, SupportsStored)):
            return
        writer.write([*self.some(1, logs=["before"]), *self.some(1, first=5, logs=["before"])], replace=False)
        mark = json.loads(json.dumps(writer.mark()))
        newer = self.some(1, logs=["newer"])
        writer.write(newer, replace=True)
        documents = [
            *self.some(1, logs=["slept"]),
            *self.some(1, first=5, logs=["slept"]),
            *self.some(1, first=9, logs=["slept"]),
        ]
        outcome = writer.replace_before(documents, mark)
        self.assert_holds_every_document(outcome, documents)
        assert [each.id for each in outcome.differing] == [documents[0].id]
        assert {each.id for each in outcome.written} == {documents[1].id, documents[2].id}
        assert self.fetch(documents[0])["logs"] == ["newer"]
        assert self.fetch(documents[1])["logs"] == ["slept"]
