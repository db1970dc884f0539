"""What is served to those who watch: a page for people, health for orchestrators, metrics for Prometheus.

A state folder enters, with schedules and archives where there are any; texts leave. Only reads.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from migrator.errors import MigratorError
from migrator.operations.archive.listing import Listing, list_archive
from migrator.rendering import html
from migrator.rendering.arguments import error_text, in_options
from migrator.rendering.job_list import ago
from migrator.rendering.job_status import JobStatus, KnownJobs
from migrator.rendering.watch_page import archive_parts, job_parts
from migrator.scheduling.metrics import exposition
from migrator.scheduling.overview import ScheduleStatus
from migrator.settings.stores import Store
from migrator.text.printable import printable_path
from migrator.text.units import human_bytes, human_duration, human_moment

_REFRESH_S = 5
_LISTED_S = 60.0  # an archive is listed again after this long: a bucket is asked for every backup
_SOON_S = 3600.0


class Site:
    """Everything that a running command or the daemon shows of its state folder."""

    def __init__(
        self,
        state: Path,
        *,
        schedules: Callable[[], Sequence[ScheduleStatus]] = lambda: (),
        archives: Callable[[], Mapping[str, Callable[[], Store]]] = dict,
        alive: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`archives` are by their printed locations; each is opened when it is looked at."""
        self._state = state
        self._known_jobs = KnownJobs(state)
        self.schedules = schedules
        self._archives = archives
        self.alive = alive
        self._clock = clock
        self._lock = threading.Lock()
        self._listed: dict[str, tuple[float, Listing | tuple[str, str]]] = {}

    def health(self) -> tuple[bool, dict[str, Any]]:
        """Whether all is well, and what to say of it."""
        found = self.schedules()
        well = self.alive() and not any(each.trouble for each in found)
        return well, {"status": "ok" if well else "trouble", "schedules": found, "jobs": self.jobs(running=True)}

    def metrics(self) -> bytes:
        return exposition(self.schedules(), self.jobs(), live=True)

    def page(self) -> str:
        """The page for people."""
        now_s = self._clock()
        well, _ = self.health()
        return in_options(
            html.page(
                "OpenWhisk activations" if well else "OpenWhisk activations: trouble",
                f"state folder {printable_path(self._state.absolute())}, {human_moment(now_s)}",
                self._parts(now_s),
                footer=f"Read only; refreshed every {_REFRESH_S} s. Metrics are at /metrics, health at /health.",
                refresh_s=_REFRESH_S,
            )
        )

    def _parts(self, now_s: float) -> Iterator[str]:
        schedules = self.schedules()
        for each in schedules:
            if each.trouble:
                yield html.note(f"{each.schedule}: {each.trouble}", "bad")
        yield from job_parts(self.jobs(), now_s=now_s)
        if schedules:
            yield html.heading("Schedules")
        for each in schedules:
            yield html.panel(each.schedule, _state_text(each, now_s), _level(each), _schedule_parts(each, now_s))
        yield from archive_parts(self._listings(now_s), now_s=now_s)

    def jobs(self, *, running: bool = False) -> Sequence[JobStatus]:
        """The jobs of the state folder, running ones first; none where it can't be read."""
        try:
            found = [each for each in self._known_jobs.statuses() if isinstance(each, JobStatus)]
        except MigratorError:  # the state folder can't be read; the run itself tells so
            return ()
        return [each for each in found if each.state == "running" or not running]

    def _listings(self, now_s: float) -> Sequence[Listing | tuple[str, str]]:
        with self._lock:  # one look at a time, for however many browsers
            found = []
            for location, store in self._archives().items():
                listed_s, listing = self._listed.get(location, (0.0, None))
                if listing is None or not 0 <= now_s - listed_s < _LISTED_S:
                    listing = _list(location, store)
                    self._listed[location] = now_s, listing
                found.append(listing)
            return found


def _list(location: str, store: Callable[[], Store]) -> Listing | tuple[str, str]:
    try:
        return list_archive(store())
    except MigratorError as error:
        return location, error_text(error)
    except Exception as error:  # noqa: BLE001  the rest of the page is shown
        return location, f"unexpected {type(error).__name__}; please report this"


# -- schedules ------------------------------------------------------------------------------------------------------


def _level(status: ScheduleStatus) -> str:
    return "bad" if status.trouble else "good"


def _state_text(status: ScheduleStatus, now_s: float) -> str:
    if status.state == "waiting" and status.next_s is not None and not status.broken:
        left_s = max(0.0, status.next_s - now_s)
        return f"in {human_duration(left_s)}" if left_s < _SOON_S else f"at {_local(status.next_s, status)}"
    return status.state


def _schedule_parts(status: ScheduleStatus, now_s: float) -> Iterator[str]:
    if status.task:
        yield html.paragraph(f"{status.task} {status.source} → {status.target}")
    if status.trouble:
        yield html.note(status.trouble, "bad")
    facts: list[tuple[str, str]] = []
    if status.next_s is not None:
        facts.append(("next run", _local(status.next_s, status)))
    if (last := status.last) is not None:
        took = human_duration(last.duration_s)
        facts.append(("last run", f"{_local(last.ended_s, status)}, {last.outcome} in {took}"))
    if (success := status.last_success) is not None and success != status.last:
        facts.append(("last success", ago(success.ended_s, now_s)))
    if (made := status.last_backup) is not None:
        verified = f"verified ({made.verified})" if made.verified else "not verified"
        size = human_bytes(made.backup_bytes)
        facts.append(("last backup", f"{made.backup}, {made.mode}, {size}, {verified}, {ago(made.ended_s, now_s)}"))
    if status.keeps:
        facts.append(("keeps", status.keeps))
    facts.append(
        ("runs", f"{status.complete:,} complete, {status.failed:,} failed, {status.interrupted:,} interrupted")
    )
    yield html.facts(facts)


def _local(moment_s: float, status: ScheduleStatus) -> str:
    return datetime.fromtimestamp(moment_s, UTC).astimezone(ZoneInfo(status.timezone)).strftime("%Y-%m-%d %H:%M %Z")
