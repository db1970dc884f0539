"""What a state folder knows of its jobs, for `migrator status`, for pages and for programs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from migrator.activations.accounts import Counts, total
from migrator.activations.document import Form
from migrator.activations.requests import JobRequest
from migrator.engine.state.checkpoint import Checkpoint
from migrator.engine.state.jobs import JobView, files_version, list_jobs, list_verifications, view_checkpoint
from migrator.engine.state.live import Live, read_live
from migrator.errors import MigratorError
from migrator.events.watching import Lag
from migrator.rendering.command_line import command, state_option
from migrator.text.units import counted


class Step(msgspec.Struct, frozen=True):
    """Something to do: in words, and as a command that does it; empty where there is none."""

    text: str
    command: str = ""


class JobStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Where a job or a verification stands and what to do next. Moments are epoch seconds."""

    job: str  # its id
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
    caught_up_to: float | None
    warnings: tuple[str, ...]
    steps: tuple[Step, ...]  # what to do next
    next: str  # the same in one sentence
    unread: int = 0  # documents that the source counts and that weren't read
    unstored: int = 0  # documents that were copied and that the target doesn't count
    lag: Lag | None = None  # at the last look of a run that follows its source
    kind: str = "job"  # or "verification"
    verb: str = ""  # "copy", "backup", "restore", "verify"
    began_s: float | None = None  # of its newest run
    updated_s: float = 0.0  # when it was last known to do something
    phase: str = ""
    documents: int | None = None  # expected in all
    percent: int | None = None
    per_second: float | None = None  # of late, while it runs
    seconds_left: float | None = None
    waiting: str = ""  # what is being waited for
    waiting_since_s: float | None = None
    last_error: str = ""
    last_error_s: float | None = None
    rates: tuple[tuple[float, float], ...] = ()  # of a run that goes on: moments and documents a second


def statuses(
    state: Path, status_of: Callable[[JobView], JobStatus] | None = None
) -> Iterator[JobStatus | MigratorError]:
    """All jobs of a state folder, and verifications that aren't complete, the newest first.

    In the place of one that can't be looked at stands what is wrong with it. `status_of` looks at one, as `job_status`.
    """
    found: list[JobStatus] = []
    for job in list_jobs(state):
        try:
            found.append((status_of or job_status)(job))
        except MigratorError as error:
            yield error
    for view in list_verifications(state):
        live = read_live(view.folder)
        if live is not None and (view.running or live.outcome != "complete"):
            found.append(verification_status(view, live))
    yield from sorted(found, key=lambda each: (each.state == "running", each.updated_s, each.job), reverse=True)


class KnownJobs:
    """The jobs of a state folder for whoever looks every few seconds: only what has changed is opened again."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._lock = threading.Lock()
        self._known: dict[Path, tuple[object, JobStatus]] = {}

    def statuses(self) -> list[JobStatus | MigratorError]:
        """As `statuses`; one look at a time, by however many threads."""
        with self._lock:
            seen: dict[Path, tuple[object, JobStatus]] = {}

            def status_of(job: JobView) -> JobStatus:
                version = files_version(job)  # before it is read: what changes meanwhile is read again
                known = self._known.get(job.folder)
                if job.running or known is None or known[0] != version:
                    known = version, job_status(job)
                if not job.running:
                    seen[job.folder] = known
                return known[1]

            found = list(statuses(self._state, status_of))
            self._known = seen
            return found


def job_status(job: JobView) -> JobStatus:
    """Look at a job without its lock; a run that is going on isn't disturbed."""
    checkpoint = view_checkpoint(job)
    live = read_live(job.folder)
    try:
        spec, counts, runs = checkpoint.spec, checkpoint.counts, tuple(checkpoint.runs)
        left, slices = checkpoint.slices_left()
        state = "running" if job.running else checkpoint.state
        steps = _steps(job, state, spec.request if spec else None, checkpoint)
        error, error_s = _last_error(() if job.running else runs, live)
        return JobStatus(
            job=job.id,
            state=state,
            holder=job.running,
            source=spec.source if spec else "",
            target=spec.target if spec else "",
            verb=spec.request.verb if spec else "",
            selection=spec.selection if spec else {},
            totals=total(counts.values()),
            namespaces=counts,
            slices_open=left,
            slices=slices,
            round=checkpoint.round,
            rejected=checkpoint.aside.count("rejected"),
            differing=checkpoint.aside.count("differing"),
            rejected_reasons=tuple(checkpoint.aside.reasons("rejected")[:10]),
            remarks=checkpoint.remarks,
            remark_examples={kind: checkpoint.remark_examples(kind) for kind in checkpoint.remarks},
            deleted=checkpoint.deleted,
            runs=runs,
            caught_up_to=checkpoint.snapshot_s,
            warnings=checkpoint.warnings,
            steps=steps,
            next=_sentence(steps),
            unread=checkpoint.shortfall.unread,
            unstored=checkpoint.shortfall.unstored,
            lag=checkpoint.lag,
            began_s=runs[-1][1] if runs else None,
            updated_s=max([moment for run in runs for moment in run[1:3] if moment] + [_updated(live)]),
            documents=live.documents if live else None,
            percent=100 if state == "complete" else _percent(total(counts.values()).read, live),
            last_error=error,
            last_error_s=error_s,
            **{"phase": _phase(checkpoint, slices, left), **_running(live if job.running else None)},
        )
    finally:
        checkpoint.close()


def verification_status(view: JobView, live: Live) -> JobStatus:
    """A verification, of what its runs wrote beside its evidence."""
    request = live.request
    again = command(request)
    steps = (Step("wait for it; check again with the same command"),) if view.running else (Step("resume with", again),)
    return JobStatus(
        job=view.id,
        kind="verification",
        state="running" if view.running else "complete" if live.outcome == "complete" else "unfinished",
        holder=view.running,
        source=request.source,
        target=request.target,
        verb=request.verb,
        selection=msgspec.to_builtins(request.wanted),
        totals=Counts(read=live.read, filtered=live.read, size_bytes=live.size_bytes),
        namespaces={},
        slices_open=0,
        slices=0,
        round=0,
        rejected=0,
        differing=0,
        rejected_reasons=(),
        remarks={},
        remark_examples={},
        deleted=0,
        runs=(),
        caught_up_to=None,
        warnings=(),
        steps=steps,
        next=_sentence(steps),
        began_s=live.began_s,
        updated_s=live.updated_s,
        documents=live.documents,
        percent=live.percent,
        last_error=live.last_error,
        last_error_s=live.last_error_s,
        **_running(live if view.running else None),
    )


def _updated(live: Live | None) -> float:
    return live.updated_s if live else 0.0


def _percent(read: int, live: Live | None) -> int | None:
    if live is None or not live.documents:
        return None
    return live.percent if not live.outcome else min(99, 100 * read // live.documents)


def _phase(checkpoint: Checkpoint, slices: int, left: int) -> str:
    if checkpoint.state != "unfinished":
        return ""
    phase = "copying" if checkpoint.round == 0 else f"catching up, round {checkpoint.round}"
    return f"{phase}, {slices - left:,} of {counted(slices, 'slice')} done"


def _running(live: Live | None) -> dict[str, Any]:
    """What only a run that goes on has."""
    if live is None or live.outcome:
        return {}
    return {
        "phase": live.phase,
        "per_second": live.per_second or None,
        "seconds_left": live.seconds_left,
        "waiting": live.waiting,
        "waiting_since_s": live.waiting_since_s,
        "rates": live.rates,
    }


def _last_error(
    runs: Sequence[tuple[int, float, float | None, str | None, int]], live: Live | None
) -> tuple[str, float | None]:
    """Why the last run ended, or what went wrong in it; empty where it is complete."""
    if runs:
        _, began_s, ended_s, outcome, _ = runs[-1]
        if outcome not in (None, "complete", "interrupted", "failed", "rejected documents tried again"):
            return outcome or "", ended_s
        if outcome == "complete" or (live and live.began_s < began_s - 1):
            return "", None
    return (live.last_error, live.last_error_s) if live else ("", None)


# -- what to do next ----------------------------------------------------------------------------------------------


def _sentence(steps: Sequence[Step]) -> str:
    return "; ".join(f"{step.text}: {step.command}" if step.command else step.text for step in steps)


def _steps(job: JobView, state: str, request: JobRequest | None, checkpoint: Checkpoint) -> tuple[Step, ...]:
    if state == "running":
        return (Step("wait for it; check again with the same command"),)
    again, keeps = command(request) if request else "", state_option(request)
    if state != "complete":
        return (Step("resume with", again),)
    if checkpoint.shortfall:
        return (Step("documents are missing; read everything again with", again),)
    if checkpoint.aside.count("rejected"):
        return (
            Step("list the rejected documents", f"migrator status {job.id} --rejected{keeps}"),
            Step("fix the cause, then", f"migrator retry-rejected {job.id}{keeps}"),
        )
    if checkpoint.aside.count("differing"):
        listing = f"migrator status {job.id} --differing{keeps}"
        if _would_lose(checkpoint):
            return (
                Step(
                    "nothing to mend: where the two differ, the target has what Elasticsearch's form can't hold, and "
                    "replacing that would lose it"
                ),
                Step("to list them", listing),
            )
        return (
            Step("list what differs", f"{listing} > FILE"),
            Step("to replace what the target has", f"{again} --ids FILE --on-conflict overwrite"),
        )
    return (_again(request, again),)


def _again(request: JobRequest | None, again: str) -> Step:
    """A complete backup goes on incrementally, also where this one was asked to be full."""
    if request is None or request.verb != "backup":
        return Step("nothing; to copy what is new since", again)
    options = {name: value for name, value in request.options.items() if name != "mode"}
    return Step("nothing; to back up what is new since", command(msgspec.structs.replace(request, options=options)))


def _would_lose(checkpoint: Checkpoint) -> bool:
    """Whether the documents that differ are richer in the target than in the source, whose form holds less."""
    target = checkpoint.stores[1].location if checkpoint.stores else ""
    return Form.ELASTICSEARCH in checkpoint.aside.forms("differing") and not target.startswith("elasticsearch")
