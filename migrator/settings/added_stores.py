"""Kinds of stores that other packages add, by entry points of the group `migrator.adapters`.

The name of an entry point is the scheme of the store's locations; what it loads is an adapter, and `adapters.opening`
says what that has to have.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "migrator.adapters"


@cache
def find_added_stores() -> dict[str, EntryPoint]:
    """The entry points by scheme; what they name is neither imported nor looked at."""
    from importlib.metadata import entry_points  # 10 ms that a command without such a store doesn't spend

    return {each.name: each for each in entry_points(group=GROUP)}
