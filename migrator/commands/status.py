"""`migrator status`: jobs, how far they are, and what to do next."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from migrator.activations.document import REMARKS
from migrator.commands.messages import current
from migrator.commands.options import examples, json_option, log_format_option, state_option
from migrator.commands.output import print_bytes, print_json, print_text
from migrator.engine.state.checkpoint import SetAside
from migrator.engine.state.jobs import JobView, default_state, find_job, list_jobs, view_checkpoint
from migrator.errors import MigratorError, UsageError
from migrator.rendering.events import lag_text
from migrator.rendering.job_status import JobStatus, job_status
from migrator.rendering.tables import align
from migrator.units import human_bytes, human_duration, human_moment

_SUCH_AS = 3  # ids told of each remark; --json has more


@click.command(
    "status",
    epilog=examples(
        "migrator status",
        "migrator status 3f9a",
        "migrator status 3f9a --rejected > rejected.ndjson",
        "migrator status --json | jq -r 'select(.state != \"complete\") | .next'",
    ),
)
@click.argument("job", required=False)
@click.option("--rejected", is_flag=True, help="Print the rejected documents, with reasons, as NDJSON.")
@click.option(
    "--differing", is_flag=True, help="Print the documents of which the target holds another version, as NDJSON."
)
@state_option
@json_option
@log_format_option
def status_command(job: str | None, rejected: bool, differing: bool, state: Path | None, as_json: bool) -> None:
    """Show jobs, their progress, and what to do next.

    JOB is the id of a job, or a unique prefix of it; without it, all jobs are listed. An exported line holds the id,
    the reason, and the document as its source has it.
    """
    folder = state or default_state()
    if (rejected or differing) and job is None:
        raise UsageError(
            "--rejected and --differing print the documents of one job; give its id (`migrator status` lists them)"
        )
    if job is None:
        _list(folder, as_json)
        return
    view = find_job(folder, job)
    if rejected or differing:
        for kind in [name for name, wanted in (("rejected", rejected), ("differing", differing)) if wanted]:
            _export(view, kind)
        return
    status = job_status(view)
    if as_json:
        print_json(status)
    else:
        _show(status)


def _list(folder: Path, as_json: bool) -> None:
    found, code = False, 0
    for job in list_jobs(folder):
        found = True
        try:
            status = job_status(job)
        except MigratorError as error:  # one job that can't be looked at hides no other
            current.get().warn(str(error))
            code = error.exit_code
            continue
        if as_json:
            print_json(status)
            continue
        counts = status.totals
        print_text(f"{status.job}  {_state(status)}  {status.source} -> {status.target}{_selection_text(status)}")
        print_text(
            f"              read {counts.read:,}, written {counts.written:,}, present {counts.present:,}, "
            f"differing {status.differing:,}, rejected {status.rejected:,}"
        )
        print_text(f"              next: {status.next}")
    if not found and not as_json:
        print_text(f"no jobs in {folder}")
    if code:
        sys.exit(code)


def _state(status: JobStatus) -> str:
    if status.state == "complete":
        return "complete"
    phase = "copying" if status.round == 0 else f"catching up, round {status.round}"
    return f"{status.state} ({phase}, {status.slices - status.slices_open} of {status.slices} slices done)"


def _selection_text(status: JobStatus) -> str:
    parts = [f"{name}={value}" for name, value in status.selection.items() if value]
    return f"  [{', '.join(parts)}]" if parts else ""


def _show(status: JobStatus) -> None:
    counts = status.totals
    lines = [
        ("job", status.job),
        ("state", f"{_state(status)}{f', run by {status.holder}' if status.holder else ''}"),
        ("source", status.source),
        ("target", status.target),
    ]
    if _selection_text(status):
        lines.append(("selection", _selection_text(status).strip("[] ")))
    lines += [
        ("slices", f"{status.slices_open} of {status.slices} open"),
        (
            "read",
            f"{counts.read:,} documents, {human_bytes(counts.size_bytes)}, in {len(status.namespaces)} namespaces",
        ),
        ("written", f"{counts.written:,}"),
        ("present", f"{counts.present:,}"),
        ("differing", f"{counts.differing:,}"),
        ("rejected", f"{counts.rejected:,}"),
        ("filtered", f"{counts.filtered:,}"),
    ]
    if status.deleted:
        lines.append(("deletions", f"{status.deleted:,} seen in the source, not copied"))
    if status.caught_up_to:
        moment = human_moment(status.caught_up_to)
        complete = status.state == "complete"
        known = f"everything stored before {moment} and not changed since" if complete else f"planned at {moment}"
        lines.append(("as of", known))
    if status.lag:
        lag = lag_text(status.lag.documents, status.lag.behind_s)
        lines.append(("lag", f"{lag} (looked at {human_moment(status.lag.looked_s)})"))
        lines += [("lag", f"unknown: {reason}") for reason in status.lag.unseen]
    for number, began_s, ended_s, outcome, read in status.runs[-5:]:
        took = f"{human_duration(ended_s - began_s)}, {outcome}" if ended_s else "not ended"
        lines.append((f"run {number}", f"{read:,} documents read, {took}"))
    for reason, count in status.rejected_reasons:
        lines.append(("reason", f"{count:,} × {reason}"))
    for kind, count in sorted(status.remarks.items()):
        such_as = ", ".join(status.remark_examples[kind][:_SUCH_AS])
        lines.append(("remark", f"{count:,} × {REMARKS[kind]}, such as {such_as}"))
    for warning in status.warnings:
        lines.append(("warning", warning))
    lines.append(("next", status.next))
    for line in align(lines, left=(0, 1)):
        print_text(line)


def _export(view: JobView, kind: str) -> None:
    checkpoint = view_checkpoint(view)
    try:
        for each in checkpoint.aside.documents(kind):
            print_bytes(_line(each))
    finally:
        checkpoint.close()


def _line(each: SetAside) -> bytes:
    """One NDJSON line; the document is embedded as it is where it is JSON, else as text."""
    head = {
        "id": each.id,
        "kind": each.kind,
        "namespace": each.namespace,
        "reason": each.reason,
        "form": each.form,
        "index": each.index,
    }
    try:
        body = msgspec.json.format(each.body, indent=-1)
        return msgspec.json.encode({**head, "document": msgspec.Raw(body)}) + b"\n"
    except (msgspec.DecodeError, RecursionError):
        return msgspec.json.encode({**head, "document_text": each.body.decode(errors="backslashreplace")}) + b"\n"
