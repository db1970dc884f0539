"""docs/events.md against the events that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import migrator
from migrator.events import Event

PAGE = (Path(__file__).parents[2] / "docs/events.md").read_text()
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| (.*?) \| .+ \|$", re.MULTILINE)


def test_the_page_promises_every_event_with_its_level_and_fields() -> None:
    promised = {
        name: (level, re.findall(r"`(\w+)`", fields))
        for name, level, fields in ROW.findall(PAGE.partition("\n## All commands")[2])
        if name != "event"  # the heads of the tables
    }
    there = {
        each.__struct_config__.tag: (each.level, [name for name in each.__struct_fields__ if name != "schedule"])
        for each in Event.__subclasses__()
    }
    assert promised == there


def test_no_field_has_the_name_of_one_that_every_line_has() -> None:
    for each in Event.__subclasses__():
        assert not {"time", "level", "message", "event"} & {*each.__struct_fields__}


def test_the_program_on_the_page_runs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Between stores in memory, with a state folder of the test's own."""
    program = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0]
    program = program.replace("tell=tell)", f"tell=tell, state=Path({str(tmp_path)!r}))")
    exec(compile(program, "docs/events.md", "exec"), {"Path": Path})


def test_what_a_program_needs_to_watch_a_run_is_at_the_top() -> None:
    assert {"Event", "Progress", "Stop", "copy"} <= {*dir(migrator)}
    assert {name: getattr(migrator, name).__name__ for name in migrator.__all__} == {
        name: name for name in migrator.__all__
    }
