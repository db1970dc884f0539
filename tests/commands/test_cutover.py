"""`migrator cutover`: what it shows before it does anything, and how it asks."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from migrator.commands.cutover import STEP_NAMES, cutover_command
from migrator.operations.cutover import STEPS

PLAN = """
source = "couchdb://whisk:hidden-word@127.0.0.1:1/acts"
target = "elasticsearch://127.0.0.1:1/?index-pattern=owsk-%25s"
archive = "archive:backups"

[openwhisk]
deployment = "environment"
"""


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "cutover.toml"
    path.write_text(PLAN)
    return path


def test_its_help_names_the_steps_that_there_are() -> None:
    assert tuple(step.name for step in STEPS) == STEP_NAMES


def test_a_dry_run_shows_all_of_it_and_contacts_nobody(plan: Path) -> None:
    """No server listens there; the settings are shown, and no password."""
    shown = CliRunner().invoke(cutover_command, [str(plan), "--dry-run"], catch_exceptions=False)
    assert shown.exit_code == 0
    for number, step in enumerate(STEPS, 1):
        assert f"{number} {step.name}: {step.does}" in shown.output
    assert "CONFIG_whisk_activationStore_elasticsearch_hosts=127.0.0.1:1" in shown.output
    assert "--follow --until-idle 60s" in shown.output
    assert "hidden-word" not in shown.output
    assert not list(plan.parent.glob("*.state.toml"))


def test_a_dry_run_of_a_rollback_shows_the_settings_of_the_old_backend(plan: Path) -> None:
    shown = CliRunner().invoke(cutover_command, [str(plan), "--dry-run", "--rollback"], catch_exceptions=False)
    assert "CONFIG_whisk_couchdb_databases_WhiskActivation=acts" in shown.output
    assert "<password of whisk>" in shown.output
    assert "hidden-word" not in shown.output
