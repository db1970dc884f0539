"""What every event is, and what hears it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import ClassVar

import msgspec


def _name(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag=_name):
    """Something an operator may want to know. Its class in snake case is its name in logs."""

    level: ClassVar[str] = "info"  # "debug" (not shown as text), "info", "warning"

    schedule: str = ""  # the schedule that it happened in


Tell = Callable[[Event], None]
"""Called with each event, from any thread of a run."""


class Note(Event, frozen=True):
    """A line of a command for which no other event is promised."""

    text: str


class Warned(Event, frozen=True):
    """The same, of something that is wrong."""

    level: ClassVar[str] = "warning"
    text: str
