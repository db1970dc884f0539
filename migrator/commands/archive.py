"""`migrator archive`: what lies in an archive, whether it is whole, what is in it, and what may go."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from migrator.commands.completing import stores
from migrator.commands.messages import current
from migrator.commands.options import (
    config_option,
    examples,
    identity_option,
    json_option,
    log_format_option,
    quiet_option,
    selection_options,
    share_option,
    state_choice_options,
)
from migrator.commands.output import print_bytes, print_json, print_text
from migrator.commands.terminal import width
from migrator.errors import UsageError
from migrator.text.printable import printable

if TYPE_CHECKING:
    from migrator.activations.document import Rejection
    from migrator.activations.selection import SelectionSpec
    from migrator.operations.archive.diff import Changed
    from migrator.settings.stores import Store


@click.group(
    "archive",
    invoke_without_command=True,
    epilog=examples(
        "migrator archive list archive:/var/backups/openwhisk",
        "migrator archive check archive:/var/backups/openwhisk --quick",
        "migrator archive prune archive:/var/backups/openwhisk --keep-daily 7 --keep-monthly 12 --dry-run",
    ),
)
@click.pass_context
def archive_command(context: click.Context) -> None:
    """List, check, repair, print, prune or compare backups."""
    from migrator.commands.main import help_without_command

    help_without_command(context)


def _readable(archive: str, identity: Path | None, config: Path | None) -> Store:
    """The archive that a name or a location means, with the key that opens what is encrypted."""
    from migrator.commands import running

    store = running.store(archive, "source", config)
    return msgspec.structs.replace(store, identity_file=str(identity)) if identity is not None else store


# -- list ---------------------------------------------------------------------------------------------------------


@archive_command.command(
    "list",
    epilog=examples(
        "migrator archive list archive:/var/backups/openwhisk",
        "migrator archive list s3://backups/openwhisk --json | jq -r '.backups[] | select(.state != \"complete\")'",
    ),
)
@click.argument("archive", shell_complete=stores)
@config_option
@json_option
@log_format_option
def list_command(archive: str, config: Path | None, as_json: bool) -> None:
    """List the backups of ARCHIVE by chain, with size, counts and state.

    A backup is complete, unfinished (running or interrupted), incomplete (a part is missing or truncated), broken (a
    backup it builds on isn't complete), damaged (its manifest can't be read) or remains (it has no manifest).

    Exit codes: 0 listed, whatever the states; 10 archive not found.
    """
    from migrator.commands import running
    from migrator.operations.archive.listing import list_archive
    from migrator.rendering import archive as archive_texts

    listing = list_archive(running.store(archive, "source", config))
    if as_json:
        print_json(listing)
    else:
        print_text(archive_texts.listing_text(listing, width=width()))


# -- check --------------------------------------------------------------------------------------------------------


@archive_command.command(
    "check",
    epilog=examples(
        "migrator archive check archive:/var/backups/openwhisk",
        "migrator archive check s3://backups/openwhisk --quick",
        "migrator archive check archive:/var/backups/openwhisk --sample 5%",
        "migrator archive check archive:/var/backups/openwhisk --repair archive:/var/backups/saved",
    ),
)
@click.argument("archive", shell_complete=stores)
@click.option(
    "--quick", is_flag=True, help="Check only manifests and the size and SHA-256 of every part; needs no key."
)
@share_option(example="5%", help="Read only this share of the parts, chosen at random, such as 5%.")
@click.option("--repair", metavar="OUT", help="Save every document of every intact frame to a new archive, OUT.")
@click.option("--jobs", type=int, default=2, show_default=True, help="Number of parts read in parallel.")
@identity_option
@config_option
@json_option
@quiet_option
@log_format_option
def check_command(
    archive: str,
    quick: bool,
    sample: float | None,
    repair: str | None,
    jobs: int,
    identity: Path | None,
    config: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Check ARCHIVE for damage, and print each finding with part, frame and bytes.

    Everything is read: every frame is decompressed, every line parsed as a document and every id hashed, and all of
    it is compared with index, manifest and SHA256SUMS. With --repair, everything intact in a damaged archive is saved
    to a new one and everything missing is listed; ARCHIVE itself is not changed.

    Exit codes: 0 intact; 12 damaged, even if it was saved; 10 archive not found; 2 newer version of the format; 6 no
    key opens an encrypted part.
    """
    from migrator.commands import running
    from migrator.operations.archive.check import check_archive
    from migrator.operations.archive.salvage import salvage_archive
    from migrator.rendering import archive as archive_texts

    if repair is not None and sample is not None:
        raise UsageError("--repair needs a full check; omit --sample")
    source = _readable(archive, identity, config)
    out = running.store(repair, "target", config) if repair is not None else None
    saved = None
    with running.run(quiet=quiet) as run:
        report = check_archive(
            source, quick=quick, sample=sample, jobs=jobs, stop=run.stop, observe=run.observe, tell=run.tell
        )
        if out is not None and report.findings:
            saved = salvage_archive(source, out, stop=run.stop, observe=run.observe, tell=run.tell)
    if as_json:
        told = {**msgspec.to_builtins(report), "exit_code": report.exit_code}
        print_json({**told, "salvage": saved} if repair is not None else told)
    else:
        for line in archive_texts.check_lines(report, quiet=quiet):
            print_text(line)
        if saved is not None:
            for line in archive_texts.salvage_lines(saved):
                print_text(line)
        elif repair is not None and not quiet:
            print_text("there was nothing to save")
    sys.exit(report.exit_code)


# -- cat ----------------------------------------------------------------------------------------------------------


@archive_command.command(
    "cat",
    epilog=examples(
        "migrator archive cat archive:/var/backups/openwhisk --since 7d --form couchdb | jq .activationId",
        "migrator archive cat archive:/var/backups/openwhisk --at 2026-11-01 --form elasticsearch > november.ndjson",
    ),
)
@click.argument("archive", shell_complete=stores)
@state_choice_options
@identity_option
@selection_options
@click.option(
    "--form",
    type=click.Choice(["couchdb", "elasticsearch"]),
    help="Form of the printed documents; by default the form they are archived in.",
)
@config_option
@quiet_option
@log_format_option
def cat_command(
    archive: str,
    backup: str | None,
    at: str | None,
    identity: Path | None,
    wanted: SelectionSpec,
    form: str | None,
    config: Path | None,
    quiet: bool,
) -> None:
    """Print documents of ARCHIVE, one per line.

    Each document is printed once, in its newest version. Lines in Elasticsearch form can be read by elasticdump.

    Exit codes: 0 all printed; 3 some can't be converted to the form, and each is reported; 10 archive or backup not
    found, or nothing in it matches the names you gave; 12 the archive is damaged.
    """
    from migrator.activations.document import Form
    from migrator.commands import running
    from migrator.operations.archive.cat import cat_archive

    rejected = 0

    def reject(rejection: Rejection) -> None:
        nonlocal rejected
        rejected += 1
        current.get().warn(f"{rejection.id} was skipped: {rejection.reason}")

    with running.run(quiet=quiet) as run:
        for line in cat_archive(
            _readable(archive, identity, config),
            backup=backup,
            at=at,
            wanted=wanted,
            form=Form(form) if form else None,
            reject=reject,
            stop=run.stop,
            tell=run.tell,
        ):
            print_bytes(line, b"\n")
    sys.exit(3 if rejected else 0)


# -- prune --------------------------------------------------------------------------------------------------------


@archive_command.command(
    "prune",
    epilog=examples(
        "migrator archive prune archive:/var/backups/openwhisk --keep-last 3 --keep-within 30d --dry-run",
        "migrator archive prune s3://backups/openwhisk --keep-daily 7 --keep-weekly 4 --keep-monthly 12",
        "migrator archive prune archive:/var/backups/openwhisk --keep-last 3 --unfinished-older-than 7d",
    ),
)
@click.argument("archive", shell_complete=stores)
@click.option("--keep-last", type=int, default=0, metavar="N", help="Keep the last N backups.")
@click.option("--keep-daily", type=int, default=0, metavar="N", help="Keep the newest of each of the last N days.")
@click.option("--keep-weekly", type=int, default=0, metavar="N", help="Keep the newest of each of the last N weeks.")
@click.option("--keep-monthly", type=int, default=0, metavar="N", help="Keep the newest of each of the last N months.")
@click.option("--keep-yearly", type=int, default=0, metavar="N", help="Keep the newest of each of the last N years.")
@click.option("--keep-within", metavar="AGE", help="Keep every backup younger than this: 36h, 30d, 12w.")
@click.option(
    "--unfinished-older-than",
    metavar="AGE",
    help="Also delete unfinished backups begun longer ago, and remains of interrupted deletions.",
)
@click.option("--dry-run", "-n", is_flag=True, help="Print what would be deleted; delete nothing.")
@config_option
@json_option
@quiet_option
@log_format_option
def prune_command(
    archive: str,
    keep_last: int,
    keep_daily: int,
    keep_weekly: int,
    keep_monthly: int,
    keep_yearly: int,
    keep_within: str | None,
    unfinished_older_than: str | None,
    dry_run: bool,
    config: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Delete the backups of ARCHIVE that no --keep rule keeps.

    Give at least one rule; a backup that any rule keeps is kept. Days, weeks, months and years are in UTC, and only
    those with a backup count. Backups of another source or selection are counted separately. Never deleted: the newest
    complete backup, backups that a kept one builds on or an unfinished one continues, and damaged backups.

    Exit codes: 0 done; 10 archive not found.
    """
    from migrator.commands import running
    from migrator.operations.archive.prune import prune_archive
    from migrator.operations.archive.retention import Retention
    from migrator.rendering import archive as archive_texts

    report = prune_archive(
        running.store(archive, "target", config),
        Retention(
            last=keep_last,
            daily=keep_daily,
            weekly=keep_weekly,
            monthly=keep_monthly,
            yearly=keep_yearly,
            within=keep_within,
        ),
        dry_run=dry_run,
        unfinished_older_than=unfinished_older_than,
    )
    if as_json:
        print_json(report)
    elif not quiet:
        for line in archive_texts.prune_lines(report):
            print_text(line)


# -- diff ---------------------------------------------------------------------------------------------------------


@archive_command.command(
    "diff",
    epilog=examples(
        "migrator archive diff archive:/var/backups/openwhisk 20261123T02 20261124T02",
        "migrator archive diff archive:/var/backups/openwhisk 20261123T02 20261124T02 --ids | grep ^changed",
    ),
)
@click.argument("archive", shell_complete=stores)
@click.argument("first")
@click.argument("second")
@selection_options
@click.option("--ids", is_flag=True, help="Print every id that was added, changed or removed.")
@identity_option
@config_option
@json_option
@quiet_option
@log_format_option
def diff_command(
    archive: str,
    first: str,
    second: str,
    wanted: SelectionSpec,
    ids: bool,
    identity: Path | None,
    config: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Compare two backups of ARCHIVE: what was added, changed and removed.

    FIRST and SECOND are ids of backups, or unique prefixes of them; each backup is compared with everything it builds
    on. Activations are compared by value.

    Exit codes: 0 compared, whatever was found; 10 backup not found; 12 the archive is damaged.
    """
    from migrator.commands import running
    from migrator.operations.archive.diff import diff_archive
    from migrator.rendering import archive as archive_texts

    def tell_id(changed: Changed) -> None:
        if as_json:
            print_json(changed)
        else:
            fields = f"  {', '.join(changed.fields)}" if changed.fields else ""
            print_text(printable(f"{changed.what:<8}{changed.id}{fields}"))

    with running.run(quiet=quiet) as run:
        difference = diff_archive(
            _readable(archive, identity, config),
            first,
            second,
            wanted=wanted,
            each=tell_id if ids else lambda _: None,
            stop=run.stop,
            observe=run.observe,
            tell=run.tell,
        )
    if as_json:
        told = {**msgspec.to_builtins(difference), "total": difference.total}
        print_json(told)
    elif not quiet:
        print_text(archive_texts.difference_text(difference))
