"""`migrator backup`: back up a store into an archive."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from migrator.commands.options import (
    config_option,
    examples,
    json_option,
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
    from migrator.records import Wanted
    from migrator.runs import WritingKeywords


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
@click.argument("source")
@click.argument("archive")
@selection_options
@click.option(
    "--mode",
    default="auto",
    show_default=True,
    metavar="auto|full|incremental",
    help="Everything, or what is new since the newest complete backup; auto is incremental where that can be.",
)
@click.option("--level", type=int, default=3, show_default=True, help="How hard Zstandard compresses: 1 to 22.")
@size_option("--part-size", default="32MiB", help="About how large a file of the backup gets.")
@click.option(
    "--encrypt-to",
    multiple=True,
    metavar="RECIPIENT",
    help="Encrypt to this public key of age (age1…); may be given several times. Without the secret key of one of "
    "them nobody can read the backup, this machine included.",
)
@click.option(
    "--encrypt-to-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The same with the public keys of a file, one a line.",
)
@click.option(
    "--file-mode",
    callback=_a_mode,
    metavar="MODE",
    help="Who may read the files of a folder, such as 0640. By default their owner (0600), and the group where the "
    "folder has the setgid bit (0640).",
)
@run_options
@config_option
@state_option
@json_option
@quiet_option
@log_format_option
def backup_command(
    source: str,
    archive: str,
    wanted: Wanted,
    mode: str,
    level: int,
    part_size: int,
    encrypt_to: tuple[str, ...],
    encrypt_to_file: Path | None,
    file_mode: int | None,
    keywords: WritingKeywords,
    config: Path | None,
    as_json: bool,
    quiet: bool,
    log_format: str,
) -> None:
    """Back up the activations of SOURCE into ARCHIVE: in full, or what is new since the last backup.

    ARCHIVE is a folder (archive:/var/backups/openwhisk) or a bucket (s3://bucket/prefix). Documents are kept exactly
    as the source has them. A backup exists when it is complete; one that was interrupted is gone on with by the same
    command. An incremental backup reads what was stored since, however long before it had started; deletions in the
    source are counted, and nothing is taken from earlier backups for them.

    A bucket's login and endpoint come from the variables that its cloud's own tools read (AWS_ACCESS_KEY_ID,
    AWS_ENDPOINT_URL, AWS_REGION …). With --encrypt-to the parts are files of the age format; which backups there are,
    and whether they are whole, can be seen without a key.

    Exit codes as for copy.
    """
    from migrator.adapters.archive.keys import read_recipients
    from migrator.backups import backup
    from migrator.commands import running
    from migrator.report import human_bytes

    with running.run(quiet=quiet, log_format=log_format) as run:
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
        print_json({**made.report.as_dict(), "backup": made.backup})
    elif not quiet:
        running.print_report(made.report, as_json=False, quiet=False)
        if made.backup:
            size, raw = human_bytes(made.backup.size_bytes), human_bytes(made.backup.raw_bytes)
            print_text(f"backup {made.backup.backup}: {made.backup.mode}, {size} ({raw} of documents)")
    sys.exit(made.report.exit_code)
