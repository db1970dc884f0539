"""What a state folder knows of its jobs, for `migrator status` and for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from migrator.activations.accounts import Counts, total
from migrator.activations.requests import JobRequest
from migrator.engine.state.jobs import JobView, view_checkpoint
from migrator.rendering.command_line import command, state_option
from migrator.watching import Lag


class JobStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Where a job stands and what to do next."""

    job: str
    state: str  # "running", "unfinished", "complete", "new"
    holder: str | None  # who runs it now
    source: str
    target: str
    selection: Mapping[str, object]
    totals: Counts
    namespaces: Mapping[str, Counts]
    slices_open: int
    slices: int
    round: int  # 0 while the bulk is read
    rejected: int
    differing: int
    rejected_reasons: tuple[tuple[str, int], ...]
    remarks: Mapping[str, int]  # kinds of `records.REMARKS`
    remark_examples: Mapping[str, Sequence[str]]  # some ids of each kind
    deleted: int
    runs: tuple[tuple[int, float, float | None, str | None, int], ...]  # number, begin, end, outcome, documents read
    caught_up_to: float | None  # epoch seconds
    warnings: tuple[str, ...]
    next: str  # what to do, in one sentence
    unread: int = 0  # documents that the source counts and that weren't read
    unstored: int = 0  # documents that were copied and that the target doesn't count
    lag: Lag | None = None  # at the last look of a run that follows its source


def job_status(job: JobView) -> JobStatus:
    """Look at a job without its lock; a run that is going on isn't disturbed."""
    checkpoint = view_checkpoint(job)
    try:
        spec = checkpoint.spec
        counts = checkpoint.counts
        left, slices = checkpoint.slices_left()
        state = "running" if job.running else checkpoint.state
        rejected, differing = checkpoint.aside.count("rejected"), checkpoint.aside.count("differing")
        return JobStatus(
            job=job.id,
            state=state,
            holder=job.running,
            source=spec.source if spec else "",
            target=spec.target if spec else "",
            selection=spec.selection if spec else {},
            totals=total(counts.values()),
            namespaces=counts,
            slices_open=left,
            slices=slices,
            round=checkpoint.round,
            rejected=rejected,
            differing=differing,
            rejected_reasons=tuple(checkpoint.aside.reasons("rejected")[:10]),
            remarks=checkpoint.remarks,
            remark_examples={kind: checkpoint.remark_examples(kind) for kind in checkpoint.remarks},
            deleted=checkpoint.deleted,
            runs=tuple(checkpoint.runs),
            caught_up_to=checkpoint.snapshot_s,
            warnings=checkpoint.warnings,
            next=_next(
                job, state, spec.request if spec else None, rejected, differing, missing=bool(checkpoint.shortfall)
            ),
            unread=checkpoint.shortfall.unread,
            unstored=checkpoint.shortfall.unstored,
            lag=checkpoint.lag,
        )
    finally:
        checkpoint.close()


def _next(job: JobView, state: str, request: JobRequest | None, rejected: int, differing: int, *, missing: bool) -> str:
    if state == "running":
        return "wait for it; check again with the same command"
    again = command(request) if request else ""
    if state != "complete":
        return f"resume with: {again}"
    if missing:
        return f"documents are missing; read everything again with: {again}"
    keeps = state_option(request)
    if rejected:
        return (
            f"list the rejected documents: migrator status {job.id} --rejected{keeps}; "
            f"fix the cause, then: migrator retry-rejected {job.id}{keeps}"
        )
    if differing:
        return (
            f"list what differs: migrator status {job.id} --differing{keeps} > FILE; "
            f"to replace what the target has: {again} --ids FILE --on-conflict overwrite"
        )
    return f"nothing; to copy what is new since: {again}"
