"""What a checkpoint takes and gives: values without a file.

Knows nothing of SQLite, of readers and writers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from migrator.activations.accounts import Counts
from migrator.activations.document import Form
from migrator.activations.requests import JobRequest
from migrator.adapters.base import Slice, Token
from migrator.errors import Unavailable
from migrator.text.units import counted


class JobSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a job is: enough to recognise it and to ask for it again. `selection` is as it was typed."""

    id: str
    source_identity: str
    target_identity: str
    request: JobRequest
    selection: Mapping[str, Any] = {}

    @property
    def source(self) -> str:
        """The source as it was given, without a secret."""
        return self.request.source

    @property
    def target(self) -> str:
        return self.request.target


class SetAside(msgspec.Struct, frozen=True, kw_only=True):
    """A document that isn't in the target as the source has it, in the form of the source."""

    kind: str  # "rejected", "differing"
    id: str
    namespace: str
    reason: str
    body: bytes
    form: Form | None = None
    index: str | None = None


class Origin(msgspec.Struct, frozen=True):
    """Where documents were read: within one origin no id stands for two of them.

    `namespace` is what the ids begin with, empty where an id doesn't begin with its document's namespace; `index` is
    an index of Elasticsearch. Both are empty where a store has no indices.
    """

    namespace: str
    index: str


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """What one batch adds: the position after it and the outcome of its documents."""

    slice: int  # its number
    position: Token
    counts: Mapping[str, Counts]
    set_aside: Sequence[SetAside] = ()
    settled: Collection[str] = ()  # ids that are in the target now and leave the set aside
    remarks: Mapping[str, Sequence[str]] = {}  # ids by kind
    deleted: int = 0
    created: int = 0  # of the written ones, those that surely weren't in the target in any version
    # How many documents of the bulk the target holds now, in whatever version, by where they were read; 0 in a round.
    there: Mapping[Origin, int] = {}

    @property
    def written(self) -> int:
        return sum(counts.written for counts in self.counts.values())


def sum_origins(counted: Iterable[Mapping[Origin, int]]) -> dict[Origin, int]:
    """Documents by origin, of several together."""
    result: dict[Origin, int] = {}
    for some in counted:
        for origin, documents in some.items():
            result[origin] = result.get(origin, 0) + documents
    return result


class Shortfall(msgspec.Struct, frozen=True, kw_only=True):
    """How many documents are missing by a store's own count; what was told of them stands among the warnings."""

    unread: int = 0  # that the source counts and that weren't read
    unstored: int = 0  # that were copied and that the target doesn't count

    def __bool__(self) -> bool:
        return bool(self.unread or self.unstored)

    def __add__(self, other: Shortfall) -> Shortfall:
        return Shortfall(unread=self.unread + other.unread, unstored=self.unstored + other.unstored)


class Sample(msgspec.Struct, frozen=True):
    """What was copied in one minute."""

    minute: int  # counted from 1970
    read: int
    size_bytes: int


class VerificationNote(msgspec.Struct, frozen=True, kw_only=True):
    """What a verification of source and target said of this job."""

    began_s: float  # epoch seconds
    agrees: bool
    counts: Mapping[str, int]  # in all: "a", "b", "missing", "extra", "different", "refused"
    proves: str  # in words
    request: JobRequest  # that verifies again


class OpenSlice(msgspec.Struct, frozen=True, kw_only=True):
    """A slice that isn't done. `begun_before` tells that an earlier run may have written beyond its position."""

    number: int
    slice: Slice
    position: Token
    begun_before: bool
    attempt: int = 0  # counted over all slices of a run; 0 where there can only be one


def documents_in(receipt: Token) -> int | None:
    """How many documents a receipt speaks of, None where it doesn't tell."""
    documents = receipt.get("documents") if isinstance(receipt, dict) else None
    return documents if isinstance(documents, int) else None


def refuse_unproven(written: int, receipt: Token) -> None:
    """Raise where documents that are counted as written aren't those of the receipt."""
    proven = 0 if receipt is None else documents_in(receipt)
    if proven is not None and proven != written:
        raise Unavailable(
            f"{counted(written, 'document was', 'documents were')} sent to the target, but its receipt covers "
            f"{proven:,}. None of them counts as written; run the same command to write them again"
        )
