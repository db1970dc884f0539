"""What a person sees while a run goes on: a bar in a terminal, a line every so often elsewhere.

tqdm lives here only.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, Self

from tqdm import tqdm

from migrator.engine.copy import Progress
from migrator.report import human_bytes, human_duration

_LINE_EVERY_S = 15.0


class Display(Protocol):
    """Shows a run; called a few times a second. A context manager that leaves the terminal as it was."""

    def __call__(self, progress: Progress) -> None: ...

    def say(self, message: str) -> None:
        """Print a message without tearing the bar."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class _Bar:
    """One tqdm bar on stderr: share, rate, time left, and what else counts."""

    def __init__(self, print_message: Callable[[str], None]) -> None:
        self._bar: tqdm[Any] | None = None
        self._print = print_message

    def __call__(self, progress: Progress) -> None:
        counts = progress.counts
        if self._bar is None:
            self._bar = tqdm(
                total=progress.documents,
                initial=counts.read - progress.run_read,
                unit=" documents",
                unit_scale=True,
                dynamic_ncols=True,
                file=sys.stderr,
                mininterval=0.2,
                leave=True,
            )
        bar = self._bar
        if bar.total is not None and counts.read > bar.total:
            bar.total = counts.read
        bar.n = counts.read
        bar.set_description_str(progress.phase, refresh=False)
        told = {"bytes": human_bytes(counts.size_bytes)}
        for name in ("present", "differing", "rejected"):
            if value := getattr(counts, name):
                told[name] = f"{value:,}"
        bar.set_postfix(told, refresh=False)
        bar.update(0)

    def say(self, message: str) -> None:
        if self._bar is None:
            self._print(message)
            return
        self._bar.clear()
        self._print(message)
        self._bar.refresh()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.refresh()
            self._bar.close()


class _Lines:
    """A plain line every so often, for logs."""

    def __init__(self, print_message: Callable[[str], None], every_s: float = _LINE_EVERY_S) -> None:
        self._print = print_message
        self._every_s = every_s
        self._told_s = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        now_s = time.monotonic()
        if now_s - self._told_s < self._every_s:
            return
        self._told_s = now_s
        self._print(progress_line(progress, now_s))

    def say(self, message: str) -> None:
        self._print(message)

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


def progress_line(progress: Progress, now_s: float) -> str:
    """`copying: 61 % (12,200 of 20,000 documents, 13.1 MB), 3,980/s, 2.0 s left, 3 rejected`."""
    counts = progress.counts
    rate = progress.run_read / max(now_s - progress.began_s, 0.001)
    of = ""
    if progress.documents:
        left_s = max(progress.documents - counts.read, 0) / rate if rate else 0
        share = min(100, 100 * counts.read // progress.documents)
        of = f"{share} % ({counts.read:,} of {progress.documents:,} documents, {human_bytes(counts.size_bytes)})"
        ends = f", {human_duration(left_s)} left"
    else:
        of, ends = f"{counts.read:,} documents, {human_bytes(counts.size_bytes)}", ""
    troubles = "".join(f", {value:,} {name}" for name in ("differing", "rejected") if (value := getattr(counts, name)))
    return f"{progress.phase}: {of}, {rate:,.0f}/s{ends}{troubles}"


def open_display(print_message: Callable[[str], None], *, quiet: bool, plain: bool) -> Display:
    """The display that fits where stderr goes. `plain` asks for lines even in a terminal (machine-readable logs)."""
    if quiet:
        return _Silence(print_message)
    if plain or not sys.stderr.isatty():
        return _Lines(print_message)
    return _Bar(print_message)
