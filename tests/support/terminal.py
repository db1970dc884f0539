"""A terminal of 80 columns and 24 lines with a shell in it: what a person types, and what is then on the screen."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

COLUMNS, LINES = 80, 24

_MARK = re.compile(r"\x1b\]777;(\d+)\x07\$ ")  # of an exit code, and the prompt
_LONGEST_ESCAPE = 40
_ESCAPE = re.compile(r"\x1b(?:\[([0-9;?]*)([A-Za-z])|\][^\x07]*\x07|[()][A-Z0-9]|[=>78])")
_SHELL = ("setsid", "--ctty", "bash", "--noediting", "--norc", "--noprofile", "-i")


class Screen:
    """What a terminal shows, with the lines that have left it at the top."""

    def __init__(self) -> None:
        self.lines: list[list[str]] = [[]]
        self._row = self._column = 0

    def feed(self, text: str) -> None:
        at = 0
        while at < len(text):
            if found := _ESCAPE.match(text, at):
                self._steer(found[1] or "", found[2] or "")
                at = found.end()
            else:
                self._put(text[at])
                at += 1

    @property
    def text(self) -> str:
        return "\n".join("".join(line).rstrip() for line in self.lines)

    def _put(self, char: str) -> None:
        if char == "\r":
            self._column = 0
        elif char == "\n":
            self._move(self._row + 1)
        elif char == "\b":
            self._column = max(0, self._column - 1)
        elif char == "\t":
            self._column = min(COLUMNS - 1, (self._column // 8 + 1) * 8)
        elif char.isprintable():
            if self._column == COLUMNS:
                self._column = 0
                self._move(self._row + 1)
            line = self.lines[self._row]
            line += [" "] * (self._column + 1 - len(line))
            line[self._column] = char
            self._column += 1

    def _move(self, row: int) -> None:
        self._row = max(row, len(self.lines) - LINES, 0)
        self.lines += [[] for _ in range(self._row + 1 - len(self.lines))]

    def _steer(self, numbers: str, how: str) -> None:
        first = numbers.partition(";")[0]
        count = int(first) if first.isdecimal() else 0
        line = self.lines[self._row]
        if how in ("A", "B"):
            self._move(self._row + max(count, 1) * (1 if how == "B" else -1))
        elif how in ("C", "D"):
            self._column = min(COLUMNS - 1, max(0, self._column + max(count, 1) * (1 if how == "C" else -1)))
        elif how == "K":
            del line[0 if count == 2 else self._column :]
        elif how == "J":
            del line[self._column :]
            del self.lines[self._row + 1 :]


class Terminal:
    """A shell that is typed to."""

    def __init__(self, file: int) -> None:
        self.screen = Screen()
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._raw = ""
        self._held = ""  # an escape sequence that isn't whole yet

    def run(
        self,
        command: str,
        answers: Mapping[str, str] = {},
        *,
        timeout_s: float = 180,
        watch: Callable[[str], str | None] = lambda _: None,
    ) -> tuple[int, str]:
        """Type a command, and what is answered to its questions; its exit code, and the screen from the command on.

        `watch` sees what has come so far, and may once give something to type.
        """
        first, begun = len(self.screen.lines) - 1, len(self._raw)
        waiting, watched = dict(answers), False
        self.type(f"{command}\n")
        until_s = time.monotonic() + timeout_s
        while True:
            told = self._raw[begun:]
            if found := _MARK.search(told):
                return int(found[1]), "\n".join(self.screen.text.split("\n")[first:-1])
            shown = _ESCAPE.sub("", told)
            for question in [each for each in waiting if shown.endswith(each)]:
                self.type(f"{waiting.pop(question)}\n")
            if not watched and (typed := watch(told)):
                self.type(typed)
                watched = True
            if time.monotonic() > until_s:
                raise TimeoutError(f"{command}\n{self.screen.text[-3000:]}")
            self._take(0.05)

    def type(self, text: str) -> None:
        os.write(self._file, text.encode())

    def _take(self, wait_s: float) -> None:
        if not select.select([self._file], [], [], wait_s)[0]:
            return
        text = self._decoder.decode(os.read(self._file, 65_536))
        self._raw += text
        self._held += text
        cut = self._held.rfind("\x1b")
        if cut < 0 or _ESCAPE.match(self._held, cut) or len(self._held) - cut > _LONGEST_ESCAPE:
            cut = len(self._held)
        self.screen.feed(self._held[:cut])
        self._held = self._held[cut:]

    def prompt(self) -> None:
        """Wait for the first prompt."""
        until_s = time.monotonic() + 30
        while not _MARK.search(self._raw) and time.monotonic() < until_s:
            self._take(0.05)


@contextmanager
def terminal(folder: Path, env: Mapping[str, str], *, user: str | None = None) -> Iterator[Terminal]:
    """A shell in a folder, of another user if one is named; whatever runs in it is ended at the end."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    prompt = {"PS1": "$ ", "PS2": "> ", "PROMPT_COMMAND": r"printf '\033]777;%s\007' $?", "TERM": "xterm-256color"}
    without = {name: value for name, value in env.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    with subprocess.Popen(
        _SHELL,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=folder,
        env={**without, **prompt},
        user=user,
        group=user,
        extra_groups=None if user is None else [],
    ) as shell:
        os.close(theirs)
        try:
            found = Terminal(ours)
            found.prompt()
            yield found
        finally:
            os.close(ours)
            shell.send_signal(signal.SIGHUP)
            shell.wait(10)
