"""The files of a purge: what of its log counts, and what was on its way when it died."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import Any

import pytest
import zstandard

from migrator.engine.removal import journal as journals
from migrator.engine.removal.journal import Entry, Journal
from migrator.errors import StateDamaged, Unavailable
from tests.support.purges import read_log

STORE = {"uuid": "one"}
LOG = "purge-1.ndjson.zst"


def entry(id: str, **more: Any) -> Entry:
    return Entry(id=id, namespace="guest", start_ms=1, size_bytes=10, digest="ab", version="1-a", **more)


def begun(folder: Path) -> Journal:
    journal = Journal(folder)
    journal.begin_log(LOG)
    return journal


def logged(folder: Path) -> list[Any]:
    return read_log(folder / LOG)


def test_a_folder_without_a_state_has_nothing_pending(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert journal.pending() is None
    assert journal.log is None


def test_a_batch_is_pending_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    """For a later run too; with the identity of the store that it was sent to."""
    journal = begun(tmp_path)
    assert journal.log == tmp_path / LOG
    assert Journal(tmp_path).pending() is None
    batch = [entry("a"), entry("b", index="acts", after="cd")]
    journal.begin(batch, STORE)
    pending = Journal(tmp_path).pending()
    assert pending is not None
    assert (list(pending.batch), pending.store, pending.index) == (batch, STORE, "")
    journal.end([{"id": "a"}])
    assert Journal(tmp_path).pending() is None
    assert Journal(tmp_path).log == tmp_path / LOG
    assert logged(tmp_path) == [{"id": "a"}]


def test_a_batch_of_which_nothing_was_done_is_ended_all_the_same(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    journal.begin([entry("a")], STORE)
    journal.end([])
    assert Journal(tmp_path).pending() is None
    assert not (tmp_path / LOG).read_bytes()


@pytest.mark.parametrize("torn", [b"\0", b"half a frame" * 100])
def test_what_does_not_count_is_cut_off_the_log(tmp_path: Path, torn: bytes) -> None:
    """A run died while it wrote what became of a batch: the next one finds out by the store."""
    journal = begun(tmp_path)
    journal.end([{"id": "kept"}])
    journal.begin([entry("a")], STORE)
    whole = (tmp_path / LOG).read_bytes()
    (tmp_path / LOG).write_bytes(whole + torn)
    again = Journal(tmp_path)
    assert again.pending() is not None
    assert (tmp_path / LOG).read_bytes() == whole
    again.end([{"id": "a"}])
    assert logged(tmp_path) == [{"id": "kept"}, {"id": "a"}]


@pytest.mark.parametrize("is_gone", [True, False])
def test_what_was_staged_counts_once_the_index_is_gone(tmp_path: Path, is_gone: bool) -> None:
    """Until then it stays in the log, also for a run that takes over; where the index stays, it goes."""
    journal = begun(tmp_path)
    journal.end([{"id": "before"}])
    journal.freeze("acts-1", STORE)
    journal.stage([{"id": "a"}, {"id": "b"}])
    journal.stage([{"id": "c"}])
    again = Journal(tmp_path)
    pending = again.pending()
    assert pending is not None
    assert (pending.index, pending.store) == ("acts-1", STORE)
    assert [line["id"] for line in logged(tmp_path)] == ["before", "a", "b", "c"]
    again.thaw(is_gone=is_gone)
    assert [line["id"] for line in logged(tmp_path)] == ["before", *("a", "b", "c")[: 3 * is_gone]]
    assert Journal(tmp_path).pending() is None


def test_an_index_that_is_frozen_before_anything_is_staged_may_be_gone(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    journal.end([{"id": "before"}])
    journal.freeze("acts-1", STORE)
    journal.thaw(is_gone=True)
    assert logged(tmp_path) == [{"id": "before"}]


def test_a_log_that_went_is_begun_again_where_something_is_on_its_way(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    journal.begin([entry("a")], STORE)
    (tmp_path / LOG).unlink()
    again = Journal(tmp_path)
    assert again.pending() is not None
    again.end([{"id": "a"}])
    assert logged(tmp_path) == [{"id": "a"}]


def test_each_batch_is_a_frame_with_a_checksum(tmp_path: Path) -> None:
    """So that a bit that flips in a log that is kept for years is noticed by whoever reads it."""
    journal = begun(tmp_path)
    journal.end([{"id": "a"}])
    size = (tmp_path / LOG).stat().st_size
    journal.end([{"id": "b"}])
    data = (tmp_path / LOG).read_bytes()
    for frame in (data[:size], data[size:]):
        assert zstandard.get_frame_parameters(frame).has_checksum


def test_only_its_owner_may_read_what_a_purge_notes(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    journal.begin([entry("a")], STORE)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize("damaged", [b"", b"{", b"\xff", b'{"log":1}'])
def test_a_damaged_state_names_its_file_and_the_way_out(tmp_path: Path, damaged: bytes) -> None:
    begun(tmp_path)
    (tmp_path / "state.json").write_bytes(damaged)
    with pytest.raises(StateDamaged) as refused:
        Journal(tmp_path)
    before, _, after = str(refused.value).partition(" damaged: ")
    assert before == f"{tmp_path / 'state.json'}: the state of the purge is"
    assert after.endswith(". Remove it and run the same command again; the log beside it may lack the last batch")


def test_a_full_disk_stops_a_purge_before_it_sends_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can be resumed: exit code 5. What is no lack of room is reported as what it is."""
    journal = begun(tmp_path)

    def failing(code: int) -> None:
        def write(*_: object) -> None:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(journals, "write_file", write)
        monkeypatch.setattr(journals, "write_all", write)

    failing(errno.ENOSPC)
    told = (
        "the log of the purge can't be written: No space left on device; free disk space, then run the same command "
        "again. Nothing was removed without being noted"
    )
    with pytest.raises(Unavailable, match=f"^{re.escape(f'{tmp_path}/state.json: {told}')}$"):
        journal.begin([entry("a")], STORE)
    with pytest.raises(Unavailable, match=f"^{re.escape(f'{tmp_path}/purge-1.ndjson.zst: {told}')}$"):
        journal.stage([{"id": "a"}])
    failing(errno.EACCES)
    with pytest.raises(OSError, match="Permission denied"):
        journal.begin([entry("a")], STORE)
