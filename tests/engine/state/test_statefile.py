"""Files that an earlier release wrote, and that lack tables of this one."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from migrator.engine.state.statefile import StateFile

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
