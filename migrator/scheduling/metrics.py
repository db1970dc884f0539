"""Schedules and jobs as Prometheus metrics; of schedules the endpoint and the textfile print the same.

`ScheduleStatus`es and `JobStatus`es enter, the text of the exposition format leaves.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from migrator.events.watching import Lag
from migrator.rendering.job_status import JobStatus
from migrator.scheduling.overview import ScheduleStatus
from migrator.scheduling.state import Run

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_T = TypeVar("_T")
_PREFIX = "migrator_schedule"

_OF_STATUS: dict[str, tuple[str, Callable[[ScheduleStatus], float | None]]] = {
    "known_since_timestamp_seconds": ("Time when the schedule was first seen.", lambda each: each.known_since_s),
    "next_run_timestamp_seconds": ("When the next run begins.", lambda each: each.next_s),
    "stale_after_seconds": ("Time without success that makes the schedule stale.", lambda each: each.stale_after_s),
    "broken": ("1 if the schedule file is invalid.", lambda each: float(each.broken)),
}

_OF_NOW: dict[str, tuple[str, Callable[[ScheduleStatus], float | None]]] = {
    "stale": ("1 if the schedule is stale: no success for too long.", lambda each: float(each.stale)),
    "running": ("1 while a run is in progress.", lambda each: float(each.state == "running")),
}

_OF_LAST: dict[str, tuple[str, Callable[[Run], float | None]]] = {
    "last_run_timestamp_seconds": ("When the last run ended.", lambda run: run.ended_s),
    "last_run_success": ("1 if the last run was complete.", lambda run: float(run.succeeded)),
    "last_run_exit_code": ("Exit code of the last run.", lambda run: run.exit_code),
    "last_run_duration_seconds": ("How long the last run took.", lambda run: run.duration_s),
    "last_run_documents": ("Documents that the last run read.", lambda run: run.documents),
    "last_run_rejected": ("Rejected documents that are kept with the job.", lambda run: run.rejected),
    "last_run_differing": ("Differing documents that are kept with the job.", lambda run: run.differing),
}

_OF_SUCCESS: dict[str, tuple[str, Callable[[Run], float | None]]] = {
    "last_success_timestamp_seconds": ("When the last complete run ended.", lambda run: run.ended_s),
}

_OF_BACKUP: dict[str, tuple[str, Callable[[Run], float | None]]] = {
    "last_backup_bytes": ("Size of the last backup in its archive.", lambda run: run.backup_bytes),
    "last_backup_documents": ("Documents in the last backup.", lambda run: run.backup_documents),
    "last_backup_verified": ("1 if the last backup was verified.", lambda run: float(bool(run.verified))),
}


_OVERDUE_S = 60.0  # a run that follows looks every ten seconds at least


def _lag(job: JobStatus) -> float | None:
    """Of a run that goes on: what an earlier one saw last says nothing of now."""
    if job.lag is None or job.state != "running" or _unseen_s(job.lag):
        return None
    return job.lag.documents


def _lag_s(job: JobStatus) -> float | None:
    if job.lag is None or job.state != "running":
        return None
    return job.lag.behind_s + _unseen_s(job.lag)


def _unseen_s(lag: Lag) -> float:
    """How long nobody has looked for, where that is too long: a server is away, or the run hangs."""
    age_s = time.time() - lag.looked_s
    return age_s if age_s > _OVERDUE_S else 0.0


JOB_METRICS: dict[str, tuple[str, Callable[[JobStatus], float | None]]] = {
    "running": ("1 while a run of the job is in progress.", lambda job: float(job.state == "running")),
    "complete": ("1 if all of the job is done.", lambda job: float(job.state == "complete")),
    "waiting": ("1 while the run waits for a store that doesn't answer.", lambda job: float(bool(job.waiting))),
    "read_documents": ("Documents that were read, over all runs.", lambda job: job.totals.read),
    "read_bytes": ("Bytes of these documents.", lambda job: job.totals.size_bytes),
    "expected_documents": ("Documents that there are to read, where that is known.", lambda job: job.documents),
    "written_documents": ("Documents that were written.", lambda job: job.totals.written),
    "present_documents": ("Documents that the target held already.", lambda job: job.totals.present),
    "rejected_documents": ("Rejected documents that are kept with the job.", lambda job: job.rejected),
    "differing_documents": ("Differing documents that are kept with the job.", lambda job: job.differing),
    "documents_per_second": ("Rate of late, while a run is in progress.", lambda job: job.per_second),
    "left_seconds": ("Time left at this rate.", lambda job: job.seconds_left),
    "lag_documents": ("Documents that a followed source holds and the target doesn't.", _lag),
    "lag_seconds": ("Time since the target held all of a followed source.", _lag_s),
    "updated_timestamp_seconds": ("When the job was last known to do something.", lambda job: job.updated_s),
}
MOST_JOBS = 50


class _Schedules(Collector):
    def __init__(self, statuses: Sequence[ScheduleStatus], live: bool) -> None:
        self._statuses = statuses
        self._live = live

    def collect(self) -> Iterator[Metric]:
        yield from _gauges(_OF_STATUS, [(each.schedule, each) for each in self._statuses])
        if self._live:
            yield from _gauges(_OF_NOW, [(each.schedule, each) for each in self._statuses])
        yield from _gauges(_OF_LAST, [(each.schedule, each.last) for each in self._statuses])
        yield from _gauges(_OF_SUCCESS, [(each.schedule, each.last_success) for each in self._statuses])
        yield from _gauges(_OF_BACKUP, [(each.schedule, each.last_backup) for each in self._statuses])
        runs = CounterMetricFamily(f"{_PREFIX}_runs", "Runs by how they ended.", labels=["schedule", "outcome"])
        for each in self._statuses:
            for outcome in ("complete", "failed", "interrupted"):
                runs.add_metric([each.schedule, outcome], getattr(each, outcome))
        yield runs


def _gauges(
    metrics: dict[str, tuple[str, Callable[[_T], float | None]]], values: Sequence[tuple[str, _T | None]]
) -> Iterator[Metric]:
    for name, (help, value) in metrics.items():
        gauge = GaugeMetricFamily(f"{_PREFIX}_{name}", help, labels=["schedule"])
        for schedule, of in values:
            if of is not None and (number := value(of)) is not None:
                gauge.add_metric([schedule], number)
        yield gauge


class _Jobs(Collector):
    def __init__(self, jobs: Sequence[JobStatus]) -> None:
        self._jobs = jobs

    def collect(self) -> Iterator[Metric]:
        for name, (help, value) in JOB_METRICS.items():
            gauge = GaugeMetricFamily(f"migrator_job_{name}", help, labels=["job", "verb", "source", "target"])
            for each in self._jobs:
                if (number := value(each)) is not None:
                    gauge.add_metric([each.job, each.verb, each.source, each.target], number)
            yield gauge


def exposition(statuses: Sequence[ScheduleStatus], jobs: Sequence[JobStatus] = (), *, live: bool) -> bytes:
    """The metrics of these schedules and jobs as text.

    Without `live` those of schedules alone that stay true until the next run. Of jobs, the running ones and the newest.
    """
    registry = CollectorRegistry()
    registry.register(_Schedules(statuses, live))
    if live:
        registry.register(_Jobs(jobs[:MOST_JOBS]))
    return generate_latest(registry)
