"""The variables of the services of a compose file, as compose sets them.

A file enters, an `Environment` for each service leaves: its `environment` over its `env_file`s, both with `${NAME}`
filled in from this process and from the file `.env` beside the compose file. Nothing is fetched or included.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from migrator.errors import UsageError
from migrator.operations.detect.env_file import fill_in, parse_env_file
from migrator.operations.detect.environment import (
    Environment,
    environment,
    parse_yaml,
    printable_path,
    read_text,
    with_variables,
)
from migrator.settings.folders import expand_user


def from_compose(path: Path, environ: Mapping[str, str] = os.environ) -> list[Environment]:
    """Those of the services of a compose file. Raises `UsageError`."""
    documents = parse_yaml(path)
    services = documents[0].get("services") if len(documents) == 1 and isinstance(documents[0], dict) else None
    if not isinstance(services, dict):
        raise UsageError(f"{path}: a compose file has an object `services`")
    folder = Path() if str(path) == "-" else path.parent
    known = {**_beside(folder), **environ}
    found = [
        _service(f"service {name} (in {printable_path(path)})", str(name), each, folder, known)
        for name, each in services.items()
        if isinstance(each, dict)
    ]
    return with_variables(found, path)


def _beside(folder: Path) -> dict[str, str]:
    file = folder / ".env"
    return parse_env_file(file, read_text(file), os.environ)[0] if file.is_file() else {}


def _service(origin: str, name: str, service: Mapping[str, Any], folder: Path, known: Mapping[str, str]) -> Environment:
    variables: dict[str, str] = {}
    unresolved: dict[str, str] = {}
    absent: list[str] = []

    def put(taken: Mapping[str, str], elsewhere: Mapping[str, str]) -> None:
        for each in (*taken, *elsewhere):
            variables.pop(each, None)
            unresolved.pop(each, None)
        variables.update(taken)
        unresolved.update(elsewhere)

    for text, is_required in _files(service.get("env_file")):
        file = folder / expand_user(fill_in(text, known)[0])
        if file.is_file():
            put(*parse_env_file(file, read_text(file), known))
        elif is_required:
            absent.append(f"the env file {text}")
    put(*_inline(service.get("environment"), known))
    command = " ".join(_words(service.get("entrypoint")) + _words(service.get("command")))
    return environment(
        origin,
        variables,
        unresolved,
        absent=tuple(absent),
        named=f"{name} {service.get('image', '')}",
        arguments=command,
    )


def _words(value: Any) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else [str(value)] if value else []


def _files(value: Any) -> list[tuple[str, bool]]:
    """The env files of a service, each with whether it has to be there."""
    found = []
    for each in value if isinstance(value, list) else [value] if value else []:
        if isinstance(each, dict):
            found.append((str(each.get("path", "")), each.get("required") is not False))
        else:
            found.append((str(each), True))
    return found


def _inline(value: Any, known: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """`environment` as a list or an object; a name without a value takes it from the surrounding environment."""
    variables: dict[str, str] = {}
    unresolved: dict[str, str] = {}
    entries: list[tuple[str, str | None]] = []
    if isinstance(value, dict):
        entries = [(str(name), None if text is None else _text(text)) for name, text in value.items()]
    else:
        for each in value if isinstance(value, list) else []:
            entry, equals, value_text = str(each).partition("=")
            entries.append((entry, value_text if equals else None))
    for name, text in entries:
        filled, missing = fill_in(f"${{{name}}}" if text is None else text, known)
        if missing:
            unresolved[name] = f"the variable {missing[0]}"
        else:
            variables[name] = filled
    return variables, unresolved


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
