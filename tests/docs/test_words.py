"""Phrases that were translated rather than written stay out of documents, messages, comments and names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENDINGS = {".py", ".md", ".toml", ".html", ".yml", ".yaml", ".sh", ".j2"}
PHRASES = re.compile(
    "|".join(
        rf"(?<![a-z]){'[ _]'.join(phrase.split())}(?![a-z])"
        for phrase in ("gone on with", "anew", "taken up", "sees to", "is told", "so it is that", "carried over")
    ),
    re.IGNORECASE,
)


def files() -> Iterator[Path]:
    yield from (path for path in ROOT.glob("*") if path.suffix in ENDINGS)
    for folder in ("docs", "migrator", "samples", "scripts", "tests"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in ENDINGS and path != Path(__file__) and (ROOT / "tests" / "data") not in path.parents:
                yield path


def test_no_phrase_of_them_is_in_any_file() -> None:
    """Say resume, retry, copy again, start over, report."""
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match[0]}"
        for path in files()
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if (match := PHRASES.search(line))
    ]
    assert not found, "\n".join(found)
