"""What a purge is asked for and what it comes to, as values for programs."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from migrator.adapters.base import Description
from migrator.adapters.removal import Space

EXAMPLES = 20
"""Documents that stay which a report names; the log names all."""

KEPT = {
    "missing": "isn't in the proof",
    "differs": "differs from what the proof holds",
    "unreadable": "can't be read, so its age isn't known",
    "conflicts": "has conflicting revisions, which the proof can't hold",
    "attachments": "has attachments, which the proof doesn't hold",
    "changed": "was changed since it was compared",
    "refused": "the server refuses to remove it",
}
"""Why a document stays, by kind."""


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A document that stays although it is old enough."""

    kind: str  # one of `KEPT`
    id: str
    namespace: str
    index: str | None = None
    note: str = ""


class NamespacePurge(msgspec.Struct, kw_only=True):
    """The accounts of one namespace, or of all together."""

    old: int = 0  # older than the limit
    old_bytes: int = 0  # of their JSON
    proven: int = 0  # of these, held by the proof as they are
    proven_bytes: int = 0
    removed: int = 0
    removed_bytes: int = 0
    gone: int = 0  # no longer there when they were to be removed
    kept: int = 0

    def add(self, other: NamespacePurge) -> None:
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class PurgeReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a run of a purge did, or in a dry run would do."""

    store: Description
    proof: Description
    dry_run: bool
    logs_only: bool
    limit_ms: int  # only activations that started before it were looked at
    namespaces: Mapping[str, NamespacePurge]
    kept: Mapping[str, int]  # by kind
    examples: tuple[Kept, ...]  # up to `EXAMPLES`
    earlier: int  # removals of an interrupted run that this one found done
    log: str | None  # the file that names all that was removed and all that stays; None in a dry run
    space_before: Space | None
    space_after: Space | None
    compacted: bool
    forgotten: int | None  # tombstones that were dropped; None where that wasn't asked for
    duration_s: float
    warnings: tuple[str, ...] = ()

    @property
    def totals(self) -> NamespacePurge:
        total = NamespacePurge()
        for each in self.namespaces.values():
            total.add(each)
        return total

    @property
    def exit_code(self) -> int:
        """0 where all that is old enough went, or would; 3 where some of it stays."""
        return 3 if self.kept else 0
