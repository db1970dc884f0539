"""A switch of backends under load: does the new one hold every activation in the end, whatever happens meanwhile?

A writer stores so many activations a second in the old backend while `migrator cutover` runs; both servers are
restarted once, the tool is killed with SIGKILL a few times. Once the tool asks for it, the writer switches, as
OpenWhisk's components would when they are given the settings, and the cutover goes on to its end. Every activation
whose storing was confirmed must be in the new backend, by a reading of its own and by `migrator verify`. Prints the lag
over time.

CouchDB is the one that COUCHDB_START starts (`tests.faults.started`), else the local CouchDB server.

usage: python -m tests.benchmarks.switching [--to elasticsearch|couchdb] [--rate 200] [--seconds 120] [--kills 3]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from migrator.activations.document import Form
from migrator.demo import servers
from migrator.errors import MigratorError
from migrator.operations.cutover.openwhisk import instructions
from migrator.operations.cutover.state import read_state, state_path
from migrator.settings.locations import parse_location
from migrator.testing.documents import activation
from tests.benchmarks.killing import contents
from tests.faults.started import Started
from tests.support.servers import request

PATTERN = "switched-%25s"
DATABASE = "switched"
NAMESPACES = 3
AT_SWITCH = ("switch begun", "switch failed")


class Backend:
    """One of the two stores, as the writer and the harness see it."""

    def __init__(self, kind: str, server: Any, login: str) -> None:
        self.kind = kind
        self._server = server
        self._login = login
        at = f"{login}@" if login else ""
        self.http = f"http://{at}127.0.0.1:{server.port}"
        scheme, rest = ("couchdb", DATABASE) if kind == "couchdb" else ("elasticsearch", f"?index-pattern={PATTERN}")
        self.location = f"{scheme}://{at}127.0.0.1:{server.port}/{rest}"

    def settings(self) -> str:
        """What OpenWhisk would be told to keep activations here."""
        return "\n".join([*instructions(parse_location(self.location).store(), "environment").lines, ""])

    def store(self, numbers: range) -> list[str]:
        """Store activations; returns their ids once the server has confirmed all of them."""
        form = Form.COUCHDB if self.kind == "couchdb" else Form.ELASTICSEARCH
        found = [activation(number, f"space{number % NAMESPACES}", form=form) for number in numbers]
        if self.kind == "couchdb":
            answer = request("POST", f"{self.http}/{DATABASE}/_bulk_docs", _joined(each.body for each in found))
            refused = [each for each in answer if each.get("error", "conflict") != "conflict"]
        else:
            lines: list[bytes] = []
            for each in found:
                index = PATTERN.replace("%25s", each.namespace)
                action = {"index": {"_index": index, "_type": "_doc", "_id": each.id}}
                lines += [json.dumps(action).encode(), each.body]
            answer = request("POST", f"{self.http}/_bulk", b"\n".join([*lines, b""]))
            refused = [each for each in answer["items"] if "error" in each["index"]]
        if refused:
            raise OSError(str(refused[0]))
        return [each.id for each in found]

    def restart(self) -> None:
        stop = self._server.kill if isinstance(self._server, Started) else self._server.stop
        stop()
        time.sleep(2)
        for _ in range(5):
            try:
                self._server.start()
                break
            except (subprocess.CalledProcessError, MigratorError) as error:  # a machine that is busy
                print(f"          it didn't start: {error}", flush=True)
                stop()


def _joined(bodies: Iterator[bytes]) -> bytes:
    return b'{"docs":[' + b",".join(bodies) + b"]}"


class Writer:
    """OpenWhisk, as far as its activations go."""

    def __init__(self, backend: Backend, rate: float) -> None:
        self.backend = backend
        self._rate = rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.confirmed: dict[str, list[str]] = {"couchdb": [], "elasticsearch": []}
        self.outages = 0

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        began_s, number = time.monotonic(), 0
        while not self._stop.wait(0.1):
            due = int((time.monotonic() - began_s) * self._rate)
            while number < due and not self._stop.is_set():
                backend, some = self.backend, range(number, min(due, number + 500))
                try:
                    self.confirmed[backend.kind] += backend.store(some)
                    number = some.stop
                except OSError:  # the server is away: the same again, as OpenWhisk tries again
                    self.outages += 1
                    time.sleep(0.3)


class Tool:
    """`migrator cutover`, run again and again."""

    def __init__(self, folder: Path, source: Backend, target: Backend) -> None:
        self.folder = folder
        self.plan = folder / "cutover.toml"
        self.settings = folder / "controller.env"
        self.log = folder / "log"
        self.settings.write_text(source.settings())
        self.plan.write_text(
            f'source = "{source.location}"\ntarget = "{target.location}"\narchive = "archive:{folder}/archive"\n'
            f'quiet = "15s"\nsmall_lag = 4000\n[openwhisk]\ndeployment = "environment"\n'
            f'env_file = ["{self.settings}"]\n[copy]\nindex_template = true\nshards = 1\nretry_for = 300\n'
        )
        self.process: subprocess.Popen[bytes] | None = None
        self.runs = 0

    def start(self) -> None:
        self.runs += 1
        words = ["cutover", str(self.plan), "--yes", "--log-format", "json", "--state", f"{self.folder}/state"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "migrator", *words], stdout=log, stderr=log, cwd=self.folder
            )

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)

    def step(self) -> str:
        state = read_state(state_path(self.plan))
        return f"{state.steps[-1].name} {state.steps[-1].state}" if state and state.steps else "none"

    def lags(self) -> Iterator[tuple[str, int | None, float]]:
        for line in self.log.read_bytes().splitlines():
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict) and event.get("event") == "lag_noted":
                    yield event["time"], event["documents"], event["behind_s"]


def watch(tool: Tool, writer: Writer, target: Backend, seconds: float, kills: int, chance: random.Random) -> None:
    """Have everything happen in its time until the tool ends well."""
    began_s = time.monotonic()
    events = [(seconds * chance.uniform(0.1, 1.0), "kill") for _ in range(kills - 1)]
    events += [(seconds * 0.35, "restart old"), (seconds * 0.65, "restart new")]
    events.sort()
    events.append((seconds, "switch"))  # at the earliest: when the tool asks for it
    source, restarting = writer.backend, []
    tool.start()
    while True:
        time.sleep(0.2)
        passed_s = time.monotonic() - began_s
        while events and passed_s >= events[0][0] and (len(events) > 1 or tool.step() in AT_SWITCH):
            what = events.pop(0)[1]
            print(f"{passed_s:6.1f} s  {what}; step: {tool.step()}", flush=True)
            if what == "kill":
                tool.kill()
            elif what == "switch":
                tool.settings.write_text(target.settings())
                writer.backend = target
                if kills:  # the last one, while the tool follows what is left
                    threading.Timer(5, tool.kill).start()
            elif what.startswith("restart"):
                thread = threading.Thread(target=(source if what == "restart old" else target).restart)
                thread.start()
                restarting.append(thread)
        assert tool.process
        code = tool.process.poll()
        if code == 0 and not events:
            break
        if code is not None:
            if code not in (0, 3, -signal.SIGKILL):
                print(f"{passed_s:6.1f} s  the tool ended with {code}: {tool.log.read_text()[-300:]}", flush=True)
            time.sleep(1)
            tool.start()
    for thread in restarting:
        thread.join()
    print(f"{time.monotonic() - began_s:6.1f} s  the cutover is complete, after {tool.runs} runs", flush=True)


def show_lags(tool: Tool) -> None:
    """The largest lag of every five seconds."""
    print("lag:  time      documents  seconds")
    shown: dict[str, tuple[int, float]] = {}
    for moment, documents, behind_s in tool.lags():
        key = f"{moment[11:18]}{'0' if moment[18] < '5' else '5'}"
        before = shown.get(key, (0, 0.0))
        shown[key] = max(before[0], -1 if documents is None else documents), max(before[1], behind_s)
    for key, (documents, behind_s) in shown.items():
        print(f"      {key}  {documents:9,}  {behind_s:7.1f}  {'#' * min(60, documents // 100)}")


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--to", choices=["elasticsearch", "couchdb"], default="elasticsearch")
    options.add_argument("--rate", type=float, default=200)
    options.add_argument("--seconds", type=float, default=120)
    options.add_argument("--kills", type=int, default=3)
    options.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    chosen = options.parse_args()
    chance = random.Random(chosen.seed)
    print(f"seed {chosen.seed}", flush=True)
    command = os.environ.get("COUCHDB_START", "")
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as opened:
        folder = Path(name)
        folder.chmod(0o755)
        couchdb: Any = Started(command, folder / "couchdb") if command else servers.couchdb(folder=folder / "couchdb")
        opened.enter_context(couchdb)
        search = opened.enter_context(servers.elasticsearch("6.7.2", folder=folder / "elasticsearch"))
        login = couchdb.login if command else ""
        stores = Backend("couchdb", couchdb, login), Backend("elasticsearch", search, "")
        request("PUT", f"{stores[0].http}/{DATABASE}")
        source, target = stores if chosen.to == "elasticsearch" else stores[::-1]
        source.store(range(10_000_000, 10_000_000 + NAMESPACES))  # a source without anything is none
        tool = Tool(folder, source, target)
        with Writer(source, chosen.rate) as writer, contextlib.ExitStack() as ended:
            ended.callback(tool.kill)
            watch(tool, writer, target, chosen.seconds, chosen.kills, chance)
        show_lags(tool)
        there = contents(target.location)
        confirmed = [id for ids in writer.confirmed.values() for id in ids]
        missing = [id for id in confirmed if id not in there]
        words = ["verify", source.location, target.location, "--allow-extra", "--state", f"{folder}/state", "--quiet"]
        verified = subprocess.run([sys.executable, "-m", "migrator", *words], cwd=folder).returncode
        print(
            f"{len(writer.confirmed[source.kind]):,} confirmed by {source.kind}, "
            f"{len(writer.confirmed[target.kind]):,} by {target.kind}, {writer.outages} failed requests; "
            f"{len(there):,} in {target.kind}, {len(missing)} missing; verify ended with {verified}"
        )
        return 1 if missing or verified else 0


if __name__ == "__main__":
    sys.exit(main())
