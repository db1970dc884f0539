"""How many documents a request may be about, on a link that cuts answers after so many bytes.

An answer that breaks off makes the requests that follow smaller; many that arrive make them larger again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from migrator.errors import AnswerLost

T = TypeVar("T")

_STEP = 4  # patience ends before many small steps have led to what goes through
_CALM = 20  # answers that arrive before requests may be larger again


class Ceiling:
    """For requests of one kind; shared by threads."""

    def __init__(self) -> None:
        self._most: int | None = None
        self._largest = 0  # that was requested before answers broke off
        self._arrived = 0

    def allows(self, documents: int) -> bool:
        return self._most is None or documents <= self._most

    def pieces(self, documents: Sequence[T]) -> list[Sequence[T]]:
        """Documents in as many requests as they need."""
        most = self._most or max(1, len(documents))
        return [documents[first : first + most] for first in range(0, len(documents), most)]

    @contextmanager
    def watch(self, documents: int) -> Iterator[None]:
        """Learn from the answer to a request about so many documents."""
        try:
            yield
        except AnswerLost:
            self._largest = max(self._largest, documents)
            self._most = max(1, min(documents, self._most or documents) // _STEP)
            self._arrived = 0
            raise
        if self._most is not None:
            self._arrived += 1
            if self._arrived >= _CALM:
                self._arrived = 0
                self._most = self._most * 2 if self._most * 2 < self._largest else None
