"""The import contract: it holds, and any arrow that is turned breaks it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """`lint-imports` on the package in a folder."""
    return subprocess.run(
        [sys.executable, "-c", LINT, "--no-cache", "--no-logo"],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The package and its contract, to be changed."""
    shutil.copytree(ROOT / "migrator", tmp_path / "migrator", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_imports_point_one_way() -> None:
    """What `make lint` runs passes."""
    ended = lint(ROOT)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("importer", "imported", "said"),
    [
        ("engine.retry", "commands.output", "migrator.engine.retry -> migrator.commands.output"),
        ("activations.forms", "settings.stores", "migrator.activations.forms -> migrator.settings.stores"),
        (
            "engine.census",
            "adapters.couchdb.rows",
            "migrator.engine is not allowed to import migrator.adapters.couchdb",
        ),
        ("operations.find.wsk", "adapters.couchdb.rows", "migrator.operations is not allowed to import"),
        ("operations.stats.outlook", "adapters.archive.format", "migrator.operations is not allowed to import"),
        ("operations.archive.cat", "adapters.couchdb.rows", "migrator.operations is not allowed to import"),
        ("adapters.couchdb.rows", "adapters.elasticsearch.hits", "is not allowed to import migrator.adapters.elastic"),
        ("adapters.shared.tls", "adapters.wrappers.retrying", "No cycles are allowed in migrator.adapters"),
    ],
)
def test_turned_arrow_is_refused(copied: Path, importer: str, imported: str, said: str) -> None:
    """An import that points the wrong way is named, wherever in the file it stands."""
    path = copied / "migrator" / f"{importer.replace('.', '/')}.py"
    package, _, module = f"migrator.{imported}".rpartition(".")
    path.write_text(f"{path.read_text()}\n\ndef _turned() -> None:\n    from {package} import {module}\n")
    ended = lint(copied)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert said in " ".join(ended.stdout.split())


def test_new_room_needs_a_place(copied: Path) -> None:
    """A module at the top of the package that the layers don't name is refused."""
    (copied / "migrator" / "attic.py").write_text("")
    ended = lint(copied)
    assert ended.returncode == 1
    assert "attic" in ended.stdout


def test_exceptions_only_get_fewer(copied: Path) -> None:
    """An exception that nothing needs any longer is refused, so that the list tells how much is left."""
    config = copied / "pyproject.toml"
    text = config.read_text()
    assert text.count('id = "layers"') == 1
    unneeded = 'id = "layers"\nignore_imports = ["migrator.errors -> migrator.text.units"]'
    config.write_text(text.replace('id = "layers"', unneeded))
    ended = lint(copied)
    assert ended.returncode == 1
    assert "migrator.errors -> migrator.text.units" in ended.stdout + ended.stderr
