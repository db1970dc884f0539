"""What is known of a schedule between two runs: when it last ran, what came of it, which moment was handled.

    STATE/schedules/NAME/state.sqlite    written by who holds the lock, in one transaction
    STATE/schedules/NAME/lock            held by a run, of the daemon or of a single one; names it

An earlier release kept `state.json` in its place, which is read until the next run is noted. Knows nothing of schedule
files and of what a run does.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import msgspec

from migrator.engine.state.jobs import lock_folder, lock_holder
from migrator.engine.state.statefile import StateFile
from migrator.errors import Locked, StateDamaged, UsageError
from migrator.text.decoding import convert, decode

_STATE = "state.sqlite"
_EARLIER = "state.json"  # of releases before the state file
_SCHEMA = "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"
_BLANK = "-" * 32  # stands for a checksum while it is computed


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """A run that began."""

    moment_s: float | None  # the moment that it handles; None where it was started out of turn
    began_s: float


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run that ended, for lists, metrics and notifications."""

    schedule: str
    task: str
    moment_s: float | None
    began_s: float
    ended_s: float
    outcome: str  # "complete", "failed", "interrupted"
    exit_code: int
    message: str = ""  # why it isn't complete
    tries: int = 1
    job: str = ""
    documents: int = 0  # read by this run
    size_bytes: int = 0  # of the documents of the job, as the source holds them
    rejected: int = 0
    differing: int = 0
    backup: str = ""
    mode: str = ""  # of the backup
    backup_bytes: int = 0  # of the backup as it lies in the archive
    backup_documents: int = 0
    verified: str = ""  # how the backup was verified: "quick", "sample 5 %", "full"
    chain_damaged: bool = False  # that verification found damage in it, or in what it builds on
    purged: int = 0  # documents that were removed from the source
    unproven: int = 0  # that are old enough and stayed
    deleted: tuple[str, ...] = ()  # backups that retention deleted

    @property
    def duration_s(self) -> float:
        return self.ended_s - self.began_s

    @property
    def succeeded(self) -> bool:
        return self.outcome == "complete"


class State(msgspec.Struct, frozen=True, kw_only=True):
    """All that is remembered of a schedule. Moments are epoch seconds."""

    version: int = 1
    known_since_s: float
    # The newest moment that a run handled, or that was before the schedule was known.
    handled_until_s: float = msgspec.field(name="seen_to_s")
    attempt: Attempt | None = None  # a run that began and hasn't ended, or was killed
    last: Run | None = None
    last_success: Run | None = None
    last_backup: Run | None = None  # the last run that made a backup
    complete: int = 0  # runs, by how they ended
    failed: int = 0
    interrupted: int = 0

    def begin(self, attempt: Attempt) -> State:
        return msgspec.structs.replace(self, attempt=attempt)

    def end(self, run: Run) -> State:
        """The state after a run. One that was interrupted leaves its moment open: it is caught up."""
        handled_until_s = self.handled_until_s
        if run.outcome != "interrupted" and run.moment_s is not None:
            handled_until_s = run.moment_s
        return msgspec.structs.replace(
            self,
            handled_until_s=handled_until_s,
            attempt=None,
            last=run,
            last_success=run if run.succeeded else self.last_success,
            last_backup=run if run.backup else self.last_backup,
            complete=self.complete + (run.outcome == "complete"),
            failed=self.failed + (run.outcome == "failed"),
            interrupted=self.interrupted + (run.outcome == "interrupted"),
        )


class _Earlier(State, frozen=True, kw_only=True):
    """A `state.json`."""

    checksum: str = ""  # of the file without it; empty where a still earlier release or a person wrote it


def _read_earlier(path: Path) -> State | None:
    """What an earlier release kept; None where it kept nothing."""
    try:
        data = path.read_bytes()
        state = decode(data, _Earlier)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"{path}: it can't be read: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise _damaged(path, str(error)) from error
    if state.checksum and state.checksum != _checksum(data, state.checksum):
        raise _damaged(path, "it doesn't match its checksum")
    return State(**{name: getattr(state, name) for name in State.__struct_fields__})


def _checksum(data: bytes, stands: str) -> str:
    """The checksum of a `state.json` in which `stands` stands for it."""
    name = b'"checksum": "'  # in a text of the file its quotes would be escaped
    blank = data.replace(name + stands.encode() + b'"', name + _BLANK.encode() + b'"')
    return hashlib.blake2b(blank, digest_size=16).hexdigest()


def _damaged(path: Path, how: str) -> StateDamaged:
    return StateDamaged(f"{path}: it is damaged ({how}); move it away to start the schedule over")


class _File(StateFile):
    """The state of one schedule."""

    def __init__(self, path: Path, name: str, *, view: bool = False) -> None:
        super().__init__(path, schema=_SCHEMA, what=f"schedule {name}", view=view)

    @property
    def state(self) -> State | None:
        found = self._get("state")
        try:
            return None if found is None else convert(found, State)
        except msgspec.MsgspecError as error:
            raise self._state_damaged("its state can't be read") from error

    def keep(self, state: State) -> None:
        with self._transaction():
            self._set("state", state)


# What files of these bytes say, by their paths: a daemon looks every second, and opening one takes milliseconds.
_known: dict[Path, tuple[bytes, State | None]] = {}


def _bytes_of(path: Path) -> bytes | None:
    """All of a state file; None where a log stands beside it, or it can't be read."""
    try:
        return None if path.with_name(f"{path.name}-wal").exists() else path.read_bytes()
    except OSError:
        return None


class Memory:
    """The folder of one schedule in the state folder."""

    def __init__(self, state: Path, name: str) -> None:
        self._state = state
        self._folder = state / "schedules" / name
        self._name = name

    def read(self) -> State | None:
        """What is known; None where nothing is. Raises `StateDamaged`, and others where it can't be read."""
        path = self._folder / _STATE
        if not path.exists():
            return _read_earlier(self._folder / _EARLIER)
        data = _bytes_of(path)
        known = _known.get(path)
        if data is not None and known is not None and known[0] == data:
            return known[1]
        with closing(_File(path, self._name, view=True)) as file:
            state = file.state
        if data is not None and _bytes_of(path) == data:
            _known[path] = data, state
        return state

    def read_or_begin(self, now_s: float) -> State:
        """What is known; a schedule that is new is known from now on, and has missed nothing."""
        return self.read() or State(known_since_s=now_s, handled_until_s=now_s)

    def remember(self, now_s: float) -> None:
        """Know of the schedule from now on, unless it is known."""
        if self.read() is None:
            with suppress(Locked), self.lock():
                self.write(self.read_or_begin(now_s))

    def write(self, state: State) -> None:
        """Keep it, durably; only under the lock."""
        with closing(_File(self._folder / _STATE, self._name)) as file:
            file.keep(state)
        with suppress(OSError):  # it is not read any more
            (self._folder / _EARLIER).unlink(missing_ok=True)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the schedule's lock. Raises `Locked` with the holder."""
        _, lock = lock_folder(self._state, "schedule", self._name)
        try:
            yield
        finally:
            os.close(lock)

    @property
    def holder(self) -> str | None:
        """Who runs the schedule now."""
        return lock_holder(self._folder)
