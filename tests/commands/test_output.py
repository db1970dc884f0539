"""How the process ends when its output can't be written, and what its text may hold."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from migrator.api.backup import backup
from migrator.commands import output
from migrator.commands.messages import one_line
from migrator.testing.documents import activation
from tests.support.forked import run_forked_text

ROOT = Path(__file__).parents[2]
FULL = (
    "migrator: the output can't be written: No space left on device; free disk space, then run the same command again"
)
HOSTILE = "a\x1b]0;x\x07\x1b[2J\x9b1m\u202e\r\n\x7f"
STEERING = ("\x1b", "\x07", "\x9b", "\u202e", "\r", "\x7f")

buffered = pytest.mark.parametrize("buffered", [True, False], ids=["buffered", "unbuffered"])


def environ(buffered: bool) -> dict[str, str]:
    rest = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return {**rest, "PYTHONPATH": str(ROOT), **({} if buffered else {"PYTHONUNBUFFERED": "1"})}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of documents, more of them than a pipe holds, an archive of it, and the state of the backup."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "acts.ndjson").write_bytes(b"".join(activation(number).body + b"\n" for number in range(1, 600)))
    backup(f"file:{folder / 'acts.ndjson'}", f"archive:{folder / 'archive'}", state=folder / "state")
    return folder


@pytest.fixture
def archive(tmp_path: Path, made: Path) -> str:
    """A copy, since commands leave their own jobs beside it."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return f"archive:{tmp_path / 'archive'}"


def words_of(name: str, archive: str) -> Sequence[str]:
    folder = Path(archive.removeprefix("archive:")).parent
    state, lines = str(folder / "state"), f"file:{folder / 'acts.ndjson'}"
    return {
        "help": ["--help"],
        "version": ["--version"],
        "cat": ["archive", "cat", archive],
        "list": ["archive", "list", archive],
        "json": ["archive", "list", archive, "--json"],
        "status": ["status", "--state", state],
        "copy": ["copy", archive, "memory:target", "--state", state],
        "verify": ["verify", archive, lines, "--state", state],
        "config": ["config", "show"],
    }[name]


COMMANDS = ("help", "version", "cat", "list", "json", "status", "copy", "verify", "config")


@buffered
@pytest.mark.parametrize("name", COMMANDS)
def test_full_disk_is_one_line_and_5(archive: str, name: str, buffered: bool) -> None:
    """Whether Python keeps output back until the end or not."""
    with Path("/dev/full").open("wb") as full:
        ended = run_forked_text(*words_of(name, archive), stdout=full, env=environ(buffered))
    assert ended.returncode == 5
    assert ended.stderr.splitlines()[-1] == FULL
    assert "Exception ignored" not in ended.stderr
    assert "Traceback" not in ended.stderr


@buffered
@pytest.mark.parametrize("name", COMMANDS)
def test_reader_that_left_ends_the_process_quietly(archive: str, name: str, buffered: bool) -> None:
    """`| head -1`: 141, as a process has it that SIGPIPE ended."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        ended = run_forked_text(*words_of(name, archive), stdout=closed, env=environ(buffered))
    assert ended.returncode == 141
    assert not [line for line in ended.stderr.splitlines() if "rror" in line or "unexpected" in line]


@buffered
def test_reader_that_leaves_midway(archive: str, buffered: bool) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "migrator", "archive", "cat", archive],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environ(buffered),
    )
    assert process.stdout
    assert process.stderr
    with process:
        assert json.loads(process.stdout.readline())
        process.stdout.close()
        told = process.stderr.read()
    assert (process.returncode, told) == (141, b"")


@buffered
def test_code_that_says_more_stays(tmp_path: Path, buffered: bool) -> None:
    """What a command found outlasts its output."""
    with Path("/dev/full").open("wb") as full:
        words = ("archive", "list", f"archive:{tmp_path}")
        ended = run_forked_text(*words, stdout=full, stderr=full, env=environ(buffered))
    assert ended.returncode == 10


@buffered
@pytest.mark.parametrize("name", ["list", "cat", "help"])
def test_closed_output_is_no_fault(archive: str, name: str, buffered: bool) -> None:
    """`>&- 2>&-`, as some daemons start their children."""
    command = 'exec "$0" "$@" >&- 2>&-'
    words = [sys.executable, "-m", "migrator", *words_of(name, archive)]
    assert subprocess.run(["sh", "-c", command, *words], env=environ(buffered)).returncode == 0


def test_text_steers_no_terminal(capsysbinary: Any) -> None:
    """Control characters, escape sequences and marks of direction are shown; line breaks of ours stay."""
    output.print_text(f"one\n{HOSTILE.replace(chr(10), '')}")
    told = capsysbinary.readouterr().out.decode()
    assert told == "one\na\\x1b]0;x\\x07\\x1b[2J\\x9b1m\\u202e\\r\\x7f\n"
    output.print_text("\x1b[36mbar\x1b[0m\x1b[2J", coloured=True)
    assert capsysbinary.readouterr().out == b"\x1b[36mbar\x1b[0m\\x1b[2J\n"


@pytest.mark.parametrize("text", [HOSTILE, "\U000e0001 \U0001f600", "caf\u00e9"])
def test_json_steers_no_terminal_and_says_the_same(capsysbinary: Any, text: str) -> None:
    output.print_json({text: [text]})
    told = capsysbinary.readouterr().out.decode()
    assert json.loads(told) == {text: [text]}
    assert not any(sign in told for sign in (*STEERING, "\U000e0001"))


def test_path_that_is_not_utf8_is_printed_as_json(capsysbinary: Any) -> None:
    output.print_json({"file": os.fsdecode(b"/tmp/a\xff")})
    assert capsysbinary.readouterr().out == b'{"file":"/tmp/a\\udcff"}\n'


def test_message_is_bounded() -> None:
    """Some servers repeat a whole document; the end, which says what to do, stays."""
    told = one_line("x" * 1_000_000 + "; do this")
    assert len(told) == 2000
    assert told.endswith("; do this")


def test_commands_print_through_one_place() -> None:
    """`click.echo` prints whatever it is given."""
    for file in (ROOT / "migrator" / "commands").glob("*.py"):
        text = file.read_text()
        if file.name not in ("output.py", "messages.py"):
            assert "click.echo(" not in text.replace("click.echo(context.get_help(), err=True)", ""), file
            assert "sys.stdout.buffer" not in text, file


# -- what documents hold ----------------------------------------------------------------------------------------


def _hostile(number: int, **more: Any) -> bytes:
    """A document whose names would set the title of a terminal, clear it, and turn the direction of writing."""
    return json.dumps({**json.loads(activation(number).body), "namespace": f"ns{HOSTILE}", **more}).encode() + b"\n"


def test_names_in_documents_steer_no_terminal(tmp_path: Path) -> None:
    """Through every command's text, notes, tracebacks and pages; their line breaks tear no table."""
    first, second = tmp_path / "first.ndjson", tmp_path / "second.ndjson"
    odd = {f"field{HOSTILE}": 1, "name": f"hello{HOSTILE}"}
    id = f"ns{HOSTILE}/{'a' * 32}"
    first.write_bytes(_hostile(1) + _hostile(2, _id=id, activationId="a" * 32, **odd) + b'{"_id":"x\\u001b[2J"}\n')
    second.write_bytes(_hostile(1, name=f"other{HOSTILE}", **{f"new{HOSTILE}": 2}) + _hostile(3))
    archive, state = f"archive:{tmp_path / 'archive'}", ["--state", str(tmp_path / "state")]

    def run(*words: str) -> str:
        ended = run_forked_text(*words, env={**environ(True), "MIGRATOR_DEBUG": "1"})
        told = ended.stdout + ended.stderr
        assert not [sign for sign in STEERING if sign in told], (words, told)
        assert ended.returncode in (0, 3, 4, 10, 5), (words, told)
        return told

    for _ in range(2):
        told = run("copy", f"file:{first}", f"file:{tmp_path / 'out.ndjson'}", *state)
        (tmp_path / "out.ndjson").unlink(missing_ok=True)
    assert "ns" in told
    run("backup", f"file:{first}", archive, *state)
    run("backup", f"file:{second}", archive, "--mode", "full", *state)
    backups = [each["backup"] for each in json.loads(run("archive", "list", archive, "--json"))["backups"]]
    run("archive", "list", archive)
    run("archive", "check", archive)
    assert r"ns" in run("archive", "diff", archive, *backups, "--ids")
    run("archive", "diff", archive, *backups, "--json")
    run("verify", f"file:{first}", f"file:{second}", *state)
    run("verify", f"file:{first}", archive, *state)
    run("detect", archive)
    run("detect", archive, "--exact")
    run("find", "--namespace", "ns*", "--in", archive)
    run("find", "a" * 32, "--in", f"{archive}?backup={backups[0]}")
    run("find", "a" * 32, "--in", f"{archive}?backup={backups[0]}", "--json")
    run("stats", archive, "--html", str(tmp_path / "stats.html"))
    run("status", *state)
    for job in run("status", "--json", *state).splitlines():
        run("status", json.loads(job)["job"], *state)
        run("report", json.loads(job)["job"], *state, "--output", str(tmp_path / "page.html"))
    for page in ("stats.html", "page.html"):
        assert not [sign for sign in STEERING if sign in (tmp_path / page).read_text()]
