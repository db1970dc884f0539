"""What the numbers mean, in the words that the terminal and the page share."""

from __future__ import annotations

import time
from collections.abc import Iterator

from migrator.activations import forms
from migrator.activations.amounts import Group
from migrator.operations.stats.values import Forecast, Retention, Statistics
from migrator.rendering.tables import printable_name
from migrator.text.units import counted, human_bytes, human_share

_LONG_DAYS = 3650


def facts(found: Statistics) -> Iterator[tuple[str, str]]:
    """The first things that are asked, each with its answer."""
    yield "store", f"{found.product} {found.version}".strip()
    yield "activations", about(found, f"{found.activations:,}", is_bytes=False)
    size = human_bytes(found.size_bytes)
    stored = "" if found.stored_bytes is None else f", {human_bytes(found.stored_bytes)} as stored"
    yield "size", about(found, f"{size} of JSON{stored}", is_bytes=True)
    if found.first_ms is not None and found.last_ms is not None:
        yield "started", f"{forms.instant(found.first_ms)} to {forms.instant(found.last_ms)}"
    yield (
        "logs, results",
        f"{human_share(found.logs_bytes, found.size_bytes)} and "
        f"{human_share(found.results_bytes, found.size_bytes)} of the size",
    )
    yield "errors", f"{found.errors:,}, {human_share(found.errors, found.activations)} (status code other than 0)"
    if found.unreadable:
        yield "unreadable", f"{found.unreadable:,} that should be activations"
    yield "growth", _growth(found)


def about(found: Statistics, text: str, *, is_bytes: bool) -> str:
    """A number, with a word where it is an estimate."""
    is_estimate = found.method == "sampled" or (is_bytes and found.method == "aggregated")
    return f"about {text}" if is_estimate else text


def _growth(found: Statistics) -> str:
    growth = found.growth
    if growth is None:
        return "not known before a full day"
    text = f"{counted(round(growth.activations), 'activation')} a day, {human_bytes(round(growth.size_bytes))} of JSON"
    if found.stored_bytes is not None:
        text += f", {human_bytes(round(growth.stored_bytes))} as stored"
    days = counted(growth.days, "day")
    text += f" (mean of the {days} to {growth.last_day})"
    if growth.change is not None:
        text += f"; {growth.change:+.0%} in the last week"
    return text


def forecast(each: Forecast) -> str:
    """When a disk is full, as a sentence."""
    room = f"{each.room.name} has {human_bytes(each.room.free_bytes)} free"
    if each.room.room_bytes <= 0:
        return f"{room}, and it has come so far: {each.room.limit}"
    if each.days is None:
        return f"{room}; nothing grows"
    if each.days > _LONG_DAYS or each.at_ms is None:
        return f"{room}: at this rate more than ten years until {each.room.limit}"
    when = time.strftime("%Y-%m-%d", time.gmtime(each.at_ms / 1000))
    return f"{room}: at this rate {counted(round(each.days), 'day')} until {each.room.limit}, {when}"


def group_cells(each: Group) -> list[str]:
    """The row of a namespace or an action: name, activations, bytes, share of errors."""
    return [printable_name(each.name), f"{each.activations:,}", human_bytes(each.size_bytes), f"{each.error_rate:.1%}"]


def retention_cells(each: Retention) -> list[str]:
    """The row of a retention: days, activations, bytes of JSON, bytes as stored, and what else is to be said of it."""
    projected = ["at this rate"] if each.is_projected else []
    fits = [] if each.fits is None else ["fits" if each.fits else "DOESN'T FIT on the disk"]
    return [
        counted(each.days, "day"),
        f"{each.activations:,}",
        human_bytes(each.size_bytes),
        human_bytes(each.stored_bytes),
        ", ".join(projected + fits),
    ]


def shards_head(found: Statistics) -> str:
    """What the sizes of shards are reported for."""
    return f"keeping {counted(found.shards_for_days, 'day')}" if found.shards_for_days else "for what is there now"


def shards_advice(found: Statistics) -> str:
    """The advice for most of the indices in one sentence."""
    one = sum(each.suggested == 1 for each in found.shards)
    what = "indices" if found.shards and found.shards[0].now is not None else "namespaces"
    text = f"one primary shard is enough for {one:,} of {len(found.shards):,} {what}"
    too_many = sum(each.now is not None and each.now > each.suggested for each in found.shards)
    if too_many:
        more = counted(too_many, "has more than it needs", "have more than they need")
        text += f"; {more} (migrator copy … --index-template --shards 1 makes new ones)"
    return text
