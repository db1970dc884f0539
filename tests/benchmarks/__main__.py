"""One row of the benchmarks, or all: ours and the yardstick in turn on the same servers, medians, and ratios.

Rows are in `rows.py`. Prints a table; writes JSON and a plot (SVG) for each row to docs/benchmarks/. The CouchDB is the
yardstick server of `yardstick.py`, or the one that COUCHDB_URL names (`http://user:password@host:5984`).

usage: python -m tests.benchmarks [NAME ...] [--documents N] [--rounds 3] [--jobs 4] [--output docs/benchmarks]
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.benchmarks import results
from tests.benchmarks.ground import Ground
from tests.benchmarks.rows import ROWS


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    options.add_argument(
        "names", nargs="*", metavar="NAME", help=f"rows, of {', '.join(ROWS)}; all where none is given"
    )
    options.add_argument("--documents", type=int, help="instead of what each row has by itself")
    options.add_argument("--rounds", type=int, default=3, help="that count; one more comes before them")
    options.add_argument("--jobs", type=int, default=4)
    options.add_argument("--output", type=Path, default=Path("docs/benchmarks"))
    chosen = options.parse_args()
    if unknown := [name for name in chosen.names if name not in ROWS]:
        options.error(f"there is no row {unknown[0]}; the rows are {', '.join(ROWS)}")
    about = results.machine()
    contests = []
    for name in chosen.names or ROWS:
        with ExitStack() as opened:
            folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="migrator-bench-")))
            folder.chmod(0o755)
            row = ROWS[name]
            ground = Ground(opened, folder, chosen.documents or row.documents, chosen.jobs)
            print(f"{name}: {ground.documents:,} documents", flush=True)
            contests.append(ground.contest(name, row.prepare(ground), rounds=chosen.rounds))
        results.save(chosen.output, contests[-1:], about | {"documents": ground.documents, "servers": ground.products})
        print(results.table(contests[-1:]), flush=True)
    if len(contests) > 1:
        print(results.table(contests))


if __name__ == "__main__":
    main()
