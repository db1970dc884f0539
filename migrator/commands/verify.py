"""`migrator verify`: tell whether the same activations are in two stores."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from migrator.commands.completing import stores
from migrator.commands.copy_options import ids_option, mend_ids_option
from migrator.commands.options import (
    config_option,
    examples,
    json_option,
    listen_option,
    log_format_option,
    quiet_option,
    read_only_options,
    selection_options,
    share_option,
    state_option,
)

if TYPE_CHECKING:
    from migrator.activations.selection import SelectionSpec
    from migrator.api.run import RunKeywords


@click.command(
    "verify",
    epilog=examples(
        "migrator verify prod-couchdb prod-elasticsearch",
        "migrator verify prod-couchdb prod-elasticsearch --output differs.ndjson",
        "migrator copy prod-couchdb prod-elasticsearch --ids differs.ndjson --on-conflict overwrite",
        "migrator verify prod-elasticsearch archive:/var/backups/openwhisk --until 1d --sample 1%",
    ),
)
@click.argument("a", shell_complete=stores)
@click.argument("b", shell_complete=stores)
@selection_options
@ids_option
@read_only_options
@share_option(example="1%", help="Count everything, but compare the content of only this share, such as 1%.")
@click.option(
    "--allow-extra", is_flag=True, help="Report activations that are only in B, but don't count them as a difference."
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write every difference to FILE as a line of JSON, for `migrator copy --ids FILE`.",
)
@mend_ids_option
@listen_option
@config_option
@state_option
@json_option
@quiet_option
@log_format_option
def verify_command(
    a: str,
    b: str,
    wanted: SelectionSpec,
    ids: Path | None,
    keywords: RunKeywords,
    sample: float | None,
    allow_extra: bool,
    output: Path | None,
    mend_ids: bool,
    listen: str | None,
    config: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Verify that A and B hold the same activations.

    A and B are locations or names of stores, including archives. Both are read from the beginning. Activations of A
    are compared as OpenWhisk would have written them to B, so what B's form can't hold is not a difference. The result
    lists counts by namespace, and ids that are missing in B, only in B, or different, with the fields that differ.
    What was stored or deleted since the verification began is counted separately. What was read from each side is
    compared with its server's own count. Run the same command again to resume an interrupted verification; a complete
    one starts over.

    Exit codes: 0 the same; 3 the same, but some documents can't be compared; 4 they differ, or a listing and a lookup
    by id return different documents; 5 a server stayed unavailable, or returned fewer documents than it counts; 6
    login refused or privilege missing; 10 a store was not found, or neither holds the names you gave; 12 an archive is
    damaged; 130/143 interrupted.
    """
    from migrator.api.verify import verify
    from migrator.commands import running

    with running.run(quiet=quiet, listen=listen, state=keywords["state"]) as run:
        found = verify(
            running.store(a, "source", config),
            running.store(b, "target", config),
            wanted=wanted,
            ids=ids,
            sample=sample,
            allow_extra=allow_extra,
            output=output,
            mend_ids=mend_ids,
            **run.watched(keywords),
        )
    running.print_verification(found, as_json=as_json, quiet=quiet)
    sys.exit(found.exit_code)
