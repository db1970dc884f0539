"""What every reader must do, whatever store it reads.

An adapter's test subclasses `ReaderConformance` and supplies hooks that put and delete documents *past* the adapter.
"""

from __future__ import annotations

import json
import pickle
import threading
from contextlib import suppress

import msgspec
import pytest

from migrator.activations.selection import Selection
from migrator.adapters.base import Plan, Reader, Slice, SupportsCatchUp, SupportsFollow, Token
from migrator.errors import Interrupted
from migrator.events.watching import Stop
from migrator.testing.asking import AskingConformance
from migrator.testing.documents import activation_id
from migrator.testing.source import ALL
from migrator.text.decoding import decode


class ReaderConformance(AskingConformance):
    """Subclasses give the hooks of `Source`."""

    # -- reading everything -------------------------------------------------------------------------------------

    def test_empty_source_gives_no_documents(self, reader: Reader) -> None:
        """A store without documents is read to its end without an error."""
        self.put(self.some(1))
        for document in self.some(1):
            self.delete(document)
        assert self.ids(self.read_all(reader)) == []

    @pytest.mark.parametrize("count", [1, 99, 100, 101, 230])
    def test_every_document_is_read_once(self, reader: Reader, count: int) -> None:
        """However many there are, also around the size of the first page, each is given exactly once."""
        documents = self.some(count)
        self.put(documents)
        assert sorted(self.ids(self.read_all(reader))) == sorted(document.id for document in documents)

    def test_documents_of_all_namespaces_are_read(self, reader: Reader) -> None:
        """Namespaces of every spelling fall into some slice."""
        names = ["guest", "Guest", "guest-dev", "1digit", "a&b", "org-a.b-c", "zz", "äöü", "a..b"]
        names.append("alice@example.com_dev")
        documents = [document for at, name in enumerate(names) for document in self.some(7, name, first=100 * at)]
        self.put(documents)
        batches = self.read_all(reader, slice_documents=10)
        assert sorted(self.ids(batches)) == sorted(document.id for document in documents)
        assert {d.namespace for batch in batches for d in batch.documents} == set(names)

    def test_body_is_what_the_source_holds(self, reader: Reader) -> None:
        """The fields that are looked at are right and the body has every field, also unknown ones."""
        (document,) = self.some(1, extra={"kept": [1, "two", None]})
        self.put([document])
        ((read,),) = [batch.documents for batch in self.read_all(reader) if batch.documents]
        assert (read.namespace, read.name, read.start_ms, read.form) == ("guest", "hello", 1_700_000_000_000, self.form)
        content = json.loads(read.body)
        assert content["extra"] == {"kept": [1, "two", None]}
        expected = json.loads(document.body)
        assert {name: content[name] for name in expected} == expected

    def test_odd_text_is_read_exactly(self, reader: Reader) -> None:
        """Control characters, line separators, emoji and quotes come through."""
        text = 'tab\t nul\u0000 line\u2028sep "quoted" back\\slash \x7f emoji😀 ünïcode'
        (document,) = self.some(1, logs=[text])
        self.put([document])
        ((read,),) = [batch.documents for batch in self.read_all(reader) if batch.documents]
        assert json.loads(read.body)["logs"] == [text]

    def test_large_documents_are_read(self, reader: Reader) -> None:
        """Documents of 300 kB among small ones are given like any other."""
        documents = [*self.some(60), *self.some(12, first=60, logs=["x" * 300_000]), *self.some(60, first=72)]
        self.put(documents)
        assert sorted(self.ids(self.read_all(reader))) == sorted(document.id for document in documents)

    def test_other_records_are_filtered_and_counted(self, reader: Reader) -> None:
        """What isn't an activation is counted, not given and not rejected."""
        if not self.holds_other_entities:
            pytest.skip("this store holds activations only")
        documents = self.some(5)
        self.put(documents)
        self.put_raw("guest/hello", b'{"entityType":"action","name":"hello","namespace":"guest"}')
        self.put_raw("something", b'{"a":1}')
        batches = self.read_all(reader)
        assert sorted(self.ids(batches)) == sorted(document.id for document in documents)
        assert sum(count for batch in batches for count in batch.filtered.values()) == 2
        assert not [rejection for batch in batches for rejection in batch.rejections]

    def test_unreadable_activation_is_rejected_alone(self, reader: Reader) -> None:
        """An activation without a name is a rejection with its bytes; the others are given."""
        documents = self.some(5)
        self.put(documents)
        id = f"guest/{activation_id(77)}"
        self.put_raw(id, b'{"activationId":"%s","namespace":"guest","start":1}' % activation_id(77).encode())
        batches = self.read_all(reader)
        (rejection,) = [rejection for batch in batches for rejection in batch.rejections]
        assert rejection.id == id
        assert "name is missing" in rejection.reason
        assert json.loads(rejection.body)["activationId"] == activation_id(77)
        assert sorted(self.ids(batches)) == sorted(document.id for document in documents)

    # -- slices and positions -----------------------------------------------------------------------------------

    def test_reading_goes_on_from_every_position(self, reader: Reader) -> None:
        """From the position of each batch the rest follows, nothing twice and nothing missing."""
        self.put(self.some(240))
        for slice in reader.plan(ALL, slice_documents=1000).slices:
            batches = list(reader.read(slice, None, ALL))
            for number, batch in enumerate(batches):
                rest = self.ids(list(reader.read(slice, batch.position, ALL)))
                assert rest == self.ids(batches[number + 1 :])

    def test_plan_survives_a_checkpoint(self, reader: Reader) -> None:
        """Slices, snapshot and positions are the same after JSON and after pickling."""
        self.put(self.some(30))
        plan = reader.plan(ALL, slice_documents=10)
        assert decode(msgspec.json.encode(plan), Plan) == plan
        assert pickle.loads(pickle.dumps(plan)) == plan
        positions: list[Token] = [batch.position for batch in self.read_plan(reader, plan)]
        assert msgspec.json.decode(msgspec.json.encode(positions)) == positions
        again = [decode(msgspec.json.encode(slice), Slice) for slice in plan.slices]
        assert sorted(self.ids([batch for slice in again for batch in reader.read(slice, None, ALL)])) == sorted(
            document.id for document in self.some(30)
        )

    def test_slice_keys_are_unique(self, reader: Reader) -> None:
        """Every slice of a plan has a name of its own."""
        self.put(self.some(200))
        keys = [slice.key for slice in reader.plan(ALL, slice_documents=20).slices]
        assert len(keys) == len(set(keys))

    # -- selection ----------------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("selection", "expected"),
        [
            (Selection(namespaces=("guest",)), {"guest"}),
            (Selection(namespaces=("gu*",)), {"guest", "guest-dev"}),
            (Selection(namespaces=("guest", "other")), {"guest", "other"}),
            (Selection(namespaces=("nobody",)), set()),
        ],
        ids=["name", "glob", "two", "none"],
    )
    def test_selection_by_namespace(self, reader: Reader, selection: Selection, expected: set[str]) -> None:
        """Only the namespaces that were requested are given, a prefix of a name isn't that name."""
        for at, name in enumerate(["guest", "guest-dev", "other", "Guest"]):
            self.put(self.some(5, name, first=10 * at))
        batches = self.read_all(reader, selection)
        assert {d.namespace for batch in batches for d in batch.documents} == expected
        assert len(self.ids(batches)) == 5 * len(expected)

    def test_selection_by_time(self, reader: Reader) -> None:
        """`since` is inclusive, `until` exclusive."""
        documents = self.some(30)
        self.put(documents)
        selection = Selection(since_ms=documents[10].start_ms, until_ms=documents[20].start_ms)
        assert sorted(self.ids(self.read_all(reader, selection))) == sorted(d.id for d in documents[10:20])

    def test_selection_by_name_and_path(self, reader: Reader) -> None:
        """A name without a slash is the action's, one with a slash the path with or without the namespace."""
        plain = self.some(3)
        packaged = self.some(3, first=10, annotations=[{"key": "path", "value": "guest/slack/hello"}])
        other = self.some(3, first=20, name="other", annotations=[{"key": "path", "value": "guest/other"}])
        self.put([*plain, *packaged, *other])
        found = {
            name: len(self.ids(self.read_all(reader, Selection(names=(name,)))))
            for name in ("hello", "slack/hello", "guest/slack/hello", "oth*", "nothing")
        }
        assert found == {"hello": 6, "slack/hello": 3, "guest/slack/hello": 3, "oth*": 3, "nothing": 0}

    # -- catching up --------------------------------------------------------------------------------------------

    def test_catch_up_gives_what_came_after_the_plan(self, reader: Reader) -> None:
        """New and changed documents, and a namespace that appeared, are in the round after; deletions are counted."""
        if not isinstance(reader, SupportsCatchUp):
            pytest.skip("this store can't tell what changed")
        documents = self.some(40)
        self.put(documents)
        plan = reader.plan(ALL, slice_documents=15)
        new = [*self.some(10, first=100), *self.some(5, "appeared", first=200)]
        changed = self.some(1, logs=["changed"])
        self.put([*new, *changed])
        self.delete(documents[5])
        round_ = reader.catch_up(plan.snapshot, ALL, slice_documents=15)
        assert all(slice.replaces for slice in round_.slices)
        batches = self.read_plan(reader, round_)
        assert {*self.ids(batches)} >= {document.id for document in [*new, *changed]}
        latest = {d.id: d for batch in batches for d in batch.documents}[changed[0].id]
        assert json.loads(latest.body)["logs"] == ["changed"]
        quiet = reader.catch_up(round_.snapshot, ALL, slice_documents=15)
        assert self.ids(self.read_plan(reader, quiet)) == []

    def test_catch_up_goes_on_from_every_position(self, reader: Reader) -> None:
        """A round that was cut short goes on like a slice of the bulk read."""
        if not isinstance(reader, SupportsCatchUp):
            pytest.skip("this store can't tell what changed")
        self.put(self.some(1))
        plan = reader.plan(ALL, slice_documents=1000)
        self.put(self.some(230, first=10))
        for slice in reader.catch_up(plan.snapshot, ALL, slice_documents=1000).slices:
            batches = list(reader.read(slice, None, ALL))
            for number, batch in enumerate(batches):
                rest = set(self.ids(list(reader.read(slice, batch.position, ALL))))
                assert rest == set(self.ids(batches[number + 1 :]))

    def test_catch_up_keeps_to_the_selection(self, reader: Reader) -> None:
        """What isn't selected isn't given by a round either."""
        if not isinstance(reader, SupportsCatchUp):
            pytest.skip("this store can't tell what changed")
        self.put([*self.some(1), *self.some(1, "other", first=5)])
        selection = Selection(namespaces=("guest",))
        plan = reader.plan(selection, slice_documents=100)
        self.put([*self.some(3, first=10), *self.some(3, "other", first=20)])
        batches = self.read_plan(reader, reader.catch_up(plan.snapshot, selection, slice_documents=100), selection)
        assert {d.namespace for batch in batches for d in batch.documents} == {"guest"}
        assert len(self.ids(batches)) == (3 if self.rounds_are_exact else 4)

    def test_news_tell_what_is_pending(self, reader: Reader) -> None:
        """Nothing where nothing came; else at least as many as came, also in a namespace that is new."""
        if not (isinstance(reader, SupportsCatchUp) and isinstance(reader, SupportsFollow)):
            pytest.skip("this store can't be followed")
        self.put(self.some(20))
        snapshot = reader.plan(ALL, slice_documents=100).snapshot

        def pending(snapshot: Token, wait_s: float = 0.0) -> int:
            news = reader.news(snapshot, ALL, wait_s=wait_s, stop=Stop())
            assert news.unseen == ()
            return news.pending

        assert pending(snapshot) == pending(snapshot, wait_s=0.5) == 0
        self.put([*self.some(3, first=100), *self.some(2, "appeared", first=200)])
        assert pending(snapshot) == pending(snapshot, wait_s=0.5) == 5
        round_ = reader.catch_up(snapshot, ALL, slice_documents=100)
        positions = [[*reader.read(slice, None, ALL)][-1].position for slice in round_.slices]
        for later in (round_.snapshot, reader.read_up_to(round_.snapshot, positions)):
            assert pending(later) == 0
            assert self.ids(self.read_plan(reader, reader.catch_up(later, ALL, slice_documents=100))) == []
        self.delete(self.some(1)[0])
        assert pending(round_.snapshot) == 1

    def test_news_are_given_up_when_asked_to_stop(self, reader: Reader) -> None:
        """A wait of minutes ends within seconds."""
        if not (isinstance(reader, SupportsCatchUp) and isinstance(reader, SupportsFollow)):
            pytest.skip("this store can't be followed")
        self.put(self.some(3))
        snapshot, stop = reader.plan(ALL, slice_documents=100).snapshot, Stop()
        asking = threading.Timer(0.3, stop.ask)
        asking.start()
        with suppress(Interrupted):
            reader.news(snapshot, ALL, wait_s=600, stop=stop)
        assert stop.asked
        asking.join()
