"""A bench for commands: fresh stores, the command line on them under a fault, and what came of it held against a run
without one."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.faults.hooks import Fault
from tests.faults.operations import Operation, Outcome, Runner
from tests.faults.places import ArchivePlace, Place, Raw
from tests.faults.secrets import leaks
from tests.faults.stores import DOCUMENTS, Stores
from tests.faults.verdict import EXPLAINED, Verdict

KINDS = ("couchdb", "es", "archive", "file")
PAIRS = tuple(f"{source}-{target}" for source in KINDS for target in KINDS)
LIMIT_S = 120.0


def each_pair(name: str, hows: Sequence[str], seed: int, size: int) -> Iterator[str]:
    """Ids of so many cases of a family: all pairs in turn, and for each pair all that may happen."""
    for number in range(size):
        pair, round = PAIRS[number % len(PAIRS)], number // len(PAIRS)
        yield f"{name}/{pair}/{hows[round % len(hows)]}/{seed * 10_000 + round}"


@dataclass
class Unbroken:
    """A run without a fault: what is in the target, how many operations it came by, and how long it took."""

    raw: Raw
    points: int
    of_room: int  # how many of the operations need room on the disk
    seconds: float


@dataclass
class Known:
    """The unbroken runs of all benches, by what was run."""

    runs: dict[str, Unbroken] = field(default_factory=dict)
    points: dict[str, int] = field(default_factory=dict)  # of other commands
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass
class Job:
    """A command on a fresh target, with a state of its own; `told` is all that its runs printed."""

    pair: str
    source: Place
    target: Place
    folder: Path
    told: list[str] = field(default_factory=list)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def words(self, *more: str) -> tuple[str, ...]:
        source, _, target = self.pair.partition("-")
        name = "backup" if target == "archive" else "restore" if source == "archive" else "copy"
        ends = (self.source.location(), self.target.location())
        # The servers are up, if slow on a busy machine; where one is killed, `more` says for how long it is waited for.
        return (name, *ends, "--state", str(self.state), "--retry-for", "20", *more)


class Bench:
    """One command at a time."""

    def __init__(self, stores: Stores, known: Known) -> None:
        self.stores = stores
        self.known = known
        self._runner = Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.__exit__(None, None, None)

    @contextlib.contextmanager
    def job(self, pair: str, *, within: Path | None = None) -> Iterator[Job]:
        """A job of this pair of kinds; its folder, or that which is given, and its target are removed afterwards."""
        source, _, target = pair.partition("-")
        folder = (within or self.stores.folder) / f"job-{uuid.uuid4().hex[:12]}"
        folder.mkdir()
        place = self.stores.new(target, within)
        try:
            yield Job(pair, self.stores.places[source, "all"], place, folder)
        finally:
            place.remove()
            shutil.rmtree(folder, ignore_errors=True)

    def run(
        self,
        words: Sequence[str],
        folder: Path,
        *,
        fault: Fault | None = None,
        kill_after_s: float | None = None,
        limit_s: float = LIMIT_S,
    ) -> Outcome:
        run = folder / "run"
        operation = Operation(folder=str(run), words=tuple(words), kill_after_s=kill_after_s, limit_s=limit_s)
        if fault is not None:
            operation.fault = fault
        return self._runner.run(operation)

    def unbroken(self, pair: str) -> Unbroken:
        """The run of a pair without a fault; asserts that it goes right."""
        with self.known.lock:
            if pair not in self.known.runs:
                with self.job(pair) as job:
                    outcome = self.run(job.words(), job.folder)
                    raw = job.target.raw()
                    assert outcome.exit_code == 0, outcome
                    assert len(raw) == DOCUMENTS, len(raw)
                    self.known.runs[pair] = Unbroken(raw, outcome.points, outcome.of_room, outcome.seconds)
            return self.known.runs[pair]

    def judge_end(self, verdict: Verdict, job: Job, *, restart: bool = False) -> None:
        """The same command again, without a fault, must end complete; then the target is looked at."""
        outcome = self.run(job.words(*(["--restart"] if restart else [])), job.folder)
        note(verdict, job, outcome)
        verdict.exit_code = outcome.exit_code
        # A job that is complete, or starts over, leaves a whole file as it is, and says so.
        there = outcome.exit_code == 2 and job.pair.endswith("-file") and "already exists" in outcome.text
        verdict.wrong_exit |= outcome.exit_code not in (0, 1, None) and not there
        verdict.text = verdict.text or (outcome.text if outcome.exit_code else "")
        if outcome.exit_code == 0 or there:
            self.judge_target(verdict, job)

    def judge_target(self, verdict: Verdict, job: Job) -> None:
        hold_against(verdict, self.unbroken(job.pair).raw, job.target.raw())
        if isinstance(job.target, ArchivePlace):
            checked = self.run(("archive", "check", job.target.location()), job.folder)
            if checked.exit_code:
                verdict.altered += 1
                verdict.text = f"archive check: {checked.text}"


def note(verdict: Verdict, job: Job, outcome: Outcome) -> None:
    """Whether a run hung or ended in a way that nothing explains, and what it printed."""
    job.told += outcome.told
    verdict.hung |= outcome.exit_code is None and not outcome.killed
    verdict.unexpected |= outcome.exit_code == 1 or any("Traceback (most recent" in text for text in outcome.told)
    verdict.wrong_exit |= outcome.exit_code is not None and outcome.exit_code not in EXPLAINED | {1, 2}
    verdict.stopped |= bool(outcome.exit_code)
    if verdict.hung or verdict.unexpected or verdict.wrong_exit:
        verdict.text = verdict.text or outcome.text


def hold_against(verdict: Verdict, expected: Raw, found: Raw) -> None:
    """Count what is missing, other than it was written without a fault, or there twice."""
    verdict.missing += len(expected.keys() - found.keys())
    verdict.altered += sum(bodies[0] != expected[id][0] for id, bodies in found.items() if id in expected)
    verdict.altered += len(found.keys() - expected.keys())
    verdict.doubled += sum(len(bodies) > 1 for bodies in found.values())


@contextlib.contextmanager
def judged(case: str, fault: str, seed: int, job: Job) -> Iterator[Verdict]:
    """A verdict that is timed, and whose job is searched for secrets at the end."""
    began_s = time.monotonic()
    verdict = Verdict(case=case, fault=fault, seed=seed)
    yield verdict
    found = leaks(job.told, job.folder)
    verdict.secrets += len(found)
    verdict.text = "; ".join([verdict.text, *found]) if found else verdict.text
    verdict.seconds = time.monotonic() - began_s
