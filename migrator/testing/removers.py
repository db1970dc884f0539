"""What every remover must do, whatever store it removes from.

An adapter's test subclasses `RemoverConformance` and supplies hooks that put and look *past* the adapter.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from migrator.activations.document import Document, Form
from migrator.adapters.removal import Address, Change, ChangeOutcome, Held, Remover
from migrator.testing.documents import activation


class RemoverConformance:
    """What holds for every remover. Subclasses give the hooks below and the fixture `remover`, whose store is empty."""

    form: Form

    def put(self, documents: Sequence[Document]) -> None:
        """Store documents past the adapter, replacing what is there."""
        raise NotImplementedError

    def fetch(self, document: Document) -> Any:
        """What is stored, past the adapter: parsed JSON without id and revision; None where there is nothing."""
        raise NotImplementedError

    def delete(self, document: Document) -> None:
        """Delete a document past the adapter."""
        raise NotImplementedError

    def address(self, document: Document) -> Address:
        """Where a document is stored."""
        return Address(document.id)

    @pytest.fixture
    def remover(self) -> Remover:
        raise NotImplementedError

    # -- helpers ------------------------------------------------------------------------------------------------

    def some(self, count: int, first: int = 0, **changes: Any) -> list[Document]:
        return [activation(first + number, form=self.form, **changes) for number in range(count)]

    def stored(self, remover: Remover, documents: Sequence[Document]) -> list[Held]:
        """Documents that are put and looked at, in their order."""
        self.put(documents)
        held = {each.document.id: each for each in self.look(remover, documents)}
        return [held[document.id] for document in documents]

    def look(self, remover: Remover, documents: Sequence[Document]) -> Sequence[Held]:
        return remover.look([self.address(document) for document in documents])

    @staticmethod
    def assert_holds_every_change(outcome: ChangeOutcome, changes: Sequence[Change]) -> None:
        refused = [change for change, _ in outcome.refused]
        accounted = [*outcome.done, *outcome.outdated, *refused, *outcome.unknown]
        assert sorted(each.held.document.id for each in accounted) == sorted(each.held.document.id for each in changes)

    # -- looking ------------------------------------------------------------------------------------------------

    def test_a_look_gives_what_the_store_holds(self, remover: Remover) -> None:
        """Every document with its content and a version; what isn't there is left out."""
        documents = self.some(5)
        self.put(documents)
        held = self.look(remover, [*documents, *self.some(2, first=100)])
        assert {each.document.id for each in held} == {document.id for document in documents}
        for each in held:
            assert each.version is not None
            assert each.document.start_ms == next(d.start_ms for d in documents if d.id == each.document.id)
            assert json.loads(each.document.body)["activationId"] in each.document.id

    def test_a_look_at_nothing_asks_nothing(self, remover: Remover) -> None:
        """No addresses, no documents."""
        assert list(remover.look([])) == []

    def test_versions_differ_after_a_change(self, remover: Remover) -> None:
        """A document that was written again, even with the same content, has another version."""
        (document,) = self.some(1)
        (before,) = self.stored(remover, [document])
        (after,) = self.stored(remover, self.some(1, logs=["another"]))
        assert before.version != after.version

    # -- removing -----------------------------------------------------------------------------------------------

    def test_removes_what_was_looked_at_and_nothing_else(self, remover: Remover) -> None:
        """The others stay as they are."""
        documents = self.some(6)
        changes = [Change(held=each) for each in self.stored(remover, documents)[:4]]
        outcome = remover.change(changes)
        self.assert_holds_every_change(outcome, changes)
        assert len(outcome.done) == 4
        assert [self.fetch(document) is None for document in documents] == [True] * 4 + [False] * 2
        assert {each.document.id for each in self.look(remover, documents)} == {each.id for each in documents[4:]}

    def test_a_document_that_was_changed_since_stays(self, remover: Remover) -> None:
        """Another version is there: it is outdated, and the store holds the new one."""
        documents = self.some(3)
        held = self.stored(remover, documents)
        self.put(self.some(1, first=1, logs=["written again"]))
        outcome = remover.change([Change(held=each) for each in held])
        assert [each.held.document.id for each in outcome.outdated] == [documents[1].id]
        assert len(outcome.done) == 2
        assert self.fetch(documents[1])["logs"] == ["written again"]

    def test_a_document_that_was_deleted_and_written_again_stays(self, remover: Remover) -> None:
        """The same id, another life: the version of before is none of the new one."""
        (document,) = self.some(1)
        (held,) = self.stored(remover, [document])
        self.delete(document)
        self.put(self.some(1, logs=["another life"]))
        outcome = remover.change([Change(held=held)])
        assert [each.held.document.id for each in outcome.outdated] == [document.id]
        assert self.fetch(document)["logs"] == ["another life"]

    def test_what_is_gone_already_is_not_done(self, remover: Remover) -> None:
        """Somebody else deleted it."""
        documents = self.some(2)
        held = self.stored(remover, documents)
        self.delete(documents[0])
        outcome = remover.change([Change(held=each) for each in held])
        assert [each.held.document.id for each in outcome.outdated] == [documents[0].id]
        assert [each.held.document.id for each in outcome.done] == [documents[1].id]

    def test_the_same_change_twice_is_done_once(self, remover: Remover) -> None:
        """A request that is sent again because its answer was lost does no harm."""
        (held,) = self.stored(remover, self.some(1))
        assert len(remover.change([Change(held=held)]).done) == 1
        assert len(remover.change([Change(held=held)]).outdated) == 1

    def test_removing_nothing_asks_nothing(self, remover: Remover) -> None:
        """An empty request is none."""
        assert remover.change([]) == ChangeOutcome()

    # -- replacing ----------------------------------------------------------------------------------------------

    def test_replaces_what_was_looked_at(self, remover: Remover) -> None:
        """The new body is there, under the same id, and all else of it is as before."""
        (document,) = self.some(1, logs=["one", "two"])
        (held,) = self.stored(remover, [document])
        before = self.fetch(document)
        fields = {**json.loads(held.document.body), "logs": []}
        outcome = remover.change([Change(held=held, body=json.dumps(fields).encode())])
        assert len(outcome.done) == 1
        assert self.fetch(document) == {**before, "logs": []}

    def test_replaces_no_other_version(self, remover: Remover) -> None:
        """What was written meanwhile stays, and what was deleted isn't written again."""
        changed, deleted = self.some(2, logs=["one"])
        held = self.stored(remover, [changed, deleted])
        self.put(self.some(1, logs=["written again"]))
        self.delete(deleted)
        outcome = remover.change([Change(held=each, body=each.document.body) for each in held])
        assert len(outcome.outdated) == 2
        assert self.fetch(changed)["logs"] == ["written again"]
        assert self.fetch(deleted) is None

    # -- the store ----------------------------------------------------------------------------------------------

    def test_space_counts_documents(self, remover: Remover) -> None:
        """What is removed isn't counted any more."""
        held = self.stored(remover, self.some(4))
        before = remover.space()
        remover.change([Change(held=each) for each in held[:3]])
        assert before.documents - remover.space().documents == 3

    def test_its_clock_is_about_right(self, remover: Remover) -> None:
        """A server tells its time; within a day, since this machine's may be wrong."""
        import time

        told = remover.clock_ms()
        assert told is None or abs(told - time.time() * 1000) < 86_400_000

    def test_describes_itself_as_its_reader_does(self, remover: Remover) -> None:
        """It names its place, and an identity that changes when it is replaced."""
        described = remover.describe()
        assert described.location
        assert described.identity is not None or described.progress is not None
