"""Asking again: what a reader can be asked besides reading, with the little patience that a question deserves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from migrator.adapters.questions import Probe
from migrator.adapters.shared.patience import Policy, persist
from migrator.adapters.shared.whole import briefly

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
