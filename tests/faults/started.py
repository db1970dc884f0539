"""Another CouchDB than the local one, started by a command of this machine: to be killed and started again.

`COUCHDB_START` in the environment names the command. `COMMAND PORT FOLDER` starts a CouchDB on this port of 127.0.0.1
with its data in this folder, returns when it answers, and leaves the id of its process, which leads a session of its
own, in `FOLDER/couchdb.pid`. `COUCHDB_LOGIN` is `user:password`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Self

from migrator.demo.server import free_port


class Started:
    """The server; as a context manager it runs inside the block."""

    def __init__(self, command: str, folder: Path) -> None:
        self._command = command
        self._folder = folder
        self.port = free_port()
        self.login = os.environ.get("COUCHDB_LOGIN", "")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int | None:
        """The process while it runs."""
        with contextlib.suppress(OSError, ValueError):
            pid = int((self._folder / "couchdb.pid").read_text())
            os.kill(pid, 0)
            return pid
        return None

    def start(self) -> None:
        if self.pid is None:
            words = [self._command, str(self.port), str(self._folder)]
            subprocess.run(words, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def kill(self) -> None:
        if (pid := self.pid) is not None:
            os.killpg(pid, signal.SIGKILL)
            while self.pid is not None:
                time.sleep(0.02)
