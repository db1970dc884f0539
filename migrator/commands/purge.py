"""`migrator purge`: remove old activations that are provably held elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from migrator.commands.completing import stores
from migrator.commands.options import (
    config_option,
    examples,
    json_option,
    log_format_option,
    namespace_option,
    quiet_option,
    retry_for_option,
    state_option,
)

if TYPE_CHECKING:
    from migrator.api.run import RunKeywords


@click.command(
    "purge",
    epilog=examples(
        "migrator purge prod-couchdb --older-than 90d --only-if-in archive:/var/backups/openwhisk --dry-run",
        "migrator purge prod-couchdb --older-than 90d --only-if-in archive:/var/backups/openwhisk",
        "migrator purge prod-couchdb --older-than 30d --only-if-in prod-elasticsearch --max-rate 200",
        "migrator purge prod-couchdb --older-than 7d --only-if-in archive:/var/backups/openwhisk --logs-only",
    ),
)
@click.argument("store", shell_complete=stores)
@click.option(
    "--older-than",
    required=True,
    metavar="AGE",
    help="Only activations that started longer ago, such as 90d, or before a TIME such as 2026-01-01.",
)
@click.option(
    "--only-if-in",
    required=True,
    metavar="PROOF",
    help="Archive or store that must hold each activation with the same content.",
)
@namespace_option
@click.option("--logs-only", is_flag=True, help="Empty the logs and keep everything else.")
@click.option("--dry-run", "-n", is_flag=True, help="Show what would be removed, by namespace; remove nothing.")
@click.option("--max-rate", type=float, metavar="N", help="Remove at most N documents per second.")
@click.option("--no-compact", is_flag=True, help="CouchDB: leave it to the server when to free the space.")
@click.option("--purge-tombstones", is_flag=True, help="CouchDB: drop what is left of deleted documents (_purge).")
@click.option("--whole-indices", is_flag=True, help="Elasticsearch: delete an index if the archive proves all of it.")
@click.option("--jobs", type=int, default=4, show_default=True, help="Number of slices read in parallel.")
@retry_for_option("Wait this long for an unavailable server, then stop; resumable.")
@config_option
@state_option
@json_option
@quiet_option
@log_format_option
def purge_command(
    store: str,
    older_than: str,
    only_if_in: str,
    namespaces: tuple[str, ...],
    logs_only: bool,
    dry_run: bool,
    max_rate: float | None,
    no_compact: bool,
    purge_tombstones: bool,
    whole_indices: bool,
    jobs: int,
    retry_for: float,
    config: Path | None,
    state: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Remove old activations from STORE, but only those that PROOF holds with the same content.

    PROOF is read again in every run: an archive to the last frame, a store document by document. An activation that it
    doesn't hold, or holds differently, stays and is named, and so does one that was changed since, or that has
    conflicting revisions or attachments. Each is removed only while STORE holds the very revision that was compared.
    The purge stops when STORE or PROOF is replaced, when backups that were read are pruned, and while a job of this
    state folder or an unfinished backup is using either of them.

    What a purge removes is only in PROOF from then on: keep the backups that hold it. A log in the state folder names
    everything that went, with its digest, and everything that stays. Run the same command again to resume an
    interrupted purge.

    Exit codes: 0 all that is old enough went; 3 complete, but some of it stays; 2 the clock of this machine or an
    option is wrong; 5 a server stayed unavailable; 6 login refused or privilege missing; 10 STORE or PROOF not found,
    or part of PROOF was deleted meanwhile; 11 another run is using STORE or PROOF; 12 an archive is damaged; 130/143
    interrupted. From 5 on, the same command resumes.
    """
    from migrator.api.purge import purge
    from migrator.commands import running
    from migrator.commands.output import print_json, print_text
    from migrator.rendering.purge import purge_as_dict, render_purge

    keywords: RunKeywords = {"jobs": jobs, "max_rate": max_rate, "retry_for_s": retry_for, "state": state}
    with running.run(quiet=quiet) as run:
        report = purge(
            running.store(store, "target", config),
            running.store(only_if_in, "source", config),
            older_than=older_than,
            namespaces=namespaces,
            logs_only=logs_only,
            compact=not no_compact,
            purge_tombstones=purge_tombstones,
            whole_indices=whole_indices,
            dry_run=dry_run,
            **run.watched(keywords),
        )
    if as_json:
        print_json(purge_as_dict(report))
    elif not (quiet and not report.kept):
        print_text(render_purge(report))
    sys.exit(report.exit_code)
