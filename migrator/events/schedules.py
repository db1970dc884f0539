"""What happens to schedules and their runs."""

from __future__ import annotations

from typing import ClassVar

from migrator.events.base import Event


class ScheduleLoaded(Event, frozen=True):
    """A schedule was loaded, or loaded again."""

    again: bool


class ScheduleRemoved(Event, frozen=True):
    """Its file no longer exists."""


class ScheduleInvalid(Event, frozen=True):
    """Its file can't be used."""

    level: ClassVar[str] = "warning"
    reason: str
    keeps_last: bool  # its last valid version stays in use


class ScheduleLocked(Event, frozen=True):
    """Another process runs it."""

    level: ClassVar[str] = "warning"
    reason: str


class ScheduleTrouble(Event, frozen=True):
    """What keeps a schedule, or all of them, from being kept to."""

    level: ClassVar[str] = "warning"
    reason: str


class ClockSetBack(Event, frozen=True):
    """The clock was set back by more than a period; the new time is followed."""

    level: ClassVar[str] = "warning"


class RunMissed(Event, frozen=True):
    """A run was missed by longer than its grace."""

    level: ClassVar[str] = "warning"
    moment: str  # in the schedule's time zone


class MissedRuns(Event, frozen=True):
    """Earlier runs were missed; this one makes up for them."""

    runs: int


class Listening(Event, frozen=True):
    """A page, health and metrics are served there."""

    address: str
    port: int


class BackupDamaged(Event, frozen=True):
    """The last backup was found damaged; a full one is made."""

    level: ClassVar[str] = "warning"


class TryFailed(Event, frozen=True):
    """A run of a schedule is tried again."""

    level: ClassVar[str] = "warning"
    reason: str
    next_try: int
    tries: int
    pause_s: float


class RunCompleted(Event, frozen=True):
    """A run of a schedule is complete."""

    tries: int
    duration_s: float
    documents: int
    mode: str
    backup: str
    backup_bytes: int
    verified: str
    deleted: int
    rejected: int
    differing: int
    purged: int = 0
    unproven: int = 0


class RunFailed(Event, frozen=True):
    """A run of a schedule failed or was interrupted."""

    level: ClassVar[str] = "warning"
    outcome: str  # "failed" or "interrupted"
    tries: int
    duration_s: float
    exit_code: int
    reason: str


class NotificationFailed(Event, frozen=True):
    """An address wasn't reached, or a command failed, that is to know of a run."""

    level: ClassVar[str] = "warning"
    of: str  # "start", "success", "failure"
    host: str  # of the address; empty where it isn't known
    program: str  # of the command; empty where it is an address
    reason: str


class MetricsNotWritten(Event, frozen=True):
    """The metrics for Prometheus couldn't be written."""

    level: ClassVar[str] = "warning"
    path: str
    reason: str
