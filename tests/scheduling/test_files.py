"""Schedule files: what they come to, and refusals with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from migrator.errors import NotFound, UsageError
from migrator.scheduling.files import Broken, Schedule, find_schedule, read_folder, read_schedule
from migrator.scheduling.schema import Duration

MINIMAL = """\
source = "elasticsearch://es1:9200"
target = "archive:/var/backups/openwhisk"

[when]
cron = "15 2 * * *"
"""
EVERYTHING = """\
task = "backup"
source = "elasticsearch://es1:9200"
target = "archive:/var/backups/openwhisk"
mode = "auto"
full_every = "7d"

[select]
namespaces = ["guest", "team-*"]
names = ["hello"]
since = "30d"
until = "1d"

[when]
cron = "15 2 * * *"
timezone = "Europe/Berlin"
jitter = "10m"
grace = "12h"
stale_after = "36h"

[limits]
max_rate = 5000
max_duration = "6h"
max_rejects = 100
jobs = 8

[verification]
check = "sample 5%"
on = "every 7 runs"

[retention]
last = 3
daily = 7
weekly = 5
monthly = 12
yearly = 3
within = "14d"

[failure]
retries = 5
wait = "2m"
longest_wait = "1h"
retry_for = "10m"

[notify]
ping = "https://hc-ping.com/0123"
start = "https://example.com/start"
command = ["/usr/local/bin/notify", "backup"]
command_on = ["failure"]
"""


def read(text: str, name: str = "nightly.toml") -> Schedule:
    return read_schedule(Path(name), text.encode())


def test_a_minimal_file_is_a_backup_in_utc_that_is_stale_after_two_periods() -> None:
    schedule = read(MINIMAL)
    assert (schedule.name, schedule.task, schedule.mode, schedule.timezone.key) == ("nightly", "backup", "auto", "UTC")
    assert schedule.stale_after_s == 2 * 86_400
    assert (schedule.check, schedule.retention, schedule.grace_s) == (None, None, None)


def test_everything_that_can_be_said_is_understood() -> None:
    schedule = read(EVERYTHING)
    assert schedule.full_every_s == 7 * 86_400
    assert (schedule.wanted.namespaces, schedule.wanted.since) == (("guest", "team-*"), "30d")
    assert (str(schedule.check), schedule.check_on.every) == ("sample 5 %", 7)
    assert schedule.limits.max_duration == Duration(21_600)
    assert schedule.limits.jobs == 8
    assert schedule.retention is not None
    assert (schedule.retention.monthly, schedule.retention.within) == (12, "14d")
    assert schedule.failure.wait == Duration(120)
    assert schedule.failure.longest_wait == Duration(3600)
    assert schedule.notify.command == ("/usr/local/bin/notify", "backup")
    assert (schedule.grace_s, schedule.stale_after_s) == (43_200, 129_600)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("mode = ", "mood = "), "nightly.toml:4: mood: unknown; did you mean mode?"),
        (('mode = "auto"', 'mode = "some"'), "nightly.toml:4: mode: give auto, full or incremental"),
        (('"7d"', '"7 fortnights"'), "nightly.toml:5: full_every: give a duration such as 90s, 15m, 6h, 7d or 2w"),
        (('"7d"', "7"), "nightly.toml:5: full_every: give a duration"),
        (('"Europe/Berlin"', '"Europe/Bärlin"'), "nightly.toml:15: when.timezone: 'Europe/Bärlin' is not a time zone"),
        (('"Europe/Berlin"', '"../../etc/passwd"'), "nightly.toml:15: when.timezone"),
        (("15 2 * * *", "15 25 * * *"), "nightly.toml:14: when.cron: '15 25 * * *': bad hour"),
        (("cron = ", 'every = "1h"\ncron = '), "nightly.toml:13: when: give one of cron"),
        (('jitter = "10m"', 'jitter = "2d"'), "nightly.toml:16: when.jitter: it must be shorter"),
        (("jobs = 8", "jobs = 80"), "nightly.toml:24: limits.jobs: give a whole number from 1 to 64"),
        (("sample 5%", "sample 0%"), "nightly.toml:27: verification.check: give a share above 0 %"),
        (("sample 5%", "none"), "nightly.toml:30: retention: it runs only after a verified backup"),
        (("every 7 runs", "sundays"), "nightly.toml:28: verification.on: give all, full backups or every 7 runs"),
        (("daily = 7", "daily = -7"), "nightly.toml:30: retention: keep-daily -7: give a number from 0 to"),
        (('within = "14d"', "hourly = 3"), "nightly.toml:36: retention.hourly: unknown"),
        (('task = "backup"', 'task = "copy"'), "nightly.toml:4: mode: a copy has no mode"),
        (('mode = "auto"', 'mode = "full"'), 'nightly.toml:5: full_every: it needs mode = "auto"'),
        (("https://hc", "ftp://hc"), "nightly.toml:45: notify.ping: it doesn't begin with https://"),
        (("start = ", 'ping_env = "PING"\nstart = '), "nightly.toml:46: notify.ping_env: ping and ping_env are set"),
        (("[notify]", "[notifications]"), "nightly.toml:44: notifications: unknown"),
        (("elasticsearch://es1:9200", "elastic://es1"), "nightly.toml:2: source: "),
        (('since = "30d"', 'since = "soon"'), "nightly.toml:10: select.since: 'soon' is not a time"),
        (("[when]", "[when"), "nightly.toml: not TOML: "),
    ],
)
def test_a_refusal_says_file_and_line(change: tuple[str, str], expected: str) -> None:
    assert change[0] in EVERYTHING
    with pytest.raises(UsageError) as refused:
        read(EVERYTHING.replace(*change, 1))
    assert str(refused.value).startswith(expected)


def test_missing_ends_are_named() -> None:
    with pytest.raises(UsageError, match=r"nightly\.toml: source is missing"):
        read('[when]\nevery = "1h"\n')


def test_no_secret_is_repeated() -> None:
    """Neither one that is in a location nor the address of a ping."""
    text = EVERYTHING.replace("elasticsearch://es1", "elasticsearch://me:kanarienvogel@es1")
    schedule = read(text)
    assert "kanarienvogel" not in repr(schedule)
    assert schedule.printed[0] == "elasticsearch://es1:9200/?index-pattern=openwhisk-%25s"
    for change in (("mode = ", "mood = "), ("jobs = 8", "jobs = 80")):
        with pytest.raises(UsageError) as refused:
            read(text.replace(*change, 1))
        assert "kanarienvogel" not in str(refused.value)
    assert "0123" not in repr(schedule.notify)


def test_a_broken_file_leaves_the_others(tmp_path: Path) -> None:
    """Stores, hidden files and other files of the folder are no schedules."""
    (tmp_path / "good.toml").write_text(MINIMAL)
    (tmp_path / "broken.toml").write_text(MINIMAL.replace("cron", "corn"))
    (tmp_path / "migrator.toml").write_text("[stores]")
    (tmp_path / ".good.toml.swp.toml").write_text("x")
    (tmp_path / "README").write_text("x")
    found = read_folder(tmp_path)
    assert [(each.name, type(each)) for each in found] == [("broken", Broken), ("good", Schedule)]
    assert isinstance(found[0], Broken)
    assert f"{tmp_path}/broken.toml:5: when.corn: unknown" in found[0].reason


def test_a_schedule_is_found_by_name_and_by_path(tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text(MINIMAL)
    assert find_schedule("good", tmp_path).name == "good"
    assert find_schedule(str(tmp_path / "good.toml"), Path("/nowhere")).name == "good"
    with pytest.raises(NotFound, match="there are good"):
        find_schedule("bad", tmp_path)
    with pytest.raises(NotFound, match="no folder of schedules"):
        read_folder(tmp_path / "nothing")
