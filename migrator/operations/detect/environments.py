"""The environment of an OpenWhisk component, wherever it is written down.

A file, a process id or this process's own environment enters; an `Environment` leaves. Values may be secrets: an
`Environment` shows none of them. Knows nothing of what they mean.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from migrator.errors import AccessDenied, NotFound, UsageError
from migrator.operations.detect.ansible import from_ansible
from migrator.operations.detect.compose import from_compose
from migrator.operations.detect.env_file import parse_env_file
from migrator.operations.detect.environment import (
    Environment,
    environment,
    parse_yaml,
    printable_path,
    read_text,
    with_variables,
)
from migrator.operations.detect.helm import from_helm_values
from migrator.operations.detect.kubernetes import read_containers

__all__ = [
    "Environment",
    "from_ansible",
    "from_compose",
    "from_docker_inspect",
    "from_env_file",
    "from_helm_values",
    "from_kubernetes",
    "from_pid",
    "from_process",
]


def from_process(environ: Mapping[str, str] = os.environ) -> Environment:
    """That of this process: detect runs inside of a pod, or was given the variables by a shell."""
    return environment("the environment of this process", environ)


def from_env_file(path: Path) -> Environment:
    """Lines NAME=VALUE, as Docker Compose takes them. Raises `UsageError`."""
    variables, unresolved = parse_env_file(path, read_text(path), os.environ)
    return environment(f"the env file {printable_path(path)}", variables, unresolved)


def from_pid(pid: int) -> Environment:
    """That of a running process, as it was when the process started, with its arguments. Linux only."""
    path = Path(f"/proc/{pid}/environ")
    try:
        text = path.read_bytes().decode(errors="replace")
        arguments = path.with_name("cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
    except FileNotFoundError:
        raise NotFound(f"{path}: there is no such process, or no /proc; look with ps") from None
    except PermissionError:
        raise AccessDenied(f"{path}: it belongs to another user; run as that user or as root") from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    pairs = dict(entry.partition("=")[::2] for entry in text.split("\0") if "=" in entry)
    return environment(f"the environment of process {pid}", pairs, arguments=arguments)


def from_docker_inspect(path: Path) -> list[Environment]:
    """Those of the containers that `docker inspect` describes. Raises `UsageError`."""
    try:
        environments = []
        for each in json.loads(read_text(path)):
            name, config = str(each["Name"]).lstrip("/"), each["Config"]
            environments.append(
                environment(
                    f"container {name} (in {printable_path(path)})",
                    dict(entry.partition("=")[::2] for entry in config.get("Env") or ()),
                    named=f"{name} {config.get('Image') or ''}",
                    arguments=" ".join([*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ())]),
                )
            )
    except (ValueError, TypeError, KeyError, AttributeError):
        raise UsageError(f"{path}: not what `docker inspect CONTAINER` prints") from None
    return with_variables(environments, path)


def from_kubernetes(path: Path) -> list[Environment]:
    """Those of the containers in manifests, as they are applied or as `kubectl get -o yaml` prints them.

    ConfigMaps and Secrets are looked up in the same file. Raises `UsageError`.
    """
    environments = [
        environment(
            f"{each.name} (in {printable_path(path)})",
            each.variables,
            each.unresolved,
            absent=each.absent,
            named=each.named,
            arguments=each.arguments,
        )
        for each in read_containers(parse_yaml(path))
    ]
    return with_variables(environments, path)
