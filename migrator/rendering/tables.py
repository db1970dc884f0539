"""Tables for a terminal or a pipe: the same characters in both, as wide as their cells, of plain text."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence

from migrator.text.printable import NAME_WIDTH, printable

_LEAST_NAME = 10  # columns that are left of a name


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


def in_columns(
    lines: Sequence[Sequence[str]],
    last: Sequence[str] | None,
    *,
    width: int | None = None,
    spare: Sequence[str] = (),
) -> str:
    """A table: the names above a rule, the lines, and below another rule the last line, if there is one.

    Where it is wider than `width`, columns of these names in `spare` go, those with nothing but zeros first, and then
    the first column loses its middle.
    """
    head, *shown = align(fit([*lines, last] if last else lines, width, spare=spare))
    rule = "-" * max(map(_width, [head, *shown]))
    foot = [rule, shown.pop()] if last else []
    return "\n".join([head, rule, *shown, *foot])


def fit(rows: Sequence[Sequence[str]], width: int | None, *, spare: Sequence[str]) -> Sequence[Sequence[str]]:
    """Rows, the first with the names of the columns, without what makes a table of them too wide."""
    kept = [[printable(cell) for cell in row] for row in rows]
    if width is None:
        return kept
    empty = [name for name in spare if _is_empty(kept, name)]
    for name in dict.fromkeys([*empty, *spare]):
        if _table_width(kept) <= width:
            return kept
        if name in kept[0]:
            at = kept[0].index(name)
            kept = [[*row[:at], *row[at + 1 :]] for row in kept]
    room = max(_LEAST_NAME, max(_width(row[0]) for row in kept) - (_table_width(kept) - width))
    return [[printable(row[0], room) if _width(row[0]) > room else row[0], *row[1:]] for row in kept]


def _is_empty(rows: Sequence[Sequence[str]], name: str) -> bool:
    at = rows[0].index(name) if name in rows[0] else None
    return at is not None and all(row[at] in ("0", "-", "") for row in rows[1:])


def _table_width(rows: Sequence[Sequence[str]]) -> int:
    return sum(max(map(_width, column)) for column in zip(*rows, strict=True)) + 2 * (len(rows[0]) - 1)


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
