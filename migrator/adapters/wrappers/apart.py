"""Writing until every document is accounted for: put off, refused as a whole, or refused alone.

Documents and a writer's `write` enter; an outcome without deferred documents leaves, or what the server can't do.

A request that is refused as a whole (400, 413, or 500 again and again) is halved until one document stands alone. Is
it the document or the server? It is the document only if others go through: with a passing status (500) others that
weren't there before, since a server whose disk is full still finds what it holds. Where nothing goes through, the
server or something before it refuses whole requests, and nothing is rejected.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Protocol

import msgspec

from migrator.activations.document import Document
from migrator.adapters.base import WriteOutcome
from migrator.adapters.shared.patience import Patience, Policy
from migrator.errors import NothingAccepted, RequestRefused, Unavailable
from migrator.text.units import counted

_SUSPECTS = 3  # refused alone while nothing went through; then others are tried
_OTHERS = 8

Documents = tuple[Document, ...]


class _Write(Protocol):
    def __call__(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome: ...


class _Parts(msgspec.Struct, kw_only=True):
    """A request that is being taken apart."""

    waiting: list[Documents]  # the last is sent next
    outcome: WriteOutcome = WriteOutcome()
    refused: list[tuple[Document, RequestRefused]] = []
    proven: bool = False  # others go through, so that the refusals speak of the documents
    tried_others: bool = False
    enough: int = _SUSPECTS  # so many were refused alone that a proof is requested

    @property
    def unaccounted(self) -> Documents:
        return tuple(chain((document for document, _ in self.refused), *self.waiting))

    @property
    def passing(self) -> bool:
        return any(refusal.passing for _, refusal in self.refused)

    @property
    def rejections(self) -> WriteOutcome:
        return WriteOutcome(rejected=tuple(document.rejection(str(refusal)) for document, refusal in self.refused))

    def try_others(self) -> bool:
        """Put some other documents first, each alone; False where that was done or there are none.

        Neighbours are often of one kind, and large ones refused for their size: so some from all over, and the
        smallest.
        """
        if self.tried_others or not self.waiting:
            return False
        self.tried_others = True
        others = list(chain(*self.waiting))
        some = {round(at * (len(others) - 1) / (_OTHERS - 2)) for at in range(_OTHERS - 1)}
        some.add(min(range(len(others)), key=lambda at: others[at].size_bytes))
        rest = tuple(document for at, document in enumerate(others) if at not in some)
        self.waiting = [rest] if rest else []
        self.waiting += [(others[at],) for at in sorted(some)]
        self.enough = len(self.refused) + len(some)
        return True

    @property
    def is_suspicious(self) -> bool:
        """Whether enough were refused alone to ask for a proof."""
        return len(self.refused) >= self.enough or not self.waiting


class Apart:
    """Writes for several threads at once, which tell each other what goes through."""

    def __init__(self, write: _Write, policy: Policy) -> None:
        self._write = write
        self._policy = policy
        self._stored = 0  # documents that weren't there before, in all writes; only whether it grows matters
        self._good: Document | None = None  # the last that went through

    def write(self, documents: Documents, *, replace: bool) -> WriteOutcome:
        patience, refusals = Patience(self._policy), 0
        verdict: NothingAccepted | None = None
        doubtful = WriteOutcome()
        total, left = WriteOutcome(), documents
        while True:
            outcome, left, refusal = self._send(left, patience, replace=replace)
            total += outcome
            if refusal is None:
                return total
            refusals += 1
            if not refusal.passing or refusals >= self._policy.refusals:
                parts = self._take_apart(left, patience, replace=replace)
                total += parts.outcome
                if parts.proven or not parts.refused:
                    return total + parts.rejections
                left, refusals, verdict = parts.unaccounted, 0, _server(parts)
                if not parts.passing:
                    raise verdict
                # Nothing tells a full disk from a document that the server can't hold, but that it lasts.
                few = not parts.waiting and len(parts.refused) < _SUSPECTS and (total.present or total.differing)
                doubtful = parts.rejections if few else WriteOutcome()
            try:
                patience.pause(verdict or refusal)
            except Unavailable:
                if left and len(doubtful.rejected) == len(left):
                    return total + doubtful
                raise

    def _send(
        self, left: Documents, patience: Patience, *, replace: bool
    ) -> tuple[WriteOutcome, Documents, RequestRefused | None]:
        """Write until nothing is deferred or a request is refused: the outcome, what is left, and the refusal."""
        total = WriteOutcome()
        while True:
            try:
                outcome = self._write(left, replace=replace)
            except RequestRefused as refusal:
                return total, left, refusal
            except Unavailable as condition:
                patience.pause(condition)
                continue
            self._note(outcome)
            total += msgspec.structs.replace(outcome, deferred=(), condition=None)
            if not outcome.deferred:
                return total, (), None
            why = outcome.condition or Unavailable("the server deferred documents without saying why")
            if not isinstance(why, Unavailable):
                raise why
            if len(outcome.deferred) < len(left):
                patience.success()
            left = outcome.deferred
            patience.pause(why)

    def _note(self, outcome: WriteOutcome) -> None:
        self._stored += len(outcome.written)
        through = outcome.written or outcome.present or outcome.differing
        if through:
            self._good = through[-1]

    def _take_apart(self, documents: Documents, patience: Patience, *, replace: bool) -> _Parts:
        """Send a refused request in parts, until each document is accounted for or it must be the server."""
        parts, before = _Parts(waiting=_halves(documents)), self._stored
        while parts.waiting:
            outcome, part, refusal = self._send(parts.waiting.pop(), patience, replace=replace)
            parts.outcome += outcome
            if refusal is not None and len(part) == 1:
                outcome, part, refusal = self._insist(part, refusal, replace=replace, patience=patience)
                parts.outcome += outcome
            if refusal is None:
                continue
            if len(part) > 1:
                parts.waiting += _halves(part)
                continue
            parts.refused.append((part[0], refusal))
            if parts.is_suspicious and not parts.proven:
                parts.proven = self._others_go_through(parts, before, patience)
                if not parts.proven and (patience.is_over or not parts.try_others()):
                    return parts
        parts.proven = parts.proven or self._others_go_through(parts, before, patience)
        return parts

    def _insist(
        self, alone: Documents, refusal: RequestRefused, *, replace: bool, patience: Patience
    ) -> tuple[WriteOutcome, Documents, RequestRefused | None]:
        """Try a refused document again where that may pass: its neighbours may only have come at a better moment."""
        outcome, tries, latest = WriteOutcome(), 1, refusal
        while latest.passing and tries < self._policy.refusals:
            self._policy.sleep(self._policy.first_pause_s * 2**tries)
            tries += 1
            more, alone, refused = self._send(alone, patience, replace=replace)
            outcome += more
            if refused is None:
                return outcome, (), None
            latest = refused
        return outcome, alone, latest

    def _others_go_through(self, parts: _Parts, before: int, patience: Patience) -> bool:
        """Whether other documents went through, since a moment or now, as the refused ones would have."""
        if self._stored > before:
            return True
        if parts.passing or not parts.refused:
            return False
        good = self._good
        if good is None or good.id in {document.id for document in parts.unaccounted}:
            return False
        # It is there already, so that writing it once more changes nothing.
        outcome, _, refusal = self._send((good,), patience, replace=False)
        return refusal is None and not outcome.rejected


def _halves(documents: Documents) -> list[Documents]:
    """The halves of a request, the first one last; a single document stays whole."""
    half = len(documents) // 2
    return [documents[half:], documents[:half]] if half else [documents]


def _server(parts: _Parts) -> NothingAccepted:
    refusal = parts.refused[-1][1]
    return NothingAccepted(
        f"{refusal}; {counted(len(parts.refused), 'document was', 'documents were')} refused one by one and none was "
        "accepted, so the cause is the server, or something in front of it, and not a document. Nothing was rejected",
        retry_after_s=refusal.retry_after_s,
    )
