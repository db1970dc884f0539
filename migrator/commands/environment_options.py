"""The options that name where OpenWhisk's variables are read from, for `detect` and `find`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

if TYPE_CHECKING:
    from migrator.operations.detect.environment import Environment

F = TypeVar("F", bound=Callable[..., Any])

_FILE = click.Path(path_type=Path, allow_dash=True)
_OPTIONS = (
    ("env-file", "FILE", "Read variables from lines NAME=VALUE, as Docker Compose takes them."),
    ("kubernetes", "FILE", "Read variables from manifests, or the output of kubectl get … -o yaml."),
    ("helm-values", "FILE", "Read variables from the values of OpenWhisk's Helm chart."),
    ("compose", "FILE", "Read variables from a compose file and the env files that it names."),
    ("ansible", "PATH", "Read variables from an inventory of OpenWhisk's playbooks (ansible/environments/NAME)."),
    ("docker-inspect", "FILE", "Read variables from the output of docker inspect."),
)


def environment_options(command: F) -> F:
    """The options, as one argument `environments`; without any of them it is the environment of this process."""

    @wraps(command)
    def with_environments(**parameters: Any) -> Any:
        paths = {name: parameters.pop(name.replace("-", "_")) for name, _, _ in _OPTIONS}
        return command(environments=_read(paths, parameters.pop("pid")), **parameters)

    found: Any = with_environments
    for option in reversed(
        (
            *(
                click.option(f"--{name}", type=_FILE, multiple=True, metavar=metavar, help=help)
                for name, metavar, help in _OPTIONS
            ),
            click.option("--pid", type=int, multiple=True, metavar="PID", help="Read the environment of a process."),
        )
    ):
        found = option(found)
    return cast("F", found)


def _read(paths: dict[str, tuple[Path, ...]], pids: tuple[int, ...]) -> list[Environment]:
    from migrator.operations.detect import environments as read

    found = [read.from_env_file(path) for path in paths["env-file"]]
    for name, from_file in (
        ("kubernetes", read.from_kubernetes),
        ("helm-values", read.from_helm_values),
        ("compose", read.from_compose),
        ("ansible", read.from_ansible),
        ("docker-inspect", read.from_docker_inspect),
    ):
        for path in paths[name]:
            found += from_file(path)
    found += [read.from_pid(number) for number in pids]
    return found or [read.from_process()]
