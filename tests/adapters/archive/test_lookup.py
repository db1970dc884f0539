"""Documents are found by the hashes of their ids: the newest version of each, in as few frames as hold it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from migrator.activations.document import Document, Form
from migrator.adapters.archive import lane
from migrator.adapters.archive.catalog import chain_parts
from migrator.adapters.archive.folder import Folder
from migrator.adapters.archive.format import Frame, id_hash, read_line
from migrator.adapters.archive.lookup import find_lines, frames_with, look_up
from migrator.adapters.archive.manifest import Manifest
from migrator.adapters.archive.parts import Part
from migrator.adapters.archive.superseded import as_numbers
from migrator.adapters.base import Slice
from migrator.adapters.questions import WantedId
from migrator.testing.documents import activation
from tests.support.archives import add_backup

OLD = [activation(number, "guest" if number % 2 else "whisk.system") for number in range(8)]
NEW = [activation(number, "guest" if number % 2 else "whisk.system", logs=["newer"]) for number in (3, 6)]
NEWEST = {document.id: document for document in [*OLD, *NEW]}


class Chain:
    """A full backup in parts of five documents, of which two stand in a frame, and an increment."""

    def __init__(self, folder: Path) -> None:
        full = add_backup(folder, Form.COUCHDB, [OLD], part_documents=5)
        self.manifests = [full, add_backup(folder, Form.COUCHDB, [NEW], parent=full.backup)]
        self.place = Folder(str(folder))
        self.read: list[tuple[str, int]] = []

    def part(self, manifest: Manifest, at: int) -> Part:
        chain = self

        class Watched(Part):
            def contents(self, frames: Sequence[Frame]) -> Iterator[bytes]:
                chain.read += [(self.note.name, self.index.frames.index(frame)) for frame in frames]
                return super().contents(frames)

        return Watched(self.place, manifest, manifest.parts[at])

    @property
    def parts(self) -> list[Part]:
        return [self.part(manifest, at) for manifest, at in chain_parts(self.manifests)]

    def part_of(self, slice: Slice) -> Part:
        (found,) = [
            (manifest, at)
            for manifest, at in chain_parts(self.manifests)
            if (manifest.backup, manifest.parts[at].name) == (slice.spec["backup"], slice.spec["part"])
        ]
        assert slice.key == slice.spec["part"]
        return self.part(*found)

    def look_up(self, *wanted: WantedId) -> list[Document]:
        found = list(look_up(self.manifests, self.part_of, Form.COUCHDB, wanted))
        assert all(isinstance(each, Document) for each in found)
        return [each for each in found if isinstance(each, Document)]


@pytest.fixture
def chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Chain:
    monkeypatch.setattr(lane, "FRAME_BYTES", len(OLD[0].body) + 1)
    return Chain(tmp_path)


@pytest.mark.parametrize("number", range(8))
def test_each_document_is_found_in_its_newest_version(chain: Chain, number: int) -> None:
    """With its namespace, or by the activation id alone in any namespace."""
    id = OLD[number].id
    namespace, _, name = id.partition("/")
    for wanted in (WantedId(name, namespace), WantedId(name)):
        (found,) = chain.look_up(wanted)
        assert (found.id, found.body) == (id, NEWEST[id].body)


def test_what_is_not_there_is_not_found(chain: Chain) -> None:
    """Nor what only another namespace holds; no frame is read for it."""
    name = OLD[1].id.partition("/")[2]
    assert chain.look_up(WantedId("f" * 32), WantedId(name, "whisk.system"), WantedId(name, "nobody")) == []
    assert chain.look_up() == []
    assert chain.read == []


def test_several_are_found_at_once(chain: Chain) -> None:
    wanted = [WantedId(each.id.partition("/")[2]) for each in OLD]
    assert sorted(each.id for each in chain.look_up(*wanted)) == sorted(NEWEST)


def test_lines_are_found_in_the_newest_part_that_has_them(chain: Chain) -> None:
    ids = [OLD[number].id for number in (0, 3, 4, 7)]
    keys = [as_numbers(id_hash(id))[0] for id in ids]
    expected = dict(zip(keys, [(0, 0), (2, 0), (0, 4), (1, 2)], strict=True))
    assert find_lines(chain.parts, ids) == expected
    assert find_lines(chain.parts, ["guest/none"]) == {}
    assert find_lines(chain.parts, []) == {}


def test_a_frame_is_given_once_with_all_lines_that_are_wanted_in_it(chain: Chain) -> None:
    parts = chain.parts
    places = [(order, line) for order, part in enumerate(parts) for line in range(part.note.documents)]
    frames = list(frames_with(parts, places))
    assert [lines for _, _, lines in frames] == [[0, 1], [0, 1], [0], [0, 1], [0], [0, 1]]
    held = [read_line(part.lines(frame)[line], Form.COUCHDB)[0] for part, frame, lines in frames for line in lines]
    assert held == [each.id for each in [*OLD, *NEW]]
    some = [(0, 1), (0, 2), (1, 2), (2, 1)]
    assert [lines for _, _, lines in frames_with(parts, some)] == [[1], [0], [0], [1]]
    assert list(frames_with(parts, [])) == []
