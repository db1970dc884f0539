"""Where every schedule stands, for lists, health and metrics: one answer for all of them.

Files and what is remembered enter, `ScheduleStatus` leaves. Runs nothing and takes no lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from migrator.errors import MigratorError
from migrator.operations.archive.retention import Retention
from migrator.rendering.arguments import error_text
from migrator.scheduling.files import Broken, Schedule
from migrator.scheduling.planning import plan
from migrator.scheduling.state import Memory, Run, State
from migrator.text.printable import printable_path


class ScheduleStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Where a schedule stands. Moments are epoch seconds."""

    schedule: str
    file: str
    state: str  # "waiting", "due", "running", "cut short", "broken"
    trouble: str = ""  # what an operator must look at; empty where all is well
    stale: bool = False  # no success within `stale_after_s`
    broken: bool = False  # its file doesn't hold; an earlier version of it may still run in the daemon
    task: str = ""
    source: str = ""
    target: str = ""
    timezone: str = "UTC"
    holder: str | None = None  # who runs it now
    known_since_s: float | None = None
    next_s: float | None = None  # when the next run begins
    stale_after_s: float | None = None
    last: Run | None = None
    last_success: Run | None = None
    last_backup: Run | None = None
    complete: int = 0
    failed: int = 0
    interrupted: int = 0
    keeps: str = ""  # which backups retention keeps, in words


def status_of(schedule: Schedule, known: State, now_s: float, *, holder: str | None = None) -> ScheduleStatus:
    """Where one schedule stands, of what is known."""
    due = plan(schedule.trigger, known.handled_until_s, now_s, grace_s=schedule.grace_s)
    good_s = known.last_success.ended_s if known.last_success else known.known_since_s
    stale = now_s - good_s > schedule.stale_after_s
    state = "due" if due.begins_s <= now_s else "waiting"
    if holder:
        state = "running"
    elif known.attempt:
        state = "cut short"
    source, target = schedule.printed
    return ScheduleStatus(
        schedule=schedule.name,
        file=printable_path(schedule.path),
        state=state,
        trouble=_trouble(known, stale),
        stale=stale,
        task=schedule.task,
        source=source,
        target=target,
        timezone=schedule.timezone.key,
        holder=holder,
        known_since_s=known.known_since_s,
        next_s=due.begins_s,
        stale_after_s=schedule.stale_after_s,
        last=known.last,
        last_success=known.last_success,
        last_backup=known.last_backup,
        complete=known.complete,
        failed=known.failed,
        interrupted=known.interrupted,
        keeps=_keeps(schedule.retention),
    )


def _keeps(retention: Retention | None) -> str:
    if retention is None:
        return ""
    rules = [f"{count} {name}" for name in _RULES if (count := getattr(retention, name))]
    return ", ".join([*rules, *([f"all of the last {retention.within}"] if retention.within else [])])


_RULES = ("last", "daily", "weekly", "monthly", "yearly")


def _trouble(known: State, stale: bool) -> str:
    parts: list[str] = []
    if stale:
        parts.append("stale: no success for too long")
    if known.last and known.last.outcome == "failed":
        parts.append(f"the last run failed: {known.last.message}")
    return "; ".join(parts)


def overview(
    schedules: Iterable[Schedule | Broken], state: Path, now_s: float, refused: Mapping[str, str] = {}
) -> Sequence[ScheduleStatus]:
    """Where all of them stand, in their order.

    `refused` says of schedules why a newer version of their file isn't followed.
    """
    found = [_look(each, state, now_s) for each in schedules]
    return [
        msgspec.structs.replace(each, broken=True, trouble=refused[each.schedule])
        if each.schedule in refused and not each.broken
        else each
        for each in found
    ]


def _look(schedule: Schedule | Broken, state: Path, now_s: float) -> ScheduleStatus:
    reason = schedule.reason if isinstance(schedule, Broken) else ""
    if isinstance(schedule, Schedule):
        memory = Memory(state, schedule.name)
        try:
            return status_of(schedule, memory.read_or_begin(now_s), now_s, holder=memory.holder)
        except MigratorError as error:
            reason = error_text(error)
        except Exception as error:  # noqa: BLE001  the other schedules are shown
            reason = f"{schedule.path}: unexpected {type(error).__name__}; please report this"
    return ScheduleStatus(
        schedule=schedule.name, file=printable_path(schedule.path), state="broken", trouble=reason, broken=True
    )
