"""A model: whatever happens to two stores and a job between them, what the engine reports is true.

    python -m tests.faults.model --runs 10000 [--seed S] [--processes 2]

runs many, prints how often what happened and what came of it, and the smallest example of each failure.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from migrator.activations.selection import Selection
from tests.faults.model_stores import EVIDENCE, FOR_GOOD, NOTES, READS, WRITES, Fault
from tests.faults.model_world import NUMBERS, VERSIONS, World, id_of

COUNTS: Counter[str] = Counter()
_CHUNK = 100  # runs of one seed

numbers = st.integers(0, NUMBERS - 1)
versions = st.integers(0, VERSIONS - 1)
choices = st.integers(0, NUMBERS * VERSIONS - 1)  # a document in a version
times = st.sampled_from([1, 1, 1, 2, 5, FOR_GOOD])
nth = st.sampled_from([1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20])

_HAPPENINGS = ("put", "put", "put", "delete", "replace source", "replace target", "foreign", "foreign delete")
_ENDS = ("kill before", "kill after", "kill after", "stop")
_FAILS = ("unavailable", "unavailable", "lost answer", "denied")
_READS = ("drop", "double", "repeat", "end early")
_REFUSALS = (
    "refuse 400",
    "refuse 413",
    "refuse 500",
    "limit",
    "kill midway",
    "defer",
    "defer all",
    "lose",
)


def _faults(operations: list[str], kinds: tuple[str, ...]) -> st.SearchStrategy[Fault]:
    return st.builds(
        Fault,
        at=st.sampled_from(operations),
        do=st.sampled_from(kinds),
        nth=nth,
        n=choices,
        times=times if kinds not in (_HAPPENINGS, _ENDS) else st.just(1),
    )


_calls = [f"reader.{each}" for each in READS] + [f"writer.{each}" for each in WRITES]
_notes = [f"checkpoint.{each}" for each in NOTES]
_sides = [f"{side}.{each}" for side in "ab" for each in ("describe", "plan_verification", "read", "fetch", "census")]
_repeated = ["reader.read", "writer.write", "writer.flush", "writer.describe", "checkpoint.commit"]
_BREAKS = [(at, do) for at in _repeated for do in ("kill before", "kill after", "stop")]
_BREAKS += [("checkpoint.commit", "unavailable"), ("writer.flush", "lost answer"), ("writer.flush", "unavailable")]
_LIES = [("reader.read", do) for do in _READS] + [("writer.write", "lose")] * 2
copy_faults = st.lists(
    st.one_of(
        _faults([*_repeated, "reader.catch_up"], _HAPPENINGS),
        _faults(_calls + _notes, _HAPPENINGS),
        _faults(_repeated, _ENDS),
        _faults(_calls + _notes, _ENDS),
        _faults(_calls, _FAILS),
        _faults(["checkpoint.commit", *_notes], ("unavailable",)),
        _faults(["reader.read"], _READS),
        _faults(["writer.write"], _REFUSALS),
    ),
    min_size=1,
    max_size=4,
)
verify_faults = st.lists(
    st.one_of(
        _faults(_sides, ("put", "delete", "foreign", "foreign delete")),
        _faults(_sides + [f"evidence.{each}" for each in EVIDENCE], _ENDS),
        _faults(_sides, ("unavailable", "lost answer")),
        _faults(["a.read", "b.read"], _READS),
    ),
    max_size=2,
)
selections = st.sampled_from([Selection(), Selection(), Selection(namespaces=("guest",))])


class Model(RuleBasedStateMachine):
    """A source, a target, a job, and everything that happens to them."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="model-"))
        self.world = World(None)

    @initialize(
        in_file=st.booleans(),
        parts=st.sampled_from([False, False, True]),
        has_identity=st.booleans(),
        volatile=st.booleans(),
        selection=selections,
        on_conflict=st.sampled_from(["skip", "skip", "overwrite", "fail"]),
        eager=st.booleans(),
        page=st.integers(1, 3),
        slice_documents=st.integers(2, 8),
        documents=st.lists(numbers, min_size=5, unique=True),
        there=st.lists(choices, max_size=4),
    )
    def begin(self, *, in_file: bool, documents: list[int], there: list[int], **how: Any) -> None:
        COUNTS["runs of the model"] += 1
        self.world = World(self.folder if in_file else None, counts=COUNTS, **how)
        for choice in documents:
            self.world.happens("put", choice)
        for choice in there:
            self.world.happens("foreign", choice)
        COUNTS[f"target: {'parts' if how['parts'] else how['on_conflict']}"] += 1

    def _count(self, name: str) -> World:
        COUNTS[f"rule: {name}"] += 1
        return self.world

    @rule(some=st.lists(st.tuples(st.sampled_from(_HAPPENINGS), choices), min_size=1, max_size=6))
    def happen(self, some: list[tuple[str, int]]) -> None:
        """What others do while nothing runs."""
        for what, choice in some:
            self._count(what).happens(what, choice)

    @rule(
        rejects=st.lists(numbers, max_size=1),
        poison=st.lists(st.tuples(numbers, st.sampled_from([400, 413, 500])), max_size=1),
        drops=st.lists(numbers, max_size=1),
    )
    def worsen(self, rejects: list[int], poison: list[tuple[int, int]], drops: list[int]) -> None:
        """The target refuses some documents, or requests with them; the source conceals some. Until they are healed."""
        self.world.refusals.rejects = {id_of(n) for n in rejects}
        self.world.refusals.poison = {id_of(n): status for n, status in poison}
        self.world.lies.drops = {id_of(n) for n in drops}
        for name, given in (("target rejects", rejects), ("target refuses", poison), ("source conceals", drops)):
            COUNTS[f"rule: {name}"] += bool(given)

    @rule()
    def heal(self) -> None:
        self._count("heal").heal()

    @rule(faults=copy_faults, max_rejects=st.sampled_from([1, 10_000, 10_000]), increment=st.booleans())
    def copy(self, faults: list[Fault], max_rejects: int, increment: bool) -> None:
        self._count("copy").copy(*faults, max_rejects=max_rejects, increment=increment)

    @rule(faults=copy_faults)
    def copy_on(self, faults: list[Fault]) -> None:
        self._count("copy").copy(*faults)

    @rule(
        where=st.sampled_from(_BREAKS),
        nth=st.integers(1, 12),
        others=st.lists(_faults([*_repeated, "reader.catch_up"], _HAPPENINGS), max_size=3),
    )
    def break_off(self, where: tuple[str, str], nth: int, others: list[Fault]) -> None:
        """A run that ends in its middle, while others may write."""
        self._count("copy").copy(Fault(*where, nth), *others)

    @rule(where=st.sampled_from(_LIES), nth=st.integers(1, 8))
    def deceive(self, where: tuple[str, str], nth: int) -> None:
        """A job that begins, and one of its stores lies once."""
        self._count("copy of a liar").restart()
        self.world.copy(Fault(*where, nth))

    @rule(n=numbers, at=st.integers(1, 12))
    def replace_in_the_middle(self, n: int, at: int) -> None:
        """A store is replaced while a run goes on that would otherwise end well."""
        place = ("writer.write", "reader.read", "checkpoint.commit", "writer.finish")[n % 4]
        store = "replace source" if n % 3 == 0 else "replace target"
        self._count("copy").copy(Fault(place, store, at if place != "writer.finish" else 1))

    @rule(faults=st.lists(_faults(["writer.write", "writer.flush", "writer.finish"], _ENDS + _FAILS), max_size=1))
    def retry_rejected(self, faults: list[Fault]) -> None:
        self._count("retry-rejected").retry_rejected(*faults)

    @rule()
    def restart(self) -> None:
        self._count("--restart").restart()

    @rule(n=numbers, side=st.sampled_from("ab"))
    def verify_what_is_concealed(self, n: int, side: str) -> None:
        """A document is on one side only, and that side's pages leave it out."""
        world = self._count("verify")
        world.happens("foreign delete" if side == "a" else "delete", n)
        world.verify(**{f"drops_{side}": [n]})

    @rule(faults=verify_faults, a=st.lists(numbers, max_size=1), b=st.lists(numbers, max_size=1))
    def verify(self, faults: list[Fault], a: list[int], b: list[int]) -> None:
        self._count("verify").verify(*faults, drops_a=a, drops_b=[] if a else b)

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None:
                self.world.settle()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


PROFILE = settings(
    max_examples=60,
    stateful_step_count=10,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)


def run_chunk(chunk: tuple[int, int]) -> tuple[int, Counter[str], str]:
    """Run the model some times from a seed; the counts and the failure, empty where there is none."""
    number, runs = chunk
    COUNTS.clear()
    profile = settings(PROFILE, max_examples=runs, phases=(Phase.generate, Phase.shrink))
    failure = ""
    try:
        run_state_machine_as_test(seed(number)(type("Model", (Model,), {})), settings=profile)
    except BaseException as error:  # noqa: BLE001  whatever it is, it is reported
        failure = "".join(traceback.format_exception(error, limit=-4))
    return number, Counter(COUNTS), failure


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.model", description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    chunks = [
        (options.seed + number, min(_CHUNK, options.runs - at))
        for number, at in enumerate(range(0, options.runs, _CHUNK))
    ]
    began_s, total, failures = time.monotonic(), Counter[str](), 0
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for number, counts, failure in pool.imap_unordered(run_chunk, chunks):
            total += counts
            print(f"seed {number}: {counts['runs of the model']} runs", file=sys.stderr, flush=True)
            if failure:
                failures += 1
                print(f"\nseed {number} fails: --runs {_CHUNK} --seed {number}\n{failure}", flush=True)
    for name, count in sorted(total.items()):
        print(f"{count:9,}  {name}")
    print(f"{failures} of {len(chunks)} seeds fail; {time.monotonic() - began_s:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
