"""What every page must be: one file that fetches nothing and runs nothing, and is well-formed."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_VOID = {"meta"}
_RUNS_OR_FETCHES = {
    "script",
    "link",
    "img",
    "iframe",
    "object",
    "embed",
    "audio",
    "video",
    "source",
    "base",
    "form",
    "image",
    "use",
    "a",
}


class _Checker(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in _RUNS_OR_FETCHES, tag
        for name, value in attrs:
            assert not name.startswith("on"), name
            assert name not in ("src", "href", "xlink:href", "srcset", "action", "style", "background"), name
            assert not re.search(r"https?:|//|url\(", value or ""), value
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            assert not re.search(r"url\(|@import|https?:|@font-face|expression", data, re.IGNORECASE)
        else:
            self.texts.append(data)


def assert_stands_alone(page: str) -> str:
    """Check a page; its text without the markup."""
    checker = _Checker()
    checker.feed(page)
    checker.close()
    assert not checker.open
    return " ".join(" ".join(checker.texts).split())
