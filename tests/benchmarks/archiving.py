"""How fast are backups and restores, beside the tools that operators use today, on the same servers in the same run?

    Elasticsearch -> archive    elasticdump --fsCompress    goal: 5 times as fast
    CouchDB -> archive          couchbackup | gzip          2 times (its quicker mode, shallow)
    archive -> Elasticsearch    elasticdump --fsCompress    1.2 times
    archive -> CouchDB          gunzip | couchrestore       1.3 times

Whole processes are timed, each pair one right after the other; prints documents a second, sizes and peak memory of
both, and the medians of the ratios. Nothing of the migrator may take more than 150 MB.

What no restore can surpass is what the server takes: PouchDB's server has one thread for everything. So beside the
last pair requests that were made in advance are sent by bare sockets, and both restores are reported as shares of that.

usage: python -m tests.benchmarks.archiving [--documents 200000] [--pairs 3] [--jobs 4]
"""

from __future__ import annotations

import argparse
import http.client
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from migrator.activations import forms
from migrator.activations.document import Document, Form, read_document
from migrator.demo import samples, servers
from migrator.demo.servers import npm_program
from tests.benchmarks.copying import DATABASE, load, request, wait_for
from tests.support.completing import completed

ELASTICDUMP = ("elasticdump", "6.125.1", "bin/elasticdump")
COUCHBACKUP = ("@cloudant/couchbackup", "2.11.12", "bin/couchbackup.bin.js")
COUCHRESTORE = ("@cloudant/couchbackup", "2.11.12", "bin/couchrestore.bin.js")
MOST_MB = 150
REQUEST_DOCUMENTS, CONNECTIONS = 500, 5  # of bare requests; couchrestore's own
REQUESTS = "requests"


class Taken(NamedTuple):
    """What a command took: seconds of wall time, peak memory of the largest of its processes."""

    seconds: float
    peak_mb: float


def run(command: str | Sequence[str]) -> Taken:
    """A command, or a line for the shell."""
    began_s = time.monotonic()
    words = ["bash", "-c", f"set -o pipefail; {command}"] if isinstance(command, str) else command
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        said = process.stderr.read()
        status, usage = wait_for(process)
    if status:
        raise SystemExit(f"{words[:3]} ended with status {status}: {said.decode()[-2000:]}")
    return Taken(time.monotonic() - began_s, usage.ru_maxrss / 1000)


def migrator(*words: str) -> Taken:
    return run([sys.executable, "-m", "migrator", *words, "--quiet"])


def bulks(documents: int, index_of: Callable[[Document], str]) -> Iterator[tuple[int, bytes]]:
    """Bulk requests of everyday activations in OpenWhisk's form for Elasticsearch, with how many each has."""
    made = samples.everyday(documents)
    while chunk := list(islice(made, 2000)):
        lines: list[bytes] = []
        for body in chunk:
            id = body.partition(b'"_id":"')[2].partition(b'"')[0].decode()
            document = read_document(id, body, Form.COUCHDB)
            assert isinstance(document, Document)
            converted = forms.convert(document, Form.ELASTICSEARCH)
            assert isinstance(converted, Document)
            head = {"index": {"_index": index_of(document), "_type": "_doc", "_id": id}}
            lines += [json.dumps(head).encode(), converted.body]
        yield len(chunk), b"\n".join([*lines, b""])


def fill_index(search: str, index: str, documents: int) -> None:
    """Put everyday activations into one index, in OpenWhisk's form for Elasticsearch."""
    for _, body in bulks(documents, lambda _: index):
        assert not request("POST", f"{search}/_bulk", body)["errors"]
    request("POST", f"{search}/_refresh")


def write_requests(path: Path, documents: int) -> None:
    """The bodies of requests that fill a database, one a line."""
    made = samples.everyday(documents)
    with path.open("wb") as file:
        while chunk := list(islice(made, REQUEST_DOCUMENTS)):
            file.write(b'{"docs":[' + b",".join(chunk) + b"]}\n")


def send_requests(path: Path, url: str) -> float:
    """Post them to a database, several at once; returns the seconds it took."""
    address = urlsplit(url)
    began_s = time.monotonic()
    with path.open("rb") as file, ThreadPoolExecutor(CONNECTIONS) as senders:
        turn = threading.Lock()

        def send() -> None:
            connection = http.client.HTTPConnection(address.netloc)
            while True:
                with turn:
                    body = file.readline()
                if not body:
                    return
                connection.request("POST", f"{address.path}/_bulk_docs", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                assert answer.status == 201, answer.read()
                answer.read()

        for sent in [senders.submit(send) for _ in range(CONNECTIONS)]:
            sent.result()
    return time.monotonic() - began_s


def count(search: str, index: str) -> int:
    request("POST", f"{search}/_refresh")
    return int(request("GET", f"{search}/{index}/_count")["count"])


def drop(url: str) -> None:
    request("DELETE", url)


class Bench:
    """The servers, the files, and what was measured."""

    def __init__(self, folder: Path, couchdb: str, completed: str, search: str, documents: int, jobs: int) -> None:
        self.folder, self.couchdb, self.search = folder, couchdb, search
        self.completed = completed  # the same CouchDB server, for a tool that misses something in its answers
        self.documents, self.jobs = documents, ["--jobs", str(jobs)]
        self.ratios: dict[str, list[float]] = defaultdict(list)
        self.shares: list[tuple[float, float]] = []  # of bare requests: theirs, ours
        self.peak_mb = 0.0
        self.round = 0

    def store(self, kind: str, rest: str) -> str:
        url = self.couchdb if kind == "couchdb" else self.search
        return f"{kind}://{urlsplit(url).netloc}/{rest}"

    def elasticdump(self, *arguments: str) -> Taken:
        words = [*npm_program(*ELASTICDUMP), *arguments, "--limit=2000", "--fsCompress", "--quiet", "--type=data"]
        return run(words)

    def compare(
        self, name: str, theirs: Callable[[], Taken], ours: Callable[[], Taken], size: Callable[[], str]
    ) -> tuple[Taken, Taken]:
        """Run both, in turn as first and second; returns what each took, theirs first."""
        taken = {}
        for who, call in (
            (("theirs", theirs), ("ours", ours)) if self.round % 2 else (("ours", ours), ("theirs", theirs))
        ):
            taken[who] = call()
        other, own = taken["theirs"], taken["ours"]
        ratio = other.seconds / own.seconds
        print(
            f"{'warm-up' if not self.round else f'round {self.round}'}: {name}: "
            f"migrator {self.documents / own.seconds:,.0f} documents/s, peak {own.peak_mb:.0f} MB; "
            f"the other {self.documents / other.seconds:,.0f}, peak {other.peak_mb:.0f} MB; ratio {ratio:.1f}{size()}",
            flush=True,
        )
        if self.round:
            self.ratios[name].append(ratio)
            self.peak_mb = max(self.peak_mb, own.peak_mb)
        return other, own

    def take_round(self) -> None:
        at = self.folder / f"round-{self.round}"
        at.mkdir()
        state = ["--state", str(at / "state")]
        dump, couch_file = at / "dump.json.gz", at / "couchdb.gz"
        from_search, from_couchdb = f"archive:{at / 'search'}", f"archive:{at / 'couchdb'}"

        def sizes(own: str, other: Path) -> Callable[[], str]:
            def told() -> str:
                ours = sum(each.stat().st_size for each in Path(own.partition(":")[2]).rglob("*") if each.is_file())
                return f"; {ours / 1e6:.1f} MB against {other.stat().st_size / 1e6:.1f} MB"

            return told

        self.compare(
            "Elasticsearch -> archive",
            lambda: self.elasticdump(f"--input={self.search}/loaded", f"--output={dump}"),
            lambda: migrator(
                "backup", self.store("elasticsearch", "?index-pattern=loaded"), from_search, *self.jobs, *state
            ),
            sizes(from_search, dump),
        )
        backup = shlex.join([*npm_program(*COUCHBACKUP), "--url", self.couchdb, "--db", DATABASE, "--mode", "shallow"])
        self.compare(
            "CouchDB -> archive",
            lambda: run(f"{backup} --quiet | gzip > {couch_file}"),
            lambda: migrator("backup", self.store("couchdb", DATABASE), from_couchdb, *self.jobs, *state),
            sizes(from_couchdb, couch_file),
        )

        def into_search(index: str, call: Callable[[], Taken]) -> Taken:
            taken = call()
            assert count(self.search, index) == self.documents
            drop(f"{self.search}/{index}")
            return taken

        self.compare(
            "archive -> Elasticsearch",
            lambda: into_search(
                "dumped", lambda: self.elasticdump(f"--input={dump}", f"--output={self.search}/dumped")
            ),
            lambda: into_search(
                "restored",
                lambda: migrator(
                    "restore", from_search, self.store("elasticsearch", "?index-pattern=restored"), *self.jobs, *state
                ),
            ),
            lambda: "",
        )

        def into_couchdb(database: str, call: Callable[[], Taken]) -> Taken:
            request("PUT", f"{self.couchdb}/{database}")
            taken = call()
            assert request("GET", f"{self.couchdb}/{database}")["doc_count"] == self.documents
            drop(f"{self.couchdb}/{database}")
            return taken

        restore = shlex.join([*npm_program(*COUCHRESTORE), "--url", self.completed, "--db", "theirs"])
        taken = self.compare(
            "archive -> CouchDB",
            lambda: into_couchdb("theirs", lambda: run(f"gunzip < {couch_file} | {restore} --quiet")),
            lambda: into_couchdb(
                "ours", lambda: migrator("restore", from_couchdb, self.store("couchdb", "ours"), *self.jobs, *state)
            ),
            lambda: "",
        )
        bare = into_couchdb("bare", lambda: Taken(send_requests(self.folder / REQUESTS, f"{self.couchdb}/bare"), 0))
        theirs, ours = (bare.seconds / each.seconds for each in taken)
        print(f"    bare requests {self.documents / bare.seconds:,.0f} documents/s", flush=True)
        if self.round:
            self.shares.append((theirs, ours))
        self.round += 1


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--documents", type=int, default=200_000)
    options.add_argument("--pairs", type=int, default=3)
    options.add_argument("--jobs", type=int, default=4)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        with (
            servers.couchdb(folder=folder / "couchdb-server") as couchdb,
            servers.elasticsearch("6.7.2", folder=folder / "elasticsearch") as search,
            completed(couchdb.url) as proxy,
        ):
            print(f"loading {chosen.documents:,} documents into both servers", flush=True)
            load(couchdb.url, chosen.documents)
            fill_index(search.url, "loaded", chosen.documents)
            write_requests(folder / REQUESTS, chosen.documents)
            bench = Bench(folder, couchdb.url, proxy, search.url, chosen.documents, chosen.jobs)
            for _ in range(chosen.pairs + 1):
                bench.take_round()
            goals = dict(zip(bench.ratios, (5, 2, 1.2, 1.3), strict=True))
            for pair, ratios in bench.ratios.items():
                print(f"{pair}: median ratio {statistics.median(ratios):.1f} (goal {goals[pair]})")
            theirs, ours = (statistics.median(shares) for shares in zip(*bench.shares, strict=True))
            print(f"    of what bare requests reach there: couchrestore {theirs:.0%}, migrator {ours:.0%}")
            print(f"peak memory of the migrator: {bench.peak_mb:.0f} MB (goal {MOST_MB} or less)")


if __name__ == "__main__":
    main()
