"""One row of the benchmarks, or all: ours and the yardstick in turn on the same servers, medians, and ratios.

Rows are in `rows.py`; each starts its own servers and can be measured by itself. Writes JSON and a plot (SVG) for each
row to docs/benchmarks/ as soon as it is done, then makes the table there of all rows that were ever measured; prints
the table of this run. All rows take 20 to 40 minutes on two cores; the rest of the machine should be idle. The CouchDB
is the yardstick server of `yardstick.py`, or the one that COUCHDB_URL names (`http://user:password@host:5984`).

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
    named = ", ".join(f"{name} ({row.minutes:g} min)" for name, row in ROWS.items())
    options = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    options.add_argument("names", nargs="*", metavar="NAME", help=f"rows, of {named}; all where none is given")
    options.add_argument("--documents", type=int, help="instead of what each row has by itself")
    options.add_argument("--rounds", type=int, help="that count; one more comes before them (3)")
    options.add_argument("--jobs", type=int, default=4)
    options.add_argument("--output", type=Path, default=Path("docs/benchmarks"))
    chosen = options.parse_args()
    if unknown := [name for name in chosen.names if name not in ROWS]:
        options.error(f"there is no row {unknown[0]}; the rows are {', '.join(ROWS)}")
    done = []
    for name in chosen.names or ROWS:
        row, about = ROWS[name], results.machine()
        rounds = chosen.rounds or row.rounds or 3
        with ExitStack() as opened:
            folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="migrator-bench-")))
            folder.chmod(0o755)
            ground = Ground(opened, folder, chosen.documents or row.documents, chosen.jobs)
            print(f"{name}: {ground.documents:,} documents", flush=True)
            contest = ground.contest(name, row.prepare(ground), rounds=rounds, warms_up=row.warms_up)
        done.append(results.save(chosen.output, contest, about | {"documents": ground.documents, "rounds": rounds}))
        print(results.table(done[-1:]), flush=True)
    (chosen.output / "README.md").write_text(results.collect(chosen.output, list(ROWS)))
    if len(done) > 1:
        print(results.table(done))


if __name__ == "__main__":
    main()
