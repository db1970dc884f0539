"""What of an archive is read for a selection, in which pages, and what is reported of the rest."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from migrator.activations.document import Document, Form
from migrator.activations.part import Part
from migrator.activations.selection import Selection
from migrator.adapters.archive import ArchiveReader, ArchiveWriter, open_reader, parts
from migrator.adapters.archive import lane as lanes
from migrator.adapters.archive.folder import Folder
from migrator.adapters.base import Abilities, Description, Slice
from migrator.errors import ArchiveDamaged, NotFound, UsageError
from migrator.settings.stores import Location, Store
from migrator.testing.documents import activation
from tests.support.archives import ALL, add_backup, completion, read_archive

DOCUMENTS = [activation(number, "guest" if number < 6 else "other") for number in range(12)]
STARTS = [each.start_ms for each in DOCUMENTS]


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three parts of four documents, two in a frame."""
    monkeypatch.setattr(lanes, "FRAME_BYTES", len(DOCUMENTS[0].body) + 1)
    add_backup(tmp_path, Form.COUCHDB, [DOCUMENTS], part_documents=4)
    return tmp_path


def reader(folder: Path, **choice: Any) -> ArchiveReader:
    return ArchiveReader(Folder(str(folder)), **choice)


class Watched(Folder):
    """Notes the bytes that are read of parts."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.read_bytes: list[int] = []

    def read_range(self, name: str, offset: int, size_bytes: int) -> bytes:
        self.read_bytes.append(size_bytes)
        return super().read_range(name, offset, size_bytes)


@pytest.mark.parametrize("at", range(12))
def test_both_ends_of_a_span_are_exact(archive: Path, at: int) -> None:
    """What starts at its begin belongs to it, what starts at its end doesn't; a part outside isn't planned."""
    found = reader(archive)
    for since, until in ((STARTS[at], None), (None, STARTS[at]), (STARTS[at], STARTS[at] + 1), (STARTS[at] + 1, None)):
        selection = Selection(since_ms=since, until_ms=until)
        expected = [
            each.id
            for each in DOCUMENTS
            if (since is None or each.start_ms >= since) and (until is None or each.start_ms < until)
        ]
        assert sorted(each.id for each in read_archive(archive, selection)) == sorted(expected)
        numbers = {DOCUMENTS.index(each) // 4 for each in DOCUMENTS if each.id in expected}
        slices = found.plan(selection, slice_documents=1).slices
        assert [each.spec["part"] for each in slices] == [f"part-{1 + part:06}.ndjson.zst" for part in sorted(numbers)]
        assert [each.documents for each in slices] == [4] * len(numbers)
        assert found.count(selection) == 4 * len(numbers)


def test_parts_of_other_namespaces_are_not_planned(archive: Path) -> None:
    for names, number in ((("guest",), 2), (("other",), 2), (("gue*", "other"), 3), (("third",), 0), ((), 3)):
        selection = Selection(namespaces=names)
        assert len(reader(archive).plan(selection, slice_documents=1).slices) == number
        assert reader(archive).count(selection) == 4 * number
    assert dict(reader(archive).namespaces()) == {"guest": 6, "other": 6}


def test_a_long_index_is_read_in_as_many_steps_as_it_takes(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the end of a part that is read at first doesn't hold all of it."""
    monkeypatch.setattr(parts, "TAIL_BYTES", 20)
    assert sorted(each.id for each in read_archive(archive)) == sorted(each.id for each in DOCUMENTS)


def test_frames_that_hold_nothing_selected_are_not_read(archive: Path) -> None:
    """Those that stand side by side are read at once; a part that is read to its end is held against its hash."""
    place = Watched(str(archive))
    found = ArchiveReader(place)
    slice = found.plan(ALL, slice_documents=1).slices[1]
    one, other = (frame.size_bytes for frame in found.part_of(slice).index.frames)
    (index,) = place.read_bytes
    whole = [one + other, index - one - other]  # and what follows, to prove it
    for since, until, sizes in ((6, 8, [other]), (4, 6, [one]), (5, 6, [one]), (5, 7, whole), (8, 9, [])):
        place.read_bytes.clear()
        selection = Selection(since_ms=STARTS[since], until_ms=STARTS[until])
        documents = [each.id for page in found.read(slice, None, selection) for each in page.documents]
        assert documents == [each.id for each in DOCUMENTS[since : min(until, 8)]]
        assert place.read_bytes == [index, *sizes]


@pytest.mark.parametrize(("frames", "pages"), [(0.3, [2, 2]), (1, [2, 2]), (1.33, [2, 2]), (1.34, [4]), (9, [4])])
def test_a_page_holds_as_many_frames_as_fit(archive: Path, frames: float, pages: list[int]) -> None:
    """One at least, and half as much again as was asked for; a later page goes on where an earlier one ended."""
    raw = reader(archive).part_of(_first(archive)).index.frames[0].raw_bytes
    assert raw == reader(archive).part_of(_first(archive)).index.frames[1].raw_bytes
    found = reader(archive, page_bytes=int(raw * frames))
    batches = list(found.read(_first(archive), None, ALL))
    assert [len(batch.documents) for batch in batches] == pages
    assert [batch.size_bytes for batch in batches] == [raw * count // 2 for count in pages]
    for number, batch in enumerate(batches):
        rest = list(found.read(_first(archive), batch.position, ALL))
        assert [len(each.documents) for each in rest] == pages[number + 1 :]


def _first(archive: Path) -> Slice:
    return reader(archive).plan(ALL, slice_documents=1).slices[0]


def test_a_slice_of_another_chain_is_damage(archive: Path) -> None:
    strange = msgspec.structs.replace(_first(archive), key="x", spec={"backup": "x", "part": "part-000001.ndjson.zst"})
    with pytest.raises(ArchiveDamaged, match="x isn't a part of the chain that is read"):
        reader(archive).part_of(strange)


@pytest.mark.parametrize("page_bytes", [1, 1000, 1 << 20])
def test_documents_are_found_by_their_ids_in_their_newest_version(tmp_path: Path, page_bytes: int) -> None:
    """Whichever part or frame they stand in; those that aren't there are left out."""
    full = add_backup(tmp_path, Form.COUCHDB, [DOCUMENTS, [activation(3, logs=["caught up"])]], part_documents=5)
    newer = [activation(2, logs=["new"]), activation(100)]
    add_backup(tmp_path, Form.COUCHDB, [newer], parent=full.backup)
    expected = {each.id: each.body for each in (*DOCUMENTS, activation(3, logs=["caught up"]), *newer)}
    ids = [*expected, "guest/none"]
    found = reader(tmp_path, page_bytes=page_bytes)
    batches = list(found.fetch(ids, None, ALL))
    assert {each.id: each.body for batch in batches for each in batch.documents} == expected
    assert sum(len(batch.documents) for batch in batches) == len(expected)
    assert batches[-1].position == len(ids)
    for batch in batches:
        again = [each for later in found.fetch(ids, batch.position, ALL) for each in later.documents]
        done: Any = batch.position
        assert {each.id for each in again} == {*ids[done:]} & {*expected}
    assert {each.id: each.body for each in read_archive(tmp_path)} == expected


@pytest.mark.parametrize(
    "body",
    [b'{"x":', b'{"x":"\xff"', b'{"x":%b' % (b"[" * 3000)],
    ids=["cut off", "not UTF-8", "nested too deeply"],
)
def test_a_line_that_is_no_document_names_its_part_and_spoils_no_other(tmp_path: Path, body: bytes) -> None:
    """As another tool may have written it: its checksums are right."""
    good = activation(1, form=Form.ELASTICSEARCH)
    bad = msgspec.structs.replace(activation(2, form=Form.ELASTICSEARCH), body=body)
    add_backup(tmp_path, Form.ELASTICSEARCH, [[good, bad]])
    opened = reader(tmp_path)
    (slice,) = opened.plan(ALL, slice_documents=1).slices
    with pytest.raises(ArchiveDamaged, match=r"part-\d+\S*: a line is no document: "):
        list(opened.read(slice, None, ALL))
    assert [each.body for batch in opened.fetch([good.id], None, ALL) for each in batch.documents] == [good.body]
    with pytest.raises(ArchiveDamaged, match=r"part-\d+\S*: a line is no document: "):
        list(opened.fetch([bad.id], None, ALL))


def test_the_backups_of_other_sources_and_selections_are_told(tmp_path: Path) -> None:
    """The newest of each, unless a backup was named; as of a moment, those that were there."""

    def made(name: str, **selection: Any) -> Any:
        source = Description(location=f"memory:{name}", product="memory", version="1", identity=name)
        return add_backup(tmp_path, Form.COUCHDB, [DOCUMENTS[:1]], source=source, selection=Selection(**selection))

    made("a")
    other, narrow, last = made("a"), made("b", namespaces=("guest",)), made("b")
    where = f"archive:{tmp_path}"

    def told(**choice: Any) -> list[str]:
        return [each.removeprefix(where) for each in reader(tmp_path, **choice).plan(ALL, slice_documents=1).warnings]

    of_a = f" also holds backups of memory:a, which aren't read; `backup={other.backup}` chooses the newest of them"
    of_b = (
        f" also holds backups of another selection of memory:b, which aren't read; `backup={narrow.backup}` "
        "chooses the newest of them"
    )
    assert sorted(told()) == sorted([of_a, of_b])
    assert told(backup=last.backup) == []
    assert told(at_ms=other.ended_ms) == []
    assert told(at_ms=narrow.ended_ms) == [of_a]
    assert sorted(told(at_ms=last.ended_ms)) == sorted([of_a, of_b])
    with pytest.raises(NotFound):
        told(at_ms=0)


def test_what_a_backup_lacks_is_reported_and_makes_the_plan_incomplete(tmp_path: Path) -> None:
    """Of any link of the chain."""
    full = add_backup(tmp_path, Form.COUCHDB, [DOCUMENTS[:2]], unread=3)
    last = add_backup(tmp_path, Form.COUCHDB, [DOCUMENTS[2:4]], parent=full.backup)
    plan = reader(tmp_path).plan(ALL, slice_documents=1)
    lacks = f"archive:{tmp_path}: backup {full.backup} lacks 3 documents of the source"
    assert (list(plan.warnings), plan.incomplete, plan.snapshot) == ([lacks], True, last.backup)
    whole = add_backup(tmp_path, Form.COUCHDB, [DOCUMENTS])
    plan = reader(tmp_path).plan(ALL, slice_documents=1)
    assert (list(plan.warnings), plan.incomplete, plan.snapshot) == ([], False, whole.backup)


def test_what_is_superseded_is_filtered(tmp_path: Path) -> None:
    """Counted by namespace, so that the accounts add up."""
    newer: list[Document] = [activation(number, logs=["newer"]) for number in range(3)]
    full = add_backup(tmp_path, Form.COUCHDB, [DOCUMENTS, newer])
    add_backup(tmp_path, Form.COUCHDB, [[activation(7, "other", logs=["newest"])]], parent=full.backup)
    found = reader(tmp_path)
    filtered: dict[str, int] = {}
    documents = 0
    for slice in found.plan(ALL, slice_documents=1).slices:
        for batch in found.read(slice, None, ALL):
            documents += len(batch.documents)
            for name, count in batch.filtered.items():
                filtered[name] = filtered.get(name, 0) + count
    assert (documents, filtered) == (12, {"guest": 3, "other": 1})


def test_an_archive_is_opened_as_its_location_says(archive: Path) -> None:
    """A time before now is counted from now."""

    def opened(**told: Any) -> ArchiveReader:
        return open_reader(Store(location=Location(kind="archive", path=str(archive), **told)), page_bytes=7)

    found = opened()
    assert (found._backup, found._at_ms, found._folder, found._page_bytes) == (None, None, str(archive), 7)
    assert opened(backup="2026")._backup == "2026"
    at_ms = opened(at="7d")._at_ms
    assert at_ms is not None
    assert abs(at_ms - (time.time() - 7 * 86_400) * 1000) < 600_000
    assert opened(at="2026-11-24T02:15:00Z")._at_ms == 1_795_486_500_000


def test_a_part_of_an_archive_is_every_so_many_files_of_a_backup_that_is_named(archive: Path) -> None:
    told = (
        f"archive:{archive}: give `backup` as well: parts that start while a backup is made would read different ones"
    )
    with pytest.raises(UsageError, match=f"^{re.escape(told)}$"):
        reader(archive).in_part(Part(number=1, of=2))
    backup = reader(archive).chain[0].backup
    whole = reader(archive, backup=backup)
    assert not whole.abilities.partial
    parts = [whole.in_part(Part(number=number, of=2)) for number in (1, 2)]
    assert [each.abilities for each in parts] == [Abilities(partial=True)] * 2
    slices = [[slice.spec["part"] for slice in each.plan(ALL, slice_documents=1).slices] for each in parts]
    assert slices == [["part-000001.ndjson.zst", "part-000003.ndjson.zst"], ["part-000002.ndjson.zst"]]
    assert [each.count(ALL) for each in parts] == [8, 4]


def test_an_archive_describes_itself_by_its_id_and_the_backup_that_is_read(archive: Path) -> None:
    found = reader(archive)
    (manifest,) = found.chain
    assert found.describe() == Description(
        location=f"archive:{archive}?backup={manifest.backup}",
        product="archive",
        version="1",
        identity={"archive": manifest.archive},
    )
    assert (found.form, found.lost(), found.busy()) == (Form.COUCHDB, None, None)


def test_an_older_state_than_the_newest_must_be_chosen(tmp_path: Path) -> None:
    """Where the manifest of the newest can't be believed; as of a moment before it, it isn't asked for."""
    first = add_backup(tmp_path, Form.COUCHDB, [DOCUMENTS[:1]])
    second = add_backup(tmp_path, Form.COUCHDB, [DOCUMENTS[:2]])
    (tmp_path / second.folder / "SHA256SUMS").unlink()
    told = (
        f"archive:{tmp_path}: {second.folder}manifest.json: it can't be verified, since SHA256SUMS is missing, so the "
        f"newest state is unknown. `backup={first.backup}` reads the newest backup that is whole, and "
        "`migrator archive check repair=True` saves what is left of this one"
    )
    for choice in ({}, {"at_ms": second.ended_ms}):
        with pytest.raises(ArchiveDamaged, match=f"^{re.escape(told)}$"):
            reader(tmp_path, **choice).describe()
    assert reader(tmp_path, backup=first.backup).chain == (first,)
    assert reader(tmp_path, at_ms=first.ended_ms).chain == (first,)


def test_documents_that_were_rejected_and_clocks_that_disagree_are_told(tmp_path: Path) -> None:
    counts = {"guest": {"read": 3, "written": 1, "rejected": 2}}
    first = add_backup(tmp_path, Form.COUCHDB, [DOCUMENTS[:1]], counts=counts)
    writer = ArchiveWriter(Folder(str(tmp_path)), clock=lambda: 1.0)
    writer.continue_from(first.backup)
    writer.prepare()
    writer.finish(completion(Form.COUCHDB, []))
    where, last = f"archive:{tmp_path}", writer.backup
    newer = f"backup {last} is newer than {first.backup}"
    assert list(reader(tmp_path).plan(ALL, slice_documents=1).warnings) == [
        f"{where}: 2 documents were rejected when the backup was made, and not included",
        f"{where}: {newer}, although the clock of the machine that made it showed an earlier time; order comes from "
        "the chain, and `at` goes by those clocks",
    ]
    assert len(reader(tmp_path, backup=last).plan(ALL, slice_documents=1).warnings) == 1


@pytest.mark.parametrize("as_increment", [True, False])
def test_of_a_document_that_stands_twice_in_a_part_the_later_line_counts(tmp_path: Path, as_increment: bool) -> None:
    """As where it changed twice while a round was read."""
    versions = [activation(1, logs=[text]) for text in ("older", "newer")]
    if as_increment:
        full = add_backup(tmp_path, Form.COUCHDB, [DOCUMENTS[:2]])
        add_backup(tmp_path, Form.COUCHDB, [versions], parent=full.backup)
    else:
        add_backup(tmp_path, Form.COUCHDB, [DOCUMENTS[:2], versions])
    found = {each.id: each.body for each in read_archive(tmp_path)}
    assert found == {DOCUMENTS[0].id: DOCUMENTS[0].body, versions[1].id: versions[1].body}
    assert len(read_archive(tmp_path)) == 2
