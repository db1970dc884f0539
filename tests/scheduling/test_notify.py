"""Pings and the command: what is told to whom, and that nobody's silence fails a run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from migrator.locations import Secret
from migrator.scheduling import notify
from migrator.scheduling.files import Notify
from migrator.scheduling.notify import ping, run_command
from tests.scheduling.daemons import hearing

REPORT = {"schedule": "nightly", "outcome": "complete"}


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "_PAUSE_S", 0.0)


@pytest.fixture
def told() -> list[str]:
    return []


def test_pings_go_where_healthchecks_has_them(tmp_path: Path, told: list[str]) -> None:
    """The address itself means success; a query stays where it is; other addresses are taken as they are."""
    with hearing() as (address, heard):
        settings = Notify(ping=Secret(f"{address}/uuid/?rid=1"), failure=Secret(f"{address}/other"))
        for event in ("start", "success", "failure"):
            ping(settings, event, "nightly: well", tmp_path, told.append)
    assert [path for path, _ in heard] == ["/uuid/start?rid=1", "/uuid?rid=1", "/other"]
    assert {text for _, text in heard} == {"nightly: well"}
    assert told == []


def test_the_address_comes_from_a_file_or_the_environment(
    tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with hearing() as (address, heard):
        (tmp_path / "url").write_text(f"{address}/file\n")
        (tmp_path / "url").chmod(0o600)
        monkeypatch.setenv("PING_URL", f"{address}/environment")
        ping(Notify(ping_file="url"), "success", "", tmp_path, told.append)
        ping(Notify(ping_env="PING_URL"), "failure", "", tmp_path, told.append)
    assert [path for path, _ in heard] == ["/file", "/environment/fail"]


def test_who_can_not_be_reached_is_named_without_the_address(tmp_path: Path, told: list[str]) -> None:
    """After three tries, and without an exception."""
    ping(Notify(ping=Secret("http://127.0.0.1:9/kanarienvogel")), "failure", "", tmp_path, told.append)
    ping(Notify(ping_file="nothing"), "failure", "", tmp_path, told.append)
    (tmp_path / "wrong").write_text("kanarienvogel")
    (tmp_path / "wrong").chmod(0o600)
    ping(Notify(ping_file="wrong"), "failure", "", tmp_path, told.append)
    assert len(told) == 3
    assert told[0].startswith("the failure couldn't be told to 127.0.0.1: ")
    assert "No such file" in told[1]
    assert "doesn't begin with https://" in told[2]
    assert "kanarienvogel" not in "".join(told)


def test_the_command_gets_the_report(tmp_path: Path, told: list[str]) -> None:
    """On its stdin, in the folder of the schedule, with the schedule and the event in its environment."""
    script = (
        "import json, os, sys; json.dump([json.load(sys.stdin), os.environ['MIGRATOR_SCHEDULE'], "
        "os.environ['MIGRATOR_EVENT']], open('heard', 'w'))"
    )
    settings = Notify(command=(sys.executable, "-c", script), command_on=("failure",))
    run_command(settings, "success", REPORT, tmp_path, told.append)
    assert not (tmp_path / "heard").exists()
    run_command(settings, "failure", REPORT, tmp_path, told.append)
    assert json.loads((tmp_path / "heard").read_text()) == [REPORT, "nightly", "failure"]
    assert told == []


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (("/nowhere/notify",), "couldn't be started: No such file or directory"),
        ((sys.executable, "-c", "raise SystemExit(7)"), "ended with exit code 7"),
        ((sys.executable, "-c", "import time; time.sleep(60)"), "was ended: it took longer than 1 s"),
        ((sys.executable, "-c", "import sys; sys.stdin.close()"), None),
    ],
)
def test_a_command_that_fails_is_told(
    tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], expected: str | None
) -> None:
    monkeypatch.setattr(notify, "_COMMAND_S", 1.0 if "time" in command[-1] else 60.0)
    run_command(Notify(command=command), "success", {**REPORT, "long": "x" * 1_000_000}, tmp_path, told.append)
    assert len(told) == (expected is not None)
    assert expected is None or expected in told[0]
