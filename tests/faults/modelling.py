"""The model's runs as cases: so many of one seed, in a process of their own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

from tests.faults.verdict import Verdict

NAME = "model"
SIZE = 300
_RUNS = 30


def cases(seed: int, size: int) -> Iterator[str]:
    for number, at in enumerate(range(0, size, _RUNS)):
        yield f"{NAME}/{min(_RUNS, size - at)}/{seed * 10_000 + number}"


def run(case: str) -> Verdict:
    _, runs, seed = case.split("/")
    began_s = time.monotonic()
    words = ("--runs", runs, "--seed", seed, "--processes", "1")
    ended = subprocess.run([sys.executable, "-m", "tests.faults.model", *words], capture_output=True, text=True)
    verdict = Verdict(case=case, fault="model of engine and stores", seed=int(seed), exit_code=0, applied=1)
    verdict.cases = int(runs)
    verdict.seconds = time.monotonic() - began_s
    if ended.returncode:
        verdict.text = (ended.stdout + ended.stderr)[-6_000:]
        verdict.wrong_same = "verify says the same" in verdict.text
        verdict.missing = int("neither in the target nor kept" in verdict.text or "fewer are there" in verdict.text)
        verdict.unexpected = not verdict.is_wrong
    return verdict
