"""The site of docs/ is built without a warning, and every page of docs/ is in it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("material") is None, reason="mkdocs-material isn't installed (extra docs)"
    ),
]


def test_the_site_is_built_without_a_warning_and_fetches_nothing(tmp_path: Path) -> None:
    """`--strict` makes an error of each; links, also to headings, are followed."""
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    environ = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # the theme's own word about its successor
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env=environ)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "WARNING" not in ended.stderr
    pages = {path.stem for path in (tmp_path / "site").glob("*.html")}
    assert {"index", "commands", *(path.stem for path in (ROOT / "docs").glob("*.md"))} <= pages
    commands = (tmp_path / "site/commands.html").read_text()
    assert "migrator archive check" in commands
    index = (tmp_path / "site/index.html").read_text()
    assert 'href="configuration.html"' in index
    assert "fonts.googleapis" not in index
