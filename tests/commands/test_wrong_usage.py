"""What operators type wrongly does what was meant, or says how to write it: each line of `docs/mistakes.md`."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from migrator.testing.documents import activation
from migrator.text.units import counted, plural
from tests.commands.test_main import run
from tests.support.stores import fill_memory

PAGE = Path(__file__).parents[2] / "docs" / "mistakes.md"
ROWS = re.findall(r"^\| `(migrator [^`]*)` \| (.*) \|$", PAGE.read_text(), re.MULTILINE)


def test_the_page_has_every_kind_of_mistake() -> None:
    """Those that were seen: paths, schemes, stars, percent signs, durations, short options, options too early."""
    typed = "\n".join(line for line, _ in ROWS)
    for mistake in (
        *(
            "/openwhisk-guest",
            "http://",
            "openwhisk-*",
            "50%off",
            "--retry-for 5m",
            "pattern=openwhisk-%s",
            " -j ",
            " -v",
        ),
        *("migrator --config ", "--dry-run --quiet"),
    ):
        assert mistake in typed


@pytest.mark.parametrize(("typed", "happens"), ROWS, ids=[line for line, _ in ROWS])
def test_a_mistake_is_understood_or_explained(
    typed: str, happens: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With exit code 2 and no job where it is explained; a server that isn't there is asked where it is understood."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.toml").touch()
    fill_memory("memory:typed", [activation(1)])
    fill_memory("memory:copied", [activation(1)])
    words = shlex.split(typed)[1:]
    stateful = not {"stats"} & set(words)
    ended = run(*words, *(("--state", str(tmp_path / "state")) if stateful else ()))
    output = ended.stdout + ended.stderr
    done, _, said = happens.rpartition("done: ")
    assert said in output
    assert "secret" not in output
    if done or happens.startswith("done: "):
        assert ended.exit_code == (5 if "127.0.0.1:9" in typed else 0), output
    else:
        assert (ended.exit_code, ended.stdout) == (2, "")
        assert len(ended.stderr.splitlines()) == 1
        assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 backups"), (1, "1 backup"), (2, "2 backups"), (1_000, "1,000 backups")]
)
def test_one_of_a_kind_is_singular(count: int, said: str) -> None:
    assert counted(count, "backup") == said
    assert plural(count, "index", "indices") == ("index" if count == 1 else "indices")


def test_one_backup_of_one_document_is_reported_in_the_singular(tmp_path: Path) -> None:
    """`archive check` of the smallest archive."""
    fill_memory("memory:singular", [activation(1)])
    archive = f"archive:{tmp_path}/archive"
    made = run("backup", "memory:singular", archive, "--state", str(tmp_path / "state"))
    assert "this run: 1 document read in" in made.stdout
    checked = run("archive", "check", archive)
    assert "whole; 1 backup, 1 document, " in checked.stdout
    assert " in 1 part, 1 of them" in checked.stdout
