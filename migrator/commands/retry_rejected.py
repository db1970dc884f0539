"""`migrator retry-rejected`: try the rejected documents of a job again."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from migrator.commands.completing import jobs
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
@click.argument("job", shell_complete=jobs)
@retry_for_option("Wait this long for an unavailable server or a full disk, then stop; resumable.")
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
) -> None:
    """Retry the rejected documents of JOB.

    Fix the cause of the rejections first. The job kept a copy of each rejected document; the source isn't read again.
    Documents that are now stored leave the list, the others stay on it with their newest reason.

    Exit codes: 0 all stored; 3 some were not stored, or not completely; others as for copy.
    """
    from migrator.activations.document import REMARKS
    from migrator.api.retry import retry_rejected
    from migrator.commands import running

    with running.run(quiet=quiet) as run:
        outcome = retry_rejected(job, config=config, state=state, retry_for_s=retry_for, stop=run.stop, tell=run.tell)
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
