"""`migrator copy`: carry activations from one store to another."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from migrator.commands.completing import stores
from migrator.commands.copy_options import (
    TemplateCommand,
    conflict_option,
    create_option,
    follow_options,
    ids_option,
    keep_revisions_option,
    mend_ids_option,
    part_option,
    template_options,
)
from migrator.commands.options import (
    config_option,
    examples,
    json_option,
    listen_option,
    log_format_option,
    quiet_option,
    run_options,
    selection_options,
    state_option,
)
from migrator.errors import UsageError

if TYPE_CHECKING:
    from migrator.activations.selection import SelectionSpec
    from migrator.adapters.elasticsearch import TemplateOptions
    from migrator.api.run import WritingKeywords
    from migrator.commands.copy_options import Following


@click.command(
    "copy",
    cls=TemplateCommand,
    epilog=examples(
        "migrator copy couchdb://admin@db1/whisk_local_activations elasticsearch://es1:9200",
        "migrator copy prod-couchdb prod-elasticsearch --dry-run",
        "migrator copy prod-couchdb prod-elasticsearch --namespace 'team-*' --since 30d --jobs 8",
        "migrator copy elasticsearch://es1 elasticsearchs://es2:9200/?index-pattern=owsk-%25s --max-rate 2000",
        "migrator copy prod-elasticsearch acts.ndjson.zst --namespace guest",
        "migrator copy prod-couchdb prod-elasticsearch --follow --until-idle 60s",
        "migrator copy prod-couchdb prod-elasticsearch --part 2/4",
    ),
)
@click.argument("source", shell_complete=stores)
@click.argument("target", shell_complete=stores)
@selection_options
@ids_option
@part_option
@run_options
@conflict_option
@template_options
@keep_revisions_option
@mend_ids_option
@create_option
@follow_options
@click.option("--verify", is_flag=True, help="After the copy, read both sides again and compare what was copied.")
@listen_option
@config_option
@state_option
@json_option
@quiet_option
@log_format_option
def copy_command(
    source: str,
    target: str,
    wanted: SelectionSpec,
    ids: Path | None,
    part: str | None,
    keywords: WritingKeywords,
    on_conflict: str,
    template: TemplateOptions | None,
    keep_revisions: bool,
    mend_ids: bool,
    create: bool,
    following: Following,
    verify: bool,
    listen: str | None,
    config: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Copy activations from SOURCE to TARGET.

    SOURCE and TARGET are locations (couchdb://…, elasticsearch://…), names of stores in migrator.toml, or files of
    elasticdump, couchbackup or JSON lines (acts.ndjson.zst, file:dump.json; - is standard input or output). Documents
    arrive in the form OpenWhisk itself would have written there. Documents already in the target stay. Run the same
    command again to resume an interrupted copy, or to copy what is new since a complete one. Deletions in the source
    are counted, never copied.

    With --follow the run stays after the copy and copies what is new, until it is interrupted or what you ask
    for with --until-idle or --until-lag is reached. It shows how many documents it is behind, and for how long.
    Restarts of either server are waited out, up to --retry-for.

    With --part 2/4, this is one of four jobs that together copy everything. They may run at once or one after the
    other, on any machines; `migrator status --all-parts` shows them, and one `migrator verify` proves the whole.

    With --verify, every document of the source must be in the target as OpenWhisk would have written it; the target
    may hold more.

    Exit codes: 0 complete; 3 complete, but some documents were rejected, differ or were left behind; 4 --verify found
    a difference; 5 a server stayed unavailable; 6 login refused or privilege missing; 8 a limit was reached; 10 source
    or target not found, or nothing in the source matches the names you gave (an empty time range ends with 0); 12 a
    file is damaged, and everything before the damage was copied; 130/143 interrupted. From 5 on, the same command
    resumes.
    """
    from migrator.api.copy import copy
    from migrator.api.run import reading_keywords
    from migrator.api.verify import scope_of_job
    from migrator.api.verify import verify as verify_stores
    from migrator.commands import running

    if verify and part is not None:
        raise UsageError("--verify can't be used with --part; run `migrator verify` once all parts are complete")
    if verify and keywords["dry_run"]:
        raise UsageError("--verify can't be used with --dry-run, which copies nothing; give only one")
    keywords["config"] = config
    with running.run(quiet=quiet, listen=listen, state=keywords["state"]) as run:
        stores = running.store(source, "source", config), running.store(target, "target", config)
        report = copy(
            *stores,
            wanted=wanted,
            ids=ids,
            part=part,
            on_conflict=on_conflict,
            template=template,
            keep_revisions=keep_revisions,
            mend_ids=mend_ids,
            create=create,
            **following,
            **run.watched(keywords),
        )
        if verify:
            verification = verify_stores(
                *stores,
                wanted=wanted,
                ids=ids,
                scope=scope_of_job(report.job, keywords["state"]),
                allow_extra=True,
                mend_ids=mend_ids,
                **run.watched(reading_keywords(keywords)),
            )
    running.print_report(report, as_json=as_json, quiet=quiet)
    if verify:
        running.print_verification(verification, as_json=as_json, quiet=quiet)
        sys.exit(report.exit_code if verification.agrees else verification.exit_code)
    sys.exit(report.exit_code)
