"""docs/retention.md and samples/openserverless: every command is run, and every file holds."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from migrator.activations.document import Form
from migrator.adapters.memory import _stores, memory_store
from migrator.commands.main import migrator
from migrator.engine.removal.values import KEPT
from migrator.scheduling.files import read_schedule
from migrator.settings.config import load, resolve
from migrator.testing.documents import activation

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/retention.md").read_text()
SAMPLE = ROOT / "samples/openserverless"
COMMANDS = [
    line for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL) for line in block.splitlines()
]
DAY_MS = 86_400_000


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The machine of the page: its stores are in memory, its folders below this one."""
    _stores.clear()
    (tmp_path / "schedules").mkdir()
    text = (ROOT / "schedules/couchdb-nightly-purge.toml").read_text()
    text = text.replace("/var/backups/openwhisk", f"{tmp_path}/backups")
    (tmp_path / "schedules/couchdb-nightly-purge.toml").write_text(text)
    (tmp_path / "migrator.toml").write_text(
        f"""
        [defaults]
        state = "{tmp_path}/state"
        [stores]
        prod-couchdb = {{ location = "memory:couchdb" }}
        prod-elasticsearch = {{ location = "memory:elasticsearch" }}
        """
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MIGRATOR_CONFIG", str(tmp_path / "migrator.toml"))
    yield tmp_path
    _stores.clear()


def run(command: str, folder: Path) -> Result:
    """A line of the page, as a shell would run it."""
    words = shlex.split(command.replace("/var/backups/openwhisk", f"{folder}/backups"))
    assert words[0] == "migrator"
    return CliRunner().invoke(migrator, words[1:])


def fill() -> None:
    now_ms = int(time.time() * 1000)
    couchdb, search = memory_store("couchdb"), memory_store("elasticsearch", Form.ELASTICSEARCH)
    for number in range(60):
        start_ms = now_ms - number * 3 * DAY_MS
        namespace = "team-a" if number % 2 else "guest"
        for store, form in ((couchdb, Form.COUCHDB), (search, Form.ELASTICSEARCH)):
            document = activation(number, namespace, form=form, start=start_ms, end=start_ms + 42)
            store.put(document.id, document.body)


def test_every_command_of_the_page_does_what_it_says(folder: Path) -> None:
    """In the order of the page; what went is in the other store, or was restored."""
    fill()
    assert len(COMMANDS) == len([line for line in COMMANDS if line.startswith("migrator ")]) == 16
    for command in COMMANDS:
        if "prod-elasticsearch" in command:
            fill()  # another OpenWhisk, from whose CouchDB no logs were taken
        ended = run(command, folder)
        assert ended.exit_code == 0, (command, ended.output, ended.exception)
    gone = {id for id, entry in memory_store("couchdb").entries.items() if entry.body is None}
    assert len(gone) == 30
    assert gone <= memory_store("elasticsearch").entries.keys()


def test_the_log_is_read_as_the_page_says(folder: Path) -> None:
    """By `zstdcat`, a line for each that went."""
    if shutil.which("zstdcat") is None:
        pytest.skip("there is no zstdcat on this machine")
    fill()
    for command in COMMANDS[:4]:
        ended = run(command, folder)
    log = re.search(r"log of all that went and all that stays: (.+)", ended.output)
    assert log
    lines = subprocess.run(["zstdcat", log[1]], check=True, capture_output=True).stdout.splitlines()
    assert len(lines) == 30


def test_the_page_explains_every_reason() -> None:
    assert KEPT.keys() == set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| `.*?(?=[:|])", PAGE, re.MULTILINE))))


def test_links_lead_to_files_that_are_there() -> None:
    for path in (ROOT / "docs/retention.md", SAMPLE / "README.md"):
        for link in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
            assert (path.parent / link).exists(), link


# -- OpenServerless ------------------------------------------------------------------------------------------------


def test_the_sample_backs_up_checks_and_purges(tmp_path: Path) -> None:
    """Its schedule names a store of its configuration, which is OpenServerless's database."""
    path = SAMPLE / "nightly.toml"
    schedule = read_schedule(path, path.read_bytes())
    assert (schedule.task, str(schedule.check), schedule.retention) == ("backup", "full", None)
    assert schedule.purge is not None
    assert float(schedule.purge.older_than) == 90 * 86_400
    (tmp_path / "password").write_text("secret")
    config = tmp_path / "migrator.toml"
    text = (SAMPLE / "migrator.toml").read_text().replace("/run/secrets/couchdb-password", str(tmp_path / "password"))
    config.write_text(text)
    store, _ = resolve(schedule.source.reveal(), "source", load(config))
    assert store.location.database == "nuvolaris_activations"


def test_the_cron_job_runs_that_schedule_with_that_configuration() -> None:
    """Its volumes are where the schedule and the configuration look."""
    job, claim = yaml.safe_load_all((SAMPLE / "cronjob.yaml").read_text())
    assert (job["kind"], claim["kind"]) == ("CronJob", "PersistentVolumeClaim")
    assert job["metadata"]["namespace"] == claim["metadata"]["namespace"] == "nuvolaris"
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    words = container["args"]
    assert words[:4] == ["schedule", "run", "nightly", "--once"]
    mounts = {each["mountPath"] for each in container["volumeMounts"]}
    assert {"/etc/migrator", "/run/secrets", "/var/backups/openserverless", "/var/lib/migrator"} <= mounts
    assert {each["name"] for each in container["volumeMounts"]} == {each["name"] for each in pod["volumes"]}
    for sample in ("migrator.toml", "nightly.toml"):
        assert f"--from-file={sample}" in (SAMPLE / "README.md").read_text()


def test_the_commands_of_the_sample_are_understood(folder: Path) -> None:
    """The one command of ours in its README, with its store in memory."""
    (command,) = re.findall(r"^ +(migrator .*)$", (SAMPLE / "README.md").read_text(), re.MULTILINE)
    fill()
    backup = f"migrator backup prod-couchdb archive:{folder}/backups"
    assert run(backup, folder).exit_code == 0
    command = command.replace("openserverless --older", "prod-couchdb --older")
    ended = run(command.replace("/var/backups/openserverless", f"{folder}/backups"), folder)
    assert ended.exit_code == 0, ended.output
    assert "dry run: nothing was removed" in ended.output
