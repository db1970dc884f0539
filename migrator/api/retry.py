"""`migrator.retry_rejected`: what the command `migrator retry-rejected` does, for programs."""

from __future__ import annotations

from pathlib import Path

from migrator.adapters.opening import open_writer
from migrator.adapters.wrappers.retrying import RetryingWriter
from migrator.api.opening import resolve_store
from migrator.api.run import Run
from migrator.engine.retry import RetryOutcome, retry_set_aside
from migrator.engine.state.jobs import find_job, open_job, view_checkpoint
from migrator.errors import UsageError
from migrator.events import Tell
from migrator.events.watching import Stop


def retry_rejected(
    job: str,
    *,
    config: Path | None = None,
    state: Path | None = None,
    retry_for_s: float = 300.0,
    stop: Stop | None = None,
    tell: Tell = lambda _: None,
) -> RetryOutcome:
    """Try the rejected documents of a job again, from the copies that the job kept.

    `job` is the id or its beginning; `config` is the file that names the target, None for where it is looked for.
    Documents that go over leave the job's rejected ones. Raises `NotFound`, `Locked` and what the target raises.
    """
    run = Run(state=state, retry_for_s=retry_for_s, stop=stop or Stop(), tell=tell)
    view = find_job(run.folder, job)
    checkpoint = view_checkpoint(view)
    spec = checkpoint.spec
    checkpoint.close()
    if spec is None:
        raise UsageError(f"job {view.id} never started; nothing was rejected")
    target = resolve_store(spec.target, "target", tell, config)
    writer = RetryingWriter(open_writer(target, keep_revisions="keep_revisions" in spec.request.options), run.policy)
    try:
        writer.describe()
        opened = open_job(run.folder, spec)
        try:
            stores = opened.checkpoint.stores
            assert stores is not None
            number = opened.checkpoint.begin_run(spec, *stores)
            outcome = "failed"
            try:
                result = retry_set_aside(writer, opened.checkpoint, run=number, stop=run.stop)
                outcome = "rejected documents tried again"
                return result
            finally:
                opened.checkpoint.end_run(number, outcome, read=0)
        finally:
            opened.close()
    finally:
        writer.close()
