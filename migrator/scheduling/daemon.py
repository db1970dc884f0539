"""The daemon: APScheduler wakes it up, `planning` says what is due, `running` does it.

A folder of schedule files enters; runs come of it until the daemon is asked to stop. What is due is asked again, of
the files, of what is remembered and of the clock, whenever anything may have changed: APScheduler's own idea of the
next run is only an alarm clock, and a wrong alarm does no harm.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from typing_extensions import override

from migrator.errors import Interrupted, Locked, MigratorError
from migrator.events import (
    ClockSetBack,
    Event,
    RunMissed,
    ScheduleInvalid,
    ScheduleLoaded,
    ScheduleLocked,
    ScheduleRemoved,
    ScheduleTrouble,
    Tell,
)
from migrator.events.watching import Stop
from migrator.rendering.arguments import error_text
from migrator.scheduling.files import Broken, Found, Schedule, find_files
from migrator.scheduling.overview import ScheduleStatus, overview
from migrator.scheduling.planning import correct_handled, plan
from migrator.scheduling.running import end_event, run_schedule
from migrator.scheduling.state import Memory

if TYPE_CHECKING:
    from apscheduler.schedulers.base import BaseScheduler

    from migrator.scheduling.triggers import Trigger

Work = Callable[[Schedule, Stop], None]

_TICK_S = 1.0  # how soon a changed file, a clock that was set, and the end of another's run are noticed
_HELD_OFF_S = 60.0  # after a run that couldn't even be noted, such as on a full disk
_ALIVE_S = 30.0


class Alarm(BaseTrigger):  # type: ignore[misc]  # the library has no types
    """A schedule's trigger as APScheduler knows them: never a moment that is over, so that nothing piles up."""

    def __init__(self, trigger: Trigger) -> None:
        self._trigger = trigger

    @override
    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        try:
            return _moment(self._trigger.begins(self._trigger.next(now.timestamp())))
        except Exception:  # noqa: BLE001  it would end APScheduler's thread, and with it every schedule
            return now + timedelta(seconds=_HELD_OFF_S)


def make_scheduler(parallel: int) -> BaseScheduler:
    """APScheduler with `parallel` schedules at once."""
    logging.getLogger("apscheduler").addHandler(logging.NullHandler())  # the runs report what matters
    return BackgroundScheduler(executors={"default": ThreadPoolExecutor(parallel)}, timezone=UTC)


class Daemon:
    """The schedules of a folder, kept to."""

    def __init__(
        self,
        folder: Path,
        *,
        state: Path,
        work: Work,
        scheduler: BaseScheduler,
        tell: Tell = lambda _: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._state = state
        self._work = work
        self._scheduler = scheduler
        self._tell = tell
        self._clock = clock
        self._seen: dict[str, bytes] = {}  # the files as they were last read, by name
        self._schedules: dict[str, Schedule] = {}
        self._refused: dict[str, Broken] = {}
        self._running: dict[str, Stop] = {}
        self._held_off_s: dict[str, float] = {}  # until when
        self._told: dict[tuple[str, str], Event] = {}  # what was reported last of a schedule and a trouble
        self._lock = threading.RLock()
        self._reread = False
        self._ticked_s = time.monotonic()

    # -- files --------------------------------------------------------------------------------------------------

    def reread(self) -> None:
        """Have every file read again, and what is wrong told again; safe in a signal's handler."""
        self._reread = True

    def look(self) -> None:
        """Load what changed in the folder, and set every alarm again. Raises `NotFound` where there is no folder."""
        with self._lock:
            if self._reread:
                self._reread = False
                self._seen.clear()
                self._told.clear()
            found = {each.name: each for each in find_files(self._folder)}
            for name in sorted({*self._seen, *self._schedules, *self._refused} - {*found}):
                self._drop(name)
            for name, each in found.items():
                if isinstance(each, Broken):
                    self._seen.pop(name, None)  # fixed, it is read again though its bytes are those of before
                    self._refuse(each)
                elif self._seen.get(name) != each.data:
                    self._read(each)
            self.settle()

    def _read(self, found: Found) -> None:
        """Load a file; a failure, for whatever reason, is reported, and the next look retries."""
        try:
            self._take(found.read())
            self._seen[found.name] = found.data
        except Exception as error:  # noqa: BLE001  the other schedules go on
            self._refuse(Broken(name=found.name, path=found.path, reason=f"{found.name}: {_reason(error)}"))

    def _take(self, found: Schedule | Broken) -> None:
        if isinstance(found, Broken):
            self._refuse(found)
            return
        name = found.name
        Memory(self._state, name).remember(self._clock())
        changed = name in self._schedules
        self._schedules[name] = found
        self._refused.pop(name, None)
        self._scheduler.add_job(
            self._fire,
            Alarm(found.trigger),
            args=[name],
            id=name,
            name=name,
            replace_existing=True,
            max_instances=1,
            coalesce=True,
            misfire_grace_time=None,  # however late; `plan` judges by the schedule's own grace
        )
        self._tell(ScheduleLoaded(changed, schedule=name))

    def _refuse(self, broken: Broken) -> None:
        self._refused[broken.name] = broken
        keeps_last = broken.name in self._schedules
        self._tell_once("file", ScheduleInvalid(broken.reason, keeps_last, schedule=broken.name))

    def _drop(self, name: str) -> None:
        self._seen.pop(name, None)
        self._refused.pop(name, None)
        if self._schedules.pop(name, None):
            self._scheduler.remove_job(name)
            self._tell(ScheduleRemoved(schedule=name))

    # -- alarms -------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Set the alarm of every schedule that isn't running to when its next run begins."""
        with self._lock:
            for name, schedule in self._schedules.items():
                if name not in self._running:
                    with self._alone(name, "run"):
                        self._set_alarm(schedule)

    @contextmanager
    def _alone(self, name: str, trouble: str) -> Iterator[None]:
        """Whatever goes wrong inside stays with this schedule: it is reported, and the others go on."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  the other schedules go on
            self._tell_once(trouble, ScheduleTrouble(_reason(error), schedule=name))

    def _set_alarm(self, schedule: Schedule) -> None:
        memory, now_s = Memory(self._state, schedule.name), self._clock()
        known = memory.read_or_begin(now_s)
        handled_until_s = correct_handled(schedule.trigger, known.handled_until_s, now_s)
        if handled_until_s != known.handled_until_s:
            with memory.lock():
                memory.write(msgspec.structs.replace(memory.read_or_begin(now_s), handled_until_s=handled_until_s))
            self._tell(ClockSetBack(schedule=schedule.name))
        due = plan(schedule.trigger, handled_until_s, now_s, grace_s=schedule.grace_s)
        begins_s = due.begins_s
        if due.given_up_s is not None:
            missed = _moment(due.given_up_s).astimezone(schedule.timezone)
            self._tell_once("missed", RunMissed(f"{missed:%Y-%m-%d %H:%M}", schedule=schedule.name))
        if begins_s <= now_s and memory.holder is not None:
            begins_s = now_s + _TICK_S  # it may be handling this very moment
        held_off_s = self._held_off_s.get(schedule.name, 0.0)
        if begins_s < held_off_s <= now_s + _HELD_OFF_S:
            begins_s = held_off_s
        job = self._scheduler.get_job(schedule.name)
        alarm = _moment(begins_s)
        if job is not None and getattr(job, "next_run_time", None) != alarm:
            job.modify(next_run_time=alarm)

    def _fire(self, name: str) -> None:
        with self._lock:
            schedule = self._schedules.get(name)
            if schedule is None or name in self._running:
                return
            stop = self._running[name] = Stop()
        try:
            self._work(schedule, stop)
            self._told.pop((name, "run"), None)
        except Locked as error:
            self._tell_once("lock", ScheduleLocked(str(error), schedule=name))
        except Exception as error:  # noqa: BLE001  APScheduler would only log it
            self._hold_off(name, _reason(error))
        finally:
            with self._lock:
                del self._running[name]

    def _hold_off(self, name: str, text: str) -> None:
        """What can't be noted stays due; it isn't tried again at once."""
        self._held_off_s[name] = self._clock() + _HELD_OFF_S
        self._tell_once("run", ScheduleTrouble(text, schedule=name))

    def _tell_once(self, trouble: str, event: Event) -> None:
        if self._told.get((event.schedule, trouble)) != event:
            self._told[event.schedule, trouble] = event
            self._tell(event)

    # -- the daemon's life --------------------------------------------------------------------------------------

    def serve(self, stop: Stop) -> None:
        """Keep to the schedules until asked to stop; then runs end cleanly, and are resumed next time."""
        self.look()
        self._scheduler.start()
        try:
            while not stop.asked:
                stop.sleep(_TICK_S)
                self._ticked_s = time.monotonic()
                try:
                    self.look()
                except Exception as error:  # noqa: BLE001  runs go on, and the next look may go well
                    self._tell_once("folder", ScheduleTrouble(_reason(error)))
        except Interrupted:
            pass
        finally:
            with self._lock:
                for each in self._running.values():
                    each.ask(stop.exit_code)
            self._scheduler.shutdown(wait=True)

    @property
    def alive(self) -> bool:
        """Whether the daemon still looks after its schedules."""
        return time.monotonic() - self._ticked_s < _ALIVE_S

    def schedules(self) -> Sequence[Schedule]:
        """The schedules that are kept to, by name."""
        with self._lock:
            return [self._schedules[name] for name in sorted(self._schedules)]

    def statuses(self) -> Sequence[ScheduleStatus]:
        """Where every schedule stands, by name."""
        with self._lock:
            known: Mapping[str, Schedule | Broken] = {**self._refused, **self._schedules}
            refused = {name: broken.reason for name, broken in self._refused.items()}
        return overview([known[name] for name in sorted(known)], self._state, self._clock(), refused)


def work_for(*, state: Path, config: Path | None, textfile: Path | None, tell: Tell) -> Work:
    """What the daemon does when a schedule is due."""

    def work(schedule: Schedule, stop: Stop) -> None:
        run = run_schedule(
            schedule,
            state=state,
            config=config,
            textfile=textfile,
            only_due=True,
            stop=stop,
            tell=lambda event: tell(msgspec.structs.replace(event, schedule=schedule.name)),
        )
        if run is not None:
            tell(end_event(run))

    return work


def _reason(error: Exception) -> str:
    return (
        error_text(error)
        if isinstance(error, MigratorError)
        else f"unexpected {type(error).__name__}; please report this"
    )


def _moment(moment_s: float) -> datetime:
    return datetime.fromtimestamp(moment_s, UTC)
