"""Stores for the tests of operations."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from migrator.adapters.memory import memory_store


@pytest.fixture
def memory() -> Iterator[str]:
    """The location of a fresh store in memory."""
    name = f"operations-{uuid.uuid4().hex}"
    yield f"memory:{name}"
    memory_store(name).clear()
