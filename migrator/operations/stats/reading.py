"""Statistics by reading: all of a store, or some of each of its slices.

A `Reader` enters, `Amounts` leave. Memory holds a page.
"""

from __future__ import annotations

from itertools import islice

from migrator.activations.accounts import Counts
from migrator.activations.amounts import Amounts
from migrator.activations.selection import Selection
from migrator.adapters.base import Reader
from migrator.adapters.shared.optional import count
from migrator.adapters.shared.whole import check_census
from migrator.events.watching import Observer, Progress, Stop

_SLICE_DOCUMENTS = 20_000
_SAMPLED_SLICES = 100


def read_all(reader: Reader, selection: Selection, *, stop: Stop, observe: Observer) -> tuple[Amounts, tuple[str, ...]]:
    """Read a store from end to end; also returns what its plan warns of.

    Raises `Incomplete` where the store counts more than could be read, and `Interrupted` when asked to stop.
    """
    amounts, progress = Amounts(), Progress()
    progress.phase, progress.documents = "reading", count(reader, selection)
    plan = reader.plan(selection, slice_documents=_SLICE_DOCUMENTS)
    read = 0
    for slice in plan.slices:
        for batch in reader.read(slice, None, selection):
            stop.check()
            amounts.take(batch.documents)
            amounts.unreadable += len(batch.rejections)
            seen = len(batch.documents) + len(batch.rejections) + sum(batch.filtered.values())
            read += seen
            progress.add({"": Counts(read=seen, size_bytes=batch.size_bytes)})
            observe(progress)
    check_census(reader, selection, plan.snapshot, read)
    return amounts, plan.warnings


def read_sample(reader: Reader, selection: Selection, *, documents: int, stop: Stop) -> tuple[Amounts, tuple[str, ...]]:
    """Read the first page of each slice, and let it stand for the slice; `documents` is how many the store has.

    For slices of keys in their order: of the namespaces on a page only the last goes on beyond it, and ids end in
    random digits, so that the first are of any time and kind.
    """
    amounts = Amounts()
    plan = reader.plan(selection, slice_documents=max(documents // _SAMPLED_SLICES, 1_000))
    stood_for = 0.0
    for slice in plan.slices:
        stop.check()
        for batch in islice(reader.read(slice, None, selection), 1):
            last = batch.documents[-1].namespace if batch.documents else ""
            going_on = [document for document in batch.documents if document.namespace == last]
            ended = [document for document in batch.documents if document.namespace != last]
            others = len(ended) + len(batch.rejections) + sum(batch.filtered.values())
            weight = max(((slice.documents or 0) - others) / len(going_on), 1) if going_on else 1
            amounts.take(ended)
            amounts.take(going_on, weight=weight)
            amounts.unreadable += len(batch.rejections)
            stood_for += others + weight * len(going_on)
    if selection.is_all and stood_for:
        amounts.scale(documents / stood_for)  # sizes of slices are estimates, where a server knows no ranks
    return amounts, plan.warnings
