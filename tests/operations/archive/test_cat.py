"""Printing an archive: every document once, in its newest version, in the form requested."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from migrator.activations.document import Form, Rejection
from migrator.activations.selection import SelectionSpec
from migrator.errors import ArchiveDamaged, Interrupted, NotFound, UsageError
from migrator.events.watching import Stop
from migrator.operations.archive.cat import cat_archive
from migrator.testing.documents import activation
from tests.support.archives import add_backup
from tests.support.damage import documents_of, flipped, make_archive, pieces, put


def test_each_document_is_printed_once_in_its_newest_version(tmp_path: Path) -> None:
    """Byte for byte as it is archived."""
    make_archive(tmp_path, 12)
    lines = list(cat_archive(f"archive:{tmp_path}"))
    assert sorted(lines) == sorted(documents_of(tmp_path).values())


def test_a_selection_and_an_earlier_state(tmp_path: Path) -> None:
    """As for a restore."""
    full, newer = make_archive(tmp_path, 12)
    archive = f"archive:{tmp_path}"
    assert len(list(cat_archive(archive, wanted=SelectionSpec(namespaces=("whisk.system",))))) == 6
    assert len(list(cat_archive(archive, wanted=SelectionSpec(since="1700000010000")))) == 3
    assert sorted(cat_archive(archive, backup=full.backup)) == sorted(cat_archive(archive, at=str(full.ended_ms)))
    assert len(list(cat_archive(archive, backup=full.backup))) == 12
    assert len(list(cat_archive(f"{archive}?backup={newer.backup}"))) == 13
    with pytest.raises(UsageError, match="both select a backup"):
        list(cat_archive(archive, backup=full.backup, at="2026-01-01"))
    with pytest.raises(NotFound, match="no backup 'none'"):
        list(cat_archive(archive, backup="none"))


def test_the_other_form(tmp_path: Path) -> None:
    """With the index that OpenWhisk would keep it in; elasticdump's line."""
    add_backup(tmp_path, Form.COUCHDB, [[activation(1, "Guest")]])
    (line,) = cat_archive(f"archive:{tmp_path}", form=Form.ELASTICSEARCH)
    found = json.loads(line)
    assert list(found) == ["_index", "_type", "_id", "_source"]
    assert (found["_index"], found["_id"]) == ("openwhisk-guest", activation(1, "Guest").id)
    assert found["_source"]["annotations"]["path"] == "Guest/hello"


def test_what_has_no_other_form_is_reported(tmp_path: Path) -> None:
    """And the others are printed."""
    odd = activation(2, annotations="none")
    add_backup(tmp_path, Form.COUCHDB, [[activation(1), odd]])
    told: list[Rejection] = []
    lines = list(cat_archive(f"archive:{tmp_path}", form=Form.ELASTICSEARCH, reject=told.append))
    assert len(lines) == 1
    assert [each.id for each in told] == [odd.id]


def test_damage_ends_it(tmp_path: Path) -> None:
    full, _ = make_archive(tmp_path, 12)
    name = f"{full.folder}{full.parts[0].name}"
    put(tmp_path, {name: flipped(pieces(tmp_path)[name], 400)})
    with pytest.raises(ArchiveDamaged, match="a frame is damaged"):
        list(cat_archive(f"archive:{tmp_path}"))


def test_it_can_be_stopped(tmp_path: Path) -> None:
    make_archive(tmp_path, 12)
    stop = Stop()
    stop.ask(130)
    with pytest.raises(Interrupted):
        list(cat_archive(f"archive:{tmp_path}", stop=stop))
