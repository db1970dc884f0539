"""Statistics as a page that a manager can be sent. `Statistics` enter, HTML leaves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from migrator.activations import forms
from migrator.activations.amounts import Group
from migrator.operations.stats.values import Statistics
from migrator.rendering import html, statistics_words
from migrator.rendering.history import columns
from migrator.rendering.tables import printable_name
from migrator.text.units import counted, human_bytes, human_share

_SHOWN = 25  # namespaces or actions
_COLUMNS = 90
_SOON_DAYS = 30


def page(found: Statistics) -> str:
    """The whole page."""
    when = forms.instant(found.now_ms // 1000 * 1000)
    return html.page(
        "OpenWhisk activations: what is stored, and how it grows",
        found.location,
        _parts(found),
        footer=f"migrator stats, {when}",
    )


def _parts(found: Statistics) -> Iterator[str]:
    yield html.cards(_cards(found))
    yield from _forecasts(found)
    yield html.facts(statistics_words.facts(found))
    yield from _history(found)
    yield from _groups("By namespace", found.namespaces)
    yield from _groups("By action", found.actions)
    yield from _retention(found)
    yield from _shards(found)
    yield from _largest(found)
    if found.notes:
        yield html.heading("How to read this")
        yield from map(html.note, found.notes)


def _cards(found: Statistics) -> Iterator[tuple[str, str]]:
    yield "activations", statistics_words.about(found, f"{found.activations:,}", is_bytes=False)
    if found.stored_bytes is None:
        yield "of JSON", human_bytes(found.size_bytes)
    else:
        yield "as stored", human_bytes(found.stored_bytes)
    if found.growth:
        yield "activations a day", f"{found.growth.activations:,.0f}"
        yield "growth a day", human_bytes(round(found.growth.stored_bytes))
    yield "errors", human_share(found.errors, found.activations)


def _forecasts(found: Statistics) -> Iterator[str]:
    for each in found.forecasts:
        if each.room.room_bytes <= 0:
            level = "bad"
        elif each.days is not None and each.days < _SOON_DAYS:
            level = "warn"
        else:
            level = "good"
        yield html.note(statistics_words.forecast(each), level)


def _history(found: Statistics) -> Iterator[str]:
    told = columns(found, _COLUMNS)
    if not told:
        return
    days = "day" if told[0].days == 1 else f"{counted(told[0].days, 'day')}"
    most = max(each.activations for each in told)
    said = [
        f"{each.name}: {counted(each.activations, 'activation')}, {counted(each.errors, 'error')}, "
        f"{human_bytes(each.size_bytes)}"
        for each in told
    ]
    yield html.heading("History")
    yield html.column_chart(
        f"Activations by {days}, up to {most:,}; of these errors in red",
        [(each.first, each.activations, each.errors) for each in told],
        [told[0].first, told[-1].first],
        words=said,
    )


def _groups(title: str, groups: Sequence[Group]) -> Iterator[str]:
    if not groups:
        return
    shown = groups[:_SHOWN]
    most = max(each.activations for each in shown) or 1
    rows = [statistics_words.group_cells(each) for each in shown]
    yield html.heading(title)
    yield html.table(
        ["name", "activations", "bytes", "errors"], rows, shares=[each.activations / most for each in shown]
    )
    if len(groups) > len(shown):
        yield html.paragraph(f"{counted(len(groups) - len(shown), 'more isn', 'more aren')}'t shown.")


def _retention(found: Statistics) -> Iterator[str]:
    if not found.retention:
        return
    rows = [statistics_words.retention_cells(each) for each in found.retention]
    marks = {(at, 4): "bad" for at, each in enumerate(found.retention) if each.fits is False}
    yield html.heading("What a retention would hold")
    yield html.table(["kept", "activations", "bytes of JSON", "as stored", ""], rows, texts=frozenset({4}), marks=marks)


def _shards(found: Statistics) -> Iterator[str]:
    if not found.shards:
        return
    yield html.heading(f"Shards of Elasticsearch, {statistics_words.shards_head(found)}")
    yield html.paragraph(statistics_words.shards_advice(found) + ".")
    rows = [
        [
            printable_name(each.name),
            human_bytes(each.size_bytes),
            "" if each.now is None else f"{each.now}",
            f"{each.suggested}",
        ]
        for each in found.shards[:_SHOWN]
        if each.suggested > 1
    ]
    if rows:
        yield html.table(["index", "bytes then", "shards now", "suggested"], rows)


def _largest(found: Statistics) -> Iterator[str]:
    if not found.largest:
        return
    rows = [
        [
            printable_name(each.name),
            human_bytes(each.size_bytes),
            human_bytes(each.logs_bytes),
            human_bytes(each.result_bytes),
            forms.instant(each.start_ms)[:10],
            each.id,
        ]
        for each in found.largest
    ]
    yield html.heading("The largest activations")
    yield html.table(["action", "bytes", "logs", "result", "started", "id"], rows, texts=frozenset({5}))
