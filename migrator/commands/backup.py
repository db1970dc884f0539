"""`migrator backup`: back up a store into an archive."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from migrator.commands.completing import choices, stores
from migrator.commands.options import (
    config_option,
    examples,
    json_option,
    listen_option,
    log_format_option,
    quiet_option,
    run_options,
    selection_options,
    size_option,
    state_option,
)
from migrator.commands.output import print_json, print_text
from migrator.errors import UsageError

if TYPE_CHECKING:
    from migrator.activations.selection import SelectionSpec
    from migrator.api.run import WritingKeywords


def _a_mode(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    if not re.fullmatch("0?[0-7]{3}", value.strip(), re.ASCII):
        raise UsageError(f"--file-mode {value}: give a mode such as 0600, 0640 or 0644")
    return int(value, 8)


@click.command(
    "backup",
    epilog=examples(
        "migrator backup elasticsearch://es1:9200 archive:/var/backups/openwhisk",
        "migrator backup prod-couchdb archive:/var/backups/openwhisk --mode full",
        "migrator backup prod-elasticsearch s3://backups/openwhisk --namespace guest --max-rate 5000",
        "migrator backup prod-couchdb s3://backups/openwhisk --encrypt-to-file recipients.txt",
    ),
)
@click.argument("source", shell_complete=stores)
@click.argument("archive", shell_complete=stores)
@selection_options
@click.option(
    "--mode",
    default="auto",
    show_default=True,
    metavar="auto|full|incremental",
    shell_complete=choices("auto", "full", "incremental"),
    help="Read everything, or only what is new since the newest complete backup; auto is incremental where possible.",
)
@click.option("--level", type=int, default=3, show_default=True, help="Zstandard compression level, 1 to 22.")
@size_option("--part-size", default="32MiB", help="Approximate size of each file of the backup.")
@click.option(
    "--encrypt-to",
    multiple=True,
    metavar="RECIPIENT",
    help="Encrypt to this age public key (age1…); repeatable. Only a holder of a matching secret key can read the "
    "backup; not even this machine can without one.",
)
@click.option(
    "--encrypt-to-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Encrypt to the public keys in this file, one per line.",
)
@click.option(
    "--file-mode",
    callback=_a_mode,
    metavar="MODE",
    help="File mode of the files in a folder, such as 0640; by default 0600, or 0640 if the folder has the setgid bit.",
)
@run_options
@listen_option
@config_option
@state_option
@json_option
@quiet_option
@log_format_option
def backup_command(
    source: str,
    archive: str,
    wanted: SelectionSpec,
    mode: str,
    level: int,
    part_size: int,
    encrypt_to: tuple[str, ...],
    encrypt_to_file: Path | None,
    file_mode: int | None,
    keywords: WritingKeywords,
    listen: str | None,
    config: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Back up SOURCE to ARCHIVE, in full or incrementally.

    ARCHIVE is a folder (archive:/var/backups/openwhisk) or a bucket (s3://bucket/prefix). Documents are kept exactly
    as the source has them. A backup exists only once it is complete; run the same command again to resume an
    interrupted one. An incremental backup reads everything stored since the last backup, including activations that
    started long before. Deletions in the source are counted; earlier backups keep what was deleted.

    A bucket's login and endpoint come from the environment variables of its cloud's own tools (AWS_ACCESS_KEY_ID,
    AWS_ENDPOINT_URL, AWS_REGION …). With --encrypt-to, parts are encrypted in the age format; listing backups and
    checking hashes needs no key.

    Exit codes: as for copy.
    """
    from migrator.adapters.archive.keys import read_recipients
    from migrator.api.backup import backup
    from migrator.commands import running
    from migrator.rendering.report import report_as_dict
    from migrator.text.units import human_bytes

    keywords["config"] = config
    shown = running.archives(archive, "target", config)
    with running.run(quiet=quiet, listen=listen, state=keywords["state"], archives=shown) as run:
        made = backup(
            running.store(source, "source", config),
            running.store(archive, "target", config),
            wanted=wanted,
            mode=mode,
            level=level,
            part_bytes=part_size,
            encrypt_to=(*encrypt_to, *(read_recipients(encrypt_to_file) if encrypt_to_file else ())),
            file_mode=file_mode,
            **run.watched(keywords),
        )
    if as_json:
        print_json({**report_as_dict(made.report), "backup": made.backup})
    elif not quiet or made.report.state == "dry run":
        running.print_report(made.report, as_json=False, quiet=False)
        if made.backup:
            size, raw = human_bytes(made.backup.size_bytes), human_bytes(made.backup.raw_bytes)
            print_text(f"backup {made.backup.backup}: {made.backup.mode}, {size} ({raw} of documents)")
    sys.exit(made.report.exit_code)
