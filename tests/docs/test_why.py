"""docs/why.md: each line names a test that there is, and the numbers of threads where it names a tool."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from migrator.adapters.elasticsearch.client import Server
from migrator.adapters.elasticsearch.openwhisk import limitation

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/why.md").read_text()
ROWS = re.findall(r"^\| (?!what |---)(.+?) \| (.+?) \| `(tests/[\w/]+\.py)::(\w+)` \|$", PAGE, re.MULTILINE)
TOOLS = re.compile(r"elasticdump|couchbackup|couchimport|esm |elasticsearch-py|RFS|logstash|apscheduler|curator")


def test_every_line_names_a_test() -> None:
    """Nothing in the tables is claimed without one."""
    lines = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| what ")]
    assert len(lines) == len(ROWS) >= 20


@pytest.mark.parametrize(("file", "name"), [row[2:] for row in ROWS])
def test_the_test_is_there(file: str, name: str) -> None:
    """Under this name in this file, and it asserts something or calls what does."""
    found = [
        node
        for node in ast.walk(ast.parse((ROOT / file).read_text()))
        if isinstance(node, ast.FunctionDef) and node.name == name
    ]
    assert found, f"{file} has no {name}"
    assert any(isinstance(node, ast.Assert | ast.Call) for node in ast.walk(found[0]))


@pytest.mark.parametrize("report", [row[0] for row in ROWS if TOOLS.search(row[0])])
def test_what_is_said_of_a_tool_has_its_threads(report: str) -> None:
    assert re.search(r"#\d+", report)


@pytest.mark.parametrize(
    ("product", "version", "is_reported"),
    [
        ("Elasticsearch", "6.7.2", False),
        ("Elasticsearch", "7.17.29", True),
        ("Elasticsearch", "9.2.0", True),
        ("OpenSearch", "2.17.0", True),
    ],
)
def test_a_target_that_stock_openwhisk_cannot_read_is_reported(product: str, version: str, is_reported: bool) -> None:
    """For every target of 7 or later, by its product and version."""
    sentence = limitation(Server(product, version, "c1"))
    assert bool(sentence) is is_reported
    assert not sentence or f"this is {product} {version}" in sentence
