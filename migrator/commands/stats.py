"""`migrator stats`: what a store holds, how it grows, and when its disk is full."""

from __future__ import annotations

import os
import re
import shutil
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
    parse_size,
    quiet_option,
    selection_options,
)
from migrator.commands.output import print_json, print_text
from migrator.errors import UsageError

if TYPE_CHECKING:
    from migrator.activations.selection import SelectionSpec

_AGE = re.compile(r"(\d{1,5})\s*d?", re.ASCII)


def _ages(_: click.Context, __: click.Parameter, value: str) -> tuple[int, ...]:
    found = [_AGE.fullmatch(each.strip()) for each in value.split(",")]
    ages = [int(each[1]) for each in found if each]
    if len(ages) != len(found) or 0 in ages:
        raise UsageError(f"--retention {value}: give days such as 7d,30d,90d")
    return tuple(dict.fromkeys(ages))


def _size(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    return None if value is None else parse_size("--disk-free", value, example="200GB")


@click.command(
    "stats",
    epilog=examples(
        "migrator stats prod-elasticsearch",
        "migrator stats archive:/var/backups/openwhisk --html openwhisk.html",
        "migrator stats couchdb://admin@db1/whisk_local_activations --disk-free 200GB --retention 14d,365d",
        "migrator stats prod-elasticsearch --namespace 'team-*' --since 30d --json | jq .growth",
    ),
)
@click.argument("store", shell_complete=stores)
@selection_options
@click.option(
    "--retention",
    "ages",
    default="7d,30d,90d",
    show_default=True,
    callback=_ages,
    metavar="DAYS",
    help="Show how much there would be if only so many days were kept.",
)
@click.option(
    "--disk-free", callback=_size, metavar="SIZE", help="Space left for the store to grow into, such as 200GB or 1TB."
)
@click.option("--exact", is_flag=True, help="Read CouchDB or Elasticsearch from end to end.")
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write a page with charts to this file.",
)
@config_option
@json_option
@quiet_option
@log_format_option
def stats_command(
    store: str,
    wanted: SelectionSpec,
    ages: tuple[int, ...],
    disk_free: int | None,
    exact: bool,
    html: Path | None,
    config: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Show what STORE holds and how it grows.

    Shows activations, bytes and errors by namespace, action and day; growth, and when the disk will be full at this
    rate; what a retention would hold; how many shards are enough. Archives and files are read in full. Elasticsearch
    is asked for its counts, and sizes are estimated from a random sample; a large CouchDB is sampled; --exact reads
    all of either. The page of --html is one self-contained file.

    Exit codes: 0 done; 5 or 6 the store couldn't be read; 10 the store was not found, or holds nothing that matches
    the names you gave; 12 archive damaged; 130/143 interrupted.
    """
    from migrator.commands import running
    from migrator.operations.stats import stats
    from migrator.rendering.statistics import render

    with running.run(quiet=quiet) as run:
        found = stats(
            running.store(store, "source", config),
            wanted=wanted,
            exact=exact,
            ages=ages,
            disk_free_bytes=disk_free,
            stop=run.stop,
            observe=run.observe,
            tell=run.tell,
        )
    if html is not None:
        from migrator.rendering.statistics_page import page

        running.write_page(page(found), html)
    if as_json:
        print_json(found)
    elif not quiet:
        print_text(render(found, width=_width(), paint=_paint), coloured=True)


def _width() -> int:
    """Of the terminal; a pipe or a file gets a line that fits most."""
    return shutil.get_terminal_size((100, 24)).columns


def _paint(text: str) -> str:
    if os.environ.get("NO_COLOR") or not sys.stdout.isatty():
        return text
    return f"\033[36m{text}\033[0m"
