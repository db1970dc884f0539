"""The page of a job for a change ticket: what was copied from where to where, and the outcome of it.

A job of the state folder enters, HTML leaves. Looks at the job's checkpoint only; no store is asked, and nothing on
the page is a secret.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import msgspec

from migrator.activations.accounts import Counts
from migrator.activations.document import LOSSES, REMARKS
from migrator.activations.requests import JobRequest
from migrator.activations.selection import SelectionSpec
from migrator.adapters.base import Description
from migrator.engine.state.checkpoint import Sample, VerificationNote
from migrator.engine.state.jobs import JobView, view_checkpoint
from migrator.engine.verification.values import KINDS
from migrator.rendering import html
from migrator.rendering.arguments import OPTIONS
from migrator.rendering.command_line import command
from migrator.rendering.job_status import JobStatus, job_status
from migrator.rendering.tables import printable_name
from migrator.rendering.verification import verdict
from migrator.text.decoding import convert
from migrator.text.units import counted, human_bytes, human_duration, human_moment

_COLUMNS = ("read", "written", "present", "differing", "rejected", "filtered")
_MOST_COLUMNS = 120  # of the chart
_FEWEST_COLUMNS = 3
_MOST_REASONS = 50
_MOST_NAMESPACES = 1_000


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the page tells besides the status."""

    status: JobStatus
    stores: tuple[Description, Description] | None
    request: JobRequest | None
    rejected: tuple[tuple[str, int], ...]  # reasons, the most frequent first
    differing: tuple[tuple[str, int], ...]
    samples: tuple[Sample, ...]
    incomplete: bool  # something couldn't be read, such as a closed index
    verification: VerificationNote | None


def look_at(job: JobView) -> JobRecord:
    """Look at a job without its lock."""
    status = job_status(job)
    with closing(view_checkpoint(job)) as checkpoint:
        spec = checkpoint.spec
        return JobRecord(
            status=status,
            stores=checkpoint.stores,
            request=spec.request if spec else None,
            rejected=tuple(checkpoint.aside.reasons("rejected")),
            differing=tuple(checkpoint.aside.reasons("differing")),
            samples=tuple(checkpoint.samples),
            incomplete=checkpoint.incomplete,
            verification=checkpoint.verification,
        )


def job_page(record: JobRecord, *, now_s: float) -> str:
    """The whole page."""
    status = record.status
    return html.page(
        f"Migration of OpenWhisk activations, job {status.job}",
        f"{status.source} → {status.target}",
        _parts(record),
        footer=f"migrator report {status.job}, {human_moment(now_s)}",
    )


def _parts(record: JobRecord) -> Iterator[str]:
    yield from _verdict(record)
    yield html.cards(_cards(record.status))
    yield html.facts(_facts(record))
    yield from _accounts(record.status)
    yield from _runs(record)
    yield from _set_aside("Rejected, by reason", record.rejected)
    yield from _set_aside("Another version was in the target, and stayed", record.differing)
    yield from _warnings(record.status)
    yield from _verification(record)
    yield html.heading("What to do next")
    yield html.paragraph(f"{record.status.next[:1].upper()}{record.status.next[1:]}")


def _verdict(record: JobRecord) -> Iterator[str]:
    status = record.status
    if not status.totals.adds_up:
        yield html.note("The counts DO NOT ADD UP; please report this.", "bad")
    if status.state != "complete":
        yield html.note(f"The job is {'running' if status.state == 'running' else 'unfinished'}.", "warn")
    elif status.rejected or status.differing or record.incomplete or LOSSES & status.remarks.keys():
        yield html.note("Complete, but not everything is in the target as the source has it: see below.", "warn")
    else:
        yield html.note("Complete: everything that was selected is in the target.", "good")


def _cards(status: JobStatus) -> Iterator[tuple[str, str]]:
    totals = status.totals
    yield "documents read", f"{totals.read:,}"
    yield "written", f"{totals.written:,}"
    yield "already there", f"{totals.present:,}"
    yield "rejected", f"{status.rejected:,}"
    yield "differing", f"{status.differing:,}"
    took_s = sum(ended_s - began_s for _, began_s, ended_s, _, _ in status.runs if ended_s)
    if took_s:
        yield "time of all runs", human_duration(took_s)


def _facts(record: JobRecord) -> Iterator[tuple[str, str]]:
    status = record.status
    for name, typed, store in zip(
        ("from", "to"), (status.source, status.target), record.stores or (None, None), strict=True
    ):
        yield name, f"{store.location} ({store.product} {store.version})" if store else typed
    chosen = [f"{name} {_text(value)}" for name, value in status.selection.items() if value]
    yield "what", "; ".join(chosen) or "all activations"
    if options := record.request and _options(record.request):
        yield "options", "; ".join(f"{name} {_text(value)}" for name, value in options.items())
    if status.runs:
        yield "begun", human_moment(status.runs[0][1])
        last = status.runs[-1][2]
        yield "last run ended", human_moment(last) if last else "not yet"
    if status.caught_up_to is not None and status.state == "complete":
        yield "copied", f"what was stored in the source before {human_moment(status.caught_up_to)}"
    yield "command", command(record.request) if record.request else ""


def _options(request: JobRequest) -> dict[str, Any]:
    """The options that change the result, as the command line names them."""
    options = {} if request.verb == "backup" else {"on_conflict": "skip"}
    return {OPTIONS[name].lstrip("-"): value for name, value in {**options, **request.deciding}.items()}


def _text(value: object) -> str:
    """A value of a selection or an option, in words."""
    if isinstance(value, Mapping):
        return " ".join(f"{name} {_text(each)}" for name, each in value.items() if each is not None) or "as it is"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return str(value)


def _accounts(status: JobStatus) -> Iterator[str]:
    rows = sorted(status.namespaces.items())
    shown = [[printable_name(name) or "(not activations)", *_cells(counts)] for name, counts in rows[:_MOST_NAMESPACES]]
    totals = status.totals
    sum_text = " + ".join(f"{name} {getattr(totals, name):,}" for name in _COLUMNS[1:])
    yield html.heading("Accounts by namespace")
    yield html.table(["namespace", *_COLUMNS, "bytes"], shown, total=["total", *_cells(totals)])
    if len(rows) > len(shown):
        yield html.paragraph(
            f"{counted(len(rows) - len(shown), 'more namespace is', 'more namespaces are')} in the total."
        )
    verdict = "it adds up, in every namespace" if all(c.adds_up for _, c in rows) else "IT DOES NOT ADD UP"
    yield html.paragraph(f"read {totals.read:,} = {sum_text}: {verdict}.")
    if status.deleted:
        were = counted(status.deleted, "deletion was", "deletions were")
        yield html.paragraph(f"{were} seen in the source; deletions are never copied.")


def _cells(counts: Counts) -> list[str]:
    return [*(f"{getattr(counts, column):,}" for column in _COLUMNS), human_bytes(counts.size_bytes)]


def _runs(record: JobRecord) -> Iterator[str]:
    rows = []
    for number, began_s, ended_s, outcome, read in record.status.runs:
        took_s = ended_s - began_s if ended_s else None
        rate = f"{read / took_s:,.0f}" if took_s and read else ""
        took = human_duration(took_s) if took_s is not None else ""
        # A run that was killed couldn't note anything; what it had committed is in the accounts.
        known = ended_s is not None
        rows.append(
            [
                f"{number}",
                human_moment(began_s),
                took,
                f"{read:,}" if known else "",
                rate,
                outcome or "not ended, or killed",
            ]
        )
    yield html.heading("Runs")
    yield html.table(["run", "begun", "took", "read", "documents/s", "outcome"], rows, texts=frozenset({5}))
    yield from _rates(record.samples)


def _rates(samples: Sequence[Sample]) -> Iterator[str]:
    """The minutes in which something was copied; where nothing was between two runs, a gap of one column."""
    if len(samples) < _FEWEST_COLUMNS:
        return
    minutes: list[tuple[int, int]] = []
    for sample in samples:
        if minutes and sample.minute > minutes[-1][0] + 1:
            minutes.append((minutes[-1][0] + 1, 0))
        minutes.append((sample.minute, sample.read))
    together = -(-len(minutes) // _MOST_COLUMNS)
    columns = []
    for at in range(0, len(minutes), together):
        some = minutes[at : at + together]
        columns.append((some[0][0], sum(read for _, read in some) / len(some)))
    most = max(read for _, read in columns)
    yield html.column_chart(
        f"Documents a minute (UTC), up to {most:,.0f}; pauses are shortened",
        [(_minute(minute), read, 0) for minute, read in columns],
        [_minute(samples[0].minute), _minute(samples[-1].minute)],
        words=[f"{_minute(minute)}: {counted(round(read), 'document')} a minute" for minute, read in columns],
    )


def _minute(minute: int) -> str:
    return human_moment(minute * 60)[:16]


def _set_aside(title: str, reasons: Sequence[tuple[str, int]]) -> Iterator[str]:
    if reasons:
        yield html.heading(title)
        rows = [[reason, f"{count:,}"] for reason, count in reasons[:_MOST_REASONS]]
        yield html.table(["reason", "documents"], rows)
        if len(reasons) > _MOST_REASONS:
            rest = sum(count for _, count in reasons[_MOST_REASONS:])
            yield html.paragraph(f"{rest:,} more for {counted(len(reasons) - _MOST_REASONS, 'other reason')}.")


def _warnings(status: JobStatus) -> Iterator[str]:
    told = [f"{count:,} × {REMARKS.get(kind, kind)}" for kind, count in sorted(status.remarks.items())]
    told += status.warnings
    if told:
        yield html.heading("Warnings and remarks")
        yield from (html.note(text, "warn") for text in told)


def _verify_command(record: JobRecord) -> str:
    """The command that verifies what the job copied, and lets the job know."""
    status = record.status
    wanted = convert(status.selection, SelectionSpec)
    state = record.request.state if record.request else None
    return command(JobRequest(verb="verify", source=status.source, target=status.target, wanted=wanted, state=state))


def _verification(record: JobRecord) -> Iterator[str]:
    yield html.heading("Verification")
    found, status = record.verification, record.status
    if found is None:
        yield html.note("Not verified: source and target were not compared after the copy.", "warn")
        yield html.code(_verify_command(record))
        return
    counts = found.counts
    differs = not found.agrees and any(counts.get(kind, 0) for kind in KINDS)
    told = verdict(agrees=found.agrees, differs=differs, extra=counts.get("extra", 0))
    yield html.note(f"Verified, begun {human_moment(found.began_s)}: {told}.", "good" if found.agrees else "bad")
    if any(read and began_s > found.began_s for _, began_s, _, _, read in status.runs):
        yield html.note("The job has run again since.", "warn")
    yield html.table(
        ["", "in the source", "in the target", "missing", "extra", "different", "not comparable"],
        [
            [
                "activations",
                *(f"{counts.get(name, 0):,}" for name in ("a", "b", "missing", "extra", "different", "refused")),
            ]
        ],
    )
    yield html.paragraph(f"{found.proves[:1].upper()}{found.proves[1:]}.")
    yield html.code(command(found.request))
