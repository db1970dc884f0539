"""A source opened with everything a run puts around it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from migrator.activations.part import Part
from migrator.adapters.base import SupportsParts
from migrator.adapters.opening import open_reader
from migrator.adapters.wrappers.mending import MendingReader
from migrator.adapters.wrappers.retrying import RetryingReader
from migrator.adapters.wrappers.throttled import Throttle, ThrottledReader
from migrator.api.run import Run
from migrator.errors import UsageError
from migrator.events import LoginWarning, Tell
from migrator.settings.config import Role, load, resolve
from migrator.settings.stores import Store
from migrator.text.arguments import argument

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.adapters.base import Reader


_IN_FLIGHT_BYTES = 16_000_000  # of pages that are read or written at one moment, over all workers


@contextmanager
def open_reader_for(
    source: Store,
    run: Run,
    *,
    mend_ids: bool = False,
    part: Part | None = None,
    throttle: Throttle | None = None,
) -> Iterator[Reader]:
    """A source, or a part of it, with the wrappers that every run puts around it. Raises `UsageError`.

    Without a `throttle` of its own it shares that of the run.
    """
    opened = open_reader(source, page_bytes=page_bytes(run.jobs))
    if part is not None:
        if not isinstance(opened, SupportsParts):
            raise UsageError(
                f"{source.location.printed}: a source of this kind can't be read in parts; leave out "
                f"{argument('part', part)}"
            )
        opened = opened.in_part(part)
    reader: Reader = RetryingReader(opened, run.policy)
    with closing(reader):
        reader = ThrottledReader(reader, throttle or run.throttle)
        yield MendingReader(reader) if mend_ids else reader


def page_bytes(jobs: int) -> int:
    """The size that pages aim at, so that all that is in flight stays within its budget."""
    return max(250_000, min(4_000_000, _IN_FLIGHT_BYTES // (2 * jobs)))


def resolve_store(store: Store | str, role: Role, tell: Tell, config: Path | None = None) -> Store:
    """A store as it was typed, with its login; warns about what is doubtful in that. Raises `UsageError`."""
    if isinstance(store, Store):
        return store
    found, warnings = resolve(store, role, load(config))
    for warning in warnings:
        tell(LoginWarning(warning))
    return found
