"""What a row runs on: servers, started when they are first needed, and programs, measured as whole processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from itertools import islice
from pathlib import Path
from urllib.parse import unquote, urlsplit

from migrator.demo import samples, servers
from tests.benchmarks.bare import ask
from tests.benchmarks.copying import wait_for
from tests.benchmarks.results import Contest, Taken
from tests.support.servers import fetch

Contestant = Callable[[], Taken]
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


class Ground:
    """The servers and files of one row."""

    def __init__(self, opened: ExitStack, folder: Path, documents: int, jobs: int) -> None:
        self.folder, self.documents, self.jobs = folder, documents, jobs
        self.products: list[str] = []
        self._remarks: dict[str, str] = {}
        self._opened = opened
        self._named = os.environ.get("COUCHDB_URL", "").rstrip("/")

    # -- servers ------------------------------------------------------------------------------------------------

    @cached_property
    def search(self) -> str:
        server = servers.elasticsearch("6.7.2", folder=self.folder / "elasticsearch")
        self._opened.enter_context(server)
        self.products.append(f"{server.product} {server.version}")
        return server.url

    def couchdb(
        self, *, rate: float | None = None, always_paced: bool = False, documents: int | None = None
    ) -> tuple[str, str]:
        """The URL of a server and the name of a database with documents; with `rate` the yardstick is paced.

        If it's `always_paced`, it is the yardstick also where another server is named.
        """
        documents = documents or self.documents
        if self._named and not always_paced:
            self.products.append(f"CouchDB {ask(self._named, 'GET', '/')['version']}")
            return self._named, self._filled(self._named, documents)
        self.products.append("yardstick" + (f" at {rate:,.0f} documents/s" if rate is not None else ""))
        words = [*("-m", "tests.benchmarks.yardstick", "--documents", str(documents), "--database", "acts")]
        words += ["--rate", str(rate)] if rate is not None else []
        process = subprocess.Popen(
            [sys.executable, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_ENVIRONMENT
        )
        self._opened.callback(process.communicate)  # its input ends, and so does it
        assert process.stdout is not None
        return f"http://127.0.0.1:{int(process.stdout.readline())}", "acts"

    def callback(self, call: Callable[[], object]) -> None:
        """Call this when the row has ended."""
        self._opened.callback(call)

    def remark(self, kind: str, text: str) -> None:
        """Tell this beside the row; of a kind the newest counts."""
        self._remarks[kind] = text

    def _filled(self, url: str, documents: int) -> str:
        name = f"bench-{uuid.uuid4().hex}"
        fetch("PUT", f"{url}/{name}")
        self._opened.callback(fetch, "DELETE", f"{url}/{name}")
        made = samples.everyday(documents)
        while chunk := list(islice(made, 1000)):
            fetch("POST", f"{url}/{name}/_bulk_docs", b'{"docs":[' + b",".join(chunk) + b"]}")
        return name

    @staticmethod
    def location(url: str, rest: str, kind: str = "couchdb") -> str:
        parts = urlsplit(url)
        user = f"{parts.username}@" if parts.username else ""
        return f"{kind}://{user}{parts.hostname}:{parts.port}/{rest}"

    # -- programs -----------------------------------------------------------------------------------------------

    def migrator(self, verb: str, source: str, target: str, *words: str, keep_state: bool = False) -> Taken:
        """A run of the command, of a fresh job unless its state is kept."""
        state = self.folder / "state"
        if not keep_state:
            shutil.rmtree(state, ignore_errors=True)
        secret = unquote(urlsplit(self._named).password or "")
        environment = dict(_ENVIRONMENT)
        for role, location in (("SOURCE", source), ("TARGET", target)):
            if "@" in location and secret:
                environment[f"MIGRATOR_{role}_PASSWORD"] = secret
        given = ["--jobs", str(self.jobs), "--state", str(state), "--quiet", *words]
        return self.run([sys.executable, "-m", "migrator", verb, source, target, *given], environment=environment)

    def bare(self, *words: str) -> Taken:
        """A yardstick of `bare.py`; its seconds are its own, without the start of Python."""
        return self._yardstick("bare", *words)

    def pump(self, *words: str) -> Taken:
        """The yardstick of `pump.py`, as above."""
        return self._yardstick("pump", *words)

    def _yardstick(self, module: str, *words: str) -> Taken:
        process = subprocess.Popen(
            [sys.executable, "-m", f"tests.benchmarks.{module}", *words], stdout=subprocess.PIPE, env=_ENVIRONMENT
        )
        assert process.stdout is not None
        printed = process.stdout.read()
        status, usage = wait_for(process)
        if status:
            raise SystemExit(f"{words} ended with status {status}")
        found = json.loads(printed)
        assert found["documents"] == self.documents, f"{words}: {found['documents']} of {self.documents}"
        return Taken(found["documents"], found["seconds"], usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000)

    def run(self, command: str | Sequence[str], *, environment: Mapping[str, str] = _ENVIRONMENT) -> Taken:
        """A program, or a line for the shell."""
        words = ["bash", "-c", f"set -o pipefail; {command}"] if isinstance(command, str) else command
        began_s = time.monotonic()
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment) as process:
            assert process.stderr is not None
            said = process.stderr.read()
            status, usage = wait_for(process)
        if status:
            raise SystemExit(f"{words[:5]} ended with status {status}: {said.decode()[-2000:]}")
        seconds = time.monotonic() - began_s
        return Taken(self.documents, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000)

    def forget(self, name: str) -> None:
        shutil.rmtree(self.folder / name, ignore_errors=True)

    # -- contests -----------------------------------------------------------------------------------------------

    def contest(
        self, name: str, contestants: Mapping[str, Contestant], *, rounds: int, warms_up: bool = True
    ) -> Contest:
        """Run all in turn, first without counting; every other round in the opposite order."""
        runs: dict[str, list[Taken]] = defaultdict(list)
        for who in contestants:
            runs[who] = []
        for round in range(0 if warms_up else 1, rounds + 1):
            for who in list(contestants)[:: -1 if round % 2 else 1]:
                taken = contestants[who]()
                if round:
                    runs[who].append(taken)
                told = f"{taken.documents / taken.seconds:,.0f} documents/s, {taken.processor_s:.1f} s of processor"
                print(f"  {'warm-up' if not round else f'round {round}'}: {who}: {told}", flush=True)
        return Contest(name, dict(runs), "; ".join([", ".join(dict.fromkeys(self.products)), *self._remarks.values()]))
