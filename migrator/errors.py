"""What can go wrong, sorted by what happens next.

Every error that a person can cause or a server can answer ends here, with one line that says what, where and what
now, and with the exit code of the command. Knows nothing of any store.

Their messages repeat what servers say, and servers repeat requests: no error holds a secret that is known.
"""

from __future__ import annotations

import errno
from typing import Any

from migrator.text.secrets import redact

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ESTALE)
"""What the operating system calls a disk that is full or broken, wherever a file is written."""


class MigratorError(Exception):
    """The root: a message for a person and the exit code that goes with it."""

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        super().__init__(redact(message))

    def __reduce__(self) -> tuple[Any, ...]:
        """As it is, whatever arguments its class takes: errors of workers come from other processes."""
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[MigratorError], args: tuple[Any, ...], fields: dict[str, Any]) -> MigratorError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(fields)
    return error


class UsageError(MigratorError):
    """The command line or the configuration asks for something that can't be; nothing was done."""

    exit_code = 2


class VerificationError(MigratorError):
    """Two stores that should agree differ."""

    exit_code = 4


class Unavailable(MigratorError):
    """The server can't do it now, or refuses for a reason of its own. Worth trying again; resumable.

    `retry_after_s` is what the server requested (its `Retry-After`), None where it said nothing.
    """

    exit_code = 5

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Incomplete(Unavailable):
    """An answer arrived that leaves something out: a shard failed, time ran out, fewer came than the server counts.

    What it does hold may be shown; that something isn't there can't be concluded from it.
    """


class AnswerLost(Unavailable):
    """A server was reached and its answer didn't arrive whole. A smaller answer may get through."""


class RequestRefused(Unavailable):
    """The server refused a whole request (400, 413, 500) and may mean a single document in it.

    `status` is the answer's; `passing` is True where the same request may go through later (500), so that it is tried
    again before it is taken apart.
    """

    def __init__(self, message: str, *, status: int, passing: bool) -> None:
        super().__init__(message)
        self.status = status
        self.passing = passing


class NothingAccepted(Unavailable):
    """Whole requests are refused and none goes through, so that it is the server and not a document."""


class AccessDenied(MigratorError):
    """Login or right refused. Not tried again by itself (servers lock users out); resumable once fixed."""

    exit_code = 6


class LimitReached(MigratorError):
    """A limit that the operator set was reached, such as `max_rejects`; resumable."""

    exit_code = 8


class NotFound(MigratorError):
    """The source, the target or the job isn't there."""

    exit_code = 10


class PlaceGone(NotFound):
    """A part of a source was deleted or replaced while it was read; `how` says so without what to do about it."""

    def __init__(self, how: str, *, then: str) -> None:
        super().__init__(f"{how}; {then}")
        self.how = redact(how)


class Locked(MigratorError):
    """Another run holds the lock of this job."""

    exit_code = 11


class ArchiveDamaged(MigratorError):
    """An archive doesn't hold what its manifests say."""

    exit_code = 12


class StateDamaged(MigratorError):
    """What is kept in the state folder isn't what was written there; it is started over, not guessed at."""

    exit_code = 12


class Interrupted(MigratorError):
    """A signal asked the run to stop: 130 for SIGINT, 143 for SIGTERM; resumable."""

    def __init__(self, message: str, *, exit_code: int = 130) -> None:
        super().__init__(message)
        self.exit_code = exit_code
