"""How long and how often something is retried: the one policy.

Exceptions of kind `Unavailable` enter; pauses, or the last exception, leave. Knows no store.

`tenacity` and `stamina` do this for a call. Here half of what is retried are values (documents that a server deferred
within an answer that succeeded), a reader goes on from the position it reached, patience is that since the last success
of several calls in a row, and pauses end at once when the run is asked to stop, on a clock that tests can turn. Of
`tenacity` only its `while True` would be left.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import msgspec

from migrator.errors import Unavailable
from migrator.events import Retrying, Tell

_T = TypeVar("_T")
_MOST_DOUBLINGS = 30  # the longest pause was reached long before, and 2**1024 is no float any more


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """How long and how often: full jitter between nothing and a limit that doubles, until `patience_s` is used up."""

    patience_s: float = 300.0  # without any success in between
    tries: int | None = None  # at most, without any success in between; None: as many as the patience lasts for
    first_pause_s: float = 0.25
    longest_pause_s: float = 20.0
    refusals: int = 3  # how often what is refused with a passing status is tried before that is believed
    sleep: Callable[[float], None] = time.sleep  # may raise to end the run
    clock: Callable[[], float] = time.monotonic
    tell: Tell = lambda _: None  # of every pause longer than a second
    waiting: Callable[[str], AbstractContextManager[None]] = lambda _: (
        nullcontext()
    )  # around each call; `LongWaits.for_`


class Patience:
    """The pauses of one call that isn't getting through."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._began_s: float | None = None
        self._tries = 0

    def success(self) -> None:
        self._began_s, self._tries = None, 0

    @property
    def is_over(self) -> bool:
        """Whether the next pause would raise."""
        if self._began_s is None:
            return False
        waited_s = self._policy.clock() - self._began_s
        return waited_s >= self._policy.patience_s or self._tries + 1 == self._policy.tries

    def pause(self, condition: Exception) -> None:
        """Wait before the next try; raises `condition` when the patience is used up."""
        now_s = self._policy.clock()
        if self._began_s is None:
            self._began_s = now_s
        if self.is_over:
            raise condition
        left_s = self._began_s + self._policy.patience_s - now_s
        doubled = 2 ** min(self._tries, _MOST_DOUBLINGS)
        limit_s = min(self._policy.longest_pause_s, self._policy.first_pause_s * doubled)
        pause_s = random.uniform(limit_s / 2, limit_s)  # noqa: S311  jitter, nothing secret
        asked_s = condition.retry_after_s if isinstance(condition, Unavailable) else None
        pause_s = min(max(pause_s, asked_s or 0.0), left_s)
        self._tries += 1
        if pause_s > 1:
            self._policy.tell(Retrying(str(condition), pause_s))
        self._policy.sleep(pause_s)


def persist(policy: Policy, call: Callable[[], _T], what: str = "a request") -> _T:
    """Call until it succeeds or the patience is used up. `what` tells a person what is waited for."""
    patience = Patience(policy)
    while True:
        try:
            with policy.waiting(what):
                return call()
        except Unavailable as condition:
            patience.pause(condition)
