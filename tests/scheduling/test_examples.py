"""The ready schedules, units, manifests, rules and dashboard, and the commands of the guide, as far as a test can."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from migrator.demo.servers import Server
from migrator.scheduling.files import Schedule, read_schedule
from migrator.scheduling.metrics import exposition
from migrator.scheduling.overview import status_of
from migrator.scheduling.state import Run, State
from migrator.scheduling.triggers import Cron
from migrator.testing.documents import activation
from tests.support.daemons import parsed
from tests.support.servers import request
from tests.support.stores import (
    couchdb_location,
    elasticsearch_location,
    fill_couchdb,
    fill_elasticsearch,
    new_database,
)

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "schedules"
GUIDE = (ROOT / "docs" / "backups.md").read_text()
FILES = sorted(EXAMPLES.glob("*.toml"))
UNITS = sorted((EXAMPLES / "systemd").iterdir())


# -- schedule files ---------------------------------------------------------------------------------------------


def test_the_examples_are_those_that_were_promised() -> None:
    """A nightly and an hourly backup, a copy that follows, a verification."""
    schedules = {path.stem: read_schedule(path, path.read_bytes()) for path in FILES}
    nightly, hourly = schedules["elasticsearch-nightly"], schedules["couchdb-hourly"]
    assert (nightly.task, nightly.mode, nightly.full_every_s) == ("backup", "auto", 7 * 86_400)
    assert hourly.trigger.longest_gap(1.8e9) == 3600
    assert schedules["couchdb-to-elasticsearch"].task == "copy"
    assert schedules["backends-verified-weekly"].task == "verify"
    purging = schedules["couchdb-nightly-purge"]
    assert purging.purge is not None
    assert (float(purging.purge.older_than), str(purging.check)) == (90 * 86_400, "full")
    assert purging.retention is None


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_example_holds_with_the_sample_configuration(path: Path) -> None:
    """`schedule check` finds no fault but secrets that aren't on this machine."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "MIGRATOR_CONFIG": str(ROOT / "samples" / "migrator.toml")}
    words = [sys.executable, "-m", "migrator", "schedule", "check", "--schedules", str(EXAMPLES)]
    ended = subprocess.run(words, env=environ, capture_output=True, text=True)
    about = [line for line in ended.stderr.splitlines() if f"{path.name}: " in line]
    assert all("/run/secrets/" in line for line in about), about
    assert about or f"{path.stem}: OK" in ended.stdout


def test_the_guide_explains_every_key() -> None:
    """And none that there isn't."""
    from migrator.scheduling import schema

    known: tuple[type[Any], ...] = (schema.Top, *schema.TABLES.values())
    keys = {name for table in known for name in table.__struct_fields__}
    section = GUIDE.partition("## Schedule files")[2].partition("\n## ")[0]
    tables = {name.strip("[]") for name in re.findall(r"\*\*`(\[\w+\])`\*\*", section)}
    rows = "".join(line for line in section.splitlines(True) if line.startswith("| "))
    named = set(re.findall(r"`(\w+)`", "".join(row.split("|")[1] for row in rows.splitlines())))
    named |= set(
        re.findall(r"`(\w+)`", next(row for row in rows.splitlines() if "[retention]" in row).split("prune")[1])
    )
    assert tables == set(schema.TABLES)
    assert named == keys


# -- cron and systemd -------------------------------------------------------------------------------------------


def test_the_crontab_runs_schedules_that_are_there() -> None:
    """Each line has a time that cron understands, a user, and a command that exists."""
    lines = (EXAMPLES / "cron" / "crontab").read_text().splitlines()
    entries = [
        line.split(None, 6) for line in lines if line and not line.startswith("#") and "=" not in line.split()[0]
    ]
    assert len(entries) == 4
    names = {path.stem for path in FILES}
    for entry in entries:
        Cron(" ".join(entry[:5]), ZoneInfo("UTC"))
        words = entry[6].split()
        assert words[:2] == ["/usr/local/bin/migrator", "schedule"]
        assert words[2] == "list" or words[3] in names
        assert _understood(words[1:])


def test_the_crontab_and_the_examples_run(
    elasticsearch_server: Server, couchdb_server: Server, index_prefix: str, tmp_path: Path
) -> None:
    """Each line as cron runs it, with the example schedules, on real servers; the copy is proved at the end."""
    pattern, database = f"{index_prefix}%s", new_database(couchdb_server)
    fill_elasticsearch(elasticsearch_server, pattern, [activation(n) for n in range(40)])
    fill_couchdb(couchdb_server, database, [activation(n) for n in range(20, 90)])
    folders = {
        name: tmp_path / name.strip("/")
        for name in (
            "/etc/migrator",
            "/var/lib/migrator",
            "/var/backups/openwhisk",
            "/var/lib/prometheus/node-exporter",
        )
    }
    for folder in folders.values():
        folder.mkdir(parents=True)

    def as_here(text: str) -> str:
        for name, folder in folders.items():
            text = text.replace(name, str(folder))
        return text

    (folders["/etc/migrator"] / "migrator.toml").write_text(
        f'[stores.prod-couchdb]\nlocation = "{couchdb_location(couchdb_server, database)}"\n'
        f'[stores.prod-elasticsearch]\nlocation = "{elasticsearch_location(elasticsearch_server, pattern)}"\n'
    )
    (folders["/etc/migrator"] / "schedules").mkdir()
    for path in FILES:
        (folders["/etc/migrator"] / "schedules" / path.name).write_text(as_here(path.read_text()))
    lines = as_here((EXAMPLES / "cron" / "crontab").read_text()).splitlines()
    settings = dict(re.findall(r"^(\w+)=(.*)$", "\n".join(lines), re.MULTILINE))
    commands = [line.split(None, 6)[6] for line in lines if " /usr/local/bin/migrator " in line]
    more = [
        f"/usr/local/bin/migrator schedule run {name} --once"
        for name in ("backends-verified-weekly", "couchdb-nightly-purge")
    ]
    shim = f"{_shim(tmp_path)}/migrator"
    for command in (*commands, *more):
        script = command.replace("/usr/local/bin/migrator", shim)
        environ = {**settings, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
        ended = subprocess.run(["/bin/sh", "-c", script], env=environ, cwd="/", capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
        if "--quiet" in command:
            assert ended.stdout + ended.stderr == "", "cron would send a mail"
    written = folders["/var/lib/prometheus/node-exporter"].iterdir()
    assert {path.name for path in written} == {f"migrator-{path.stem}.prom" for path in FILES}
    assert len(list(folders["/var/backups/openwhisk"].glob("*/archive.json"))) == 2


def test_the_units_run_commands_that_exist() -> None:
    for path in UNITS:
        for line in re.findall(r"^ExecStart=(.*)$", path.read_text(), re.MULTILINE):
            assert _understood(line.split()[1:]), line
    timer = (EXAMPLES / "systemd" / "migrator-backup@.timer").read_text()
    assert "Persistent=true" in timer
    for path in UNITS:
        if path.suffix == ".service":
            for setting in ("NoNewPrivileges=yes", "ProtectSystem=strict", "User=migrator", "CapabilityBoundingSet="):
                assert f"\n{setting}\n" in path.read_text(), (path.name, setting)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze on this machine")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    """As it does them installed, with another program in place of the migrator, which may not be."""
    for path in UNITS:
        text = path.read_text().replace("/usr/local/bin/migrator", "/bin/true")
        (tmp_path / path.name.replace("@", "@nightly")).write_text(text)
    ended = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, sorted(tmp_path.iterdir()))],
        capture_output=True,
        text=True,
    )
    told = [line for line in ended.stderr.splitlines() if "migrator" in line]
    assert (ended.returncode, told) == (0, []), ended.stderr


def _understood(words: Sequence[str]) -> bool:
    """Whether the command line knows these words; nothing is run."""
    import click

    from migrator.commands.main import migrator

    words = [word.replace("%i", "nightly") for word in words]
    command: click.Command | None = migrator
    context = click.Context(migrator)
    while isinstance(command, click.Group):
        command = command.get_command(context, words[0])
        words = words[1:]
    assert command is not None
    context = click.Context(command)
    options = {name for parameter in command.params for name in parameter.opts}
    return all(word in options for word in words if word.startswith("-"))


# -- Kubernetes -------------------------------------------------------------------------------------------------


def manifests(name: str) -> dict[str, Any]:
    return {each["kind"]: each for each in yaml.safe_load_all((EXAMPLES / "kubernetes" / name).read_text())}


def _assert_pod(pod: dict[str, Any]) -> None:
    """What every pod of ours has: no root, one container that runs what there is, volumes that are there."""
    assert pod["securityContext"]["runAsNonRoot"] is True
    (container,) = pod["containers"]
    assert _understood(container["args"])
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["resources"]["limits"]["memory"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    settings = {each["name"]: each["value"] for each in container["env"]}
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert settings["MIGRATOR_STATE"].startswith("/var/lib/migrator")
    assert {"/var/lib/migrator", "/var/backups/openwhisk", "/etc/migrator"} <= mounts


def test_the_cronjob_never_overlaps_and_tells_failures_apart() -> None:
    found = manifests("cronjob.yaml")
    job = found["CronJob"]
    assert job["apiVersion"] == "batch/v1"
    spec = job["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    Cron(spec["schedule"], ZoneInfo(spec["timeZone"]))
    run = spec["jobTemplate"]["spec"]
    pod = run["template"]["spec"]
    _assert_pod(pod)
    assert pod["restartPolicy"] == "Never"  # podFailurePolicy asks for it
    rule = run["podFailurePolicy"]["rules"][0]["onExitCodes"]
    assert rule["containerName"] == pod["containers"][0]["name"]
    assert not set(rule["values"]) & {0, 3, 5, 8, 130, 143}, "what is worth another try"
    assert pod["containers"][0]["args"][2] in {path.stem for path in FILES}
    claim = next(volume["persistentVolumeClaim"] for volume in pod["volumes"] if "persistentVolumeClaim" in volume)
    assert found["PersistentVolumeClaim"]["metadata"]["name"] == claim["claimName"]


def test_the_deployment_is_one_daemon_with_a_probe() -> None:
    found = manifests("deployment.yaml")
    spec = found["Deployment"]["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")
    pod = spec["template"]["spec"]
    _assert_pod(pod)
    labels = spec["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"] == found["Service"]["spec"]["selector"] == labels
    (container,) = pod["containers"]
    assert container["livenessProbe"]["httpGet"]["path"] == "/live"
    port = container["args"][container["args"].index("--listen") + 1].rpartition(":")[2]
    assert container["ports"][0]["containerPort"] == int(port)


@pytest.mark.parametrize("name", ["cronjob.yaml", "deployment.yaml"])
def test_a_manifest_has_no_key_that_is_given_twice(name: str) -> None:
    """YAML keeps the last one without a word."""

    class Strict(yaml.SafeLoader):
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            keys = [self.construct_object(key) for key, _ in node.value]
            assert len(keys) == len(set(keys)), keys
            return super().construct_mapping(node, deep)

    assert list(yaml.load_all((EXAMPLES / "kubernetes" / name).read_text(), Strict))


# -- Prometheus and Grafana -------------------------------------------------------------------------------------


@pytest.fixture
def metrics() -> set[str]:
    """The names of all metrics that a schedule with a backup has."""
    path = FILES[0]
    schedule = read_schedule(path, path.read_bytes())
    assert isinstance(schedule, Schedule)
    run = Run(
        schedule="a",
        task="backup",
        moment_s=1.0,
        began_s=1.0,
        ended_s=2.0,
        outcome="complete",
        exit_code=0,
        backup="20261124T021500Z-3f9a2c",
    )
    known = State(known_since_s=0.0, handled_until_s=0.0).end(run)
    return {name for name, *_ in parsed(exposition([status_of(schedule, known, 3.0)], live=True).decode())}


def named_metrics(expression: str) -> set[str]:
    return set(re.findall(r"\bmigrator_\w+", expression))


def rules() -> list[dict[str, Any]]:
    document = yaml.safe_load((EXAMPLES / "prometheus" / "alerts.yaml").read_text())
    (group,) = document["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def test_alerts_speak_of_metrics_that_there_are(metrics: set[str]) -> None:
    """Each has an expression, a severity, and a summary."""
    assert len(rules()) == len({rule["alert"] for rule in rules()}) == 6
    for rule in rules():
        assert named_metrics(rule["expr"])
        assert named_metrics(rule["expr"]) <= metrics, rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="there is no promtool on this machine")
def test_prometheus_understands_the_alerts() -> None:
    subprocess.run(["promtool", "check", "rules", str(EXAMPLES / "prometheus" / "alerts.yaml")], check=True)


def test_the_dashboard_shows_metrics_that_there_are(metrics: set[str]) -> None:
    """Panels have their own ids, don't overlap, and ask the chosen data source."""
    board = json.loads((EXAMPLES / "grafana" / "dashboard.json").read_text())
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) >= 8
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        position = panel["gridPos"]
        covered = {
            (x, y)
            for x in range(position["x"], position["x"] + position["w"])
            for y in range(position["y"], position["y"] + position["h"])
        }
        assert not covered & cells
        cells |= covered
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            assert named_metrics(target["expr"]) <= metrics, panel["title"]
            assert target["expr"].count("(") == target["expr"].count(")")
    assert {each["name"] for each in board["templating"]["list"]} == {"datasource", "schedule"}
    assert max(x for x, _ in cells) == 23


def test_the_guide_names_metrics_that_there_are(metrics: set[str]) -> None:
    section = GUIDE.partition("## What to alert on")[2].partition("\n## ")[0]
    rows = "".join(line.split("|")[1] for line in section.splitlines() if line.startswith("| `"))
    assert {f"migrator_schedule_{name}" for name in re.findall(r"`(\w+)", rows)} == metrics


# -- the guide --------------------------------------------------------------------------------------------------


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```sh {kind}\n(.*?)```", GUIDE, re.DOTALL)


def _shim(folder: Path) -> Path:
    """A folder with a program `migrator` in it, as an installation has one."""
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    shim = programs / "migrator"
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m migrator "$@"\n')
    shim.chmod(0o755)
    return programs


def _run(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": f"{_shim(folder)}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    return subprocess.run(["bash", "-euxc", script], env=environ, cwd=folder, capture_output=True, text=True)


def test_the_newcomers_path_ends_with_a_verified_backup(
    elasticsearch_server: Server, index_prefix: str, tmp_path: Path
) -> None:
    """Every command of the first five minutes and of the drill, as they are written, on a real server."""
    pattern, drill = f"{index_prefix}from-%s", f"{index_prefix}drill-%s"
    fill_elasticsearch(elasticsearch_server, pattern, [activation(n) for n in range(120)])
    here = {
        "elasticsearch://es1.example.com:9200/?index-pattern=openwhisk-%s": elasticsearch_location(
            elasticsearch_server, pattern
        ),
        "elasticsearch://drill.example.com:9200": elasticsearch_location(elasticsearch_server, drill),
        **{name: str(tmp_path / name.strip("/")) for name in ("/etc/migrator", "/var/lib/migrator", "/var/backups")},
    }

    def as_here(script: str) -> str:
        for there, value in here.items():
            script = script.replace(there, value)
        return script

    (path,) = blocks("newcomer")
    ended = _run(as_here(path), tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "nightly: OK" in ended.stdout
    assert len(re.findall(r"^\w{3} \d{4}-\d\d-\d\d 02:(?:15|00):00 CES?T$", ended.stdout, re.MULTILINE)) == 3
    assert "verified (full)" in ended.stderr
    assert re.search(r"backup +\d{8}T\d{6}Z-\w{6}, full, .*, verified \(full\)", ended.stdout)
    assert "trouble" not in ended.stdout
    first, last = blocks("drill")
    config = {"MIGRATOR_CONFIG": str(tmp_path / "etc/migrator/migrator.toml")}
    exports = "".join(f"export {name}={value}\n" for name, value in config.items())
    ended = _run(exports + as_here(first), tmp_path)
    assert ended.returncode == 0, ended.stderr
    totals = [line.split() for line in ended.stdout.splitlines() if line.startswith("total ")]
    assert [(row[2], row[3]) for row in totals] == [("120", "0"), ("0", "120")], ended.stdout
    request("POST", f"{elasticsearch_server.url}/{drill.replace('%s', '*')}/_refresh")
    assert request("GET", f"{elasticsearch_server.url}/{drill.replace('%s', '*')}/_count")["count"] == 120
    ended = _run(exports + as_here(last), tmp_path)
    assert ended.returncode == 0, ended.stderr


def test_the_guide_leads_to_files_that_are_there() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", GUIDE):
        assert (ROOT / "docs" / link).exists(), link
