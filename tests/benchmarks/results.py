"""What the rows of a benchmark come to: a table, a JSON file, and a plot without anything from elsewhere."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple


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


def table(contests: Sequence[Contest]) -> str:
    lines = [
        "| row | who | documents/s | ours to this | processor µs/document | peak MB |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for contest in contests:
        for number, (who, runs) in enumerate(contest.runs.items()):
            ratio = f"{contest.ratio(who):.2f}" if contest.compares(who) else ""
            name = "" if number else contest.name + (f" ({contest.note})" if contest.note else "")
            shown = who.replace("|", "\\|")
            lines.append(
                f"| {name} | {shown} | {contest.rate(who):,.0f} | {ratio} | "
                f"{_processor_us(runs):.1f} | {max(each.peak_mb for each in runs):.0f} |"
            )
    return "\n".join(lines)


def machine() -> dict[str, object]:
    return {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 1),
    }


def save(folder: Path, contests: Sequence[Contest], about: dict[str, object]) -> None:
    """Replace what earlier runs left of these rows; other rows stay."""
    folder.mkdir(parents=True, exist_ok=True)
    for contest in contests:
        content = {**about, **contest.as_dict()}
        (folder / f"{contest.name}.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        (folder / f"{contest.name}.svg").write_text(plot(contest))


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
