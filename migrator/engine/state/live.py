"""What a run is doing at this moment, for whoever looks from outside: `migrator status`, and pages.

    STATE/jobs/JOB/live.json, STATE/verifications/ID/live.json    replaced about once a second while the run goes on

The progress and the events of a run enter. Nothing depends on the file: where it can't be written the run goes on,
and who reads it asks the lock whether the run does. What must outlast the machine is in the checkpoint.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from migrator.activations.requests import JobRequest
from migrator.durable import open_private
from migrator.errors import Interrupted
from migrator.events import Controlled, Event, Recovered, Retrying, Tell, Waiting
from migrator.events.watching import Observer, Pace, Progress
from migrator.text.decoding import decode
from migrator.text.secrets import redact

FILE = "live.json"
_EVERY_S = 1.0
_MOST_RATES = 240
_FIRST_STEP_S = 2.0
_REMIND_S = 60.0  # of an outage that goes on


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """A run as it was at `updated_s`. Moments are epoch seconds."""

    what: str  # "job" or "verification"
    id: str
    request: JobRequest
    began_s: float
    updated_s: float
    phase: str = "planning"
    read: int = 0  # of the whole job
    documents: int | None = None  # expected in all
    size_bytes: int = 0
    per_second: float = 0.0
    seconds_left: float | None = None
    present: int = 0
    differing: int = 0
    rejected: int = 0
    waiting: str = ""  # what is being waited for; empty while documents move
    waiting_since_s: float | None = None
    last_error: str = ""
    last_error_s: float | None = None
    rates: tuple[tuple[float, float], ...] = ()  # moments and documents a second, of the whole run, thinned out
    outcome: str = ""  # empty until it ended: "complete", "interrupted", or why it failed

    @property
    def percent(self) -> int | None:
        """How much is done; 100 only once it is complete."""
        if not self.documents:
            return 100 if self.outcome == "complete" else None
        return 100 if self.outcome == "complete" else min(99, 100 * self.read // self.documents)


def read_live(folder: Path) -> Live | None:
    """What the newest run of a job or a verification wrote; None where there is nothing that can be read."""
    try:
        return decode((folder / FILE).read_bytes(), Live)
    except (OSError, msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


class Watched:
    """The progress and the events of one run on their way to who looks on, noted in passing."""

    def __init__(self, observe: Observer, tell: Tell, *, clock: Callable[[], float] = time.time) -> None:
        self._observe = observe
        self._tell = tell
        self._clock = clock
        self._lock = threading.Lock()
        self._pace = Pace()
        self._path: Path | None = None
        self._live: Live | None = None
        self._written_s = 0.0
        self._outage: _Outage | None = None

    @contextmanager
    def noted(self, folder: Path, what: str, id: str, request: JobRequest) -> Iterator[None]:
        """Keep `folder`'s file up to date while the block goes on, and note in it how it ended."""
        now_s = self._clock()
        live = Live(what=what, id=id, request=request, began_s=now_s, updated_s=now_s)
        with self._lock:
            self._path, self._live = folder / FILE, live
            self._change()
        outcome, failed = "interrupted", ""
        try:
            yield
            outcome = "complete"
        except Interrupted:
            raise
        except Exception as error:
            outcome = failed = redact(str(error)) or type(error).__name__
            raise
        finally:
            with self._lock:
                now_s = self._clock()
                why = {"last_error": failed, "last_error_s": now_s} if failed else {}
                self._change(outcome=outcome, seconds_left=None, waiting="", waiting_since_s=None, **why)
                self._path = self._live = None

    def observe(self, progress: Progress) -> None:
        """Note how far the run is, and hand it on."""
        recovered = None
        with self._lock:
            rate = self._pace.rate(progress, time.monotonic())
            if self._outage is not None and (recovered := self._outage.ended(progress)) is not None:
                self._outage = None
                self._change(waiting="", waiting_since_s=None)
            elif self._live and self._live.waiting and self._outage is None and progress.run_read != self._read:
                self._change(waiting="", waiting_since_s=None)
            self._read = progress.run_read
            if self._live and time.monotonic() - self._written_s >= _EVERY_S:
                self._note(progress, rate)
        if recovered is not None:
            self._tell(recovered)
        self._observe(progress)

    _read = 0
    _step_s = _FIRST_STEP_S

    def tell(self, event: Event) -> None:
        """Note what is waited for, and hand the event on."""
        with self._lock:
            if isinstance(event, Retrying):
                if self._outage is None:
                    self._outage = _Outage(self._read)
                event = msgspec.structs.replace(event, repeated=self._outage.add(event))
                now_s, reason = self._clock(), redact(event.reason)
                since_s = (self._live and self._live.waiting_since_s) or now_s
                self._change(waiting=reason, waiting_since_s=since_s, last_error=reason, last_error_s=now_s)
            elif isinstance(event, Controlled):
                paused_s = self._clock() if event.paused else None
                self._change(waiting="paused by `migrator control`" if event.paused else "", waiting_since_s=paused_s)
            elif isinstance(event, Waiting):
                self._change(waiting=redact(event.request), waiting_since_s=self._clock() - event.waited_s)
        self._tell(event)

    # -- under the lock -----------------------------------------------------------------------------------------

    def _note(self, progress: Progress, rate: float) -> None:
        counts = progress.counts
        self._change(
            phase=progress.phase,
            read=counts.read,
            documents=progress.documents,
            size_bytes=counts.size_bytes,
            per_second=rate,
            seconds_left=progress.seconds_left(rate),
            present=counts.present,
            differing=counts.differing,
            rejected=counts.rejected,
            rates=self._rates(rate),
        )

    def _rates(self, rate: float) -> tuple[tuple[float, float], ...]:
        """The curve with the rate of now; as it gets long, every other point goes and the steps get wider."""
        assert self._live is not None
        rates, now_s = self._live.rates, self._clock()
        if rates and now_s - rates[-1][0] < self._step_s:
            return rates
        if len(rates) >= _MOST_RATES:
            rates, self._step_s = rates[::2], 2 * self._step_s
        return (*rates, (round(now_s, 1), round(rate, 1)))

    def _change(self, **changes: object) -> None:
        if self._live is None or self._path is None:
            return
        self._live = msgspec.structs.replace(self._live, updated_s=self._clock(), **changes)
        self._written_s = time.monotonic()
        unfinished = self._path.with_name(f".{FILE}.unfinished")
        with suppress(OSError):
            with open(unfinished, "wb", opener=open_private) as file:
                file.write(msgspec.json.encode(self._live))
            os.replace(unfinished, self._path)  # noqa: PTH105  a rename that may be lost is meant


class _Outage:
    """Requests that are refused again and again: told once, reminded of, and summed up at the end."""

    def __init__(self, read: int) -> None:
        self._began_s = time.monotonic()
        self._read = read
        self._retries = 0
        self._next_s = self._began_s  # when the last request that failed is sent again
        self._told_s: dict[str, float] = {}

    def add(self, event: Retrying) -> bool:
        """Take a failure; whether the same was told a short while ago."""
        now_s, kind = time.monotonic(), re.sub(r"\d+", "#", event.reason)
        self._retries += 1
        self._next_s = max(self._next_s, now_s + event.pause_s)
        repeated = kind in self._told_s and now_s - self._told_s[kind] < _REMIND_S
        if not repeated:
            self._told_s[kind] = now_s
        return repeated

    def ended(self, progress: Progress) -> Recovered | None:
        """What there was, once documents move again and no request is left that waits for its next try."""
        now_s = time.monotonic()
        if progress.run_read == self._read or now_s < self._next_s:
            return None
        return Recovered(waited_s=now_s - self._began_s, retries=self._retries)
