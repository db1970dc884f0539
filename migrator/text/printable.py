"""How text from outside is shown: namespaces, names, ids, reasons, paths, whatever a document or a server says.

Any text enters, one that steers no terminal leaves: control characters, escape sequences and marks that turn the
direction of writing are shown as escapes, and its length is bounded.
"""

from __future__ import annotations

from pathlib import Path

NAME_WIDTH = 40
"""Columns of a name in a table."""


def printable(text: str, width: int | None = None) -> str:
    """The text on one line with escapes for what can't be shown; one beyond `width` loses its middle."""
    shown = text if text.isprintable() else "".join(map(_escape, text))
    if width is None or len(shown) <= width:
        return shown
    end = width // 3
    return f"{shown[: width - end - 1]}…{shown[-end:]}"


def printable_lines(text: str) -> str:
    """The same of our own text of several lines, in which something from outside may stand."""
    return text if text.isprintable() else "\n".join(map(printable, text.split("\n")))


def printable_path(path: Path | str) -> str:
    """A path as text that any encoding takes; the bytes of a name that isn't UTF-8 are shown as escapes."""
    return str(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _escape(char: str) -> str:
    return char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode()
