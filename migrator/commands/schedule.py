"""`migrator schedule`: keep to schedules, run one of them now, and say how they stand."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from migrator.commands.completing import schedules as complete_schedules
from migrator.commands.messages import current
from migrator.commands.options import (
    config_option,
    examples,
    json_option,
    log_format_option,
    quiet_option,
    state_option,
)
from migrator.commands.output import print_json, print_text
from migrator.commands.terminal import width
from migrator.errors import UsageError
from migrator.events import Listening, LoginWarning

if TYPE_CHECKING:
    from migrator.commands import running
    from migrator.scheduling.daemon import Daemon
    from migrator.scheduling.files import Schedule
    from migrator.scheduling.state import Run
    from migrator.settings.config import Role
    from migrator.settings.stores import Secret, Store

_TROUBLE = 3

schedules_option = click.option(
    "--schedules",
    type=click.Path(path_type=Path),
    envvar="MIGRATOR_SCHEDULES",
    metavar="FOLDER",
    help="Folder of schedule files; by default ./schedules, the user's, or /etc/migrator/schedules.",
)


@click.group(
    "schedule",
    invoke_without_command=True,
    epilog=examples(
        "migrator schedule check", "migrator schedule run /etc/migrator/schedules", "migrator schedule list"
    ),
)
@click.pass_context
def schedule_command(context: click.Context) -> None:
    """Back up, copy or verify on a schedule.

    A schedule is a TOML file in a folder, named after the file. docs/backups.md describes the format, and how to get
    alerts when a schedule stops working.
    """
    from migrator.commands.main import help_without_command

    help_without_command(context)


# -- run --------------------------------------------------------------------------------------------------------


@schedule_command.command(
    "run",
    epilog=examples(
        "migrator schedule run",
        "migrator schedule run /etc/migrator/schedules --listen 9464 --textfile /var/lib/node_exporter",
        "migrator schedule run nightly --once",
    ),
)
@click.argument("what", required=False, metavar="[FOLDER|NAME]", shell_complete=complete_schedules)
@click.option("--once", is_flag=True, help="Run the schedule NAME now and exit, for cron, systemd and Kubernetes.")
@schedules_option
@click.option(
    "--listen",
    metavar="[ADDRESS:]PORT",
    help="Serve a page, /live, /health and /metrics there, on the loopback address unless you give one.",
)
@click.option(
    "--textfile",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="MIGRATOR_TEXTFILE",
    metavar="FOLDER",
    help="Write metrics for the Prometheus node exporter to this folder after every run.",
)
@click.option(
    "--parallel",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    help="Number of schedules that run in parallel.",
)
@config_option
@state_option
@json_option
@quiet_option
@log_format_option
def run_command(
    what: str | None,
    once: bool,
    schedules: Path | None,
    listen: str | None,
    textfile: Path | None,
    parallel: int,
    config: Path | None,
    state: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run the schedules of FOLDER until stopped; with --once, run the schedule NAME now.

    The daemon reloads schedule files when they change, and all of them on SIGHUP; an invalid file is reported and the
    other schedules keep running. Runs missed while it was down are made up for once. SIGTERM stops it; the next run
    resumes a backup that was interrupted.

    NAME is a schedule of the folder, or the path of its file. --once takes the same lock as the daemon, so the two
    never run a schedule at the same time.

    Exit codes of --once: as for backup, copy and verify; 11 the schedule is already running; 12 the backup is damaged.
    The daemon exits with 0 when it is stopped.
    """
    from migrator.commands import running
    from migrator.settings.folders import user_state

    if textfile is not None and not textfile.is_dir():
        raise UsageError(f"--textfile {textfile}: there is no such folder")
    folder = state or user_state()
    with running.run(quiet=quiet) as run:
        if not once:
            _serve(what, schedules, listen, textfile, parallel, config, folder, run)
            return
        if what is None:
            raise UsageError("--once runs one schedule; give its name (`migrator schedule list` shows them)")
        if listen:
            raise UsageError("--listen is for the daemon; with --once use --textfile")
        ended = _run_once(what, schedules, textfile, config, folder, run)
    if as_json:
        print_json(ended)
    if not ended.succeeded:
        current.get().error(f"{ended.schedule}: {ended.message}", exit_code=ended.exit_code)
    sys.exit(ended.exit_code)


def _run_once(
    name: str, schedules: Path | None, textfile: Path | None, config: Path | None, state: Path, run: running.Run
) -> Run:
    from migrator.scheduling.files import default_folder, find_schedule
    from migrator.scheduling.running import end_event, run_schedule

    schedule = find_schedule(name, schedules or default_folder())
    ended = run_schedule(
        schedule,
        state=state,
        config=config,
        textfile=textfile,
        stop=run.stop,
        tell=run.tell,
    )
    assert ended is not None
    if ended.succeeded:
        run.tell(end_event(ended))
    return ended


def _serve(
    what: str | None,
    schedules: Path | None,
    listen: str | None,
    textfile: Path | None,
    parallel: int,
    config: Path | None,
    state: Path,
    run: running.Run,
) -> None:
    from migrator.scheduling.daemon import Daemon, make_scheduler, work_for
    from migrator.scheduling.files import default_folder
    from migrator.scheduling.health import parse_address, serve
    from migrator.scheduling.site import Site

    source = click.get_current_context().get_parameter_source("schedules")
    if what is not None and source is ParameterSource.COMMANDLINE:
        raise UsageError(f"{what} and --schedules {schedules} both name the folder; with --once, {what} is a schedule")
    folder = Path(what) if what is not None else schedules or default_folder()
    if what is not None and (folder.is_file() or (default_folder() / f"{what}.toml").is_file()):
        raise UsageError(f"{what}: the daemon runs a folder of schedules; give --once to run this schedule now")
    messages = current.get()
    address = parse_address(listen) if listen else None
    daemon = Daemon(
        folder,
        state=state,
        work=work_for(state=state, config=config, textfile=textfile, tell=messages.tell),
        scheduler=make_scheduler(parallel),
        tell=messages.tell,
    )
    with ExitStack() as stack:
        if address is not None:
            site = Site(
                state,
                schedules=daemon.statuses,
                archives=lambda: _archives(daemon, config),
                alive=lambda: daemon.alive,
            )
            port = stack.enter_context(serve(address, site))
            messages.tell(Listening(address[0], port))
        stack.enter_context(_reread_on_hangup(daemon))
        daemon.serve(run.stop)


def _archives(daemon: Daemon, config: Path | None) -> Mapping[str, Callable[[], Store]]:
    """The archives that backups go to, by what is printed of them; each is resolved when it is looked at."""
    from migrator.settings.config import load, resolve

    def store(text: Secret) -> Callable[[], Store]:
        return lambda: resolve(text.reveal(), "target", load(config))[0]

    return {each.printed[1]: store(each.target) for each in daemon.schedules() if each.task == "backup"}


@contextmanager
def _reread_on_hangup(daemon: Daemon) -> Iterator[None]:
    """SIGHUP has the files read again."""
    before = signal.signal(signal.SIGHUP, lambda *_: daemon.reread())
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


# -- looking ----------------------------------------------------------------------------------------------------


@schedule_command.command(
    "list",
    epilog=examples("migrator schedule list", "migrator schedule list --json | jq -r 'select(.stale) | .schedule'"),
)
@schedules_option
@config_option
@state_option
@json_option
@log_format_option
def list_command(
    schedules: Path | None,
    config: Path | None,  # noqa: ARG001  its defaults are in effect already
    state: Path | None,
    as_json: bool,
) -> None:
    """Show every schedule: state, next and last run, size of the last backup.

    Exit codes: 0 all is well; 3 a schedule is stale, its last run failed, or its file is invalid.
    """
    from migrator.scheduling.files import read_folder
    from migrator.scheduling.overview import overview
    from migrator.scheduling.status_text import status_text
    from migrator.settings.folders import user_state

    folder = _folder(schedules)
    statuses = overview(read_folder(folder), state or user_state(), time.time())
    for status in statuses:
        if as_json:
            print_json(status)
        else:
            print_text(status_text(status, width=width()))
    if not statuses and not as_json:
        print_text(f"no schedules in {folder}")
    sys.exit(_TROUBLE if any(status.trouble for status in statuses) else 0)


@schedule_command.command(
    "check", epilog=examples("migrator schedule check", "migrator schedule check --schedules schedules --connect")
)
@schedules_option
@click.option("--connect", is_flag=True, help="Also connect to every store.")
@config_option
@log_format_option
def check_command(
    schedules: Path | None,
    connect: bool,
    config: Path | None,
) -> None:
    """Check every schedule file, the stores it names, and their secrets.

    Exit codes: 0 all valid; 2 a file or a store's settings are invalid; with --connect also 5, 6 and 10, as for copy.
    """
    from migrator.scheduling.files import Broken, read_folder

    worst = 0
    folder = _folder(schedules)
    found = read_folder(folder)
    for each in found:
        problems = [(each.reason, 2)] if isinstance(each, Broken) else _problems(each, config, connect)
        for text, exit_code in problems:
            current.get().error(text, exit_code=exit_code)
            worst = max(worst, exit_code)
        if not problems:
            print_text(f"{each.name}: OK")
    if not found:
        print_text(f"no schedules in {folder}")
    sys.exit(worst)


def _problems(schedule: Schedule, config: Path | None, connect: bool) -> Sequence[tuple[str, int]]:
    """What is wrong with the stores of a schedule, with the exit code that says so."""
    from migrator.errors import MigratorError
    from migrator.settings.config import load, resolve

    problems: list[tuple[str, int]] = []
    ends: tuple[tuple[Role, Secret], ...] = (("source", schedule.source), ("target", schedule.target))
    for role, text in ends:
        try:
            store, warnings = resolve(text.reveal(), role, load(config))
            for warning in warnings:
                current.get().tell(LoginWarning(warning))
            _check_end(schedule, role, store, connect)
        except MigratorError as error:
            problems.append((f"{schedule.path}: {role}: {error}", error.exit_code))
        except Exception as error:  # noqa: BLE001  the other schedules are checked
            problems.append((f"{schedule.path}: {role}: unexpected {type(error).__name__}; please report this", 1))
    return problems


def _check_end(schedule: Schedule, role: Role, store: Store, connect: bool) -> None:
    from migrator.adapters.opening import open_reader
    from migrator.errors import NotFound

    where, is_archive = store.location.printed, store.location.kind == "archive"
    takes_archive = schedule.task == "verify" or (schedule.task == "backup") == (role == "target")
    if is_archive and not takes_archive:
        raise UsageError(f"{where}: it is an archive; a {schedule.task} has none as its {role}")
    if schedule.task == "backup" and role == "target" and not is_archive:
        raise UsageError(f"{where}: not an archive; back up to one, such as archive:/var/backups/openwhisk")
    if not connect:
        return
    with closing(open_reader(store)) as reader:
        try:
            reader.describe()
        except NotFound:
            if not is_archive or schedule.task != "backup":  # the first backup makes it
                raise


@schedule_command.command(
    "next", epilog=examples("migrator schedule next nightly", "migrator schedule next nightly -n 3")
)
@click.argument("name", shell_complete=complete_schedules)
@click.option("-n", "count", type=click.IntRange(1, 1000), default=10, show_default=True, help="How many.")
@schedules_option
@json_option
@log_format_option
def next_command(name: str, count: int, schedules: Path | None, as_json: bool) -> None:
    """Show when the next runs of the schedule NAME begin, including jitter and clock changes."""
    from migrator.scheduling.files import default_folder, find_schedule

    schedule = find_schedule(name, schedules or default_folder())
    moment_s = schedule.trigger.next(time.time())
    for _ in range(count):
        begins_s = schedule.trigger.begins(moment_s)
        at = datetime.fromtimestamp(begins_s, UTC).astimezone(schedule.timezone)
        if as_json:
            print_json({"begins": at, "begins_s": begins_s})
        else:
            print_text(f"{at:%a %Y-%m-%d %H:%M:%S %Z}")
        moment_s = schedule.trigger.next_after(moment_s)


def _folder(schedules: Path | None) -> Path:
    from migrator.scheduling.files import default_folder

    return schedules or default_folder()
