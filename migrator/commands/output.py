"""What commands print on stdout: text, JSON and documents, and how the process ends when that can't be written.

Text and JSON never steer a terminal; documents go out as they are. Where a reader of a pipe has left, the process
ends quietly with 141, as one that SIGPIPE ended; on a full disk with one line and 5. The interpreter's own last flush
would end it with 120 and a traceback.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import IO, Any

import click

from migrator.commands.terminal import width
from migrator.rendering.arguments import in_options
from migrator.rendering.fold import fold
from migrator.text.printable import printable_lines

READER_LEFT = 141

_COLOUR = re.compile(r"(\x1b\[\d*m)")


def print_text(text: str, *, err: bool = False, coloured: bool = False) -> None:
    """Print our own text, in which something from outside may stand; with `coloured` colours stay colours."""
    text = in_options(text)
    if (columns := width(sys.stderr if err else sys.stdout)) is not None and not coloured:
        text = "\n".join(fold(text.split("\n"), columns))
    if coloured:
        text = "".join(part if _COLOUR.fullmatch(part) else printable_lines(part) for part in _COLOUR.split(text))
    else:
        text = printable_lines(text)
    click.echo(text, err=err, color=coloured or None)


def clear_screen() -> None:
    """Make room for what is printed next, in the same place."""
    click.echo("\033[H\033[2J", nl=False)


def print_json(value: Any, *, err: bool = False, documents: bool = False) -> None:
    """Print a value as one line of JSON; what would steer a terminal is escaped in it, as JSON allows.

    With `documents` some of it is what a store holds, in which nothing is one of our own messages.
    """
    import msgspec

    try:
        text = msgspec.json.encode(value).decode()
    except UnicodeEncodeError:  # a path that isn't UTF-8
        import json

        text = json.dumps(msgspec.to_builtins(value), separators=(",", ":"))
    print_json_text(text if documents else in_options(text), err=err)


def print_json_text(text: str, *, err: bool = False) -> None:
    """The same of JSON that was written already."""
    click.echo(text if text.isprintable() else re.sub(r"[^\x00-\x7e]", _json_escaped, text), err=err)


def _json_escaped(found: re.Match[str]) -> str:
    char = found[0]
    if char.isprintable():
        return char
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def print_bytes(*pieces: bytes) -> None:
    """Print documents as they are. Without a buffer (PYTHONUNBUFFERED) a write may take a part only."""
    write = sys.stdout.buffer.write
    for piece in pieces:
        written = write(piece)
        while written < len(piece):
            written += write(piece[written:])


def prepare() -> None:
    """Let the streams take every text, and be there; done before anything is printed."""
    for name in ("stdout", "stderr"):
        stream: IO[str] | None = getattr(sys, name)
        if stream is None:  # `>&-`
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115  until the end
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file name that isn't UTF-8, a terminal that knows ASCII


def flush() -> None:
    """Write what is still in buffers. Raises `OSError`."""
    sys.stdout.flush()


def silence() -> None:
    """Take away from the interpreter's last flush what it can't write."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)
