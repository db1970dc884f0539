"""Pruning of real archives: what goes, what stays, in which order, and that the dry run tells the truth."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.activations.document import Form
from migrator.activations.selection import Selection
from migrator.adapters.archive import ArchiveWriter
from migrator.adapters.archive.catalog import read_catalog
from migrator.adapters.archive.folder import Folder
from migrator.adapters.base import Description
from migrator.errors import NotFound, UsageError
from migrator.operations.archive.prune import prune_archive
from migrator.operations.archive.retention import Retention
from migrator.testing.documents import activation
from tests.support.archives import add_backup, read_archive
from tests.support.profiles import examples
from tests.support.said import into

LAST = Retention(last=1)


def later() -> float:
    """Eight days after the first backup of these tests."""
    return 1_800_000_000.0 + 8 * 86_400


def ids(folder: Path) -> list[str]:
    return sorted(each.name for each in (folder / "backups").iterdir())


def make(folder: Path, *parents: int | None, **changes: Any) -> list[str]:
    """Backups by the place of what each builds on."""
    made: list[str] = []
    for number, parent in enumerate(parents):
        manifest = add_backup(
            folder,
            Form.COUCHDB,
            [[activation(number)]],
            parent=None if parent is None else made[parent],
            **changes,
        )
        made.append(manifest.backup)
    return made


def test_a_chain_that_is_needed_stays(tmp_path: Path) -> None:
    """Two chains: of the older nothing is needed, of the newer everything."""
    made = make(tmp_path, None, 0, None, 2, 3)
    told: list[str] = []
    report = prune_archive(f"archive:{tmp_path}", LAST, tell=into(told))
    assert [each.backup for each in report.deleted] == made[:2]
    assert ids(tmp_path) == made[2:]
    assert len(told) == 2
    assert len(read_archive(tmp_path)) == 3


def test_the_dry_run_deletes_nothing(tmp_path: Path) -> None:
    made = make(tmp_path, None, None, None)
    report = prune_archive(f"archive:{tmp_path}", LAST, dry_run=True)
    assert [each.backup for each in report.deleted] == made[:2]
    assert ids(tmp_path) == made


@examples(20)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=6), st.integers(0, 2), st.integers(1, 2))
def test_the_dry_run_tells_the_truth(shape: list[int], daily: int, last: int) -> None:
    """What it says is what the real run does, and a second run finds nothing to do."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, *(None if step == 0 or step > number else number - step for number, step in enumerate(shape)))
        retention = Retention(last=last, daily=daily)
        foretold = prune_archive(name_of(folder), retention, dry_run=True)
        done = prune_archive(name_of(folder), retention)
        assert done.backups == foretold.backups
        assert ids(folder) == [each.backup for each in done.backups if each.kept]
        assert prune_archive(name_of(folder), retention).deleted == ()
        catalog = read_catalog(Folder(name))
        for manifest in catalog.backups:
            catalog.chain(manifest, "")


def name_of(folder: Path) -> str:
    return f"archive:{folder}"


def test_what_builds_on_another_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prune that dies after any step leaves whole chains only, and the next one does the rest."""
    steps = 0
    real = Folder.delete
    for die_after in range(40):
        folder = tmp_path / str(die_after)
        made = make(folder, None, 0, 1, None)
        steps = 0

        def delete(self: Folder, name: str, *, die_after: int = die_after) -> None:
            nonlocal steps
            if steps == die_after:
                raise KeyboardInterrupt
            steps += 1
            real(self, name)

        monkeypatch.setattr(Folder, "delete", delete)
        try:
            prune_archive(name_of(folder), LAST)
            assert die_after >= 9
            break
        except KeyboardInterrupt:
            monkeypatch.setattr(Folder, "delete", real)
        catalog = read_catalog(Folder(str(folder)))
        for manifest in catalog.backups:
            catalog.chain(manifest, "")
        prune_archive(name_of(folder), LAST, unfinished_older_than="0s", clock=later)
        assert ids(folder) == made[3:]
    else:
        raise AssertionError("it never came to its end")


def begin(folder: Path, parent: str | None, began_s: float) -> str:
    """An unfinished backup with a part."""
    writer = ArchiveWriter(Folder(str(folder)), clock=lambda: began_s)
    writer.continue_from(parent)
    writer.prepare()
    writer.write([activation(99)], replace=False)
    writer.flush()
    writer.close()
    return writer.backup


def test_an_unfinished_backup_keeps_what_it_builds_on(tmp_path: Path) -> None:
    """Until it is given up itself, which must be requested."""
    made = make(tmp_path, None, None)
    begun = begin(tmp_path, made[0], 1_800_000_000.0)
    assert prune_archive(name_of(tmp_path), LAST, clock=later).deleted == ()
    assert prune_archive(name_of(tmp_path), LAST, unfinished_older_than="9d", clock=later).deleted == ()
    report = prune_archive(name_of(tmp_path), LAST, unfinished_older_than="7d", clock=later)
    assert {each.backup for each in report.deleted} == {made[0], begun}
    assert ids(tmp_path) == made[1:]


def test_a_backup_that_is_not_whole_stays(tmp_path: Path) -> None:
    """A missing part, and a manifest that can't be read: neither counts, neither goes."""
    made = make(tmp_path, None, None, None, None)
    (tmp_path / "backups" / made[3] / "part-000001.ndjson.zst").unlink()
    manifest = tmp_path / "backups" / made[2] / "manifest.json"
    manifest.write_bytes(manifest.read_bytes()[:-20])
    report = prune_archive(name_of(tmp_path), LAST)
    assert [each.backup for each in report.deleted] == made[:1]
    assert [each.state for each in report.backups] == ["complete", "complete", "damaged", "incomplete"]


def test_another_selection_is_another_line(tmp_path: Path) -> None:
    """The only backup of everything isn't pushed out by those of one namespace; times of a selection don't matter."""
    whole = make(tmp_path, None)
    some = [
        add_backup(
            tmp_path, Form.COUCHDB, [[activation(1)]], selection=Selection(namespaces=("guest",), since_ms=since_ms)
        ).backup
        for since_ms in (1, 2, 3)
    ]
    other = make(tmp_path, None, source=Description(location="memory:other", product="memory", version="1"))
    prune_archive(name_of(tmp_path), LAST)
    assert ids(tmp_path) == sorted([*whole, some[-1], *other])


def test_where_nothing_can_be_pruned(tmp_path: Path) -> None:
    """No archive, no rule, another kind of store."""
    with pytest.raises(NotFound, match="there is no archive"):
        prune_archive(f"archive:{tmp_path}/none", LAST)
    with pytest.raises(UsageError, match="no rule"):
        prune_archive(f"archive:{tmp_path}", Retention())
    with pytest.raises(UsageError, match="unfinished-older-than soon: give an age"):
        prune_archive(f"archive:{tmp_path}", LAST, unfinished_older_than="soon")
    with pytest.raises(UsageError, match="isn't an archive"):
        prune_archive("memory:store", LAST)
    assert list(tmp_path.iterdir()) == []
