"""`migrator status` and `migrator forget`: jobs, how far they are, what to do next, and what is no longer wanted."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from migrator.commands.completing import jobs
from migrator.commands.messages import current
from migrator.commands.options import examples, json_option, log_format_option, quiet_option, state_option
from migrator.commands.output import clear_screen, print_bytes, print_json, print_text
from migrator.commands.signals import stop_on_signals
from migrator.commands.terminal import fit, height, paint, width
from migrator.engine.state.checkpoint import SetAside
from migrator.engine.state.jobs import (
    JobView,
    find_job,
    forget_job,
    list_jobs,
    list_verifications,
    state_folders_below,
    view_checkpoint,
)
from migrator.engine.state.live import read_live
from migrator.engine.state.parts import copies_in_parts
from migrator.errors import MigratorError, NotFound, UsageError
from migrator.events.watching import Stop
from migrator.rendering.job_list import detail_lines, list_lines
from migrator.rendering.job_status import JobStatus, job_status, statuses, verification_status
from migrator.rendering.parts import parts_as_dict, parts_as_text
from migrator.settings.folders import user_state

_LEAST_S = 0.2  # between two looks


@click.command(
    "status",
    epilog=examples(
        "migrator status",
        "migrator status 3f9a",
        "migrator status --watch",
        "migrator status 3f9a --rejected > rejected.ndjson",
        "migrator status --all-parts --state /mnt/migrator",
        "migrator status --json | jq -r 'select(.state != \"complete\") | .next'",
    ),
)
@click.argument("job", required=False, shell_complete=jobs)
@click.option("--rejected", is_flag=True, help="Print the rejected documents, with reasons, as NDJSON.")
@click.option(
    "--differing", is_flag=True, help="Print the documents of which the target holds another version, as NDJSON."
)
@click.option(
    "--all-parts",
    is_flag=True,
    help="Put the jobs of a copy in parts (--part I/N) together, from this state folder and those directly below it.",
)
@click.option("--watch", "-w", is_flag=True, help="Look again and again, until interrupted.")
@click.option(
    "--every", type=float, default=2.0, show_default=True, metavar="SECONDS", help="With --watch: how often to look."
)
@state_option
@json_option
@log_format_option
def status_command(
    job: str | None,
    rejected: bool,
    differing: bool,
    all_parts: bool,
    watch: bool,
    every: float,
    state: Path | None,
    as_json: bool,
) -> None:
    """Show jobs, their progress, and what to do next.

    JOB is the id of a job or a verification, or a unique prefix of it; without it, all jobs are listed, and the
    verifications that aren't complete: running ones first, then the newest. An exported line holds the id, the reason,
    and the document as its source has it.

    With --all-parts, exit codes: 0 every part is complete; 3 complete, but some documents were rejected, differ or are
    missing; 5 some parts are absent, running or unfinished; 10 there are no parts.
    """
    folder = state or user_state()
    if all_parts:
        if job is not None or rejected or differing:
            raise UsageError("--all-parts is about all jobs of a copy; leave out JOB, --rejected and --differing")
        sys.exit(_show_parts(folder, as_json))
    if (rejected or differing) and job is None:
        raise UsageError(
            "--rejected and --differing print the documents of one job; give its id (`migrator status` lists them)"
        )
    if rejected or differing:
        if watch:
            raise UsageError("--watch shows how jobs stand; omit it to print documents")
        assert job is not None
        view = find_job(folder, job)
        for kind in [name for name, wanted in (("rejected", rejected), ("differing", differing)) if wanted]:
            _export(view, kind)
        return
    if not watch:
        if code := _print(folder, job, as_json):
            sys.exit(code)
        return
    if every < _LEAST_S:
        raise UsageError(f"--every {every:g}: give at least {_LEAST_S} seconds")
    stop = Stop()
    with stop_on_signals(stop, lambda _: None):
        _watch(folder, job, as_json, every, stop)


def _print(folder: Path, job: str | None, as_json: bool) -> int:
    """Print one job or all of them; the exit code."""
    if job is not None:
        status = _find(folder, job)
        if as_json:
            print_json(status)
        else:
            for line in detail_lines(status, now_s=time.time(), width=width()):
                print_text(line)
        return 0
    found, code = False, 0
    for each in statuses(folder):
        found = True
        if isinstance(each, MigratorError):  # one job that can't be looked at hides no other
            current.get().warn(str(each))
            code = each.exit_code
        elif as_json:
            print_json(each)
        else:
            for line in list_lines(each, now_s=time.time(), width=width()):
                _show(line, each)
    if not found and not as_json:
        print_text(f"no jobs in {folder}")
    return code


def _show_parts(folder: Path, as_json: bool) -> int:
    """Show the copies in parts; returns the exit code."""
    jobs = [job for each in (folder, *state_folders_below(folder)) for job in list_jobs(each)]
    found = copies_in_parts(jobs)
    if not found:
        raise NotFound(f"{folder}: there is no job with --part in it or in the folders directly below it")
    for copy in found:
        if as_json:
            print_json(parts_as_dict(copy))
            continue
        for line in parts_as_text(copy):
            print_text(line)
    if not all(copy.is_complete for copy in found):
        return 5
    return 0 if all(copy.is_clean for copy in found) else 3


_COLOURS = {"running": "36", "unfinished": "33", "complete": "32"}


def _show(line: str, status: JobStatus) -> None:
    if line.startswith(status.job):
        line = line.replace(status.state, paint(status.state, _COLOURS.get(status.state, "0")), 1)
    print_text(line, coloured=True)


def _find(folder: Path, job: str) -> JobStatus:
    try:
        return job_status(find_job(folder, job))
    except NotFound:
        found = [view for view in list_verifications(folder) if job and view.id.startswith(job)]
        live = read_live(found[0].folder) if len(found) == 1 else None
        if live is None:
            raise
        return verification_status(found[0], live)


def _watch(folder: Path, job: str | None, as_json: bool, every: float, stop: Stop) -> None:
    """Print again and again; in a terminal in the same place, as much as fits."""
    screen = sys.stdout.isatty() and not as_json
    while True:
        stop.check()
        if screen:
            shown = fit(list(_screen(folder, job)), rows=height() - 1, columns=width() or 80)
            clear_screen()
            for line in shown:
                print_text(line)
        else:
            _print(folder, job, as_json)
        sys.stdout.flush()
        stop.sleep(every)


def _screen(folder: Path, job: str | None) -> Iterator[str]:
    now_s, columns = time.time(), width()
    yield time.strftime("%H:%M:%S UTC; Ctrl-C ends this, not the jobs", time.gmtime(now_s))
    try:
        if job is not None:
            yield from detail_lines(_find(folder, job), now_s=now_s, width=columns)
            return
        any_ = False
        for each in statuses(folder):
            any_ = True
            if isinstance(each, MigratorError):
                yield f"warning: {each}"
            else:
                yield from list_lines(each, now_s=now_s, width=columns)
        if not any_:
            yield f"no jobs in {folder}"
    except MigratorError as error:
        yield f"warning: {error}"


@click.command(
    "forget",
    epilog=examples("migrator forget 3f9a", "migrator forget 3f9a --discard"),
)
@click.argument("job", shell_complete=jobs)
@click.option("--discard", is_flag=True, help="Also discard the rejected and differing documents that the job kept.")
@state_option
@quiet_option
@log_format_option
def forget_command(job: str, discard: bool, state: Path | None, quiet: bool) -> None:
    """Forget JOB: delete its progress, counts and history.

    JOB is the id of a job or a verification that isn't running, or a unique prefix of it. Source, target and backups
    stay as they are. The next run of the same command starts over: it reads everything again, and finds what is in the
    target already. A job with rejected or differing documents is forgotten only with --discard.

    Exit codes: 0 forgotten; 2 it keeps documents; 10 job not found; 11 it is running.
    """
    view = forget_job(state or user_state(), job, discard=discard)
    if not quiet:
        print_text(f"forgot {view.id}")


def _export(view: JobView, kind: str) -> None:
    checkpoint = view_checkpoint(view)
    try:
        for each in checkpoint.aside.documents(kind):
            print_bytes(_line(each))
    finally:
        checkpoint.close()


def _line(each: SetAside) -> bytes:
    """One NDJSON line; the document is embedded as it is where it is JSON, else as text."""
    head = {
        "id": each.id,
        "kind": each.kind,
        "namespace": each.namespace,
        "reason": each.reason,
        "form": each.form,
        "index": each.index,
    }
    try:
        body = msgspec.json.format(each.body, indent=-1)
        return msgspec.json.encode({**head, "document": msgspec.Raw(body)}) + b"\n"
    except (msgspec.DecodeError, RecursionError):
        return msgspec.json.encode({**head, "document_text": each.body.decode(errors="backslashreplace")}) + b"\n"
