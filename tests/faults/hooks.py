"""What a process of the laboratory does to itself at its nth operation: it dies, or its disk is full; its clock lies.

Operations are those between which the files of a process, or those of a server, may stand as they are for ever: a file
opened to be written, written, made durable, renamed or removed, a transaction of SQLite, and with `kill` also a request
sent and one answered. `install` is called once, in a process that ends soon.
"""

from __future__ import annotations

import errno
import http.client
import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec

_NAMES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate")
_TO_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """`do` is `kill`, `full` or `jump`, at the operation number `nth` from 1, `times` in a row (0: from then on).

    A full disk is met by operations that need room alone, and `nth` is of these. Without `do` all are counted.
    `shift_s` is how wrong the clock is from the start, `jump_s` by how much more from the nth operation on.
    """

    do: str = ""
    nth: int = 0
    times: int = 1
    shift_s: float = 0.0
    jump_s: float = 0.0


class Points:
    """Counts the operations, and does what is to be done at some of them."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault
        self._lock = threading.Lock()
        self.count = 0
        self.of_room = 0  # how many of them need room on the disk
        self.applied = 0
        self._ended = False
        self._clock: Any = None
        if fault.shift_s or fault.jump_s:
            self._clock = _wrong_clock(fault.shift_s)
            self.applied += bool(fault.shift_s)

    def end(self) -> None:
        """Nothing befalls the process any more."""
        self._ended = True

    def reach(self, *, needs_room: bool = True) -> bool:
        """Count an operation; whether it must find the disk full. Doesn't return where the process dies."""
        if self._ended:
            return False
        full = self._fault.do == "full"
        with self._lock:
            self.count += 1
            self.of_room += needs_room
            if full and not needs_room:
                return False
            past = (self.of_room if full else self.count) - self._fault.nth
            due = bool(self._fault.do) and past >= 0 and (not self._fault.times or past < self._fault.times)
            self.applied += due
        if due and self._fault.do == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)
        if due and self._fault.do == "jump":
            self._clock.shift(self._fault.jump_s)
        return due and full


def _wrong_clock(shift_s: float) -> Any:
    import time_machine

    return time_machine.travel(time.time() + shift_s, tick=True).start()


def install(fault: Fault) -> Points:
    """From now on this process is under the fault."""
    points = Points(fault)
    _files(points)
    _database(points)
    if fault.do != "full":
        _requests(points)
    return points


def _full() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _files(points: Points) -> None:
    from migrator import durable

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        counts = event in _NAMES or (event == "open" and _is_to_write(arguments))
        # What is removed, or given another name in the same folder, needs no room.
        if counts and points.reach(needs_room=event in ("open", "os.mkdir")):
            raise _full()

    sync, write_all = os.fsync, durable.write_all

    def fsync(fd: Any) -> None:
        if points.reach():
            raise _full()
        sync(fd)

    def write(file: Any, data: bytes | bytearray) -> None:
        if points.reach():
            write_all(file, data[: len(data) // 2])  # as a disk does that takes what it can
            raise _full()
        write_all(file, data)

    sys.addaudithook(audit)
    os.fsync = fsync
    durable.write_all = write


def _is_to_write(arguments: tuple[Any, ...]) -> bool:
    path, mode, flags = arguments
    if not isinstance(path, str | bytes) or os.fsdecode(path).startswith("/dev/"):
        return False
    return bool(int(flags or 0) & _TO_WRITE) or any(letter in str(mode or "") for letter in "wxa+")


def _database(points: Points) -> None:
    from migrator.engine.state import statefile

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            if sql == "COMMIT" and points.reach():
                if points.count % 2:
                    super().execute("ROLLBACK")  # SQLite does so by itself, or leaves it to who asked
                error = sqlite3.OperationalError("database or disk is full")
                error.sqlite_errorcode = sqlite3.SQLITE_FULL
                raise error
            return super().execute(sql, *values)

    def connected(name: str, *, uri: bool = False) -> sqlite3.Connection:
        return sqlite3.connect(
            name, isolation_level=None, check_same_thread=False, timeout=30, uri=uri, factory=Connection
        )

    assert callable(statefile._connect)
    statefile._connect = connected


def _requests(points: Points) -> None:
    def before(name: str) -> None:
        method: Callable[..., Any] = getattr(http.client.HTTPConnection, name)

        def counted(self: Any, *arguments: Any, **keywords: Any) -> Any:
            points.reach(needs_room=False)
            return method(self, *arguments, **keywords)

        setattr(http.client.HTTPConnection, name, counted)

    before("endheaders")  # the request isn't sent
    before("getresponse")  # it is, and what came of it isn't known
