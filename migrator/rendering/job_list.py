"""Jobs as text: a few lines for each in a list, or all of one. `JobStatus`es enter, lines leave."""

from __future__ import annotations

import re
from collections.abc import Iterator

from migrator.activations.document import REMARKS
from migrator.rendering.events import lag_text
from migrator.rendering.fold import Labelled, label_rows
from migrator.rendering.job_status import JobStatus
from migrator.text.units import counted, human_bytes, human_duration, human_moment, plural

_SUCH_AS = 3  # ids told of each remark; --json has more
_RUNS = 5
_REASON = 300  # characters of an error in the list


def list_lines(status: JobStatus, *, now_s: float, width: int | None) -> Iterator[str]:
    """A job in a list; its first line begins with its id."""
    counts = status.totals
    yield f"{status.job}  {status.verb or status.kind}  {standing(status, now_s)}"
    yield from _where(status, width)
    rows: list[Labelled] = []
    if status.kind == "job":
        known = f" of {status.documents:,}" if _is_short(status) else ""
        rows.append(
            (
                "",
                f"read {counts.read:,}{known}, written {counts.written:,}, present {counts.present:,}, "
                f"differing {status.differing:,}, rejected {status.rejected:,}"
                f"{f', filtered {counts.filtered:,}' if counts.filtered else ''}",
                "",
            )
        )
    else:
        known = f" of {status.documents:,}" if _is_short(status) else ""
        rows.append(("", f"read {counts.read:,}{known} {_documents(status)} on both sides", ""))
    yield from label_rows(rows, width=width)
    yield from label_rows(_trouble(status, now_s) + _next(status), width=width, indent=2)


def _where(status: JobStatus, width: int | None) -> Iterator[str]:
    where = f"  {status.source} -> {status.target}{selection_text(status)}"
    if width is None or len(where) <= width:
        yield where
    else:
        yield f"  {status.source}"
        yield f"  -> {status.target}{selection_text(status)}"


def standing(status: JobStatus, now_s: float) -> str:
    """`running, 61 %, 3,980/s, 2 min 10 s left, copying`, or when it ended and how."""
    parts = [status.state]
    if status.percent is not None and status.state != "complete":
        parts.append(f"{status.percent} %")
    if status.per_second and not status.waiting:
        parts.append(f"{status.per_second:,.0f}/s")
    if status.seconds_left is not None and not status.waiting:
        parts.append(f"{human_duration(status.seconds_left)} left")
    if status.phase:
        parts.append(status.phase)
    if status.lag and status.state == "running":
        parts.append(f"lag {lag_text(status.lag.documents, status.lag.behind_s)}")
    if status.state != "running" and status.updated_s:
        parts.append(ago(status.updated_s, now_s))
    return ", ".join(parts)


def ago(moment_s: float, now_s: float) -> str:
    """`12 s ago`, `3 h 05 min ago`, a date after two days."""
    passed_s = max(0.0, now_s - moment_s)
    if passed_s > 2 * 86_400:
        return human_moment(moment_s)
    return f"{f'{passed_s:.0f} s' if passed_s < 60 else human_duration(passed_s)} ago"


def _is_short(status: JobStatus) -> bool:
    return status.state != "complete" and (status.documents or 0) > status.totals.read


def selection_text(status: JobStatus) -> str:
    """What is selected, in brackets; empty where everything is."""
    parts = [
        f"{name} {', '.join(map(str, value)) if isinstance(value, list | tuple) else value}".replace(
            "ids 1 ids", "id 1"
        )
        for name, value in status.selection.items()
        if value
    ]
    return f"  [{'; '.join(parts)}]" if parts else ""


def _selected(name: str, value: object) -> str:
    if name == "ids":  # the job keeps "1 ids (…)", and so is known by it
        return re.sub(r"^1 ids\b", "1 id", str(value))
    return f"{name} {', '.join(map(str, value)) if isinstance(value, list | tuple) else value}"


def _trouble(status: JobStatus, now_s: float) -> list[Labelled]:
    rows: list[Labelled] = []
    if status.waiting:
        since = f", for {human_duration(now_s - status.waiting_since_s)}" if status.waiting_since_s else ""
        rows.append(("waiting", f"{status.waiting[:_REASON]}{since}", ""))
    if status.last_error and status.last_error != status.waiting:
        when = f"{ago(status.last_error_s, now_s)}: " if status.last_error_s else ""
        rows.append(("error", f"{when}{status.last_error[:_REASON]}", ""))
    return rows


def _next(status: JobStatus) -> list[Labelled]:
    return [("next" if not number else "", step.text, step.command) for number, step in enumerate(status.steps)]


def detail_lines(status: JobStatus, *, now_s: float, width: int | None) -> Iterator[str]:
    """All that is known of one job."""
    counts = status.totals
    holder = f", run by {status.holder}" if status.holder else ""
    rows: list[Labelled] = [
        (status.kind, status.job, ""),
        ("state", f"{standing(status, now_s) if status.state != 'complete' else 'complete'}{holder}", ""),
        ("source", status.source, ""),
        ("target", status.target, ""),
    ]
    if selection_text(status):
        rows.append(("selection", selection_text(status).strip("[] "), ""))
    if status.kind == "job":
        rows += _accounts(status)
    else:
        known = f" of {status.documents:,}" if _is_short(status) else ""
        rows.append(("read", f"{counts.read:,}{known} {_documents(status)} on both sides", ""))
    rows += _moments(status)
    rows += [("reason", f"{count:,} × {reason}", "") for reason, count in status.rejected_reasons]
    for kind, count in sorted(status.remarks.items()):
        such_as = ", ".join(status.remark_examples[kind][:_SUCH_AS])
        rows.append(("remark", f"{count:,} × {REMARKS.get(kind, kind)}, such as {such_as}", ""))
    rows += [("warning", warning, "") for warning in status.warnings]
    yield from label_rows(rows + _trouble(status, now_s) + _next(status), width=width)


def _documents(status: JobStatus) -> str:
    """The noun after what was read, of as many as there are to read where that is known."""
    return plural((status.documents if _is_short(status) else None) or status.totals.read, "document")


def _accounts(status: JobStatus) -> list[Labelled]:
    counts = status.totals
    known = f" of {status.documents:,}" if _is_short(status) else ""
    spaces = counted(len(status.namespaces), "namespace")
    rows: list[Labelled] = [
        ("slices", f"{status.slices_open:,} of {status.slices:,} open", ""),
        (
            "read",
            f"{counts.read:,}{known} {_documents(status)}, {human_bytes(counts.size_bytes)}, in {spaces}",
            "",
        ),
        ("written", f"{counts.written:,}", ""),
        ("present", f"{counts.present:,}", ""),
        ("differing", f"{counts.differing:,}", ""),
        ("rejected", f"{counts.rejected:,}", ""),
        ("filtered", f"{counts.filtered:,}", ""),
    ]
    if status.deleted:
        rows.append(("deletions", f"{status.deleted:,} seen in the source, not copied", ""))
    return rows


def _moments(status: JobStatus) -> list[Labelled]:
    rows: list[Labelled] = []
    if status.caught_up_to:
        moment = human_moment(status.caught_up_to)
        complete = status.state == "complete"
        known = f"everything stored before {moment} and not changed since" if complete else f"planned at {moment}"
        rows.append(("as of", known, ""))
    if status.lag:
        lag = lag_text(status.lag.documents, status.lag.behind_s)
        rows.append(("lag", f"{lag} (looked at {human_moment(status.lag.looked_s)})", ""))
        rows += [("lag", f"unknown: {reason}", "") for reason in status.lag.unseen]
    for number, began_s, ended_s, outcome, read in status.runs[-_RUNS:]:
        took = f"{human_duration(ended_s - began_s)}, {outcome}" if ended_s else "not ended, or killed"
        rows.append((f"run {number}", f"{human_moment(began_s)}, {counted(read, 'document')} read, {took}", ""))
    return rows
