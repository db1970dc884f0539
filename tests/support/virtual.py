"""A world with a clock of its own: the daemon and APScheduler as they are, runs that last as long as a test says.

Time moves only in `pass_time` and `jump`; a run is a thread that waits for that clock, so that everything happens in
one order, however slow the machine is.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import time_machine
from apscheduler.executors.base import BaseExecutor, run_job
from apscheduler.schedulers.base import BaseScheduler

from migrator.events.watching import Stop
from migrator.scheduling import running
from migrator.scheduling.daemon import Daemon
from migrator.scheduling.files import Schedule
from migrator.scheduling.running import run_schedule
from migrator.scheduling.state import Memory, Run, State
from migrator.scheduling.tasks import Context, Done
from tests.support.said import into

_TICK_S = 1800.0


class _Threads(BaseExecutor):
    """A thread for each run, begun when the scheduler has let go of its locks."""

    def __init__(self, settled: threading.Semaphore) -> None:
        super().__init__()
        self._settled = settled
        self._submitted: list[threading.Thread] = []

    def _do_submit_job(self, job: Any, run_times: list[datetime]) -> None:
        def target() -> None:
            try:
                self._run_job_success(job.id, run_job(job, job._jobstore_alias, run_times, "virtual"))
            finally:
                self._settled.release()

        self._submitted.append(threading.Thread(target=target, daemon=True))

    def begin(self) -> None:
        """Begin what was submitted, each when the one before has ended or waits for the clock."""
        while self._submitted:
            self._submitted.pop(0).start()
            self._settled.acquire()


class _ByHand(BaseScheduler):
    """APScheduler without a thread of its own."""

    def wakeup(self) -> None:
        pass

    def shutdown(self, wait: bool = True) -> None:
        super().shutdown(wait)


class World:
    """One folder of schedules, one state folder, one clock."""

    def __init__(self, folder: Path, monkeypatch: Any, start: datetime) -> None:
        self.folder, self.state = folder / "schedules", folder / "state"
        self.folder.mkdir()
        self.settled = threading.Semaphore(0)
        self.lasts_s: Callable[[Schedule], float] = lambda _: 0.0
        self.runs: list[Run] = []
        self.told: list[str] = []
        self.overlaps = 0
        self.fired: Counter[str] = Counter()
        self.active: set[str] = set()
        self._holds: list[tuple[float, threading.Event]] = []
        self._clock = time_machine.travel(start, tick=False)
        self._traveller = self._clock.start()
        monkeypatch.setattr(running, "perform", self._perform)
        self.boot()

    def close(self) -> None:
        self._clock.stop()

    @property
    def now_s(self) -> float:
        return datetime.now(UTC).timestamp()

    def boot(self) -> None:
        """Begin a daemon, as after a crash: nothing of an earlier one is there but its files."""
        self.scheduler = _ByHand(timezone=UTC)
        self._threads = _Threads(self.settled)
        self.scheduler.add_executor(self._threads)
        self.daemon = Daemon(
            self.folder,
            state=self.state,
            work=self._work,
            scheduler=self.scheduler,
            tell=into(self.told),
        )
        self.daemon.look()
        self.scheduler.start()

    def write(self, name: str, when: str, more: str = "") -> None:
        text = f'source = "memory:a"\ntarget = "archive:/nowhere"\n{more}\n[when]\n{when}\n'
        (self.folder / f"{name}.toml").write_text(text)

    def pass_time(self, seconds: float) -> None:
        """Let time pass, alarm by alarm."""
        end_s = round(self.now_s + seconds, 3)
        while True:
            self.daemon.look()
            wait_s = self.scheduler._process_jobs()
            self._threads.begin()
            self.daemon.look()  # as the daemon does every second
            steps = [end_s, self.now_s + _TICK_S, *(wake_s for wake_s, _ in self._holds)]
            if wait_s is not None:
                steps.append(self.now_s + wait_s)
            next_s = min(steps)
            if self.now_s >= end_s and next_s >= end_s:
                return
            self._move(max(min(next_s, end_s), self.now_s))

    def jump(self, seconds: float) -> None:
        """Set the clock; nobody is notified."""
        self._traveller.move_to(self.now_s + seconds, tick=False)

    def moments(self, name: str) -> list[float]:
        return [run.moment_s for run in self.runs if run.schedule == name and run.moment_s is not None]

    def remembered(self, name: str) -> State:
        known = Memory(self.state, name).read()
        assert known is not None
        return known

    def _move(self, to_s: float) -> None:
        self._traveller.move_to(to_s, tick=False)
        for hold in sorted(self._holds, key=lambda each: each[0]):
            if hold[0] <= to_s:
                self._holds.remove(hold)
                hold[1].set()
                self.settled.acquire()

    def _work(self, schedule: Schedule, stop: Stop) -> None:
        self.fired[schedule.name] += 1
        run = run_schedule(schedule, state=self.state, only_due=True, stop=stop)
        if run is not None:
            self.runs.append(run)

    def _perform(self, schedule: Schedule, known: State, moment_s: float, context: Context) -> Done:
        self.overlaps += schedule.name in self.active
        self.active.add(schedule.name)
        lasts_s = self.lasts_s(schedule)
        if lasts_s:
            woken = threading.Event()
            self._holds.append((self.now_s + lasts_s, woken))
            self.settled.release()
            woken.wait()
        self.active.discard(schedule.name)
        return Done(exit_code=0, report={})
