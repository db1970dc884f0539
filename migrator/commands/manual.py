"""`migrator completion` and `migrator man`: what a shell and `man` know of the commands."""

from __future__ import annotations

from pathlib import Path

import click

from migrator.commands.options import examples, log_format_option, quiet_option
from migrator.commands.output import print_text
from migrator.errors import UsageError
from migrator.text.printable import printable_path
from migrator.text.units import counted

_SHELLS = ("bash", "zsh", "fish")


@click.command(
    "completion",
    epilog=examples(
        "migrator completion bash > ~/.local/share/bash-completion/completions/migrator",
        "migrator completion zsh > ~/.zfunc/_migrator",
        "migrator completion fish > ~/.config/fish/completions/migrator.fish",
    ),
)
@click.argument("shell", type=click.Choice(_SHELLS))
@log_format_option
def completion_command(shell: str) -> None:
    """Print a script that completes commands in SHELL.

    It completes commands and options, the names of stores in migrator.toml, jobs, schedules, and the values of
    options. Once in ~/.bashrc also works: eval "$(migrator completion bash)". For zsh, the folder of the file must be
    in fpath before compinit.
    """
    from click.shell_completion import get_completion_class

    from migrator.commands.main import migrator

    kind = get_completion_class(shell)
    assert kind is not None
    print_text(kind(migrator, {}, "migrator", "_MIGRATOR_COMPLETE").source().rstrip("\n"))


@click.command("man", epilog=examples("migrator man ~/.local/share/man/man1", "migrator man /usr/local/share/man/man1"))
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@quiet_option
@log_format_option
def man_command(folder: Path, quiet: bool) -> None:
    """Write a manual page for each command to DIR.

    Then `man migrator` and `man migrator-copy` show them, if DIR is a folder man1 of the manual's path.
    """
    from migrator.commands.reference import entries, man_name, man_page
    from migrator.durable import write_file

    written = 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for entry in entries():
            write_file(folder / man_name(entry), man_page(entry).encode(), mode=0o644)
            written += 1
    except OSError as error:
        raise UsageError(f"{printable_path(folder)}: it can't be written: {error.strerror}") from error
    if not quiet:
        print_text(f"wrote {counted(written, 'page')} to {printable_path(folder)}; read one:")
        print_text(f"    man {printable_path(folder / 'migrator.1')}")
