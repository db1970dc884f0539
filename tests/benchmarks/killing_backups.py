"""Backups and restores, each killed with SIGKILL at a random moment and resumed: do they end like unbroken ones?

Every trial has an archive, or a target, of its own. Of a backup it is also looked whether a half one is ever listed,
and whether a part that had its final name was written again under it.

usage: python -m tests.benchmarks.killing_backups [--documents 50000] [--kills 30] [--jobs 4] [--seed N]
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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from migrator.adapters.archive.catalog import read_catalog
from migrator.adapters.archive.folder import Folder
from migrator.demo import servers
from tests.benchmarks.archiving import bulks
from tests.benchmarks.copying import request
from tests.benchmarks.killing import contents

PATTERN = "loaded-%25s"


def fill(search: str, documents: int) -> None:
    """Put everyday activations into Elasticsearch, as OpenWhisk would have."""
    for _, body in bulks(documents, lambda document: f"loaded-{document.namespace.lower()}"):
        assert not request("POST", f"{search}/_bulk", body)["errors"]


def run(words: Sequence[str], kill_after_s: float | None = None) -> tuple[dict[str, Any] | None, float]:
    """The report and the seconds of a command; None where it was killed."""
    began_s = time.monotonic()
    with subprocess.Popen([sys.executable, "-m", "migrator", *words], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        if kill_after_s is not None:
            try:
                process.wait(kill_after_s)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
        printed = process.stdout.read()
    took_s = time.monotonic() - began_s
    if process.returncode == -signal.SIGKILL:
        return None, took_s
    if process.returncode:
        raise SystemExit(f"{words[0]} ended with exit code {process.returncode}")
    return json.loads(printed), took_s


def parts(archive: Path) -> dict[str, tuple[int, int, int]]:
    """What lies under the final names of parts: inode, size and time of change."""
    found = {str(path.relative_to(archive)): path.stat() for path in archive.rglob("part-*")}
    return {name: (told.st_ino, told.st_size, told.st_mtime_ns) for name, told in found.items()}


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
        with servers.elasticsearch("6.7.2", folder=folder / "elasticsearch") as search:
            fill(search.url, chosen.documents)
            host = f"elasticsearch://127.0.0.1:{search.port}"
            source = f"{host}/?index-pattern={PATTERN}"
            expected = contents(source)
            assert len(expected) == chosen.documents
            common = ["--json", "--quiet", "--jobs", str(chosen.jobs)]
            bad = _backups(chosen, chance, folder, source, expected, common)
            bad += _restores(chosen, chance, folder, host, expected, common)
            print("equal" if not bad else f"NOT EQUAL: {bad} trials")
            return 1 if bad else 0


def _backups(
    chosen: argparse.Namespace,
    chance: random.Random,
    folder: Path,
    source: str,
    expected: dict[str, bytes],
    common: Sequence[str],
) -> int:
    # Small parts, so that a kill finds some that are whole and some that aren't.
    more = [*common, "--part-size", "256KiB"]
    unbroken = folder / "unbroken"
    _, took_s = run(["backup", source, f"archive:{unbroken}", *more, "--state", str(folder / "state-unbroken")])
    number = killed = bad = rewritten = half = 0
    while killed < chosen.kills:  # a trial may end before it is killed
        number += 1
        archive, state = folder / f"archive-{number}", str(folder / f"state-{number}")
        words = ["backup", source, f"archive:{archive}", *more, "--state", state]
        report, _ = run(words, chance.uniform(0.2, took_s * 0.9))
        killed += report is None
        before = parts(archive)
        if (archive / "archive.json").exists():
            catalog = read_catalog(Folder(str(archive)))
            half += sum(made.documents != len(expected) for made in catalog.backups)
        if report is None:
            report, _ = run(words)
        after = parts(archive)
        rewritten += sum(after[name] != told for name, told in before.items() if name in after)
        made = sum(each.documents for each in read_catalog(Folder(str(archive))).backups)
        bad += not (contents(f"archive:{archive}") == expected and made == len(expected))
    print(f"backup: {killed} kills in {number} trials, {bad} archives differ from the source")
    print(f"{half} half backups were listed, {rewritten} parts were written again under a final name", flush=True)
    return bad + half + rewritten


def _restores(
    chosen: argparse.Namespace,
    chance: random.Random,
    folder: Path,
    host: str,
    expected: dict[str, bytes],
    common: Sequence[str],
) -> int:
    archive = f"archive:{folder / 'unbroken'}"
    target = f"{host}/?index-pattern=unbroken-%25s"
    _, took_s = run(["restore", archive, target, *common, "--state", str(folder / "state-unbroken")])
    number = bad = killed = present = 0
    while killed < chosen.kills:
        number += 1
        target, state = f"{host}/?index-pattern=restored-{number}-%25s", str(folder / f"state-restore-{number}")
        words = ["restore", archive, target, *common, "--state", state]
        report, _ = run(words, chance.uniform(0.2, took_s * 0.9))
        killed += report is None
        if report is None:
            report, _ = run(words)
        assert report is not None
        present += report["totals"]["present"]
        request("POST", f"http://{host.partition('//')[2]}/restored-{number}-*/_refresh")
        bad += contents(target) != expected
        request("DELETE", f"http://{host.partition('//')[2]}/restored-{number}-*")
    print(
        f"restore: {killed} kills in {number} trials, {bad} targets differ from the archive, "
        f"{present / max(killed, 1):,.0f} documents a kill were sent twice",
        flush=True,
    )
    return bad


if __name__ == "__main__":
    sys.exit(main())
