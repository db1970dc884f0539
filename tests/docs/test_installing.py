"""What messages and pages say of `pip install` can be typed: the extras and the packages exist."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXTRAS: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

_MESSAGE = re.compile(r"extra \[(\w+)\].*?pip install ([\w .-]+)")
_FROM_CLONE = re.compile(r"pipx? install '?\.\[([\w,]+)\]")
_FROM_INDEX = re.compile(r"pipx? install '?openwhisk-activation-migrator")


def texts() -> Iterator[tuple[Path, str]]:
    """The strings of the package, put together from their pieces."""
    for path in sorted((ROOT / "migrator").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                yield path, "".join(str(each.value) for each in node.values if isinstance(each, ast.Constant))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield path, node.value


def pages() -> Iterator[Path]:
    yield from (ROOT / "README.md", ROOT / "Dockerfile", *sorted((ROOT / "docs").glob("*.md")))
    for folder in ("samples", "schedules", "migrator"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".md", ".yaml", ".toml", ".py", ".service", ".txt"):
                yield path


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=!\[ ]", each)[0] for each in requirements}


def test_a_message_names_the_packages_of_its_extra() -> None:
    found = [(path, match[1], match[2].split()) for path, text in texts() if (match := _MESSAGE.search(text))]
    assert len({extra for _, extra, _ in found}) >= 5
    for path, extra, packages in found:
        assert {*packages} == names(EXTRAS[extra]), f"{path}: {extra}"


def test_every_extra_that_is_named_exists() -> None:
    for path in pages():
        for match in _FROM_CLONE.finditer(path.read_text()):
            assert {*match[1].split(",")} <= EXTRAS.keys(), f"{path}: {match[0]}"


def test_nothing_is_installed_from_an_index_by_our_own_name() -> None:
    """There, somebody else's package could have it."""
    assert not [str(path) for path in pages() if _FROM_INDEX.search(path.read_text())]
