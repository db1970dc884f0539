"""What is known of a run that is complete."""

from __future__ import annotations

from typing import Any

from migrator.activations.accounts import Counts
from migrator.activations.requests import JobRequest
from migrator.adapters.base import Description
from migrator.engine.report import Report


def described(name: str) -> Description:
    """What a store in memory says of itself."""
    return Description(location=f"memory:{name}", product="memory", version="1", identity=f"{name}#1")


def report(**changes: Any) -> Report:
    """Of four documents that were read, two were written, one is rejected and one is filtered."""
    usual: dict[str, Any] = {
        "job": "0123456789ab",
        "run": 1,
        "state": "complete",
        "source": described("a"),
        "target": described("b"),
        "counts": {"guest": Counts(read=3, written=2, filtered=1, size_bytes=5), "": Counts(read=1, rejected=1)},
        "rejected": 0,
        "differing": 0,
        "remarks": {},
        "left_behind": False,
        "deleted": 0,
        "rounds": 1,
        "caught_up_to": None,
        "run_read": 4,
        "duration_s": 1.0,
        "request": JobRequest(verb="copy", source="a", target="b"),
    }
    return Report(**(usual | changes))
