"""The accounts of a run, and how they are told to people and machines.

Counts enter, a table or JSON leaves. The one identity that everything is reconciled by:
read = written + present + differing + rejected + filtered.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from migrator.activations.document import REMARKS
from migrator.adapters.base import Description
from migrator.text.printable import NAME_WIDTH, printable


class Counts(msgspec.Struct, kw_only=True):
    """The accounts of one namespace, or of all together."""

    read: int = 0
    written: int = 0
    present: int = 0  # the same activation was in the target already
    differing: int = 0  # another version was in the target, and stayed
    rejected: int = 0  # couldn't be converted, or the target refused it
    filtered: int = 0  # not an activation, or not selected
    size_bytes: int = 0  # of the documents as the source holds them

    def add(self, other: Counts) -> None:
        self.read += other.read
        self.written += other.written
        self.present += other.present
        self.differing += other.differing
        self.rejected += other.rejected
        self.filtered += other.filtered
        self.size_bytes += other.size_bytes

    @property
    def adds_up(self) -> bool:
        return self.read == self.written + self.present + self.differing + self.rejected + self.filtered


def added_up(accounts: Iterable[Mapping[str, Counts]]) -> dict[str, Counts]:
    """Accounts by namespace, of several together."""
    result: dict[str, Counts] = {}
    for account in accounts:
        for namespace, counts in account.items():
            result.setdefault(namespace, Counts()).add(counts)
    return result


def total(counts: Iterable[Counts]) -> Counts:
    result = Counts()
    for each in counts:
        result.add(each)
    return result


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a run did and where the job stands. `counts` are those of the whole job over all of its runs."""

    job: str
    run: int
    state: str  # "complete", "unfinished", "dry run"
    source: Description
    target: Description
    counts: Mapping[str, Counts]  # by namespace; "" holds what has none
    rejected: int  # documents that are kept with the job as rejected
    differing: int  # documents that are kept with the job as differing
    remarks: Mapping[str, int]  # kinds of `records.REMARKS`
    left_behind: bool  # something in the source wasn't copied: attachments, conflicts, a closed index
    deleted: int  # deletions seen in the source; never copied
    rounds: int  # catch-up rounds
    # Epoch seconds: what was stored in the source before then, and not changed since, is in the target. What changed
    # while the last round was read may have left the place where that round looked; the next run brings it.
    caught_up_to: float | None
    run_read: int  # documents read by this run alone
    duration_s: float  # of this run
    warnings: tuple[str, ...] = ()
    command: str = ""  # that takes the job up again
    unread: int = 0  # documents that the source counts and that weren't read
    unstored: int = 0  # documents that were copied and that the target doesn't count

    @property
    def totals(self) -> Counts:
        return total(self.counts.values())

    @property
    def exit_code(self) -> int:
        """0, or 3 where some documents were rejected, differ, were left behind or are missing."""
        missing = self.unread or self.unstored
        return 3 if self.rejected or self.differing or self.left_behind or missing else 0

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values: the schema of `--json`, version 1."""
        totals = self.totals
        return {
            "message_type": "report",
            "schema": 1,
            **msgspec.to_builtins(self),
            "totals": msgspec.to_builtins(totals),
            "adds_up": totals.adds_up,
            "exit_code": self.exit_code,
        }


def in_state_of(command: str) -> str:
    """The option of a command line that names its state folder, to be put behind another one; empty where none is."""
    words = shlex.split(command)
    return f" --state {shlex.quote(words[words.index('--state') + 1])}" if "--state" in words else ""


def render_report(report: Report) -> str:
    """The report for a person: the accounts, and below them what the numbers alone don't say."""
    totals, keeps = report.totals, in_state_of(report.command)
    rate = report.run_read / report.duration_s if report.duration_s else 0
    lines = [
        "dry run: nothing was written; a copy would give this result"
        if report.state == "dry run"
        else f"job {report.job}, run {report.run}: {report.state}",
        f"{report.source.location} ({report.source.product} {report.source.version}) -> "
        f"{report.target.location} ({report.target.product} {report.target.version})",
        "",
        render_table(report),
        "",
        " + ".join(f"{name} {getattr(totals, name):,}" for name in _COLUMNS).replace(" + ", " = ", 1)
        + (": it adds up" if totals.adds_up else ": IT DOES NOT ADD UP; please report this"),
        f"this run: {report.run_read:,} documents read in {human_duration(report.duration_s)}, {rate:,.0f}/s"
        if report.run_read
        else f"this run: nothing new in the source ({human_duration(report.duration_s)})",
    ]
    if report.rounds and report.caught_up_to:
        moment = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(report.caught_up_to))
        rounds = "1 round" if report.rounds == 1 else f"{report.rounds} rounds"
        lines.append(
            f"caught up in {rounds}: everything stored in the source before {moment}, and not changed since, "
            "is accounted for"
        )
    for kind, documents in sorted(report.remarks.items()):
        lines.append(f"{documents:,} × {REMARKS.get(kind, kind)}")
    if report.deleted:
        lines.append(f"{report.deleted:,} deletions were seen in the source; deletions are never copied")
    lines += report.warnings
    if report.rejected:
        lines.append(
            f"{report.rejected:,} rejected documents, kept with their reasons: migrator status {report.job} "
            f"--rejected{keeps}; after fixing the cause: migrator retry-rejected {report.job}{keeps}"
        )
    if report.differing:
        lines.append(
            f"{report.differing:,} documents differ in the target, which keeps its version: "
            f"migrator status {report.job} --differing{keeps}"
        )
    return "\n".join(lines)


_COLUMNS = ("read", "written", "present", "differing", "rejected", "filtered")


def render_table(report: Report) -> str:
    """The accounts as a table for a terminal, one line a namespace, the sum below."""
    rows = [(shown_name(name) or "(not activations)", counts) for name, counts in sorted(report.counts.items())]
    shown = rows if len(rows) <= 40 else rows[:39]
    if len(rows) > len(shown):
        shown.append((f"({len(rows) - len(shown)} more)", total(counts for _, counts in rows[39:])))
    lines = [["namespace", *_COLUMNS, "bytes"]]
    lines += [[name, *_cells(counts)] for name, counts in shown]
    return in_columns(lines, ["total", *_cells(report.totals)])


def in_columns(lines: Sequence[Sequence[str]], last: Sequence[str] | None) -> str:
    """A table: the names above a rule, the lines, and below another rule the last line, if there is one."""
    lines = [[printable(cell) for cell in line] for line in lines]
    last = [printable(cell) for cell in last] if last else None
    every = [*lines, last] if last else lines
    widths = [max(map(len, cells)) for cells in zip(*every, strict=True)]

    def row(cells: Sequence[str]) -> str:
        return "  ".join(
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()

    rule = "-" * max(map(len, map(row, every)))
    return "\n".join([row(lines[0]), rule, *map(row, lines[1:]), *([rule, row(last)] if last else [])])


def shown_name(name: str) -> str:
    """A namespace as a table shows it: a very long one without its middle, nothing that would steer a terminal."""
    return printable(name, NAME_WIDTH)


def _cells(counts: Counts) -> list[str]:
    return [*(f"{getattr(counts, column):,}" for column in _COLUMNS), human_bytes(counts.size_bytes)]


def human_bytes(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError


def human_duration(seconds: float) -> str:
    """`4.2 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, left = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {left:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
