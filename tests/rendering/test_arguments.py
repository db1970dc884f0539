"""Messages name arguments; the command line alone knows options."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from migrator.activations.requests import JobRequest
from migrator.activations.selection import SelectionSpec
from migrator.commands.main import migrator
from migrator.engine.state.jobs import OtherOptions
from migrator.errors import UsageError
from migrator.rendering.arguments import OPTIONS, in_options
from migrator.rendering.command_line import command, with_command
from migrator.text.arguments import argument

PACKAGE = Path(__file__).parents[2] / "migrator"


def options(command: click.Command) -> Iterator[str]:
    """The options of a command and of those below it."""
    for parameter in command.params:
        yield from parameter.opts
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from options(below)


KNOWN = {option for option in options(migrator) if option.startswith("--")} | {"--help", "--version"}


def below() -> Iterator[tuple[Path, str]]:
    """The texts of every module that knows no command line, docstrings among them."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.relative_to(PACKAGE).parts[0] not in ("commands", "rendering"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield path, node.value


def test_nothing_below_the_command_line_names_an_option() -> None:
    """Neither in a message nor in a docstring; options of other programs are theirs."""
    own = [
        PACKAGE / "demo" / name for name in ("servers.py", "programs.py")
    ]  # those of servers, npm, the module itself
    named = {
        (str(path.relative_to(PACKAGE)), option)
        for path, text in below()
        if path not in own
        for option in re.findall(r"--[a-z][a-z-]*", text)
    }
    assert named == {
        ("adapters/files/compression.py", "--long"),  # of zstd
        ("adapters/files/compression.py", "--ultra"),
        ("adapters/files/foreign.py", "--type"),  # of elasticdump
        ("adapters/couchdb/absence.py", "--store"),  # of wskadmin
        ("operations/detect/providers.py", "--couchdb"),  # of the standalone OpenWhisk
    }


def test_every_argument_that_a_message_names_has_an_option() -> None:
    """A name that is misspelled would reach the operator as it is."""
    assert set(OPTIONS.values()) <= KNOWN
    named = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "argument":
                named |= {each.value for each in node.args[:1] if isinstance(each, ast.Constant)}
    assert named
    assert named <= set(OPTIONS)


def test_no_message_lost_its_f() -> None:
    """Text with braces in it would be shown as code."""
    assert [(path, text) for path, text in below() if "{argument(" in text] == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"start over with {argument('restart')}", "start over with --restart"),
        (f"{argument('jobs', 65)}: give less", "--jobs 65: give less"),
        (f"{argument('namespaces', 'guest')} and {argument('retry_for_s')}", "--namespace guest and --retry-for"),
        ("`restart=True`", "--restart"),
        ("run `migrator archive check repair=True`", "run `migrator archive check --repair`"),
        ("`migrator copy a b?x=1 template=True shards=1`", "`migrator copy a b?x=1 --index-template --shards 1`"),
        ("`kubectl get | migrator detect kubernetes=-`", "`kubectl get | migrator detect --kubernetes -`"),
    ],
)
def test_arguments_are_shown_as_options(text: str, shown: str) -> None:
    """The one place where an argument becomes an option."""
    assert in_options(text) == shown
    assert in_options(shown) == shown


@pytest.mark.parametrize("text", ["`age -R FILE`", "a ` b", "`unknown`", "`_all_docs`", "restart", "`GET /x?jobs=1`"])
def test_everything_else_stays(text: str) -> None:
    """What a server says between backticks isn't ours."""
    assert in_options(text) == text


def test_request_is_printed_as_the_command_that_makes_it_again() -> None:
    """As a shell takes it, with the state folder last."""
    request = JobRequest(
        verb="copy",
        source="couchdb://a/b c",
        target="elasticsearch://e",
        wanted=SelectionSpec(namespaces=("team-*",), names=("n",), since="7d", until="1d"),
        options={
            "ids": "f",
            "mend_ids": True,
            "on_conflict": "fail",
            "template": {"mapping": "lean", "shards": 1, "field_limit": 9},
            "encrypt_to": ["age1x", "age1y"],
            "sample": 0.05,
        },
        state="/s t",
    )
    assert command(request, "--output") == (
        "migrator copy 'couchdb://a/b c' elasticsearch://e --namespace 'team-*' --name n --since 7d --until 1d "
        "--ids f --mend-ids --on-conflict fail --index-template lean --shards 1 --field-limit 9 --encrypt-to age1x "
        "--encrypt-to age1y --sample 5% --state '/s t' --output"
    )


def test_a_template_of_0_2_is_printed_as_the_mapping_that_it_had() -> None:
    """It had no other, and the option without a value means another one now."""
    request = JobRequest(verb="copy", source="a", target="b", options={"template": {"shards": 1}})
    assert command(request) == "migrator copy a b --index-template searchable --shards 1"


def test_request_without_options_is_short() -> None:
    """Nothing is printed that is the default."""
    assert command(JobRequest(verb="backup", source="a", target="archive:b")) == "migrator backup a archive:b"


def test_a_job_with_other_options_is_reported_with_its_command() -> None:
    """In the same line as the refusal."""
    request = JobRequest(verb="copy", source="a", target="b", options={"mend_ids": True})
    told = with_command(OtherOptions("3f9a", request, request.deciding, {}))
    assert "`mend_ids` True instead of None" in told
    assert told.endswith("`restart` to start over; it was started as: migrator copy a b --mend-ids")
    assert with_command(UsageError("as it is")) == "as it is"
