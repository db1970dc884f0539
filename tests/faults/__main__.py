"""Every fault of the laboratory, and one table at the end, in which nothing may be but zeros.

usage: python -m tests.faults [--family NAME]… [--cases N] [--seed S] [--case ID]… [--json FILE] [--sum FILE…]

Families: answers (every kind of answer altered, stores replaced), kill (SIGKILL of the tool), server (SIGKILL of the
servers), state (what the state folder keeps is spoilt), disk (no room), clock (it is wrong, or jumps), model. A case is
run again by its id alone, which holds its seed. Servers are started here, and nothing else is needed.

Exit code 1 where anything but zeros stands in the table.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import msgspec

from migrator.demo import servers
from tests.faults import answers, clocks, filling, killing, modelling, spoiling, toppling
from tests.faults.bench import Bench
from tests.faults.bench import Known as KnownRuns
from tests.faults.laboratory import Known, Lane
from tests.faults.started import Started
from tests.faults.stores import Stores, opened
from tests.faults.verdict import Verdict, read_verdicts, table, tell

BENCHED = {family.NAME: family for family in (killing, spoiling, filling, clocks)}
FAMILIES = (answers.NAME, *BENCHED, modelling.NAME, toppling.NAME)
SIZES: dict[str, int] = {
    **{family.NAME: family.SIZE for family in (answers, killing, spoiling, filling, clocks, modelling)},
    toppling.NAME: toppling.KILLS * len(toppling.PAIRS_KILLED),
}


class Place:
    """Where one case runs at a time."""

    def __init__(self, stores: Stores, known: dict[str, Known], runs: KnownRuns) -> None:
        self.lane = Lane(stores, known)
        self.bench = Bench(stores, runs)

    def run(self, case: str) -> Verdict:
        family = case.partition("/")[0]
        if family in BENCHED:
            verdict: Verdict = BENCHED[family].run(self.bench, case)
            return verdict
        return modelling.run(case) if family == modelling.NAME else answers.run(self.lane, case)


class Results:
    """What came of the cases: told, kept, written down."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._began_s = time.monotonic()
        self.verdicts: list[Verdict] = []

    def add(self, verdict: Verdict) -> None:
        with self._lock:
            self.verdicts.append(verdict)
            if verdict.is_wrong or self._options.verbose or self._options.case:
                print(tell(verdict, whole=bool(self._options.case)), flush=True)
            if self._options.json:
                with self._options.json.open("ab") as file:
                    file.write(msgspec.json.encode(verdict) + b"\n")
            if len(self.verdicts) % 100 == 0:
                print(f"{len(self.verdicts)} cases, {time.monotonic() - self._began_s:.0f} s", flush=True)


@contextlib.contextmanager
def running(started: str = "") -> Iterator[Stores]:
    """Two servers with the stores of the laboratory; `started` is a command that starts a CouchDB."""
    with tempfile.TemporaryDirectory(prefix="migrator-faults-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        with (
            Started(started, folder / "couchdb") if started else servers.couchdb(folder=folder / "couchdb") as couchdb,
            servers.elasticsearch("6.7.2", folder=folder / "elasticsearch") as search,
            opened(folder, couchdb.port, search.port, login=getattr(couchdb, "login", "")) as stores,
        ):
            stores.servers = {"couchdb": couchdb, "es": search}
            yield stores


def main() -> int:
    options = _options()
    if options.sum:
        lines = [line for path in options.sum for line in path.read_bytes().splitlines()]
        return _end(read_verdicts(lines))
    os.environ["MIGRATOR_CONFIG"] = os.devnull
    began_s, results = time.monotonic(), Results(options)
    # Servers that are killed are nobody else's.
    threads = [threading.Thread(target=partial(_in_lanes, options, results))]
    toppled = [case for case in options.case if case.startswith(f"{toppling.NAME}/")]
    if toppled or (toppling.NAME in options.family and not options.case):
        threads.append(threading.Thread(target=partial(_topple, options, results)))
    errors: list[BaseException] = []
    threading.excepthook = lambda told: errors.append(told.exc_value or RuntimeError("a thread failed"))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    code = _end(results.verdicts)
    print(f"{time.monotonic() - began_s:.0f} s")
    if errors:
        raise BaseExceptionGroup("not every case was run", errors)
    return code


def _end(verdicts: Sequence[Verdict]) -> int:
    print(table(sorted(verdicts, key=lambda each: (each.fault, each.case))))
    wrong = [verdict.case for verdict in verdicts if verdict.is_wrong]
    if wrong:
        print("wrong, each to be run again by --case:", *wrong, sep="\n  ")
    return 1 if wrong else 0


def _in_lanes(options: argparse.Namespace, results: Results) -> None:
    given = [case for case in options.case if not case.startswith(f"{toppling.NAME}/")]
    families = [family for family in options.family if family != toppling.NAME]
    if not given and (options.case or not families):
        return
    with running() as stores, contextlib.ExitStack() as stack:
        known, runs = dict[str, Known](), KnownRuns()
        places = [Place(stores, known, runs) for _ in range(options.lanes)]
        for place in places:
            stack.enter_context(place.lane)
            stack.enter_context(place.bench)
        cases = given or [case for family in families for case in _cases(family, options, places[0].lane)]
        if options.list:
            print(*cases, sep="\n")
            return
        free = list(places)

        def run(case: str) -> None:
            place = free.pop()
            try:
                results.add(place.run(case))
            except Exception as error:
                raise RuntimeError(f"{case}: the laboratory failed") from error
            finally:
                free.append(place)

        with ThreadPoolExecutor(options.lanes) as threads:
            list(threads.map(run, cases))


def _cases(family: str, options: argparse.Namespace, lane: Lane) -> list[str]:
    size = _size(family, options)
    if family == answers.NAME:
        return answers.cases(lane, options.seed, size, options.only)
    make: Callable[[int, int], Iterator[str]] = modelling.cases if family == modelling.NAME else BENCHED[family].cases
    return [case for case in make(options.seed, size) if all(part in case for part in options.only)]


def _size(family: str, options: argparse.Namespace) -> int:
    """How many cases of a family: its share of those that were asked for."""
    if options.cases is None:
        return SIZES[family]
    cases: int = options.cases
    return max(1, round(cases * SIZES[family] / sum(SIZES[each] for each in options.family)))


def _topple(options: argparse.Namespace, results: Results) -> None:
    given = [case.split("/") for case in options.case if case.startswith(f"{toppling.NAME}/")]
    if options.list:
        return
    kills = max(1, round(_size(toppling.NAME, options) / len(toppling.PAIRS_KILLED))) if not given else 2
    with running(os.environ.get("COUCHDB_START", "")) as stores:
        runs = KnownRuns()
        for kind, server in stores.servers.items():
            pairs = [case[2] for case in given if case[1] == kind]
            pairs = (
                pairs
                if given
                else [pair for pair in toppling.pairs_of(kind) if _is_wanted(f"{toppling.NAME}/{kind}/{pair}", options)]
            )
            toppling.topple(stores, runs, server, kind, pairs, kills=kills, seed=options.seed, tell=results.add)


def _is_wanted(pair: str, options: argparse.Namespace) -> bool:
    return all(part in pair for part in options.only)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--family", action="append", choices=FAMILIES, help="only these; repeatable")
    parser.add_argument("--cases", type=int, help=f"how many of all families; {sum(SIZES.values())} by default")
    parser.add_argument("--seed", type=int, default=1, help="which cases are chosen, and what chance does in them")
    parser.add_argument("--only", action="append", default=[], help="cases whose id has this in it; repeatable")
    parser.add_argument("--case", action="append", default=[], metavar="ID", help="this case alone; repeatable")
    parser.add_argument(
        "--lanes", type=int, default=2, help="how many cases at once, beside the servers that are killed"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="add every verdict there, a line of JSON each")
    parser.add_argument("--sum", type=Path, nargs="+", metavar="FILE", help="run nothing; the table of such files")
    parser.add_argument("--list", action="store_true", help="print the ids of the cases, and run none")
    parser.add_argument("--verbose", action="store_true", help="tell every case")
    options = parser.parse_args()
    options.family = options.family or list(FAMILIES)
    return options


if __name__ == "__main__":
    sys.exit(main())
