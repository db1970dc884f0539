"""What happens to backups, and in a purge."""

from __future__ import annotations

from migrator.events.base import Event


class BackupResumed(Event, frozen=True):
    """An interrupted backup goes on, in the mode that it was started with."""


class BackupStarted(Event, frozen=True):
    """A backup begins."""

    mode: str  # "full" or "incremental"
    parent: str  # the backup that it continues; empty for a full one
    encrypted: bool


class FullBackup(Event, frozen=True):
    """Why no backup can be continued."""

    reason: str


class ClockBehind(Event, frozen=True):
    """A backup ended later than now."""

    now_ms: int
    backup: str
    ended_ms: int


class RejectedBefore(Event, frozen=True):
    """The backups that this one continues lack rejected documents."""

    documents: int


class BackupDeleted(Event, frozen=True):
    """A backup was deleted."""

    archive: str
    backup: str


class RepairDiscarded(Event, frozen=True):
    """What an interrupted repair left is discarded."""

    archive: str


# purges


class RemovalsSettled(Event, frozen=True):
    """Removals that an interrupted purge had sent were found done; they are in its log now."""

    documents: int
    log: str
