"""What the shell completes: names of stores, jobs and schedules, and the values of options. Never an error."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

import click
from click.shell_completion import CompletionItem

Complete: TypeAlias = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _completing(find: Callable[[click.Context], Iterable[tuple[str, str]]], *, files: bool = False) -> Complete:
    """Complete by names and a help for each; with `files` a path is meant where no name fits."""

    def complete(context: click.Context, _: click.Parameter, begun: str) -> list[CompletionItem]:
        try:
            found = [CompletionItem(name, help=help or None) for name, help in find(context) if name.startswith(begun)]
        except Exception:  # noqa: BLE001  a shell that completes must not be disturbed
            found = []
        return found or ([CompletionItem(begun, type="file")] if files else [])

    return complete


def choices(*values: str) -> Complete:
    """One of some fixed values."""
    return _completing(lambda _: [(value, "") for value in values])


def _stores(context: click.Context) -> Iterable[tuple[str, str]]:
    from migrator.settings.config import load, read_named_location

    config = load(context.params.get("config"))
    return [(name, read_named_location(name, config).location.printed) for name in config.stores]


def _jobs(context: click.Context) -> Iterable[tuple[str, str]]:
    from migrator.rendering.job_status import JobStatus, statuses

    found = (each for each in statuses(_state(context)) if isinstance(each, JobStatus))
    return [(each.job, f"{each.verb} {each.source} -> {each.target}, {each.state}") for each in found]


def _schedules(context: click.Context) -> Iterable[tuple[str, str]]:
    from migrator.scheduling.files import Broken, default_folder, read_folder

    found = read_folder(context.params.get("schedules") or default_folder())
    return [
        (each.name, "invalid" if isinstance(each, Broken) else f"{each.task} {' -> '.join(each.printed)}")
        for each in found
    ]


def _state(context: click.Context) -> Path:
    from migrator.settings.config import load, settings
    from migrator.settings.folders import user_state

    if context.params.get("state"):
        return Path(context.params["state"])
    found: Any = settings(load(context.params.get("config"))).get("state")
    return Path(found.value) if found else user_state()


stores = _completing(_stores, files=True)
jobs = _completing(_jobs)
schedules = _completing(_schedules, files=True)
