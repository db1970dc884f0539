"""Requests as the commands that make them again: what resumes a job, what verifies it, what lists or mends."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from migrator.activations.requests import JobRequest
from migrator.activations.selection import SelectionSpec
from migrator.engine.state.jobs import OtherOptions
from migrator.errors import MigratorError
from migrator.rendering.arguments import OPTIONS
from migrator.text.printable import printable_path


def command(request: JobRequest, *more: str) -> str:
    """A request as a shell takes it, with more words behind it. Holds no secret."""
    return _join([*_words(request), *more])


def state_option(request: JobRequest | None) -> str:
    """The option that names the state folder of a request, to be put behind another command; empty where none is."""
    return f" {_join(['--state', request.state])}" if request and request.state is not None else ""


def _join(words: Iterable[str]) -> str:
    return printable_path(shlex.join(words))


def _words(request: JobRequest) -> Iterable[str]:
    yield from ("migrator", request.verb, request.source, request.target)
    yield from _selection_words(request.wanted)
    for name, value in request.options.items():
        yield from _FORMS.get(name, _plainly)(name, value)
    if request.state is not None:
        yield from ("--state", request.state)


def _selection_words(wanted: SelectionSpec) -> Iterable[str]:
    for name, values in (("namespaces", wanted.namespaces), ("names", wanted.names)):
        for value in values:
            yield from (OPTIONS[name], value)
    for name, moment in (("since", wanted.since), ("until", wanted.until)):
        if moment:
            yield from (OPTIONS[name], moment)


def _plainly(name: str, value: Any) -> Iterable[str]:
    if isinstance(value, list):
        for each in value:
            yield from (OPTIONS[name], str(each))
    else:
        yield from (OPTIONS[name],) if value is True else (OPTIONS[name], str(value))


def _as_share(name: str, value: float) -> Iterable[str]:
    yield from (OPTIONS[name], f"{100 * value:g}%")


def _as_template(name: str, value: Mapping[str, Any]) -> Iterable[str]:
    yield from (OPTIONS[name], value.get("mapping", "searchable"))  # the only one that 0.2 had
    for part, number in value.items():
        if part != "mapping":
            yield from (f"--{part.replace('_', '-')}", str(number))


def _as_seconds(name: str, value: float) -> Iterable[str]:
    yield from (OPTIONS[name], f"{value:.0f}s")


_FORMS: Mapping[str, Callable[[str, Any], Iterable[str]]] = {
    "sample": _as_share,
    "template": _as_template,
    "until_idle_s": _as_seconds,
}


def with_command(error: MigratorError) -> str:
    """An error's message, with the command that resumes the job where other options were given than it has."""
    if isinstance(error, OtherOptions):
        return f"{error}; it was started as: {command(error.request)}"
    return str(error)
