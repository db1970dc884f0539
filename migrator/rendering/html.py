"""Pages that stand alone: one HTML file with its style and its charts in it, for a browser, a mail or a ticket.

Texts and rows enter, HTML leaves, made by the templates beside this module, which escape whatever they are given.
Nothing on a page is fetched and nothing runs: no script, no font, no picture, no address. Light or dark as the reader's
system is; tables scroll sideways on a phone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from migrator.text.printable import printable_lines


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("migrator.rendering"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=_printable,
    )


def _printable(value: Any) -> Any:
    """What a template prints: texts from outside can't steer what shows them."""
    return printable_lines(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _block(macro: str, *values: Any) -> Markup:
    made: Markup = getattr(_environment().get_template("blocks.html").module, macro)(*values)
    return made


def page(title: str, subtitle: str, parts: Iterable[str], *, footer: str, refresh_s: int | None = None) -> str:
    """The whole file. `parts` are made by the functions below; anything else is text.

    With `refresh_s` a browser asks for it again and again.
    """
    template = _environment().get_template("page.html")
    values = {"title": title, "subtitle": subtitle, "parts": parts, "footer": footer, "refresh_s": refresh_s}
    return template.render(values) + "\n"


def heading(text: str) -> Markup:
    return _block("heading", text)


def paragraph(text: str) -> Markup:
    return _block("paragraph", text)


def code(text: str) -> Markup:
    return _block("code", text)


def note(text: str, level: str = "") -> Markup:
    """A sentence that stands out; `level` is "good", "warn" or "bad"."""
    return _block("note", text, level)


def cards(facts: Iterable[tuple[str, str]]) -> Markup:
    """The few numbers that count most, each with its name."""
    return _block("cards", facts)


def facts(pairs: Iterable[tuple[str, str]]) -> Markup:
    """Names and what is to be said of them."""
    return _block("facts", pairs)


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    total: Sequence[str] | None = None,
    shares: Sequence[float] | None = None,
    texts: frozenset[int] = frozenset(),
    marks: Mapping[tuple[int, int], str] | None = None,
) -> Markup:
    """A table whose first column is words and whose others are numbers.

    `shares` adds a bar to each row, from 0 to 1; `texts` are the columns with sentences; `marks` gives cells, by row
    and column, a level as `note` has it.
    """
    widths = [f"{100 * max(0.0, min(share, 1.0)):.2f}" for share in shares] if shares else None
    by_row: dict[int, dict[int, str]] = {at: {} for at in range(len(rows))}
    for (row, column), level in (marks or {}).items():
        by_row[row][column] = level
    return _block("table", head, rows, total, widths, texts, by_row)


def column_chart(
    caption: str, columns: Sequence[tuple[str, float, float]], labels: Sequence[str], *, words: Sequence[str]
) -> Markup:
    """Columns side by side: each with a name, its height, and how much of that is bad.

    `labels` stand below, evenly; `words` say each column for those who point at it or can't see it. The chart is
    stretched to the width there is, so that no text is in it.
    """
    most = max((height for _, height, _ in columns), default=0) or 1
    drawn = [
        (text, [_bar("", height / most), *([_bar("bad", bad / most)] if bad else [])])
        for (_, height, bad), text in zip(columns, words, strict=True)
    ]
    return _block("column_chart", caption, drawn, labels)


def panel(title: str, state: str, level: str, parts: Iterable[str]) -> Markup:
    """A box with a title and a state, such as one for each job."""
    return _block("panel", title, state, level, list(parts))


def progress(share: float, words: str) -> Markup:
    """How much is done, from 0 to 1, as a bar with words for those who can't see it."""
    return _block("progress", f"{100 * max(0.0, min(share, 1.0)):.2f}", words)


def line_chart(caption: str, points: Sequence[tuple[float, float]], labels: Sequence[str]) -> Markup:
    """A curve of points, both from 0 to 1, stretched to the width there is; `labels` stand below, evenly."""
    drawn = " ".join(f"{100 * x:.2f},{98 - 96 * max(0.0, min(y, 1.0)):.2f}" for x, y in points)
    return _block("line_chart", caption, drawn, labels)


def _bar(kind: str, share: float) -> tuple[str, str, str]:
    """Its class, where its top is, and how high it is."""
    return kind, f"{100 - 98 * share:.2f}", f"{98 * share:.2f}"
