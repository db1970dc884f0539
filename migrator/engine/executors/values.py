"""What a coordinator and its workers in other processes say to each other: values that can be pickled. No secrets."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from contextlib import AbstractContextManager
from typing import NamedTuple, TypeAlias

import msgspec

from migrator.activations.document import Document
from migrator.activations.selection import Selection
from migrator.adapters.base import Reader, Token, Writer
from migrator.engine.carrying import Terms
from migrator.engine.held import Flushed
from migrator.engine.state.checkpoint import Commit, OpenSlice
from migrator.engine.state.set_aside import id_digest
from migrator.errors import MigratorError
from migrator.events import Event, Tell
from migrator.events.watching import Stop


class Ends(NamedTuple):
    """The stores as a worker opened them."""

    reader: Reader
    writer: Writer


Opener: TypeAlias = Callable[[Stop, Tell], AbstractContextManager[Ends]]
"""Opens the stores where it is called, with the credentials of that place; it must be pickled without any."""


class Knowledge(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker must know of the job, as of the moment when it got it."""

    terms: Terms
    selection: Selection
    prepared: Token
    proven: Set[str] = frozenset()
    any_aside: bool = False
    differing: frozenset[bytes] = frozenset()  # digests of the ids that are listed as differing


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt at a slice; with numbers for what the writer begins (`SupportsJoining`)."""

    open: OpenSlice
    knowledge: Knowledge
    numbers: Sequence[int] = ()


class Rest(msgspec.Struct, frozen=True):
    """Make durable what isn't yet."""


class Committed(msgspec.Struct, frozen=True, kw_only=True):
    """What was sent as `Flushed` is committed."""

    proven: Set[str]
    numbers: Sequence[int] = ()


class StopAsked(msgspec.Struct, frozen=True):
    """End cleanly after the batch in hand."""


class Quit(msgspec.Struct, frozen=True):
    """There is nothing more to do."""


class Alive(msgspec.Struct, frozen=True):
    """The worker isn't dead, though it may be waiting."""


class Told(msgspec.Struct, frozen=True):
    """An event of the worker's stores."""

    event: Event


class Carried(msgspec.Struct, frozen=True):
    """A batch was written; a commit without ids and bodies, to be counted."""

    commit: Commit


class Done(msgspec.Struct, frozen=True):
    """What was asked for is done, or was stopped."""


class Outpaced(msgspec.Struct, frozen=True):
    """The slice needs another attempt (`OutpacedError`)."""

    number: int
    error: MigratorError


class Failed(msgspec.Struct, frozen=True):
    """The worker can't go on; everything that could be committed was sent before."""

    error: Exception


FromWorker: TypeAlias = Alive | Told | Carried | Flushed | Done | Outpaced | Failed
ToWorker: TypeAlias = Task | Rest | Committed | StopAsked | Quit


def only_counts(commit: Commit) -> Commit:
    """A commit without what only its coordinator's checkpoint needs."""
    aside = [msgspec.structs.replace(each, body=b"") for each in commit.set_aside]
    return msgspec.structs.replace(commit, settled=(), remarks={}, position=None, set_aside=aside)


class RemoteJob:
    """The job as a worker far from its checkpoint knows it (`carrying.Job`)."""

    def __init__(self, knowledge: Knowledge, tell: Callable[[Commit], None]) -> None:
        self.proven: Set[str] = knowledge.proven
        self.any_aside = knowledge.any_aside
        self._differing = knowledge.differing
        self._own: set[str] = set()  # that this attempt found to differ
        self._tell = tell

    def among_differing(self, documents: Sequence[Document]) -> Set[str]:
        return {
            document.id
            for document in documents
            if document.id in self._own or (self._differing and id_digest(document.id) in self._differing)
        }

    def carried(self, commit: Commit) -> None:
        self._own.update(each.id for each in commit.set_aside if each.kind == "differing")
        self._tell(only_counts(commit))

    def flushed(self, flushed: Flushed) -> None:
        """The coordinator counts it when it comes."""
