"""What the commands that run for a while share: signals, progress, stores as they were typed, the report at the end."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

import click

from migrator.commands.messages import current, without_logins
from migrator.commands.output import print_json, print_text
from migrator.commands.progress import Display, open_display
from migrator.commands.signals import stop_on_signals
from migrator.commands.terminal import width
from migrator.engine.report import Report
from migrator.engine.verification.values import Verification
from migrator.errors import NO_ROOM, Unavailable, UsageError
from migrator.events import Event, Listening, LoginWarning, Tell, Warned
from migrator.events.watching import Stop
from migrator.rendering.arguments import in_options
from migrator.rendering.report import render_report, report_as_dict
from migrator.rendering.verification import render_verification, verification_as_dict

if TYPE_CHECKING:
    from migrator.api.run import RunKeywords
    from migrator.settings.config import Role
    from migrator.settings.stores import Store

_TOLD = "migrator.commands.running.told"

Archives: TypeAlias = "Mapping[str, Callable[[], Store]]"
"""Archives by what is shown of their locations; each is opened when it is looked at."""

K = TypeVar("K", bound="RunKeywords")


@dataclass(frozen=True, slots=True)
class Run:
    """A run that signals can stop, as its command sees it."""

    stop: Stop
    observe: Display

    def watched(self, keywords: K) -> K:
        """The keywords of a call, with those that tell who may stop it and who looks on."""
        watching = {**keywords, "stop": self.stop, "observe": self.observe, "tell": self.tell}
        return cast("K", watching)

    def tell(self, event: Event) -> None:
        """Print an event without tearing the progress."""
        self.observe.tell(event)


@contextmanager
def run(
    *,
    quiet: bool,
    listen: str | None = None,
    state: Path | None = None,
    archives: Archives | None = None,
) -> Iterator[Run]:
    """Show what goes on inside, and turn signals into a request to stop.

    With `listen`, an address, it is also served there, with all jobs of the state folder, and these archives.
    """
    from migrator.commands import telemetry
    from migrator.settings.folders import user_state

    stop = Stop()
    messages = current.get()
    with (
        open_display(messages.tell, quiet=quiet, plain=messages.as_json) as display,
        stop_on_signals(stop, lambda text: display.tell(Warned(text))),
        serve(listen, state, archives or {}, display.tell) if listen else nullcontext(),
        telemetry.export(state or user_state(), display.tell) if telemetry.is_wanted() else nullcontext(),
    ):
        yield Run(stop, display)


@contextmanager
def serve(listen: str, state: Path | None, archives: Archives, tell: Tell) -> Iterator[None]:
    """Serve the jobs of a state folder while the block goes on."""
    from migrator.scheduling import health
    from migrator.scheduling.site import Site
    from migrator.settings.folders import user_state

    address = health.parse_address(listen)
    with health.serve(address, Site(state or user_state(), archives=lambda: archives)) as port:
        tell(Listening(address[0], port))
        yield


def store(text: str, role: Role, config: Path | None) -> Store:
    """The store that a name or a location means; what the operator should know of its login is reported."""
    from migrator.settings.config import load, resolve

    found, warnings = resolve(text, role, load(config), ask=ask_for_secret)
    told = click.get_current_context().meta.setdefault(_TOLD, set())
    for warning in warnings:
        if warning not in told:  # both stores of a command may have the same
            told.add(warning)
            current.get().tell(LoginWarning(warning))
    return found


def archives(text: str, role: Role, config: Path | None) -> Archives:
    """The archive of a command, to be looked at by those who watch."""
    from migrator.settings.config import load, resolve

    return {without_logins(text): lambda: resolve(text, role, load(config))[0]}


def ask_for_secret(what: str) -> str | None:
    """A secret typed at a terminal, shown nowhere; None where there is no terminal to ask at."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # else the terminal would stay without an echo
    try:
        return str(click.prompt(what, hide_input=True, default="", show_default=False, err=True)) or None
    finally:
        signal.signal(signal.SIGINT, before)


def print_verification(found: Verification, *, as_json: bool, quiet: bool) -> None:
    """Print a verification as `print_report` prints a report; with `quiet` the differences alone are reported."""
    if as_json:
        print_json(verification_as_dict(found))
    elif not (quiet and found.agrees):
        print_text(render_verification(found, width=width()))


def print_report(report: Report, *, as_json: bool, quiet: bool) -> None:
    """Print the report as JSON or as a table; with `quiet` only what an operator must know, and a dry run's result.

    It goes to stderr where the documents went to standard output.
    """
    aside = report.target.location == "-"
    if as_json:
        print_json(report_as_dict(report), err=aside)
    elif report.state == "dry run" or not quiet:
        print_text(render_report(report, width=width()), err=aside)


def write_page(page: str, file: Path) -> None:
    """Write a page at once or not at all. Raises `UsageError` where that can't be, `Unavailable` on a full disk."""
    from migrator.durable import discard, open_temporary, put_in_place, write_all

    try:
        written = open_temporary(file)
        try:
            write_all(written, in_options(page).encode("utf-8", "replace"))
            put_in_place(written, file)
        except OSError:
            discard(written)
            raise
    except OSError as error:
        if error.errno in NO_ROOM:
            raise Unavailable(
                f"{file}: the page can't be written: {error.strerror}; free disk space, then run the same command again"
            ) from error
        raise UsageError(f"{file}: the page can't be written: {error.strerror}") from error
