"""`migrator detect`: which backend holds the activations, and what follows from that."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from migrator.commands.completing import stores as complete_stores
from migrator.commands.environment_options import environment_options
from migrator.commands.options import config_option, examples, json_option, log_format_option, quiet_option
from migrator.commands.output import print_json, print_text
from migrator.commands.terminal import width

if TYPE_CHECKING:
    from migrator.operations.detect.environment import Environment
    from migrator.settings.stores import Store


@click.command(
    "detect",
    epilog=examples(
        "migrator detect couchdb://admin@db1/whisk_local_activations elasticsearch://es1:9200",
        "migrator detect --env-file /etc/openwhisk/controller.env",
        "kubectl get statefulset,deployment,configmap,secret -o yaml | migrator detect --kubernetes -",
        "docker inspect controller0 invoker0 | migrator detect --docker-inspect -",
        "migrator detect --ansible ansible/environments/local",
        "migrator detect --helm-values mycluster.yaml couchdb://admin@127.0.0.1:5984/test_activations",
        "migrator detect --pid $(pgrep -of controller) --json",
    ),
)
@click.argument("stores", metavar="[STORE]...", nargs=-1, shell_complete=complete_stores)
@environment_options
@click.option("--exact", is_flag=True, help="Read CouchDB and archives from end to end instead of sampling.")
@config_option
@json_option
@quiet_option
@log_format_option
def detect_command(
    stores: tuple[str, ...],
    environments: list[Environment],
    exact: bool,
    config: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Find out where OpenWhisk keeps activations, and what is wrong.

    The options name where to read OpenWhisk's variables (CONFIG_whisk_…) from; FILE may be - for a pipe. Without such
    an option, the environment of this process is read. The stores that the variables name, and each STORE (a location,
    or a name in migrator.toml), are examined; if there are none, all stores of migrator.toml. Stores are only read: no
    view is built, no setting changed. Secrets are used to log in and never printed. Times of a large CouchDB are those
    of a sample, unless you give --exact.

    Exit codes: 0 all stores were examined, whatever was found; otherwise the highest of 5 unavailable, 6 login
    refused, 10 not found, 12 archive damaged. 10 also if the store that activations are written to isn't named, or is
    none that can be examined. The result is printed in any case.
    """
    from migrator.commands import running
    from migrator.operations.detect import detect
    from migrator.rendering.detection import render

    candidates = _stores(stores, environments, config)
    with running.run(quiet=quiet) as run:
        detection = detect(candidates, environments, exact=exact, stop=run.stop, observe=run.observe)
    if as_json:
        print_json(detection)
    else:
        print_text(render(detection, width=width()))
    sys.exit(detection.exit_code)


def _stores(texts: tuple[str, ...], environments: list[Environment], config: Path | None) -> list[Store]:
    """The stores that were named, else all of the configuration; its archives always, for what they say of backups."""
    from migrator.commands import running
    from migrator.settings.config import load, read_named_location

    names = list(texts)
    loaded = load(config)
    named = not texts and all(each.is_silent for each in environments)
    for name in loaded.stores:
        if name not in names and (named or read_named_location(name, loaded).location.kind == "archive"):
            names.append(name)
    return [running.store(text, "source", config) for text in names]
