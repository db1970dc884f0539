"""What happens in a copy, a backup, a restore or a verification, and in the stores between which it runs."""

from __future__ import annotations

from typing import ClassVar

from migrator.activations.requests import JobRequest
from migrator.events.base import Event


class ProgressNoted(Event, frozen=True):
    """How far a run is, every so often."""

    phase: str
    read: int
    documents: int | None  # expected in all
    size_bytes: int
    per_second: float
    seconds_left: float | None
    present: int
    differing: int
    rejected: int
    lag_documents: int | None = None  # of a run that follows its source, where it is known
    lag_s: float | None = None


# waiting


class Retrying(Event, frozen=True):
    """A request failed, and is sent again after a pause."""

    reason: str
    pause_s: float
    repeated: bool = False  # told a short while ago with the same reason; not shown as text


class Recovered(Event, frozen=True):
    """Documents move again after requests had failed."""

    waited_s: float
    retries: int


class Controlled(Event, frozen=True):
    """The run took what `migrator control` asked of it: another rate, a pause, or to go on."""

    max_rate: str | None  # None: the one that it began with
    paused: bool


class Waiting(Event, frozen=True):
    """A request that isn't answered yet."""

    request: str
    waited_s: float


# stores


class LoginWarning(Event, frozen=True):
    """What is unsafe or doubtful about how a store is logged in to."""

    level: ClassVar[str] = "warning"
    text: str


class SourceWarning(Event, frozen=True):
    """What a store that is read says of itself, such as a closed index."""

    text: str


class TargetWarning(Event, frozen=True):
    """What will go wrong with the target, found before it does."""

    text: str


class NothingInTime(Event, frozen=True):
    """Nothing that is selected started in the time that is selected."""

    store: str


# jobs


class Resumed(Event, frozen=True):
    """An unfinished job goes on."""

    job: str
    run: int
    share: float | None  # of all documents, from 0 to 1
    read: int
    documents: int | None


class Continued(Event, frozen=True):
    """A complete job copies what is new."""

    job: str
    run: int


class Reread(Event, frozen=True):
    """A complete job reads its source again, which can't list what is new."""

    job: str


class RoundStarted(Event, frozen=True):
    """A catch-up round begins."""

    level: ClassVar[str] = "debug"
    number: int


class LagNoted(Event, frozen=True):
    """How far the target is behind the source that is followed; None where that can't be told."""

    level: ClassVar[str] = "debug"
    job: str
    documents: int | None
    behind_s: float


class CaughtUp(Event, frozen=True):
    """The target holds all that the source holds; told when that becomes so."""

    job: str


class LagUnknown(Event, frozen=True):
    """Why it can't be told whether the target holds all that the source holds; told when that becomes so."""

    level: ClassVar[str] = "warning"
    job: str
    reason: str


class RoundAbandoned(Event, frozen=True):
    """What a catch-up round reads was deleted or recreated meanwhile; another round looks at what is there now."""

    reason: str


class TargetReplaced(Event, frozen=True):
    """The target was emptied or replaced since the last run; everything is copied again."""

    target: str
    reason: str


class TargetCreated(Event, frozen=True):
    """The target wasn't there, and was created as asked."""

    target: str


class SourceReplaced(Event, frozen=True):
    """The source was replaced since the last run; everything is read again."""

    source: str
    reason: str


class StoreReplaced(Event, frozen=True):
    """A store was replaced during the run; everything is copied again."""

    reason: str


class WorkerLost(Event, frozen=True):
    """A worker ended, or went silent and was given up; its slices are carried again by others."""

    level: ClassVar[str] = "warning"
    worker: str  # such as "process 4711"
    reason: str
    slices: int


class MissingBefore(Event, frozen=True):
    """Documents were missing at the end of the last run; everything is read again."""

    job: str


class DocumentsMissing(Event, frozen=True):
    """A store counts more documents than were read, or fewer than were stored. `text` is kept with the job."""

    missing: int
    text: str


class IdsMissing(Event, frozen=True):
    """Some of the ids that were asked for aren't in the source."""

    source: str
    missing: int
    ids: int


class RunUnfinished(Event, frozen=True):
    """A run ended early; the request resumes it, in logs as its `command`."""

    what: str  # "job" or "verification"
    id: str
    request: JobRequest


# verifications


class VerificationResumed(Event, frozen=True):
    """An interrupted verification goes on."""

    verification: str
    stage: str
    run: int


class VerificationRestarted(Event, frozen=True):
    """A store was replaced since the verification began."""


class ReadAgain(Event, frozen=True):
    """Fewer documents were read than a server counts; both sides are read again."""

    reason: str


class VerificationNotNoted(Event, frozen=True):
    """The job that copied the same doesn't know of the verification."""

    reason: str
