"""Tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from migrator.text.printable import NAME_WIDTH, printable


def in_columns(lines: Sequence[Sequence[str]], last: Sequence[str] | None) -> str:
    """A table: the names above a rule, the lines, and below another rule the last line, if there is one."""
    lines = [[printable(cell) for cell in line] for line in lines]
    last = [printable(cell) for cell in last] if last else None
    every = [*lines, last] if last else lines
    widths = [max(map(len, cells)) for cells in zip(*every, strict=True)]

    def row(cells: Sequence[str]) -> str:
        return "  ".join(
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()

    rule = "-" * max(map(len, map(row, every)))
    return "\n".join([row(lines[0]), rule, *map(row, lines[1:]), *([rule, row(last)] if last else [])])


def shown_name(name: str) -> str:
    """A namespace as a table shows it: a very long one without its middle, nothing that would steer a terminal."""
    return printable(name, NAME_WIDTH)
