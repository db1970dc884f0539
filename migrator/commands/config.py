"""`migrator config`: what the configuration comes to, and whether it holds."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click
from click.core import ParameterSource

from migrator.commands.completing import stores
from migrator.commands.messages import current
from migrator.commands.options import (
    config_option,
    examples,
    json_option,
    log_format_option,
    quiet_option,
    state_option,
)
from migrator.commands.output import print_json, print_json_text, print_text
from migrator.errors import MigratorError, UsageError
from migrator.events import LoginWarning
from migrator.text.printable import printable_path

if TYPE_CHECKING:
    from migrator.settings.config import Config
    from migrator.settings.logins import Source


@click.group(
    "config",
    invoke_without_command=True,
    epilog=examples("migrator config show", "migrator config check --connect"),
)
@click.pass_context
def config_command(context: click.Context) -> None:
    """Show or check the configuration.

    The configuration is read from --config, otherwise from the file that MIGRATOR_CONFIG names, otherwise from the
    first that exists of ./migrator.toml, the user's migrator.toml and /etc/migrator/migrator.toml.
    """
    from migrator.commands.main import help_without_command

    help_without_command(context)


@config_command.command("show", epilog=examples("migrator config show", "migrator config show --json | jq .settings"))
@config_option
@state_option
@log_format_option
@json_option
@click.pass_context
def show_command(
    context: click.Context,
    config: Path | None,
    state: Path | None,  # noqa: ARG001  its value and origin are taken from the context, as the others'
    as_json: bool,
) -> None:
    """Show the effective configuration, and where each value comes from.

    For each secret it shows where it comes from and whether it is set; no secret is fetched.
    """
    from migrator.settings.config import load

    loaded = load(config)
    shown = {
        "file": str(loaded.path) if loaded.path else None,
        "settings": _settings(context, loaded),
        "stores": {name: _store(name, loaded) for name in loaded.stores},
        "environment": _environment(),
    }
    for warning in loaded.warnings:
        current.get().tell(LoginWarning(warning))
    if as_json:
        print_json_text(json.dumps(shown, indent=2, ensure_ascii=False))
    else:
        print_text(_as_text(shown))


def _settings(context: click.Context, config: Config) -> dict[str, dict[str, Any]]:
    """Value and origin of each option that has a default in environment or file."""
    from migrator.commands.copy import copy_command
    from migrator.settings.config import Defaults, settings
    from migrator.settings.folders import user_state

    built_in = {
        each.name: each.process_value(context, each.get_default(context))
        for each in copy_command.params
        if each.name in Defaults.__struct_fields__
    }
    with suppress(UsageError):  # a user without a home has no default
        built_in["state"] = printable_path(user_state())
    found = settings(config)
    shown: dict[str, dict[str, Any]] = {}
    for name in Defaults.__struct_fields__:
        value: Any
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            value, origin = str(context.params[name]), f"flag --{name.replace('_', '-')}"
        elif name in found:
            value, origin = found[name]
        else:
            value, origin = built_in[name], "default"
        shown[name] = {"value": value if isinstance(value, str | int | float) else None, "origin": origin}
    return shown


def _store(name: str, config: Config) -> dict[str, Any]:
    """A named store as it is shown; what is wrong with it is said in its place."""
    from migrator.settings.config import read_named_location, read_named_sources

    try:
        parsed = read_named_location(name, config)
        sources = read_named_sources(name, config)
    except UsageError as error:
        return {"problem": str(error)}
    table = config.stores[name]
    shown: dict[str, Any] = {"location": parsed.location.printed}
    shown |= {"user": parsed.user} if parsed.user else {}
    shown |= {"login": str(parsed.login)} if parsed.login else {}
    for key in ("ca_file", "client_cert", "client_key", "iam_url", "encrypt_to", "identity_file"):
        shown |= {key: value} if (value := getattr(table, key)) else {}
    shown |= {} if table.verify else {"verify": False}
    secrets = {"password": {"set": True, "origin": "location"}} if parsed.secret else {}
    secrets |= {secret: _secret(source) for secret, source in sources.items()}
    return {**shown, "secrets": secrets}


def _environment() -> dict[str, Any]:
    """The secrets that the environment has for plain locations."""
    from migrator.settings.config import Role, environment_sources

    return {
        f"{role} {secret}": _secret(source)
        for role in get_args(Role)
        for secret, source in environment_sources(role).items()
    }


def _secret(source: Source) -> dict[str, Any]:
    return {"set": source.is_set, "origin": source.origin}


_IS_SET = {True: "set", False: "NOT SET", None: "not fetched"}


def _as_text(shown: dict[str, Any]) -> str:
    lines = [f"file  {shown['file'] or 'none'}", "", "settings"]
    for name, setting in shown["settings"].items():
        value = "-" if setting["value"] is None else setting["value"]
        lines.append(f"  {name:<12} {value!s:<36} {setting['origin']}")
    for name, store in shown["stores"].items():
        lines += ["", f"store {name}"]
        for key, value in store.items():
            if key != "secrets":
                lines.append(f"  {key:<12} {value}")
        lines += _secret_lines(store.get("secrets", {}))
    if shown["environment"]:
        lines += ["", "for plain locations", *_secret_lines(shown["environment"])]
    return "\n".join(lines)


def _secret_lines(secrets: dict[str, Any]) -> list[str]:
    width = max(map(len, secrets), default=0)
    return [f"  {name:<{max(width, 12)}} {_IS_SET[each['set']]} ({each['origin']})" for name, each in secrets.items()]


@config_command.command(
    "check",
    epilog=examples(
        "migrator config check", "migrator config check --connect prod", "migrator config check --config new.toml"
    ),
)
@click.argument("names", metavar="[STORE]...", nargs=-1, shell_complete=stores)
@click.option("--connect", is_flag=True, help="Connect and log in to each store, and print its product and version.")
@config_option
@quiet_option
@log_format_option
@json_option
def check_command(
    names: tuple[str, ...],
    connect: bool,
    config: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Check the configuration file, and location, login and secrets of each STORE, by default of all.

    Secrets are fetched as a copy would fetch them; commands are run.

    Exit codes: 0 all is well; otherwise the highest of 2 configuration, 5 unavailable, 6 login refused, 10 not found.
    """
    from migrator.settings.config import load, resolve

    loaded = load(config)
    if loaded.path is None:
        raise UsageError("there is no migrator.toml to check; give one with --config")
    for name in names:
        if name not in loaded.stores:
            resolve(name, "source", loaded)
            raise UsageError(f"{loaded.path}: give names of its stores; `migrator config show` lists them")
    told: set[str] = set()
    worst = 0
    for name in names or loaded.stores:
        verdict, code = check_store(name, loaded, connect=connect, told=told)
        worst = max(worst, code)
        if as_json:
            print_json({"store": name, "exit_code": code, "message": verdict})
        elif code or not quiet:
            print_text(f"{name}: {verdict}")
    if not loaded.stores and not quiet and not as_json:
        print_text(f"{loaded.path}: OK; it names no stores")
    sys.exit(worst)


def check_store(name: str, config: Config, *, connect: bool, told: set[str]) -> tuple[str, int]:
    """One line about a store, and the exit code that goes with it."""
    from migrator.settings.config import resolve

    try:
        store, warnings = resolve(name, "source", config)
        for warning in warnings:
            if warning not in told:
                current.get().tell(LoginWarning(warning))
                told.add(warning)
        where = f"{store.location.printed}, login {store.login.kind}"
        if not connect:
            return f"{where}: OK", 0
        from migrator.adapters.opening import open_reader

        reader = open_reader(store)
        try:
            found = reader.describe()
        finally:
            reader.close()
        return f"{where}: reachable, {found.product} {found.version}", 0
    except MigratorError as error:
        return str(error), error.exit_code
