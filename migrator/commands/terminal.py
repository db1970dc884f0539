"""What stdout is: a terminal of some width, where lines fold and colours show, or something that takes them whole."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TextIO


def width(stream: TextIO | None = None) -> int | None:
    """The columns of the terminal, of stdout by default; None for a pipe or a file, whose lines aren't folded."""
    stream = sys.stdout if stream is None else stream
    return shutil.get_terminal_size((80, 24)).columns if stream.isatty() else None


def height() -> int:
    """The lines of the terminal."""
    return shutil.get_terminal_size((80, 24)).lines


def paint(text: str, colour: str) -> str:
    """The text in a colour, where stdout is a terminal and NO_COLOR isn't set."""
    if os.environ.get("NO_COLOR") or not sys.stdout.isatty():
        return text
    return f"\033[{colour}m{text}\033[0m"
