"""Tests and commands that wait for ever: they end, the others run, and what they waited for is shown."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.support.forked import run_forked, run_forked_text

ROOT = Path(__file__).parents[1]
HANGING = """
import threading

def test_that_tidies_up_for_ever():
    try:
        threading.Event().wait()
    finally:
        threading.Event().wait()

def test_beside_it():
    pass
"""


@pytest.mark.slow
def test_a_test_that_its_time_limit_does_not_end_is_shown_and_ends(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(HANGING)
    words = ["-n", "1", "--max-worker-restart", "1", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml")]
    limits = [f"--rootdir={tmp_path}", "-o", "timeout=1", "-o", "faulthandler_timeout=2", str(tmp_path)]
    command = [sys.executable, "-m", "pytest", *words, *limits]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    ended = subprocess.run(command, cwd=ROOT, env=kept, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1, ended.stdout
    assert "crashed while running 'test_it.py::test_that_tidies_up_for_ever" in ended.stdout
    assert "1 passed" in ended.stdout
    assert "in test_that_tidies_up_for_ever" in ended.stderr


def test_a_command_that_hangs_shows_where_and_the_next_one_runs() -> None:
    def give_up(*_: object) -> None:
        raise TimeoutError

    run_forked(program="pass")  # so that what forks is there
    usual = signal.signal(signal.SIGUSR1, give_up)
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    try:
        with pytest.raises(TimeoutError) as caught:
            run_forked(program="import threading; threading.Event().wait()")
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, usual)
    assert "threading.py" in caught.value.__notes__[0]
    assert run_forked_text(program="print('here')").stdout == "here\n"
