"""One bad schedule stops one schedule, whatever its file holds and whatever its run does."""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from migrator.commands.main import migrator
from migrator.scheduling import daemon, files, overview, schema, tasks
from migrator.scheduling.daemon import Alarm
from migrator.scheduling.files import Broken, Found, Schedule
from migrator.scheduling.overview import status_of
from migrator.scheduling.planning import correct_handled, plan
from migrator.scheduling.state import Memory, State
from tests.support.virtual import World

GOOD = 'source = "memory:a"\ntarget = "archive:/nowhere"\n[when]\nevery = "1h"\n'
OVERFLOWING = GOOD.replace('"1h"', '"99999999d"')
NOW_S = 1_800_000_000.0


def run(folder: Path, *words: str) -> Result:
    environ = {"MIGRATOR_SCHEDULES": str(folder / "schedules"), "MIGRATOR_SOURCE_PASSWORD": ""}
    more = ["--state", str(folder / "state")] if words[0] == "list" else []
    return CliRunner().invoke(migrator, ["schedule", *words, *more], env=environ)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "schedules").mkdir()
    (tmp_path / "schedules" / "good.toml").write_text(GOOD)
    return tmp_path


# -- files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("when.every", OVERFLOWING),
        ("when.grace", f'{GOOD}grace = "99999999d"\n'),
        ("when.stale_after", f'{GOOD}stale_after = "3651d"\n'),
        ("limits.max_duration", f'{GOOD}[limits]\nmax_duration = "99999999w"\n'),
        ("limits.max_rejects", f"{GOOD}[limits]\nmax_rejects = 99999999999999999999\n"),
        ("limits.max_rate", f"{GOOD}[limits]\nmax_rate = inf\n"),
        ("limits.max_rate", f"{GOOD}[limits]\nmax_rate = nan\n"),
        ("limits.max_rate", f"{GOOD}[limits]\nmax_rate = 1e-300\n"),
        ("failure.retries", f"{GOOD}[failure]\nretries = 999999999\n"),
        ("failure.longest_wait", f'{GOOD}[failure]\nlongest_wait = "1{"0" * 5000}s"\n'),
        ("retention", f'{GOOD}[verification]\ncheck = "full"\n[retention]\nlast = 99999999999999999999\n'),
        ("select.since", f'{GOOD}[select]\nsince = "{"9" * 5000}"\n'),
        ("verification.on", f'{GOOD}[verification]\ncheck = "full"\non = "every {"9" * 5000} runs"\n'),
        ("a number that is too long", f"{GOOD}jitter = {'9' * 5000}\n"),
        ("too many brackets", f"x = {'[' * 5000}\n"),
    ],
)
def test_value_that_no_date_or_timer_holds_is_refused_by_its_name(folder: Path, key: str, text: str) -> None:
    """`check` refuses it; `list` shows it as broken, and the others as they are."""
    (folder / "schedules" / "bad.toml").write_text(text)
    checked = run(folder, "check")
    assert (checked.exit_code, checked.stdout) == (2, "good: OK\n")
    assert "bad.toml" in checked.stderr
    assert key in checked.stderr
    listed = run(folder, "list")
    assert (listed.exit_code, listed.stderr) == (3, "")
    assert listed.stdout.startswith("bad  broken\n")
    assert "\ngood  waiting" in listed.stdout


def test_pipe_and_a_folder_among_the_schedules_are_refused(folder: Path) -> None:
    """A pipe that nobody writes to would be read for ever."""
    os.mkfifo(folder / "schedules" / "pipe.toml")
    (folder / "schedules" / "folder.toml").mkdir()
    (folder / "schedules" / "large.toml").write_bytes(b"#" * 1_000_001)
    checked = run(folder, "check")
    assert (checked.exit_code, checked.stdout) == (2, "good: OK\n")
    assert checked.stderr.count("not a regular file") == 2
    assert "large.toml: the schedule is larger than" in checked.stderr


_values = st.one_of(
    st.sampled_from(
        [
            *("99999999d", "3650d", "1s", "0s", "1h", "15m", "-1d", "1e5s", "UTC", "Europe/Berlin", "../x", "\0", ""),
            *(
                "full",
                "quick",
                "sample 5 %",
                "sample 1e400%",
                "every 3 runs",
                "* * * * *",
                "0 0 29 2 *",
                "*/7 3 L * 5#5",
            ),
            *(
                "memory:a",
                "archive:/nowhere",
                "couchdb://a:b@c/d",
                "http://[::1",
                "https://x y",
                "9999-12-31",
                "backup",
            ),
        ]
    ),
    st.text(st.characters(codec="utf-8"), max_size=12),
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.booleans(),
    st.lists(st.sampled_from(["a", "success", ""]), max_size=2),
)
_tables: dict[str, tuple[str, ...]] = {
    "": schema.Top.__struct_fields__,
    **{name: type.__struct_fields__ for name, type in schema.TABLES.items()},
}


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(char):08x}" for char in value) + '"'
    return f"[{', '.join(map(_toml, value))}]" if isinstance(value, list) else str(value)


@st.composite
def _files(draw: st.DrawFn) -> str:
    """A file that holds, with some values replaced or added by others."""
    values: dict[tuple[str, str], Any] = {("", "source"): "memory:a", ("", "target"): "archive:/nowhere"}
    values[("when", draw(st.sampled_from(["every", "cron"])))] = draw(st.sampled_from(["1h", "15 2 * * *", "3650d"]))
    for _ in range(draw(st.integers(0, 5))):
        table = draw(st.sampled_from(list(_tables)))
        values[(table, draw(st.sampled_from(_tables[table])))] = draw(_values)
    lines: list[str] = []
    for table in _tables:
        lines += [f"[{table}]"] if table else []
        lines += [f"{key} = {_toml(value)}" for (of, key), value in values.items() if of == table]
    return "\n".join(lines)


@given(
    text=st.one_of(_files(), _files(), _files(), st.text(st.characters(codec="utf-8"))),
    now_s=st.floats(1_000_000_000, 4_000_000_000),
    handled_until_s=st.floats(0, 5_000_000_000),
)
def test_no_file_is_unexpected(text: str, now_s: float, handled_until_s: float) -> None:
    """It is refused with our own words, or its moments can be reckoned with, now and in many years."""
    found = Found(path=Path("nightly.toml"), data=text.encode()).read()
    if isinstance(found, Broken):
        assert "unexpected" not in found.reason
        return
    found.printed  # noqa: B018  it is computed
    status_of(found, State(known_since_s=handled_until_s, handled_until_s=handled_until_s), now_s)
    due = plan(found.trigger, correct_handled(found.trigger, handled_until_s, now_s), now_s, grace_s=found.grace_s)
    datetime.fromtimestamp(due.begins_s, UTC)
    assert Alarm(found.trigger).get_next_fire_time(None, datetime.fromtimestamp(now_s, UTC)).timestamp() > now_s


@given(st.binary())
def test_no_bytes_are_unexpected(data: bytes) -> None:
    found = Found(path=Path("nightly.toml"), data=data).read()
    assert isinstance(found, Broken)
    assert "unexpected" not in found.reason


# -- what nobody thought of -------------------------------------------------------------------------------------


def _fail(*_: object, **__: object) -> Any:
    raise OverflowError("kanarienvogel")


def test_schedule_that_fails_to_be_read_hides_no_other(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a reason that nobody thought of; its text may hold a secret."""
    (folder / "schedules" / "bad.toml").write_text(GOOD)
    read_schedule = files.read_schedule

    def read(path: Path, data: bytes) -> Schedule:
        return _fail() if path.name == "bad.toml" else read_schedule(path, data)

    monkeypatch.setattr(files, "read_schedule", read)
    for command in ("list", "check"):
        told = run(folder, command)
        assert told.exit_code in (2, 3)
        assert "unexpected OverflowError" in told.output
        assert "kanarienvogel" not in told.output
        assert "good" in told.stdout


def test_schedule_whose_moments_fail_hides_no_other(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "schedules" / "bad.toml").write_text(GOOD)
    looked = overview.status_of

    def look(schedule: Schedule, *rest: Any, **more: Any) -> Any:
        return _fail() if schedule.name == "bad" else looked(schedule, *rest, **more)

    monkeypatch.setattr(overview, "status_of", look)
    told = run(folder, "list")
    assert told.exit_code == 3
    assert "\ngood  waiting" in told.stdout


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Any:
    with tempfile.TemporaryDirectory() as name:
        world = World(Path(name), monkeypatch, datetime(2026, 6, 1, 12, 0, 30, tzinfo=UTC))
        yield world
        world.close()


def test_daemon_goes_on_beside_a_file_that_overflows(world: World) -> None:
    """Its own schedule is reported as refused, in health and metrics too."""
    world.write("bad", 'every = "99999999d"')
    world.write("good", 'every = "1h"')
    world.pass_time(3 * 3600)
    assert world.fired == {"good": 3}
    assert any("bad.toml:5: when.every: give a duration" in each for each in world.told)
    assert [(each.schedule, each.broken) for each in world.daemon.statuses()] == [("bad", True), ("good", False)]


@pytest.mark.parametrize("place", ["take", "alarm", "state"])
def test_daemon_goes_on_whatever_a_schedule_raises(world: World, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """While its file is loaded, while its alarm is set, and when its state can't be read."""
    if place == "state":
        bad = world.state / "schedules" / "bad"
        bad.mkdir(parents=True)
        (bad / "state.json").write_text('{"known_since_s": 0, "seen_to_s": -1e300}')
    else:
        name = {"take": "remember", "alarm": "read_or_begin"}[place]
        method = getattr(Memory, name)
        monkeypatch.setattr(Memory, name, lambda self, now_s: _fail() if self._name == "bad" else method(self, now_s))
    world.write("bad", 'cron = "0 * * * *"')
    world.write("good", 'cron = "0 * * * *"')
    world.pass_time(3 * 3600)
    assert world.fired["good"] == 3
    assert any(each.startswith("bad: ") and "unexpected" in each for each in world.told)
    assert sum("unexpected" in each for each in world.told) < 5
    assert {each.schedule: bool(each.trouble) for each in world.daemon.statuses()} == {"bad": True, "good": False}


def test_alarm_that_fails_rings_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it raised would end APScheduler's thread."""
    found = Found(path=Path("x.toml"), data=GOOD.encode()).read()
    assert isinstance(found, Schedule)
    monkeypatch.setattr(type(found.trigger), "next", _fail)
    now = datetime(2026, 6, 1, tzinfo=UTC)
    assert (Alarm(found.trigger).get_next_fire_time(None, now) - now).total_seconds() == daemon._HELD_OFF_S


def test_run_that_fails_in_an_unknown_way_is_counted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a failed run of this schedule, whose next moment stays."""
    monkeypatch.setattr(tasks, "_back_up", _fail)
    ended = run(folder, "run", "good", "--once", "--state", str(folder / "state"))
    assert ended.exit_code == 1
    known = Memory(folder / "state", "good").read()
    assert known is not None
    assert (known.failed, known.attempt) == (1, None)
    assert "kanarienvogel" not in ended.output
