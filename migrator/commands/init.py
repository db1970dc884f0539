"""`migrator init`: a first configuration and a first schedule, asked for or read from OpenWhisk's own variables."""

from __future__ import annotations

import os
import re
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from migrator.commands.messages import current
from migrator.commands.options import examples, log_format_option
from migrator.commands.output import print_text
from migrator.errors import MigratorError, UsageError
from migrator.text.printable import printable_path

if TYPE_CHECKING:
    from migrator.operations.setup import NewStore, Setup
    from migrator.settings.stores import Store

_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)
_SHAPES = """\
A location is such as couchdb://USER@HOST:5984/whisk_local_activations
or elasticsearch://HOST:9200; with TLS, couchdbs:// and elasticsearchs://"""
_ARCHIVE = "archive:/var/backups/openwhisk"


@click.command(
    "init",
    epilog=examples(
        "migrator init",
        "migrator init --from-env --archive s3://backups/openwhisk",
        "migrator init /etc/migrator --env-file controller.env --archive archive:/var/backups/openwhisk",
        "migrator init --source couchdb://admin@db1/whisk_local_activations --archive archive:backups --at 02:15",
    ),
)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=".")
@click.option("--from-env", is_flag=True, help="Take the stores from OpenWhisk's variables in this environment.")
@click.option(
    "--env-file",
    type=click.Path(path_type=Path, allow_dash=True),
    multiple=True,
    metavar="FILE",
    help="Take them from this file of lines NAME=VALUE; repeatable.",
)
@click.option("--source", metavar="LOCATION", help="Back up this store; asked for by default.")
@click.option("--archive", metavar="LOCATION", help="Back up to this archive; asked for by default.")
@click.option("--at", metavar="HH:MM", help="Back up at this time of the day; asked for by default.")
@click.option("--offline", is_flag=True, help="Don't connect to the stores.")
@log_format_option
def init_command(
    folder: Path,
    from_env: bool,
    env_file: tuple[Path, ...],
    source: str | None,
    archive: str | None,
    at: str | None,
    offline: bool,
) -> None:
    """Write a first migrator.toml and a first schedule to FOLDER.

    Asks which store holds the activations, for its password, and where and when to back up; or takes the stores from
    OpenWhisk's own variables (--from-env, --env-file). Passwords go to files of their own that only you can read, or
    stay in the environment. Nothing that exists is changed. Both files are checked, and each store is contacted.

    Exit codes: 0 written and checked; 2 wrong answer, or a file exists; otherwise what the check found: 5 store
    unavailable, 6 login refused, 10 not found. The files stay.
    """
    from migrator.operations.setup import Setup, write_setup

    if source is not None and (from_env or env_file):
        raise UsageError("--source names the store; omit --from-env and --env-file")
    stores = _from_variables(from_env, env_file) if from_env or env_file else (_asked_store(source),)
    setup = Setup(
        stores=stores,
        archive=_archive(archive or _ask("Back up to (a folder or a bucket)", _ARCHIVE, "--archive")),
        cron=_cron(at or _ask("Every day at", "02:15", "--at")),
        timezone=_timezone(),
    )
    for path in write_setup(setup, folder):
        print_text(f"wrote {printable_path(path)}")
    code = _check(setup, folder, offline=offline)
    _tell_what_is_next(folder, code)
    sys.exit(code)


# -- answers --------------------------------------------------------------------------------------------------------


def _ask(what: str, default: str | None, option: str) -> str:
    """An answer of a person; without a terminal the default where there is one."""
    if not sys.stdin.isatty():
        if default is None:
            raise UsageError(f"there is no terminal to ask at; give {option}")
        return default
    return str(click.prompt(what, default=default, err=True)).strip()


def _asked_store(source: str | None) -> NewStore:
    from migrator.operations.setup import NewStore
    from migrator.settings.locations import parse_location

    while True:
        if source is None and sys.stdin.isatty():
            print_text(_SHAPES, err=True)
        text = source or _ask("The store with the activations", None, "--source")
        try:
            if not parse_location(text).location.hosts:
                raise UsageError(f"{text}: give the location of a CouchDB or an Elasticsearch")
            return NewStore(name="openwhisk", store=_resolve(text))
        except UsageError as error:
            if source is not None or not sys.stdin.isatty():
                raise
            current.get().warn(str(error))


def _resolve(text: str) -> Store:
    """The store with its login; a password is asked for, and one in the location goes to a file."""
    from migrator.commands.running import ask_for_secret
    from migrator.settings.config import Config, resolve

    return resolve(text, "source", Config(), ask=ask_for_secret)[0]


def _from_variables(from_env: bool, env_file: tuple[Path, ...]) -> tuple[NewStore, ...]:
    from migrator.operations.detect import environments
    from migrator.operations.setup import stores_of

    found = [environments.from_process()] if from_env else []
    return stores_of([*found, *map(environments.from_env_file, env_file)], os.environ if from_env else {})


def _archive(text: str) -> str:
    from migrator.settings.locations import parse_location

    location = parse_location(text).location
    if location.kind != "archive":
        raise UsageError(f"{text}: not an archive; give a folder, archive:/var/backups/openwhisk, or a bucket")
    return location.printed


def _cron(text: str) -> str:
    found = _TIME.fullmatch(text)
    if found is None:
        raise UsageError(f"--at {text}: give a time such as 02:15")
    return f"{int(found[2])} {int(found[1])} * * *"


def _timezone() -> str:
    """The zone of this machine, as far as it has a name; else UTC."""
    for path in (Path("/etc/localtime"),):
        name = str(path.resolve()).partition("/zoneinfo/")[2]
        if name and "/" in name:
            return name
    return "UTC"


# -- the check ------------------------------------------------------------------------------------------------------


def _check(setup: Setup, folder: Path, *, offline: bool) -> int:
    from migrator.commands.config import check_store
    from migrator.operations.setup import CONFIG, SCHEDULE
    from migrator.scheduling.files import find_schedule
    from migrator.settings.config import load

    loaded, worst = load(folder / CONFIG), 0
    told: set[str] = set()
    for each in setup.stores:
        verdict, code = check_store(each.name, loaded, connect=not offline, told=told)
        if code:
            current.get().error(f"{each.name}: {verdict}", exit_code=code)
        else:
            print_text(f"{each.name}: {verdict}")
        worst = max(worst, code)
    try:
        schedule = find_schedule(SCHEDULE, folder / "schedules")
        begins = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(schedule.trigger.next(time.time())))
        print_text(f"schedule {SCHEDULE}: OK, due at {begins}")
    except MigratorError as error:
        current.get().error(str(error), exit_code=error.exit_code)
        worst = max(worst, error.exit_code)
    return worst


def _tell_what_is_next(folder: Path, code: int) -> None:
    from migrator.operations.setup import CONFIG, SCHEDULE

    here = folder.resolve() == Path.cwd()
    place = shlex.quote(printable_path(folder / "schedules"))
    config = "" if here else f" --config {shlex.quote(printable_path(folder / CONFIG))}"
    schedules = "" if here else f" --schedules {place}"
    print_text("")
    if code:
        print_text("Correct migrator.toml, then check it:")
        print_text(f"    migrator config check --connect{config}")
        return
    print_text("Make the first backup, and look at it:")
    print_text(f"    migrator schedule run {SCHEDULE} --once{schedules}{config}")
    print_text(f"    migrator schedule list{schedules}{config}")
    print_text("Then keep to the schedule, as a service:")
    print_text(f"    migrator schedule run{'' if here else f' {place}'}{config}")
