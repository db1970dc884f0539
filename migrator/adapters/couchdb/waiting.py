"""Bounds how long an answer may take to arrive, by its size.

A timeout of a socket is one for the next byte: an answer of one byte every two seconds never runs into it. Here the
headers have `limit_s`, and so has each piece of a body. What takes longer has its connection shut down, which ends
the read that waits for it.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

from migrator.adapters.couchdb.patient import PatientResponse

_current = threading.local()


class Watch:
    """One request of one thread."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._socket: socket.socket | None = None
        self._deadline_s = 0.0
        self.is_over = False  # whether its connection was shut down

    def begin(self, connection: socket.socket) -> None:
        """The request was sent over this connection; the answer is waited for."""
        self._deadline_s = time.monotonic() + self._limit_s
        self._socket = connection

    def extend(self) -> None:
        """A piece of the answer arrived."""
        self._deadline_s = time.monotonic() + self._limit_s

    def end_if_late(self, now_s: float) -> None:
        if self._socket is not None and not self.is_over and now_s > self._deadline_s:
            self.is_over = True
            with suppress(OSError):  # closed meanwhile
                # Not that of `SSLSocket`, which takes the cipher away from the thread that reads.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class Watchdog:
    """Looks after the requests of a client; its thread runs only while there are any."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._watches: set[Watch] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    @contextmanager
    def watch(self) -> Iterator[Watch]:
        """Watch what this thread asks inside the block."""
        watch = Watch(self.limit_s)
        with self._changed:
            self._watches.add(watch)
            if self._thread is None and not self._is_closed:
                self._thread = threading.Thread(target=self._run, name="couchdb-watchdog", daemon=True)
                self._thread.start()
        _current.watch = watch
        try:
            yield watch
        finally:
            _current.watch = None
            with self._changed:
                self._watches.discard(watch)

    def _run(self) -> None:
        tick_s = min(1.0, self.limit_s / 4)
        with self._changed:
            while not self._is_closed:
                now_s = time.monotonic()
                for watch in self._watches:
                    watch.end_if_late(now_s)
                self._changed.wait(tick_s)

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()


@cache
def pool_classes() -> dict[str, Any]:
    """Pools of `urllib3` whose connections tell the watch of their thread when an answer is waited for."""
    from urllib3 import HTTPConnectionPool, HTTPSConnectionPool

    def watched(base: Any) -> Any:
        class Connection(base.ConnectionCls):  # type: ignore[misc]
            response_class = PatientResponse

            def getresponse(self) -> Any:
                watch: Watch | None = getattr(_current, "watch", None)
                if watch is not None:
                    watch.begin(self.sock)
                return super().getresponse()

        class Pool(base):  # type: ignore[misc]
            ConnectionCls = Connection

        return Pool

    return {"http": watched(HTTPConnectionPool), "https": watched(HTTPSConnectionPool)}
