"""What the rows of a benchmark come to: a table, a JSON file, and a plot without anything from elsewhere.

The table is made of the files, so rows may be measured at different times; each tells when, on what commit and machine.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple


class Taken(NamedTuple):
    """One run of one contestant."""

    documents: int
    seconds: float
    processor_s: float
    peak_mb: float


class Contest(NamedTuple):
    """A row: its contestants' runs without the warm-up, ours first; `note` says what else was seen."""

    name: str
    runs: dict[str, list[Taken]]
    note: str = ""

    def rate(self, who: str) -> float:
        return statistics.median(each.documents / each.seconds for each in self.runs[who])

    def ratio(self, other: str) -> float:
        """Ours to another: the median of the rounds, in each of which they ran one right after the other."""
        pairs = zip(self.runs[next(iter(self.runs))], self.runs[other], strict=True)
        return statistics.median((own.documents / own.seconds) / (each.documents / each.seconds) for own, each in pairs)

    def compares(self, other: str) -> bool:
        """Whether another did the same work."""
        own = self.runs[next(iter(self.runs))]
        return own is not self.runs[other] and own[0].documents == self.runs[other][0].documents

    def as_dict(self) -> dict[str, object]:
        return {
            "name": self.name,
            "note": self.note,
            "contestants": {
                who: {
                    "documents_per_s": round(self.rate(who)),
                    "processor_us_per_document": round(_processor_us(runs), 1),
                    "peak_mb": round(max(each.peak_mb for each in runs)),
                    **({"ours_to_this": round(self.ratio(who), 2)} if self.compares(who) else {}),
                }
                for who, runs in self.runs.items()
            },
        }


def _processor_us(runs: Sequence[Taken]) -> float:
    return statistics.median(1e6 * each.processor_s / each.documents for each in runs)


def table(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        "| row | who | documents/s | ours to this | processor µs/document | peak MB |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        for number, (who, found) in enumerate(row["contestants"].items()):
            ratio = f"{found['ours_to_this']:.2f}" if "ours_to_this" in found else ""
            name = "" if number else f"{row['name']} ({row['documents']:,} documents; {row['note']})"
            shown = who.replace("|", "\\|")
            lines.append(
                f"| {name} | {shown} | {found['documents_per_s']:,} | {ratio} | "
                f"{found['processor_us_per_document']:.1f} | {found['peak_mb']} |"
            )
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    return {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": _commit(),
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 1),
    }


def _commit() -> str:
    """What is measured, as Git calls it; with `-dirty` where a file differs that isn't a result of earlier rows."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)docs/benchmarks")
    return git("rev-parse", "--short=10", "HEAD") + ("-dirty" if changed else "")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def save(folder: Path, contest: Contest, about: dict[str, Any]) -> dict[str, Any]:
    """Replace what an earlier run left of a row; other rows stay. Returns what the file holds."""
    folder.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {**contest.as_dict(), **about}
    (folder / f"{contest.name}.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    (folder / f"{contest.name}.svg").write_text(plot(contest))
    return content


def collect(folder: Path, order: Sequence[str]) -> str:
    """The page of all rows whose files are there."""
    rows = [json.loads(file.read_text()) for name in order if (file := folder / f"{name}.json").exists()]
    machines = {f"{row['cores']} cores ({row['processor']}), Python {row['python']}" for row in rows}
    lines = [
        "# Measured",
        "",
        f"On {' and '.join(sorted(machines))}. [Performance](../performance.md) tells what each row is.",
        "Medians; the ratio is that of each round, in which both ran one right after the other.",
        "",
        table(rows),
        "",
        "| row | measured | commit | rounds | load before |",
        "|---|---|---|---:|---:|",
        *(
            f"| {each['name']} | {each['when']} | {each['commit']} | {each['rounds']} | {each['load_before']} |"
            for each in rows
        ),
        "",
    ]
    return "\n".join(lines)


_BAR, _LEFT, _WIDTH = 26, 190, 720


def plot(contest: Contest) -> str:
    """Bars of documents a second, ours first."""
    rates = {who: contest.rate(who) for who in contest.runs}
    top = max(rates.values())
    height = 40 + _BAR * len(rates)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" '
        'font-size="13">',
        f'<text x="8" y="20" font-weight="bold">{escape(contest.name)}: documents a second</text>',
    ]
    for number, (who, rate) in enumerate(rates.items()):
        y, width = 32 + _BAR * number, (_WIDTH - _LEFT - 90) * rate / top
        colour = "#8a99a8" if number else "#2563a8"
        parts += [
            f'<text x="{_LEFT - 8}" y="{y + 15}" text-anchor="end">{escape(who)}</text>',
            f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR - 6}" fill="{colour}"/>',
            f'<text x="{_LEFT + width + 6:.1f}" y="{y + 15}">{rate:,.0f}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])
