"""What earlier releases kept in a checkpoint, read as this one keeps it.

Until format 2 a job kept the shell text that resumed it, and beside it the options that change the result.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from migrator.activations.requests import JobRequest
from migrator.activations.selection import SelectionSpec
from migrator.text.decoding import convert

_FLAGS = ("allow_extra", "index_template", "keep_revisions", "mend_ids", "verify")
_SELECTION = {"namespace": "namespaces", "name": "names", "since": "since", "until": "until"}
_LISTS = ("namespaces", "names", "encrypt_to")
_TEMPLATE = ("shards", "replicas", "field_limit")


def with_request(kept: Mapping[str, Any]) -> dict[str, Any]:
    """A job's or a note's values with the request in the place of its shell text. Raises `ValueError`."""
    if "request" in kept:
        return dict(kept)
    request = _request_of(kept["command"]) if kept.get("command") else None
    if "source" in kept:  # a job; its ends as they were typed, which the text shows with escapes
        request = msgspec.structs.replace(
            request or JobRequest(verb="copy", source="", target=""), source=kept["source"], target=kept["target"]
        )
    gone = ("command", "source", "target", "options")
    return {
        **{name: value for name, value in kept.items() if name not in gone},
        "request": msgspec.to_builtins(request),
    }


def _request_of(command: str) -> JobRequest:
    _, verb, source, target, *words = shlex.split(command)
    given: dict[str, Any] = {}
    for name, value in _options(iter(words)):
        if name in _LISTS:
            given.setdefault(name, []).append(value)
        else:
            given[name] = value
    wanted = {name: given.pop(name) for name in _SELECTION.values() if name in given}
    state = given.pop("state", None)
    template = {name: int(given.pop(name)) for name in _TEMPLATE if name in given}
    if given.pop("index_template", False):
        given["template"] = template
    if "sample" in given:
        given["sample"] = float(given["sample"].removesuffix("%")) / 100
    return JobRequest(
        verb=verb, source=source, target=target, wanted=convert(wanted, SelectionSpec), options=given, state=state
    )


def _options(words: Iterator[str]) -> Iterator[tuple[str, Any]]:
    """The arguments that the options of a command line mean."""
    for word in words:
        name = word.removeprefix("--").replace("-", "_")
        yield _SELECTION.get(name, name), True if name in _FLAGS else next(words, "")
