"""What is asked of a job while it runs: another rate, or a pause.

    STATE/jobs/JOB/control.json      what was asked last, written by `migrator control`
    STATE/jobs/JOB/controlled.json   what of it the run has taken

Both are of one run: they are gone when the next one begins, so that no job stays paused by what was asked long ago.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from migrator.adapters.wrappers.rates import Timetable, parse_timetable
from migrator.adapters.wrappers.throttled import Asked, Throttle
from migrator.durable import open_private
from migrator.engine.state.jobs import JobView, unwritable
from migrator.engine.state.live import read_live
from migrator.errors import UsageError
from migrator.events import Controlled, Tell
from migrator.text.arguments import argument
from migrator.text.decoding import decode

_ASKED, _TAKEN = "control.json", "controlled.json"
_TAKEN_S = 5.0  # a run that reads looks every second


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a run; `taken` tells whether the run has it."""

    serial: str
    max_rate: str | None = None  # None: the rate that the run began with
    paused: bool = False
    taken: bool = False


def control_job(job: JobView, *, max_rate: str | None = None, paused: bool | None = None) -> Control:
    """Ask a running job to read at another rate, to pause or to go on, and wait some seconds until it does.

    What isn't given stays as it was asked before. Raises `UsageError` where the job doesn't run.
    """
    if max_rate is None and paused is None:
        raise UsageError(f"give {argument('max_rate')}, {argument('pause')} or {argument('resume')}")
    if max_rate is not None:
        parse_timetable(max_rate)
    if job.running is None:
        raise UsageError(
            f"job {job.id} isn't running, so there is nothing to control; give {argument('max_rate')} to the command "
            "that runs it"
        )
    live = read_live(job.folder)
    if live is not None and (executor := live.request.options.get("executor", "threads")) != "threads":
        raise UsageError(f"job {job.id} runs with {argument('executor', executor)}: only threads can be controlled")
    before = _read(job.folder / _ASKED) or Control(serial="")
    asked = Control(
        serial=uuid.uuid4().hex,
        max_rate=max_rate if max_rate is not None else before.max_rate,
        paused=paused if paused is not None else before.paused,
    )
    try:
        _write(job.folder / _ASKED, asked)
    except OSError as error:
        raise unwritable(job.folder, error) from error
    until_s = time.monotonic() + _TAKEN_S
    while time.monotonic() < until_s:
        taken = _read(job.folder / _TAKEN)
        if taken is not None and taken.serial == asked.serial:
            return msgspec.structs.replace(asked, taken=True)
        time.sleep(0.1)
    return asked


@contextmanager
def controlled(folder: Path, throttle: Throttle, tell: Tell) -> Iterator[None]:
    """Let the job in a folder be controlled while the block goes on; its lock is held."""
    for name in (_ASKED, _TAKEN):
        (folder / name).unlink(missing_ok=True)
    throttle.listen(_Listener(folder, tell).look)
    try:
        yield
    finally:
        throttle.listen(None)
        for name in (_ASKED, _TAKEN):
            with suppress(OSError):
                (folder / name).unlink(missing_ok=True)


class _Listener:
    """Looks at what is asked, by one call of the system as long as nothing is new."""

    def __init__(self, folder: Path, tell: Tell) -> None:
        self._folder = folder
        self._tell = tell
        self._known: tuple[int, int] | None = None
        self._asked = Asked()
        self._lock = threading.Lock()

    def look(self) -> Asked:
        with self._lock:
            try:
                found = (self._folder / _ASKED).stat()
            except OSError:
                return self._asked
            if (known := (found.st_ino, found.st_mtime_ns)) != self._known:
                self._known = known
                self._take(_read(self._folder / _ASKED))
            return self._asked

    def _take(self, asked: Control | None) -> None:
        if asked is None:
            return
        timetable: Timetable | None = parse_timetable(asked.max_rate) if asked.max_rate is not None else None
        self._asked = Asked(timetable, asked.paused)
        with suppress(OSError):
            _write(self._folder / _TAKEN, asked)
        self._tell(Controlled(max_rate=str(timetable) if timetable else None, paused=asked.paused))


def _read(path: Path) -> Control | None:
    try:
        return decode(path.read_bytes(), Control)
    except (OSError, msgspec.MsgspecError, UnicodeError):
        return None


def _write(path: Path, control: Control) -> None:
    unfinished = path.with_name(f".{path.name}.unfinished")
    with open(unfinished, "wb", opener=open_private) as file:
        file.write(msgspec.json.encode(control))
    os.replace(unfinished, path)  # noqa: PTH105  a rename that may be lost is meant
