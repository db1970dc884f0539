"""Options that several commands share, and how environment and configuration give their defaults.

Precedence: the command line, then the environment (MIGRATOR_JOBS), then `[defaults]` in migrator.toml, then what the
command itself says.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from migrator.commands.messages import current
from migrator.errors import UsageError
from migrator.text.units import parse_bytes, parse_duration, parse_percent

if TYPE_CHECKING:
    from migrator.activations.selection import SelectionSpec

F = TypeVar("F", bound=Callable[..., Any])

_LOADED = "migrator.commands.options.loaded"


def examples(*lines: str) -> str:
    """The epilog of a command's help: its examples, line by line as they are."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


# -- defaults ---------------------------------------------------------------------------------------------------


def _use_defaults(context: click.Context, path: Path | None) -> None:
    """Let environment and configuration give the defaults of this command's options; done once a command."""
    if context.resilient_parsing or context.meta.get(_LOADED):
        return
    from migrator.settings import config

    context.meta[_LOADED] = True
    found = config.settings(config.load(path))
    names = {parameter.name for parameter in context.command.params}
    context.default_map = {name: setting.value for name, setting in found.items() if name in names}


def _on_config(context: click.Context, _: click.Parameter, path: Path | None) -> Path | None:
    _use_defaults(context, path)
    return path


def _on_log_format(_: click.Context, __: click.Parameter, value: str) -> str:
    current.set(replace(current.get(), as_json=value == "json"))
    return value


def _on_quiet(_: click.Context, __: click.Parameter, value: bool) -> bool:
    current.set(replace(current.get(), quiet=value))
    return value


class _StateOption(click.Option):
    """`--state`, which has its default from the configuration even where a command takes no `--config`."""

    def consume_value(self, context: click.Context, opts: Any) -> Any:
        _use_defaults(context, None)
        return super().consume_value(context, opts)


def _not_empty(_: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    option = f"--{parameter.name.rstrip('s') if parameter.name else ''}"
    if any(not value.strip() for value in values):
        raise UsageError(f"{option}: give a name, not an empty text")
    if any("\udc80" <= char <= "\udcff" for value in values for char in value):
        raise UsageError(f"{option}: the name isn't UTF-8 text, and no store has one that isn't")
    return values


def _a_moment(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Refuse an impossible date before anything is opened; what it means is fixed when a job begins."""
    if value is not None:
        from migrator.activations.selection import parse_moment

        parse_moment(value, now_ms=int(time.time() * 1000))
    return value


# -- the options ------------------------------------------------------------------------------------------------

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    is_eager=True,  # before the options whose defaults it holds
    callback=_on_config,
    metavar="FILE",
    help="Configuration file; default: $MIGRATOR_CONFIG, ./migrator.toml, the user's, /etc/migrator/migrator.toml.",
)

state_option = click.option(
    "--state",
    cls=_StateOption,
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Folder for the state of jobs; by default the platform's, such as ~/.local/state/migrator.",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")

quiet_option = click.option(
    "--quiet", "-q", is_flag=True, callback=_on_quiet, help="Print no progress and no notes, only warnings and errors."
)

log_format_option = click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    callback=_on_log_format,
    expose_value=False,  # all that prints asks `messages.current`
    help="Format of messages and progress on stderr.",
)


def parse_size(name: str, value: str, *, example: str) -> int:
    """The bytes of a size with its unit; `name` is the option's. Raises `UsageError`."""
    found = parse_bytes(value)
    if found is None:
        raise UsageError(f"{name} {value}: give a size such as {example}")
    return found


def share_option(*, example: str, help: str) -> Callable[[F], F]:
    """`--sample`, a share such as 1%; the argument is from 0 to 1."""

    def as_share(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
        if value is None:
            return None
        found = parse_percent(value)
        if found is None:
            raise UsageError(f"--sample {value}: give a share such as {example}")
        return found / 100

    return click.option("--sample", callback=as_share, metavar="SHARE", help=help)


def size_option(name: str, *, default: str, help: str) -> Callable[[F], F]:
    """An option whose value is a size with its unit, such as 32MiB; the argument is in bytes."""

    def in_bytes(_: click.Context, __: click.Parameter, value: str) -> int:
        return parse_size(name, value, example=default)

    return click.option(name, default=default, show_default=True, callback=in_bytes, metavar="SIZE", help=help)


def _in_seconds(_: click.Context, __: click.Parameter, value: str) -> float:
    with suppress(ValueError):
        return float(value)
    found = parse_duration(value)
    if found is None:
        raise UsageError(f"--retry-for {value}: give a number of seconds, or a duration such as 90s, 5m or 2h")
    return float(found)


def retry_for_option(help: str) -> Callable[[F], F]:
    """`--retry-for`, a number of seconds or a duration with its unit; the argument is in seconds."""
    return click.option(
        "--retry-for", default="5m", show_default=True, callback=_in_seconds, metavar="DURATION", help=help
    )


def _max_rate_option(help: str) -> Callable[[F], F]:
    return click.option("--max-rate", callback=_number_if_it_is_one, metavar="RATE", help=help)


def _number_if_it_is_one(_: click.Context, __: click.Parameter, value: Any) -> float | str | None:
    try:
        return None if value is None else float(value)
    except ValueError:
        return str(value)


def run_options(command: F) -> F:
    """How a run that writes goes about it; with `--state` it is one argument, `keywords`, those of `runs.Run`."""
    return with_options(
        pack(command, "keywords", _keywords, *_RUN, "max_rejects", "dry_run", "executor"),
        click.option(
            "--executor",
            default="threads",
            show_default=True,
            metavar="threads|processes|dask://HOST:PORT",
            help="Copy slices in threads or processes here, or on the workers of a Dask cluster.",
        ),
        click.option(
            "--jobs", "-j", type=int, default=4, show_default=True, help="Number of slices copied in parallel."
        ),
        click.option(
            "--max-rejects",
            type=int,
            default=10_000,
            show_default=True,
            help="Stop after this many rejected documents.",
        ),
        _max_rate_option("Read at most this much: 500/s, 20MB/s, '08:00 500/s, 20:00 off'; see also `control`."),
        retry_for_option("Wait this long for an unavailable server or a full disk, then stop; resumable."),
        click.option(
            "--dry-run", "-n", is_flag=True, help="Read everything and show what would be written; write nothing."
        ),
        click.option(
            "--restart", is_flag=True, help="Discard the progress of earlier runs of this job, and start over."
        ),
    )


def read_only_options(command: F) -> F:
    """The same of a run that only reads."""
    return with_options(
        pack(command, "keywords", _keywords, *_RUN),
        click.option(
            "--jobs",
            "-j",
            type=int,
            default=4,
            show_default=True,
            help="Number of slices read in parallel, on both sides together.",
        ),
        _max_rate_option("Read at most this much from each side: 500/s, 20MB/s, '08:00 500/s, 20:00 off'."),
        retry_for_option("Wait this long for an unavailable server, then stop; resumable."),
        click.option("--restart", is_flag=True, help="Discard the progress of an interrupted run, and start over."),
    )


_RUN = ("jobs", "max_rate", "retry_for", "restart", "state")


def _keywords(*, retry_for: float, **options: Any) -> dict[str, Any]:
    return {**options, "retry_for_s": retry_for}


listen_option = click.option(
    "--listen",
    metavar="[ADDRESS:]PORT",
    help="Serve a page, /health and /metrics there while it runs, on the loopback address unless you give one.",
)


namespace_option = click.option(
    "--namespace",
    "namespaces",
    multiple=True,
    callback=_not_empty,
    metavar="NAME",
    help="Only this namespace; globs such as 'team-*' allowed; repeatable.",
)


def selection_options(command: F) -> F:
    """`--namespace`, `--name`, `--since`, `--until`, as one argument `wanted`."""
    return with_options(
        pack(command, "wanted", _selection_spec, "namespaces", "names", "since", "until"),
        namespace_option,
        click.option(
            "--name",
            "names",
            multiple=True,
            callback=_not_empty,
            metavar="NAME",
            help="Only activations of this action (hello), package/action or path; repeatable.",
        ),
        click.option(
            "--since",
            callback=_a_moment,
            metavar="TIME",
            help="Only activations started at or after TIME: 2026-11-01, 2026-11-01T12:00:00Z, an epoch, 7d (ago).",
        ),
        click.option(
            "--until", callback=_a_moment, metavar="TIME", help="Only activations started before TIME; as for --since."
        ),
    )


def _selection_spec(**selection: Any) -> SelectionSpec:
    from migrator.activations.selection import SelectionSpec

    return SelectionSpec(**selection)


def state_choice_options(command: F) -> F:
    """`--backup` and `--at`: which state of an archive is read."""
    return with_options(
        command,
        click.option("--backup", metavar="ID", help="Read this backup, with all it builds on; by default the newest."),
        click.option("--at", metavar="TIME", help="Read the newest backup that was complete at TIME; as for --since."),
    )


identity_option = click.option(
    "--identity",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File with age secret keys, to read encrypted backups; by default $MIGRATOR_IDENTITY.",
)


def pack(command: F, argument: str, pack_values: Callable[..., Any], *names: str) -> F:
    """The command with its parameters of these names handed over as one argument."""

    @wraps(command)
    def pack_parameters(**parameters: Any) -> Any:
        parameters[argument] = pack_values(**{name: parameters.pop(name) for name in names})
        return command(**parameters)

    return cast("F", pack_parameters)


def with_options(command: F, *options: Callable[[F], F]) -> F:
    """The command with options, shown in their order."""
    for option in reversed(options):
        command = option(command)
    return command
