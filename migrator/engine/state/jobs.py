"""Jobs in the state folder: their identity, their lock, and where their checkpoint lies.

    STATE/jobs/JOB/job.sqlite    the checkpoint
    STATE/jobs/JOB/lock          held by the run; names it

Knows nothing of what a checkpoint means.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from migrator.activations.requests import JobRequest
from migrator.engine.state.checkpoint import Checkpoint, JobSpec
from migrator.engine.state.live import FILE as LIVE
from migrator.engine.state.planned import open_for
from migrator.engine.state.statefile import remove_state
from migrator.errors import (
    NO_ROOM,
    AccessDenied,
    Locked,
    MigratorError,
    NotFound,
    StateDamaged,
    Unavailable,
    UsageError,
)
from migrator.text.arguments import argument
from migrator.text.printable import printable
from migrator.text.units import counted

EVIDENCE = "evidence.sqlite"
_CHECKPOINT = "job.sqlite"
_LOCK = "lock"


def job_id(source_identity: str, target_identity: str, selection: Mapping[str, Any]) -> str:
    """The fingerprint of what is copied where: twelve hex digits.

    Options that change the result aren't part of it: a job that was begun with others must be found, to be refused.
    """
    text = msgspec.json.encode([source_identity, target_identity, selection], order="deterministic")
    return hashlib.sha256(text).hexdigest()[:12]


class Job:
    """A job's folder while a run holds its lock."""

    def __init__(self, folder: Path, checkpoint: Checkpoint, lock: int) -> None:
        self.folder = folder
        self.checkpoint = checkpoint
        self._lock = lock

    def close(self) -> None:
        self.checkpoint.close()
        os.close(self._lock)


def open_job(state: Path, spec: JobSpec, *, restart: bool = False) -> Job:
    """Open or create a job and take its lock.

    Raises `Locked` when another run holds it, `UsageError` when the state folder can't be written or the job was
    begun with other options. With `restart` what an earlier run left is dropped.
    """
    folder, lock = lock_folder(state, "job", spec.id)
    try:
        checkpoint = open_for(spec.id, folder / _CHECKPOINT, Checkpoint, restart=restart)
        found = checkpoint.spec
        had, given = found.request.deciding if found else {}, spec.request.deciding
        if "mapping" not in had.get("template", {"mapping": None}) and "template" in given:
            # 0.2 had one template, which such a job has installed; the same command asks for another one now.
            given["template"] = {part: value for part, value in given["template"].items() if part != "mapping"}
        if found is not None and had != given and checkpoint.state == "unfinished":
            checkpoint.close()
            raise OtherOptions(spec.id, found.request, had, given)
    except BaseException:
        os.close(lock)
        raise
    return Job(folder, checkpoint, lock)


def is_begun(state: Path, id: str) -> bool:
    """Whether an earlier run left anything of a job."""
    return (state / "jobs" / id / _CHECKPOINT).exists()


class OtherOptions(UsageError):
    """A job is unfinished and was started with other options; `request` has those."""

    def __init__(self, job: str, request: JobRequest, had: Mapping[str, Any], given: Mapping[str, Any]) -> None:
        names = sorted(name for name in {*had, *given} if had.get(name) != given.get(name))
        differing = ", ".join(
            f"{argument(name)} {_value(had, name)} instead of {_value(given, name)}" for name in names
        )
        super().__init__(
            f"job {job} is unfinished and was started with {differing}; give the same options to resume, or "
            f"{argument('restart')} to start over"
        )
        self.job, self.request = job, request


def _value(options: Mapping[str, Any], name: str) -> str:
    value = options.get(name, "skip" if name == "on_conflict" else None)
    if isinstance(value, Mapping):
        value = [f"{part}={each}" for part, each in value.items()]
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def lock_folder(state: Path, kind: str, id: str) -> tuple[Path, int]:
    """The folder of a job, or of another kind of work, and its lock as an open file, made where there is none.

    Raises `Locked` when another run holds it, `UsageError` when the state folder can't be written, `Unavailable` when
    its disk is full.
    """
    folder = state / f"{kind}s" / id
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder, _take_lock(folder, f"{kind} {id}")
    except OSError as error:
        raise unwritable(state, error) from error


def unwritable(state: Path, error: OSError) -> MigratorError:
    """What it means that something in a state folder can't be written."""
    if error.errno in NO_ROOM:
        return Unavailable(
            f"{state}: the state folder can't be written: {error.strerror}; free disk space or repair the disk, then "
            "run the same command again"
        )
    return UsageError(
        f"{state}: the state folder can't be written: {error.strerror}; choose another with {argument('state')}"
    )


def _take_lock(folder: Path, what: str) -> int:
    """Lock a folder for this process; the lock leaves with the process, however it ends."""
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        os.pwrite(lock, f"process {os.getpid()} on {socket.gethostname()} since {now}".encode(), 0)
    except BlockingIOError:
        holder = os.pread(lock, 1000, 0).decode(errors="replace").strip()
        os.close(lock)
        raise Locked(f"{what} is being run by {holder or 'another process'}; wait for it, or stop it") from None
    except BaseException:
        os.close(lock)
        raise
    return lock


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """A job as `migrator status` lists it."""

    id: str
    folder: Path
    running: str | None  # who holds its lock


def list_jobs(state: Path) -> Iterator[JobView]:
    """The jobs of a state folder, in the order of their ids. Raises `AccessDenied` where it can't be read.

    One that can't be examined is among them: what is wrong with it, `view_checkpoint` tells.
    """
    return _list(state / "jobs", _CHECKPOINT)


def list_verifications(state: Path) -> Iterator[JobView]:
    """The verifications of a state folder. Raises as `list_jobs`."""
    return _list(state / "verifications", LIVE)


def _list(folder: Path, having: str) -> Iterator[JobView]:
    try:
        if not _is_there(folder):
            return
        jobs = sorted(folder.iterdir())
    except OSError as error:
        raise AccessDenied(f"{error.filename}: the state folder can't be read: {error.strerror}") from error
    for job in jobs:
        if _is_there(job / having, unreadable=True):
            yield JobView(id=job.name, folder=job, running=lock_holder(job))


def state_folders_below(folder: Path) -> list[Path]:
    """The state folders that lie directly in a folder, as where each machine or part has its own."""
    try:
        return sorted(each for each in folder.iterdir() if each.name != "jobs" and (each / "jobs").is_dir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise AccessDenied(f"{error.filename}: the state folder can't be read: {error.strerror}") from error


def _is_there(path: Path, *, unreadable: bool = False) -> bool:
    """Whether something has this name; `unreadable` is the answer where nobody can tell, else that raises."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        if not unreadable:
            raise
    return True


def lock_holder(folder: Path) -> str | None:
    """Who holds the lock of a folder, None where nobody does."""
    try:
        lock = os.open(folder / _LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(lock, 1000, 0).decode(errors="replace").strip() or "another process"
    finally:
        os.close(lock)
    return None


def find_job(state: Path, id: str) -> JobView:
    """The job whose id begins with `id`. Raises `NotFound` where there is none or more than one."""
    return _the_one([job for job in list_jobs(state) if job.id.startswith(id)] if id else [], id, state)


def _the_one(found: Sequence[JobView], id: str, state: Path) -> JobView:
    if len(found) != 1:
        some, shown = counted(len(found), "job"), printable(id)
        what = f"{some} begin with '{shown}'" if found else f"there is no job '{shown}'"
        raise NotFound(f"{what} in {state}; `migrator status` lists them")
    return found[0]


def forget_job(state: Path, id: str, *, discard: bool = False) -> JobView:
    """Delete what is known of a job or a verification that isn't running; both stores stay as they are.

    Documents that are set aside are kept nowhere else, so that they go only with `discard`. Raises `NotFound`,
    `Locked` while it runs, `UsageError`.
    """
    jobs, verifications = list(list_jobs(state)), list(list_verifications(state))
    view = _the_one([each for each in (*jobs, *verifications) if each.id.startswith(id)] if id else [], id, state)
    kind = "job" if view in jobs else "verification"
    _, lock = lock_folder(state, kind, view.id)
    try:
        if kind == "job" and not discard and (kept := _set_aside(view)):
            raise UsageError(
                f"job {view.id} keeps {kept}, and nothing else has them; list them with `migrator status {view.id}`, "
                f"then forget them with {argument('discard')}"
            )
        # The lock stays, so that nobody can hold another one of the same job; the checkpoint goes first.
        remove_state(view.folder / (_CHECKPOINT if kind == "job" else EVIDENCE))
        (view.folder / LIVE).unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(state, error) from error
    finally:
        os.close(lock)
    return view


def _set_aside(view: JobView) -> str:
    """The documents set aside with a job, in words; empty where there are none, or nobody can tell any more."""
    try:
        with closing(view_checkpoint(view)) as checkpoint:
            counts = [(checkpoint.aside.count(kind), kind) for kind in ("rejected", "differing")]
    except StateDamaged:
        return ""
    return " and ".join(f"{count:,} {kind} document{'' if count == 1 else 's'}" for count, kind in counts if count)


def files_version(job: JobView) -> tuple[tuple[int, int, int], ...]:
    """What changes whenever one of a job's files does: two that are equal, of a job that isn't running, are one state.

    A log without anything in it counts as none: whoever looks at a checkpoint makes one, and removes it again.
    """
    found = []
    for name in (_CHECKPOINT, f"{_CHECKPOINT}-wal", LIVE):
        try:
            info = (job.folder / name).stat()
        except OSError:
            continue
        if info.st_size:
            found.append((info.st_ino, info.st_size, info.st_mtime_ns))
    return tuple(found)


def view_checkpoint(job: JobView) -> Checkpoint:
    """The checkpoint of a job to look at, without its lock. Raises as `StateFile`."""
    return Checkpoint(job.folder / _CHECKPOINT, view=True)
