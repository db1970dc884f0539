"""The tool is killed with SIGKILL: before any operation on files, around any request, or at any moment; and goes on.

The same command is given again until it ends. Between any two stores, what is there then is what a run without a kill
writes, byte by byte, each document once; an archive is whole.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.faults.bench import Bench, each_pair, judged, note
from tests.faults.hooks import Fault
from tests.faults.verdict import Verdict

NAME = "kill"
SIZE = 16 * 60
_HOWS = ("point", "point", "moment")


def cases(seed: int, size: int) -> Iterator[str]:
    """Ids of cases: all pairs in turn."""
    return each_pair(NAME, _HOWS, seed, size)


def run(bench: Bench, case: str) -> Verdict:
    _, pair, how, seed = case.split("/")
    chance = random.Random(case)
    unbroken = bench.unbroken(pair)
    with bench.job(pair) as job, judged(case, f"SIGKILL of the tool, {pair}", int(seed), job) as verdict:
        for number in range(chance.choice((1, 1, 2, 3))):
            fault, after_s = Fault(), None
            if how == "point":
                fault = Fault(do="kill", nth=chance.randint(1, max(1, unbroken.points >> number)))
            else:
                after_s = chance.uniform(0.01, unbroken.seconds * 0.8)
            outcome = bench.run(job.words(), job.folder, fault=fault, kill_after_s=after_s)
            note(verdict, job, outcome)
            verdict.applied += outcome.killed
            if not outcome.killed:
                break
        bench.judge_end(verdict, job)
        verdict.stopped = False  # by a kill nothing is said
    return verdict
