"""What the site has besides docs/: the README as its first page, the commands, and links out of docs/ made whole."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from migrator.commands.reference import reference_page

_ROOT = Path(__file__).parents[1]
_HOME = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]["urls"]["Homepage"]


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that aren't files of docs/."""
    readme = re.sub(r"\]\((?!https?:|#)(?!docs/)([^)]+)\)", rf"]({_HOME}/\1)", (_ROOT / "README.md").read_text())
    files.append(File.generated(config, "index.md", content=readme.replace("](docs/", "](")))
    files.append(File.generated(config, "commands.md", content=reference_page()))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links to other files of the repository lead to it."""
    return re.sub(r"\]\(\.\./([^)]+)\)", rf"]({_HOME}/\1)", markdown)
