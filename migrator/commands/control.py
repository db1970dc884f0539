"""`migrator control`: change the rate of a running job, or pause it."""

from __future__ import annotations

from pathlib import Path

import click

from migrator.commands.options import examples, json_option, log_format_option, state_option
from migrator.errors import UsageError


@click.command(
    "control",
    epilog=examples(
        "migrator control 3f9a --max-rate 500",
        "migrator control 3f9a --max-rate '08:00 500/s, 20:00 off'",
        "migrator control 3f9a --pause",
        "migrator control 3f9a --resume",
    ),
)
@click.argument("job")
@click.option("--max-rate", metavar="RATE", help="Read at most this: 500/s, 20MB/s, off, '08:00 500/s, 20:00 off'.")
@click.option("--pause", is_flag=True, help="Read nothing more until --resume; the run stays.")
@click.option("--resume", is_flag=True, help="Go on reading after --pause.")
@state_option
@json_option
@log_format_option
def control_command(
    job: str, max_rate: str | None, pause: bool, resume: bool, state: Path | None, as_json: bool
) -> None:
    """Change how fast JOB reads its source while it runs, or pause it.

    JOB is the id of a job, or its first characters, as `migrator status` lists them. What is asked holds until the run
    ends; the next run has the rate of its own command. Times of day are those of the machine that the job runs on.
    A verification, and a job with --executor processes or dask, can't be controlled.

    Exit codes: 0 asked; 2 the job isn't running, or the rate is none; 10 there is no such job.
    """
    from migrator.commands.output import print_json, print_text
    from migrator.engine.state.control import control_job
    from migrator.engine.state.jobs import find_job
    from migrator.settings.folders import user_state

    if pause and resume:
        raise UsageError("--pause and --resume can't be used together; give only one")
    found = find_job(state or user_state(), job)
    asked = control_job(found, max_rate=max_rate, paused=True if pause else False if resume else None)
    if as_json:
        print_json({"job": found.id, "max_rate": asked.max_rate, "paused": asked.paused, "taken": asked.taken})
        return
    does = "paused" if asked.paused else "reading"
    rate = "" if asked.max_rate is None else f", at most {asked.max_rate}"
    later = "" if asked.taken else "; the run takes it when it reads its next page"
    print_text(f"job {found.id}: {does}{rate}{later}")
