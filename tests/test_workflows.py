"""What the forge and the hooks of git run is what `make` runs, in files that a linter passes."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").iterdir())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def lint(path: Path) -> subprocess.CompletedProcess[str]:
    """The schema is that which the linter brings along."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(path)]
    return subprocess.run(command, capture_output=True, text=True)


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.load(path.read_text(), Loader=yaml.BaseLoader)  # `on` stays a word
    return found


def steps(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def test_workflows_pass_the_linter() -> None:
    ended = [lint(path) for path in WORKFLOWS]
    assert [each.returncode for each in ended] == [0] * len(WORKFLOWS), "".join(each.stdout for each in ended)
    assert {path.stem for path in WORKFLOWS} == {"check", "nightly", "release"}


def test_linter_finds_a_misspelt_key(tmp_path: Path) -> None:
    """So that the test before means something."""
    (tmp_path / "check.yml").write_text(WORKFLOWS[0].read_text().replace("runs-on:", "run-on:"))
    assert lint(tmp_path / "check.yml").returncode == 1


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_runs_what_make_has_and_may_do_no_more_than_it_needs(path: Path) -> None:
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert "timeout-minutes" in job
        assert job.get("permissions", {}) in ({}, {"id-token": "write"})
    for step in steps(workflow):
        for target in re.findall(r"\bmake ([a-z]+)", step.get("run", "")):
            assert target in TARGETS
        if "checkout" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] == "false"
        assert re.search(r"@(v\d+|release/v\d+)$", step.get("uses", "x@v1"))


def test_every_python_that_is_named_is_checked() -> None:
    """In the metadata and in the workflow; the oldest is that which is required."""
    named = [each.rpartition(" ")[2] for each in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", each)]
    assert read(ROOT / ".github/workflows/check.yml")["jobs"]["check"]["strategy"]["matrix"]["python"] == named
    assert PROJECT["requires-python"] == f">={named[0]}"


def test_release_is_tested_and_published_without_a_token() -> None:
    jobs = read(ROOT / ".github/workflows/release.yml")["jobs"]
    assert jobs["publish"]["needs"] == "build"
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert "secrets." not in (ROOT / ".github/workflows/release.yml").read_text()
    built = [step.get("run", "") for step in jobs["build"]["steps"]]
    assert built.index("make test") < built.index("make dist")


def test_hooks_run_what_is_installed() -> None:
    """Nothing is downloaded for a commit, and each tool is one of `make check`."""
    command = [sys.executable, "-m", "pre_commit", "validate-config", str(ROOT / ".pre-commit-config.yaml")]
    subprocess.run(command, check=True)
    hooks = read(ROOT / ".pre-commit-config.yaml")["repos"]
    assert [repo["repo"] for repo in hooks] == ["local"]
    entries = [hook["entry"] for hook in hooks[0]["hooks"]]
    assert all(entry.startswith(".venv/bin/") for entry in entries)
    checked = (ROOT / "Makefile").read_text()
    for words in ("ruff format", "ruff check", "lint-imports", "mypy"):
        assert any(words in entry for entry in entries)
        assert words in checked
