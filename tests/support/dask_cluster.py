"""A Dask cluster on this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any


class DaskCluster:
    """A scheduler and two workers, as an operator starts them."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        environment = {
            **os.environ,
            "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "8s",
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "20",
        }
        dask = str(Path(sys.executable).with_name("dask"))
        self._processes: list[subprocess.Popen[bytes]] = []

        def start(*words: str) -> subprocess.Popen[bytes]:
            quiet: Any = subprocess.DEVNULL
            process = subprocess.Popen([dask, *words], env=environment, stdout=quiet, stderr=quiet)
            self._processes.append(process)
            return process

        start("scheduler", "--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard")
        self._worker = (
            *("worker", f"tcp://127.0.0.1:{self.port}", "--nthreads", "1", "--no-nanny", "--no-dashboard"),
            *("--host", "127.0.0.1", "--local-directory", str(folder)),
        )
        self.workers = [start(*self._worker), start(*self._worker)]
        self._start = start

    def replace(self) -> None:
        """Start another worker, as a cluster's own supervisor does."""
        self._start(*self._worker)

    @property
    def peak_mb(self) -> float:
        """The peak memory of the largest worker."""
        lines = [line for each in self.workers for line in Path(f"/proc/{each.pid}/status").read_text().splitlines()]
        return max(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024 / 1e6

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
