"""A number and its noun agree: 1 document, 2 documents."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrator.text.units import counted
from tests.support.counts import NOUNS, ONE_OF_MANY, PLURALS

ROOT = Path(__file__).parents[2]
_KEPT = {"api/copy.py"}  # "1 ids (…)" is part of the identity of jobs
_SURELY = re.compile(rf" (?:{NOUNS})\b(?!')")
_PERHAPS = re.compile(rf" (?:[a-z]+ ){{0,2}}?(?:{PLURALS})\b(?!')")
_AGREES = ("counted(", "plural(", "argument(")
_CONSTANT = re.compile(r"_?[A-Z][A-Z_]*")


def disagreeing(source: str) -> Iterator[tuple[int, str]]:
    """Places in f-strings where a value that may be one stands before a plural."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.JoinedStr):
            continue
        for value, after in zip(node.values, node.values[1:], strict=False):
            if not isinstance(value, ast.FormattedValue) or not isinstance(after, ast.Constant):
                continue
            shown = ast.unparse(value.value)
            if shown.startswith(_AGREES) or _CONSTANT.fullmatch(shown):
                continue
            spec = ast.unparse(value.format_spec) if value.format_spec else ""
            is_number = "," in spec or shown.startswith(("len(", "sum("))
            if found := (_PERHAPS if is_number else _SURELY).match(str(after.value)):
                yield value.lineno, f"{{{shown}}}{found[0]}"


@pytest.mark.parametrize(
    "text",
    ["{count:,} documents", "{len(ids)} ids in", "{parts} parts", "{count:,} were read"],
)
def test_a_disagreement_is_seen(text: str) -> None:
    assert list(disagreeing(f'f"{text}"'))


@pytest.mark.parametrize(
    "text", ["{counted(count, 'document')} are", "{MOST:,} parts", "{count:,} bytesize", "{name} is"]
)
def test_what_agrees_is_left_alone(text: str) -> None:
    assert not list(disagreeing(f'f"{text}"'))


def test_a_number_that_may_be_one_has_its_noun_from_counted() -> None:
    """`{count:,} documents` says "1 documents" one day; `counted(count, "document")` doesn't."""
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in sorted((ROOT / "migrator").rglob("*.py"))
        if str(path.relative_to(ROOT / "migrator")) not in _KEPT
        for line, text in disagreeing(path.read_text())
    ]
    assert not wrong, "\n".join(wrong)


def test_a_verb_goes_with_its_number() -> None:
    assert [counted(count, "document was", "documents were") for count in (0, 1, 2000)] == [
        "0 documents were",
        "1 document was",
        "2,000 documents were",
    ]


def test_no_page_shows_one_of_something_as_many() -> None:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    wrong = [f"{page.name}: {found[0]}" for page in pages for found in ONE_OF_MANY.finditer(page.read_text())]
    assert not wrong, "\n".join(wrong)
