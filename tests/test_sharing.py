"""How several processes share the tests."""

from __future__ import annotations

import pytest


def test_groups_reach_the_scheduler(request: pytest.FixtureRequest) -> None:
    """A pytest that passes over them makes every process start every server, and the run three times as long."""
    if not request.config.getoption("loadgroup", None):
        pytest.skip("one process runs all tests")
    assert request.node.nodeid.endswith(f"@{request.path}")
