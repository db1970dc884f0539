"""How fast is the copy, how much processor time and memory does it take? Beside the bare-hands pump in the same run.

Prints for each pair of runs the documents a second of both and their ratio, own processor seconds and peak memory.
Rates depend on what else the machine does; the processor seconds, those that the servers took included, hardly do.

usage: python -m tests.benchmarks.copying [--documents 200000] [--pairs 3] [--jobs 4]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from itertools import islice
from pathlib import Path
from typing import Any

from migrator.demo import samples, servers

DATABASE = "whisk_local_activations"


def request(method: str, url: str, body: bytes | None = None) -> Any:
    asked = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(asked, timeout=120) as answer:
        return json.load(answer)


def load(couchdb: str, documents: int) -> None:
    request("PUT", f"{couchdb}/{DATABASE}")
    made = samples.everyday(documents)
    while chunk := list(islice(made, 2000)):
        answer = request("POST", f"{couchdb}/{DATABASE}/_bulk_docs", b'{"docs":[' + b",".join(chunk) + b"]}")
        assert not any("error" in item for item in answer)


def clear(search: str) -> None:
    request("DELETE", f"{search}/openwhisk-*")


def count(search: str) -> int:
    request("POST", f"{search}/_refresh")
    return int(request("GET", f"{search}/openwhisk-*/_count")["count"])


def measure(*words: str) -> tuple[str, float, float]:
    """Run a command; returns its stdout, its processor seconds and its peak memory in MB."""
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        printed = process.stdout.read()
        status, usage = wait_for(process)
    if status:
        raise SystemExit(f"{words[2]} ended with status {status}")
    return printed, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000


def wait_for(process: subprocess.Popen[Any]) -> tuple[int, resource.struct_rusage]:
    """The exit code of a process, and what it and those that it waited for took."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage


def taken_s(*running: servers.Server) -> float:
    """The processor seconds that servers have taken since they were started."""
    ticks = 0
    for server in running:
        fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


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
            servers.couchdb(folder=folder / "couchdb") as couchdb,
            servers.elasticsearch("6.7.2", folder=folder / "elasticsearch") as search,
        ):
            print(f"loading {chosen.documents:,} documents into {couchdb.product} {couchdb.version}", flush=True)
            load(couchdb.url, chosen.documents)
            source, target = (
                f"couchdb://127.0.0.1:{couchdb.port}/{DATABASE}",
                f"elasticsearch://127.0.0.1:{search.port}",
            )
            ratios, processors, peaks = [], [], []
            for pair in range(chosen.pairs + 1):
                began_s = taken_s(couchdb, search)
                printed, pump_processor_s, _ = measure(
                    sys.executable, "-m", "tests.benchmarks.pump", couchdb.url, DATABASE, search.url
                )
                pump_servers_s = taken_s(couchdb, search) - began_s
                pumped = json.loads(printed)
                assert count(search.url) == chosen.documents
                clear(search.url)
                began_s = taken_s(couchdb, search)
                printed, processor_s, peak_mb = measure(
                    *(sys.executable, "-m", "migrator", "copy", source, target, "--jobs", str(chosen.jobs)),
                    *("--state", str(folder / f"state-{pair}"), "--json", "--quiet"),
                )
                servers_s = taken_s(couchdb, search) - began_s
                report = json.loads(printed)
                assert count(search.url) == chosen.documents == report["totals"]["written"]
                clear(search.url)
                pump_rate = pumped["documents"] / pumped["seconds"]
                rate = chosen.documents / report["duration_s"]
                per_100k = 100_000 / chosen.documents
                print(
                    f"{'warm-up' if pair == 0 else f'pair {pair}'}: "
                    f"pump {pump_rate:,.0f} documents/s, copy {rate:,.0f}, ratio {rate / pump_rate:.2f}; "
                    f"processor seconds for 100,000: pump {pump_processor_s * per_100k:.1f} + servers "
                    f"{pump_servers_s * per_100k:.1f}, copy {processor_s * per_100k:.1f} + servers "
                    f"{servers_s * per_100k:.1f}; peak {peak_mb:.0f} MB",
                    flush=True,
                )
                if pair:
                    ratios.append(rate / pump_rate)
                    processors.append(processor_s * per_100k)
                    peaks.append(peak_mb)
            print(
                f"medians: ratio to the pump {statistics.median(ratios):.2f} (goal 0.90 or more), own processor time "
                f"{statistics.median(processors):.1f} s for 100,000 documents (goal 5 or less), "
                f"peak memory {statistics.median(peaks):.0f} MB (goal 150 or less)"
            )


if __name__ == "__main__":
    main()
