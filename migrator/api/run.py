"""How a run goes about it, and who looks on: what `copy`, `backup`, `restore` and `verify` all take.

The keywords of their calls enter; one checked value leaves, which is handed on as a whole.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict, cast

from migrator.activations.requests import JobRequest, given_options
from migrator.activations.selection import SelectionSpec
from migrator.adapters.shared.patience import Policy
from migrator.adapters.shared.waiting import LongWaits
from migrator.adapters.wrappers.rates import LEAST_RATE, MOST_RATE, Timetable, parse_timetable
from migrator.adapters.wrappers.throttled import Throttle
from migrator.engine.state.live import Watched
from migrator.errors import UsageError
from migrator.events import Tell
from migrator.events.watching import Observer, Stop
from migrator.settings.folders import user_state
from migrator.settings.stores import Store
from migrator.text.arguments import argument
from migrator.text.printable import printable_path
from migrator.text.units import DAY_S

__all__ = ["LEAST_RATE", "MOST_RATE", "Run", "RunKeywords", "WritingKeywords", "reading_keywords"]

EXECUTORS = ("threads", "processes")
MOST_REJECTS = 1_000_000_000
LONGEST_RETRY_S = 3650 * DAY_S
"""Beyond them a pause is longer, or a number larger, than timers and checkpoints can hold."""


class RunKeywords(TypedDict, total=False):
    """The keywords that every run takes; `Run` has what they mean and their defaults."""

    jobs: int
    max_rate: float | str | None
    retry_for_s: float
    restart: bool
    state: Path | None
    config: Path | None
    stop: Stop
    observe: Observer
    tell: Tell
    clock: Callable[[], float]


class WritingKeywords(RunKeywords, total=False):
    """The keywords of a run that writes."""

    max_rejects: int
    dry_run: bool
    executor: str


def reading_keywords(keywords: RunKeywords) -> RunKeywords:
    """Those of the keywords that a run which only reads takes as well."""
    taken = {name: value for name, value in keywords.items() if name in RunKeywords.__annotations__}
    return cast("RunKeywords", taken)


@dataclass(frozen=True, kw_only=True)
class Run:
    """How a run goes about it. Raises `UsageError` for what can't be."""

    jobs: int = 4  # slices that are carried at once
    max_rate: float | str | Timetable | None = None  # documents read a second, or as `wrappers.rates` has it: "20MB/s"
    retry_for_s: float = 300.0  # how long an outage is waited out
    restart: bool = False  # forget what an earlier run of the same left
    state: Path | None = None  # the folder that keeps jobs; None for the platform's
    config: Path | None = None  # the configuration file that workers in other processes read; None: where it is found
    stop: Stop = field(default_factory=Stop)  # asked to, it ends the run cleanly
    observe: Observer = lambda _: None  # is shown the progress a few times a second
    tell: Tell = lambda _: None  # gets what an operator may want to know
    clock: Callable[[], float] = time.time  # epoch seconds
    max_rejects: int = 10_000  # so many rejected documents end the run
    dry_run: bool = False  # read everything, write nothing
    executor: str = "threads"  # who carries slices: "threads", "processes", or a Dask scheduler, "dask://HOST:PORT"
    watched: Watched = field(init=False, repr=False)
    throttle: Throttle = field(init=False, repr=False)  # of all that is read

    def __post_init__(self) -> None:
        watched = Watched(self.observe, self.tell, clock=self.clock)
        for name, value in (("watched", watched), ("observe", watched.observe), ("tell", watched.tell)):
            object.__setattr__(self, name, value)  # every event passes by what is noted of the run
        if not 1 <= self.jobs <= 64:
            raise UsageError(f"{argument('jobs', self.jobs)}: give a number from 1 to 64")
        if not 0 <= self.max_rejects <= MOST_REJECTS:
            raise UsageError(f"{argument('max_rejects', self.max_rejects)}: give a number from 0 to {MOST_REJECTS:,}")
        object.__setattr__(self, "throttle", Throttle(self.timetable, sleep=self.stop.sleep))
        if self.executor not in EXECUTORS and not re.fullmatch(r"(dask|tls)://[^/\s]+:\d{1,5}", self.executor):
            raise UsageError(f"{argument('executor', self.executor)}: give threads, processes or dask://HOST:PORT")
        if self.executor != "threads" and self.dry_run:
            raise UsageError(f"{argument('dry_run')} runs in threads; leave out {argument('executor')}")
        if not 0 <= self.retry_for_s <= LONGEST_RETRY_S:
            asked = argument("retry_for_s", f"{self.retry_for_s:g}")
            raise UsageError(f"{asked}: give seconds from 0 to {LONGEST_RETRY_S:,}")

    @property
    def timetable(self) -> Timetable:
        """How much may be read, and when."""
        if isinstance(self.max_rate, Timetable):
            return self.max_rate
        return Timetable() if self.max_rate is None else parse_timetable(self.max_rate)

    @property
    def documents_per_s(self) -> float | None:
        """The rate of what takes one document after the other. Raises `UsageError` where it is another kind of rate."""
        rate = self.timetable.constant
        if rate is None or rate.bytes_per_s is not None:
            raise UsageError(f"{argument('max_rate', self.max_rate)}: give a number of documents a second")
        return rate.documents_per_s

    @property
    def policy(self) -> Policy:
        """How outages are waited out."""
        return Policy(
            patience_s=self.retry_for_s, sleep=self.stop.sleep, tell=self.tell, waiting=LongWaits(self.tell).for_
        )

    @property
    def now_ms(self) -> int:
        """The time in epoch milliseconds."""
        return int(self.clock() * 1000)

    @property
    def folder(self) -> Path:
        """The folder that keeps jobs."""
        return self.state or user_state()

    def request(self, verb: str, source: Store, target: Store, wanted: SelectionSpec, **options: object) -> JobRequest:
        """What is asked of this run, as a job keeps it; options at their defaults may be None or False."""
        return JobRequest(
            verb=verb,
            source=source.typed,
            target=target.typed,
            wanted=wanted,
            options=given_options({**options, "executor": None if self.executor == "threads" else self.executor}),
            state=printable_path(self.state) if self.state is not None else None,
        )
