"""The simulation of docs/scale.md runs the real engine: its copies are complete, and their size is that of the plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.scaling import simulate


@pytest.mark.parametrize("backs_up", [False, True])
def test_a_simulated_copy_takes_as_long_as_its_workers(tmp_path: Path, backs_up: bool) -> None:
    """60 slices by 4 workers, 40 s each: 600 s on the clock that is turned by hand; every document accounted for."""
    found = simulate(6_000_000, 4, 2_500, backs_up=backs_up, folder=tmp_path)
    assert (found["slices"], found["hours"]) == (60, 0.17)
    assert (found["manifest_mb"] is not None) is backs_up
