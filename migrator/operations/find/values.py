"""What was found: activations with their copies, and whether these agree."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from migrator.activations.document import Document
from migrator.adapters.questions import Found


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
