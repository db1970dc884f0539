"""The clock is wrong, and jumps in the middle of a run: chains of backups, retention, copies.

What is restored afterwards is what the source holds, and retention keeps the newest backup.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from tests.faults.bench import PAIRS, Bench, Job, judged, note
from tests.faults.hooks import Fault
from tests.faults.places import ArchivePlace, CouchDBPlace, Place
from tests.faults.verdict import Verdict

NAME = "clock"
SIZE = 160
_WRONG_S = tuple(sign * seconds for sign in (1, -1) for seconds in (1.0, 3 * 3600.0, 30 * 86_400.0, 5 * 365 * 86_400.0))
_FIRST, _MORE = 60, 20


def cases(seed: int, size: int) -> Iterator[str]:
    for number in range(size):
        what = "chain" if number % 2 else "copy-" + PAIRS[number // 2 % len(PAIRS)]
        yield f"{NAME}/{what}/{seed * 10_000 + number // 2}"


def run(bench: Bench, case: str) -> Verdict:
    _, what, seed = case.split("/")
    chance = random.Random(case)
    pair = "scripted-archive" if what == "chain" else what.removeprefix("copy-")
    fault = "clock wrong: chains, retention" if what == "chain" else "clock wrong: copies"
    with bench.job(pair) as job, judged(case, fault, int(seed), job) as verdict:
        if what == "chain":
            _chain(bench, job, verdict, chance)
        else:
            points = bench.unbroken(pair).points
            outcome = bench.run(job.words(), job.folder, fault=_fault(chance, points))
            note(verdict, job, outcome)
            verdict.applied = outcome.applied
            verdict.wrong_exit |= outcome.exit_code not in (0, 1)
            verdict.text = outcome.text if outcome.exit_code else ""
            if outcome.exit_code == 0:
                bench.judge_target(verdict, job)
            bench.judge_end(verdict, job)  # and what it left is resumed by another clock
    return verdict


def _fault(chance: random.Random, points: int) -> Fault:
    jumps = chance.random() < 0.6
    return Fault(
        do="jump" if jumps else "",
        nth=chance.randint(1, max(1, points)),
        shift_s=chance.choice(_WRONG_S) if not jumps or chance.random() < 0.5 else 0.0,
        jump_s=chance.choice(_WRONG_S) if jumps else 0.0,
    )


def _chain(bench: Bench, job: Job, verdict: Verdict, chance: random.Random) -> None:
    """A first backup and some increments, each by a clock of its own, a prune between them, and a restore."""
    source = bench.stores.new("scripted")
    assert isinstance(source, CouchDBPlace)
    assert isinstance(job.target, ArchivePlace)
    bodies = list(bench.stores.bodies.items())
    try:
        for number in range(chance.choice((3, 4))):
            source.put(dict(bodies[:_FIRST] if not number else bodies[_FIRST + number * _MORE :][:_MORE]))
            words = ("backup", source.location(), job.target.location(), "--state", str(job.state))
            mode = chance.choice(("auto", "auto", "full"))
            _expect(bench, job, verdict, [*words, "--mode", mode], _fault(chance, 120))
            if chance.random() < 0.5:
                rule = chance.choice((("--keep-last", "1"), ("--keep-daily", "2"), ("--keep-within", "7d")))
                prune: tuple[str, ...] = ("archive", "prune", job.target.location(), *rule)
                if chance.random() < 0.5:
                    prune = (*prune, "--unfinished-older-than", "1d")
                _expect(bench, job, verdict, list(prune), _fault(chance, 10))
        _expect(bench, job, verdict, ["archive", "check", job.target.location()], Fault())
        back = bench.stores.new("file", job.folder)
        words = ("restore", job.target.location(), back.location(), "--state", str(job.state / "back"))
        _expect(bench, job, verdict, list(words), _fault(chance, 30))
        _hold(verdict, source, back)
    finally:
        source.remove()


def _expect(bench: Bench, job: Job, verdict: Verdict, words: list[str], fault: Fault) -> None:
    outcome = bench.run(words, job.folder, fault=fault)
    note(verdict, job, outcome)
    verdict.applied += bool(outcome.applied)
    verdict.exit_code = outcome.exit_code
    if outcome.exit_code:
        verdict.wrong_exit = True
        verdict.text = verdict.text or f"{' '.join(words)}: {outcome.text}"


def _hold(verdict: Verdict, source: Place, back: Place) -> None:
    expected, found = source.contents(), back.contents()
    different: Any = [id for id, values in found.items() if id in expected and values[0] != expected[id][0]]
    verdict.missing += len(expected.keys() - found.keys())
    verdict.altered += len(different) + len(found.keys() - expected.keys())
    verdict.doubled += sum(len(values) > 1 for values in found.values())
