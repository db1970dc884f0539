"""Commands that are told to operators."""

from __future__ import annotations

import shlex


def in_state_of(command: str) -> str:
    """The option of a command line that names its state folder, to be put behind another one; empty where none is."""
    words = shlex.split(command)
    return f" --state {shlex.quote(words[words.index('--state') + 1])}" if "--state" in words else ""
