"""One copy, killed with SIGKILL at random moments and resumed each time: is the result that of an unbroken run?

Copies the same documents twice, once in one go, once through the kills, and compares both targets document by
document. Also counts what was sent twice: a run finds there (`present`) what killed ones had sent beyond their last
checkpoint. For each kill that must stay under two pages a worker, also where the next run is killed before it has
found all of it.

usage: python -m tests.benchmarks.killing [--documents 50000] [--kills 30] [--jobs 4] [--seed N]
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from migrator.activations.accounts import Counts
from migrator.activations.selection import Selection
from migrator.adapters.opening import open_reader
from migrator.api.opening import page_bytes
from migrator.demo import servers
from migrator.engine.state.jobs import list_jobs
from migrator.rendering.job_status import job_status
from migrator.settings.locations import parse_location
from tests.benchmarks.copying import DATABASE, load, request


def contents(location: str) -> dict[str, bytes]:
    """Every document of a store by id."""
    reader = open_reader(parse_location(location).store())
    try:
        plan = reader.plan(Selection(), slice_documents=100_000)
        return {
            document.id: document.body
            for slice in plan.slices
            for batch in reader.read(slice, None, Selection())
            for document in batch.documents
        }
    finally:
        reader.close()


def indexed(search: str) -> int:
    answer = request("GET", f"{search}/killed-*/_stats/indexing")
    return int(answer["_all"]["primaries"].get("indexing", {}).get("index_total", 0))


def noted(state: Path, target: str) -> Counts:
    """What the checkpoint of the job that fills `target` says, of all its runs together."""
    return next(
        (job.totals for job in map(job_status, list_jobs(state)) if f"/?index-pattern={target}-" in job.target),
        Counts(),
    )


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--documents", type=int, default=50_000)
    options.add_argument("--kills", type=int, default=30)
    options.add_argument("--jobs", type=int, default=4)
    options.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    chosen = options.parse_args()
    chance = random.Random(chosen.seed)
    print(f"seed {chosen.seed}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        with (
            servers.couchdb(folder=folder / "couchdb") as couchdb,
            servers.elasticsearch("6.7.2", folder=folder / "elasticsearch") as search,
        ):
            load(couchdb.url, chosen.documents)
            source = f"couchdb://127.0.0.1:{couchdb.port}/{DATABASE}"
            unbroken, killed = (
                f"elasticsearch://127.0.0.1:{search.port}/?index-pattern={pattern}-%25s"
                for pattern in ("unbroken", "killed")
            )
            base = [sys.executable, "-m", "migrator", "copy", source]
            common = ["--state", str(folder / "state"), "--jobs", str(chosen.jobs), "--json", "--quiet"]
            subprocess.run([*base, unbroken, *common], check=True, stdout=subprocess.DEVNULL)

            moments = sorted(chance.randrange(chosen.documents) for _ in range(chosen.kills))
            kills, found_before, too_many = 0, 0, 0
            size_bytes = noted(folder / "state", "unbroken").size_bytes
            allowed = 2 * chosen.jobs * (page_bytes(chosen.jobs) * chosen.documents // size_bytes)
            for number, moment in enumerate(moments, 1):
                with subprocess.Popen([*base, killed, *common], stdout=subprocess.DEVNULL) as process:
                    while process.poll() is None and indexed(search.url) < moment:
                        time.sleep(0.005)
                    # Somewhere inside what is in hand just then, not only right after an answer of the server.
                    time.sleep(chance.random() * 0.3)
                    if process.poll() is None:
                        process.send_signal(signal.SIGKILL)
                        kills += 1
                    process.wait()
                counts = noted(folder / "state", "killed")
                found, found_before = counts.present - found_before, counts.present
                too_many += counts.present > allowed * kills
                print(
                    f"kill {number}: {indexed(search.url):,} documents are there, {counts.read:,} noted; "
                    f"this run found {found:,} that were there already",
                    flush=True,
                )
            ended = subprocess.run([*base, killed, *common], check=True, stdout=subprocess.PIPE, text=True)
            totals = json.loads(ended.stdout)["totals"]
            request("POST", f"{search.url}/_refresh")
            expected, there = contents(unbroken), contents(killed)
            print(f"{kills} kills of one copy of {chosen.documents:,} documents with {chosen.jobs} workers")
            print(f"accounts of the job: {totals}")
            print(f"documents in the target: {len(there):,}, of the unbroken run: {len(expected):,}")
            print(
                f"missing {len(expected.keys() - there.keys())}, extra {len(there.keys() - expected.keys())}, "
                f"different {sum(there[id] != body for id, body in expected.items() if id in there)}"
            )
            print(f"sent twice: {totals['present'] / max(kills, 1):,.0f} a kill (two pages a worker: {allowed:,})")
            good = expected == there and totals["read"] == chosen.documents and not too_many
            print("equal" if good else "NOT EQUAL")
            return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
