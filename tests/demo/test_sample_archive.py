"""The sample archive is what its script makes, is whole, and can be restored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from migrator.activations.document import Form
from migrator.adapters.archive.manifest import Manifest
from migrator.adapters.memory import _stores, memory_store
from migrator.api.restore import restore
from migrator.demo.sample_archive import FULL, full_documents, make_sample_archive, new_documents
from migrator.operations.archive.check import check_archive
from tests.support import independent_reader
from tests.support.archives import read_archive

ARCHIVE = Path(__file__).parents[2] / "samples" / "archive"


def state(folder: Path, **choice: Any) -> dict[str, bytes]:
    return {document.id: document.body for document in read_archive(folder, **choice)}


def test_the_script_makes_it(tmp_path: Path) -> None:
    """The same documents, ids and times; another Zstandard may make other bytes of them."""
    make_sample_archive(tmp_path)
    assert state(tmp_path) == state(ARCHIVE)
    names = sorted(each.relative_to(tmp_path) for each in tmp_path.rglob("*"))
    assert names == sorted(each.relative_to(ARCHIVE) for each in ARCHIVE.rglob("*"))


def test_it_is_whole_and_small() -> None:
    report = check_archive(f"archive:{ARCHIVE}")
    assert (report.findings, report.backups) == ((), 2)
    assert sum(each.stat().st_size for each in ARCHIVE.rglob("*") if each.is_file()) < 300_000


@pytest.mark.parametrize("form", Form)
def test_it_can_be_restored(tmp_path: Path, form: Form) -> None:
    """The newest state and the first one, into a store of either form."""
    _stores.clear()
    full = {document.id: document.body for document in full_documents()}
    newest = full | {document.id: document.body for document in new_documents()}
    for name, expected, backup in (("newest", newest, None), ("first", full, FULL)):
        store = memory_store(name, form)
        report = restore(f"archive:{ARCHIVE}", f"memory:{name}", backup=backup, state=tmp_path)
        assert report.exit_code == 0
        assert store.entries.keys() == expected.keys()
        if form is Form.COUCHDB:
            assert {id: entry.body for id, entry in store.entries.items()} == expected
    _stores.clear()


def test_a_reader_written_from_the_document_reads_it() -> None:
    """It shares no code with ours, and finds the same bytes."""
    assert independent_reader.state(ARCHIVE) == state(ARCHIVE)
    assert independent_reader.state(ARCHIVE, FULL) == state(ARCHIVE, backup=FULL)
    assert set(independent_reader.backups(ARCHIVE)["20260202T021500Z-5a3b1f"]) == set(Manifest.__struct_fields__)
