"""`migrator restore`: bring activations back from an archive."""

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
    keep_revisions_option,
    mend_ids_option,
    part_option,
    template_options,
)
from migrator.commands.options import (
    config_option,
    examples,
    identity_option,
    json_option,
    listen_option,
    log_format_option,
    quiet_option,
    run_options,
    selection_options,
    state_choice_options,
    state_option,
)

if TYPE_CHECKING:
    from migrator.activations.selection import SelectionSpec
    from migrator.adapters.elasticsearch import TemplateOptions
    from migrator.api.run import WritingKeywords


@click.command(
    "restore",
    cls=TemplateCommand,
    epilog=examples(
        "migrator restore archive:/var/backups/openwhisk elasticsearch://es2:9200",
        "migrator restore archive:/var/backups/openwhisk prod-couchdb --namespace guest --since 2026-11-01",
        "migrator restore s3://backups/openwhisk elasticsearch://es2:9200 --at 2026-11-20T12:00:00Z",
        "migrator restore archive:/var/backups/openwhisk prod-couchdb --identity key.txt",
    ),
)
@click.argument("archive", shell_complete=stores)
@click.argument("target", shell_complete=stores)
@state_choice_options
@identity_option
@selection_options
@part_option
@run_options
@conflict_option
@template_options
@keep_revisions_option
@mend_ids_option
@create_option
@listen_option
@config_option
@state_option
@json_option
@quiet_option
@log_format_option
def restore_command(
    archive: str,
    target: str,
    backup: str | None,
    at: str | None,
    identity: Path | None,
    wanted: SelectionSpec,
    part: str | None,
    keywords: WritingKeywords,
    on_conflict: str,
    template: TemplateOptions | None,
    keep_revisions: bool,
    mend_ids: bool,
    create: bool,
    listen: str | None,
    config: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Restore activations from ARCHIVE to TARGET.

    Restores the newest state of the archive, or an earlier one with --at or --backup, in full or in part. Documents
    arrive in the form of the target, whichever form the backup has; a store of the same form gets them back byte for
    byte. Documents already in the target stay. Run the same command again to resume. ARCHIVE may also be a file written
    by another tool: file:dump.json, acts.ndjson.gz.

    Exit codes: as for copy; also 6 no key opens an encrypted backup; 10 archive or backup not found; 12 the archive
    is damaged.
    """
    from migrator.api.restore import restore
    from migrator.commands import running

    keywords["config"] = config
    shown = running.archives(archive, "source", config)
    with running.run(quiet=quiet, listen=listen, state=keywords["state"], archives=shown) as run:
        report = restore(
            running.store(archive, "source", config),
            running.store(target, "target", config),
            backup=backup,
            at=at,
            identity=identity,
            wanted=wanted,
            part=part,
            on_conflict=on_conflict,
            template=template,
            keep_revisions=keep_revisions,
            mend_ids=mend_ids,
            create=create,
            **run.watched(keywords),
        )
    running.print_report(report, as_json=as_json, quiet=quiet)
    sys.exit(report.exit_code)
