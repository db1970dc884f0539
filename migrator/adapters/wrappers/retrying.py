"""Trying again: wrappers that are themselves a `Reader` or a `Writer`, and the one place where that is done.

Exceptions of kind `Unavailable` and deferred documents enter; the inner store is asked again, with growing pauses,
for a bounded time. The retries of the client libraries are off. Knows no store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from typing_extensions import override

from migrator.activations.document import Document
from migrator.activations.selection import Selection
from migrator.adapters.base import (
    Batch,
    Completion,
    Description,
    News,
    Plan,
    Reader,
    Refusal,
    Slice,
    Token,
    WriteOutcome,
    Writer,
)
from migrator.adapters.questions import Finding, Found, Probe, Volume, WantedId
from migrator.adapters.shared.patience import Patience, Policy, persist
from migrator.adapters.wrappers.apart import Apart
from migrator.adapters.wrappers.forwarding import ForwardingReader, ForwardingWriter
from migrator.adapters.wrappers.retrying_questions import Questions
from migrator.errors import Unavailable
from migrator.events.watching import Stop
from migrator.text.units import counted

_T = TypeVar("_T")
_MOST_STILL = 20  # batches without a step forward, after which a reader is given up


class _Persistent:
    """Calls to one store, each tried until it succeeds or the patience is used up."""

    def __init__(self, policy: Policy, store: str) -> None:
        self.policy = policy
        self.store = store
        self._reached = False

    def describe(self, describe: Callable[[], Description]) -> Description:
        """Not tried again at the first contact: an operator who mistyped a host wants to know at once."""
        if self._reached:
            return self.call("describing itself", describe)
        with self.policy.waiting(f"{self.store}: describing the store"):
            found = describe()
        self._reached, self.store = True, found.location
        return found

    def call(self, what: str, call: Callable[[], _T]) -> _T:
        return persist(self.policy, call, f"{self.store}: {what}")


class RetryingReader(ForwardingReader):
    """A reader that outlasts outages: a slice goes on from the last position that was read."""

    def __init__(self, inner: Reader, policy: Policy) -> None:
        super().__init__(inner)
        self._policy = policy
        self._persistent = _Persistent(policy, "the source")

    @override
    def describe(self) -> Description:
        return self._persistent.describe(super().describe)

    @override
    def plan(self, selection: Selection, *, slice_documents: int) -> Plan:
        return self._persistent.call("planning", lambda: self._inner.plan(selection, slice_documents=slice_documents))

    @override
    def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
        return self._go_on(
            slice.key, after, lambda position: self._inner.read(slice, position, selection), whole=slice.whole
        )

    @override
    def fetch(self, ids: Sequence[str], after: Token, selection: Selection) -> Iterator[Batch]:
        return self._go_on(counted(len(ids), "id"), after, lambda position: self._inner.fetch(ids, position, selection))

    def _go_on(
        self, what: str, after: Token, batches: Callable[[Token], Iterator[Batch]], *, whole: bool = False
    ) -> Iterator[Batch]:
        """Outlast outages; one in the middle of a `whole` slice is the caller's, who must drop what it took of it.

        Only a batch that brings the position forward is a success: a source that gives the same again and again would
        otherwise be read for ever.
        """
        patience, position, began, still = Patience(self._policy), after, False, 0
        what = f"{self._persistent.store}: reading {what}"
        while True:
            try:
                reading = batches(position)
                while (batch := self._next(reading, what)) is not None:
                    began = True
                    if whole or batch.position != position:
                        patience.success()
                        still = 0
                    elif (still := still + 1) >= _MOST_STILL:
                        raise Unavailable(
                            f"{what} makes no progress: the store returned the same page {counted(still, 'time')}"
                        )
                    yield batch
                    position = batch.position
                return
            except Unavailable as condition:
                if (whole and began) or still >= _MOST_STILL:
                    raise
                patience.pause(condition)

    def _next(self, reading: Iterator[Batch], what: str) -> Batch | None:
        with self._policy.waiting(what):
            return next(reading, None)

    @override
    def catch_up(self, snapshot: Token, selection: Selection, *, slice_documents: int) -> Plan:
        return self._persistent.call(
            "planning what is new", lambda: self._inner.catch_up(snapshot, selection, slice_documents=slice_documents)
        )

    @override
    def news(self, snapshot: Token, selection: Selection, *, wait_s: float, stop: Stop) -> News:
        return self._persistent.call(
            "looking for what is new", lambda: self._inner.news(snapshot, selection, wait_s=wait_s, stop=stop)
        )

    @override
    def plan_verification(self, selection: Selection, *, slice_documents: int) -> Plan:
        return self._persistent.call(
            "planning", lambda: self._inner.plan_verification(selection, slice_documents=slice_documents)
        )

    @override
    def census(self, selection: Selection, snapshot: Token) -> int | None:
        return self._persistent.call("counting", lambda: self._inner.census(selection, snapshot))

    @override
    def repeats_ids(self, snapshot: Token) -> bool:
        return self._persistent.call("counting", lambda: self._inner.repeats_ids(snapshot))

    @override
    def namespaces(self) -> Mapping[str, int | None]:
        return self._persistent.call("looking for namespaces", super().namespaces)

    @override
    def count(self, selection: Selection) -> int | None:
        return self._persistent.call("counting", lambda: self._inner.count(selection))

    @property
    def _questions(self) -> Questions:
        return Questions(self._inner, self._policy, self._persistent.store)

    @override
    def probe(self, *, exact: bool, stop: Stop | None = None) -> Probe:
        return self._questions.probe(exact=exact, stop=stop)

    @override
    def look_up(self, wanted: Sequence[WantedId]) -> Iterator[Found]:
        return self._questions.look_up(wanted)

    @override
    def newest(self, selection: Selection, limit: int) -> Iterator[Document]:
        return self._questions.newest(selection, limit)

    @override
    def reasons(self, wanted: Sequence[WantedId]) -> Sequence[Finding]:
        return self._questions.reasons(wanted)

    @override
    def volume(self, selection: Selection, *, exact: bool, stop: Stop) -> Volume:
        return self._questions.volume(selection, exact=exact, stop=stop)


class RetryingWriter(ForwardingWriter):
    """A writer whose outcomes have no deferred documents, and that takes refused requests apart."""

    def __init__(self, inner: Writer, policy: Policy) -> None:
        super().__init__(inner)
        self._persistent = _Persistent(policy, "the target")
        self._apart = Apart(self._write_once, policy)

    @override
    def describe(self) -> Description:
        return self._persistent.describe(super().describe)

    @override
    def prepare(self) -> Token:
        return self._persistent.call("setting up the job", super().prepare)

    @override
    def write(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
        return self._apart.write(tuple(documents), replace=replace)

    def _writing(self, documents: Sequence[Document]) -> str:
        return f"{self._persistent.store}: writing {counted(len(documents), 'document')}"

    def _write_once(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
        with self._persistent.policy.waiting(self._writing(documents)):
            return self._inner.write(documents, replace=replace)

    @override
    def replace_before(self, documents: Sequence[Document], mark: Token) -> WriteOutcome:
        def write(documents: Sequence[Document], *, replace: bool) -> WriteOutcome:  # noqa: ARG001  always
            with self._persistent.policy.waiting(self._writing(documents)):
                return self._inner.replace_before(documents, mark)

        return Apart(write, self._persistent.policy).write(tuple(documents), replace=True)

    @override
    def sweep(self, receipts: Sequence[tuple[int, Token]]) -> None:
        self._persistent.call("deleting what nobody committed", lambda: self._inner.sweep(receipts))

    @override
    def flush(self) -> Token:
        return self._persistent.call("making documents durable", super().flush)

    @override
    def finish(self, completion: Completion) -> None:
        self._persistent.call("finishing", lambda: self._inner.finish(completion))

    @override
    def resume(self, prepared: Token, receipts: Sequence[tuple[int, Token]]) -> Refusal | None:
        return self._persistent.call("resuming the job", lambda: self._inner.resume(prepared, receipts))

    @override
    def mark(self) -> Token:
        return self._persistent.call("recording the state of the target", super().mark)

    @override
    def stored_since(self, mark: Token, documents: Sequence[Document]) -> frozenset[str]:
        return self._persistent.call("looking up documents", lambda: self._inner.stored_since(mark, documents))

    @override
    def stored(self, documents: Sequence[Document]) -> Mapping[str, Document]:
        return self._persistent.call("looking up documents", lambda: self._inner.stored(documents))

    @override
    def census(self) -> int | None:
        return self._persistent.call("counting", super().census)

    @override
    def stock(self) -> Token:
        return self._persistent.call("counting", super().stock)

    @override
    def left_of(self, stock: Token) -> int:
        return self._persistent.call("counting", lambda: self._inner.left_of(stock))

    @override
    def preflight(self, namespaces: Sequence[str]) -> Sequence[str]:
        return self._persistent.call("preflight", lambda: self._inner.preflight(namespaces))

    @override
    def limitations(self) -> Sequence[str]:
        return self._persistent.call("preflight", super().limitations)
