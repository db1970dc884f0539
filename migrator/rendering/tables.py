"""Tables for a terminal or a pipe: the same characters in both, as wide as their cells, of plain text."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence

from migrator.text.printable import NAME_WIDTH, printable


def align(rows: Sequence[Sequence[str]], *, left: Collection[int] = (0,)) -> list[str]:
    """Rows as lines, with two spaces between the columns; those in `left` stand left, the others right."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            _pad(cell, width, left=number in left) for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def in_columns(lines: Sequence[Sequence[str]], last: Sequence[str] | None) -> str:
    """A table: the names above a rule, the lines, and below another rule the last line, if there is one."""
    head, *shown = align([*lines, last] if last else lines)
    rule = "-" * max(map(_width, [head, *shown]))
    foot = [rule, shown.pop()] if last else []
    return "\n".join([head, rule, *shown, *foot])


def printable_name(name: str) -> str:
    """A namespace as a table shows it: a very long one without its middle, nothing that would steer a terminal."""
    return printable(name, NAME_WIDTH)


def _pad(cell: str, width: int, *, left: bool) -> str:
    room = " " * (width - _width(cell))
    return cell + room if left else room + cell


def _width(text: str) -> int:
    """Columns on a terminal: those of Chinese, Japanese and Korean take two, marks on other characters none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )
