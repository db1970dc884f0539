"""What every reader must answer when it is asked for documents by their ids, and about the store."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from migrator.activations.selection import Selection
from migrator.adapters.base import Batch, Reader, SupportsCatchUp, SupportsCount
from migrator.adapters.questions import SupportsLookup, SupportsNewest, SupportsProbe, SupportsVolume, WantedId
from migrator.adapters.shared.optional import fetch
from migrator.events.watching import Stop
from migrator.testing.documents import activation_id
from migrator.testing.source import ALL, Source


class AskingConformance(Source):
    """A part of `ReaderConformance`."""

    # -- by id --------------------------------------------------------------------------------------------------

    def fetch(self, reader: Reader, ids: Sequence[str], selection: Selection = ALL) -> list[Batch]:
        return list(fetch(reader, ids, None, selection))

    def test_fetch_gives_what_is_there(self, reader: Reader) -> None:
        """Of 300 ids those that exist are given with the bytes that reading gives; deleted and unknown ones are not."""
        documents = self.some(250)
        self.put(documents)
        self.delete(documents[3])
        read = {document.id: document.body for batch in self.read_all(reader) for document in batch.documents}
        unknown = [f"guest/{activation_id(number)}" for number in range(9000, 9050)]
        batches = self.fetch(reader, [*(document.id for document in documents), *unknown])
        assert {document.id: document.body for batch in batches for document in batch.documents} == read
        assert len(self.ids(batches)) == len(read) == 249

    def test_fetch_sees_what_was_just_stored(self, reader: Reader) -> None:
        """A document that was stored or changed this moment is given as it is now."""
        if not isinstance(reader, SupportsCatchUp):
            pytest.skip("this store doesn't change while it is read")
        self.put(self.some(3))
        self.read_all(reader)
        (changed,) = self.some(1, logs=["changed"])
        self.put([changed, *self.some(1, first=50)])
        batches = self.fetch(reader, [changed.id, self.some(1, first=50)[0].id])
        logs = {document.id: json.loads(document.body)["logs"] for batch in batches for document in batch.documents}
        assert len(logs) == 2
        assert logs[changed.id] == ["changed"]

    def test_fetch_goes_on_from_every_position(self, reader: Reader) -> None:
        """A position says how many of the ids are done."""
        documents = self.some(230)
        self.put(documents)
        ids = [document.id for document in documents]
        batches = self.fetch(reader, ids)
        assert batches[-1].position == len(ids)
        for number, batch in enumerate(batches):
            rest = list(fetch(reader, ids, batch.position, ALL))
            assert sorted(self.ids(rest)) == sorted(self.ids(batches[number + 1 :]))

    def test_fetch_keeps_to_the_selection(self, reader: Reader) -> None:
        """What isn't selected isn't given; what can't be understood is a rejection."""
        documents = [*self.some(3), *self.some(3, "other", first=10)]
        self.put(documents)
        id = f"guest/{activation_id(77)}"
        self.put_raw(id, b'{"activationId":"%s","namespace":"guest","start":1}' % activation_id(77).encode())
        batches = self.fetch(reader, [*(d.id for d in documents), id], Selection(namespaces=("guest",)))
        assert sorted(self.ids(batches)) == sorted(document.id for document in documents[:3])
        assert [rejection.id for batch in batches for rejection in batch.rejections] == [id]

    # -- questions ----------------------------------------------------------------------------------------------

    def test_look_up_gives_what_reading_gives(self, reader: Reader) -> None:
        """By an id alone from every namespace, by a namespace and an id from there; what isn't there is left out."""
        if not isinstance(reader, SupportsLookup):
            pytest.skip("this store is read to find something in it")
        self.put([*self.some(30), *self.some(30, "other", first=20)])
        read = {each.id: json.loads(each.body) for batch in self.read_all(reader) for each in batch.documents}
        both, one = activation_id(25), activation_id(3)
        wanted = [WantedId(both), WantedId(one, "guest"), WantedId(one, "other"), WantedId(activation_id(999))]
        found = {each.id: json.loads(each.body) for each in reader.look_up(wanted)}
        assert found == {id: read[id] for id in (f"guest/{both}", f"other/{both}", f"guest/{one}")}

    def test_newest_are_those_that_started_last(self, reader: Reader) -> None:
        """Of what is selected, the newest first."""
        if not isinstance(reader, SupportsNewest):
            pytest.skip("this store is read to find something in it")
        documents = self.some(30)
        self.put([*documents, *self.some(5, "other", first=100)])
        self.read_all(reader)
        newest = [each.id for each in reader.newest(Selection(namespaces=("guest",)), 4)]
        assert newest == [each.id for each in reversed(documents[-4:])]

    def test_exact_probe_counts_what_reading_gives(self, reader: Reader) -> None:
        """Activations, from when to when, and their namespaces."""
        if not isinstance(reader, SupportsProbe):
            pytest.skip("this store is read to see what it holds")
        documents = [*self.some(12), *self.some(3, "other", first=50)]
        self.put(documents)
        self.read_all(reader)
        probe = reader.probe(exact=True)
        assert (probe.activations, probe.is_exact) == (15, True)
        assert (probe.first_ms, probe.last_ms) == (documents[0].start_ms, documents[-1].start_ms)
        assert probe.namespaces == {"guest": 12, "other": 3}
        assert (probe.product, probe.version) == (reader.describe().product, reader.describe().version)

    def test_volume_counts_what_is_selected(self, reader: Reader) -> None:
        """Where the store counts that at all."""
        if not isinstance(reader, SupportsVolume):
            pytest.skip("this store doesn't tell how much it holds")
        self.put([*self.some(12), *self.some(3, "other", first=50)])
        self.read_all(reader)
        counted = reader.volume(Selection(namespaces=("guest",)), exact=False, stop=Stop()).counted
        assert counted is None or counted.total.activations == 12
        assert reader.volume(ALL, exact=True, stop=Stop()).counted is None

    # -- the store itself ---------------------------------------------------------------------------------------

    def test_count_is_the_number_of_documents_or_none(self, reader: Reader) -> None:
        """The count that progress is shown against covers the activations."""
        self.put(self.some(12))
        count = reader.count(ALL) if isinstance(reader, SupportsCount) else None
        assert count is None or count >= 12

    def test_description_names_the_store(self, reader: Reader) -> None:
        """Location, product and version are there; the identity is the same when asked twice."""
        self.put(self.some(1))
        first, second = reader.describe(), reader.describe()
        assert first.location
        assert first.product
        assert first.version
        assert first.identity == second.identity
