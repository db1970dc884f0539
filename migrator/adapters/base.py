"""The contract between the engine and the stores.

A `Reader` yields batches of documents in an order of its own, a `Writer` takes documents and accounts for every one.
What crosses this border is frozen values that can be pickled and, where they enter a checkpoint, written as JSON.
The engine knows these protocols and no store; a store knows nothing of slices in progress, checkpoints or jobs.

`Reader` and `Writer` are what every store can do. What only some can is a protocol of its own (`SupportsCensus`,
`SupportsReceipts`, …): an adapter names those it implements as base classes, so that mypy compares the signatures, and
the engine asks with `isinstance`. A wrapper offers what the store it wraps offers (`wrappers/forwarding.py`).

Errors: an exception means that the documents in hand aren't accounted for. `Unavailable` may be tried again,
anything else ends the run. A document that can't be copied is a value (`Rejection`), never an exception.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, Protocol, TypeAlias, runtime_checkable

import msgspec

from migrator.activations.document import Document, Form, Rejection
from migrator.activations.part import Part
from migrator.activations.selection import Selection
from migrator.events.watching import Stop

Token: TypeAlias = str | int | float | bool | list[Any] | dict[str, Any] | None
"""A JSON value that only the adapter which made it understands: a position, a snapshot, a mark."""


class Abilities(msgspec.Struct, frozen=True, kw_only=True):
    """What holds of a store, besides what it supports; the engine asks this value, never which store it is."""

    rereads_newer: bool = False  # reader: a slice read again may hold a newer version of a document it gave before
    # Reader: an id never stands for two documents of one index at once (of the whole store, where documents come
    # without an index), and the slices of one plan give it once for each.
    unique_ids: bool = False
    reads_once: bool = False  # reader: what was read isn't read again without loss: a pipe
    dedicated: bool = False  # reader: made to hold activations; where nothing in it is one, it isn't what was meant
    partial: bool = False  # reader: gives one part of what its store holds; that nothing is in it proves nothing
    looks_up: bool = False  # reader: finds a few documents by their ids at once, however much there is
    doubles: bool = False  # keeps numbers other than integers as IEEE doubles (CouchDB)
    visible_after_s: float = 0.0  # writer: looking up a document that is younger makes the store refresh for it


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What a store says of itself. `location` never carries a secret; `identity` changes when the store is replaced."""

    location: str
    product: str  # "CouchDB", "Elasticsearch", "OpenSearch", "memory"
    version: str
    identity: Token = None
    # Grows by one or more with every document that is stored; a smaller one than before means another store. For
    # stores whose identity doesn't change when they are replaced; None where the identity does.
    progress: int | None = None


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a source that is read by itself, in order. `spec` is the adapter's own."""

    key: str  # unique in its plan and telling to a person: "guest/0..guest/8", "openwhisk-guest[2] 0..50000"
    spec: dict[str, Any]
    documents: int | None = None  # an estimate of how many it holds, None where it isn't known
    replaces: bool = False  # what it gives replaces older versions in the target (catch-up)
    whole: bool = False  # read in one go: no position inside can be resumed from (verification only)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The slices of a source, and the snapshot: where the source stood before the first of them is read."""

    slices: tuple[Slice, ...]
    snapshot: Token = None
    warnings: tuple[str, ...] = ()  # what the operator must know, e.g. a closed index that can't be read
    incomplete: bool = False  # a warning says that documents were left out: the run must not end with exit code 0


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """A page as it was read: documents in slice order and the position after them.

    `filtered` counts, by namespace ("" where there is none), what isn't an activation or isn't selected; `deleted`
    counts deletions seen in the source, which are never copied.
    """

    documents: tuple[Document, ...]
    position: Token
    rejections: tuple[Rejection, ...] = ()
    filtered: Mapping[str, int] = {}
    deleted: int = 0
    size_bytes: int = 0  # of the page as it came over the wire


class WriteOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of each document of one write; the tuples together hold every one exactly once.

    `deferred` are those that the server put off for a reason of its own (429, 5xx by item): `condition` says which.
    Only `RetryingWriter` sees them; what it returns has none.
    """

    written: tuple[Document, ...] = ()
    present: tuple[Document, ...] = ()  # the same activation was there already
    differing: tuple[Document, ...] = ()  # another version is there, and it stays
    rejected: tuple[Rejection, ...] = ()
    deferred: tuple[Document, ...] = ()
    condition: Exception | None = None

    def __add__(self, other: WriteOutcome) -> WriteOutcome:
        return WriteOutcome(
            written=self.written + other.written,
            present=self.present + other.present,
            differing=self.differing + other.differing,
            rejected=self.rejected + other.rejected,
            deferred=self.deferred + other.deferred,
            condition=other.condition or self.condition,
        )

    @property
    def remarked(self) -> dict[str, list[str]]:
        """The ids of what is in the target, by the kind of the remarks that were made on them."""
        ids: dict[str, list[str]] = {}
        for document in (*self.written, *self.present):
            for kind in document.remarks:
                ids.setdefault(kind, []).append(document.id)
        return ids


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """What a writer learns at the end of a job; an archive makes its manifest of it."""

    source: Description
    form: Form | None  # of the source's documents
    selection: Selection
    snapshot: Token  # where the source stood when the last round was planned
    snapshot_s: float | None  # when that was, in epoch seconds
    began_s: float  # when the first run of the job began, in epoch seconds
    receipts: Sequence[tuple[int, Token]]  # of all flushes, in their order, each with the number of its round
    counts: Mapping[str, Mapping[str, int]]  # the accounts by namespace
    deleted: int  # deletions seen in the source
    warnings: Sequence[str]
    unread: int = 0  # documents that the source counts and that weren't read


class Refusal(StrEnum):
    """Why a writer can't resume a job; the name is for programs, the value for people."""

    ARCHIVE_GONE = "the archive no longer exists"
    BACKUP_GONE = "the unfinished backup was deleted"
    PARENT_GONE = "the backup it continues was deleted"
    PART_GONE = "a part of it was deleted or changed"
    FILE_GONE = "the unfinished file was deleted or cut off"
    NOT_KEPT = "what was piped out can't be continued"


class Reader(Protocol):
    """The source end. Only reads: no view is built, no setting changed. Used by several threads at once."""

    abilities: Abilities = Abilities()

    @property
    def form(self) -> Form:
        """The form of the documents; an archive is examined to tell it."""
        ...

    def describe(self) -> Description:
        """Reach the store, log in, and see that it is there. Raises `Unavailable`, `AccessDenied`, `NotFound`."""
        ...

    def plan(self, selection: Selection, *, slice_documents: int) -> Plan:
        """Cut the store into slices of about `slice_documents` documents that together hold the whole selection.

        The plan's snapshot is taken before anything else is looked at.
        """
        ...

    def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
        """Yield the batches of a slice that come after a position (None: from its beginning), in position order.

        An iterator that ends has read its slice to the end; anything else is an exception. A batch without documents
        but with a new position is allowed. A document that can't be decoded is a rejection in its batch. After an
        exception in a `whole` slice, what was given of it doesn't count: it is read again from its beginning.
        """
        ...

    def close(self) -> None: ...


@runtime_checkable
class SupportsCatchUp(Protocol):
    """A reader of a store that tells what was stored or changed since a snapshot."""

    def catch_up(self, snapshot: Token, selection: Selection, *, slice_documents: int) -> Plan:
        """Plan what was stored or changed since a snapshot, with the snapshot that the next round starts from.

        A part whose history is gone (an index that was recreated) is planned as a whole, with a warning.
        """
        ...


class News(msgspec.Struct, frozen=True, kw_only=True):
    """How much was stored or changed in a source since a snapshot, by a look that reads no documents."""

    pending: (
        int  # of documents and deletions, selected or not; rather too many than too few, and 0 where nothing is new
    )
    unseen: tuple[str, ...] = ()  # why there may be more that the look can't see, such as a closed index


@runtime_checkable
class SupportsFollow(Protocol):
    """A reader that catches up, of a store that tells when something was stored."""

    def news(self, snapshot: Token, selection: Selection, *, wait_s: float, stop: Stop) -> News:
        """Wait up to `wait_s` for something to be stored or changed after a snapshot, and tell what was.

        0 pending is proven: by what the primary copies tell, of every place that the selection means, also of one that
        the snapshot doesn't know. Returns sooner where the server can tell, and soon after `stop` was asked to.
        """
        ...

    def read_up_to(self, snapshot: Token, positions: Sequence[Token]) -> Token:
        """The snapshot of a catch-up round, moved on to where its slices were read to the end, if that was later.

        Without it the next round would read once more what came while this one was read.
        """
        ...


@runtime_checkable
class SupportsVerificationPlan(Protocol):
    """A reader of a store with a second path of reading; without one, `verify` reads as a copy does."""

    def plan_verification(self, selection: Selection, *, slice_documents: int) -> Plan:
        """As `plan`, but by a different path of reading.

        A fault of the way that a copy read by must not hide from the verification of that copy.
        """
        ...


@runtime_checkable
class SupportsCensus(Protocol):
    """A reader of a store that counts its documents itself."""

    def census(self, selection: Selection, snapshot: Token) -> int | None:
        """How many documents the server itself counts for a selection, of those stored up to a snapshot.

        Asked in a way that doesn't read pages of documents, and exact: reading the selection gives at least so many
        documents, rejections and filtered ones. None where the server can't tell that.
        """
        ...


@runtime_checkable
class SupportsRepeats(Protocol):
    """A reader whose ids are unique by its abilities, and whose store may break that rule all the same."""

    def repeats_ids(self, snapshot: Token) -> bool:
        """Whether an id may stand for two documents of one index, in what a snapshot speaks of; asks the server."""
        ...


@runtime_checkable
class SupportsFetch(Protocol):
    """A reader of a store that finds documents by their ids; `shared.optional.fetch` reads through any other."""

    def fetch(self, ids: Sequence[str], after: Token, selection: Selection) -> Iterator[Batch]:
        """Yield what the store holds now under these ids; what isn't there is left out.

        As `read` in all else, with a position that says how many of the ids are done. A document that is in
        several places (indices) is given once for each.
        """
        ...


@runtime_checkable
class SupportsNamespaces(Protocol):
    """A reader that can name namespaces without reading the documents."""

    def namespaces(self) -> Mapping[str, int | None]:
        """The namespaces that a look at the store shows, with how many documents they have where that is known.

        For a person who mistyped one: some may be missing, and counts may include what is superseded.
        """
        ...


@runtime_checkable
class SupportsCount(Protocol):
    """A reader that can tell cheaply how much there is."""

    def count(self, selection: Selection) -> int | None:
        """How many documents there are, for the progress shown; None where that can't be determined cheaply."""
        ...


@runtime_checkable
class SupportsParts(Protocol):
    """A reader of a store that several jobs can share out between them without knowing of each other."""

    def in_part(self, part: Part) -> Reader:
        """The same store, of which only one part is read.

        Which part a document is in follows from the document and where it stands, and stays so when it changes: never
        from how much there is. So the parts together are the whole and no document is in two, also where each is
        planned at another time and the store is written to. What is closed is closed with either reader.
        """
        ...


class Writer(Protocol):
    """The target end. Idempotent by document id.

    Used by several threads at once; `write` and `flush` speak of what the calling thread handed over.
    """

    form: Form | None  # the form it takes; None where it keeps any
    abilities: Abilities = Abilities()

    def describe(self) -> Description:
        """As the reader's; the target must be there and take writes."""
        ...

    def prepare(self) -> Token:
        """Set up what a new job needs (an index template, a new backup); called once before its first write.

        What is returned is kept with the job, for `SupportsReceipts.resume`.
        """
        ...

    def write(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
        """Store documents that are in this writer's form.

        Where another version is already there it stays (*differing*), or with `replace` gives way (*written*);
        where the same is there already it is *present*. The outcome holds every document.
        """
        ...

    def flush(self) -> Token:
        """Return when all that was handed over is durable, with a receipt for it (None where none is needed)."""
        ...

    def finish(self, completion: Completion) -> None:
        """The last write of the job was flushed: make it visible (a refresh), complete it (a manifest)."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class SupportsCreation(Protocol):
    """A writer of a store that has to be there before anything is written to it, such as a database."""

    def create(self) -> bool:
        """Create it where there is none; whether it was created. Nothing that is there is changed."""
        ...


@runtime_checkable
class SupportsReceipts(Protocol):
    """A writer of a whole that is made of its receipts (a backup, a file).

    Every flush of written documents gives a receipt; without it none was durable. A receipt that is an object tells in
    `documents` how many they were. Once it is finished, the whole takes nothing more.
    """

    def resume(self, prepared: Token, receipts: Sequence[tuple[int, Token]]) -> Refusal | None:
        """Resume a job that an earlier run prepared and whose commits hold these receipts.

        What isn't in a receipt was never committed, and is written again. A `Refusal` where what the receipts speak of
        isn't there any more: the job then starts over.
        """
        ...


@runtime_checkable
class SupportsBuffer(Protocol):
    """A writer that isn't durable with every answer, and says when it is worth a flush."""

    def due(self) -> bool:
        """Whether what this thread handed over should be flushed now."""
        ...


@runtime_checkable
class SupportsStored(Protocol):
    """A writer of a store that keeps one version under each id, and shows it."""

    def mark(self) -> Token:
        """Where the target stands now, for `stored_since`."""
        ...

    def stored_since(self, mark: Token, documents: Sequence[Document]) -> frozenset[str]:
        """Which of these documents were stored in the target after the mark; their ids."""
        ...

    def stored(self, documents: Sequence[Document]) -> Mapping[str, Document]:
        """What the target holds under the ids of these documents, by id, absent where nothing is there."""
        ...


@runtime_checkable
class SupportsFence(Protocol):
    """A writer of a store in which an older version can be kept from replacing a newer one."""

    def replace_before(self, documents: Sequence[Document], mark: Token) -> WriteOutcome:
        """As `write` with `replace`, but what was stored after the mark stays, and is *differing*.

        Atomic for each document: what another writer stores between the look and the write stays as well. So whoever
        took the mark before it read can't put an older version back, however long it slept in between.
        """
        ...


@runtime_checkable
class SupportsJoining(Protocol):
    """A writer of a whole that several processes write, each with a writer of its own."""

    def highest_number(self) -> int:
        """The highest number that a piece of this job has so far."""
        ...

    def join(self, prepared: Token) -> None:
        """Write into what another process prepared or resumed; every name is made of an allotted number."""
        ...

    def allot(self, numbers: Sequence[int]) -> None:
        """Take numbers that no other writer was ever given."""
        ...

    def sweep(self, receipts: Sequence[tuple[int, Token]]) -> None:
        """Delete what no receipt speaks of: writers that were given up may have left it."""
        ...


@runtime_checkable
class SupportsTargetCensus(Protocol):
    """A writer of a store that counts its documents itself."""

    def census(self) -> int | None:
        """How many documents the server itself counts in the target; None where it can't tell now."""
        ...


@runtime_checkable
class SupportsStock(Protocol):
    """A writer of a store that knows later how much of what was in it before is still there."""

    def stock(self) -> Token:
        """What is in the target, before the first write; None where it can't tell."""
        ...

    def left_of(self, stock: Token) -> int:
        """How many documents of a stock are there still: all of them where none was removed since, else 0."""
        ...


@runtime_checkable
class SupportsPlaces(Protocol):
    """A writer that stores the documents of different namespaces in different places (indices)."""

    def concerned(self, identity: Token, namespaces: Collection[str]) -> Token:
        """What of an identity is about the places where documents of these namespaces were stored or found.

        The rest may change while a job runs: it is other people's. Asks the server nothing.
        """
        ...


@runtime_checkable
class SupportsLimitations(Protocol):
    """A writer of a store that takes everything, and that OpenWhisk can't use as it is."""

    def limitations(self) -> Sequence[str]:
        """What an operator should know before choosing this target though nothing will go wrong; a sentence each."""
        ...


@runtime_checkable
class SupportsPreflight(Protocol):
    """A writer that can look for obstacles before the first byte moves."""

    def preflight(self, namespaces: Sequence[str]) -> Sequence[str]:
        """Look for what will go wrong; one sentence for each finding.

        `namespaces` are those that are known to come. Raises where writing can't work at all.
        """
        ...
