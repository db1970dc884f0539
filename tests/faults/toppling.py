"""The servers are killed with SIGKILL and started again on their data, over and over, while jobs of every pair run.

One server is killed for all jobs that run on it just then; each counts a kill if it was in its middle. The same command
is given again while a server is away and afterwards, until it ends complete; then the target is looked at.

What a server acknowledged is still there after SIGKILL of the process: both write it to the system before they answer.
Another CouchDB than the local one is killed where `COUCHDB_START` names a command that starts one (`started`).
When a server is killed depends on the clock of the machine, so that a case that is run again isn't the very same.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
import traceback
from collections.abc import Callable, Sequence

from migrator.demo.servers import Server
from migrator.errors import Unavailable
from tests.faults.bench import PAIRS, Bench, Job, Known, judged, note
from tests.faults.started import Started
from tests.faults.stores import DOCUMENTS, Stores
from tests.faults.verdict import Verdict

NAME = "server"
KILLS = 50  # for each pair that the server has a part in
KINDS_KILLED = ("couchdb", "es")
PAIRS_KILLED = tuple((kind, pair) for kind in KINDS_KILLED for pair in PAIRS if kind in pair.split("-"))
_RUN_S = 6.0  # how long a copy lasts at its pace, if nothing happens
_UP_S = {"couchdb": (0.3, 1.5), "es": (1.0, 4.0)}  # between two kills, besides what a run takes that is left alone
_GIVE_UP_S = 900.0  # for one job


def pairs_of(kind: str) -> list[str]:
    return [pair for killed, pair in PAIRS_KILLED if killed == kind]


def topple(
    stores: Stores,
    known: Known,
    server: Server | Started,
    kind: str,
    wanted: Sequence[str],
    *,
    kills: int = KILLS,
    seed: int = 1,
    tell: Callable[[Verdict], None] = lambda _: None,
) -> list[Verdict]:
    """Kill the server until each of the pairs has had as many kills; a verdict for each job."""
    took_s = [0.0]
    with Bench(stores, known) as bench:
        for pair in wanted:
            began_s = time.monotonic()
            bench.unbroken(pair)
            took_s.append(time.monotonic() - began_s)
    # Where the machine is slow, a run must still get somewhere before the server is killed again: at its pace the whole
    # of an archive may be one batch.
    shortest_s, longest_s = (seconds + max(took_s) for seconds in _UP_S[kind])
    longest_s += _RUN_S
    calm = threading.Lock()  # who holds it finds the server at work
    workers = [_Worker(Bench(stores, known), calm, kind, pair, seed, kills, tell) for pair in wanted]
    for worker in workers:
        worker.start()
    chance = random.Random(f"{NAME} {kind} {seed}")
    try:
        while any(worker.is_alive() for worker in workers):
            time.sleep(chance.uniform(shortest_s, longest_s))
            if all(worker.enough for worker in workers):
                continue
            with calm:
                for worker in workers:
                    worker.count_kill()
                server.kill()
                time.sleep(chance.choice((0.0, 0.0, 1.5)))  # shorter or longer than what a run waits out
                server.start()
    finally:
        server.start()
        for worker in workers:
            worker.join()
    errors = [worker.error for worker in workers if worker.error]
    if errors:
        raise errors[0]
    return [verdict for worker in workers for verdict in worker.verdicts]


class _Worker(threading.Thread):
    """Runs jobs of one pair, one after the other, until the server was killed often enough in their middle."""

    def __init__(
        self,
        bench: Bench,
        calm: threading.Lock,
        kind: str,
        pair: str,
        seed: int,
        kills: int,
        tell: Callable[[Verdict], None],
    ) -> None:
        super().__init__(name=pair, daemon=True)
        self._bench, self._calm = bench, calm
        self._kind, self._pair, self._seed, self._kills, self._tell = kind, pair, seed, kills, tell
        self._began_s: float | None = None  # when the run that goes on was begun
        self._of_job = 0
        self.killed = 0
        self.verdicts: list[Verdict] = []
        self.error: BaseException | None = None

    @property
    def enough(self) -> bool:
        return self.killed >= self._kills

    def count_kill(self) -> None:
        began_s = self._began_s
        if began_s is not None and time.monotonic() > began_s + 0.3:
            self.killed += 1
            self._of_job += 1

    def run(self) -> None:
        try:
            with self._bench as bench:
                number = 0
                while not self.enough:
                    self.verdicts.append(self._job(bench, number))
                    self._tell(self.verdicts[-1])
                    number += 1
        except BaseException as error:  # noqa: BLE001  raised by `topple` once the others are done
            traceback.print_exc()
            self.error = error

    def _job(self, bench: Bench, number: int) -> Verdict:
        case = f"{NAME}/{self._kind}/{self._pair}/{self._seed * 10_000 + number}"
        chance = random.Random(case)
        name = "CouchDB" if self._kind == "couchdb" else "Elasticsearch"
        fault = f"SIGKILL of {name}, {self._pair}"
        self._of_job = 0
        with contextlib.ExitStack() as stack:
            calm = contextlib.ExitStack()
            stack.callback(calm.close)  # after the job was removed: for that the server must be at work
            with self._calm:
                job = stack.enter_context(bench.job(self._pair))
            verdict = stack.enter_context(judged(case, fault, number, job))
            rate = str(int(DOCUMENTS / _RUN_S))
            more = ("--max-rate", rate, "--retry-for", chance.choice(("1", "1", "60")))
            self._until_it_ends(bench, job, verdict, more)
            calm.enter_context(self._calm)
            if verdict.exit_code == 0:
                bench.judge_target(verdict, job)
            verdict.applied = verdict.cases = self._of_job
        return verdict

    def _until_it_ends(self, bench: Bench, job: Job, verdict: Verdict, more: Sequence[str]) -> None:
        until_s = time.monotonic() + _GIVE_UP_S
        while True:
            self._began_s = time.monotonic()
            outcome = bench.run(job.words(*more), job.folder, limit_s=_GIVE_UP_S)
            self._began_s = None
            note(verdict, job, outcome)
            if outcome.exit_code != Unavailable("").exit_code or time.monotonic() > until_s:
                break
            time.sleep(0.5)
        verdict.exit_code = outcome.exit_code
        verdict.wrong_exit |= outcome.exit_code not in (0, 1, None)
        verdict.text = verdict.text or (outcome.text if outcome.exit_code else "")
