"""Backups of which something is deleted while they are written or listed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from migrator.activations.document import Form
from migrator.activations.selection import Selection
from migrator.adapters.archive import ArchiveWriter, open_writer
from migrator.adapters.archive import writer as writer_module
from migrator.adapters.archive.catalog import delete_backup, read_catalog
from migrator.adapters.archive.folder import Folder
from migrator.adapters.archive.manifest import UNFINISHED, Manifest, PartNote, SourceNote, folder_of, read_head
from migrator.adapters.base import Description, Refusal, Token
from migrator.errors import ArchiveDamaged, LimitReached, NotFound, Unavailable
from migrator.settings.locations import parse_location
from migrator.settings.stores import Store
from migrator.testing.documents import activation
from tests.support.archives import CLOCK, add_backup, completion, read_archive


def begun(folder: Path, parent: str | None = None) -> tuple[ArchiveWriter, dict[str, object]]:
    """A writer with a part that is durable, and the part's receipt."""
    writer = ArchiveWriter(Folder(str(folder)), clock=CLOCK)
    writer.continue_from(parent)
    writer.prepare()
    writer.write([activation(1)], replace=False)
    receipt = writer.flush()
    assert isinstance(receipt, dict)
    return writer, receipt


def test_a_part_that_was_deleted_meanwhile_is_reported(tmp_path: Path) -> None:
    """As by a prune that gives up what was begun long ago."""
    writer, receipt = begun(tmp_path)
    delete_backup(Folder(str(tmp_path)), writer.backup)
    said = (
        f"archive:{tmp_path}: part-000001.ndjson.zst was deleted or changed while backup {writer.backup} was being "
        "written; run the same command to start the backup over"
    )
    with pytest.raises(ArchiveDamaged, match=f"^{re.escape(said)}$"):
        writer.finish(completion(Form.COUCHDB, [(0, receipt)]))
    assert read_catalog(Folder(str(tmp_path))).backups == ()


def test_a_parent_that_was_deleted_meanwhile_is_reported(tmp_path: Path) -> None:
    """What continues it couldn't be restored."""
    parent = add_backup(tmp_path, Form.COUCHDB, [[activation(0)]])
    writer, receipt = begun(tmp_path, parent.backup)
    delete_backup(Folder(str(tmp_path)), parent.backup)
    said = f"archive:{tmp_path}: backup {parent.backup} was deleted or changed while backup {writer.backup} was being"
    with pytest.raises(
        ArchiveDamaged, match=f"^{re.escape(said)} written; run the same command to start the backup over$"
    ):
        writer.finish(completion(Form.COUCHDB, [(0, receipt)]))
    assert read_catalog(Folder(str(tmp_path))).backups == ()


def test_a_backup_that_is_deleted_leaves_no_file(tmp_path: Path) -> None:
    """Nor what a process that died was writing: nothing lists it, and it would lie there for ever."""
    writer, _ = begun(tmp_path)
    Folder(str(tmp_path)).spool(f"backups/{writer.backup}/part-000002.ndjson.zst").close()
    delete_backup(Folder(str(tmp_path)), writer.backup)
    assert [each.name for each in tmp_path.iterdir()] == ["archive.json"]


def test_a_backup_that_is_deleted_while_the_catalog_is_read_is_left_out(tmp_path: Path) -> None:
    """Listing, restoring and backing up go on while a prune runs."""
    gone, stays = (add_backup(tmp_path, Form.COUCHDB, [[activation(number)]]) for number in range(2))

    class PrunedMeanwhile(Folder):
        def read(self, name: str) -> bytes:
            if name == f"{gone.folder}manifest.json":
                delete_backup(self, gone.backup)
            return super().read(name)

    assert [each.backup for each in read_catalog(PrunedMeanwhile(str(tmp_path))).backups] == [stays.backup]


# -- a commit without its receipt ---------------------------------------------------------------------------------


@pytest.mark.parametrize("written", [0, 2])
def test_a_backup_whose_parts_do_not_hold_what_was_written_is_not_completed(tmp_path: Path, written: int) -> None:
    """As where a part was closed and its receipt lost; an older backup stays the newest."""
    earlier = add_backup(tmp_path, Form.COUCHDB, [[activation(0)]])
    writer, receipt = begun(tmp_path)
    counts = {"guest": {"read": written, "written": written}}
    said = (
        f"archive:{tmp_path}: backup {writer.backup} can't be completed: its parts hold 1 document of namespace guest, "
        f"and {written} were written; run the same command with `restart` to start it over"
    )
    with pytest.raises(ArchiveDamaged, match=f"^{re.escape(said)}$"):
        writer.finish(completion(Form.COUCHDB, [(0, receipt)], counts=counts))
    with pytest.raises(ArchiveDamaged, match="its parts hold 0 documents of namespace guest, and 1 was written"):
        writer.finish(completion(Form.COUCHDB, [], counts={"guest": {"read": 1, "written": 1}}))
    catalog = read_catalog(Folder(str(tmp_path)))
    assert [each.backup for each in catalog.backups] == [earlier.backup]
    assert catalog.unfinished == (writer.backup,)


@pytest.mark.slow
def test_a_part_ends_before_its_index_is_larger_than_a_reader_takes(tmp_path: Path) -> None:
    """As where every document of a frame is in a namespace of its own."""
    writer = ArchiveWriter(Folder(str(tmp_path)), clock=CLOCK, part_bytes=1 << 40, part_s=3600)
    writer.prepare()
    receipts: list[tuple[int, Token]] = []
    for page in range(72):
        documents = [activation(each, f"{each:06}" * 25_000) for each in range(7 * page, 7 * page + 7)]
        writer.write(documents, replace=False)
        if writer.due() or page == 71:
            receipts.append((0, writer.flush()))
    assert len(receipts) > 1
    writer.finish(completion(Form.COUCHDB, receipts))
    assert len(read_archive(tmp_path)) == 7 * 72


# -- requests that fail -------------------------------------------------------------------------------------------


class Failing(Folder):
    """A folder whose small pieces are refused at some of the attempts, half of those after they were written."""

    def __init__(self, path: str, script: str) -> None:
        super().__init__(path)
        self._script = iter(script)

    def write(self, name: str, data: bytes) -> None:
        step = next(self._script, "w")
        if step in "wa":
            super().write(name, data)
        if step != "w":
            raise Unavailable(f"{name}: 503 SlowDown")


@pytest.mark.parametrize("script", ["E", "a", "wE", "wa", "EEaa", "aEaEa"])
def test_beginning_a_backup_can_be_tried_again(tmp_path: Path, script: str) -> None:
    """`E` refuses a request, `a` refuses after it arrived: one archive, one backup, in the end."""
    writer = ArchiveWriter(Failing(str(tmp_path / "new"), script), clock=CLOCK)
    for _ in range(len(script) + 1):
        with suppress(Unavailable):
            writer.prepare()
            break
    writer.write([activation(1)], replace=False)
    writer.finish(completion(Form.COUCHDB, [(0, writer.flush())]))
    catalog = read_catalog(Folder(str(tmp_path / "new")))
    assert [each.backup for each in catalog.backups] == [writer.backup]
    assert catalog.unfinished == ()


@pytest.mark.parametrize("script", ["wwE", "wwa", "wwwE", "wwwa", "wwaEa"])
def test_completing_a_backup_can_be_tried_again(tmp_path: Path, script: str) -> None:
    """Whatever arrived of an attempt, the backup is one, and readable."""
    writer = ArchiveWriter(Failing(str(tmp_path / "new"), script), clock=CLOCK)
    writer.prepare()
    writer.write([activation(1)], replace=False)
    done = completion(Form.COUCHDB, [(0, writer.flush())])
    for _ in range(len(script) + 1):
        with suppress(Unavailable):
            writer.finish(done)
            break
    (made,) = read_catalog(Folder(str(tmp_path / "new"))).backups
    assert (made.backup, made.number) == (writer.backup, 1)
    assert [each.id for each in read_archive(tmp_path / "new")] == [activation(1).id]


@pytest.mark.parametrize(("part_bytes", "due"), [(1, True), (1 << 30, False)])
def test_an_archive_that_is_opened_ends_its_parts_as_asked(tmp_path: Path, part_bytes: int, due: bool) -> None:
    writer = open_writer(Store(location=parse_location(f"archive:{tmp_path / 'new'}").location), part_bytes=part_bytes)
    writer.prepare()
    for number in range(3):
        writer.write([activation(number, logs=["x" * (1 << 20)])], replace=False)
    assert writer.due() is due
    writer.close()


def test_a_backup_is_taken_back_only_while_it_holds_nothing(tmp_path: Path) -> None:
    """What has parts, or is complete, stays as it is: its parts belong to a run that goes on."""
    place = Folder(str(tmp_path))
    ArchiveWriter(place).give_up()  # that was never begun
    writer = ArchiveWriter(place)
    writer.prepare()
    mark = tmp_path / folder_of(writer.backup) / UNFINISHED
    assert mark.exists()
    writer.give_up()
    assert not mark.exists()
    writer = ArchiveWriter(place)
    writer.prepare()
    mark = tmp_path / folder_of(writer.backup) / UNFINISHED
    writer.write([activation(1)], replace=False)
    receipts = [(0, writer.flush())]
    writer.give_up()
    assert mark.exists()
    writer.finish(completion(Form.COUCHDB, receipts))
    before = {path.name for path in mark.parent.iterdir()}
    writer.give_up()
    assert {path.name for path in mark.parent.iterdir()} == before
    writer.close()


# -- what is written ------------------------------------------------------------------------------------------------


def test_a_manifest_says_all_that_a_job_tells_at_its_end(tmp_path: Path) -> None:
    """The parts in the order of their names, each in the layer of its round; times in milliseconds."""
    writer = ArchiveWriter(Folder(str(tmp_path)), clock=lambda: 1_800_000_000.9)
    assert (writer.backup, writer.manifest, writer.form) == ("", None, None)
    assert writer.describe() == Description(location=f"archive:{tmp_path}", product="archive", version="1", identity={})
    prepared = writer.prepare()
    assert prepared == {"backup": writer.backup, "parent": None, "encryption": None}
    assert writer.backup.startswith("20270115T080000Z-")
    receipts: list[tuple[int, Token]] = []
    for round in (0, 1):
        writer.write([activation(round), activation(7, "other")], replace=False)
        receipts.append((round, writer.flush()))
    assert writer.flush() is None
    writer.finish(
        completion(
            Form.COUCHDB, receipts[::-1], deleted=5, warnings=("careful",), unread=3, snapshot_s=1.2345, began_s=0.5
        )
    )
    (made,) = read_catalog(Folder(str(tmp_path))).backups
    assert writer.manifest is not None
    assert writer.manifest.encode() == made.encode()
    head = read_head((tmp_path / "archive.json").read_bytes(), "the archive")
    assert writer.describe().identity == {"archive": head.archive}
    assert msgspec.structs.replace(made, parts=()) == Manifest(
        archive=head.archive,
        backup=writer.backup,
        mode="full",
        form=Form.COUCHDB,
        source=SourceNote(location="memory:source", product="memory", version="1", identity="source#1"),
        selection=Selection(),
        began_ms=500,
        ended_ms=1_800_000_000_900,
        snapshot_ms=1234,
        snapshot=7,
        counts={"guest": {"read": 2, "written": 2}, "other": {"read": 2, "written": 2}},
        deleted=5,
        warnings=["careful"],
        unread=3,
        number=1,
        clock_ahead=[],
        parts=(),
    )
    bodies = [[activation(round).body, activation(7, "other").body] for round in (0, 1)]
    for at, part in enumerate(made.parts):
        data = (tmp_path / made.folder / part.name).read_bytes()
        assert part == PartNote(
            name=f"part-00000{at + 1}.ndjson.zst",
            layer=at,
            documents=2,
            size_bytes=len(data),
            raw_bytes=sum(len(body) + 1 for body in bodies[at]),
            sha256=hashlib.sha256(data).hexdigest(),
            first_ms=activation(at).start_ms,
            last_ms=activation(7).start_ms,
            namespaces={"guest": 1, "other": 1},
        )
    assert sorted(each.name for each in (tmp_path / made.folder).iterdir()) == [
        "SHA256SUMS",
        "manifest.json",
        "part-000001.ndjson.zst",
        "part-000002.ndjson.zst",
    ]
    writer.close()


def test_an_increment_names_its_parent_and_what_the_clock_puts_behind_it(tmp_path: Path) -> None:
    """Without a snapshot in time there is none; its number is one more than the highest."""
    full = add_backup(tmp_path, Form.COUCHDB, [[activation(1)]])
    writer = ArchiveWriter(Folder(str(tmp_path)), clock=lambda: 1.0)
    writer.continue_from(full.backup)
    writer.prepare()
    writer.write([activation(2)], replace=False)
    writer.finish(completion(Form.COUCHDB, [(0, writer.flush())], snapshot_s=None))
    made = writer.manifest
    assert made is not None
    assert (made.mode, made.parent, made.number, made.snapshot_ms) == ("incremental", full.backup, 2, None)
    assert list(made.clock_ahead) == [full.backup]


@pytest.mark.parametrize("form", [None, Form.COUCHDB])
def test_a_backup_whose_archive_went_is_not_completed(tmp_path: Path, form: Form | None) -> None:
    writer, receipt = begun(tmp_path)
    if form is not None:
        (tmp_path / "archive.json").unlink()
    told = f"archive:{tmp_path}: the archive no longer exists; start over with `restart`"
    with pytest.raises(NotFound, match=f"^{re.escape(told)}$"):
        writer.finish(msgspec.structs.replace(completion(Form.COUCHDB, [(0, receipt)]), form=form))


# -- going on ---------------------------------------------------------------------------------------------------------


def names(writer: ArchiveWriter, folder: Path) -> list[str]:
    return sorted(each.name for each in (folder / folder_of(writer.backup)).iterdir())


def test_a_writer_that_goes_on_drops_what_no_receipt_speaks_of(tmp_path: Path) -> None:
    """And gives no name twice, not even that of what it dropped."""
    writer, receipt = begun(tmp_path)
    prepared = {"backup": writer.backup, "parent": None, "encryption": None}
    writer.write([activation(2)], replace=False)
    writer.flush()
    (tmp_path / folder_of(writer.backup) / "manifest.json").write_bytes(b"{}")
    (tmp_path / folder_of(writer.backup) / "unfinished.json").unlink()
    again = ArchiveWriter(Folder(str(tmp_path)), clock=CLOCK)
    assert again.resume(prepared, [(0, receipt)]) is None
    assert names(again, tmp_path) == ["part-000001.ndjson.zst", "unfinished.json"]
    assert again.highest_number() == 2
    again.write([activation(3)], replace=False)
    third = again.flush()
    assert isinstance(third, dict)
    assert third["name"] == "part-000003.ndjson.zst"
    again.finish(completion(Form.COUCHDB, [(0, receipt), (0, third)]))
    assert sorted(each.id for each in read_archive(tmp_path)) == sorted([activation(1).id, activation(3).id])


def lose_archive(folder: Path, writer: ArchiveWriter) -> None:
    (folder / "archive.json").unlink()


def lose_backup(folder: Path, writer: ArchiveWriter) -> None:
    (folder / folder_of(writer.backup) / "unfinished.json").unlink()


def lose_part(folder: Path, writer: ArchiveWriter) -> None:
    (folder / folder_of(writer.backup) / "part-000001.ndjson.zst").write_bytes(b"x")


def lose_parent(folder: Path, writer: ArchiveWriter) -> None:
    parent = writer._begun.parent
    assert parent is not None
    (folder / folder_of(parent) / "manifest.json").unlink()


@pytest.mark.parametrize(
    ("lose", "refusal"),
    [
        (lose_archive, Refusal.ARCHIVE_GONE),
        (lose_parent, Refusal.PARENT_GONE),
        (lose_backup, Refusal.BACKUP_GONE),
        (lose_part, Refusal.PART_GONE),
    ],
)
def test_a_backup_of_which_something_went_is_started_over_as_a_full_one(
    tmp_path: Path, lose: Callable[[Path, ArchiveWriter], None], refusal: Refusal
) -> None:
    parent = add_backup(tmp_path, Form.COUCHDB, [[activation(0)]])
    writer, receipt = begun(tmp_path, parent.backup)
    prepared: Token = {"backup": writer.backup, "parent": parent.backup, "encryption": None}
    lose(tmp_path, writer)
    again = ArchiveWriter(Folder(str(tmp_path)), clock=CLOCK)
    assert again.resume(prepared, [(0, receipt)]) is refusal
    assert again._begun.parent is None


def test_several_writers_write_parts_of_the_numbers_that_they_are_given(tmp_path: Path) -> None:
    """One that sleeps until the backup is complete takes back what it wrote."""
    writer, receipt = begun(tmp_path)
    prepared: Token = {"backup": writer.backup, "parent": None, "encryption": None}
    writer.allot((5,))
    others = [ArchiveWriter(Folder(str(tmp_path)), clock=CLOCK) for _ in range(2)]
    receipts: list[Token] = []
    for number, other in zip((7, 9), others, strict=True):
        other.join(prepared)
        other.allot((number,))
        other.write([activation(number)], replace=False)
        if number == 7:
            receipts.append(other.flush())
    writer.write([activation(2)], replace=False)
    receipts.append(writer.flush())
    assert [each["name"] for each in receipts if isinstance(each, dict)] == [
        "part-000007.ndjson.zst",
        "part-000005.ndjson.zst",
    ]
    assert writer.highest_number() == 7
    writer.sweep([(0, receipt), (0, receipts[1])])
    assert names(writer, tmp_path) == ["part-000001.ndjson.zst", "part-000005.ndjson.zst", "unfinished.json"]
    writer.finish(completion(Form.COUCHDB, [(0, receipt), (0, receipts[1])]))
    late = f"{folder_of(writer.backup)}part-000009.ndjson.zst"
    told = (
        f"archive:{tmp_path}: backup {writer.backup} was completed or deleted while {late} was written; the part was "
        "deleted again"
    )
    with pytest.raises(NotFound, match=f"^{re.escape(told)}$"):
        others[1].flush()
    assert "part-000009.ndjson.zst" not in names(writer, tmp_path)
    with pytest.raises(AssertionError, match="without a number"):
        others[0].write([activation(1, logs=["x" * (1 << 20)])] * 2, replace=False)
        others[0].flush()


def test_a_backup_has_no_more_parts_than_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "MOST_PARTS", 1)
    writer, _ = begun(tmp_path)
    writer.write([activation(2)], replace=False)
    told = (
        f"archive:{tmp_path}: backup {writer.backup} would have more than 1 parts; start it over with `restart` and a "
        "larger `part_bytes`"
    )
    with pytest.raises(LimitReached, match=f"^{re.escape(told)}$"):
        writer.flush()


def test_an_archive_is_written_in_parts_of_32_mib_or_of_half_a_minute() -> None:
    """Quickly compressed, under names of six digits."""
    assert (writer_module.PART_BYTES, writer_module.PART_S) == (32 << 20, 30.0)
    assert (writer_module.LEVEL, writer_module.MOST_PARTS) == (3, 999_999)
