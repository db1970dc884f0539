"""How far a target was behind, minute by minute for a day."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from migrator.engine.state.checkpoint import Checkpoint
from migrator.events.watching import Lag


@pytest.fixture
def checkpoint() -> Iterator[Checkpoint]:
    with closing(Checkpoint(None)) as found:
        yield found


def note(checkpoint: Checkpoint, looked_s: float, documents: int | None, behind_s: float) -> Lag:
    lag = Lag(documents=documents, behind_s=behind_s, looked_s=looked_s, unseen=() if documents is not None else ("x",))
    checkpoint.note_lag(lag)
    return lag


def test_without_a_look_nothing_is_known(checkpoint: Checkpoint) -> None:
    assert (checkpoint.lag, checkpoint.lags) == (None, [])


def test_the_newest_lag_is_kept_and_the_largest_of_each_minute(checkpoint: Checkpoint) -> None:
    """Documents and seconds each by themselves; unknown where it is at some look."""
    note(checkpoint, 600.0, 5, 1.5)
    note(checkpoint, 659.9, 3, 2.5)
    note(checkpoint, 660.0, None, 0.5)
    last = note(checkpoint, 661.0, 7, 0.0)
    assert checkpoint.lag == last
    assert checkpoint.lags == [(10, 5, 2.5), (11, None, 0.5)]
    note(checkpoint, 720.0, 7, 0.0)
    note(checkpoint, 721.0, None, 0.0)
    assert checkpoint.lags[-1] == (12, None, 0.0)


def test_a_day_is_kept(checkpoint: Checkpoint) -> None:
    day_s = 24 * 60 * 60
    for minute in (0, 1, 2):
        note(checkpoint, 60.0 * minute, minute, 0.0)
    note(checkpoint, day_s, 9, 0.0)
    assert [minute for minute, _, _ in checkpoint.lags] == [0, 1, 2, 1440]
    note(checkpoint, day_s + 60, 9, 0.0)
    assert [minute for minute, _, _ in checkpoint.lags] == [1, 2, 1440, 1441]
