"""Files that an earlier release wrote, and that lack tables of this one."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from migrator.engine.state.statefile import StateFile, remove_state
from migrator.errors import StateDamaged, Unavailable

META = "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"
ADDED = (
    "CREATE TABLE IF NOT EXISTS lines (number INTEGER PRIMARY KEY, line TEXT NOT NULL);"
    "CREATE TABLE IF NOT EXISTS names (name TEXT PRIMARY KEY, times INTEGER NOT NULL) WITHOUT ROWID"
)


@pytest.mark.parametrize(
    "statements",
    [
        ["INSERT INTO lines VALUES (1, 'a')"],
        ["INSERT INTO lines VALUES (1, 'a')", "INSERT OR REPLACE INTO lines VALUES (1, 'b')"],
        ["INSERT INTO names VALUES ('a', 1)", "UPDATE names SET times = 2"],
        ["INSERT INTO names VALUES ('a', 1)", "DELETE FROM names"],
        ["INSERT INTO names VALUES ('a', 1) ON CONFLICT (name) DO UPDATE SET times = times + 1"] * 3,
    ],
)
@pytest.mark.parametrize("opened", [1, 2])
def test_tables_that_were_added_keep_their_checksums(tmp_path: Path, statements: list[str], opened: int) -> None:
    """From the moment they are there: also in the process that made them."""
    path = tmp_path / "job.sqlite"
    StateFile(path, schema=META, what="the job").close()
    for time in range(opened):
        with closing(StateFile(path, schema=META, what="the job", added=ADDED)) as file:
            if time == opened - 1:
                for statement in statements:
                    with file._transaction():
                        file._db.execute(statement)
            file.check()
    StateFile(path, schema=META, what="the job", added=ADDED).close()


def test_who_only_looks_brings_nothing_up_to_date(tmp_path: Path) -> None:
    """What an earlier release doesn't have is empty to him, and stays missing in the file."""
    path = tmp_path / "job.sqlite"
    StateFile(path, schema=META, what="the job").close()
    before = path.read_bytes()
    with closing(StateFile(path, schema=META, what="the job", added=ADDED, view=True)) as file:
        assert file._rows("SELECT * FROM lines") == file._rows("SELECT * FROM names") == []
    assert path.read_bytes() == before
    with closing(StateFile(path, schema=META, what="the job", added=ADDED)):
        pass
    assert path.read_bytes() != before


@pytest.mark.parametrize("damage", [lambda path: path.unlink() or path.mkdir(), lambda path: path.write_bytes(b"")])
def test_what_is_no_file_of_ours_says_what_it_is(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    path = tmp_path / "job.sqlite"
    StateFile(path, schema=META, what="the job").close()
    damage(path)
    how = "it is a folder" if path.is_dir() else "it is empty"
    told = (
        f"{path}: the state of the job is damaged and was not used: {how}. Start over with the same command and "
        f"`restart`; for a schedule, remove {tmp_path} and run it again"
    )
    with pytest.raises(StateDamaged, match=f"^{re.escape(told)}$"):
        StateFile(path, schema=META, what="the job")


def test_a_file_that_another_process_holds_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "job.sqlite"
    with closing(StateFile(path, schema=META, what="the job")) as file:
        file._db.execute("PRAGMA busy_timeout = 0")
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            told = f"{path}: the state of the job is in use by another process: database is locked; try again"
            with pytest.raises(Unavailable, match=f"^{re.escape(told)}$"):
                file.claim("one")
        file.claim("one")


def test_a_file_says_of_which_format_it_is(tmp_path: Path) -> None:
    """Of the third, as since jobs keep their requests; releases know each other's files by it."""
    with closing(StateFile(tmp_path / "job.sqlite", schema=META, what="the job")) as file:
        assert file._rows("SELECT value FROM meta WHERE name = 'format'") == [("3",)]


def test_a_file_is_about_one_thing(tmp_path: Path) -> None:
    path = tmp_path / "job.sqlite"
    with closing(StateFile(path, schema=META, what="the job")) as file:
        file.claim("one")
        file.claim("one")
        with pytest.raises(
            StateDamaged, match=r"the state of the job is damaged and was not used: it is that of one\. "
        ):
            file.claim("other")


def test_a_folder_in_the_place_of_a_log_is_named(tmp_path: Path) -> None:
    path = tmp_path / "job.sqlite"
    for ending in ("-wal", "-shm", "-journal"):
        (tmp_path / f"job.sqlite{ending}").write_bytes(b"x")
    remove_state(path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "job.sqlite-shm").mkdir()
    told = f"{path}-shm is a folder, not a file; remove it, then run the same command again"
    with pytest.raises(StateDamaged, match=f"^{re.escape(told)}$"):
        remove_state(path)
