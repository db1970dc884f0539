"""What every place of an archive must do, whether a folder, a bucket, or one that encrypts.

A place's test subclasses `PlaceConformance` and supplies hooks that look at what lies there *past* the place.
"""

from __future__ import annotations

import hashlib
import os

import pytest

from migrator.adapters.archive.places import Place
from migrator.errors import ArchiveDamaged, NotFound

HEAD = "archive.json"
FOLDER = "backups/20261124T021500Z-3f9a2c/"


class PlaceConformance:
    """Subclasses give the hook `raw` and the fixture `place`, in which nothing lies."""

    suffix = ""  # of the names of parts

    def raw(self, name: str) -> bytes | None:
        """The bytes that lie under a name, past the place; None where there are none."""
        raise NotImplementedError

    def content(self, name: str) -> bytes | None:
        """The same as it was before the place did something to it."""
        return self.raw(name)

    @pytest.fixture
    def place(self) -> Place:
        raise NotImplementedError

    # -- helpers ------------------------------------------------------------------------------------------------

    def part(self, number: int) -> str:
        return f"{FOLDER}part-{number:06}.ndjson.zst{self.suffix}"

    @staticmethod
    def put(place: Place, name: str, data: bytes) -> None:
        spool = place.spool(name)
        spool.write(data)
        place.store(name, spool)

    # -- small pieces -------------------------------------------------------------------------------------------

    def test_an_empty_place_has_no_pieces(self, place: Place) -> None:
        assert list(place.names("")) == []
        assert place.size(HEAD) is None
        with pytest.raises(NotFound, match="isn't there"):
            place.read(HEAD)

    def test_a_written_piece_is_there(self, place: Place) -> None:
        """Past the place too, and the place itself exists from then on."""
        place.write(HEAD, b"what it is")
        assert place.exists()
        assert self.raw(HEAD) == place.read(HEAD) == b"what it is"
        assert place.size(HEAD) == 10
        assert list(place.names("")) == [(HEAD, 10)]

    def test_a_piece_can_be_written_again(self, place: Place) -> None:
        """What was tried and may have arrived is retried."""
        place.write(HEAD, b"first")
        place.write(HEAD, b"second")
        assert self.raw(HEAD) == b"second"

    def test_an_empty_piece_is_one(self, place: Place) -> None:
        place.write(HEAD, b"")
        assert (place.size(HEAD), place.read(HEAD)) == (0, b"")

    def test_names_are_sorted_and_below_their_prefix(self, place: Place) -> None:
        """A prefix is a whole folder: what is beside it and begins alike isn't below it."""
        for name in ("b/2", "b/10", "b/c/1", "bc/1", "a"):
            place.write(name, name.encode())
        assert list(place.names("b/")) == [("b/10", 4), ("b/2", 3), ("b/c/1", 5)]
        assert [name for name, _ in place.names("")] == ["a", "b/10", "b/2", "b/c/1", "bc/1"]

    @pytest.mark.slow
    def test_many_pieces_are_all_listed(self, place: Place) -> None:
        """More than one answer of an object store holds."""
        names = [f"{FOLDER}{number:04}" for number in range(1005)]
        for name in names:
            place.write(name, b"")
        assert [name for name, _ in place.names(FOLDER)] == names

    def test_a_deleted_piece_is_gone(self, place: Place) -> None:
        """Deleting it again is no error."""
        place.write(HEAD, b"x")
        place.write("other", b"y")
        place.delete(HEAD)
        place.delete(HEAD)
        place.delete("backups/20261124T021500Z-ffffff/manifest.json")
        assert (self.raw(HEAD), place.size(HEAD)) == (None, None)
        assert list(place.names("")) == [("other", 1)]

    # -- parts --------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("size_bytes", [0, 1, 70_000, 12_000_000])
    def test_a_stored_part_comes_back(self, place: Place, size_bytes: int) -> None:
        """What is reported of it is true of the stored bytes; its content is what was spooled."""
        data = os.urandom(size_bytes)
        spool = place.spool(self.part(1))
        spool.write(data)
        stored = place.store(self.part(1), spool)
        assert spool.closed
        lies = self.raw(self.part(1))
        assert lies is not None
        assert (stored.name, stored.size_bytes) == (self.part(1), len(lies))
        assert stored.sha256 == hashlib.sha256(lies).hexdigest()
        assert place.size(self.part(1)) == len(lies)
        assert place.content_bytes(self.part(1), len(lies)) == size_bytes
        assert self.content(self.part(1)) == data
        place.unlock(self.part(1))
        assert place.read_range(self.part(1), 0, size_bytes) == place.read(self.part(1)) == data

    def test_a_spool_counts_only_when_it_is_stored(self, place: Place) -> None:
        spool = place.spool(self.part(1))
        spool.write(b"lines")
        assert list(place.names("")) == []
        assert place.size(self.part(1)) is None
        place.store(self.part(1), spool)
        assert [name for name, _ in place.names(FOLDER)] == [self.part(1)]

    def test_a_discarded_spool_leaves_nothing(self, place: Place) -> None:
        spool = place.spool(self.part(1))
        spool.write(b"lines")
        place.discard(spool)
        place.sweep(FOLDER)
        assert spool.closed
        assert list(place.names("")) == []

    def test_ranges_are_exact(self, place: Place) -> None:
        """Of several parts in turn, each range has the bytes that it names."""
        parts = {self.part(number): os.urandom(100_000 + number) for number in range(3)}
        for name, data in parts.items():
            self.put(place, name, data)
        for first, last in ((0, 1), (5, 5), (65_530, 65_550), (99_999, 100_000), (0, 100_000)):
            for name, data in parts.items():
                assert place.read_range(name, first, last - first) == data[first:last]

    @pytest.mark.parametrize(("offset", "size_bytes"), [(0, 11), (9, 2), (10, 1), (500, 10)])
    def test_a_range_behind_the_end_is_damage(self, place: Place, offset: int, size_bytes: int) -> None:
        """A cut part never reads as a shorter one."""
        self.put(place, self.part(1), b"ten bytes!")
        with pytest.raises(ArchiveDamaged, match="truncated"):
            place.read_range(self.part(1), offset, size_bytes)

    def test_a_range_of_nothing_is_not_found(self, place: Place) -> None:
        with pytest.raises(NotFound, match="isn't there"):
            place.read_range(self.part(1), 0, 10)
