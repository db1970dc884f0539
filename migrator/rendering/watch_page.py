"""What goes on, as parts of a page: jobs with their progress, and archives with their chains.

Statuses and listings enter, HTML leaves. No store is asked, and nothing on the page is a secret.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from migrator.activations.forms import instant
from migrator.operations.archive.listing import Listed, Listing
from migrator.rendering import html
from migrator.rendering.events import lag_text
from migrator.rendering.job_list import ago, selection_text
from migrator.rendering.job_status import JobStatus
from migrator.text.units import counted, human_bytes, human_duration

_ENDED = 10  # jobs that aren't running, by name
_REASONS = 5
_BACKUPS = 30  # of an archive, the newest

_LEVELS = {"running": "", "complete": "good", "unfinished": "warn", "new": "warn"}


def job_parts(jobs: Sequence[JobStatus], *, now_s: float) -> Iterator[str]:
    """Running jobs, each in a box of its own; the newest of the others as a table."""
    running = [each for each in jobs if each.state == "running"]
    ended = [each for each in jobs if each.state != "running"]
    yield html.heading("Running")
    if not running:
        yield html.paragraph("Nothing is running.")
    for each in running:
        yield html.panel(f"{each.verb or each.kind} {each.job}", _percent(each), _level(each), _job(each, now_s))
    if ended:
        yield html.heading("Earlier jobs")
        yield _ended(ended[:_ENDED], now_s)
        if len(ended) > _ENDED:
            yield html.paragraph(f"{len(ended) - _ENDED:,} more: migrator status")


def _percent(status: JobStatus) -> str:
    return f"{status.percent} %" if status.percent is not None else status.phase or status.state


def _level(status: JobStatus) -> str:
    return "warn" if status.waiting else "good"


def _job(status: JobStatus, now_s: float) -> Iterator[str]:
    counts = status.totals
    yield html.paragraph(f"{status.source} → {status.target}{selection_text(status)}")
    if status.percent is not None:
        yield html.progress(status.percent / 100, f"{status.percent} % done")
    if status.waiting:
        since = f" for {human_duration(now_s - status.waiting_since_s)}" if status.waiting_since_s else ""
        yield html.note(f"Waiting{since}: {status.waiting}", "warn")
    known = f" of {status.documents:,}" if status.documents and status.documents > counts.read else ""
    facts = [("phase", status.phase), ("read", f"{counts.read:,}{known}, {human_bytes(counts.size_bytes)}")]
    if status.per_second:
        facts.append(("rate", f"{counted(round(status.per_second), 'document')} a second"))
    if status.seconds_left is not None:
        facts.append(("time left", human_duration(status.seconds_left)))
    if status.kind == "job":
        facts.append(("written", f"{counts.written:,}"))
        set_aside = (("present", counts.present), ("differing", status.differing), ("rejected", status.rejected))
        facts += [(name, f"{count:,}") for name, count in set_aside if count]
    if status.lag:
        facts.append(("lag", lag_text(status.lag.documents, status.lag.behind_s)))
    if status.began_s:
        facts.append(("began", ago(status.began_s, now_s)))
    if status.last_error and status.last_error != status.waiting:
        facts.append(("last error", f"{_moment(status.last_error_s, now_s)}{status.last_error}"))
    yield html.facts(facts)
    yield from _curve(status.rates)
    yield from _reasons(status)


def _moment(moment_s: float | None, now_s: float) -> str:
    return f"{ago(moment_s, now_s)}: " if moment_s else ""


def _curve(rates: Sequence[tuple[float, float]]) -> Iterator[str]:
    if len(rates) < 3:
        return
    first_s, last_s = rates[0][0], rates[-1][0]
    most = max(rate for _, rate in rates) or 1
    points = [((at_s - first_s) / max(last_s - first_s, 1), rate / most) for at_s, rate in rates]
    yield html.line_chart(f"Documents a second, up to {most:,.0f}", points, [_clock(first_s), _clock(last_s)])


def _clock(moment_s: float) -> str:
    return time.strftime("%H:%M:%S UTC", time.gmtime(moment_s))


def _reasons(status: JobStatus) -> Iterator[str]:
    if status.rejected_reasons:
        rows = [[reason, f"{count:,}"] for reason, count in status.rejected_reasons[:_REASONS]]
        yield html.table(["rejected because", "documents"], rows)


def _ended(jobs: Sequence[JobStatus], now_s: float) -> str:
    rows, marks = [], {}
    for number, each in enumerate(jobs):
        marks[number, 1] = _LEVELS.get(each.state, "warn")
        rows.append(
            [
                f"{each.verb} {each.job}",
                f"{each.state}{f', {each.percent} %' if each.percent not in (None, 100) else ''}",
                ago(each.updated_s, now_s),
                f"{each.totals.read:,}",
                f"{each.rejected:,}",
                f"{each.differing:,}",
                f"{each.source} → {each.target}{f'; {each.last_error}' if each.last_error else ''}",
            ]
        )
    head = ["job", "state", "ended", "read", "rejected", "differing", "from and to"]
    return html.table(head, rows, texts=frozenset({6}), marks=marks)


# -- archives -------------------------------------------------------------------------------------------------------


def archive_parts(archives: Sequence[Listing | tuple[str, str]], *, now_s: float) -> Iterator[str]:
    """Archives with the backups of their chains; in the place of one that can't be listed, its location and why."""
    if archives:
        yield html.heading("Archives")
    for each in archives:
        if isinstance(each, Listing):
            complete = sum(backup.state == "complete" for backup in each.backups)
            whole = complete == len(each.backups)
            yield html.panel(
                each.archive,
                f"{counted(complete, 'backup')}, {human_bytes(sum(backup.size_bytes for backup in each.backups))}",
                "good" if whole else "warn",
                _archive(each, now_s),
            )
        else:
            yield html.panel(each[0], "can't be listed", "bad", [html.note(each[1], "bad")])


def _archive(listing: Listing, now_s: float) -> Iterator[str]:
    complete = [each for each in listing.backups if each.state == "complete" and each.ended_ms is not None]
    newest = f", the newest {ago(max(each.ended_ms or 0 for each in complete) / 1000, now_s)}" if complete else ""
    yield html.paragraph(f"{counted(listing.chains, 'chain')}{newest}")
    shown = listing.backups[-_BACKUPS:]
    rows, marks = [], {}
    for number, each in enumerate(shown):
        marks[number, 2] = _LEVELS.get(each.state, "bad")
        rows.append(_backup(each))
    yield html.table(["backup", "mode", "state", "ended", "documents", "size"], rows, marks=marks)
    if len(listing.backups) > len(shown):
        yield html.paragraph(f"{counted(len(listing.backups) - len(shown), 'older one')}: migrator archive list")
    yield from (html.note(note, "warn") for note in listing.notes)


def _backup(each: Listed) -> list[str]:
    return [
        f"{'└ ' if each.depth else ''}{each.backup}",
        each.mode or "-",
        each.state,
        instant(each.ended_ms // 1000 * 1000) if each.ended_ms is not None else "-",
        f"{each.documents:,}" if each.documents is not None else "-",
        human_bytes(each.size_bytes),
    ]
