"""What tests of the api share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from migrator.engine.removal import purging


@pytest.fixture
def between_batches(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Have something happen between reading and the first batch."""

    def install(happen: Callable[[], None]) -> None:
        compare = purging._Purge.compare

        def compared(self: Any, *values: Any) -> None:
            compare(self, *values)
            happen()

        monkeypatch.setattr(purging._Purge, "compare", compared)

    return install
