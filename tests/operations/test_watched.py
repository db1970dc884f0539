"""Operations that read show how far they are, and end when they are asked to stop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from migrator import detect, find, list_newest, stats
from migrator.activations.document import Form
from migrator.errors import Interrupted
from migrator.events.watching import Progress, Stop
from migrator.testing.documents import activation
from tests.support.archives import add_backup

COUNT = 40
CALLS: dict[str, Callable[..., Any]] = {
    "find": lambda archive, **how: find([archive], ["f" * 32], **how),
    "list_newest": lambda archive, **how: list_newest([archive], **how),
    "stats": stats,
    "detect": lambda archive, **how: detect([archive], exact=True, **how),
}


@pytest.fixture
def archive(tmp_path: Path) -> str:
    add_backup(tmp_path, Form.COUCHDB, [[activation(number) for number in range(COUNT)]])
    return f"archive:{tmp_path}"


@pytest.mark.parametrize("name", ["list_newest", "stats", "detect"])
def test_a_request_to_stop_ends_reading(archive: str, name: str) -> None:
    stop = Stop()
    stop.ask(130)
    with pytest.raises(Interrupted):
        CALLS[name](archive, stop=stop)


@pytest.mark.parametrize("name", ["list_newest", "stats"])
def test_what_was_read_is_shown(archive: str, name: str) -> None:
    seen: list[tuple[int, int | None]] = []

    def observe(progress: Progress) -> None:
        seen.append((progress.run_read, progress.documents))

    CALLS[name](archive, observe=observe)
    assert seen[-1] == (COUNT, COUNT)
