"""Asking again: what a reader can be asked besides reading, with the little patience that a question deserves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from migrator.activations.document import Document
from migrator.activations.selection import Selection
from migrator.adapters.questions import Finding, Found, Probe, Volume, WantedId
from migrator.adapters.shared.patience import Policy, persist
from migrator.adapters.shared.whole import briefly
from migrator.adapters.wrappers.forwarding import AnyReader
from migrator.errors import MigratorError
from migrator.events.watching import Stop

_T = TypeVar("_T")


class Questions:
    """The questions that a reader supports; asked for the others, it fails."""

    def __init__(self, inner: AnyReader, policy: Policy, store: str) -> None:
        self._inner = inner
        self._policy = briefly(policy)
        self._store = store

    def _call(self, what: str, call: Callable[[], _T]) -> _T:
        return persist(self._policy, call, f"{self._store}: {what}")

    def probe(self, *, exact: bool, stop: Stop | None = None) -> Probe:
        return self._call("examining the store", lambda: self._inner.probe(exact=exact, stop=stop))

    def look_up(self, wanted: Sequence[WantedId]) -> Iterator[Found]:
        return self._gather("looking up activations", lambda: self._inner.look_up(wanted))

    def newest(self, selection: Selection, limit: int) -> Iterator[Document]:
        return self._gather("looking for the newest activations", lambda: self._inner.newest(selection, limit))

    def reasons(self, wanted: Sequence[WantedId]) -> Sequence[Finding]:
        return self._call("looking for reasons", lambda: self._inner.reasons(wanted))

    def volume(self, selection: Selection, *, exact: bool, stop: Stop) -> Volume:
        return self._call("looking how much there is", lambda: self._inner.volume(selection, exact=exact, stop=stop))

    def _gather(self, what: str, ask: Callable[[], Iterator[_T]]) -> Iterator[_T]:
        """All that is found, each once though it is asked for again; what was found before an exception first."""
        found: list[_T] = []

        def look() -> None:
            found.clear()
            for each in ask():  # one by one, so that an exception leaves what came before it
                found.append(each)  # noqa: PERF402  as said

        failed: MigratorError | None = None
        try:
            self._call(what, look)
        except MigratorError as error:
            failed = error
        yield from found
        if failed:
            raise failed
