"""Users without a home, and names that aren't UTF-8: no command depends on either."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from migrator.demo.servers import cache
from migrator.errors import UsageError
from migrator.settings.folders import expand_user, user_config, user_state
from migrator.settings.locations import parse_location
from migrator.testing.documents import activation
from migrator.text.printable import printable, printable_path
from tests.support.forked import COMMAND, run_forked_text

NOBODY = """\
import pwd, sys
def nobody(*_): raise KeyError("no such user")
pwd.getpwuid = pwd.getpwnam = nobody
from migrator.commands.main import main
main()
"""
ODD = os.fsdecode(b"od\xffd x")


def run(*words: str, home: bool = False, **environ: str) -> subprocess.CompletedProcess[str]:
    """The command as a user without a home, as `docker run -u 1234` has it."""
    kept = {name: value for name, value in os.environ.items() if name not in ("HOME", "PYTHONUNBUFFERED")}
    kept = {name: value for name, value in kept.items() if not name.startswith(("XDG_", "MIGRATOR_"))}
    return run_forked_text(*words, env={**kept, **environ}, program=COMMAND if home else NOBODY)


@pytest.fixture
def lines(tmp_path: Path) -> str:
    file = tmp_path / "acts.ndjson"
    file.write_bytes(b"".join(activation(number).body + b"\n" for number in range(1, 4)))
    return f"file:{file}"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["config", "show"], 0),
        (["config", "show", "--json"], 0),
        (["config", "check"], 2),
        (["detect", "memory:x"], 0),
        (["stats", "memory:x"], 0),
        (["archive", "list", "memory:x"], 2),
        (["demo", "--help"], 0),
    ],
)
def test_what_keeps_no_state_needs_no_home(words: Sequence[str], code: int) -> None:
    ended = run(*words)
    assert ended.returncode == code, ended.stderr
    assert "unexpected" not in ended.stderr
    assert "HOME" not in ended.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["copy", "LINES", "memory:y"],
        ["backup", "LINES", "archive:ARCHIVE"],
        ["verify", "LINES", "memory:y"],
        ["schedule", "list", "--schedules", "."],
        ["retry-rejected", "abc"],
        ["report", "abc"],
    ],
)
def test_state_is_asked_for_where_there_is_no_home(tmp_path: Path, lines: str, words: list[str]) -> None:
    """One line that names `--state`; with it, or with a folder in the environment, the command works."""
    given = [word.replace("LINES", lines).replace("ARCHIVE", str(tmp_path / "archive")) for word in words]
    given = [str(tmp_path) if word == "." else word for word in given]
    ended = run(*given)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        "migrator: there is no folder to keep state in: HOME isn't set and the user has no home; "
        "name one with --state or MIGRATOR_STATE\n"
    )
    code = {"retry-rejected": 10, "report": 10, "verify": 4}.get(words[0], 0)
    for name, folder in (("XDG_STATE_HOME", tmp_path), ("MIGRATOR_STATE", tmp_path / "state")):
        assert run(*given, home=False, **{name: str(folder)}).returncode == code
    assert run(*given, "--state", str(tmp_path / "state")).returncode == code


@pytest.mark.parametrize("words", [["copy", "~/acts.ndjson", "memory:y"], ["backup", "memory:x", "archive:~/b"]])
def test_home_that_means_nothing_is_refused(tmp_path: Path, words: list[str]) -> None:
    """A folder named `~` would be made else."""
    ended = run(*words, "--state", str(tmp_path))
    assert ended.returncode == 2
    assert "there is no home folder for ~" in ended.stderr


def _nobody(_: int) -> None:
    raise KeyError("nobody")


def test_folders_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", _nobody)
    assert user_config() == ()
    with pytest.raises(UsageError, match="`state`"):
        user_state()
    with pytest.raises(UsageError, match="write the full path"):
        expand_user("~/x")


def test_demo_asks_for_a_folder_where_there_is_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the servers that it unpacks."""
    for name in ("HOME", "XDG_CACHE_HOME", "MIGRATOR_SERVERS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", _nobody)
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    with pytest.raises(UsageError, match="MIGRATOR_SERVERS"):
        cache()


# -- names ------------------------------------------------------------------------------------------------------


def test_folders_that_are_not_utf8(tmp_path: Path) -> None:
    """Of files, archives, state and schedules; whatever is printed of them says where it is."""
    odd = tmp_path / ODD
    odd.mkdir()
    lines = odd / "acts.ndjson"
    lines.write_bytes(b"".join(activation(number).body + b"\n" for number in range(1, 4)))
    (odd / f"{ODD}.toml").write_text("")
    (odd / "good.toml").write_text('source = "memory:a"\ntarget = "archive:/x"\n[when]\nevery = "1h"\n')
    state = ["--state", str(odd / "state")]
    quoted = "od%FFd x"
    for words in (
        ["copy", f"file:{tmp_path}/{quoted}/acts.ndjson", f"file:{tmp_path}/{quoted}/out.ndjson", *state],
        ["backup", f"file:{tmp_path}/{quoted}/acts.ndjson", f"archive:{tmp_path}/{quoted}/archive", *state],
        ["archive", "list", f"archive:{tmp_path}/{quoted}/archive"],
        ["archive", "check", f"archive:{tmp_path}/{quoted}/archive"],
        ["archive", "cat", f"archive:{tmp_path}/{quoted}/archive"],
        ["verify", f"file:{tmp_path}/{quoted}/acts.ndjson", f"archive:{tmp_path}/{quoted}/archive", *state],
        ["detect", f"archive:{tmp_path}/{quoted}/archive"],
        ["stats", f"archive:{tmp_path}/{quoted}/archive"],
        ["status", *state],
        ["config", "show", *state],
        ["schedule", "list", "--schedules", str(odd), *state],
        ["schedule", "check", "--schedules", str(odd)],
    ):
        for more in ([], ["--json"]):
            if more and words[1] in ("cat", "check") and words[0] != "archive":
                continue
            if more and words[:2] in (["archive", "cat"], ["schedule", "check"]):
                continue
            ended = run(*words, *more, home=True, HOME=str(odd))
            expected = {"list": 3, "check": 2}[words[1]] if words[0] == "schedule" else 0
            assert ended.returncode == expected, (words, ended.stderr)
            assert "unexpected" not in ended.stderr
            assert "\x1b" not in ended.stdout + ended.stderr
            ended.stdout.encode()
            if more:
                for line in ended.stdout.splitlines() if words[0] != "config" else [ended.stdout]:
                    json.loads(line)
    (job,) = json.loads(f"[{run('status', *state, '--json', home=True, HOME=str(odd)).stdout.splitlines()[0]}]")
    ended = run("report", job["job"], *state, "--output", str(odd / "page.html"), home=True, HOME=str(odd))
    assert (ended.returncode, ended.stderr) == (0, "")


def test_location_of_a_folder_that_is_not_utf8_reads_itself_back() -> None:
    assert parse_location(f"archive:/x/{ODD}").location.printed == "archive:/x/od%FFd x"
    location = parse_location("archive:/x/od%FFd").location
    assert location.path == os.fsdecode(b"/x/od\xffd")
    assert location.printed == "archive:/x/od%FFd"
    assert parse_location(location.printed).location == location


@pytest.mark.parametrize("text", ["couchdb://us\udcffer@db/acts", "elasticsearch://h/?index-pattern=a\udcff"])
def test_url_that_is_not_utf8_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="isn't UTF-8"):
        parse_location(text)


def test_what_is_shown_of_text_from_outside() -> None:
    assert printable("a\x1b[2J\n\u202e\udcff\u00a0") == r"a\x1b[2J\n\u202e\udcff\xa0"
    assert printable("x" * 100, 30) == "x" * 19 + "…" + "x" * 10
    assert printable_path(os.fsdecode(b"a\xffb")) == r"a\xffb"
