"""All commands as a manual: pages for `man`, and one page for the site. Made of what `--help` prints.

The texts of the commands enter, roff and Markdown leave.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from importlib.metadata import version

import click
import msgspec

_PROGRAM = "migrator"
_PACKAGE = "openwhisk-activation-migrator"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One command, with its texts as they are written."""

    path: tuple[str, ...]  # "migrator", "archive", "list"
    usage: str
    summary: str  # the first sentence, without its full stop
    paragraphs: tuple[str, ...]  # the rest
    options: tuple[tuple[str, str], ...]
    examples: tuple[str, ...]
    exit_codes: str  # of the text, empty where it has none
    subcommands: tuple[tuple[str, str], ...] = ()  # with their summaries

    @property
    def name(self) -> str:
        return " ".join(self.path)


def entries() -> Iterator[Entry]:
    """Every command and subcommand, in the order of the help."""
    from migrator.commands.main import migrator

    yield from _entries(migrator, (_PROGRAM,), None)


def _entries(command: click.Command, path: tuple[str, ...], parent: click.Context | None) -> Iterator[Entry]:
    context = click.Context(command, parent=parent, info_name=path[-1])
    below: list[tuple[str, click.Command]] = []
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            below.append((name, found))
    yield _entry(command, path, context, tuple((name, _summary(each)) for name, each in below))
    for name, each in below:
        yield from _entries(each, (*path, name), context)


def _entry(
    command: click.Command, path: tuple[str, ...], context: click.Context, subcommands: tuple[tuple[str, str], ...]
) -> Entry:
    paragraphs = _paragraphs(command)
    codes = [each for each in paragraphs if each.startswith("Exit codes")]
    options = [each for each in command.get_params(context) if isinstance(each, click.Option)]
    records = [each.get_help_record(context) for each in options]
    return Entry(
        path=path,
        usage=" ".join(command.collect_usage_pieces(context)),
        summary=_summary(command),
        paragraphs=tuple(each for each in paragraphs[1:] if each not in codes),
        options=tuple((names, " ".join(help.split())) for names, help in filter(None, records)),
        examples=tuple(re.findall(r"^  (migrator .*|kubectl .*|docker .*)$", _epilog(command), re.MULTILINE)),
        exit_codes=(codes[0].partition(":")[2].strip() if codes else "") or _table_of_codes(command),
        subcommands=subcommands,
    )


def _paragraphs(command: click.Command) -> list[str]:
    text = inspect.cleandoc(command.help or "")
    return [" ".join(each.split()) for each in text.split("\n\n")]


def _summary(command: click.Command) -> str:
    return _paragraphs(command)[0].rstrip(".")


def _epilog(command: click.Command) -> str:
    return (command.epilog or "").replace("\b\n", "")


def _table_of_codes(command: click.Command) -> str:
    """The exit codes of the program itself stand below its help, one a line."""
    found = re.findall(r"^ +(\d+(?:, \d+)*) {2}(.+)$", _epilog(command), re.MULTILINE)
    return "; ".join(f"{code} {text}" for code, text in found)


# -- man ------------------------------------------------------------------------------------------------------------


def man_name(entry: Entry) -> str:
    """The name of a page's file: `migrator-archive-list.1`."""
    return f"{'-'.join(entry.path)}.1"


def man_page(entry: Entry) -> str:
    """A page for `man`."""
    title = "-".join(entry.path)
    lines = [
        f'.TH "{_roff(title.upper())}" "1" "" "{_roff(f"{_PROGRAM} {version(_PACKAGE)}")}" "{_PROGRAM}"',
        ".SH NAME",
        f"{_roff(title)} \\- {_roff(entry.summary[:1].lower() + entry.summary[1:])}",
        ".SH SYNOPSIS",
        f".B {_roff(entry.name)}",
        _roff(entry.usage),
        ".SH DESCRIPTION",
        f"{_roff(entry.summary)}.",
    ]
    for paragraph in entry.paragraphs:
        lines += [".PP", _roff(paragraph)]
    for heading, pairs in (("COMMANDS", entry.subcommands), ("OPTIONS", entry.options)):
        if pairs:
            lines.append(f".SH {heading}")
        for name, help in pairs:
            lines += [".TP", f".B {_roff(name)}", _roff(help)]
    if entry.exit_codes:
        lines.append(".SH EXIT STATUS")
        for each in entry.exit_codes.rstrip(".").split("; "):
            lines += [".TP", _roff(each)] if not lines[-1].startswith(".TP") else [_roff(each)]
    if entry.examples:
        lines += [".SH EXAMPLES", ".nf", *map(_roff, entry.examples), ".fi"]
    others = [man_name(each)[:-2] for each in _related(entry)]
    if others:
        lines += [".SH SEE ALSO", ", ".join(f"\\fB{_roff(each)}\\fR(1)" for each in others)]
    return "\n".join(lines) + "\n"


def _related(entry: Entry) -> list[Entry]:
    """The command above, or the commands below."""
    return [
        each
        for each in entries()
        if each.path == entry.path[:-1] or (each.path[:-1] == entry.path and each.path != entry.path)
    ]


def _roff(text: str) -> str:
    """Text in which nothing steers roff; a hyphen stays one that can be copied."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


# -- the site -------------------------------------------------------------------------------------------------------


def reference_page() -> str:
    """All commands on one page of Markdown."""
    lines = ["# Commands", "", "Made of what `--help` prints. Also as pages for `man`: `migrator man DIR`.", ""]
    for entry in entries():
        level = "#" * min(4, len(entry.path) + 1)
        lines += [f"{level} {entry.name}", "", f"{_markdown(entry.summary)}.", "", "```", f"{entry.name} {entry.usage}"]
        lines += ["```", ""]
        for paragraph in entry.paragraphs:
            lines += [_markdown(paragraph), ""]
        if entry.options:
            lines += ["| option | |", "|---|---|"]
            lines += [f"| `{name.replace('|', chr(0x2223))}` | {_cell(help)} |" for name, help in entry.options]
            lines.append("")
        if entry.exit_codes:
            lines += [f"Exit codes: {_markdown(entry.exit_codes.rstrip('.'))}.", ""]
        if entry.examples:
            lines += ["```", *entry.examples, "```", ""]
    return "\n".join(lines)


def _markdown(text: str) -> str:
    return re.sub(r"([<>*_\[\]])", r"\\\1", text)


def _cell(text: str) -> str:
    return _markdown(text).replace("|", "\\|")
