"""Backups of files whose documents are as no server gives them: what is written can be read again, all of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from migrator.activations.document import Form
from migrator.adapters.memory import _stores, memory_store
from migrator.api.backup import BackupReport, backup
from migrator.api.copy import copy
from migrator.api.restore import restore
from migrator.operations.archive.check import check_archive
from migrator.testing.documents import activation, fields


@pytest.fixture(autouse=True)
def _no_stores() -> Iterator[None]:
    _stores.clear()
    yield
    _stores.clear()


def backed_up(tmp_path: Path, lines: list[Any], name: str = "documents.json") -> BackupReport:
    """A backup of a file of these lines, which must be whole."""
    path = tmp_path / name
    path.write_bytes(
        b"".join((each if isinstance(each, bytes) else json.dumps(each).encode()) + b"\n" for each in lines)
    )
    made = backup(f"file:{path}", f"archive:{tmp_path}/archive", state=tmp_path / "state")
    assert made.report.totals.adds_up
    report = check_archive(f"archive:{tmp_path}/archive")
    assert report.findings == ()
    return made


def restored(tmp_path: Path) -> dict[str, Any]:
    restore(f"archive:{tmp_path}/archive", "memory:target", state=tmp_path / "state")
    return {id: json.loads(entry.body) for id, entry in memory_store("target").entries.items() if entry.body}


def test_documents_without_an_id_are_read_again(tmp_path: Path) -> None:
    """With the id that every store would give them, and otherwise as they are."""
    made = backed_up(tmp_path, [fields(number) for number in range(100)])
    assert (made.report.totals.written, made.report.exit_code) == (100, 0)
    expected = {activation(number).id: {"_id": activation(number).id, **fields(number)} for number in range(100)}
    found = restored(tmp_path)
    assert {id: {**body, "_rev": None} for id, body in found.items()} == {
        id: {**body, "_rev": None} for id, body in expected.items()
    }


@pytest.mark.parametrize("odd", [5, None, ["a"], {"a": 1}, True, 1.5])
def test_an_id_that_is_no_string_rejects_its_document_alone(tmp_path: Path, odd: object) -> None:
    """The other 99 of its frame are in the backup."""
    lines = [{"_id": activation(number).id, **fields(number)} for number in range(100)]
    lines[50]["_id"] = odd
    made = backed_up(tmp_path, lines)
    assert (made.report.totals.written, made.report.rejected) == (99, 1)
    assert len(restored(tmp_path)) == 99


def test_the_last_of_two_ids_counts(tmp_path: Path) -> None:
    """Also where it is written with an escape, and where it is no string."""
    body = json.dumps(fields(1))[1:-1].encode()
    first = activation(1).id.encode()
    lines = [
        b'{"_id":"%b",%b,"_id":"%b"}' % (first, body, b"guest/last"),
        b'{"_id":"%b",%b,"\\u005fid":5}' % (first, body),
    ]
    made = backed_up(tmp_path, lines)
    assert (made.report.totals.written, made.report.rejected) == (1, 1)
    assert list(restored(tmp_path)) == ["guest/last"]


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("target", ["archive", "file"])
def test_an_id_that_is_no_text_rejects_its_document_alone(tmp_path: Path, target: str, form: Form) -> None:
    source = json.dumps(fields(1)).encode()
    ids = (b"guest/a", b"guest/\\ud800", b"guest/b")
    if form is Form.COUCHDB:
        lines = [b'{"_id":"%b",%b' % (id, source[1:]) for id in ids]
    else:
        lines = [b'{"_index":"openwhisk-guest","_id":"%b","_source":%b}' % (id, source) for id in ids]
    if target == "archive":
        report = backed_up(tmp_path, lines).report
    else:
        (tmp_path / "in.json").write_bytes(b"\n".join(lines) + b"\n")
        report = copy(f"file:{tmp_path}/in.json", f"file:{tmp_path}/out.json", state=tmp_path / "state")
    assert (report.totals.written, report.rejected, report.exit_code) == (2, 1, 3)
