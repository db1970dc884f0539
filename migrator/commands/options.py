"""Options that several commands share, and how environment and configuration give their defaults.

Precedence: the command line, then the environment (MIGRATOR_JOBS), then `[defaults]` in migrator.toml, then what the
command itself says.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from migrator.commands.messages import current
from migrator.errors import UsageError

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
    from migrator import config

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
    if any(not value.strip() for value in values):
        raise UsageError(f"--{parameter.name.rstrip('s') if parameter.name else ''}: give a name, not an empty text")
    return values


def _a_moment(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Refuse an impossible date before anything is opened; what it means is fixed when a job begins."""
    if value is not None:
        from migrator.records import parse_moment

        parse_moment(value, now_ms=int(time.time() * 1000))
    return value


# -- the options ------------------------------------------------------------------------------------------------

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    is_eager=True,  # before the options whose defaults it holds
    callback=_on_config,
    metavar="FILE",
    help="The configuration; without it MIGRATOR_CONFIG, ./migrator.toml, the user's, /etc/migrator/migrator.toml.",
)

state_option = click.option(
    "--state",
    cls=_StateOption,
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where jobs are kept; by default the platform's folder for state, such as ~/.local/state/migrator.",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")

quiet_option = click.option(
    "--quiet", "-q", is_flag=True, callback=_on_quiet, help="No progress and no notes; warnings and errors stay."
)

log_format_option = click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    callback=_on_log_format,
    help="How messages and progress are told on stderr.",
)


def selection_options(command: F) -> F:
    """`--namespace`, `--name`, `--since`, `--until`: the arguments `namespaces`, `names`, `since`, `until`."""
    for option in reversed(
        (
            click.option(
                "--namespace",
                "namespaces",
                multiple=True,
                callback=_not_empty,
                metavar="NAME",
                help="Only this namespace, or those that a glob such as 'team-*' takes; may be given several times.",
            ),
            click.option(
                "--name",
                "names",
                multiple=True,
                callback=_not_empty,
                metavar="NAME",
                help="Only activations of this action (hello), package/action or path; may be given several times.",
            ),
            click.option(
                "--since",
                callback=_a_moment,
                metavar="TIME",
                help="Only those that started then or later: 2026-11-01, 2026-11-01T12:00:00Z, an epoch, 7d (ago).",
            ),
            click.option(
                "--until", callback=_a_moment, metavar="TIME", help="Only those that started before; as for --since."
            ),
        )
    ):
        command = option(command)
    return command
