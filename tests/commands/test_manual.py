"""What shells complete, and the pages for `man` and the site: made of the commands, and complete."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from migrator.activations.document import Form
from migrator.adapters.memory import memory_store
from migrator.api.copy import copy
from migrator.commands.main import COMMANDS, migrator
from migrator.commands.reference import entries, man_name, man_page, reference_page
from migrator.testing.documents import activation
from tests.support.forked import run_forked_text
from tests.support.profiles import stride


def complete(*words: str, begun: str = "", folder: Path | None = None, **environ: str) -> list[str]:
    """What bash is offered for the word that is being typed."""
    env = {**os.environ, "_MIGRATOR_COMPLETE": "bash_complete", "MIGRATOR_CONFIG": "", **environ}
    env |= {"COMP_WORDS": " ".join(["migrator", *words, begun]), "COMP_CWORD": str(len(words) + 1)}
    ended = run_forked_text(env=env, cwd=folder)
    assert ended.stderr == ""
    return [line.partition(",")[2] for line in ended.stdout.splitlines() if line.startswith("plain,")]


def test_names_of_stores_are_completed(tmp_path: Path) -> None:
    (tmp_path / "migrator.toml").write_text(
        '[stores.prod-couchdb]\nlocation = "couchdb://db1/acts"\n[stores.prod-es]\nlocation = "elasticsearch://es1"\n'
    )
    assert complete("copy", begun="prod", folder=tmp_path) == ["prod-couchdb", "prod-es"]
    assert complete("copy", "prod-couchdb", begun="prod-e", folder=tmp_path) == ["prod-es"]
    assert complete("verify", "--jobs", "2", begun="", folder=tmp_path) == ["prod-couchdb", "prod-es"]
    assert complete("archive", "check", begun="prod-c", folder=tmp_path) == ["prod-couchdb"]


def test_jobs_and_schedules_are_completed(tmp_path: Path) -> None:
    store = memory_store("completing", Form.COUCHDB)
    store.put(activation(1).id, activation(1).body)
    memory_store("completing-target", Form.ELASTICSEARCH)
    job = copy("memory:completing", "memory:completing-target", state=tmp_path / "state").job
    for command in ("status", "forget", "report", "retry-rejected"):
        assert complete(command, begun=job[:2], MIGRATOR_STATE=str(tmp_path / "state")) == [job]
    (tmp_path / "schedules").mkdir()
    (tmp_path / "schedules/nightly.toml").write_text("broken")
    assert complete("schedule", "next", begun="n", folder=tmp_path) == ["nightly"]
    assert complete("schedule", "run", begun="", folder=tmp_path) == ["nightly"]


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (("copy", "a", "b", "--on-conflict"), ["skip", "overwrite", "fail"]),
        (("backup", "a", "b", "--mode"), ["auto", "full", "incremental"]),
        (("status", "--log-format"), ["text", "json"]),
        (("completion",), ["bash", "zsh", "fish"]),
    ],
)
def test_values_of_options_are_completed(words: tuple[str, ...], values: list[str]) -> None:
    assert complete(*words) == values


def test_a_broken_configuration_disturbs_no_shell(tmp_path: Path) -> None:
    (tmp_path / "migrator.toml").write_text("[stores")
    assert complete("copy", begun="x", folder=tmp_path) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_of_the_shell(shell: str, tmp_path: Path) -> None:
    script = CliRunner().invoke(migrator, ["completion", shell])
    assert script.exit_code == 0
    assert "_MIGRATOR_COMPLETE" in script.output
    if found := shutil.which(shell):
        (tmp_path / "script").write_text(script.output)
        assert subprocess.run([found, "-n", str(tmp_path / "script")]).returncode == 0


def test_there_is_a_page_for_every_command(tmp_path: Path) -> None:
    made = CliRunner().invoke(migrator, ["man", str(tmp_path / "man1")])
    assert made.exit_code == 0, made.output
    pages = {path.name for path in (tmp_path / "man1").iterdir()}
    assert {"migrator.1", *(f"migrator-{name}.1" for name in COMMANDS)} <= pages
    assert {"migrator-archive-check.1", "migrator-schedule-run.1"} <= pages
    assert len(pages) == len(list(entries()))


def test_a_page_has_every_option_and_example_of_its_command() -> None:
    """And nothing in it steers roff by accident."""
    for entry in entries():
        page = man_page(entry)
        plain = page.replace("\\-", "-").replace("\\&", "").replace("\\e", "\\")
        for option, help in entry.options:
            assert f".B {option}\n" in plain
            assert help in plain
        assert all(example in plain for example in entry.examples)
        for line in page.splitlines():
            assert not line.startswith("'"), line
            assert re.match(r"\.(TH|SH|PP|TP|B|nf|fi)\b", line) or not line.startswith("."), line


@pytest.mark.skipif(shutil.which("man") is None, reason="no man on this machine")
def test_man_takes_every_page_without_a_complaint(tmp_path: Path) -> None:
    for entry in [*entries()][:: stride()]:
        file = tmp_path / man_name(entry)
        file.write_text(man_page(entry))
        words = ["man", "--warnings", "-l", str(file)]
        environ = {**os.environ, "MANPAGER": "cat", "MANWIDTH": "80", "LC_ALL": "C.UTF-8", "MANROFFSEQ": ""}
        ended = subprocess.run(words, capture_output=True, text=True, env=environ)
        assert (ended.returncode, ended.stderr) == (0, ""), entry.name
        assert "NAME" in ended.stdout


def test_the_page_of_the_site_has_every_command() -> None:
    page = reference_page()
    for entry in entries():
        assert re.search(rf"^#+ {entry.name}$", page, re.MULTILINE), entry.name
        assert all(f"\n{example}\n" in page for example in entry.examples)
