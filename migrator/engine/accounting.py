"""The outcome of the documents of one batch, as the commit that the checkpoint takes.

A batch and the outcome of its write enter, a `Commit` leaves. Knows neither reader nor writer.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain
from operator import attrgetter

from migrator.activations.accounts import Counts
from migrator.activations.document import Document, Rejection
from migrator.adapters.base import Batch, WriteOutcome
from migrator.engine.state.checkpoint import Commit, SetAside
from migrator.engine.state.notes import Origin


def account(
    batch: Batch,
    slice: int,
    outcome: WriteOutcome,
    refused: Sequence[Rejection],
    *,
    created: bool = False,
    bulk: bool = False,
) -> Commit:
    """Sort the documents of a batch by their outcome.

    `created` tells that what was written is in the target as documents that weren't there before, `bulk` that the
    slice is of the plan that the job began with.
    """
    counts: dict[str, Counts] = defaultdict(Counts)
    sizes: dict[str, int] = defaultdict(int)
    for document in batch.documents:
        sizes[document.namespace] += len(document.body)
    for namespace, read in _by_namespace(batch.documents):
        counts[namespace].read += read
        counts[namespace].size_bytes += sizes[namespace]
    for rejection in batch.rejections:
        count = counts[rejection.namespace]
        count.read += 1
        count.size_bytes += len(rejection.body)
    for namespace, filtered in batch.filtered.items():
        counts[namespace].read += filtered
        counts[namespace].filtered += filtered
    for namespace, written in _by_namespace(outcome.written):
        counts[namespace].written += written
    for namespace, present in _by_namespace(outcome.present):
        counts[namespace].present += present
    for document in outcome.differing:
        counts[document.namespace].differing += 1
    for rejection in chain(refused, outcome.rejected):
        counts[rejection.namespace].rejected += 1
    return Commit(
        slice=slice,
        position=batch.position,
        counts=dict(counts),
        set_aside=_set_aside(batch, outcome, refused),
        settled=[document.id for document in chain(outcome.written, outcome.present)],
        remarks=outcome.remarked,
        deleted=batch.deleted,
        created=len(outcome.written) if created else 0,
        there=_there(batch, chain(refused, outcome.rejected), bulk=bulk),
    )


def _there(batch: Batch, rejected: Iterable[Rejection], *, bulk: bool) -> dict[Origin, int]:
    """How many of the documents are in the target, by where they were read; 0 where it isn't the bulk.

    Where only rejected ones were read counts as well, with 0. Every document has an index, or none has.
    """
    lacking = {rejection.id for rejection in rejected}
    read: Sequence[Document | Rejection] = [*batch.documents, *batch.rejections] if lacking else batch.documents
    if read and read[0].index is None:
        there = sum(each.id not in lacking for each in read) if lacking else len(read)
        return {Origin("", ""): there if bulk else 0}
    # The namespace that an id tells, where it is that of the document too.
    owners = [each.namespace if each.id.partition("/")[0] == each.namespace else "" for each in read]
    origins = [*zip(owners, [each.index or "" for each in read], strict=True)]
    if bulk and not lacking:
        counted = Counter(origins)
    else:
        counted = Counter(dict.fromkeys(origins, 0))
        counted.update(origin for origin, each in zip(origins, read, strict=True) if bulk and each.id not in lacking)
    return {Origin(*origin): number for origin, number in counted.items()}


_namespace = attrgetter("namespace")


def _by_namespace(documents: Iterable[Document]) -> Iterable[tuple[str, int]]:
    """How many there are of each namespace."""
    return Counter(map(_namespace, documents)).items()


def _set_aside(batch: Batch, outcome: WriteOutcome, refused: Sequence[Rejection]) -> list[SetAside]:
    """What isn't in the target as it should be, as the source has it, whatever form it was refused in."""
    found: list[tuple[str, Document | Rejection, str]] = [
        *(("differing", document, "another version is in the target") for document in outcome.differing),
        *(("rejected", rejection, rejection.reason) for rejection in chain(refused, outcome.rejected)),
    ]
    sources = {document.id: document for document in batch.documents} if found else {}
    return [
        SetAside(
            kind=kind,
            id=item.id,
            namespace=item.namespace,
            reason=reason,
            body=kept.body,
            form=kept.form,
            index=kept.index,
        )
        for kind, item, reason in found
        for kept in (sources.get(item.id, item),)
    ]
