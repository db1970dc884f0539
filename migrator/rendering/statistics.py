"""Statistics as text for a terminal: tables with bars. `Statistics` enter, lines leave."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence

from migrator.activations import forms
from migrator.activations.amounts import Group
from migrator.operations.stats.values import Statistics
from migrator.rendering import statistics_words
from migrator.rendering.bars import bar
from migrator.rendering.history import columns
from migrator.rendering.tables import align, fit, printable_name
from migrator.text.units import counted, human_bytes, human_share

_SHOWN = 15  # namespaces, actions or indices
_DAYS = 31  # lines of the chart by day
_LARGEST = 5
_BAR = 12  # at least, else none
Paint = Callable[[str], str]


def render(found: Statistics, *, width: int, paint: Paint = lambda text: text) -> str:
    """The answer within `width` columns; `paint` gives bars their colour."""
    facts = list(statistics_words.facts(found))
    pad = max(len(name) for name, _ in facts) + 2
    blocks = [
        [found.location, *(line for name, text in facts for line in _fold(f"  {name.ljust(pad)}", text, width))],
        list(_groups("by namespace", found.namespaces, width, paint)),
        list(_groups("by action", found.actions, width, paint)),
        list(_history(found, width, paint)),
        list(_retention(found)),
        [
            "when it is full",
            *(line for each in found.forecasts for line in _fold("  ", statistics_words.forecast(each), width)),
        ]
        if found.forecasts
        else [],
        list(_shards(found, width)),
        list(_largest(found, width)),
        ["notes", *(line for note in found.notes for line in _fold("  ", note, width))] if found.notes else [],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _fold(first: str, text: str, width: int) -> list[str]:
    return textwrap.wrap(
        text,
        max(width, 40),
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_on_hyphens=False,
    )


def _groups(title: str, groups: Sequence[Group], width: int, paint: Paint) -> Iterator[str]:
    if not groups:
        return
    shown = groups[:_SHOWN]
    rows = [statistics_words.group_cells(each) for each in shown]
    yield from _with_bars([title, "activations", "bytes", "errors"], rows, [g.activations for g in shown], width, paint)
    if len(groups) > len(shown):
        yield f"  … {len(groups) - len(shown):,} more (--json lists them)"


def _history(found: Statistics, width: int, paint: Paint) -> Iterator[str]:
    told = columns(found, _DAYS)
    if not told:
        return
    days = told[0].days
    title = "by day" if days == 1 else f"by {counted(days, 'day')}"
    rows = [
        [
            each.first,
            f"{each.activations:,}",
            human_bytes(each.size_bytes),
            human_share(each.errors, each.activations),
        ]
        for each in told
    ]
    yield from _with_bars([title, "activations", "bytes", "errors"], rows, [c.activations for c in told], width, paint)


def _retention(found: Statistics) -> Iterator[str]:
    if found.retention:
        rows = [statistics_words.retention_cells(each) for each in found.retention]
        yield from _table(["a retention of", "activations", "bytes", "as stored", ""], rows)


def _shards(found: Statistics, width: int) -> Iterator[str]:
    if not found.shards:
        return
    yield f"shards, {statistics_words.shards_head(found)}"
    yield from _fold("  ", statistics_words.shards_advice(found), width)
    more = [each for each in found.shards if each.suggested > 1][:_SHOWN]
    if more:
        rows = [
            [
                printable_name(each.name),
                human_bytes(each.size_bytes),
                "" if each.now is None else f"{each.now}",
                f"{each.suggested}",
            ]
            for each in more
        ]
        yield from _table(["index", "bytes then", "now", "suggested"], rows)


def _largest(found: Statistics, width: int) -> Iterator[str]:
    if found.largest:
        rows = [
            [
                f"{printable_name(each.name)} {each.id.rpartition('/')[2]}",
                human_bytes(each.size_bytes),
                human_bytes(each.logs_bytes),
                human_bytes(each.result_bytes),
                forms.instant(each.start_ms)[:10],
            ]
            for each in found.largest[:_LARGEST]
        ]
        head = ["largest", "bytes", "logs", "result", "started"]
        kept = fit([head, *rows], width - 2, spare=("logs", "result"))
        yield from _table(kept[0], kept[1:])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The first column to the left, the others to the right; words in the last, which has no name, stand left too."""
    left = [at for at, name in enumerate(head) if at == 0 or not name]
    return align([head, *([f"  {row[0]}", *row[1:]] for row in rows)], left=left)


def _with_bars(
    head: Sequence[str], rows: Sequence[Sequence[str]], values: Sequence[float], width: int, paint: Paint
) -> Iterator[str]:
    lines = _table(head, rows)
    room = width - max(map(len, lines)) - 2
    yield lines[0]
    for line, value in zip(lines[1:], values, strict=True):
        if room < _BAR:
            yield line
        else:
            drawn = bar(value, max(values), min(room, 50))
            yield f"{line.ljust(width - room)}{paint(drawn)}" if drawn else line
