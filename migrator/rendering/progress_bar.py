"""The line of a run in a terminal: counts always, then rate and time left, the size, a bar in what is left of it."""

from __future__ import annotations

from collections.abc import Iterator

from migrator.events import ProgressNoted
from migrator.rendering.events import lag_text
from migrator.text.units import human_bytes, human_duration, plural

_LEAST_BAR = 6
_MOST_BAR = 40
_DROPPED_FOR_A_BAR = 3


def progress_bar(
    event: ProgressNoted, width: int, *, took_s: float | None = None, waited_s: float | None = None
) -> str:
    """The line as a format of tqdm, which draws the bar. With `took_s` the run has ended, with `waited_s` it waits."""
    if not event.read and waited_s is not None and took_s is None:
        return _as_format(f"{event.phase}: waiting for the first documents ({waited_s:.0f} s)")
    share = f" {min(100, 100 * event.read // event.documents):3d} %" if event.documents else ""
    head = f"{event.phase}:{share} "
    tails = list(_tails(event, took_s, waited_s if took_s is None else None))
    fitting = [tail for tail in tails if len(head) + len(tail) <= width] or tails[-1:]
    if share:
        # While it moves, a bar is worth the size and a word; at its end the numbers are.
        for tail in fitting[:_DROPPED_FOR_A_BAR] if took_s is None else fitting[:1]:
            bar = min(_MOST_BAR, width - len(head) - len(tail) - 3)
            if bar >= _LEAST_BAR:
                return f"{_as_format(head)}|{{bar:{bar}}}| {_as_format(tail)}"
    return _as_format(head + fitting[0])


def _tails(event: ProgressNoted, took_s: float | None, waited_s: float | None) -> Iterator[str]:
    """What stands right of the bar, shorter each time; the counts of trouble stay to the last."""
    of = f" of {event.documents:,}" if event.documents else ""
    read, documents = f"{event.read:,}{of}", plural(event.documents or event.read, "document")
    counted = (("present", event.present), ("differing", event.differing), ("rejected", event.rejected))
    counts = [f"{count:,} {name}" for name, count in counted if count]
    if event.lag_s is not None:
        counts = [f"lag {lag_text(event.lag_documents, event.lag_s)}", *counts]
    rate = [f"{event.per_second:,.0f}/s"] if event.per_second else []
    left = [f"{human_duration(event.seconds_left)} left"] if event.seconds_left is not None and took_s is None else []
    if waited_s is not None:
        rate, left = [], [f"waiting for an answer ({waited_s:.0f} s)"]
    took = f" in {human_duration(took_s)}" if took_s is not None else ""
    size = human_bytes(event.size_bytes)
    for parts in (
        [f"{read} {documents}", f"{size}{took}", *rate, *left, *counts],
        [f"{read} {documents}{took}", *rate, *left, *counts],
        [f"{read}{took}", *rate, *left, *counts],
        [f"{read}{took}", *left, *counts],
        [f"{read}{took}", *counts],
    ):
        yield ", ".join(parts)


def _as_format(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
