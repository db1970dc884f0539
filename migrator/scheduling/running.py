"""One run of a schedule, from its lock to its notifications: the same for the daemon, for cron and for Kubernetes.

    lock -> is it due? -> note that it began -> back up, copy or verify -> check the backup -> purge -> prune -> note
    -> tell

A schedule enters, a `Run` leaves, whatever came of it. Knows nothing of what woke it up.
"""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from migrator.errors import ArchiveDamaged, Interrupted, LimitReached, Locked, MigratorError, Unavailable
from migrator.events import MissedRuns, RunCompleted, RunFailed, Tell, TryFailed, Warned
from migrator.events.watching import Stop
from migrator.rendering.arguments import error_text
from migrator.rendering.events import sentence
from migrator.scheduling.files import Schedule
from migrator.scheduling.notify import ping, run_command
from migrator.scheduling.planning import correct_handled, plan
from migrator.scheduling.schema import Runs
from migrator.scheduling.state import Attempt, Memory, Run, State
from migrator.scheduling.tasks import Context, Done, Purged, check_backup, perform, prune_backups, purge_source
from migrator.scheduling.textfile import write_textfile
from migrator.text.secrets import redact
from migrator.text.units import human_duration


def run_schedule(
    schedule: Schedule,
    *,
    state: Path,
    config: Path | None = None,
    textfile: Path | None = None,
    only_due: bool = False,
    stop: Stop | None = None,
    tell: Tell = lambda _: None,
    clock: Callable[[], float] = time.time,
) -> Run | None:
    """Run a schedule once, under its lock, and keep what came of it.

    With `only_due` nothing is done, and None returned, where no moment is due: another run saw to it. Raises `Locked`
    while another run holds the lock; what goes wrong in the run itself is in the `Run`. `textfile` is the folder
    for Prometheus; `stop` belongs to this run alone.
    """
    memory = Memory(state, schedule.name)
    context = Context(state=state, config=config, stop=stop or Stop(), tell=tell, clock=clock)
    with memory.lock():
        try:
            return _run(schedule, memory, context, textfile, only_due=only_due)
        except Exception as error:  # the run can't be noted: the state folder, or what is in it
            reason = error_text(error) if isinstance(error, MigratorError) else f"unexpected {type(error).__name__}"
            ping(schedule.notify, "failure", f"{schedule.name}: {reason}", schedule.path.parent, tell)
            raise


def _run(schedule: Schedule, memory: Memory, context: Context, textfile: Path | None, *, only_due: bool) -> Run | None:
    tell, folder, began_s = context.tell, schedule.path.parent, context.clock()
    known = memory.read_or_begin(began_s)
    handled_until_s = correct_handled(schedule.trigger, known.handled_until_s, began_s)
    known = msgspec.structs.replace(known, handled_until_s=handled_until_s)
    due = plan(schedule.trigger, handled_until_s, began_s, grace_s=schedule.grace_s)
    is_due = due.begins_s <= began_s
    if only_due and not is_due:
        return None
    if is_due and due.missed:
        tell(MissedRuns(due.missed))
    moment_s = due.moment_s if is_due else None
    memory.write(known.begin(Attempt(moment_s=moment_s, began_s=began_s)))
    ping(schedule.notify, "start", f"{schedule.name}: began", folder, tell)
    run, report = _Running(schedule, known, moment_s, began_s, context).go()
    known = known.end(run)
    memory.write(known)
    if textfile is not None:
        write_textfile(textfile, schedule, known, context.clock(), tell)
    if run.outcome != "interrupted":  # the next run resumes it; there is nothing to say yet
        event = "success" if run.succeeded else "failure"
        ping(schedule.notify, event, summary(run), folder, tell)
        run_command(schedule.notify, event, _as_report(run, report), folder, tell)
    return run


class _Running:
    """A run while it goes on: the state of it so far, whatever it ends with."""

    def __init__(
        self, schedule: Schedule, known: State, moment_s: float | None, began_s: float, context: Context
    ) -> None:
        self._schedule = schedule
        self._known = known
        self._moment_s = moment_s
        self._began_s = began_s
        self._context = context
        self._tries = 0
        self._done: Done | None = None
        self._verified = ""
        self._chain_damaged = False
        self._purged: Purged | None = None
        self._deleted: tuple[str, ...] = ()

    def go(self) -> tuple[Run, Mapping[str, Any]]:
        """Run to the end; the run, and the report of its task as far as there is one."""
        try:
            with _at_most(self._schedule.limits.max_duration, self._context.stop):
                self._done = self._try()
                self._check()
                self._purge()
                self._prune()
        except Interrupted as error:
            return self._end_run("interrupted", error.exit_code, error_text(error))
        except MigratorError as error:
            return self._end_run("failed", error.exit_code, error_text(error))
        except Exception as error:  # noqa: BLE001  the daemon and its other schedules go on
            if os.environ.get("MIGRATOR_DEBUG"):
                self._context.tell(Warned("".join(traceback.format_exception(error))))
            # Its text may be a foreign library's, with a login in it, and this is kept.
            return self._end_run(
                "failed", 1, f"unexpected {type(error).__name__}; set MIGRATOR_DEBUG=1 for a traceback"
            )
        purged_code = self._purged.exit_code if self._purged is not None else 0
        return self._end_run("complete", self._done.exit_code or purged_code, "")

    def _try(self) -> Done:
        """The task, tried again while a server is away or another run has the job."""
        failure = self._schedule.failure
        wait_s = float(failure.wait)
        moment_s = self._began_s if self._moment_s is None else self._moment_s
        while True:
            self._tries += 1
            try:
                return perform(self._schedule, self._known, moment_s, self._context)
            except (Unavailable, Locked) as error:
                if self._tries > failure.retries:
                    raise
                self._context.tell(TryFailed(str(error), self._tries + 1, failure.retries + 1, wait_s))
            self._context.stop.sleep(wait_s)
            wait_s = min(2 * wait_s, float(failure.longest_wait))

    def _check(self) -> None:
        schedule, done = self._schedule, self._done
        assert done is not None
        if not done.backup or schedule.check is None or not _is_checked(schedule.check_on, done, self._known):
            return
        checked = check_backup(schedule, done.backup, schedule.check, self._context)
        self._chain_damaged = not checked.chain_is_whole
        if checked.trouble:
            raise ArchiveDamaged(checked.trouble)
        self._verified = str(schedule.check)

    def _purge(self) -> None:
        """Remove from the source what the archive holds; never after a backup that wasn't verified by this run."""
        if self._schedule.purge is not None and self._verified:
            self._purged = purge_source(self._schedule, self._schedule.purge, self._context)

    def _prune(self) -> None:
        """Let go of what retention doesn't keep; never after a backup that wasn't verified by this run."""
        if self._schedule.retention is not None and self._verified:
            made = self._done.backup if self._done is not None else ""
            self._deleted = prune_backups(self._schedule, self._schedule.retention, made, self._context)

    def _end_run(self, outcome: str, exit_code: int, message: str) -> tuple[Run, Mapping[str, Any]]:
        done, purged = self._done or Done(exit_code=exit_code, report={}), self._purged
        run = Run(
            schedule=self._schedule.name,
            task=self._schedule.task,
            moment_s=self._moment_s,
            began_s=self._began_s,
            ended_s=self._context.clock(),
            outcome=outcome,
            exit_code=exit_code,
            message=redact(message),
            tries=self._tries,
            verified=self._verified,
            chain_damaged=self._chain_damaged,
            purged=purged.removed if purged else 0,
            unproven=purged.kept if purged else 0,
            deleted=self._deleted,
            **{name: getattr(done, name) for name in Done.__struct_fields__ if name not in ("exit_code", "report")},
        )
        return run, {**done.report, "purge": purged.report} if purged else done.report


@contextmanager
def _at_most(seconds: float | None, stop: Stop) -> Iterator[None]:
    """End what goes on inside cleanly when its time is over: `LimitReached`."""
    if seconds is None:
        yield
        return
    timer = threading.Timer(seconds, stop.ask, args=(LimitReached.exit_code,))
    timer.daemon = True
    timer.start()
    try:
        yield
    except Interrupted as error:
        if error.exit_code == LimitReached.exit_code:
            raise LimitReached(
                f"it took longer than max_duration ({human_duration(seconds)}); the next run resumes where it stopped"
            ) from error
        raise
    finally:
        timer.cancel()


def _is_checked(runs: Runs, done: Done, known: State) -> bool:
    if runs.full_only:
        return done.mode == "full"
    return (known.complete + 1) % runs.every == 0


def end_event(run: Run) -> RunCompleted | RunFailed:
    """What a run came to, for those who look on."""
    if not run.succeeded:
        return RunFailed(run.outcome, run.tries, run.duration_s, run.exit_code, run.message, schedule=run.schedule)
    return RunCompleted(
        tries=run.tries,
        duration_s=run.duration_s,
        documents=run.documents,
        mode=run.mode,
        backup=run.backup,
        backup_bytes=run.backup_bytes,
        verified=run.verified,
        deleted=len(run.deleted),
        rejected=run.rejected,
        differing=run.differing,
        purged=run.purged,
        unproven=run.unproven,
        schedule=run.schedule,
    )


def summary(run: Run) -> str:
    """A run in one line."""
    return sentence(end_event(run))


def _as_report(run: Run, report: Mapping[str, Any]) -> dict[str, Any]:
    """What a command is given: the schema of the hook, version 1."""
    return {
        "message_type": "schedule_run",
        "schema": 1,
        **msgspec.to_builtins(run),
        "duration_s": run.duration_s,
        "summary": summary(run),
        "report": report,
    }
