"""What a person sees while a run goes on: a bar in a terminal, a line every so often elsewhere.

tqdm lives here only.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from migrator.events import Event, ProgressNoted, Recovered, Retrying, Tell
from migrator.events.watching import Pace, Progress
from migrator.rendering.progress_bar import progress_bar

if TYPE_CHECKING:
    from tqdm import tqdm

_LINE_EVERY_S = 15.0
_LOCK_S = 1.0  # a terminal that takes nothing holds up no message about the end


class Display(Protocol):
    """Shows a run; called a few times a second. A context manager that leaves the terminal as it was."""

    def __call__(self, progress: Progress) -> None: ...

    def tell(self, event: Event) -> None:
        """Print an event without tearing the bar."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class _Bar:
    """One tqdm bar on stderr: share, counts, rate and time left, as far as the terminal is wide."""

    def __init__(self, print_event: Tell) -> None:
        self._bar: tqdm[Any] | None = None
        self._print = print_event
        self._pace = Pace()
        self._last: Progress | None = None
        self._began_s = time.monotonic()
        self._waiting_since_s: float | None = None
        self._lock = threading.Lock()  # events come from any thread, and would stick to a bar that is drawn meanwhile

    def __call__(self, progress: Progress) -> None:
        self._last = progress
        with self._lock:
            self._show(progress_event(progress, self._pace.rate(progress, time.monotonic())))

    def _show(self, event: ProgressNoted, took_s: float | None = None) -> None:
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(total=event.documents, initial=event.read, file=sys.stderr, mininterval=0.2)
        bar = self._bar
        bar.ncols = shutil.get_terminal_size((80, 24)).columns - 1
        bar.total = None if event.documents is None else max(event.read, event.documents)
        bar.n = event.read
        since_s = self._began_s if not event.read else self._waiting_since_s  # no bar stands at nothing
        waited_s = time.monotonic() - since_s if since_s is not None else None
        bar.bar_format = progress_bar(event, bar.ncols, took_s=took_s, waited_s=waited_s)
        bar.update(0)

    def tell(self, event: Event) -> None:
        is_free = self._lock.acquire(timeout=_LOCK_S)
        try:
            if isinstance(event, Retrying):
                self._waiting_since_s = self._waiting_since_s or time.monotonic()
            elif isinstance(event, Recovered):
                self._waiting_since_s = None
            if self._bar is not None:
                self._bar.clear()
            self._print(event)
            if self._bar is not None:
                self._bar.refresh()
        finally:
            if is_free:
                self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            if self._bar is not None and self._last is not None:
                # The last look stays on the screen: no time is left, but time was taken.
                took_s = time.monotonic() - self._last.began_s
                self._show(progress_event(self._last, self._last.run_read / max(took_s, 0.001)), took_s)
                self._bar.refresh()
                self._bar.close()
                self._bar = None


class _Lines:
    """A plain line every so often, for logs."""

    def __init__(self, print_event: Tell, every_s: float = _LINE_EVERY_S) -> None:
        self._print = print_event
        self._every_s = every_s
        self._printed_s = time.monotonic()
        self._pace = Pace()

    def __call__(self, progress: Progress) -> None:
        now_s = time.monotonic()
        rate = self._pace.rate(progress, now_s)
        if now_s - self._printed_s >= self._every_s:
            self._printed_s = now_s
            self._print(progress_event(progress, rate))

    def tell(self, event: Event) -> None:
        self._print(event)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class _Silence(_Lines):
    """Messages only."""

    def __call__(self, progress: Progress) -> None:
        pass


def progress_event(progress: Progress, rate: float) -> ProgressNoted:
    """A look at a run, as an event."""
    counts = progress.counts
    return ProgressNoted(
        phase=progress.phase,
        read=counts.read,
        documents=progress.documents,
        size_bytes=counts.size_bytes,
        per_second=rate,
        seconds_left=progress.seconds_left(rate),
        present=counts.present,
        differing=counts.differing,
        rejected=counts.rejected,
        lag_documents=progress.lag.documents if progress.lag else None,
        lag_s=progress.lag.behind_s if progress.lag else None,
    )


def open_display(print_event: Tell, *, quiet: bool, plain: bool) -> Display:
    """The display that fits where stderr goes. `plain` asks for lines even in a terminal (machine-readable logs)."""
    if quiet:
        return _Silence(print_event)
    if plain or not sys.stderr.isatty():
        return _Lines(print_event)
    return _Bar(print_event)
