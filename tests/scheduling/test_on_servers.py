"""Schedules on real servers, with the daemon as a process: chains, retention, kills, locks, outages."""

from __future__ import annotations

import json
import re
import sys
import time
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from migrator.adapters.archive.catalog import read_catalog
from migrator.adapters.archive.folder import Folder
from migrator.demo import servers
from migrator.demo.servers import Server
from migrator.engine.state.jobs import list_jobs, view_checkpoint
from migrator.errors import MigratorError
from migrator.operations.archive.check import check_archive
from migrator.testing.documents import activation
from tests.support.daemons import Folders, backups_of, hearing, parsed, until
from tests.support.servers import request
from tests.support.stores import (
    couchdb_location,
    elasticsearch_location,
    fill_couchdb,
    fill_elasticsearch,
    new_database,
)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


def backup_file(source: str, archive: str, when: str, more: str = "", tables: str = "") -> str:
    return f'source = "{source}"\ntarget = "{archive}"\n{more}\n[when]\n{when}\n{tables}'


def completed(folders: Folders, name: str, runs: int) -> bool:
    known = folders.remembered(name)
    return known is not None and known.complete >= runs


def test_three_schedules_every_few_seconds(
    elasticsearch_server: Server, couchdb_server: Server, index_prefix: str, folders: Folders
) -> None:
    """Increments chain, retention prunes, a copy follows; endpoint and textfile agree with `schedule list`."""
    pattern, copied, database = f"{index_prefix}from-%s", f"{index_prefix}to-%s", new_database(couchdb_server)
    fill_elasticsearch(elasticsearch_server, pattern, [activation(n) for n in range(50)])
    fill_couchdb(couchdb_server, database, [activation(n) for n in range(50)])
    search, archive = elasticsearch_location(elasticsearch_server, pattern), folders.archive("search")
    couch = couchdb_location(couchdb_server, database)
    kept = '[verification]\ncheck = "quick"\n[retention]\nlast = 1\n'
    folders.write("search", backup_file(search, archive, 'every = "3s"', 'full_every = "12s"', kept))
    sampled = '[verification]\ncheck = "sample 50%"\n'
    folders.write("couch", backup_file(couch, folders.archive("couch"), 'every = "4s"', "", sampled))
    target = elasticsearch_location(elasticsearch_server, copied)
    folders.write("follow", f'task = "copy"\nsource = "{couch}"\ntarget = "{target}"\n[when]\nevery = "5s"\n')
    with folders.daemon("--listen", "0", "--textfile", str(folders.textfile)) as daemon:
        for step in range(1, 5):
            for name in ("search", "couch", "follow"):
                until(partial(completed, folders, name, step), "they run")
            added = [activation(n) for n in range(50 * step, 50 * (step + 1))]
            fill_elasticsearch(elasticsearch_server, pattern, added)
            fill_couchdb(couchdb_server, database, added)
        until(lambda: (known := folders.remembered("search")) and known.last and known.last.deleted, "it prunes")
        assert backups_of(archive)[0].mode == "full"
        assert "search: incremental backup on " in folders.log
        newest = {name: folders.remembered(name) for name in ("couch", "follow")}
        until(lambda: all(completed(folders, n, k.complete + 2) for n, k in newest.items() if k), "the last arrives")
        for path in folders.schedules.iterdir():  # so that nothing moves while it is compared
            folders.write(path.stem, re.sub('every = "[345]s"', 'every = "1w"', path.read_text()))
        until(lambda: folders.log.count("reloaded") == 3, "the changes are loaded")
        until(lambda: {each["state"] for each in folders.list()} == {"waiting"}, "all is quiet")
        status, metrics = daemon.get("/metrics")
        assert status == 200
        _assert_agree(folders.list(), parsed(metrics), live=True)
        assert daemon.get("/live")[0] == 200
        assert daemon.get("/health")[0] == 200
        assert daemon.end() == 0
    listed = folders.list()
    files = {path.name: parsed(path.read_text()) for path in folders.textfile.iterdir()}
    assert set(files) == {"migrator-couch.prom", "migrator-follow.prom", "migrator-search.prom"}
    written = {key: value for file in files.values() for key, value in file.items()}
    assert not [name for name, *_ in written if name in ("migrator_schedule_stale", "migrator_schedule_running")]
    _assert_agree(listed, written, live=False)
    chain = backups_of(folders.archive("couch"))
    assert [each.parent for each in chain] == [None, *(each.backup for each in chain[:-1])]
    assert sum(each.documents for each in chain) == 250
    assert check_archive(folders.archive("search")).findings == ()
    request("POST", f"{elasticsearch_server.url}/{copied.replace('%s', '*')}/_refresh")
    found = request("GET", f"{elasticsearch_server.url}/{copied.replace('%s', '*')}/_count")
    assert found["count"] == 250


def _assert_agree(listed: list[Any], metrics: dict[tuple[str, ...], float], *, live: bool) -> None:
    for each in listed:
        name, last, success = each["schedule"], each["last"], each["last_success"]
        expected = {
            "last_success_timestamp_seconds": success["ended_s"],
            "last_run_duration_seconds": last["ended_s"] - last["began_s"],
            "last_run_documents": last["documents"],
            "last_run_rejected": last["rejected"],
            "last_run_exit_code": last["exit_code"],
        }
        if live:
            expected |= {"stale_after_seconds": each["stale_after_s"], "stale": float(each["stale"])}
        if each["last_backup"]:
            expected["last_backup_bytes"] = each["last_backup"]["backup_bytes"]
            expected["last_backup_documents"] = each["last_backup"]["backup_documents"]
        for metric, value in expected.items():
            assert metrics[f"migrator_schedule_{metric}", name] == pytest.approx(value), (name, metric)


def _slow(folders: Folders, server: Server, documents: int = 600) -> str:
    """A schedule whose backup takes some seconds; the path of its archive."""
    database = new_database(server)
    fill_couchdb(server, database, [activation(n) for n in range(documents)])
    limits = "[limits]\nmax_rate = 100\njobs = 1\n"
    text = backup_file(couchdb_location(server, database), folders.archive("slow"), 'every = "1h"', "", limits)
    folders.write("slow", text)
    return folders.archive("slow")


def _is_under_way(folders: Folders) -> bool:
    """Whether a run that is killed now is resumed: its plan is noted, some time after its folder is there."""
    for job in list_jobs(folders.state):
        with suppress(MigratorError), closing(view_checkpoint(job)) as checkpoint:
            return checkpoint.state == "unfinished"
    return False


def test_a_backup_killed_half_way_is_continued_once(couchdb_server: Server, folders: Folders) -> None:
    """After SIGKILL the next daemon resumes it; missed moments are handled by that one run."""
    archive = _slow(folders, couchdb_server)
    folders.overdue("slow", hours=3)
    with folders.daemon() as daemon:
        until(lambda: _is_under_way(folders), "the backup began")
        begun = {path.name for path in (folders.archives / "slow" / "backups").iterdir()}
        daemon.kill()
    assert folders.list()[0]["state"] == "cut short"
    assert not completed(folders, "slow", 1)
    with folders.daemon() as daemon:
        until(lambda: completed(folders, "slow", 1), "the backup is complete")
        time.sleep(3)  # long enough for one that shouldn't begin
        assert daemon.end() == 0
    known = folders.remembered("slow")
    assert known is not None
    assert known.attempt is None
    assert (known.complete, known.failed, known.interrupted) == (1, 0, 0)
    assert [each.backup for each in backups_of(archive)] == sorted(begun)
    assert backups_of(archive)[0].documents == 600
    assert "earlier runs were missed; this run makes up for all of them" in folders.log
    assert "resuming the interrupted backup" in folders.log
    assert folders.list()[0]["next_s"] > time.time()


def test_a_daemon_asked_to_stop_leaves_a_backup_that_is_continued(couchdb_server: Server, folders: Folders) -> None:
    """SIGTERM ends the run cleanly; its moment stays open."""
    archive = _slow(folders, couchdb_server)
    folders.overdue("slow", hours=1.5)
    with folders.daemon() as daemon:
        until(lambda: _is_under_way(folders), "the backup began")
        assert daemon.end() in (0, 143)  # 143: the machine was too slow to end cleanly
    assert not completed(folders, "slow", 1)
    once = folders.run("run", "slow", "--once", "--json")
    assert once.returncode == 0, once.stderr
    assert json.loads(once.stdout)["moment_s"] is not None
    assert len(backups_of(archive)) == 1


def test_daemon_and_once_never_overlap(couchdb_server: Server, folders: Folders) -> None:
    """The second one says who holds the lock, and ends with 11; the daemon waits for `--once` in turn."""
    archive = _slow(folders, couchdb_server)
    folders.overdue("slow", hours=1.5)
    with folders.daemon() as daemon:
        until(lambda: (known := folders.remembered("slow")) and known.attempt, "the run began")
        once = folders.run("run", "slow", "--once")
        assert once.returncode == 11
        assert f"schedule slow is being run by process {daemon.pid} on " in once.stderr
        until(lambda: completed(folders, "slow", 1), "the daemon's run is complete")
        assert len(backups_of(archive)) == 1


def test_an_outage_is_waited_out_and_told(server_folder: Path, folders: Folders, tmp_path: Path) -> None:
    """Retries, a failure told, then success told; meanwhile retention touched nothing."""
    heard_by_command = tmp_path / "heard.ndjson"
    script = f"import sys; open({str(heard_by_command)!r}, 'a').write(sys.stdin.read() + chr(10))"
    with hearing() as (address, heard), servers.couchdb(folder=server_folder) as server:
        database = new_database(server)
        fill_couchdb(server, database, [activation(n) for n in range(30)])
        words = ", ".join(json.dumps(word) for word in (sys.executable, "-c", script))
        tables = (
            '[verification]\ncheck = "full"\n[retention]\nlast = 1\n'
            '[failure]\nretries = 1\nwait = "1s"\nretry_for = "1s"\n'
            f'[notify]\nping = "{address}/kanarienvogel"\ncommand = [{words}]\n'
        )
        source = couchdb_location(server, database)
        folders.write("away", backup_file(source, folders.archive("away"), 'every = "3s"', 'mode = "full"', tables))
        with folders.daemon() as daemon:
            until(lambda: completed(folders, "away", 3), "it runs")
            server.stop()
            until(lambda: [path for path, _ in heard if path.endswith("/fail")], "a failure is reported")
            failed = folders.remembered("away")
            assert failed is not None
            assert failed.last is not None
            before = [each.backup for each in backups_of(folders.archive("away"))]
            again = failed.failed + 1
            until(lambda: (known := folders.remembered("away")) and known.failed >= again, "it fails again")
            assert [each.backup for each in backups_of(folders.archive("away"))] == before
            assert [each["trouble"] != "" for each in folders.list()] == [True]
            assert folders.run("list").returncode == 3
            server.start()
            runs = failed.complete + 2
            until(lambda: completed(folders, "away", runs), "it runs again")
            assert folders.run("list").returncode == 0
            assert daemon.end() in (0, 143)
    assert failed.last.exit_code == 5
    assert failed.last.tries == 2
    assert failed.last.deleted == ()
    paths = [path for path, _ in heard]
    fails = [number for number, path in enumerate(paths) if path == "/kanarienvogel/fail"]
    successes = [number for number, path in enumerate(paths) if path == "/kanarienvogel"]
    assert successes[0] < fails[0] < fails[-1] < successes[-1]
    assert paths[0] == "/kanarienvogel/start"
    assert all(text.startswith("away: ") for _, text in heard)
    reports = [json.loads(line) for line in heard_by_command.read_text().splitlines()]
    assert {report["outcome"] for report in reports} >= {"complete", "failed"}
    complete = [report for report in reports if report["outcome"] == "complete"]
    assert all(report["report"]["adds_up"] and report["verified"] == "full" for report in complete)
    assert "try 2 of 2 in " in folders.log
    for text in (folders.log, folders.run("list", "--json").stdout, *_texts(folders.state)):
        assert "kanarienvogel" not in text


def _texts(folder: Path) -> list[str]:
    return [path.read_bytes().decode(errors="replace") for path in folder.rglob("*") if path.is_file()]


def test_retention_waits_for_a_backup_that_is_whole(couchdb_server: Server, folders: Folders) -> None:
    """A backup that fails its verification deletes nothing, and is followed by one that doesn't build on damage."""
    database = new_database(couchdb_server)
    fill_couchdb(couchdb_server, database, [activation(n) for n in range(30)])
    tables = '[verification]\ncheck = "full"\n[retention]\nlast = 1\n'
    source, archive = couchdb_location(couchdb_server, database), folders.archive("checked")
    folders.write("checked", backup_file(source, archive, 'cron = "0 0 1 1 *"', "", tables))
    assert folders.run("run", "checked", "--once").returncode == 0
    first = backups_of(archive)[0]
    part = Path(archive.removeprefix("archive:")) / first.folder / first.parts[0].name
    whole = part.read_bytes()
    part.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    for _ in range(3):
        fill_couchdb(couchdb_server, database, [activation(int(time.time() * 1000) % 10**9)])
        damaged = folders.run("run", "checked", "--once")
        assert damaged.returncode == 12
        assert "nothing was deleted" in damaged.stderr
    backups = backups_of(archive)
    made = [(each.mode, each.parent) for each in backups]
    assert made == [("full", None), ("incremental", first.backup), ("full", None), ("incremental", backups[2].backup)]
    part.write_bytes(whole)
    mended = folders.run("run", "checked", "--once", "--json")
    assert mended.returncode == 0
    assert set(json.loads(mended.stdout)["deleted"]) >= {first.backup}


def test_a_limit_of_time_ends_a_run_that_the_next_goes_on_with(couchdb_server: Server, folders: Folders) -> None:
    """It ends with 8; the backup is in one piece afterwards."""
    archive = _slow(folders, couchdb_server)
    path = folders.schedules / "slow.toml"
    text = path.read_text()
    path.write_text(text.replace("jobs = 1", 'jobs = 1\nmax_duration = "3s"'))
    limited = folders.run("run", "slow", "--once")
    assert limited.returncode == 8, limited.stderr
    assert "max_duration (3.0 s); the next run resumes where it stopped" in limited.stderr
    path.write_text(text.replace("max_rate = 100\n", ""))
    assert folders.run("run", "slow", "--once").returncode == 0
    assert [each.documents for each in backups_of(archive)] == [600]
    assert read_catalog(Folder(archive.removeprefix("archive:"))).unfinished == ()


def test_the_daemon_takes_up_changes_and_hears_sighup(couchdb_server: Server, folders: Folders) -> None:
    """A file that breaks is reported by log, list and health, and again when it is requested."""
    database = new_database(couchdb_server)
    source = couchdb_location(couchdb_server, database)
    good = backup_file(source, folders.archive("good"), 'every = "2s"')
    folders.write("good", good)
    with folders.daemon("--listen", "0") as daemon:
        until(lambda: completed(folders, "good", 1), "it runs")
        folders.write("bad", good.replace("every", "evry"))
        until(lambda: "bad.toml:5: when.evry: unknown" in folders.log, "the broken file is reported")
        assert daemon.get("/health")[0] == 503
        assert 'migrator_schedule_broken{schedule="bad"} 1.0' in daemon.get("/metrics")[1]
        known = folders.remembered("good")
        assert known is not None
        runs = known.complete + 1
        until(lambda: completed(folders, "good", runs), "the good one runs on")
        told = folders.log.count("when.evry: unknown")
        daemon.hang_up()
        until(lambda: folders.log.count("when.evry: unknown") == told + 1, "it is reported again")
        (folders.schedules / "bad.toml").unlink()
        until(lambda: daemon.get("/health")[0] == 200, "all is well")
        assert daemon.get("/nothing")[0] == 404
        assert daemon.end() == 0
