"""`migrator retry-rejected`: try the rejected documents of a job again."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from migrator.commands.options import (
    config_option,
    examples,
    json_option,
    log_format_option,
    quiet_option,
    retry_for_option,
    state_option,
)
from migrator.commands.output import print_json, print_text


@click.command(
    "retry-rejected",
    epilog=examples("migrator retry-rejected 3f9a", "migrator status 3f9a --rejected | jq -r .reason | sort | uniq -c"),
)
@click.argument("job")
@retry_for_option("As for copy.")
@config_option
@state_option
@json_option
@quiet_option
@log_format_option
def retry_rejected_command(
    job: str,
    retry_for: float,
    config: Path | None,
    state: Path | None,
    as_json: bool,
    quiet: bool,
    log_format: str,
) -> None:
    """Try the rejected documents of JOB again, once their cause is gone.

    They are taken from the copies that the job kept; the source isn't asked. What goes over leaves the list, what is
    refused again stays with its newest reason. Exit codes: 0 all went over; 3 some didn't, or not as a whole;
    others as for copy.
    """
    from migrator.commands import running
    from migrator.copying import retry_rejected
    from migrator.records import REMARKS

    with running.run(quiet=quiet, log_format=log_format) as run:
        outcome = retry_rejected(job, config=config, state=state, retry_for_s=retry_for, stop=run.stop, tell=run.say)
    if as_json:
        print_json(outcome)
    elif not quiet:
        print_text(
            f"tried {outcome.tried:,}: written {outcome.written:,}, present {outcome.present:,}, "
            f"differing {outcome.differing:,}, rejected again {outcome.rejected:,}"
        )
        for kind, documents in sorted(outcome.remarks.items()):
            print_text(f"{documents:,} × {REMARKS.get(kind, kind)}")
    sys.exit(outcome.exit_code)
