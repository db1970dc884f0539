"""`migrator samples`: what the repository has to try and to deploy with, as files of one's own."""

from __future__ import annotations

from pathlib import Path

import click

from migrator.commands.options import examples, log_format_option, quiet_option
from migrator.commands.output import print_text
from migrator.errors import UsageError
from migrator.text.printable import printable_path

_HERE = Path(__file__).parents[1]
_PARTS = ("samples", "schedules")


@click.command(
    "samples", epilog=examples("migrator samples migrator-samples", "migrator archive list archive:DIR/samples/archive")
)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@quiet_option
@log_format_option
def samples_command(folder: Path, quiet: bool) -> None:
    """Write the samples to DIR.

    In DIR/schedules: ready schedules, units for systemd, a crontab, manifests for Kubernetes, rules for Prometheus and
    a dashboard for Grafana. In DIR/samples: a configuration, a compose file, a kustomize base, a Helm chart, an archive
    and files of activations, and an adapter for another kind of store. DIR must not exist, or be empty.

    Exit codes: 0 written; 2 DIR isn't empty, or can't be written.
    """
    import shutil

    try:
        if folder.exists() and any(folder.iterdir()):
            raise UsageError(f"{printable_path(folder)} isn't empty; give a new folder")
        for part in _PARTS:
            shutil.copytree(_source(part), folder / part, ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))
    except OSError as error:
        raise UsageError(f"{printable_path(folder)}: it can't be written: {error.strerror or error}") from error
    if not quiet:
        for path in sorted(folder.glob("*/*")):
            print_text(f"wrote {printable_path(path)}{'/' if path.is_dir() else ''}")
        print_text("")
        print_text("A small archive to try:")
        print_text(f"    migrator archive list archive:{printable_path(folder / 'samples/archive')}")


def _source(part: str) -> Path:
    """Where the files are: in the package as it is installed, beside it in the repository."""
    shipped = _HERE / "shipped" / part
    return shipped if shipped.is_dir() else _HERE.parent / part
