"""The wheel: built once, installed beside nothing else of ours, and run."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Mapping
from email.parser import HeaderParser
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


class Installed(NamedTuple):
    wheel: Path
    folder: Path

    def run(self, *words: str, cwd: Path) -> str:
        """A command of the installed package; its dependencies are those of this environment."""
        ended = subprocess.run(words, cwd=cwd, env=self._environment(), capture_output=True, text=True)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def migrator(self, *words: str, cwd: Path) -> str:
        return self.run(str(self.folder / "bin/migrator"), *words, cwd=cwd)

    def _environment(self) -> Mapping[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MIGRATOR_", "PYTHON"))}
        return {**kept, "PYTHONPATH": str(self.folder)}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    built, folder = tmp_path_factory.mktemp("built"), tmp_path_factory.mktemp("installed")
    python = (sys.executable, "-m")
    subprocess.run([*python, "hatchling", "build", "-t", "wheel", "-d", str(built)], cwd=ROOT, check=True)
    (wheel,) = built.iterdir()
    options = ("--quiet", "--disable-pip-version-check", "--no-deps", "--no-index", "--target", str(folder))
    subprocess.run([*python, "pip", "install", *options, str(wheel)], check=True)
    return Installed(wheel, folder)


def test_the_installed_command_is_that_of_the_wheel(installed: Installed, tmp_path: Path) -> None:
    where = installed.run(sys.executable, "-c", "import migrator; print(migrator.__file__)", cwd=tmp_path)
    assert Path(where.strip()).parent == installed.folder / "migrator"
    assert PROJECT["version"] in installed.migrator("--version", cwd=tmp_path)
    told = installed.migrator("--help", cwd=tmp_path)
    for command in ("copy", "backup", "restore", "verify", "find", "detect", "stats", "purge", "schedule", "archive"):
        assert f"\n  {command} " in told


def test_the_installed_package_backs_up_restores_and_verifies(installed: Installed, tmp_path: Path) -> None:
    """Whatever files it needs are inside."""
    source, state = str(ROOT / "samples/activations-couchdb.ndjson"), ("--state", str(tmp_path / "state"))
    installed.migrator("backup", source, "archive:kept", *state, cwd=tmp_path)
    installed.migrator("restore", "archive:kept", "again.ndjson", *state, cwd=tmp_path)
    installed.migrator("verify", source, "again.ndjson", *state, cwd=tmp_path)
    job = installed.migrator("status", *state, cwd=tmp_path).split()[0]
    assert "<html" in installed.migrator("report", job, "--output", "-", *state, cwd=tmp_path)
    installed.migrator("stats", "archive:kept", "--html", "page.html", cwd=tmp_path)
    assert "<html" in (tmp_path / "page.html").read_text()


def test_everything_in_the_package_is_in_the_wheel_and_nothing_else(installed: Installed) -> None:
    listed = subprocess.run(["git", "ls-files", "migrator"], cwd=ROOT, capture_output=True, text=True, check=True)
    expected = {name for name in listed.stdout.splitlines() if (ROOT / name).exists()}
    with zipfile.ZipFile(installed.wheel) as wheel:
        inside = set(wheel.namelist())
    assert {name for name in inside if ".dist-info/" not in name} >= expected
    assert {name.partition("/")[0].partition("-")[0] for name in inside} == {
        "migrator",
        "openwhisk_activation_migrator",
    }
    assert "migrator/py.typed" in inside


def test_the_samples_are_written_by_the_installed_command(installed: Installed, tmp_path: Path) -> None:
    """All of them, as they are in the repository; the archive among them can be read."""
    told = installed.migrator("samples", "here", cwd=tmp_path)
    listed = subprocess.run(["git", "ls-files", "samples", "schedules"], cwd=ROOT, capture_output=True, text=True)
    expected = {name for name in listed.stdout.splitlines() if (ROOT / name).exists()}
    written = {str(path.relative_to(tmp_path / "here")) for path in (tmp_path / "here").rglob("*") if path.is_file()}
    assert expected <= written
    assert all((tmp_path / "here" / name).read_bytes() == (ROOT / name).read_bytes() for name in expected)
    (command,) = [line.strip() for line in told.splitlines() if line.startswith("    migrator ")]
    assert "2 complete backups" in installed.migrator(*command.split()[1:], cwd=tmp_path)


def test_the_metadata_is_that_of_the_project(installed: Installed) -> None:
    """The page of the index shows licence, README and addresses."""
    with zipfile.ZipFile(installed.wheel) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = HeaderParser().parsestr(wheel.read(name).decode())
        assert name.replace("METADATA", "licenses/LICENSE") in wheel.namelist()
    assert (metadata["Name"], metadata["Version"]) == (PROJECT["name"], PROJECT["version"])
    assert metadata["License-Expression"] == PROJECT["license"]
    assert set(metadata.get_all("Provides-Extra", [])) == set(PROJECT["optional-dependencies"])
    assert {url.split(", ")[0] for url in metadata.get_all("Project-URL", [])} == set(PROJECT["urls"])
    assert str(metadata.get_payload()).startswith((ROOT / "README.md").read_text()[:200])
