"""Backups of which something is deleted while they are written or listed."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import pytest

from migrator.activations.document import Form
from migrator.adapters.archive import ArchiveWriter, open_writer
from migrator.adapters.archive.catalog import delete_backup, read_catalog
from migrator.adapters.archive.folder import Folder
from migrator.adapters.archive.manifest import UNFINISHED, folder_of
from migrator.adapters.base import Token
from migrator.errors import ArchiveDamaged, Unavailable
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
    said = f"part-000001.ndjson.zst was deleted or changed while backup {writer.backup} was being written"
    with pytest.raises(ArchiveDamaged, match=re.escape(said)):
        writer.finish(completion(Form.COUCHDB, [(0, receipt)]))
    assert read_catalog(Folder(str(tmp_path))).backups == ()


def test_a_parent_that_was_deleted_meanwhile_is_reported(tmp_path: Path) -> None:
    """What continues it couldn't be restored."""
    parent = add_backup(tmp_path, Form.COUCHDB, [[activation(0)]])
    writer, receipt = begun(tmp_path, parent.backup)
    delete_backup(Folder(str(tmp_path)), parent.backup)
    with pytest.raises(ArchiveDamaged, match=f"backup {parent.backup} was deleted"):
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
    with pytest.raises(ArchiveDamaged, match=f"its parts hold 1 document of namespace guest, and {written} were"):
        writer.finish(completion(Form.COUCHDB, [(0, receipt)], counts=counts))
    with pytest.raises(ArchiveDamaged, match="its parts hold 0 documents of namespace guest, and 1 was written"):
        writer.finish(completion(Form.COUCHDB, [], counts={"guest": {"read": 1, "written": 1}}))
    catalog = read_catalog(Folder(str(tmp_path)))
    assert [each.backup for each in catalog.backups] == [earlier.backup]
    assert catalog.unfinished == (writer.backup,)


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
