"""One slice, anywhere: each batch is read, converted, written and accounted for.

A reader, a writer, slices with their positions and their batches enter; what is durable and can be committed leaves, in
order. Knows no checkpoint, starts no thread: whoever takes what leaves commits it before asking for more, on whatever
machine that is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from typing import Protocol

import msgspec

from migrator.activations import forms
from migrator.activations.document import Document, Rejection
from migrator.adapters.base import (
    Batch,
    SupportsBuffer,
    SupportsFence,
    SupportsReceipts,
    SupportsStored,
    Token,
    WriteOutcome,
    Writer,
)
from migrator.engine.accounting import account
from migrator.engine.held import Flushed, Held
from migrator.engine.state.checkpoint import Commit, OpenSlice
from migrator.errors import Unavailable
from migrator.events.watching import Stop


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for every slice of a run."""

    on_conflict: str = "skip"
    mark: Token = None  # where the target stood before the job
    rereads_newer: bool = False  # as of the reader's abilities
    dry_run: bool = False


class OutpacedError(Unavailable):
    """Something else stored another version of a document since this attempt at its slice began.

    It may be newer than what this attempt has read, so it stays, and another attempt reads again.
    """


class Job(Protocol):
    """What a worker must know of the job while it carries, and who hears what it does."""

    @property
    def proven(self) -> Set[str]:
        """Namespaces whose place in the target was noted."""
        ...

    @property
    def any_aside(self) -> bool:
        """Whether the job keeps any documents that were set aside."""
        ...

    def among_differing(self, documents: Sequence[Document]) -> Set[str]:
        """Which of some documents are listed as differing; their ids."""
        ...

    def carried(self, commit: Commit) -> None:
        """A batch was written; may raise to end the run."""
        ...

    def flushed(self, flushed: Flushed) -> None:
        """Something is durable; told once of each, before it is committed."""
        ...


class Carrying:
    """One worker: what it handed to its writer and wasn't committed, over all slices that it carries."""

    def __init__(
        self, writer: Writer, terms: Terms, job: Job, *, fenced: bool = False, commits_late: bool = False
    ) -> None:
        """`fenced`: attempts at the same slices may go on elsewhere, without anybody's knowledge.

        With `commits_late` a writer that is durable with every answer is flushed only with the rest.
        """
        self._commits_late = commits_late
        self._writer = writer
        self._terms = terms
        self._job = job
        self._fenced = fenced
        self._fence: Token = None
        self._held = Held()
        self._proves = isinstance(writer, SupportsReceipts)
        self._buffer = writer if isinstance(writer, SupportsBuffer) else None

    def renew(self, terms: Terms, job: Job) -> None:
        """Continue with what is known now."""
        self._terms, self._job = terms, job

    def begin(self, open: OpenSlice) -> None:
        """Begin an attempt at a slice, before anything of it is read."""
        terms, writer = self._terms, self._writer
        replaces = terms.on_conflict == "overwrite" or open.slice.replaces or open.begun_before
        fences = self._fenced and replaces and isinstance(writer, SupportsFence) and isinstance(writer, SupportsStored)
        self._fence = writer.mark() if fences and isinstance(writer, SupportsStored) else None

    def carry(self, open: OpenSlice, batches: Iterable[Batch | None], stop: Stop) -> Iterator[Flushed]:
        """Carry the batches of a slice; yields what is durable, which is committed when the next is asked for.

        None among the batches says that nothing has come for a while: what is held is committed once it is due.
        """
        held = self._held
        for batch in batches:
            if batch is None:
                if self._is_due():
                    yield from self.rest()
                continue
            commit = self._carry_batch(batch, open)
            held.add(commit, set_aside=self._job.any_aside, attempt=open.attempt)
            if self._is_due():
                yield from self.rest()
            self._job.carried(commit)
            if stop.asked:
                return
        held.end(open.number, attempt=open.attempt)

    def _is_due(self) -> bool:
        """Whether what was handed to the writer is made durable, and committed, before more is."""
        if self._buffer is not None:
            return self._buffer.due()
        return not (self._commits_late or self._held.can_wait(self._writer.abilities.visible_after_s))

    def rest(self) -> Iterator[Flushed]:
        """Make durable what was handed to the writer.

        What was flushed before and couldn't be committed comes first, with the receipt that it had.
        """
        held = self._held
        while held.flushed or held.waits_for_flush:
            flushed = held.flushed
            if flushed is None:
                flushed = held.flush(self._writer.flush())
                self._job.flushed(flushed)
            yield flushed
            held.committed()

    def _carry_batch(self, batch: Batch, open: OpenSlice) -> Commit:
        """Convert and write one batch; account for every document of it."""
        terms = self._terms
        refused: list[Rejection] = list(batch.rejections)
        converted: list[Document] = []
        form = self._writer.form
        for document in batch.documents:
            result = forms.convert(document, form) if form is not None else document
            if isinstance(result, Document):
                converted.append(result)
            else:
                refused.append(result)
        proven = self._job.proven  # before anything is written: what is written is held by the look that comes after
        outcome = self._write(converted, open) if converted else WriteOutcome()
        if not terms.dry_run and not self._proves:
            self._held.sample(outcome.written, proven=proven, written=True)
            self._held.sample(outcome.present, proven=proven, written=False)
        created = not (open.slice.replaces or open.begun_before or terms.on_conflict == "overwrite")
        return account(batch, open.number, outcome, refused, created=created, bulk=not open.slice.replaces)

    def _write(self, documents: Sequence[Document], open: OpenSlice) -> WriteOutcome:
        """Write by the conflict rule.

        The rule protects what was in the target before the job. Where a slice may bring newer versions of what this
        job wrote itself (in catch-up, or beyond its position in an earlier attempt), a differing document that was
        stored after the job's mark is our own older version and gives way, unless it is listed as differing already.
        """
        if self._terms.on_conflict == "overwrite":
            outcome = self._replace(documents)
        else:
            outcome = self._writer.write(documents, replace=False)
        newer = open.slice.replaces or (open.begun_before and self._terms.rereads_newer)
        if outcome.differing and newer and isinstance(self._writer, SupportsStored):
            ours = self._writer.stored_since(self._terms.mark, outcome.differing)
            ours -= self._job.among_differing(outcome.differing)
            older = tuple(document for document in outcome.differing if document.id in ours)
            stays = tuple(document for document in outcome.differing if document.id not in ours)
            outcome = msgspec.structs.replace(outcome, differing=stays)
            if older:
                outcome += self._replace(older)
        return outcome

    def _replace(self, documents: Sequence[Document]) -> WriteOutcome:
        """Write over what is there, but over nothing that was stored since this attempt began."""
        if self._fence is None or not isinstance(self._writer, SupportsFence):
            return self._writer.write(documents, replace=True)
        outcome = self._writer.replace_before(documents, self._fence)
        if outcome.differing:
            raise OutpacedError(f"{outcome.differing[0].id} was stored by something else meanwhile; reading it again")
        return outcome
