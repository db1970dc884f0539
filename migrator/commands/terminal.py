"""What stdout is: a terminal of some width, where lines fold and colours show, or something that takes them whole."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from typing import TextIO

from migrator.text.units import counted


def width(stream: TextIO | None = None) -> int | None:
    """The columns of the terminal, of stdout by default; None for a pipe or a file, whose lines aren't folded."""
    stream = sys.stdout if stream is None else stream
    return shutil.get_terminal_size((80, 24)).columns if stream.isatty() else None


def height() -> int:
    """The lines of the terminal."""
    return shutil.get_terminal_size((80, 24)).lines


def fit(lines: Sequence[str], *, rows: int, columns: int) -> list[str]:
    """As many of these lines as so many rows hold; the last one then says how many there are more.

    A line that is longer than a row, such as a command, takes several.
    """
    taken = 0
    for number, line in enumerate(lines):
        taken += max(1, -(-len(line) // columns))
        if taken > rows - (number < len(lines) - 1):
            return [*lines[:number], f"… {counted(len(lines) - number, 'more line')}"]
    return list(lines)


def paint(text: str, colour: str) -> str:
    """The text in a colour, where stdout is a terminal and NO_COLOR isn't set."""
    if os.environ.get("NO_COLOR") or not sys.stdout.isatty():
        return text
    return f"\033[{colour}m{text}\033[0m"
