"""The guided tour: real servers, a copy that is killed half-way and goes on, and the proof that both sides agree.

Tells each step and the command it runs, so that a newcomer learns the tool from it. Starts processes on loopback
only, and ends them by their process ids.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import chain, islice
from pathlib import Path
from typing import Any

from migrator.activations import comparing, forms
from migrator.activations.document import Document, Form
from migrator.activations.selection import Selection
from migrator.adapters.base import Reader
from migrator.adapters.opening import open_reader
from migrator.demo import samples, servers
from migrator.errors import MigratorError, VerificationError
from migrator.rendering.arguments import OPTIONS
from migrator.rendering.fold import fold
from migrator.rendering.tables import align, printable_name
from migrator.settings.locations import parse_location
from migrator.text.units import counted

DATABASE = "whisk_local_activations"


def _program() -> list[str]:
    """How this program is called from here, as it was called: a command that is printed can be typed."""
    called = Path(sys.argv[0])
    on_path = shutil.which("migrator")
    if on_path and (called.name != "migrator" or Path(on_path).resolve() == called.resolve()):
        return ["migrator"]
    if called.name == "migrator" and os.access(called, os.X_OK):
        return [str(called)]
    return [sys.executable, "-m", "migrator"]


PROGRAM = _program()
EVERYDAY = 19_800
ODD = 200


class Tour:
    """One walk through the tool; `say` prints a line for the person who watches."""

    def __init__(self, *, keep: bool, color: bool) -> None:
        self._keep = keep
        self._color = color
        self._began_s = time.monotonic()

    def say(self, text: str = "") -> None:
        for line in fold([text], shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else None):
            print(line, flush=True)

    def step(self, text: str) -> None:
        mark = "\033[1m==>\033[0m" if self._color else "==>"
        print(flush=True)
        self.say(f"{mark} {text}")

    def command(self, *words: str) -> None:
        words = (*PROGRAM, *words[1:]) if words[0] == "migrator" else words
        prompt = "\033[36m$\033[0m" if self._color else "$"
        print(f"    {prompt} {_wrap(words)}", flush=True)

    def run(self) -> None:
        """Take the tour from beginning to end. Raises `MigratorError` where a step fails."""
        folder = Path(tempfile.mkdtemp(prefix="migrator-demo-"))
        folder.chmod(0o755)  # Elasticsearch runs as another user when this is root
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            self.step("Start real servers; PouchDB Server speaks CouchDB's protocol")
            couchdb = servers.couchdb(folder=folder / "couchdb", survives=self._keep)
            search = servers.elasticsearch("6.7.2", folder=folder / "elasticsearch", survives=self._keep)
            for server in (couchdb, search):
                stack.callback(server.stop)
                self.say(f"    starting {server.product} {server.version} …")
                server.start()
                self.say(f"    {server.product} {server.version} answers at {server.url} (process {server.pid})")

            some = counted(EVERYDAY + ODD, "activation")
            self.step(f"{some} as OpenWhisk stores them: everyday ones, and {ODD} odd ones")
            loaded = self._load(couchdb.url)
            self.say(f"    {counted(loaded, 'document')} and 1 design document are in {couchdb.url}/{DATABASE}:")
            self.say(f"    {loaded + 1:,} to read; the design document is no activation (`filtered`).")

            source = f"couchdb://127.0.0.1:{couchdb.port}/{DATABASE}"
            target = f"elasticsearch://127.0.0.1:{search.port}"
            state = folder / "state"
            copy = ["migrator", "copy", source, target, OPTIONS["state"], str(state)]

            self.step("Copy them to Elasticsearch, and kill the copy with SIGKILL about half-way")
            self.command(*copy)
            there = self._copy_and_kill(copy, search.url, 2 * loaded // 5)

            self.step("What does the job look like now?")
            self._migrator("status", OPTIONS["state"], str(state))

            self.step("The same command again resumes where it stopped")
            self._migrator(*copy[1:])
            self.say()
            self.say(f"    The killed copy had stored {counted(there, 'document')}. `present` are those that it")
            self.say("    could not record: they were found and compared, not written twice.")
            self.say(f"    written + present = {loaded:,}; with the design document (`filtered`)")
            self.say("    that is all there is to read.")

            self.step("Do both sides agree? Read both again, and compare")
            self._compare(source, target)

            self.step("Once more: nothing is left to do, and nothing is stored twice")
            self._migrator(*copy[1:])

            if self._keep:
                stack.pop_all()
        self.step(f"Done in {time.monotonic() - self._began_s:.0f} s")
        if not shutil.which("migrator"):
            self.say("    Commands that are printed as `migrator …` work here after:")
            self.say(f"      export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH")
        if self._keep:
            self._tell_how_to_go_on(couchdb, search, state)
        else:
            self.say(
                "    Both servers are stopped, and their data is deleted. To keep them running and play with them:"
            )
            self.command("migrator", "demo", OPTIONS["keep"])

    def _load(self, couchdb: str) -> int:
        _request("PUT", f"{couchdb}/{DATABASE}")
        view = {"views": {"activations": {"map": "function (doc) { emit([doc.namespace, doc.start]); }"}}}
        _request("PUT", f"{couchdb}/{DATABASE}/_design/whisks.v2.1.0", json.dumps(view).encode())
        documents = chain(samples.everyday(EVERYDAY), samples.odd(ODD, holdable=True))
        loaded = 0
        for chunk in _chunks(documents, 1000):
            answer = _request("POST", f"{couchdb}/{DATABASE}/_bulk_docs", b'{"docs":[' + b",".join(chunk) + b"]}")
            refused = [item for item in answer if "error" in item]
            if refused:
                raise MigratorError(f"{couchdb}: the sample {refused[0]['id']} was refused: {refused[0]}")
            loaded += len(chunk)
        return loaded

    def _copy_and_kill(self, copy: list[str], search: str, documents: int) -> int:
        with subprocess.Popen([sys.executable, "-m", "migrator", *copy[1:]]) as process:
            while process.poll() is None and _documents_indexed(search) < documents:
                time.sleep(0.02)
            if process.poll() is not None:
                raise MigratorError("the copy ended before it could be killed; see its output above")
            process.send_signal(signal.SIGKILL)
            process.wait()
        self.say("\n")
        self.command("kill", "-KILL", str(process.pid))
        there = _documents_there(search)
        self.say(f"    {counted(there, 'document')} are in Elasticsearch, counted after a refresh.")
        self.say("    The copy could no longer record the last of them.")
        return there

    def _migrator(self, *words: str) -> None:
        self.command("migrator", *words)
        self.say()
        ended = subprocess.run([sys.executable, "-m", "migrator", *words], check=False)
        if ended.returncode:
            raise MigratorError(f"the command above ended with exit code {ended.returncode}")

    def _compare(self, source: str, target: str) -> None:
        expected, there = _digests(_open(source)), _digests(_open(target))
        rows = [["namespace", "expected", "there", "digest"]]
        for namespace in sorted({*expected, *there}):
            (count, digest), (count_there, digest_there) = expected[namespace], there[namespace]
            same = (count, digest) == (count_there, digest_there)
            told = f"{digest:032x}"[:12] if same else "DIFFERS"
            rows.append([printable_name(namespace), f"{count:,}", f"{count_there:,}", told])
        for line in align(rows):
            self.say(f"    {line}")
        if expected != there:
            raise VerificationError("source and target differ")
        self.say(f"    They agree: {counted(sum(count for count, _ in there.values()), 'activation')}, value by value.")

    def _tell_how_to_go_on(self, couchdb: servers.Server, search: servers.Server, state: Path) -> None:
        source, target = f"couchdb://127.0.0.1:{couchdb.port}/{DATABASE}", f"elasticsearch://127.0.0.1:{search.port}"
        self.say("    The servers are still running, reachable from this machine only, without a login:")
        self.say(f"      CouchDB        {couchdb.url}/{DATABASE}/_all_docs?limit=3")
        self.say(f"      Elasticsearch  {search.url}/openwhisk-guest/_search?size=3")
        self.say("    Try:")
        for words in (
            ["copy", source, target, OPTIONS["namespaces"], "team-*", OPTIONS["dry_run"], OPTIONS["state"], str(state)],
            ["copy", target, f"{target}/?index-pattern=second-%25s", OPTIONS["state"], str(state)],
            ["status", OPTIONS["state"], str(state)],
        ):
            self.say(f"      {_wrap([*PROGRAM, *words])}")
        self.say("    Stop them, then delete their data:")
        self.say(f"      kill {couchdb.pid} {search.pid}")
        self.say(f"      rm -r {state.parent}")


def _wrap(words: Sequence[str]) -> str:
    """A command for a shell, in lines that fit the terminal and can be copied together."""
    lines = [""]
    for word in map(shlex.quote, words):
        if lines[-1] and len(lines[-1]) + len(word) > shutil.get_terminal_size().columns - 12:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return " \\\n          ".join(lines)


def _open(location: str) -> Reader:
    return open_reader(parse_location(location).store())


def _digests(reader: Reader) -> dict[str, tuple[int, int]]:
    """Count and order-free sum of digests by namespace, of the activations as Elasticsearch should hold them."""
    sums: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    try:
        selection = Selection()
        for slice in reader.plan(selection, slice_documents=100_000).slices:
            for batch in reader.read(slice, None, selection):
                for document in batch.documents:
                    converted = forms.convert(document, Form.ELASTICSEARCH)
                    if isinstance(converted, Document):
                        count, digest = sums[converted.namespace]
                        number = int.from_bytes(comparing.digest(converted, doubles=True), "big")
                        sums[converted.namespace] = (count + 1, (digest + number) % 2**128)
    finally:
        reader.close()
    return sums


def _documents_indexed(search: str) -> int:
    answer = _request("GET", f"{search}/_stats/indexing")
    return int(answer["_all"]["primaries"].get("indexing", {}).get("index_total", 0))


def _documents_there(search: str) -> int:
    """How many documents there are, once everything that was sent can be found."""
    _request("POST", f"{search}/_refresh")
    return int(_request("GET", f"{search}/openwhisk-*/_count")["count"])


def _request(method: str, url: str, body: bytes | None = None) -> Any:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method=method)  # noqa: S310  http on loopback
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  as above
        return json.load(answer)


def _chunks(documents: Iterator[bytes], size: int) -> Iterator[list[bytes]]:
    while chunk := list(islice(documents, size)):
        yield chunk


def color_wanted() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
