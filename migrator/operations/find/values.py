"""What is looked for and what is found: values between the stores, the comparison and the command."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, TypeAlias

import msgspec

from migrator.activations.document import Document, Rejection, Selection
from migrator.errors import UsageError

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


class Finder(Protocol):
    """One store to examine. Only reads.

    What was found before an exception holds; that nothing else is there is only known once the iterator has ended.
    """

    def look_up(self, wanted: Sequence[WantedId]) -> Iterator[Found]:
        """All documents that are one of the wanted activations, by exact look-up."""
        ...

    def newest(self, selection: Selection, limit: int) -> Iterator[Document]:
        """The selected activations that started last, the newest first, up to `limit`."""
        ...

    def close(self) -> None: ...


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """An activation in one store."""

    store: str  # as an operator types it
    location: str
    found: Found
    revision: str | None = None  # CouchDB

    @property
    def document(self) -> Document | None:
        return self.found if isinstance(self.found, Document) else None


class Activation(msgspec.Struct, frozen=True, kw_only=True):
    """One activation with all its copies, in the order of the stores."""

    id: str
    copies: tuple[Copy, ...]
    differing: Mapping[int, tuple[str, ...]] = {}  # by place in `copies`: the fields that differ from the first

    @property
    def agrees(self) -> bool:
        return not self.differing
