"""A purge as text for a person, and as plain values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from migrator.activations.forms import instant
from migrator.engine.removal.values import KEPT, NamespacePurge, PurgeReport
from migrator.rendering.arguments import in_options
from migrator.rendering.tables import in_columns, printable_name
from migrator.text.units import counted, human_bytes, human_duration

_MOST_NAMESPACES = 40


def purge_as_dict(report: PurgeReport) -> dict[str, Any]:
    """The report as plain values: the schema of `--json`, version 1."""
    plain = msgspec.to_builtins(report)
    return {
        "message_type": "purge",
        "schema": 1,
        **plain,
        "warnings": [in_options(each) for each in report.warnings],
        "totals": msgspec.to_builtins(report.totals),
        "exit_code": report.exit_code,
    }


def render_purge(report: PurgeReport) -> str:
    """The report for a person: the accounts by namespace, what stays and why, and the space won."""
    totals = report.totals
    what = "logs of activations" if report.logs_only else "activations"
    lines = [
        "dry run: nothing was removed; a purge would give this result"
        if report.dry_run
        else f"{totals.removed:,} {'logs were emptied' if report.logs_only else 'activations were removed'}",
        f"{report.store.location} ({report.store.product} {report.store.version}): {what} that started before "
        f"{instant(report.limit_ms)}",
        f"proof: {report.proof.location} ({report.proof.product} {report.proof.version})",
        "",
        _table(report),
        "",
        *_staying(report),
        *_space(report),
        *report.warnings,
    ]
    if report.log is not None:
        lines.append(f"log of all that went and all that stays: {report.log}")
    lines.append(f"took {human_duration(report.duration_s)}")
    return "\n".join(lines)


def _table(report: PurgeReport) -> str:
    head = ["namespace", "older", "bytes", "proven", "bytes"]
    head += ["stay"] if report.dry_run else ["removed", "bytes", "gone", "stay"]
    rows = [(printable_name(name) or "(unknown)", each) for name, each in report.namespaces.items()]
    shown = rows if len(rows) <= _MOST_NAMESPACES else rows[: _MOST_NAMESPACES - 1]
    if len(rows) > len(shown):
        rest = NamespacePurge()
        for _, each in rows[len(shown) :]:
            rest.add(each)
        shown.append((f"({len(rows) - _MOST_NAMESPACES + 1} more)", rest))
    lines = [head, *([name, *_cells(each, dry_run=report.dry_run)] for name, each in shown)]
    return in_columns(lines, ["total", *_cells(report.totals, dry_run=report.dry_run)])


def _cells(each: NamespacePurge, *, dry_run: bool) -> list[str]:
    cells = [f"{each.old:,}", human_bytes(each.old_bytes), f"{each.proven:,}", human_bytes(each.proven_bytes)]
    if not dry_run:
        cells += [f"{each.removed:,}", human_bytes(each.removed_bytes), f"{each.gone:,}"]
    return [*cells, f"{each.kept:,}"]


def _staying(report: PurgeReport) -> Iterator[str]:
    """What stays, by its reason, with some of the ids."""
    for kind, count in report.kept.items():
        yield f"{count:,} × stays: {KEPT[kind]}"
    for each in report.examples:
        note = f" ({each.note})" if each.note else ""
        where = f"{each.index}/" if each.index else ""
        yield f"  {each.kind}  {where}{each.id}{note}"
    if (more := sum(report.kept.values()) - len(report.examples)) > 0:
        yield f"  and {more:,} more" + ("; the log names them" if report.log else "")


def _space(report: PurgeReport) -> Iterator[str]:
    if report.earlier:
        yield f"an interrupted run had removed {report.earlier:,} more"
    if report.forgotten is not None:
        yield f"{counted(report.forgotten, 'tombstone was', 'tombstones were')} dropped"
    before, after = report.space_before, report.space_after
    if before is None or after is None or before.size_bytes is None or after.size_bytes is None:
        return
    won = before.size_bytes - after.size_bytes
    said = f"{human_bytes(before.size_bytes)} -> {human_bytes(after.size_bytes)} on disk"
    yield f"{said}, {human_bytes(won)} won" if won > 0 else f"{said}; the server frees space later"


__all__ = ["purge_as_dict", "render_purge"]
