"""A run that stays after its catch-up and copies what is new, round after round.

A job that is complete and a way to run one more round enter; the function leaves when what was asked for is reached, or
with an exception. Knows no store, and nothing of slices.

Caught up is what a look says that was begun after everything was carried: that nothing is pending, in any place that
the selection means, and that there is no place that can't be read. Time in which nobody could look isn't idle.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from migrator.activations.selection import Selection
from migrator.adapters.base import News, SupportsFollow
from migrator.engine.state.checkpoint import Checkpoint
from migrator.events import CaughtUp, LagNoted, LagUnknown, Tell
from migrator.events.watching import Lag, Observer, Progress, Stop

_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 10.0  # how late something is noticed at most where a server can't tell by itself
_LEAST_PAUSE_S = 0.5  # between two looks, and between two rounds: a round for each document would cost too much
_LATE_S = 5.0  # a look that takes so much longer than its wait was held up; that time isn't idle
_TARGET_EVERY_S = 60.0  # while nothing happens, the target is seen to be still there


class Follow(msgspec.Struct, frozen=True, kw_only=True):
    """When a run that follows its source ends by itself: at the first that is reached; without any, it doesn't."""

    until_idle_s: float | None = None  # nothing was stored for so long, and all that was is in the target
    until_lag: int | None = None  # so few documents at most aren't in the target


class Follower:
    """What a run knows while it follows its source."""

    def __init__(
        self,
        reader: SupportsFollow,
        checkpoint: Checkpoint,
        follow: Follow,
        *,
        job: str,
        stop: Stop,
        progress: Progress,
        observe: Observer,
        tell: Tell,
        clock: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reader = reader
        self._checkpoint = checkpoint
        self._follow = follow
        self._job = job
        self._stop = stop
        self._progress = progress
        self._observe = observe
        self._tell = tell
        self._clock = clock
        self._monotonic = monotonic
        self._idle_s = 0.0
        self._looked_s = monotonic()
        self._wait_s = 0.0
        self._caught_up_s = checkpoint.snapshot_s or clock()  # when a look was begun before which all is carried
        self._told: tuple[str, ...] | None = None  # what was last told: that all is there (), or why it can't be told

    def run(self, selection: Selection, one_round: Callable[[], int], check_target: Callable[[], None]) -> int:
        """Follow; returns the number of rounds. `one_round` returns how many selected documents it carried."""
        rounds, target_s = 0, self._monotonic()
        while True:
            news = self._look(selection)
            if self._is_over(news):
                if news.unseen:
                    self._checkpoint.note_unseen(news.unseen)
                return rounds
            if news.pending:
                rounds += 1
                self._took(one_round())
            elif self._monotonic() - target_s >= _TARGET_EVERY_S:
                check_target()
                target_s = self._monotonic()

    def _look(self, selection: Selection) -> News:
        """Wait for news, and note what the lag is then."""
        self._progress.phase, self._progress.documents = "following", None
        self._observe(self._progress)
        wait_s, began_s, looked_s = self._wait_s, self._looked_s, self._clock()
        news = self._reader.news(self._checkpoint.snapshot, selection, wait_s=wait_s, stop=self._stop)
        self._stop.check()
        self._looked_s = self._monotonic()
        took_s = self._looked_s - began_s
        if not news.pending:
            self._idle_s += took_s if took_s < wait_s + _LATE_S else 0.0
            # Nothing was pending at the end of the wait; how late in it the server looked, nobody knows.
            self._caught_up_s = max(self._caught_up_s, looked_s)
            self._wait_s = min(max(_FIRST_WAIT_S, 2 * wait_s), _LONGEST_WAIT_S)
            if took_s < min(wait_s, _LEAST_PAUSE_S):  # a server that answers at once
                self._stop.sleep(_LEAST_PAUSE_S)
        self._note(news)
        return news

    def _took(self, carried: int) -> None:
        """A round is over: what was stored before it was planned is carried; what comes soon after it waits."""
        self._caught_up_s = max(self._caught_up_s, self._checkpoint.snapshot_s or 0.0)
        if carried:
            self._idle_s, self._wait_s = 0.0, 0.0
        self._stop.sleep(_LEAST_PAUSE_S)

    def _note(self, news: News) -> None:
        now_s = self._clock()
        behind_s = max(0.0, now_s - self._caught_up_s) if news.pending or news.unseen else 0.0
        documents = None if news.unseen else news.pending
        lag = Lag(documents=documents, behind_s=behind_s, looked_s=now_s, unseen=news.unseen)
        self._progress.lag = lag
        self._checkpoint.note_lag(lag)
        self._observe(self._progress)
        self._tell(LagNoted(self._job, documents, behind_s))
        if news.unseen != self._told and (news.unseen or not news.pending):
            self._told = news.unseen
            self._tell(LagUnknown(self._job, "; ".join(news.unseen)) if news.unseen else CaughtUp(self._job))

    def _is_over(self, news: News) -> bool:
        """Whether what was asked for is reached, as far as it can be seen."""
        follow = self._follow
        if follow.until_lag is not None and news.pending <= follow.until_lag:
            return True
        return follow.until_idle_s is not None and not news.pending and self._idle_s >= follow.until_idle_s
