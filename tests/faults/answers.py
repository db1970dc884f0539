"""Alters every kind of answer that the migrator gets, and looks whether a document is lost with a clean exit.

usage: python -m tests.faults.answers [--cases N] [--only TEXT] [--seed S] [--case ID] [--again FILE] [--list]

Every case is an operation (copy, backup, restore, verify, find, stats, detect) on one store or two, with one kind of
answer of one of them altered once or always. The servers of the demo are started, and a scripted CouchDB.

Exit code 1 where a document is missing, altered or doubled after a run that said all was well, where a verification
says that two stores are the same which aren't, where a search or a count finds less than there is, where a mere limit
of a proxy keeps a run from its end, where one hangs, or ends with an error that nobody foresaw.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import msgspec

from migrator.demo import servers
from tests.faults.alterations import ALL_KINDS, ALTERATIONS
from tests.faults.laboratory import DIRECTIONS, Case, Direction, Known, Lane, Stores, Verdict, opened, parse_case

CASES = 900
LANES = 2
_NUMBERS = ("once-1", "once-2", "once-last")
_REPEATED = ("previous", "stale")
_LOOKING = ("stats", "detect")  # they tell what a server counts, and have nothing to hold it against
_BELIEVED = (*_REPEATED, "object", "404-missing")  # of which only such a look would tell
_SHOWN = {
    *("failed-shard", "timed-out", "shard-missing"),
    *(each.name for each in ALTERATIONS if each.kinds is None and each.name not in _BELIEVED),
}


def cases_of(direction: Direction, known: Known) -> Iterator[Case]:
    """All cases of a direction, in an order that doesn't change."""
    for kind, requests in [(ALL_KINDS, 1), *sorted(known.kinds.items())]:
        numbers = _NUMBERS if requests > 2 else _NUMBERS[:requests]
        for alteration in ALTERATIONS:
            if alteration.fits(kind) and (direction.operation not in _LOOKING or alteration.name in _SHOWN):
                # What befalls any answer alike befalls the first as the last.
                some = numbers[:1] if alteration.kinds is None and alteration.name not in _REPEATED else numbers
                times = ("always",) if alteration.always_only or kind == ALL_KINDS else (*some, "always")
                yield from (Case(direction, kind, alteration.name, each) for each in times)


def chosen(everything: Sequence[Case], options: argparse.Namespace) -> list[Case]:
    """The cases to run: a fair choice by seed, with the faults of rows and counts before those of every answer."""
    wanted = [case for case in everything if not options.only or all(part in case.id for part in options.only)]
    if not options.cases or options.cases >= len(wanted):
        return wanted
    chance = random.Random(options.seed)
    special = {alteration.name for alteration in ALTERATIONS if alteration.kinds is not None}
    ordered = sorted(wanted, key=lambda case: chance.random() * (0.3 if case.alteration in special else 1.0))
    taken = set(ordered[: options.cases])
    return [case for case in wanted if case in taken]


@contextlib.contextmanager
def running() -> Iterator[Stores]:
    """The servers with the stores of the laboratory."""
    os.environ["MIGRATOR_CONFIG"] = os.devnull
    with tempfile.TemporaryDirectory(prefix="migrator-faults-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        with (
            servers.couchdb(folder=folder / "couchdb") as couchdb,
            servers.elasticsearch("6.7.2", folder=folder / "elasticsearch") as search,
            opened(folder, couchdb.port, search.port) as stores,
        ):
            yield stores


def main() -> int:
    options = _options()
    began_s = time.monotonic()
    with running() as stores, contextlib.ExitStack() as stack:
        known: dict[str, Known] = {}
        lanes: SimpleQueue[Lane] = SimpleQueue()
        made = [stack.enter_context(Lane(stores, known)) for _ in range(options.lanes)]
        given = [*options.case, *(_wrong_in(options.again) if options.again else [])]
        if given:
            cases = [parse_case(id) for id in given]
        else:
            wanted = [each for each in DIRECTIONS if _may_be(each, options.only)]
            everything = [case for each in wanted for case in cases_of(each, made[0].known(each))]
            cases = chosen(everything, options)
        if options.list:
            print(*(case.id for case in cases), sep="\n")
            return 0
        for lane in made:
            lanes.put(lane)
        done = Counter[str]()

        def run(case: Case) -> Verdict:
            lane = lanes.get()
            try:
                verdict = lane.run(case)
            except Exception as error:
                raise RuntimeError(f"{case.id}: the laboratory failed") from error
            finally:
                lanes.put(lane)
            _tell(verdict, whole=bool(options.case), verbose=options.verbose or bool(given))
            if options.output:
                with options.output.open("ab") as file:
                    file.write(msgspec.json.encode(verdict) + b"\n")
            done["cases"] += 1
            if done["cases"] % 50 == 0:
                print(f"{done['cases']} of {len(cases)} cases, {time.monotonic() - began_s:.0f} s", flush=True)
            return verdict

        with ThreadPoolExecutor(options.lanes) as threads:
            verdicts = list(threads.map(run, cases))
    print(table(verdicts))
    print(f"{time.monotonic() - began_s:.0f} s")
    return 1 if any(verdict.is_wrong for verdict in verdicts) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=CASES, help=f"how many, 0 for all; {CASES} by default")
    parser.add_argument("--only", action="append", default=[], help="cases whose id has this in it; repeatable")
    parser.add_argument("--seed", type=int, default=1, help="which cases are chosen")
    parser.add_argument("--case", action="append", default=[], metavar="ID", help="this case alone; repeatable")
    parser.add_argument(
        "--again", type=Path, metavar="FILE", help="the cases that were wrong in such a file (--output)"
    )
    parser.add_argument("--lanes", type=int, default=LANES, help="how many cases at once")
    parser.add_argument("--list", action="store_true", help="print the ids of the cases, and run none")
    parser.add_argument("--verbose", action="store_true", help="tell every case")
    parser.add_argument("--output", type=Path, metavar="FILE", help="add every verdict there, a line of JSON each")
    return parser.parse_args()


def _wrong_in(output: Path) -> list[str]:
    verdicts = (msgspec.json.decode(line, type=Verdict) for line in output.read_bytes().splitlines())
    return [case for case, verdict in {each.case: each for each in verdicts}.items() if verdict.is_wrong]


def _may_be(direction: Direction, only: Sequence[str]) -> bool:
    """Whether a case of this direction can have all the texts in its id, so that others needn't be tried out."""
    names = [part for part in only if part in direction.name]
    return bool(names) or not any(_is_of_direction(part) for part in only)


def _is_of_direction(text: str) -> bool:
    return any(text in direction.name for direction in DIRECTIONS)


def _tell(verdict: Verdict, *, whole: bool, verbose: bool) -> None:
    if not (verdict.is_wrong or verbose):
        return
    found = " ".join(f"{name}={getattr(verdict, name):d}" for name in _COLUMNS if getattr(verdict, name))
    text = verdict.text if whole else _in_short(verdict)
    print(f"{verdict.case}: exit {verdict.exit_code}, {found or 'right'} ({verdict.seconds:.1f} s) {text}", flush=True)


def _in_short(verdict: Verdict) -> str:
    """Of a traceback its last line, of the stacks of a run that hung our own innermost frames."""
    lines = [line.strip() for line in verdict.text.splitlines() if line.strip()]
    if verdict.hung:
        ours = [line for line in lines if "/migrator/" in line]
        return "; ".join(line.rpartition("/migrator/")[2] for line in ours[:3])
    return (lines[-1] if verdict.unexpected and lines else verdict.text)[:300]


_COLUMNS = ("missing", "altered", "doubled", "wrong_same", "wrong_none", "stuck", "hung", "unexpected")


def table(verdicts: Sequence[Verdict]) -> str:
    """By direction: how many cases, and in how many of them what went wrong."""
    by_direction: dict[str, Counter[str]] = {}
    for verdict in verdicts:
        direction = "/".join(verdict.case.split("/")[:2])
        for counts in (by_direction.setdefault(direction, Counter()), by_direction.setdefault("all", Counter())):
            counts["cases"] += bool(verdict.applied)
            counts["unaltered"] += not verdict.applied
            counts["stopped"] += verdict.stopped
            counts.update(name for name in _COLUMNS if getattr(verdict, name))
    columns = ("cases", *_COLUMNS, "stopped", "unaltered")
    total = by_direction.pop("all", Counter())
    width = max([len(name) for name in by_direction] + [10])
    lines = ["".join([" " * width, *(name.rjust(12) for name in columns)])]
    for name, counts in [*by_direction.items(), ("all", total)]:
        lines.append("".join([name.ljust(width), *(str(counts[column]).rjust(12) for column in columns)]))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
