"""The sample of an adapter in a package of its own: it passes the suites, and commands work with its store."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.forked import run_forked_text

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "samples/adapter"
SOURCE = f"file:{ROOT}/samples/activations-couchdb.ndjson"


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the sample is installed, as its `pyproject.toml` has it."""
    project = tomllib.loads((SAMPLE / "pyproject.toml").read_text())["project"]
    folder = tmp_path_factory.mktemp("installed")
    shutil.copy(SAMPLE / "activations_in_sqlite.py", folder)
    metadata = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    points = project["entry-points"]["migrator.adapters"]
    lines = ["[migrator.adapters]", *(f"{name} = {value}" for name, value in points.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
        "MIGRATOR_CONFIG": os.devnull,
        "XDG_STATE_HOME": str(tmp_path_factory.mktemp("state")),
    }


def migrator(environ: dict[str, str], *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    ended = run_forked_text(*words, env=environ)
    assert ended.returncode == code, ended.stdout + ended.stderr
    return ended


@pytest.mark.slow
def test_the_sample_passes_the_suites(environ: dict[str, str]) -> None:
    """Its own tests, which are those that every adapter passes."""
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(SAMPLE)],
        env=environ,
        cwd=SAMPLE,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert " passed" in ended.stdout


def test_commands_work_with_a_store_of_another_package(environ: dict[str, str], tmp_path: Path) -> None:
    """Copied into it, verified, found in it, looked at, copied out of it; another job finds all of it there."""
    store, back = f"sqlite:{tmp_path}/a b.db", f"file:{tmp_path}/back.ndjson"
    migrator(environ, "copy", SOURCE, store)
    again = migrator(environ, "copy", SOURCE, store, "--json", "--state", f"{tmp_path}/state")
    counts = json.loads(again.stdout.strip().split("\n")[-1])["counts"]
    assert sum(each["written"] for each in counts.values()) == 0 < sum(each["present"] for each in counts.values())
    migrator(environ, "verify", SOURCE, store)
    migrator(environ, "copy", store, back)
    migrator(environ, "verify", store, back)
    lines = [json.loads(line) for line in Path(SOURCE.partition(":")[2]).read_text().split("\n") if line]
    found = migrator(environ, "find", lines[0]["activationId"], "--in", store, "--in", SOURCE, "--json")
    (told,) = [json.loads(line) for line in found.stdout.split("\n") if line]
    assert ([copy["store"] for copy in told["copies"]], told["agree"]) == ([store, SOURCE], True)
    counted = json.loads(migrator(environ, "stats", store, "--json", "--quiet").stdout)
    (probe,) = json.loads(migrator(environ, "detect", store, "--json").stdout)["probes"]
    assert (probe["kind"], probe["product"]) == ("sqlite", "SQLite")
    assert probe["activations"] == counted["activations"] > 0


def test_a_store_whose_package_is_missing_is_refused(environ: dict[str, str], tmp_path: Path) -> None:
    """Without it there is no such scheme."""
    without = {**environ, "PYTHONPATH": str(ROOT)}
    ended = migrator(without, "find", "--since", "1h", "--in", f"sqlite:{tmp_path}/x.db", code=2)
    assert "neither a location" in ended.stderr
