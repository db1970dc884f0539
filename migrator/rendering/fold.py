"""Lines that fit a terminal: labels on the left, text folded beside them; a command is never folded.

A terminal breaks a long line itself, and what is marked across such a break can be pasted; a line feed could not.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from migrator.text.printable import printable

Labelled = tuple[str, str, str]
"""A label, what is said, and the command that goes with it; any of them may be empty."""


def label_rows(rows: Sequence[Labelled], *, width: int | None, indent: int = 0, least: int = 0) -> Iterator[str]:
    """Rows with their labels in one column. Without a width, as for a pipe, each row is one line."""
    beside = max([least, *(len(label) for label, _, _ in rows)]) + 2
    for label, said, command in rows:
        head = f"{' ' * indent}{label:<{beside}}"
        text = printable(said)
        if width is None:
            yield f"{head}{text}{': ' if text and command else ''}{command}".rstrip()
            continue
        if text:
            yield from _fold(f"{text}{':' if command else ''}", width, head)
            head = " " * len(head)
        if command:
            yield f"{head if not text else ' ' * (indent + 2)}{command}"


def _fold(text: str, width: int, head: str) -> Iterable[str]:
    return textwrap.wrap(
        text,
        max(width, len(head) + 20),
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )


_COMMAND = re.compile(r"(?<=: )(migrator .*?)(?=; |$)")


def fold(lines: Iterable[str], width: int | None) -> Iterator[str]:
    """Lines with sentences folded to a width, and their commands on lines of their own; tables are left alone."""
    for text in lines:
        is_table, is_command = "  " in text.strip(), text.lstrip().startswith(("migrator ", "$ "))
        if width is None or "\n" in text or is_table or is_command or len(text) <= width:
            yield text
            continue
        for part in _COMMAND.split(text):
            sentence = part.removeprefix("; ").rstrip()
            if sentence.startswith("migrator "):
                yield f"    {sentence}"
            elif sentence:
                yield from textwrap.wrap(
                    sentence, max(width, 30), subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
                )
