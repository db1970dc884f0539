"""What a job and a verification both keep: two stores, what of them is meant, and a plan with how far it is done.

A plan is slices with positions, and what planning warned of. Knows nothing of accounts and findings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from migrator.activations.selection import Selection
from migrator.adapters.base import Description, Plan, Slice, Token
from migrator.engine.state.statefile import StateFile, remove_state
from migrator.text.decoding import convert, decode

_File = TypeVar("_File", bound=StateFile)


def open_for(id: str, path: Path, kind: Callable[[Path], _File], *, restart: bool) -> _File:
    """The file about `id`, made where there is none; with `restart` what an earlier run left is dropped.

    Its folder is locked by the caller. Raises as `StateFile`, and `StateDamaged` where it is about something else.
    """
    if restart:
        remove_state(path)
    file = kind(path)
    try:
        file.claim(id)
    except BaseException:
        file.close()
        raise
    return file


class PlannedFile(StateFile):
    """A file with a table `slices`; its other columns are those of the kind of work."""

    # -- what it is about ---------------------------------------------------------------------------------------

    @property
    def stores(self) -> tuple[Description, Description] | None:
        """The stores as they described themselves in the last run, the source first; None before the first."""
        found = self._get("stores")
        return convert(found, tuple[Description, Description]) if found else None

    @property
    def selection(self) -> Selection:
        return convert(self._get("selection", {}), Selection)

    @property
    def began_s(self) -> float:
        """When it began, in epoch seconds; its first run may have been interrupted since."""
        return float(self._get("began_s", 0.0))

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(self._get("warnings", ()))

    @property
    def incomplete(self) -> bool:
        """Whether a plan said that it left documents out."""
        return bool(self._get("incomplete", False))

    def warn(self, warnings: Iterable[str]) -> None:
        """Keep what is to be told, each once."""
        with self._transaction():
            self._warn(warnings)

    def _warn(self, warnings: Iterable[str]) -> None:
        self._set("warnings", list(dict.fromkeys([*self.warnings, *warnings])))

    # -- its plan, in a transaction -----------------------------------------------------------------------------

    def _add_plan(self, plan: Plan, **columns: Any) -> None:
        """Take the slices of a plan, each with these columns, and its warnings."""
        self._warn(plan.warnings)
        self._set("incomplete", self.incomplete or plan.incomplete)
        names, marks = ", ".join(["slice", *columns]), ", ".join("?" * (1 + len(columns)))
        self._db.executemany(
            f"INSERT INTO slices ({names}) VALUES ({marks})",  # noqa: S608  our own names
            [(msgspec.json.encode(slice).decode(), *columns.values()) for slice in plan.slices],
        )

    def _planned_slices(self, column: str) -> Iterator[tuple[int, Slice, Token, Any]]:
        """Number, slice, position and another column of the slices that aren't done, in the order of planning."""
        query = f"SELECT number, slice, position, {column} FROM slices WHERE NOT done ORDER BY number"  # noqa: S608  as above
        for number, slice, position, value in self._rows(query):
            reached = msgspec.json.decode(position) if position is not None else None
            yield number, decode(slice, Slice), reached, value

    def _move(self, number: int, position: Token) -> None:
        """Everything up to a position of a slice is done."""
        reached = msgspec.json.encode(position).decode()
        if self._db.execute("UPDATE slices SET position = ? WHERE number = ?", (reached, number)).rowcount != 1:
            raise self._state_damaged(f"slice {number} isn't there")

    def _end(self, numbers: Iterable[int]) -> None:
        """These slices are done to their ends."""
        self._db.executemany("UPDATE slices SET done = 1 WHERE number = ?", [(number,) for number in numbers])

    def _drop_plan(self, *, done: bool = False) -> None:
        """Forget the slices, or those alone that are `done`. What was warned of stays."""
        self._db.execute("DELETE FROM slices WHERE done" if done else "DELETE FROM slices")
