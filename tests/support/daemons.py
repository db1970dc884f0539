"""The daemon as a process of its own, and what it tells."""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from migrator.scheduling.state import Memory, State
from tests.support.forked import run_forked_text

ROOT = Path(__file__).parents[2]
PATIENCE_S = 240.0


def until(what: Callable[[], Any], why: str, *, every_s: float = 0.1) -> Any:
    """Ask until the answer is true, and return it."""
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        if answer := what():
            return answer
        time.sleep(every_s)
    raise AssertionError(f"still not: {why}")


class Folders:
    """The folders of one test, and the commands that run in them."""

    def __init__(self, folder: Path) -> None:
        self.schedules, self.state, self.textfile = (folder / name for name in ("schedules", "state", "textfile"))
        self.archives = folder / "archives"
        self._log = folder / "daemon.log"
        for each in (self.schedules, self.textfile, self.archives):
            each.mkdir()

    def write(self, name: str, text: str) -> Path:
        path = self.schedules / f"{name}.toml"
        temporary = path.with_suffix(".new")
        temporary.write_text(text)
        temporary.replace(path)
        return path

    def archive(self, name: str) -> str:
        return f"archive:{self.archives / name}"

    def remembered(self, name: str) -> State | None:
        return Memory(self.state, name).read()

    def overdue(self, name: str, hours: float) -> None:
        """Make the schedule known, with its last run some hours ago."""
        memory, then_s = Memory(self.state, name), time.time() - hours * 3600
        with memory.lock():
            memory.write(State(known_since_s=then_s, handled_until_s=then_s))

    def _words(self, *words: str) -> list[str]:
        return ["schedule", *words, "--state", str(self.state)]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return run_forked_text(*self._words(*words), env={**os.environ, "MIGRATOR_SCHEDULES": str(self.schedules)})

    def list(self) -> list[Any]:
        return [json.loads(line) for line in self.run("list", "--json").stdout.splitlines()]

    @property
    def log(self) -> str:
        return self._log.read_text()

    @contextmanager
    def daemon(self, *options: str) -> Iterator[Process]:
        with self._log.open("ab") as log:
            words = [sys.executable, "-m", "migrator", *self._words("run", str(self.schedules), *options)]
            process = subprocess.Popen(words, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=log)
        try:
            yield Process(process, self)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


class Process:
    """A daemon that runs."""

    def __init__(self, process: subprocess.Popen[bytes], folders: Folders) -> None:
        self.pid = process.pid
        self._process = process
        self._folders = folders

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def hang_up(self) -> None:
        self._process.send_signal(signal.SIGHUP)

    def end(self) -> int:
        """Ask it to end; its exit code."""
        self._process.terminate()
        return self._process.wait(60)

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of an answer of its health endpoint."""
        found = until(lambda: re.findall(r"listening on (\S+)", self._folders.log), "the daemon listens")
        try:
            with urllib.request.urlopen(f"http://{found[-1]}{path}", timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


@contextmanager
def hearing(context: ssl.SSLContext | None = None) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """A server that is notified: its address, and what it heard, as path and text; with `context` over TLS."""
    heard: list[tuple[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append((self.path, self.rfile.read(int(self.headers["Content-Length"])).decode()))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that breaks off is part of the test."""

    server = Server(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", heard
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def parsed(metrics: str) -> dict[tuple[str, ...], float]:
    """Metrics by name and labels, as Prometheus' own parser reads them."""
    from prometheus_client.parser import text_string_to_metric_families

    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
    }


def backups_of(archive: str) -> Sequence[Any]:
    """The backups of an archive, the oldest first."""
    from migrator.adapters.archive.catalog import read_catalog
    from migrator.adapters.archive.opening import open_place

    place = open_place(archive.removeprefix("archive:"))
    return read_catalog(place).backups
