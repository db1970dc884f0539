"""An outcome in the making: what the writers of servers sort documents into while they write.

Shared, so that all of them tell alike what went wrong.
"""

from __future__ import annotations

from migrator.activations.document import Document, Rejection
from migrator.adapters.base import WriteOutcome
from migrator.errors import AccessDenied, MigratorError


class Outcome:
    """The outcome of the documents of one write so far."""

    def __init__(self) -> None:
        self.written: list[Document] = []
        self.present: list[Document] = []
        self.differing: list[Document] = []
        self.rejected: list[Rejection] = []
        self.deferred: list[Document] = []
        self.condition: MigratorError | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing went through; what was rejected will be so again."""
        return not (self.written or self.present or self.differing or self.deferred)

    def reject(self, document: Document, reason: str) -> None:
        self.rejected.append(document.rejection(reason))

    def defer(self, document: Document, condition: MigratorError) -> None:
        """A refused right is the condition that is reported: it won't pass by itself."""
        self.deferred.append(document)
        if self.condition is None or isinstance(condition, AccessDenied):
            self.condition = condition

    def result(self) -> WriteOutcome:
        return WriteOutcome(
            written=tuple(self.written),
            present=tuple(self.present),
            differing=tuple(self.differing),
            rejected=tuple(self.rejected),
            deferred=tuple(self.deferred),
            condition=self.condition,
        )
