"""`migrator report`: the page of a job for a change ticket."""

from __future__ import annotations

import time
from pathlib import Path

import click

from migrator.commands.completing import jobs
from migrator.commands.options import examples, log_format_option, quiet_option, state_option
from migrator.commands.output import print_bytes, print_text
from migrator.text.printable import printable_path


@click.command(
    "report",
    epilog=examples(
        "migrator report 3f9a",
        "migrator report 3f9a --output change-4711.html",
        "migrator report 3f9a --output - | mail -s 'migration' -a 'Content-Type: text/html' ops@example.com",
    ),
)
@click.argument("job", shell_complete=jobs)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="Write the page to this file, or - for standard output; by default ./JOB.html.",
)
@state_option
@quiet_option
@log_format_option
def report_command(job: str, output: Path | None, state: Path | None, quiet: bool) -> None:
    """Write an HTML report of JOB, such as for a change ticket.

    JOB is the id of a job, or a unique prefix of it. The page is one self-contained file: source and target, counts
    that add up, runs with their rates, rejected documents with reasons, warnings, and the result of the verification,
    if there was one. No store is contacted.

    Exit codes: 0 written; 10 job not found.
    """
    from migrator.commands import running
    from migrator.engine.state.jobs import find_job
    from migrator.rendering.job_page import job_page, look_at
    from migrator.settings.folders import user_state

    view = find_job(state or user_state(), job)
    page = job_page(look_at(view), now_s=time.time())
    if output == Path("-"):
        print_bytes(page.encode(errors="replace"))
        return
    file = output or Path(f"{view.id}.html")
    running.write_page(page, file)
    if not quiet:
        print_text(printable_path(file))
