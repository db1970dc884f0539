"""How a message names an argument: as a program would write it, between backticks.

A program reads `max_rejects=5` as it is; the command line shows its option with the value
(`rendering.arguments.in_options`).
"""

from __future__ import annotations


def argument(name: str, value: object = None) -> str:
    """The argument as a message names it, with the value it has or should have."""
    return f"`{name}`" if value is None else f"`{name}={value}`"
