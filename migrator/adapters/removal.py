"""The contract of what deletes: the only part of an adapter that takes documents away.

Readers and writers never delete. An adapter that can has an `open_remover(store)`; what it opens changes a document
only while the store still holds the very version that was looked at, and says so for each. What may be deleted is
decided elsewhere (`engine.removal`): a remover knows nothing of proofs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import msgspec

from migrator.activations.document import Document, Form
from migrator.adapters.base import Description, Token


class Address(msgspec.Struct, frozen=True):
    """Where a document is: its id, and its index where the store has several."""

    id: str
    index: str | None = None


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A document as the store holds it now, with the version that a change must find unchanged."""

    document: Document
    version: Token

    @property
    def address(self) -> Address:
        return Address(self.document.id, self.document.index)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a document: nothing is left of it, or `body` takes its place."""

    held: Held
    body: bytes | None = None


class ChangeOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of each change of one request; the tuples together hold every one exactly once.

    `unknown` are those of which the answer says nothing, or that the server put off: `condition` says why.
    """

    done: tuple[Change, ...] = ()
    outdated: tuple[Change, ...] = ()  # the store holds another version by now, or none
    refused: tuple[tuple[Change, str], ...] = ()  # the server refuses this one, with its reason
    unknown: tuple[Change, ...] = ()
    condition: Exception | None = None

    def __add__(self, other: ChangeOutcome) -> ChangeOutcome:
        return ChangeOutcome(
            done=self.done + other.done,
            outdated=self.outdated + other.outdated,
            refused=self.refused + other.refused,
            unknown=self.unknown + other.unknown,
            condition=other.condition or self.condition,
        )


class Space(msgspec.Struct, frozen=True, kw_only=True):
    """What a store occupies."""

    documents: int
    deleted: int  # documents of which a tombstone is left
    size_bytes: int | None = None  # on disk; None where the server doesn't tell


class Remover(Protocol):
    """Deletes documents, or replaces them. Used by one thread."""

    form: Form

    def describe(self) -> Description:
        """As a reader's."""
        ...

    def preflight(self) -> Sequence[str]:
        """What has to be known before anything is removed, one sentence each. Raises where removing can't work."""
        ...

    def clock_ms(self) -> int | None:
        """The server's time in epoch milliseconds; None where it has no clock of its own, as a store in memory."""
        ...

    def look(self, addresses: Sequence[Address]) -> Sequence[Held]:
        """What the store holds now, asked by id; what isn't there is left out, after two looks.

        A document that can't be understood is left out as well: it is none that was proven.
        """
        ...

    def change(self, changes: Sequence[Change]) -> ChangeOutcome:
        """Make changes, each only if the store holds the version that was looked at.

        After an exception nothing is known of any of them.
        """
        ...

    def space(self) -> Space:
        """What the store occupies now."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class SupportsCompaction(Protocol):
    """A remover of a store that frees disk space only when it is asked to."""

    def compact(self) -> None:
        """Ask the server to free the space of what was removed; returns at once."""
        ...

    def is_compacting(self) -> bool: ...


@runtime_checkable
class SupportsForgetting(Protocol):
    """A remover of a store that keeps tombstones of what was removed, and drops them when it is asked to."""

    def forget(self, addresses: Sequence[Address]) -> int:
        """Drop the tombstones of documents; how many were dropped. One that was stored again stays."""
        ...


@runtime_checkable
class SupportsWholeRemoval(Protocol):
    """A remover of a store that keeps documents in indices, which it deletes as a whole.

    Such a deletion names no versions, so an index must take no writes from before it is looked at last until it is
    gone.
    """

    def freeze(self, index: str) -> None:
        """Let an index take no more writes; those on their way may still arrive for a moment."""
        ...

    def thaw(self, index: str) -> None:
        """Let it take writes again; no error where it isn't there."""
        ...

    def count(self, index: str) -> tuple[int, int]:
        """How many documents of any kind an index holds, and a number that grows with every write to it."""
        ...

    def drop(self, index: str) -> None:
        """Delete an index."""
        ...
