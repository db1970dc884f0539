"""What is reported on stderr: notes, warnings and errors, one line each, as text or as JSON.

Data goes to stdout and not through here.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from migrator.rendering.arguments import in_options
from migrator.text.printable import printable, printable_lines
from migrator.text.secrets import redact

if TYPE_CHECKING:
    from migrator.events import Event

_COLOURS = {"warning": "33", "error": "31"}
_WIDTH = 2000  # of one message: some servers repeat a whole document


@dataclass(frozen=True, slots=True)
class Messages:
    """How events and errors are printed. `quiet` drops what is no warning; warnings and errors are always printed."""

    quiet: bool = False
    as_json: bool = False

    def tell(self, event: Event) -> None:
        """Print an event; what only programs want to know isn't shown as text."""
        if self.quiet and event.level != "warning":
            return
        from migrator.rendering.events import as_object, sentence, shown_as_text

        if self.as_json:
            self._print_object(event.level, as_object(event, _clean))
        elif shown_as_text(event):
            self._print((paint("warning: ", "warning") if event.level == "warning" else "") + _clean(sentence(event)))

    def note(self, text: str) -> None:
        from migrator.events import Note

        self.tell(Note(text))

    def warn(self, text: str) -> None:
        from migrator.events import Warned

        self.tell(Warned(text))

    def error(self, text: str, *, exit_code: int) -> None:
        if self.as_json:
            self._print_object("error", {"event": "failed", "exit_code": exit_code, "message": _clean(text)})
        else:
            self._print(f"migrator: {_clean(text)}")

    def _print_object(self, level: str, fields: dict[str, Any]) -> None:
        time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._print(json.dumps({"time": time, "level": level, **fields}, ensure_ascii=False))

    def trace(self, text: str) -> None:
        """A traceback for those who look for a fault; its last lines may hold anything."""
        self._print(printable_lines(redact(text.rstrip("\n"))))

    def _print(self, text: str) -> None:
        if not self.as_json and sys.stderr.isatty():
            from migrator.rendering.fold import fold

            text = "\n".join(fold(text.split("\n"), shutil.get_terminal_size((80, 24)).columns))
        with suppress(OSError, ValueError):  # nobody listens any more; the exit code still tells
            click.echo(text, err=True)


current: ContextVar[Messages] = ContextVar("messages", default=Messages())  # noqa: B039  a frozen value
"""How messages of this command are reported, as far as its options were read."""


def _clean(text: str) -> str:
    return in_options(one_line(redact(text)))


def one_line(text: str) -> str:
    """The text on one line, without what would steer a terminal: it may hold what a server answered."""
    return printable(" ".join(text.split()), _WIDTH)


def paint(text: str, level: str) -> str:
    """The text in the colour of its level, where stderr is a terminal and NO_COLOR isn't set."""
    if os.environ.get("NO_COLOR") or not sys.stderr.isatty():
        return text
    return f"\033[{_COLOURS[level]}m{text}\033[0m"


def without_logins(text: str) -> str:
    """A message of a foreign library without the logins of URLs that may stand in it."""
    return re.sub(r"://[^\s/?#]*@", "://…@", text)


def without_words(text: str, words: Sequence[str], *, suspect: str = "://.*@") -> str:
    """A message without those words of the command line, repeated in it, in which `suspect` sees a login."""
    for word in words:
        for part in (word, word.partition("=")[2]):
            if re.search(suspect, part, re.DOTALL):
                scheme = re.match(r"[a-z]+://", part)
                for spelled in (part, repr(part)[1:-1]):
                    text = text.replace(spelled, f"{scheme[0] if scheme else ''}…")
    return text
