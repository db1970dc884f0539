"""docs/library.md against the package: its names, its arguments, its errors, and its programs as they run."""

from __future__ import annotations

import ast
import inspect
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import migrator
from migrator import errors
from migrator.adapters import memory
from migrator.api.run import Run, RunKeywords, WritingKeywords

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/library.md").read_text()
SECTIONS = dict(re.findall(r"^## `(\w+)`\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
SHARED = {*WritingKeywords.__annotations__}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder as the page describes it, with a state of its own."""
    folder = tmp_path_factory.mktemp("library")
    shutil.copy(ROOT / "samples/activations-couchdb.ndjson", folder)
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.setenv("XDG_STATE_HOME", str(folder / "state"))
        patched.setattr(memory, "_stores", {})
        yield folder


def named(table: str) -> dict[str, str | None]:
    """The arguments of a table with their defaults, as they are written."""
    cells = re.findall(r"^\| (`[a-z_]+[`=].*?) \|", table, re.MULTILINE)
    return {name: default or None for cell in cells for name, default in re.findall(r"`([a-z_]+)(?:=(.*?))?`", cell)}


def defaults_of(verb: str) -> dict[str, object]:
    """The arguments that a function has of its own, with their defaults."""
    parameters = inspect.signature(getattr(migrator, verb)).parameters.values()
    return {each.name: each.default for each in parameters if each.kind is not each.VAR_KEYWORD}


def check_defaults(told: dict[str, str | None], there: dict[str, object]) -> None:
    for name, default in told.items():
        if default == "SelectionSpec()":
            assert there[name] == migrator.SelectionSpec()
        elif default is not None:
            assert there[name] == ast.literal_eval(default), name


def test_the_programs_run_in_their_order(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each by itself, with its own imports, on the stores that those before it have left."""
    programs = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    for number, program in enumerate(programs, 1):
        exec(compile(program, f"docs/library.md, program {number}", "exec"), {})
    assert (place / "backups/archive.json").exists()
    capsys.readouterr()


def test_every_function_has_a_section_and_every_value_a_mention() -> None:
    values = {name for name in migrator.__all__ if name[0].isupper()}
    assert set(SECTIONS) == set(migrator.__all__) - values
    assert [name for name in sorted(values) if not re.search(rf"\b{name}\b", PAGE)] == []


def test_dir_shows_what_is_promised_and_nothing_else() -> None:
    assert [name for name in dir(migrator) if not name.startswith("_")] == sorted(migrator.__all__)
    assert {*migrator.__all__} == {*migrator._HOMES}


@pytest.mark.parametrize("verb", SECTIONS)
def test_a_section_names_all_arguments_with_their_defaults(verb: str) -> None:
    told, there = named(SECTIONS[verb]), defaults_of(verb)
    assert {*told} == {*there}
    check_defaults(told, there)


@pytest.mark.parametrize("verb", SECTIONS)
def test_every_argument_has_a_type(verb: str) -> None:
    signature = inspect.signature(getattr(migrator, verb))
    untyped = [each.name for each in signature.parameters.values() if each.annotation is each.empty]
    assert (untyped, signature.return_annotation is signature.empty) == ([], False)


@pytest.mark.parametrize("verb", SECTIONS)
def test_a_section_has_its_program_and_says_what_comes_out(verb: str) -> None:
    section = SECTIONS[verb]
    assert f"{verb}(" in section.partition("```python")[2]
    assert "**Result" in section and ("**Raises:**" in section or "as for `find`" in section)


def test_the_keywords_of_runs_are_those_of_the_page() -> None:
    table = PAGE.partition("### Keywords of runs")[2].partition("###")[0]
    told = named(table)
    assert {*told} == SHARED >= {*RunKeywords.__annotations__}
    run = Run()
    check_defaults(told, {name: getattr(run, name) for name in told})


def test_the_errors_of_the_page_have_their_codes() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", PAGE, re.MULTILINE)
    assert len(rows) == 10
    for name, code in rows:
        assert getattr(errors, name)("x").exit_code == int(code), name


def test_results_are_values() -> None:
    """A frozen struct each, but for the lines of `cat_archive`."""
    for name in ("BackupReport", "CheckReport", "Detection", "Difference", "Findings", "Listing", "PruneReport"):
        kind = getattr(migrator, name)
        assert issubclass(kind, msgspec.Struct) and kind.__struct_config__.frozen
