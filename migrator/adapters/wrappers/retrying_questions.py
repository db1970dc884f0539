"""Asking again: what a reader can be asked besides reading, with the little patience that a question deserves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from migrator.activations.document import Document
from migrator.activations.selection import Selection
from migrator.adapters.questions import Found, Probe, Volume, WantedId
from migrator.adapters.shared.patience import Policy, persist
from migrator.adapters.shared.whole import briefly
from migrator.errors import MigratorError
from migrator.watching import Stop

_T = TypeVar("_T")


def retrying(inner: _T, protocol: type[_T], policy: Policy, store: str) -> _T:
    """A store under one of the optional protocols of readers, asked again where it is unavailable."""
    asked = _Questions(inner, briefly(policy), store)
    assert isinstance(asked, protocol), f"{protocol.__name__} has no retries"
    return asked


class _Questions:
    """All optional protocols at once; `inner` has the one that is asked."""

    def __init__(self, inner: Any, policy: Policy, store: str) -> None:
        self._inner = inner
        self._policy = policy
        self._store = store

    def _call(self, what: str, call: Callable[[], _T]) -> _T:
        return persist(self._policy, call, f"{self._store}: {what}")

    def probe(self, *, exact: bool) -> Probe:
        probe: Callable[[], Probe] = lambda: self._inner.probe(exact=exact)  # noqa: E731
        return self._call("examining the store", probe)

    def look_up(self, wanted: Sequence[WantedId]) -> Iterator[Found]:
        ask: Callable[[], Iterator[Found]] = lambda: self._inner.look_up(wanted)  # noqa: E731
        return self._gather("looking up activations", ask)

    def newest(self, selection: Selection, limit: int) -> Iterator[Document]:
        ask: Callable[[], Iterator[Document]] = lambda: self._inner.newest(selection, limit)  # noqa: E731
        return self._gather("looking for the newest activations", ask)

    def volume(self, selection: Selection, *, exact: bool, stop: Stop) -> Volume:
        volume: Callable[[], Volume] = lambda: self._inner.volume(selection, exact=exact, stop=stop)  # noqa: E731
        return self._call("looking how much there is", volume)

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
