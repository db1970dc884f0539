"""Documents that were rejected are retried, from the copies that the job kept.

A checkpoint with rejected documents and a writer enter; what goes over leaves the set aside, what is refused again
stays with its newest reason.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from migrator.activations import forms
from migrator.activations.accounts import Counts
from migrator.activations.document import LOSSES, Document, Rejection, read_document
from migrator.adapters.base import SupportsReceipts, WriteOutcome, Writer
from migrator.engine.state.checkpoint import Checkpoint, SetAside
from migrator.errors import NothingAccepted, UsageError
from migrator.events.watching import Stop
from migrator.text.arguments import argument

_CHUNK_DOCUMENTS = 500
_CHUNK_BYTES = 4_000_000
_BECOMES = ("written", "present", "differing", "rejected")


class RetryOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of the documents that were tried again."""

    tried: int
    written: int
    present: int
    differing: int
    rejected: int
    remarks: Mapping[str, int] = {}  # kinds of `records.REMARKS`, of what went over

    @property
    def exit_code(self) -> int:
        """0, or 3 where some documents didn't go over, or not as a whole."""
        return 3 if self.rejected or self.differing or LOSSES & self.remarks.keys() else 0


def retry_set_aside(writer: Writer, checkpoint: Checkpoint, *, run: int, stop: Stop) -> RetryOutcome:
    """Try every rejected document of a job again; each chunk is committed before the next.

    Raises `UsageError` where the target is a whole that was finished: it takes nothing more.
    """
    if isinstance(writer, SupportsReceipts):
        raise UsageError(
            "the target is complete and accepts no more documents; fix the cause, then copy again with "
            + argument("restart")
        )
    became: Counter[str] = Counter()
    remarks: Counter[str] = Counter()
    for chunk in _chunks(checkpoint.aside.documents("rejected")):
        stop.check()
        outcome = _write(writer, chunk)
        writer.flush()
        remarked = outcome.remarked
        checkpoint.settle(
            [each.id for each in chunk],
            moved=_account_changes(outcome),
            kept=_still_differing(outcome, chunk),
            refused=outcome.rejected,
            remarks=remarked,
            run=run,
        )
        became.update({name: len(getattr(outcome, name)) for name in _BECOMES}, tried=len(chunk))
        remarks.update({kind: len(ids) for kind, ids in remarked.items()})
    writer.finish(checkpoint.completion())
    return RetryOutcome(**{name: became[name] for name in ("tried", *_BECOMES)}, remarks=remarks)


def _chunks(kept: Iterable[SetAside]) -> Iterator[list[SetAside]]:
    chunk: list[SetAside] = []
    size_bytes = 0
    for each in kept:
        chunk.append(each)
        size_bytes += len(each.body)
        if len(chunk) >= _CHUNK_DOCUMENTS or size_bytes >= _CHUNK_BYTES:
            yield chunk
            chunk, size_bytes = [], 0
    if chunk:
        yield chunk


def _write(writer: Writer, chunk: list[SetAside]) -> WriteOutcome:
    documents: list[Document] = []
    refused: list[Rejection] = []
    for each in chunk:
        found = read_document(each.id, each.body, each.form, index=each.index) if each.form else None
        if isinstance(found, Document) and writer.form is not None:
            found = forms.convert(found, writer.form)
        if isinstance(found, Document):
            documents.append(found)
        else:
            reason = found.reason if found else each.reason
            refused.append(Rejection(each.id, reason, each.body, namespace=each.namespace, form=each.form))
    try:
        outcome = writer.write(documents, replace=False) if documents else WriteOutcome()
    except NothingAccepted as refusal:  # all of them were refused before, and nothing else is at hand
        outcome = WriteOutcome(rejected=tuple(document.rejection(str(refusal)) for document in documents))
    return outcome + WriteOutcome(rejected=tuple(refused))


def _account_changes(outcome: WriteOutcome) -> dict[str, Counts]:
    """The change of the accounts: what was rejected is now something else."""
    counts: dict[str, Counts] = defaultdict(Counts)
    for name in ("written", "present", "differing"):
        for document in getattr(outcome, name):
            count = counts[document.namespace]
            count.rejected -= 1
            setattr(count, name, getattr(count, name) + 1)
    return counts


def _still_differing(outcome: WriteOutcome, chunk: list[SetAside]) -> list[SetAside]:
    differing = {document.id for document in outcome.differing}
    return [
        msgspec.structs.replace(each, kind="differing", reason="another version is in the target")
        for each in chunk
        if each.id in differing
    ]
