"""The lag of a run that follows, as metrics: never one that nobody looks at any more."""

from __future__ import annotations

import re
import time
from pathlib import Path

import msgspec
import pytest

from migrator.engine.state.jobs import find_job, open_job
from migrator.events.watching import Lag
from migrator.rendering.job_status import JobStatus, job_status
from migrator.scheduling.metrics import exposition
from tests.support.worlds import SPEC


def status(folder: Path, lag: Lag, state: str) -> JobStatus:
    job = open_job(folder, SPEC)
    job.checkpoint.note_lag(lag)
    job.close()
    return msgspec.structs.replace(job_status(find_job(folder, SPEC.id)), state=state)


def lags(status: JobStatus) -> dict[str, float]:
    text = exposition([], [status], live=True).decode()
    return {
        name: float(value) for name, value in re.findall(r"^migrator_job_(lag_\w+)\{.*\} (.+)$", text, re.MULTILINE)
    }


@pytest.mark.parametrize(
    ("documents", "state", "expected"),
    [
        (12, "running", {"lag_documents": 12.0, "lag_seconds": 3.0}),
        (None, "running", {"lag_seconds": 3.0}),
        (0, "complete", {}),
    ],
    ids=["known", "unknown", "over"],
)
def test_the_lag_of_the_last_look(
    tmp_path: Path, documents: int | None, state: str, expected: dict[str, float]
) -> None:
    lag = Lag(documents=documents, behind_s=3.0, looked_s=time.time())
    assert lags(status(tmp_path, lag, state)) == expected


def test_a_run_that_hangs_claims_no_lag_of_0(tmp_path: Path) -> None:
    """The time that nobody has looked for counts."""
    lag = Lag(documents=0, behind_s=0.0, looked_s=time.time() - 3600)
    found = lags(status(tmp_path, lag, "running"))
    assert "lag_documents" not in found
    assert found["lag_seconds"] >= 3600
