"""Trying again: the one place and the one policy. Wrappers that are themselves a `Reader` or a `Writer`.

Exceptions of kind `Unavailable` and deferred documents enter; the inner store is asked again, with growing pauses,
for a bounded time. The retries of the client libraries are off. Knows no store.

`stamina` does this for plain calls. It isn't used because half of what is tried again here are values (documents
that a server deferred within an answer that succeeded), a reader goes on from the position it reached, and a pause
must end at once when the run is asked to stop.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import msgspec

from migrator.adapters.base import (
    Abilities,
    Batch,
    Completion,
    Description,
    Plan,
    Reader,
    Slice,
    Token,
    WriteOutcome,
    Writer,
)
from migrator.errors import RequestRefused, Unavailable
from migrator.records import Document, Form, Selection

_T = TypeVar("_T")


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """How long and how often: full jitter between nothing and a limit that doubles, until `patience_s` is used up."""

    patience_s: float = 300.0  # without any success in between
    first_pause_s: float = 0.25
    longest_pause_s: float = 20.0
    refusals: int = 3  # how often a request that is refused with a passing status is tried before it is taken apart
    sleep: Callable[[float], None] = time.sleep  # may raise to end the run
    clock: Callable[[], float] = time.monotonic
    told: Callable[[str], None] = lambda _: None  # hears of every pause longer than a second


class _Patience:
    """The pauses of one call that isn't getting through."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._began_s: float | None = None
        self._tries = 0

    def success(self) -> None:
        self._began_s, self._tries = None, 0

    def pause(self, condition: Exception) -> None:
        """Wait before the next try; raises `condition` when the patience is used up."""
        now_s = self._policy.clock()
        if self._began_s is None:
            self._began_s = now_s
        left_s = self._began_s + self._policy.patience_s - now_s
        if left_s <= 0:
            raise condition
        limit_s = min(self._policy.longest_pause_s, self._policy.first_pause_s * 2**self._tries)
        pause_s = random.uniform(limit_s / 2, limit_s)  # noqa: S311  jitter, nothing secret
        asked_s = condition.retry_after_s if isinstance(condition, Unavailable) else None
        pause_s = min(max(pause_s, asked_s or 0.0), left_s)
        self._tries += 1
        if pause_s > 1:
            self._policy.told(f"{condition}; trying again in {pause_s:.0f} s")
        self._policy.sleep(pause_s)


def persist(policy: Policy, call: Callable[[], _T]) -> _T:
    """Call until it succeeds or the patience is used up; raises what it raised last."""
    patience = _Patience(policy)
    while True:
        try:
            return call()
        except Unavailable as condition:
            patience.pause(condition)


class RetryingReader:
    """A reader that outlasts outages: a slice goes on from the last position that was read."""

    def __init__(self, inner: Reader, policy: Policy) -> None:
        self._inner = inner
        self._policy = policy
        self.abilities: Abilities = inner.abilities

    @property
    def form(self) -> Form:
        return self._inner.form

    def describe(self) -> Description:
        # The first contact: an operator who mistyped a host wants to know at once.
        return self._inner.describe()

    def plan(self, selection: Selection, *, slice_documents: int) -> Plan:
        return persist(self._policy, lambda: self._inner.plan(selection, slice_documents=slice_documents))

    def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
        return self._go_on(after, lambda position: self._inner.read(slice, position, selection), whole=slice.whole)

    def fetch(self, ids: Sequence[str], after: Token, selection: Selection) -> Iterator[Batch]:
        return self._go_on(after, lambda position: self._inner.fetch(ids, position, selection))

    def _go_on(
        self, after: Token, batches: Callable[[Token], Iterator[Batch]], *, whole: bool = False
    ) -> Iterator[Batch]:
        """Outlast outages; one in the middle of a `whole` slice is the caller's, who must drop what it took of it."""
        patience, position, began = _Patience(self._policy), after, False
        while True:
            try:
                for batch in batches(position):
                    patience.success()
                    began = True
                    yield batch
                    position = batch.position
                return
            except Unavailable as condition:
                if whole and began:
                    raise
                patience.pause(condition)

    def catch_up(self, snapshot: Token, selection: Selection, *, slice_documents: int) -> Plan:
        return persist(self._policy, lambda: self._inner.catch_up(snapshot, selection, slice_documents=slice_documents))

    def plan_verification(self, selection: Selection, *, slice_documents: int) -> Plan:
        return persist(self._policy, lambda: self._inner.plan_verification(selection, slice_documents=slice_documents))

    def census(self, selection: Selection, snapshot: Token) -> int | None:
        return persist(self._policy, lambda: self._inner.census(selection, snapshot))

    def count(self, selection: Selection) -> int | None:
        return persist(self._policy, lambda: self._inner.count(selection))

    def close(self) -> None:
        self._inner.close()


class RetryingWriter:
    """A writer whose outcomes have no deferred documents, and that takes refused requests apart.

    A request that the server refuses as a whole (400, 413, or 500 again and again) is halved until one document
    stands alone. That document is rejected if the server otherwise answers, for then the refusal speaks of it.
    """

    def __init__(self, inner: Writer, policy: Policy) -> None:
        self._inner = inner
        self._policy = policy
        self.form: Form | None = inner.form
        self.abilities: Abilities = inner.abilities

    def write(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
        patience, refusals = _Patience(self._policy), 0
        total, left = WriteOutcome(), tuple(documents)
        while True:
            try:
                outcome = self._inner.write(left, replace=replace)
            except RequestRefused as refusal:
                refusals += 1
                if refusal.passing and refusals < self._policy.refusals:
                    patience.pause(refusal)
                    continue
                return total + self._take_apart(left, refusal, replace=replace)
            except Unavailable as condition:
                patience.pause(condition)
                continue
            total += msgspec.structs.replace(outcome, deferred=(), condition=None)
            if not outcome.deferred:
                return total
            why = outcome.condition or Unavailable("the server deferred documents without saying why")
            if not isinstance(why, Unavailable):
                raise why
            if len(outcome.deferred) < len(left):
                patience.success()
            left = outcome.deferred
            patience.pause(why)

    def _take_apart(self, documents: tuple[Document, ...], refusal: RequestRefused, *, replace: bool) -> WriteOutcome:
        if len(documents) > 1:
            half = len(documents) // 2
            first = self.write(documents[:half], replace=replace)
            return first + self.write(documents[half:], replace=replace)
        persist(self._policy, self._inner.describe)
        return WriteOutcome(rejected=tuple(document.rejected(str(refusal)) for document in documents))

    def describe(self) -> Description:
        return self._inner.describe()

    def preflight(self, namespaces: Sequence[str]) -> Sequence[str]:
        return self._inner.preflight(namespaces)

    def prepare(self) -> Token:
        return self._inner.prepare()

    def resume(self, prepared: Token, receipts: Sequence[tuple[int, Token]]) -> bool:
        return persist(self._policy, lambda: self._inner.resume(prepared, receipts))

    def mark(self) -> Token:
        return persist(self._policy, self._inner.mark)

    def stored_since(self, mark: Token, documents: Sequence[Document]) -> frozenset[str]:
        return persist(self._policy, lambda: self._inner.stored_since(mark, documents))

    def stored(self, documents: Sequence[Document]) -> Mapping[str, Document]:
        return persist(self._policy, lambda: self._inner.stored(documents))

    def census(self) -> int | None:
        return persist(self._policy, self._inner.census)

    def due(self) -> bool:
        return self._inner.due()

    def flush(self) -> Token:
        return persist(self._policy, self._inner.flush)

    def finish(self, completion: Completion) -> None:
        persist(self._policy, lambda: self._inner.finish(completion))

    def close(self) -> None:
        self._inner.close()
