"""The tables of a schedule's file, as they are written there, and what may stand for each key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import msgspec

from migrator.api.run import LEAST_RATE, MOST_RATE, MOST_REJECTS
from migrator.operations.archive.retention import Retention
from migrator.settings.stores import SecretAddress, SecretLocation
from migrator.text.units import DAY_S, human_percent, parse_duration

_LONGEST_D = 3650


class Duration(float):
    """Seconds, written as `90s`, `15m`, `6h`, `7d`, `2w`.

    The bound keeps every moment that is reckoned with them inside of what dates and timers can hold.
    """

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `ValueError`."""
        seconds = parse_duration(text)
        if seconds is None:
            raise ValueError("not a duration")
        if seconds > _LONGEST_D * DAY_S:
            raise ValueError("too long")
        return cls(seconds)


class Check(msgspec.Struct, frozen=True):
    """How a backup is verified after it was made: `quick`, `full`, or a sample of its documents."""

    kind: Literal["quick", "full", "sample"]
    percent: float = 100.0  # of a sample

    def __str__(self) -> str:
        return f"sample {human_percent(self.percent)}" if self.kind == "sample" else self.kind


class Runs(msgspec.Struct, frozen=True):
    """Which runs are verified: all of them, those that made a full backup, or every n-th one that succeeded."""

    full_only: bool = False
    every: int = 1


class Top(msgspec.Struct, frozen=True, kw_only=True):
    """What stands before the first table."""

    task: Literal["backup", "copy", "verify"] = "backup"
    source: SecretLocation  # a location may hold a password
    target: SecretLocation
    mode: Literal["auto", "full", "incremental"] = "auto"
    full_every: Duration | None = None
    on_conflict: Literal["skip", "overwrite", "fail"] = "skip"
    allow_extra: bool = False  # a verification: what is only in the target is reported, but no difference


class Select(msgspec.Struct, frozen=True, kw_only=True):
    namespaces: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    since: str | None = None
    until: str | None = None


class When(msgspec.Struct, frozen=True, kw_only=True):
    cron: str | None = None
    every: Duration | None = None
    timezone: str = "UTC"
    jitter: Duration = Duration(0)
    grace: Duration | None = None
    stale_after: Duration | None = None


class VerificationTable(msgspec.Struct, frozen=True, kw_only=True):
    check: str = "none"
    on: str = "all"


class Purging(msgspec.Struct, frozen=True, kw_only=True):
    """What is removed from the source after a verified backup, which proves it."""

    older_than: Duration
    logs_only: bool = False
    max_rate: Annotated[float, msgspec.Meta(ge=LEAST_RATE, le=MOST_RATE)] | None = None  # documents removed a second
    compact: bool = True
    purge_tombstones: bool = False


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much a run may take."""

    max_rate: Annotated[float, msgspec.Meta(ge=LEAST_RATE, le=MOST_RATE)] | None = None  # documents a second
    max_duration: Duration | None = None
    max_rejects: Annotated[int, msgspec.Meta(ge=0, le=MOST_REJECTS)] = 10_000
    jobs: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """What is done when a server or a lock is in the way."""

    retries: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 3
    wait: Duration = Duration(60)  # before the first retry, doubled before each other one
    longest_wait: Duration = Duration(1800)
    retry_for: Duration = Duration(300)  # how long a request is retried before the run gives up


class Notify(msgspec.Struct, frozen=True, kw_only=True):
    """Who is notified. The URL of a ping is a secret: whoever has it can say that all is well."""

    ping: SecretAddress | None = None  # `/start` and `/fail` are added to it
    ping_env: str | None = None
    ping_file: str | None = None
    start: SecretAddress | None = None
    success: SecretAddress | None = None
    failure: SecretAddress | None = None
    command: tuple[str, ...] = ()
    command_on: tuple[Literal["success", "failure"], ...] = ("success", "failure")


TABLES: Mapping[str, type[Any]] = {
    "select": Select,
    "when": When,
    "limits": Limits,
    "verification": VerificationTable,
    "purge": Purging,
    "retention": Retention,
    "failure": Failure,
    "notify": Notify,
}

A_DURATION = f"a duration such as 90s, 15m, 6h, 7d or 2w, up to {_LONGEST_D}d"
VALUES = {
    "task": "backup, copy or verify",
    "mode": "auto, full or incremental",
    "on_conflict": "skip, overwrite or fail",
    "max_rate": f"a number of documents a second from {LEAST_RATE} to {MOST_RATE:,}",
    "max_rejects": f"a whole number from 0 to {MOST_REJECTS:,}",
    "jobs": "a whole number from 1 to 64",
    **dict.fromkeys(("allow_extra", "logs_only", "compact", "purge_tombstones"), "true or false"),
    "retries": "a whole number from 0 to 10,000",
    "namespaces": 'a list of names: ["guest"]',
    "names": 'a list of names: ["hello"]',
    "command": 'a list of words: ["/usr/local/bin/notify", "backup"]',
    "command_on": 'a list of "success" and "failure"',
    **dict.fromkeys(("last", "daily", "weekly", "monthly", "yearly"), "a whole number, 0 or more"),
    **dict.fromkeys(
        (
            *("full_every", "every", "jitter", "grace", "stale_after", "max_duration"),
            *("wait", "longest_wait", "retry_for", "older_than"),
        ),
        A_DURATION,
    ),
}
"""What may stand there, for the keys that don't take just any text."""
