"""What stores can be asked besides reading and writing: optional protocols of readers, and the values they give.

`supported` of `base` tells whether a reader has one. A store without it is read instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import msgspec

from migrator.activations.amounts import Amounts
from migrator.activations.document import Document, Rejection
from migrator.activations.selection import Selection
from migrator.errors import UsageError
from migrator.events.watching import Stop

Level = Literal["problem", "warning", "note"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something worth knowing, and what to do about it. `kind` is for programs."""

    kind: str
    level: Level
    text: str
    advice: str
    commands: tuple[str, ...] = ()


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A database, an index or a backup."""

    name: str
    documents: int
    size_bytes: int | None = None
    shards: int | None = None  # primaries
    replicas: int | None = None  # that there should be of each


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """What one store said.

    Where `is_exact` is False, the times are those of the `sampled` documents, and of `activations` it is taken that
    the others are like them.
    """

    product: str = ""
    version: str = ""
    places: tuple[Place, ...] = ()
    activations: int = 0
    is_exact: bool = True
    sampled: int = 0
    first_ms: int | None = None
    last_ms: int | None = None
    misdated: int = 0  # that start before 2010 or in the future, among those looked at; the times leave them out
    namespaces: Mapping[str, int | None] = {}  # with how many activations, where that is known
    namespaces_complete: bool = True
    design_documents: tuple[str, ...] = ()
    others: int = 0  # documents that are neither activations nor design documents, among those looked at
    unreadable: int = 0  # that should be activations and can't be understood, among those looked at
    newest_backup_ms: int | None = None  # archive: when it was complete
    findings: tuple[Finding, ...] = ()


_EARLIEST_MS = 1_262_304_000_000  # 2010-01-01, years before OpenWhisk
_DAY_MS = 86_400_000  # clocks differ, by less than that


def plausible_ms(now_ms: int) -> tuple[int, int]:
    """From when to when an activation can have started, both inclusive; another date tells nothing of when it was."""
    return _EARLIEST_MS, now_ms + _DAY_MS


@runtime_checkable
class SupportsProbe(Protocol):
    """A reader whose store tells what it is and what it holds in fewer requests than reading it takes."""

    def probe(self, *, exact: bool, stop: Stop | None = None) -> Probe:
        """Look into the store; `exact` reads all of it rather than a sample. Raises what reading raises."""
        ...


Found: TypeAlias = Document | Rejection
"""A document as a store has it, or why it can't be understood."""

_ACTIVATION_ID = re.compile(r"[0-9a-f]{32}")


class WantedId(msgspec.Struct, frozen=True):
    """An activation by its id, in one namespace or in any."""

    activation_id: str
    namespace: str | None = None

    def __str__(self) -> str:
        return f"{self.namespace}/{self.activation_id}" if self.namespace else self.activation_id

    def ids(self, namespaces: Sequence[str]) -> Iterator[str]:
        """The ids of the documents it may have, where these namespaces are known."""
        for namespace in [self.namespace] if self.namespace else namespaces:
            yield f"{namespace}/{self.activation_id}"

    def is_met_by(self, id: str) -> bool:
        namespace, _, activation_id = id.rpartition("/")
        return activation_id == self.activation_id and self.namespace in (None, namespace)


def parse_id(text: str) -> WantedId:
    """What an operator types: `ID`, `NAMESPACE/ID`, or as OpenWhisk spells it `/NAMESPACE/ID`. Raises `UsageError`."""
    namespace, _, activation_id = text.strip().rpartition("/")
    if not _ACTIVATION_ID.fullmatch(activation_id.lower()):
        raise UsageError(f"{text!r} is not an activation id; give 32 hexadecimal digits, or NAMESPACE/ID")
    return WantedId(activation_id.lower(), namespace.lstrip("/") or None)


@runtime_checkable
class SupportsLookup(Protocol):
    """A reader whose store finds activations by their ids without reading all there is."""

    def look_up(self, wanted: Sequence[WantedId]) -> Iterator[Found]:
        """All documents that are one of the wanted activations.

        What was given before an exception holds; that nothing else is there is only known once the iterator has ended.
        """
        ...


@runtime_checkable
class SupportsNewest(Protocol):
    """A reader whose store finds the newest activations without reading all there is."""

    def newest(self, selection: Selection, limit: int) -> Iterator[Document]:
        """The selected activations that started last, the newest first, up to `limit`; exceptions as in `look_up`."""
        ...


@runtime_checkable
class SupportsReasons(Protocol):
    """A reader whose store tells why an activation that isn't there could be missing."""

    def reasons(self, wanted: Sequence[WantedId]) -> Sequence[Finding]:
        """What of this store could be the reason, one finding for each; raises what `look_up` raises.

        Asked after `look_up` found nothing. Nothing that it gives is certain.
        """
        ...


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """A disk that the store grows on."""

    name: str  # a node, a folder
    free_bytes: int
    room_bytes: int  # until the limit is reached
    limit: str  # what happens then, as the end of "… until": "the disk is full"


class Volume(msgspec.Struct, frozen=True, kw_only=True):
    """How much a store holds, as far as it knows without being read; of all of it, unless something else is said."""

    places: tuple[Place, ...] = ()  # that can be read
    counted: Amounts | None = None  # what is selected, where the store can count it
    counted_in: Mapping[str, int] = {}  # how many of these are in each place
    sampled: bool = False  # the first page of a slice stands for it: it is of any time and kind
    stored_bytes: int | None = None  # on disk, where places don't tell
    stored_each_byte: float | None = None  # on disk, for each byte of JSON, where nothing else tells
    rooms: tuple[Room, ...] = ()
    notes: tuple[str, ...] = ()  # what must be known to read the numbers

    @property
    def documents(self) -> int:
        return sum(place.documents for place in self.places)


@runtime_checkable
class SupportsVolume(Protocol):
    """A reader whose store tells how much it holds."""

    def volume(self, selection: Selection, *, exact: bool, stop: Stop) -> Volume:
        """Look at what is selected; with `exact` nothing is counted, since all of it will be read.

        Raises `NotFound` and `AccessDenied` where there is nothing to look at, and `Interrupted` when asked to stop.
        """
        ...


@runtime_checkable
class SupportsCustody(Protocol):
    """A reader of a store whose content can go or be added to only as a whole, such as the backups of an archive."""

    def lost(self) -> str | None:
        """What of that which this reader gave isn't there any more, as the end of a sentence; None where all is."""
        ...

    def busy(self) -> str | None:
        """What is being written to the store, or was left unfinished, as the end of a sentence; None for nothing."""
        ...
