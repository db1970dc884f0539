"""The report of a run as text for a person."""

from __future__ import annotations

from typing import Any

import msgspec

from migrator.activations.accounts import Counts, total
from migrator.activations.document import REMARKS
from migrator.engine.report import Report
from migrator.rendering.arguments import in_options
from migrator.rendering.command_line import command, state_option
from migrator.rendering.fold import fold
from migrator.rendering.tables import in_columns, printable_name
from migrator.text.units import counted, human_bytes, human_duration, human_moment, plural


def report_as_dict(report: Report) -> dict[str, Any]:
    """The report as plain values: the schema of `--json`, version 1."""
    totals, plain = report.totals, msgspec.to_builtins(report)
    del plain["request"]
    return {
        "message_type": "report",
        "schema": 1,
        **plain,
        "warnings": [in_options(each) for each in report.warnings],
        "command": command(report.request),
        "totals": msgspec.to_builtins(totals),
        "adds_up": totals.adds_up,
        "exit_code": report.exit_code,
    }


def render_report(report: Report, *, width: int | None = None) -> str:
    """The report for a person: the accounts, and below them what the numbers alone don't say."""
    totals, keeps = report.totals, state_option(report.request)
    rate = report.run_read / report.duration_s if report.duration_s else 0
    lines = [
        "dry run: nothing was written; a copy would give this result"
        if report.state == "dry run"
        else f"job {report.job}, run {report.run}: {report.state}",
        f"{report.source.location} ({report.source.product} {report.source.version}) -> "
        f"{report.target.location} ({report.target.product} {report.target.version})",
        "",
        render_table(report, width=width),
        "",
        " + ".join(f"{name} {getattr(totals, name):,}" for name in _COLUMNS).replace(" + ", " = ", 1)
        + (": it adds up" if totals.adds_up else ": IT DOES NOT ADD UP; please report this"),
        f"this run: {counted(report.run_read, 'document')} read in {human_duration(report.duration_s)}, {rate:,.0f}/s"
        if report.run_read
        else f"this run: nothing new in the source ({human_duration(report.duration_s)})",
    ]
    if report.rounds and report.caught_up_to:
        moment = human_moment(report.caught_up_to)
        rounds = counted(report.rounds, "round")
        lines.append(
            f"caught up in {rounds}: everything stored in the source before {moment}, and not changed since, "
            "is accounted for"
        )
    for kind, documents in sorted(report.remarks.items()):
        lines.append(f"{documents:,} × {REMARKS.get(kind, kind)}")
    if report.deleted:
        seen = f"{counted(report.deleted, 'deletion')} {plural(report.deleted, 'was', 'were')} seen"
        lines.append(f"{seen} in the source; deletions are never copied")
    lines += report.warnings
    if report.rejected:
        reasons = plural(report.rejected, "its reason", "their reasons")
        lines.append(
            f"{counted(report.rejected, 'rejected document')}, kept with {reasons}: migrator status {report.job} "
            f"--rejected{keeps}; after fixing the cause: migrator retry-rejected {report.job}{keeps}"
        )
    if report.differing:
        differ = plural(report.differing, "differs", "differ")
        lines.append(
            f"{counted(report.differing, 'document')} {differ} in the target, which keeps its version: "
            f"migrator status {report.job} --differing{keeps}"
        )
    return "\n".join(fold(lines, width))


_SPARE = ("filtered", "rejected", "differing", "present", "bytes")  # their sums stand below the table
_COLUMNS = ("read", "written", "present", "differing", "rejected", "filtered")


def render_table(report: Report, *, width: int | None = None) -> str:
    """The accounts as a table for a terminal, one line a namespace, the sum below."""
    rows = [(printable_name(name) or "(not activations)", counts) for name, counts in sorted(report.counts.items())]
    shown = rows if len(rows) <= 40 else rows[:39]
    if len(rows) > len(shown):
        shown.append((f"({len(rows) - len(shown)} more)", total(counts for _, counts in rows[39:])))
    lines = [["namespace", *_COLUMNS, "bytes"]]
    lines += [[name, *_cells(counts)] for name, counts in shown]
    return in_columns(lines, ["total", *_cells(report.totals)], width=width, spare=_SPARE)


def _cells(counts: Counts) -> list[str]:
    return [*(f"{getattr(counts, column):,}" for column in _COLUMNS), human_bytes(counts.size_bytes)]
