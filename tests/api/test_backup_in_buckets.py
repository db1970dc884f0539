"""Backups of a real server into a bucket of a real S3 server, killed in the middle, and back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyrage
import pytest

from migrator.adapters.archive.catalog import read_catalog
from migrator.adapters.archive.object_store import Bucket
from migrator.demo.servers import Server
from migrator.testing.documents import activation
from tests.api.test_backup_on_servers import sources
from tests.support.s3 import s3_server
from tests.support.servers import request
from tests.support.stores import elasticsearch_location, fill_elasticsearch


def test_elasticsearch_into_a_bucket_and_back(
    elasticsearch_server: Server, index_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Encrypted, the backup and the restore each killed and resumed: every `_source` is the same bytes."""
    first, second = f"{index_prefix}from-%s", f"{index_prefix}to-%s"
    fill_elasticsearch(
        elasticsearch_server,
        first,
        [activation(number, f"team-{number % 3}", logs=[os.urandom(300).hex()]) for number in range(6_000)],
    )
    there = sources(elasticsearch_server, first)
    assert len(there) == 6_000
    key = pyrage.x25519.Identity.generate()
    identity = tmp_path / "key.txt"
    identity.write_text(f"{key}\n")
    identity.chmod(0o600)
    archive = "s3://backups/openwhisk"
    with s3_server() as s3:
        s3.make_bucket("backups")
        for name, value in s3.environment.items():
            monkeypatch.setenv(name, value)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

        def run(*words: str, kill_when: Callable[[], bool] | None = None) -> None:
            """Run a command to its end, or kill it in the middle."""
            command = [sys.executable, "-m", "migrator", *words, "--state", str(tmp_path / "state"), "--quiet"]
            if kill_when is None:
                subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
                return
            slow = [*command, "--max-rate", "2000", "--jobs", "1"]
            with subprocess.Popen(slow, env=environment, stdout=subprocess.DEVNULL) as process:
                while not kill_when():
                    assert process.poll() is None
                    time.sleep(0.05)
                process.send_signal(signal.SIGKILL)

        backup = ["backup", elasticsearch_location(elasticsearch_server, first), archive, "--part-size", "64KiB"]
        backup += ["--encrypt-to", str(key.to_public())]
        run(*backup, kill_when=lambda: any(".zst.age" in key for key in s3.keys("backups")))
        catalog = read_catalog(Bucket(archive))
        assert (catalog.backups, len(catalog.unfinished)) == ((), 1)
        run(*backup)
        (made,) = read_catalog(Bucket(archive)).backups
        assert (made.encryption, made.documents) == ("age", 6_000)

        restore = ["restore", archive, elasticsearch_location(elasticsearch_server, second)]
        restore += ["--identity", str(identity)]

        def counted() -> int:
            pattern = second.replace("%s", "*")
            request("POST", f"{elasticsearch_server.url}/{pattern}/_refresh")
            return int(request("GET", f"{elasticsearch_server.url}/{pattern}/_count")["count"])

        run(*restore, kill_when=lambda: counted() > 0)
        assert 0 < counted() < 6_000
        run(*restore)
        assert sources(elasticsearch_server, second) == there
