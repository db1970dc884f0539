"""`migrator`: the group of commands, and how every error ends as one line and an exit code.

Commands are imported when they are called; the help of the group imports none of them.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from itertools import pairwise
from typing import Any, NoReturn

import click

from migrator.commands.messages import Messages, current, without_logins, without_words
from migrator.commands.options import examples
from migrator.errors import Interrupted, MigratorError, Unavailable

COMMANDS = {
    "copy": ("migrator.commands.copy:copy_command", "Copy activations from SOURCE to TARGET, resumably."),
    "backup": (
        "migrator.commands.backup:backup_command",
        "Back up the activations of SOURCE into ARCHIVE: in full, or what is new since the last backup.",
    ),
    "restore": (
        "migrator.commands.restore:restore_command",
        "Restore activations from ARCHIVE into TARGET: all or some, as of now or of then.",
    ),
    "archive": (
        "migrator.commands.archive:archive_command",
        "List, check, salvage, print, prune or compare the backups of an archive.",
    ),
    "detect": (
        "migrator.commands.detect:detect_command",
        "Find out which backend holds the activations, what is wrong, and what to do.",
    ),
    "find": (
        "migrator.commands.find:find_command",
        "Find activations in all stores at once, and say whether their copies agree.",
    ),
    "verify": (
        "migrator.commands.verify:verify_command",
        "Compare A with B, and tell whether the same activations are in both.",
    ),
    "schedule": (
        "migrator.commands.schedule:schedule_command",
        "Keep to schedules: back up, copy or verify when it is time, and tell when that stops working.",
    ),
    "stats": (
        "migrator.commands.stats:stats_command",
        "Tell what STORE holds and how it grows, for planning its capacity.",
    ),
    "status": ("migrator.commands.status:status_command", "Show jobs, how far they are, and what to do next."),
    "report": (
        "migrator.commands.report:report_command",
        "Write the page of JOB for a change ticket: what was carried over, and what became of it.",
    ),
    "retry-rejected": (
        "migrator.commands.retry_rejected:retry_rejected_command",
        "Try the rejected documents of JOB again, once their cause is gone.",
    ),
    "config": ("migrator.commands.config:config_command", "Show or check the configuration."),
    "demo": (
        "migrator.commands.demo:demo_command",
        "See a copy at work: real servers, a kill half-way, and the proof.",
    ),
}
"""Each command's module and attribute, and its short help, the first sentence of its own."""


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class Commands(click.Group):
    """A group that imports a command when it is called, and turns whatever goes wrong into a line and a code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  the signature is click's
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  as above
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name][0].split(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  as above
        with formatter.section("Commands"):
            formatter.write_dl([(name, help) for name, (_, help) in COMMANDS.items()])

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command; with `standalone_mode`, which is how it is called, never returns."""
        words = sys.argv[1:] if args is None else list(args)
        current.set(_messages(words))
        if not standalone_mode:
            return super().main(words, prog_name, complete_var, False, **extra)
        try:
            code = super().main(words, prog_name, complete_var, False, **extra)
        except click.ClickException as error:
            # click repeats what it doesn't understand, and a location in the wrong place may be misspelled as well.
            text = without_words(error.format_message().rstrip("."), words, suspect="[:@]")
            context = error.ctx if isinstance(error, click.UsageError) else None
            _end(f"{text}; see `{context.command_path} --help`" if context else text, error.exit_code)
        except click.Abort:
            _end("interrupted", Interrupted("").exit_code)
        except MigratorError as error:
            _end(without_words(str(error), words), error.exit_code, error)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                _end_unexpectedly(error, words)
            # What goes into a file of ours is told with its name; this is `> FILE`.
            text = f"the output can't be written: {error.strerror}; make room, then the same command again"
            _end(text, Unavailable("").exit_code, error)
        except Exception as error:  # noqa: BLE001  the last place where it can become one line
            _end_unexpectedly(error, words)
        sys.exit(code if isinstance(code, int) else 0)


def _messages(words: Sequence[str]) -> Messages:
    """How messages are told until the options were read, so that an unknown option is told in the format asked for."""
    asked = os.environ.get("MIGRATOR_LOG_FORMAT") == "json" or "--log-format=json" in words
    asked = asked or ("--log-format", "json") in pairwise(words)
    return replace(Messages(), as_json=asked)


def _end_unexpectedly(error: Exception, words: Sequence[str]) -> NoReturn:
    text = without_logins(without_words(f"unexpected {type(error).__name__}: {error}", words))
    _end(f"{text}; MIGRATOR_DEBUG=1 shows where", 1, error)


def _end(text: str, exit_code: int, error: BaseException | None = None) -> NoReturn:
    if error is not None and os.environ.get("MIGRATOR_DEBUG"):
        sys.stderr.write(without_logins("".join(traceback.format_exception(error))))
    current.get().error(text, exit_code=exit_code)
    sys.exit(exit_code)


@click.command(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=(
        "\b\n"
        "Exit codes:\n"
        "    0  complete\n"
        "    1  unexpected\n"
        "    2  usage or configuration; nothing was done\n"
        "    3  complete, but some documents were rejected, differ or were left behind\n"
        "    4  verification found a difference\n"
        "    5  a server stayed unavailable (resumable)\n"
        "    6  login or right refused (resumable)\n"
        "    8  a limit was reached, e.g. --max-rejects (resumable)\n"
        "   10  source, target or job is not there\n"
        "   11  locked by another run\n"
        "   12  archive damaged\n"
        "  130, 143  interrupted (resumable)\n"
        "\n"
        + examples(
            "migrator demo",
            "migrator copy couchdb://admin@db1/whisk_local_activations elasticsearch://es1:9200",
            "migrator backup elasticsearch://es1:9200 archive:/var/backups/openwhisk",
            "migrator restore archive:/var/backups/openwhisk elasticsearch://es2:9200",
            "migrator status",
        )
        + "\n\n\b\nCompletion in the shell (bash; zsh and fish alike), once in ~/.bashrc:\n"
        '  eval "$(_MIGRATOR_COMPLETE=bash_source migrator)"'
    ),
)
@click.version_option(package_name="openwhisk-activation-migrator", message="migrator %(version)s")
@click.pass_context
def migrator(context: click.Context) -> None:
    """Move, back up and restore Apache OpenWhisk activations, resumably, losing nothing."""
    help_without_command(context)


def help_without_command(context: click.Context) -> None:
    """Show the help of a group that was called without a command: a mistake, exit code 2."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(2)


def main() -> None:
    """The console script."""
    migrator(prog_name="migrator")
