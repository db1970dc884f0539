"""Does a verification find exactly the faults that were planted? On real servers, for each pair of stores in turn.

Of equal stores it must find nothing; then faults are planted in B, past the tool: documents deleted, documents added,
documents changed (a digit of a result, two log lines, an annotation). `migrator verify` must list exactly those,
`migrator copy --ids` must mend what is missing or different, and once what was added is deleted both must agree.
Prints what was found, the time and the peak memory of each verification. Ends with 1 where anything isn't as planted.

usage: python -m tests.benchmarks.planting [--documents 100000] [--faults 50] [--jobs 4] [--seed N] [PAIR …]
pairs: couchdb-elasticsearch elasticsearch-couchdb archive-elasticsearch archive-couchdb
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from migrator.demo import samples, servers
from tests.support.planting import Place, SearchPlace, couchdb_place, plant, remove_extra

DATABASE = "whisk_local_activations"
PAIRS = ("couchdb-elasticsearch", "elasticsearch-couchdb", "archive-elasticsearch", "archive-couchdb")


def migrator(*words: str, state: Path) -> tuple[int, Any, str]:
    """Run a command; returns its exit code, its JSON, and the time and peak memory it took."""
    began_s = time.monotonic()
    command = [sys.executable, "-m", "migrator", *words, "--state", str(state), "--json", "--quiet"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    took = f"{time.monotonic() - began_s:.1f} s, processor {usage.ru_utime + usage.ru_stime:.1f} s"
    took += f", peak {usage.ru_maxrss / 1000:.0f} MB"
    return process.returncode, msgspec.json.decode(printed) if printed else None, took


class Failed(Exception):
    """Something wasn't found as it was planted."""


def expect(what: str, condition: bool) -> None:
    if not condition:
        raise Failed(what)


def prove(a: str, b: str, place: Place, ids: list[str], chosen: argparse.Namespace, state: Path) -> None:
    """Verify, plant, verify, mend, verify."""
    jobs = ("--jobs", str(chosen.jobs))
    code, found, took = migrator("verify", a, b, *jobs, state=state)
    expect(f"equal stores agree: {found and found['totals']}", code == 0)
    print(f"  nothing planted: nothing found among {found['totals']['a']:,} and {found['totals']['b']:,} ({took})")
    planted = plant(place, ids, chosen.faults, seed=chosen.seed)
    output = state / "found.ndjson"
    code, found, took = migrator("verify", a, b, *jobs, "--output", str(output), state=state)
    listed = {line["id"]: line["kind"] for line in map(json.loads, output.read_text().splitlines())}
    wrong = {id: (kind, listed.get(id)) for id, kind in planted.items() if listed.get(id) != kind}
    beyond = {id: kind for id, kind in listed.items() if id not in planted}
    expect(f"exactly what was planted is found: not {wrong}, and not {beyond}", code == 4 and listed == planted)
    totals = found["totals"]
    print(
        f"  {len(planted)} faults planted, exactly those found: {totals['missing']} missing, {totals['extra']} extra, "
        f"{totals['different']} different, in {found['differing_buckets']} of {found['buckets']:,} hours ({took})"
    )
    code, report, _ = migrator("copy", a, b, "--ids", str(output), "--on-conflict", "overwrite", state=state)
    written = report["totals"]["written"]
    expect(
        f"copy --ids mends what is missing or different: {report['totals']}", (code, written) == (0, 2 * chosen.faults)
    )
    code, found, _ = migrator("verify", a, b, *jobs, "--allow-extra", state=state)
    expect(f"after mending: {found['totals']}", code == 0 and found["totals"]["extra"] == chosen.faults)
    remove_extra(place, planted)
    code, found, took = migrator("verify", a, b, *jobs, state=state)
    expect(f"both agree in the end: {found['totals']}", code == 0)
    print(f"  copy --ids wrote {written}; with the added ones deleted both agree ({took})", flush=True)


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--documents", type=int, default=100_000)
    options.add_argument("--faults", type=int, default=50)
    options.add_argument("--jobs", type=int, default=4)
    options.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    options.add_argument("pairs", nargs="*", default=PAIRS)
    chosen = options.parse_args()
    print(f"seed {chosen.seed}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        with (
            servers.couchdb(folder=folder / "couchdb") as couchdb,
            servers.elasticsearch("6.7.2", folder=folder / "elasticsearch") as search,
        ):
            database = couchdb_place(couchdb.url, DATABASE)
            print(f"loading {chosen.documents:,} documents into {couchdb.product} {couchdb.version}", flush=True)
            ids = database.load(samples.everyday(chosen.documents))
            places: dict[str, Place] = {
                "couchdb": database,
                "elasticsearch": SearchPlace(search.url, "openwhisk-", typed=True),
            }
            locations = {
                "couchdb": f"couchdb://127.0.0.1:{couchdb.port}/{DATABASE}",
                "elasticsearch": f"elasticsearch://127.0.0.1:{search.port}",
                "archive": f"archive:{folder / 'archive'}",
            }
            state = folder / "state"
            code, _, took = migrator("copy", locations["couchdb"], locations["elasticsearch"], state=state)
            expect("the copy is complete", code == 0)
            print(f"copied to {search.product} {search.version} ({took})", flush=True)
            if any("archive" in pair for pair in chosen.pairs):
                code, _, took = migrator("backup", locations["couchdb"], locations["archive"], state=state)
                expect("the backup is complete", code == 0)
                print(f"backed up ({took})", flush=True)
            try:
                for pair in chosen.pairs:
                    a, b = pair.split("-")
                    print(f"{a} (A) and {b} (B):", flush=True)
                    prove(locations[a], locations[b], places[b], ids, chosen, state)
            except Failed as failed:
                print(f"NOT AS PLANTED: {failed}")
                return 1
    print("all as planted")
    return 0


if __name__ == "__main__":
    sys.exit(main())
