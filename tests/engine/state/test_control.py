"""A running job is asked to read slower, to pause and to go on; one that doesn't run is asked nothing."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from migrator.activations.requests import JobRequest
from migrator.adapters.wrappers.rates import parse_timetable
from migrator.adapters.wrappers.throttled import Asked, Throttle
from migrator.commands.main import migrator
from migrator.engine.state import control
from migrator.engine.state.checkpoint import JobSpec
from migrator.engine.state.control import Control, control_job, controlled
from migrator.engine.state.jobs import find_job, open_job
from migrator.engine.state.live import Watched, read_live
from migrator.errors import UsageError
from migrator.events import Controlled, Event
from migrator.events.watching import Stop

REQUEST = JobRequest(verb="copy", source="a", target="b")
SPEC = JobSpec(id="0123456789ab", source_identity="a", target_identity="b", request=REQUEST)


class Running:
    """A run that reads one document after the other until it is stopped."""

    def __init__(self, state: Path, request: JobRequest = REQUEST) -> None:
        self.events: list[Event] = []
        self.read = 0
        self._stop = Stop()
        self._job = open_job(state, SPEC)
        self._watched = Watched(lambda _: None, self.events.append)
        self._throttle = Throttle(parse_timetable("off"), sleep=self._stop.sleep)
        self._request = request
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        job = self._job
        with (
            self._watched.noted(job.folder, "job", SPEC.id, self._request),
            controlled(job.folder, self._throttle, self._watched.tell),
        ):
            self._begun.set()
            while not self._stop.asked:
                try:
                    self._throttle.hold_back(1, 1000)
                    self.read += 1
                    self._stop.sleep(0.01)
                except Exception:  # noqa: BLE001  asked to stop in a pause
                    return

    def __enter__(self) -> Running:
        self._thread.start()
        self._begun.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.ask()
        self._thread.join()
        self._job.close()


def command(state: Path, *words: str) -> Any:
    return CliRunner().invoke(migrator, ["control", "0123", *words, "--state", str(state)])


def test_a_running_job_takes_what_is_asked(tmp_path: Path) -> None:
    """Each comes as an event; what isn't given stays."""
    with Running(tmp_path) as running:
        ended = command(tmp_path, "--max-rate", "20MB/s")
        assert (ended.exit_code, ended.output) == (0, "job 0123456789ab: reading, at most 20MB/s\n")
        ended = command(tmp_path, "--pause")
        assert (ended.exit_code, ended.output) == (0, "job 0123456789ab: paused, at most 20MB/s\n")
        live = read_live(tmp_path / "jobs" / SPEC.id)
        assert live is not None
        assert live.waiting == "paused by `migrator control`"
        before = running.read
        ended = command(tmp_path, "--resume", "--max-rate", "off", "--json")
        assert ended.exit_code == 0
        assert '"paused": false' in ended.output.replace('":', '": ').replace("  ", " ")
        assert running.events == [
            Controlled(max_rate="20.0 MB/s", paused=False),
            Controlled(max_rate="20.0 MB/s", paused=True),
            Controlled(max_rate="no limit", paused=False),
        ]
        assert before <= running.read
    assert not list((tmp_path / "jobs" / SPEC.id).glob("control*"))


def test_a_pause_leaves_the_rate_and_is_taken_once(tmp_path: Path) -> None:
    """However often the run looks at what is asked."""
    told: list[Event] = []
    throttle = Throttle(parse_timetable("off"), sleep=lambda _: None)
    with controlled(tmp_path, throttle, told.append):
        listener = control._Listener(tmp_path, told.append)
        assert listener.look() == Asked()
        control._write(tmp_path / "control.json", Control(serial="x", paused=True))
        for _ in range(3):
            asked = listener.look()
            assert (asked.timetable, asked.paused) == (None, True)
        assert told == [Controlled(max_rate=None, paused=True)]


def test_what_was_asked_of_an_earlier_run_is_gone(tmp_path: Path) -> None:
    """A job that was killed in a pause doesn't begin with one."""
    open_job(tmp_path, SPEC).close()
    folder = tmp_path / "jobs" / SPEC.id
    (folder / "control.json").write_text('{"serial":"x","paused":true}')
    with Running(tmp_path) as running:
        assert command(tmp_path, "--max-rate", "5").output == "job 0123456789ab: reading, at most 5\n"
    assert running.events == [Controlled(max_rate="5 documents/s", paused=False)]


def test_a_job_that_does_not_run_is_not_controlled(tmp_path: Path) -> None:
    """Nor one that other processes carry, nor with nothing to ask, nor at a rate that is none."""
    open_job(tmp_path, SPEC).close()
    ended = command(tmp_path, "--pause")
    assert ended.exit_code == 2
    with pytest.raises(UsageError) as refused:
        control_job(find_job(tmp_path, "0123"), paused=True)
    assert str(refused.value) == (
        "job 0123456789ab isn't running, so there is nothing to control; give `max_rate` to the command that runs it"
    )
    with pytest.raises(UsageError, match=r"^give `max_rate`, `pause` or `resume`$"):
        control_job(find_job(tmp_path, "0123"))
    assert command(tmp_path, "--pause", "--resume").exit_code == 2
    ended = command(tmp_path)
    assert ended.exit_code == 2
    assert "give --max-rate, --pause or --resume" in ended.stderr
    elsewhere = JobRequest(verb="copy", source="a", target="b", options={"executor": "processes"})
    with Running(tmp_path, elsewhere):
        job = find_job(tmp_path, "0123")
        told = r"^job 0123456789ab runs with `executor=processes`: only threads can be controlled$"
        with pytest.raises(UsageError, match=told):
            control_job(job, paused=True)
        assert command(tmp_path, "--max-rate", "quick").exit_code == 2


def test_what_no_run_takes_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is planning looks when it reads its first page."""
    monkeypatch.setattr(control, "_TAKEN_S", 0.2)
    job = open_job(tmp_path, SPEC)
    ended = command(tmp_path, "--pause")
    job.close()
    assert ended.exit_code == 0
    assert ended.output == "job 0123456789ab: paused; the run takes it when it reads its next page\n"
