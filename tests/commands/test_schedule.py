"""`migrator schedule`: what is listed, checked and foretold, and the exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from migrator.adapters.memory import _stores, memory_store
from migrator.commands.main import migrator
from migrator.scheduling.state import Memory
from migrator.testing.documents import activation


class Cli:
    """The command with its folders."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.schedules = folder / "schedules"
        self.schedules.mkdir()

    def write(self, name: str, more: str = "", source: str = "memory:source") -> None:
        text = f'source = "{source}"\ntarget = "archive:{self.folder}/archive"\n[when]\ncron = "15 2 * * *"\n{more}'
        (self.schedules / f"{name}.toml").write_text(text)

    def run(self, *words: str) -> Result:
        environ = {"MIGRATOR_SCHEDULES": str(self.schedules), "MIGRATOR_STATE": str(self.folder / "state")}
        return CliRunner().invoke(migrator, ["schedule", *words], env=environ)

    def listed(self) -> list[Any]:
        return [json.loads(line) for line in self.run("list", "--json").stdout.splitlines()]


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    _stores.clear()
    source = memory_store("source")
    for number in range(5):
        document = activation(number)
        source.put(document.id, document.body)
    yield Cli(tmp_path)
    _stores.clear()


def test_once_runs_a_schedule_and_the_list_tells_of_it(cli: Cli) -> None:
    cli.write("nightly", '[verification]\ncheck = "quick"\n')
    assert [(each["state"], each["last"]) for each in cli.listed()] == [("waiting", None)]
    ended = cli.run("run", "nightly", "--once")
    assert ended.exit_code == 0, ended.output
    (listed,) = cli.listed()
    assert (listed["last"]["outcome"], listed["last_backup"]["verified"]) == ("complete", "quick")
    shown = cli.run("list")
    assert shown.exit_code == 0
    assert shown.stdout.startswith("nightly  waiting  backup memory:source -> archive:")
    assert "02:15:00 UTC" in shown.stdout
    assert listed["last_backup"]["backup"] in shown.stdout


def test_a_failed_run_ends_with_its_code_and_is_trouble(cli: Cli) -> None:
    """The message is reported once, as an error."""
    cli.write("nightly", source="couchdb://127.0.0.1:9/acts", more='[failure]\nretries = 0\nretry_for = "0s"\n')
    ended = cli.run("run", "nightly", "--once")
    assert ended.exit_code == 5
    assert "migrator: nightly: couchdb://127.0.0.1:9/acts" in ended.stderr
    shown = cli.run("list")
    assert shown.exit_code == 3
    assert "trouble   the last run failed: couchdb://127.0.0.1:9/acts" in shown.stdout


def test_a_stale_schedule_is_trouble(cli: Cli) -> None:
    cli.write("nightly")
    cli.run("run", "nightly", "--once")
    memory = Memory(cli.folder / "state", "nightly")
    known = memory.read()
    assert known is not None
    assert known.last is not None
    long_ago = known.last.__class__(**{**_fields(known.last), "ended_s": 1.0})
    memory.write(known.__class__(**{**_fields(known), "last": long_ago, "last_success": long_ago}))
    shown = cli.run("list")
    assert shown.exit_code == 3
    assert "nightly  due  STALE" in shown.stdout or "nightly  waiting  STALE" in shown.stdout
    assert "trouble   stale: no success for too long" in shown.stdout


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__struct_fields__}


def test_a_broken_file_is_listed_and_checked_with_its_line(cli: Cli) -> None:
    """The others are in order."""
    cli.write("bad", "[retention]\nlast = 1\n")
    cli.write("good")
    checked = cli.run("check")
    assert checked.exit_code == 2
    assert checked.stdout == "good: OK\n"
    assert "bad.toml:5: retention: it runs only after a verified backup" in checked.stderr
    shown = cli.run("list")
    assert shown.exit_code == 3
    assert [each["broken"] for each in cli.listed()] == [True, False]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('source = "memory:a"\ntarget = "memory:b"', "not an archive"),
        (
            'task = "copy"\nsource = "memory:a"\ntarget = "archive:/x"',
            "it is an archive; a copy has none as its target",
        ),
        ('source = "archive:/x"\ntarget = "archive:/y"', "a backup has none as its source"),
        ('source = "nobody"\ntarget = "archive:/y"', "nobody"),
    ],
)
def test_check_refuses_ends_that_can_not_be(cli: Cli, text: str, expected: str) -> None:
    (cli.schedules / "odd.toml").write_text(f'{text}\n[when]\nevery = "1h"\n')
    checked = cli.run("check")
    assert checked.exit_code == 2
    assert expected in checked.stderr


def test_check_reaches_the_stores_where_it_is_asked_to(cli: Cli) -> None:
    """The archive of a first backup needn't be there yet."""
    cli.write("good")
    assert cli.run("check", "--connect").exit_code == 0
    cli.write("good", source="couchdb://127.0.0.1:9/acts")
    assert cli.run("check").exit_code == 0
    assert cli.run("check", "--connect").exit_code == 5


def test_next_foretells_the_runs(cli: Cli) -> None:
    """With the time zone, and the same each time."""
    cli.write("nightly", 'timezone = "Europe/Berlin"\njitter = "10m"\n')
    first = cli.run("next", "nightly", "-n", "400").stdout.splitlines()
    assert len(first) == len(set(first)) == 400
    assert {line.split()[-1] for line in first} == {"CET", "CEST"}
    hours = {line.split()[2][:4] for line in first}
    assert hours <= {"02:1", "02:2", "03:0"}  # 03:0 in the night that has no 02:15
    assert cli.run("next", "nightly", "-n", "400").stdout.splitlines() == first
    row = json.loads(cli.run("next", "nightly", "-n", "1", "--json").stdout)
    assert row["begins_s"] > 0


@pytest.mark.parametrize(
    ("words", "exit_code", "expected"),
    [
        (("run", "--once"), 2, "give its name"),
        (("run", "nobody", "--once"), 10, "there is no schedule"),
        (("run", "nobody"), 10, "there is no folder of schedules"),
        (("run", "nightly"), 2, "give --once to run this schedule now"),
        (("run", "a", "--schedules", "b"), 2, "both name the folder"),
        (("run", "--listen", "port"), 2, "give a port"),
        (("run", "nightly", "--once", "--listen", "1"), 2, "--listen is for the daemon"),
        (("run", "--textfile", "/nowhere/at/all"), 2, "there is no such folder"),
        (("next", "nobody"), 10, "there are nightly"),
        (("list", "--schedules", "/nowhere/at/all"), 10, "there is no folder of schedules"),
    ],
)
def test_what_can_not_be_is_refused(cli: Cli, words: tuple[str, ...], exit_code: int, expected: str) -> None:
    cli.write("nightly")
    ended = cli.run(*words)
    assert ended.exit_code == exit_code, ended.output
    assert expected in ended.stderr
