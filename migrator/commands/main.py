"""`migrator`: the group of commands, and how every error ends as one line and an exit code.

Commands are imported when they are called; the help of the group imports none of them.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib import import_module
from itertools import pairwise
from typing import Any

import click
from typing_extensions import override

from migrator.commands import output
from migrator.commands.messages import Messages, current, without_logins, without_words
from migrator.commands.options import examples
from migrator.errors import NO_ROOM, Interrupted, MigratorError, Unavailable

_MOST_ARENAS = -8  # `M_ARENA_MAX` of <malloc.h>

COMMANDS = {
    "init": ("migrator.commands.init:init_command", "Write a first migrator.toml and a first schedule to FOLDER."),
    "copy": ("migrator.commands.copy:copy_command", "Copy activations from SOURCE to TARGET."),
    "backup": (
        "migrator.commands.backup:backup_command",
        "Back up SOURCE to ARCHIVE, in full or incrementally.",
    ),
    "restore": (
        "migrator.commands.restore:restore_command",
        "Restore activations from ARCHIVE to TARGET.",
    ),
    "archive": (
        "migrator.commands.archive:archive_command",
        "List, check, repair, print, prune or compare backups.",
    ),
    "detect": (
        "migrator.commands.detect:detect_command",
        "Find out where OpenWhisk keeps activations, and what is wrong.",
    ),
    "find": (
        "migrator.commands.find:find_command",
        "Find activations in all stores and compare the copies.",
    ),
    "verify": (
        "migrator.commands.verify:verify_command",
        "Verify that A and B hold the same activations.",
    ),
    "purge": (
        "migrator.commands.purge:purge_command",
        "Remove old activations from STORE, but only those that PROOF holds with the same content.",
    ),
    "cutover": (
        "migrator.commands.cutover:cutover_command",
        "Switch OpenWhisk from one backend to the other, as PLAN says, step by step.",
    ),
    "schedule": (
        "migrator.commands.schedule:schedule_command",
        "Back up, copy or verify on a schedule.",
    ),
    "stats": (
        "migrator.commands.stats:stats_command",
        "Show what STORE holds and how it grows.",
    ),
    "status": ("migrator.commands.status:status_command", "Show jobs, their progress, and what to do next."),
    "control": (
        "migrator.commands.control:control_command",
        "Change how fast JOB reads its source while it runs, or pause it.",
    ),
    "forget": (
        "migrator.commands.status:forget_command",
        "Forget JOB: delete its progress, counts and history.",
    ),
    "report": (
        "migrator.commands.report:report_command",
        "Write an HTML report of JOB, such as for a change ticket.",
    ),
    "retry-rejected": (
        "migrator.commands.retry_rejected:retry_rejected_command",
        "Retry the rejected documents of JOB.",
    ),
    "config": ("migrator.commands.config:config_command", "Show or check the configuration."),
    "completion": (
        "migrator.commands.manual:completion_command",
        "Print a script that completes commands in SHELL.",
    ),
    "man": ("migrator.commands.manual:man_command", "Write a manual page for each command to DIR."),
    "samples": ("migrator.commands.samples:samples_command", "Write the samples to DIR."),
    "demo": (
        "migrator.commands.demo:demo_command",
        "Run a demonstration with real servers and a killed copy.",
    ),
}
"""Each command's module and attribute, and its short help, the first sentence of its own."""


class Commands(click.Group):
    """A group that imports a command when it is called, and turns whatever goes wrong into a line and a code."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name][0].split(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
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
        words = _in_order(sys.argv[1:] if args is None else list(args))
        current.set(_messages(words))
        if not standalone_mode:
            return super().main(words, prog_name, complete_var, False, **extra)
        output.prepare()
        try:
            code = self._run(words, prog_name, complete_var, **extra)
            try:
                output.flush()
            except OSError as error:
                # What the command did outlasts its output: a code that says more of it stays.
                code = code or _output_failed(error)
        finally:
            output.silence()
        sys.exit(code)

    def _run(self, words: list[str], prog_name: str | None, complete_var: str | None, **extra: Any) -> int:
        """Run a command; its exit code, whatever goes wrong."""
        try:
            code = super().main(words, prog_name, complete_var, False, **extra)
            return code if isinstance(code, int) else 0
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else int(end.code is not None)
        except click.ClickException as error:
            # click repeats what it doesn't understand, and a location in the wrong place may be misspelled as well.
            message = _NOT_HERE.get(getattr(error, "option_name", ""), error.format_message().rstrip("."))
            text = without_words(message, words, suspect="[:@]")
            context = error.ctx if isinstance(error, click.UsageError) else None
            return _report_error(f"{text}; see `{context.command_path} --help`" if context else text, error.exit_code)
        except click.Abort:
            return _report_error("interrupted", Interrupted("").exit_code)
        except MigratorError as error:
            from migrator.rendering.command_line import with_command

            return _report_error(without_words(with_command(error), words), error.exit_code, error)
        except _ReaderLeft:
            return output.READER_LEFT
        except OSError as error:
            if error.errno in NO_ROOM:
                # What goes into a file of ours is reported with its name; this is `> FILE`.
                return _output_failed(error)
            return _report_unexpected(error, words)
        except Exception as error:  # noqa: BLE001  the last place where it can become one line
            return _report_unexpected(error, words)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """As click's, which prints helps here."""
        with _notice_closed_pipe():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """As click's."""
        with _notice_closed_pipe():
            return super().invoke(ctx)


_TAKE_A_VALUE = ("--config", "--state", "--log-format")
_TAKE_NONE = ("--json", "--quiet", "-q")
_NOT_HERE = dict.fromkeys(
    ("-v", "--verbose", "-vv"),
    "there is no --verbose: progress and notes are printed unless you give --quiet; MIGRATOR_DEBUG=1 prints the "
    "traceback of an error, and --version the version",
)
"""Options of other tools, and what to do instead."""


def _in_order(words: list[str]) -> list[str]:
    """The words with options that were typed before the command, and belong to it, after everything else."""
    at, moved = 0, []
    while at < len(words):
        word = words[at]
        if word in _TAKE_A_VALUE:
            moved += words[at : at + 2]
            at += 2
        elif word in _TAKE_NONE or word.startswith(tuple(f"{name}=" for name in _TAKE_A_VALUE)):
            moved.append(word)
            at += 1
        else:
            break
    rest = words[at:]
    if not moved or not rest or rest[0] not in COMMANDS:
        return words
    end = rest.index("--") if "--" in rest else len(rest)
    return rest[:end] + moved + rest[end:]


class _ReaderLeft(Exception):
    """Nobody reads stdout any more."""


@contextmanager
def _notice_closed_pipe() -> Iterator[None]:
    """Name a broken pipe before click sees it: it would end the process with 1."""
    try:
        yield
    except BrokenPipeError as error:
        raise _ReaderLeft from error


def _messages(words: Sequence[str]) -> Messages:
    """The format of messages before the options are parsed, so an unknown option is reported in the right format."""
    asked = os.environ.get("MIGRATOR_LOG_FORMAT") == "json" or "--log-format=json" in words
    asked = asked or ("--log-format", "json") in pairwise(words)
    return replace(Messages(), as_json=asked)


def _report_unexpected(error: Exception, words: Sequence[str]) -> int:
    text = without_logins(without_words(f"unexpected {type(error).__name__}: {error}", words))
    return _report_error(f"{text}; set MIGRATOR_DEBUG=1 for a traceback", 1, error)


def _output_failed(error: OSError) -> int:
    if isinstance(error, BrokenPipeError):
        return output.READER_LEFT
    text = f"the output can't be written: {error.strerror}; free disk space, then run the same command again"
    return _report_error(text, Unavailable("").exit_code, error)


def _report_error(text: str, exit_code: int, error: BaseException | None = None) -> int:
    if error is not None and os.environ.get("MIGRATOR_DEBUG"):
        current.get().trace(without_logins("".join(traceback.format_exception(error))))
    current.get().error(text, exit_code=exit_code)
    return exit_code


@click.command(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=(
        "\b\n"
        "Exit codes:\n"
        "    0  complete\n"
        "    1  unexpected error\n"
        "    2  wrong usage or configuration; nothing was done\n"
        "    3  complete, but some documents were rejected, differ or were left behind\n"
        "    4  verification found a difference\n"
        "    5  a server stayed unavailable (resumable)\n"
        "    6  login refused or privilege missing (resumable)\n"
        "    8  a limit was reached, such as --max-rejects (resumable)\n"
        "   10  source, target, archive or job not found\n"
        "   11  locked by another run\n"
        "   12  an archive, or a file in the state folder, is damaged\n"
        "  130, 143  interrupted (resumable)\n"
        "  141  complete, but the reader of the output closed it (`| head`)\n"
        "\n"
        + examples(
            "migrator demo",
            "migrator copy couchdb://admin@db1/whisk_local_activations elasticsearch://es1:9200",
            "migrator backup elasticsearch://es1:9200 archive:/var/backups/openwhisk",
            "migrator restore archive:/var/backups/openwhisk elasticsearch://es2:9200",
            "migrator status",
        )
        + "\n\n\b\nShell completion, once in ~/.bashrc (zsh and fish likewise):\n"
        '  eval "$(migrator completion bash)"'
    ),
)
@click.version_option(package_name="openwhisk-activation-migrator", message="migrator %(version)s")
@click.pass_context
def migrator(context: click.Context) -> None:
    """Copy, back up, restore and verify Apache OpenWhisk activations."""
    help_without_command(context)


def help_without_command(context: click.Context) -> None:
    """Show the help of a group that was called without a command: a mistake, exit code 2."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(2)


def main() -> None:
    """Run the command that this process was called with; never returns."""
    migrator(prog_name="migrator")


def console() -> None:
    """The console script: as `main`, in a process that does nothing else."""
    # What is carried has no cycles. By default they would be looked for hundreds of times while a command is imported,
    # and with every page.
    gc.set_threshold(50_000, 20, 50)
    _share_memory()
    try:
        main()
    except SystemExit as end:
        if isinstance(end.code, int):
            _leave(end.code)
        raise


def _share_memory() -> None:
    """Let all threads take memory from one place.

    The GNU C library gives each thread a place of its own, and what a page leaves free there no other thread uses: a
    backup took 12 MB more, and no less time (`python -m tests.benchmarks growth`). Other C libraries have no such
    setting; what the environment sets holds.
    """
    if "MALLOC_ARENA_MAX" not in os.environ:
        with suppress(Exception):  # wherever it can't be set: without it a little more memory is taken
            import ctypes

            ctypes.CDLL(None).mallopt(_MOST_ARENAS, 1)


def _leave(code: int) -> None:
    """End the process where nothing but the interpreter is left to be taken apart, which takes 0.05 s.

    Returns where something is: a thread that Python would wait for, or an output that doesn't take what is left.
    """
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        return
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (AttributeError, OSError, ValueError):  # it was closed, or the disk is full
        return
    os._exit(code)
