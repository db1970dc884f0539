"""`migrator init`: what it writes is what the other commands take, and nothing that exists is touched."""

from __future__ import annotations

import os
import pty
import re
import select
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from migrator.commands.main import migrator
from migrator.scheduling.files import find_schedule
from migrator.settings.config import load, resolve

ENVIRONMENT = {
    "CONFIG_whisk_couchdb_protocol": "http",
    "CONFIG_whisk_couchdb_host": "db1.example.com",
    "CONFIG_whisk_couchdb_port": "5984",
    "CONFIG_whisk_couchdb_username": "whisk_admin",
    "CONFIG_whisk_couchdb_password": "some_passw0rd%",
    "CONFIG_whisk_couchdb_databases_WhiskActivation": "whisk_local_activations",
}


def init(*words: str, environ: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(migrator, ["init", *words], env={"MIGRATOR_CONFIG": "", **(environ or {})})


def test_what_is_written_is_a_store_and_a_schedule_that_hold(tmp_path: Path) -> None:
    made = init(str(tmp_path), "--source", "elasticsearch://es1:9200", "--archive", "archive:/b", "--offline")
    assert made.exit_code == 0, made.output
    store, warnings = resolve("openwhisk", "source", load(tmp_path / "migrator.toml"))
    assert (store.location.printed, warnings) == ("elasticsearch://es1:9200/?index-pattern=openwhisk-%25s", [])
    schedule = find_schedule("nightly", tmp_path / "schedules")
    assert schedule.printed == ("openwhisk", "archive:/b")
    assert schedule.retention is not None
    shown = CliRunner().invoke(migrator, ["schedule", "check", "--schedules", str(tmp_path / "schedules")])
    assert "nightly" in shown.output


def test_the_commands_that_it_prints_run(tmp_path: Path) -> None:
    """They name files of another folder; only the daemon isn't started."""
    made = init(str(tmp_path / "a b"), "--source", "elasticsearch://es1:9200", "--archive", "archive:/b", "--offline")
    commands = re.findall(r"^    migrator (.*)$", made.output, re.MULTILINE)
    assert len(commands) == 3
    (listing,) = [command for command in commands if command.startswith("schedule list")]
    ended = subprocess.run(
        f"{sys.executable} -m migrator {listing} --state {tmp_path}/state", shell=True, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert "nightly  waiting" in ended.stdout


def test_a_store_that_does_not_answer_is_reported_and_the_files_stay(tmp_path: Path) -> None:
    made = init(str(tmp_path), "--source", "elasticsearch://127.0.0.1:1", "--archive", "archive:/b")
    assert made.exit_code == 5
    assert f"migrator config check --connect --config {tmp_path}/migrator.toml" in made.output
    assert (tmp_path / "migrator.toml").exists()


def test_openwhisks_own_password_stays_in_its_variable(tmp_path: Path) -> None:
    made = init(str(tmp_path), "--from-env", "--archive", "archive:/b", "--offline", environ=ENVIRONMENT)
    assert made.exit_code == 0, made.output
    text = (tmp_path / "migrator.toml").read_text()
    assert 'password_env = "CONFIG_whisk_couchdb_password"' in text
    assert ENVIRONMENT["CONFIG_whisk_couchdb_password"] not in text + made.output
    store, _ = resolve("openwhisk-couchdb", "source", load(tmp_path / "migrator.toml"), ENVIRONMENT)
    assert store.login.secret is not None
    assert store.login.secret.reveal() == "some_passw0rd%"


def test_a_password_of_a_file_goes_to_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    file = tmp_path / "controller.env"
    file.write_text("".join(f"{name}={value}\n" for name, value in ENVIRONMENT.items()))
    made = init(str(tmp_path), "--env-file", str(file), "--archive", "archive:/b", "--offline")
    assert made.exit_code == 0, made.output
    secret = tmp_path / "openwhisk-couchdb.password"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert secret.read_text() == "some_passw0rd%\n"
    assert "some_passw0rd" not in (tmp_path / "migrator.toml").read_text()


@pytest.mark.parametrize("name", ["migrator.toml", "schedules/nightly.toml"])
def test_nothing_that_exists_is_changed(tmp_path: Path, name: str) -> None:
    (tmp_path / "schedules").mkdir()
    (tmp_path / name).write_text("mine")
    made = init(str(tmp_path), "--source", "elasticsearch://es1:9200", "--archive", "archive:/b", "--offline")
    assert made.exit_code == 2
    assert f"{tmp_path}/{name} exists, and isn't changed" in made.output
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [Path(name).name]
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--source", "archive:/b"), "give the location of a CouchDB or an Elasticsearch"),
        (("--source", "elasticsearch://es1", "--archive", "elasticsearch://es1"), "not an archive"),
        (("--source", "elasticsearch://es1", "--archive", "archive:/b", "--at", "25:00"), "give a time such as 02:15"),
        (("--archive", "archive:/b"), "there is no terminal to ask at; give --source"),
        (("--from-env",), "name no store here"),
    ],
)
def test_a_wrong_answer_is_refused_before_anything_is_written(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    made = init(str(tmp_path), *words, "--offline")
    assert made.exit_code == 2
    assert said in made.output
    assert list(tmp_path.iterdir()) == []


def test_a_person_is_asked_and_the_password_is_never_shown(tmp_path: Path) -> None:
    """At a real terminal; what is typed for the password isn't echoed."""
    inside, outside = pty.openpty()
    environ = {**os.environ, "MIGRATOR_CONFIG": "", "TERM": "dumb"}
    process = subprocess.Popen(
        [sys.executable, "-m", "migrator", "init", str(tmp_path), "--offline"],
        stdin=outside,
        stdout=outside,
        stderr=outside,
        env=environ,
        start_new_session=True,
    )
    os.close(outside)
    screen = ""
    for prompt, answer in (
        ("activations: ", "couchdb://admin@127.0.0.1:1/acts"),
        ("acts: ", "s3cr3t-words"),
        ("]: ", "archive:/b"),
        ("[02:15]: ", "3:30"),
    ):
        screen += _read_until(inside, prompt)
        os.write(inside, f"{answer}\n".encode())
    screen += _read_until(inside, "migrator schedule run")
    assert process.wait(30) == 0, screen
    os.close(inside)
    assert "s3cr3t" not in screen
    assert (tmp_path / "openwhisk.password").read_text() == "s3cr3t-words\n"
    assert 'cron = "30 3 * * *"' in (tmp_path / "schedules/nightly.toml").read_text()


def _read_until(terminal: int, text: str) -> str:
    seen, until_s = "", time.monotonic() + 30
    while text not in seen:
        assert time.monotonic() < until_s, seen
        if select.select([terminal], [], [], 1)[0]:
            seen += os.read(terminal, 4096).decode()
    return seen
