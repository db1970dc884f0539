"""docs/cutover.md: its plan is one, its table has the steps that there are, its commands run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from migrator.commands.main import migrator
from migrator.operations.cutover import STEPS, read_plan

PAGE = (Path(__file__).parents[2] / "docs/cutover.md").read_text()
STORES = """
[stores.couchdb]
location = "couchdb://127.0.0.1:1/whisk_local_activations"

[stores.elasticsearch]
location = "elasticsearch://127.0.0.1:1"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MIGRATOR_CONFIG", raising=False)
    (tmp_path / "migrator.toml").write_text(STORES)
    (found,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "cutover.toml").write_text(found)
    (tmp_path / "values.yaml").write_text('activationStoreBackend: "CouchDB"\n')
    return tmp_path


def test_the_plan_on_the_page_is_one(folder: Path) -> None:
    plan = read_plan(folder / "cutover.toml")
    assert (plan.source, plan.target, plan.quiet_s, plan.openwhisk.deployment) == (
        "couchdb",
        "elasticsearch",
        300,
        "helm",
    )


def test_the_table_has_the_steps_that_there_are() -> None:
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE) == [step.name for step in STEPS]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("command", re.findall(r"^\$ migrator (.*)$", PAGE, re.MULTILINE))
def test_a_command_of_the_page_runs(command: str) -> None:
    """A dry run to its end; the others to the first server, of which there is none, or to a state that there isn't."""
    words = shlex.split(command)
    ran = CliRunner().invoke(migrator, words)
    if "--dry-run" in words:
        assert ran.exit_code == 0, ran.output
        assert "connect_string" in ran.output
    else:
        assert ran.exit_code == (2 if "--rollback" in words else 5), ran.output
