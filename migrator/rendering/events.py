"""Events as sentences and as objects for logs: the only place that words them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from migrator import events as e
from migrator.activations.forms import instant
from migrator.engine.verification.values import PHASES
from migrator.rendering.command_line import command
from migrator.settings.stores import netloc
from migrator.text.units import counted, human_bytes, human_duration, plural

_NAMES_ITSELF = (e.ScheduleInvalid, e.ScheduleLocked)  # their reasons name the schedule


def sentence(event: e.Event) -> str:
    """The event for a person."""
    for words in (_of_stores, _of_jobs, _of_verifications, _of_backups, _of_schedules, _of_runs):
        text = words(event)
        if text is not None:
            named = event.schedule and not isinstance(event, _NAMES_ITSELF)
            return f"{event.schedule}: {text}" if named else text
    raise NotImplementedError(type(event).__name__)


def shown_as_text(event: e.Event) -> bool:
    """Whether a person wants to read it: not what only programs want to know, nor the same outage again and again."""
    return event.level != "debug" and not (isinstance(event, e.Retrying) and event.repeated)


def as_object(event: e.Event, clean: Callable[[str], str]) -> dict[str, Any]:
    """The event for a log: `event`, its fields, `message`; `clean` is applied to every text."""
    fields: dict[str, Any] = msgspec.to_builtins(event)
    if not event.schedule:
        del fields["schedule"]
    if isinstance(event, e.RunUnfinished):
        fields["command"] = command(event.request)
        del fields["request"]
    shown = {name: clean(value) if isinstance(value, str) else value for name, value in fields.items()}
    return {**shown, "message": clean(sentence(event))}


def progress_share(event: e.ProgressNoted) -> str:
    return f"{min(100, 100 * event.read // event.documents)} %, " if event.documents else ""


def progress_amount(event: e.ProgressNoted) -> str:
    """`12,200 of 20,000 documents, 13.1 MB`, of the whole job."""
    of = f" of {event.documents:,}" if event.documents else ""
    documents = plural(event.documents or event.read, "document")
    return f"{event.read:,}{of} {documents}, {human_bytes(event.size_bytes)}"


def progress_tail(event: e.ProgressNoted) -> str:
    """What stands right of a bar: `12,200 of 20,000 documents, 13.1 MB, 3,980/s, 2.0 s left, 3 rejected`."""
    parts = [progress_amount(event)]
    if event.per_second:
        parts.append(f"{event.per_second:,.0f}/s")
    if event.seconds_left is not None:
        parts.append(f"{human_duration(event.seconds_left)} left")
    if event.lag_s is not None:
        parts.append(f"lag {lag_text(event.lag_documents, event.lag_s)}")
    counted = (("present", event.present), ("differing", event.differing), ("rejected", event.rejected))
    return ", ".join(parts + [f"{count:,} {name}" for name, count in counted if count])


def lag_text(documents: int | None, behind_s: float) -> str:
    """`0`, `1,200 documents, 2.5 s`, or that it isn't known."""
    if documents == 0:
        return "0"
    amount = "unknown" if documents is None else counted(documents, "document")
    return f"{amount}, {human_duration(behind_s)}"


def _of_stores(event: e.Event) -> str | None:
    match event:
        case e.Note() | e.Warned() | e.LoginWarning() | e.SourceWarning() | e.TargetWarning():
            return event.text
        case e.ProgressNoted():
            return f"{event.phase}: {progress_share(event)}{progress_tail(event)}"
        case e.Retrying():
            return f"{event.reason}; trying again in {event.pause_s:.0f} s"
        case e.Recovered():
            tries = counted(event.retries, "retry", "retries")
            return f"continuing after an outage of {human_duration(event.waited_s)} ({tries})"
        case e.Controlled():
            rate = "the rate it began with" if event.max_rate is None else f"at most {event.max_rate}"
            return "paused; `migrator control JOB resume=True` goes on" if event.paused else f"reading, {rate}"
        case e.Waiting():
            return f"{event.request}: no answer for {event.waited_s:.0f} s; still waiting"
        case e.NothingInTime():
            return f"{event.store}: nothing selected started between --since and --until"
    return None


def _of_jobs(event: e.Event) -> str | None:
    match event:
        case e.Resumed():
            return f"resuming job {event.job} {_standing_text(event)} (run {event.run})"
        case e.Continued():
            return f"job {event.job} was complete; copying what is new since (run {event.run})"
        case e.Reread():
            return f"job {event.job} was complete; reading the source again"
        case e.RoundStarted():
            return f"catching up, round {event.number}"
        case e.LagNoted():
            return f"lag: {lag_text(event.documents, event.behind_s)}"
        case e.CaughtUp():
            return "the target holds all that the source holds; following"
        case e.LagUnknown():
            return f"how far the target is behind the source can't be told: {event.reason}"
        case e.RoundAbandoned():
            return f"{event.reason}; looking again at what is there now"
        case e.TargetCreated():
            return f"created {event.target}"
        case e.TargetReplaced():
            return (
                f"{event.target} was emptied or replaced since the last run of this job ({event.reason}); "
                "copying everything again"
            )
        case e.SourceReplaced():
            return (
                f"{event.source} was replaced since the last run of this job ({event.reason}); reading everything again"
            )
        case e.WorkerLost():
            again = f"; carrying {counted(event.slices, 'slice')} of it again" if event.slices else ""
            return f"{event.worker} {event.reason}{again}"
        case e.StoreReplaced():
            return f"{event.reason}; copying everything again"
        case e.MissingBefore():
            return f"documents were missing at the end of the last run of job {event.job}; reading everything again"
        case e.DocumentsMissing():
            return event.text
        case e.IdsMissing():
            arent = plural(event.missing, "isn't", "aren't")
            return f"{event.missing:,} of the {counted(event.ids, 'id')} {arent} in {event.source}"
        case e.RunUnfinished():
            return f"{event.what} {event.id} is unfinished; resume with: {command(event.request)}"
    return None


def _standing_text(event: e.Resumed) -> str:
    """How far a job is, as the end of a sentence: `at 61 %, 12,200 of 20,000 documents`."""
    if event.share is None or event.documents is None:
        return f"after {counted(event.read, 'document')}"
    return f"at {round(100 * event.share)} %, {event.read:,} of {counted(event.documents, 'document')}"


def _of_verifications(event: e.Event) -> str | None:
    match event:
        case e.VerificationResumed():
            return f"resuming verification {event.verification}, which is {PHASES[event.stage]} (run {event.run})"
        case e.VerificationRestarted():
            return "a store was replaced since this verification began; starting over"
        case e.ReadAgain():
            return f"{event.reason}; reading both sides again"
        case e.VerificationNotNoted():
            return f"the verification isn't noted in its job: {event.reason}"
    return None


def _of_backups(event: e.Event) -> str | None:
    match event:
        case e.BackupResumed():
            return "resuming the interrupted backup in the mode it was started with"
        case e.BackupStarted():
            kind = f"incremental backup on {event.parent}" if event.parent else "full backup"
            return f"{kind}, encrypted" if event.encrypted else kind
        case e.FullBackup():
            return f"making a full backup: {event.reason}"
        case e.ClockBehind():
            return (
                f"the clock says {instant(event.now_ms)}, but backup {event.backup} ended later, at "
                f"{instant(event.ended_ms)}. Correct the clock; the order of backups is not affected, but --at and the "
                "--keep rules by time are"
            )
        case e.RejectedBefore():
            return (
                f"{counted(event.documents, 'document was', 'documents were')} rejected by the backups that this one "
                "continues, and missing in them; to try them again, make a full backup with --mode full"
            )
        case e.BackupDeleted():
            return f"{event.archive}: backup {event.backup} was deleted"
        case e.RemovalsSettled():
            return f"an interrupted purge had removed {counted(event.documents, 'more document')}, now in {event.log}"
        case e.RepairDiscarded():
            return f"{event.archive}: discarding what an interrupted --repair left there"
    return None


def _of_schedules(event: e.Event) -> str | None:
    match event:
        case e.ScheduleLoaded():
            return "reloaded" if event.again else "loaded"
        case e.ScheduleRemoved():
            return "removed, its file no longer exists"
        case e.ScheduleInvalid():
            return f"{event.reason}{'; its last valid version stays in use' if event.keeps_last else ''}"
        case e.ScheduleLocked() | e.ScheduleTrouble():
            return event.reason
        case e.ClockSetBack():
            return "the clock was set back by more than a period; following the new time"
        case e.RunMissed():
            return f"the run of {event.moment} was missed by longer than its grace"
        case e.MissedRuns():
            were = counted(event.runs, "earlier run was", "earlier runs were")
            return f"{were} missed; this run makes up for all of them"
        case e.Listening():
            return f"listening on {netloc(event.address, event.port)}"
        case e.BackupDamaged():
            return "the last backup was found damaged when it was verified; making a full backup"
    return None


def _of_runs(event: e.Event) -> str | None:
    match event:
        case e.TryFailed():
            return f"{event.reason}; try {event.next_try} of {event.tries} in {human_duration(event.pause_s)}"
        case e.RunFailed():
            return f"{event.outcome}{_took(event)}, exit code {event.exit_code}: {event.reason}"
        case e.RunCompleted():
            parts = [f"{counted(event.documents, 'document')} read"]
            parts += [f"{event.mode} backup {event.backup}, {human_bytes(event.backup_bytes)}"] if event.backup else []
            parts += [f"verified ({event.verified})"] if event.verified else []
            parts += [f"{counted(event.purged, 'old activation')} removed"] if event.purged else []
            parts += [f"{counted(event.unproven, 'old activation')} not proven"] if event.unproven else []
            parts += [f"{counted(event.deleted, 'old backup')} deleted"] if event.deleted else []
            parts += [f"{event.rejected:,} rejected"] if event.rejected else []
            parts += [f"{event.differing:,} differing"] if event.differing else []
            return f"complete{_took(event)}: {', '.join(parts)}"
        case e.NotificationFailed() if event.program:
            return f"the {event.of} command {event.program} {event.reason}"
        case e.NotificationFailed():
            return f"the {event.of} notification{f' to {event.host}' if event.host else ''} failed: {event.reason}"
        case e.MetricsNotWritten():
            return f"{event.path}: the metrics can't be written: {event.reason}"
    return None


def _took(event: e.RunCompleted | e.RunFailed) -> str:
    tries = f" after {counted(event.tries, 'try', 'tries')}" if event.tries > 1 else ""
    return f"{tries} in {human_duration(event.duration_s)}"
