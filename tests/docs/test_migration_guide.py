"""The commands of `docs/migration.md` are commands of this release."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import click
import pytest

from migrator.commands.main import Commands, migrator

GUIDE = Path(__file__).parents[2] / "docs/migration.md"
COMMANDS = re.findall(r"^\$ (migrator .*)$", GUIDE.read_text(), re.MULTILINE)


def test_the_guide_goes_through_all_its_steps() -> None:
    named = {shlex.split(each)[1] for each in COMMANDS}
    assert named >= {"detect", "stats", "backup", "archive", "copy", "verify", "find", "report"}


@pytest.mark.parametrize("command", sorted(set(COMMANDS)))
def test_a_command_of_the_guide_is_understood(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name, its arguments and its options are read without complaint; nothing is run."""
    monkeypatch.setenv("MIGRATOR_CONFIG", os.devnull)
    words = shlex.split(command)[1:]
    group: click.Command = migrator
    context = click.Context(migrator, info_name="migrator")
    while isinstance(group, click.Group):
        found = group.get_command(context, words.pop(0))
        assert found is not None, command
        group = found
    assert not isinstance(group, Commands)
    group.make_context(group.name or "", words, parent=context)
