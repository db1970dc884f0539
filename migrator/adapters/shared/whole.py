"""Reading a store so that nothing is left out without a word.

A `Reader` enters; all that is selected leaves, or `Incomplete`: an operation concludes from nothing else that something
isn't there.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from migrator.activations.selection import Selection
from migrator.adapters.base import Batch, Reader, Token
from migrator.adapters.shared.optional import census
from migrator.adapters.shared.patience import Policy
from migrator.errors import Incomplete
from migrator.text.units import counted

LOOK_AGAIN = Policy(patience_s=2, first_pause_s=0.5)
"""A second and third look before a store is said to be unavailable; whoever mistyped a host learns it soon."""
_SLICE_DOCUMENTS = 20_000


def briefly(policy: Policy) -> Policy:
    """A policy with no more patience than `LOOK_AGAIN`."""
    return msgspec.structs.replace(
        policy, patience_s=min(policy.patience_s, LOOK_AGAIN.patience_s), first_pause_s=LOOK_AGAIN.first_pause_s
    )


def read_whole(reader: Reader, selection: Selection) -> Iterator[Batch]:
    """Read all that is selected. Raises `Incomplete` at the end where the store itself knows of more."""
    plan = reader.plan(selection, slice_documents=_SLICE_DOCUMENTS)
    read = 0
    for slice in plan.slices:
        for batch in reader.read(slice, None, selection):
            read += len(batch.documents) + len(batch.rejections) + sum(batch.filtered.values())
            yield batch
    check_census(reader, selection, plan.snapshot, read)
    if plan.incomplete:
        raise Incomplete("; ".join(plan.warnings))


def check_census(reader: Reader, selection: Selection, snapshot: Token, read: int) -> None:
    """Raise `Incomplete` where fewer documents were read than the server itself counts."""
    there = census(reader, selection, snapshot)
    if there is not None and read < there:
        raise Incomplete(
            f"{reader.describe().location}: the server counts {counted(there, 'document')}, but only {read:,} of them "
            "could be read"
        )
