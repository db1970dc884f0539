"""The disk is full under the state folder and under what is written, at any operation; then there is room again.

Told by a hook in the process, at exactly the nth operation, or by a file system of a few kilobytes (as root only). The
run waits, or ends with 5; afterwards the same command ends as if nothing had been.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.faults.bench import Bench, each_pair, judged, note
from tests.faults.hooks import Fault
from tests.faults.operations import Outcome
from tests.faults.verdict import Verdict

NAME = "disk"
SIZE = 320
_HOWS = ("point", "small")
_ROOM = "64m"


def cases(seed: int, size: int) -> Iterator[str]:
    return each_pair(NAME, _HOWS, seed, size)


def run(bench: Bench, case: str) -> Verdict:
    _, pair, how, seed = case.split("/")
    chance = random.Random(case)
    unbroken = bench.unbroken(pair)
    with contextlib.ExitStack() as stack:
        within, fault = None, Fault()
        if how == "small":
            within = stack.enter_context(_small_disk(chance.choice((8, 16, 24, 40, 64, 96, 128, 192, 256))))
            if within is None:
                return Verdict(case=case, fault="disk full: a small one", seed=int(seed))
        else:
            first = chance.randint(1, max(1, unbroken.of_room))
            fault = Fault(do="full", nth=first, times=chance.choice((1, 3, 0)))
        name = "disk full: a small one" if how == "small" else "disk full: at the nth operation"
        try:
            job = stack.enter_context(bench.job(pair, within=within))
        except OSError:
            return Verdict(case=case, fault=name, seed=int(seed))  # not even room for its folder
        with judged(case, name, int(seed), job) as verdict:
            outcome = bench.run(job.words(), bench.stores.folder / job.folder.name, fault=fault)
            note(verdict, job, outcome)
            verdict.applied = _befell(outcome, how)
            verdict.wrong_exit |= outcome.exit_code not in (0, 1, 5)
            if verdict.wrong_exit:
                verdict.text = outcome.text
            if outcome.exit_code == 0:
                bench.judge_target(verdict, job)
            if within is not None:
                subprocess.run(["mount", "-o", f"remount,size={_ROOM}", str(within)], check=True)
            bench.judge_end(verdict, job)
    return verdict


def _befell(outcome: Outcome, how: str) -> int:
    return int(outcome.exit_code != 0) if how == "small" else outcome.applied


@contextlib.contextmanager
def _small_disk(kilobytes: int) -> Iterator[Path | None]:
    """A file system with this much room; None where this user can't mount one."""
    with tempfile.TemporaryDirectory(prefix="migrator-disk-", ignore_cleanup_errors=True) as name:
        if (
            os.geteuid()
            or subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "migrator-disk", name], capture_output=True
            ).returncode
        ):
            yield None
            return
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", name], check=True)
