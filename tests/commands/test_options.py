"""Shared options: which of two values wins, and that a bad one is refused before anything is opened."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from migrator.activations.selection import SelectionSpec
from migrator.adapters.elasticsearch.template import MAPPING_NAMES
from migrator.api.run import Run, WritingKeywords, reading_keywords
from migrator.commands import copy_options
from migrator.commands.copy import copy_command
from migrator.commands.main import migrator
from migrator.commands.messages import current
from migrator.commands.options import (
    config_option,
    json_option,
    log_format_option,
    run_options,
    selection_options,
    state_option,
)
from migrator.commands.restore import restore_command
from migrator.errors import UsageError


@click.command()
@config_option
@state_option
@run_options
@selection_options
@json_option
@log_format_option
def probe(keywords: WritingKeywords, wanted: SelectionSpec, **_: object) -> None:
    log_format = "json" if current.get().as_json else "text"
    told = f"{keywords['state']} {keywords['jobs']} {keywords['max_rate']} {log_format}"
    click.echo(f"{told} {wanted.namespaces} {wanted.since}")
    Run(**keywords)


@click.command()
@state_option
def only_state(state: Path | None) -> None:
    click.echo(state)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "migrator.toml"
    path.write_text("[defaults]\nstate = '/file'\njobs = 2\nmax_rate = 2.5\nlog_format = 'json'\n")
    return path


@pytest.mark.parametrize(
    ("flags", "environ", "has_file", "expected"),
    [
        ([], {}, False, "None 4 None text"),
        ([], {}, True, "/file 2 2.5 json"),
        ([], {"MIGRATOR_JOBS": "3"}, False, "None 3 None text"),
        ([], {"MIGRATOR_JOBS": "3", "MIGRATOR_STATE": "/env"}, True, "/env 3 2.5 json"),
        (["--jobs", "5"], {}, False, "None 5 None text"),
        (["--jobs", "5"], {}, True, "/file 5 2.5 json"),
        (
            ["--jobs", "5", "--state", "/flag"],
            {"MIGRATOR_JOBS": "3", "MIGRATOR_STATE": "/env"},
            True,
            "/flag 5 2.5 json",
        ),
        (["--log-format", "text"], {"MIGRATOR_LOG_FORMAT": "json"}, True, "/file 2 2.5 text"),
    ],
)
def test_flag_wins_over_environment_over_file_over_default(
    file: Path, flags: list[str], environ: dict[str, str], has_file: bool, expected: str
) -> None:
    """Each value by itself, wherever --config stands."""
    config = ["--config", str(file) if has_file else "/dev/null"]
    for words in ([*config, *flags], [*flags, *config]):
        result = CliRunner().invoke(probe, words, env=environ)
        assert result.output.startswith(f"{expected} ()"), result.exception


def test_a_command_without_config_finds_its_state_all_the_same(file: Path) -> None:
    """What one command stored by the configuration, another finds by it."""
    assert CliRunner().invoke(only_state, [], env={"MIGRATOR_CONFIG": str(file)}).output == "/file\n"
    assert CliRunner().invoke(only_state, ["--state", "/x"], env={"MIGRATOR_CONFIG": str(file)}).output == "/x\n"


def test_a_configuration_that_is_wrong_is_refused_by_every_command(tmp_path: Path) -> None:
    """Also by one that would need nothing of it."""
    path = tmp_path / "wrong.toml"
    path.write_text("[default]")
    for command, words in ((probe, ["--config", str(path)]), (only_state, [])):
        result = CliRunner().invoke(command, words, env={"MIGRATOR_CONFIG": str(path)})
        assert isinstance(result.exception, UsageError)
        assert f"{path}:1: default: unknown" in str(result.exception)


def test_help_needs_no_configuration(tmp_path: Path) -> None:
    """A broken file doesn't keep anybody from reading how to name another one."""
    path = tmp_path / "wrong.toml"
    path.write_text("[default]")
    result = CliRunner().invoke(probe, ["--help"], env={"MIGRATOR_CONFIG": str(path)})
    assert result.exit_code == 0
    assert "--config FILE" in result.output


def test_selections_are_taken_as_they_are_typed() -> None:
    """Repeated namespaces add up; times keep their text, which is fixed when a job begins."""
    words = ["--config", "/dev/null", "--namespace", "guest", "--namespace", "team-*", "--since", "7d"]
    assert CliRunner().invoke(probe, words).output == "None 4 None text ('guest', 'team-*') 7d\n"


def test_what_only_writers_take_is_left_out_for_those_who_read() -> None:
    """`copy --verify` verifies as it copied: as many workers, as patiently, in the same folder."""
    keywords: WritingKeywords = {"jobs": 2, "retry_for_s": 5, "max_rejects": 1, "dry_run": False, "state": None}
    assert reading_keywords(keywords) == {"jobs": 2, "retry_for_s": 5, "state": None}


@pytest.mark.parametrize(
    ("keywords", "told"),
    [
        ({"jobs": 0}, "`jobs=0`: give a number from 1 to 64"),
        ({"jobs": 65}, "`jobs=65`"),
        ({"max_rejects": -1}, "`max_rejects=-1`: give a number from 0 to 1,000,000,000"),
        ({"max_rate": 0}, "`max_rate=0`: give a number of documents a second from 0.001 to"),
        ({"max_rate": float("nan")}, "`max_rate=nan`"),
        ({"retry_for_s": -1}, "`retry_for_s=-1`: give seconds from 0 to 315,360,000"),
        ({"retry_for_s": float("nan")}, "`retry_for_s=nan`: give seconds from 0 to"),
    ],
)
def test_a_run_that_cannot_be_is_refused(keywords: WritingKeywords, told: str) -> None:
    """Before anything is opened, by whichever call."""
    with pytest.raises(UsageError, match=told):
        Run(**keywords)


@pytest.mark.parametrize("options", [["--shards", "0"], ["--replicas", "-1"], ["--field-limit", "0"]])
def test_a_template_that_cannot_be_is_refused(options: list[str], tmp_path: Path) -> None:
    """Before a job begins that could never go on."""
    words = ["copy", "couchdb://127.0.0.1:1/a", "elasticsearch://127.0.0.1:1", "--state", str(tmp_path / "state")]
    ended = CliRunner().invoke(migrator, [*words, "--index-template", *options])
    assert ended.exit_code == 2
    assert f"{' '.join(options)}: give " in ended.stderr
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("words", "mapping"),
    [
        (["--index-template", "a", "b"], "lean"),
        (["a", "b", "--index-template"], "lean"),
        (["a", "--index-template", "b", "--shards", "1"], "lean"),
        (["a", "b", "--index-template", "--shards", "1"], "lean"),
        (["a", "b", "--index-template", "lean"], "lean"),
        (["--index-template", "searchable", "a", "b"], "searchable"),
        (["a", "b", "--index-template=searchable"], "searchable"),
    ],
)
def test_an_index_template_may_be_given_without_its_mapping(words: list[str], mapping: str) -> None:
    """As in 0.2, which had only one, wherever the option stands."""
    for command in (copy_command, restore_command):
        context = command.make_context("x", [*words])
        given = list(context.params.values())
        assert context.params["index_template"] == mapping
        assert {"a", "b"} <= {each for each in given if isinstance(each, str)}


def test_without_the_option_no_template_is_asked_for() -> None:
    """Also where a word after `--` looks like it; another mapping is refused with those that there are."""
    context = copy_command.make_context("x", ["a", "--", "--index-template"])
    assert (context.params["target"], context.params["index_template"]) == ("--index-template", None)
    ended = CliRunner().invoke(migrator, ["copy", "a", "b", "--index-template=fat"])
    assert ended.exit_code == 2
    assert "'lean', 'searchable'" in ended.stderr
    assert copy_options._TEMPLATES == MAPPING_NAMES


def commands(group: click.Group, context: click.Context) -> Iterator[click.Command]:
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        if isinstance(found, click.Group):
            yield from commands(found, context)
        else:
            yield found


def test_every_command_but_the_demo_can_report_for_machines() -> None:
    """The demo is for a person."""
    without = {
        each.name
        for each in commands(migrator, click.Context(migrator))
        if not any("--log-format" in parameter.opts for parameter in each.params)
    }
    assert without == {"demo"}
