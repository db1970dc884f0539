"""`migrator copy`: carry activations from one store to another."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from migrator.commands.options import (
    config_option,
    examples,
    json_option,
    log_format_option,
    quiet_option,
    selection_options,
    state_option,
)
from migrator.errors import UsageError


@click.command(
    "copy",
    epilog=examples(
        "migrator copy couchdb://admin@db1/whisk_local_activations elasticsearch://es1:9200",
        "migrator copy prod-couchdb prod-elasticsearch --dry-run",
        "migrator copy prod-couchdb prod-elasticsearch --namespace 'team-*' --since 30d --jobs 8",
        "migrator copy elasticsearch://es1 elasticsearchs://es2:9200/?index-pattern=owsk-%25s --max-rate 2000",
    ),
)
@click.argument("source")
@click.argument("target")
@selection_options
@click.option("--jobs", type=int, default=4, show_default=True, help="How many slices are carried at once.")
@click.option(
    "--on-conflict",
    default="skip",
    show_default=True,
    metavar="skip|overwrite|fail",
    help="When another version is in the target: leave it and list it, replace it, or stop.",
)
@click.option("--max-rejects", type=int, default=10_000, show_default=True, help="Stop after so many rejections.")
@click.option("--max-rate", type=float, metavar="N", help="Read at most N documents a second, to spare the source.")
@click.option(
    "--retry-for",
    type=float,
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="How long an outage or a full disk is waited out before the run stops, resumable.",
)
@click.option(
    "--index-template",
    is_flag=True,
    help="Install an index template in the target first; without it nothing is installed, as OpenWhisk does.",
)
@click.option("--shards", type=int, help="With --index-template: primary shards of each new index.")
@click.option("--replicas", type=int, help="With --index-template: replicas of each new index.")
@click.option("--field-limit", type=int, help="With --index-template: how many fields an index may have.")
@click.option("--dry-run", "-n", is_flag=True, help="Read everything and tell what would be written; write nothing.")
@click.option("--restart", is_flag=True, help="Forget what an earlier run of this job left, and begin anew.")
@config_option
@state_option
@json_option
@quiet_option
@log_format_option
def copy_command(
    source: str,
    target: str,
    namespaces: tuple[str, ...],
    names: tuple[str, ...],
    since: str | None,
    until: str | None,
    jobs: int,
    on_conflict: str,
    max_rejects: int,
    max_rate: float | None,
    retry_for: float,
    index_template: bool,
    shards: int | None,
    replicas: int | None,
    field_limit: int | None,
    dry_run: bool,
    restart: bool,
    config: Path | None,
    state: Path | None,
    as_json: bool,
    quiet: bool,
    log_format: str,
) -> None:
    """Copy activations from SOURCE to TARGET, resumably.

    Both are locations (couchdb://…, elasticsearch://…) or names of stores in migrator.toml. Documents arrive in the
    form that OpenWhisk itself would have written there. What is in the target already stays. The same command given
    again goes on where the last run ended; after completion it carries over what is new. Deletions in the source are
    counted, never carried over.

    Exit codes: 0 complete; 3 complete, but some documents were rejected, differ or were left behind; 5 a server
    stayed unavailable; 6 login or right refused; 8 a limit was reached; 130/143 interrupted. All but 0 and 3 are
    resumable with the same command.
    """
    from migrator.commands import running
    from migrator.copying import Wanted, copy

    template: Any = None
    if index_template:
        from migrator.adapters.elasticsearch import TemplateOptions

        template = TemplateOptions(shards=shards, replicas=replicas, field_limit=field_limit)
    elif shards is not None or replicas is not None or field_limit is not None:
        raise UsageError("--shards, --replicas and --field-limit belong to --index-template")
    wanted = Wanted(namespaces=namespaces, names=names, since=since, until=until)
    with running.run(quiet=quiet, log_format=log_format) as run:
        report = copy(
            running.store(source, "source", config),
            running.store(target, "target", config),
            wanted=wanted,
            jobs=jobs,
            on_conflict=on_conflict,
            max_rejects=max_rejects,
            max_rate=max_rate,
            template=template,
            dry_run=dry_run,
            restart=restart,
            state=state,
            retry_for_s=retry_for,
            stop=run.stop,
            observe=run.observe,
            tell=run.say,
        )
    running.print_report(report, as_json=as_json, quiet=quiet)
    sys.exit(report.exit_code)
