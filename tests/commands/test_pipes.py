"""Pipes on the command line: documents on standard output, everything else on stderr."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from pathlib import Path

from migrator.testing.documents import activation
from tests.support.forked import run_forked

BODIES = b"".join(activation(number).body + b"\n" for number in range(20))


def migrator(folder: Path, *arguments: str, piped: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "XDG_CONFIG_HOME": str(folder)}
    return run_forked(*arguments, "--state", str(folder / "state"), piped=piped, env=environment)


def test_documents_alone_go_to_standard_output(tmp_path: Path) -> None:
    """Also with --json; the report is on stderr. Each run gives all of them."""
    source = tmp_path / "acts.ndjson.gz"
    source.write_bytes(gzip.compress(BODIES))
    for options in ([], ["--json"], []):
        ended = migrator(tmp_path, "copy", str(source), "-", *options)
        assert (ended.returncode, ended.stdout) == (0, BODIES), ended.stderr
        assert b"written" in ended.stderr


def test_standard_input_is_converted_into_a_file(tmp_path: Path) -> None:
    """What is piped in again isn't taken for what was there the first time."""
    for name in ("a", "b"):
        target = tmp_path / f"{name}.jsonl"
        ended = migrator(tmp_path, "copy", "-", f"{target}?form=elasticsearch", "--quiet", piped=BODIES)
        assert (ended.returncode, ended.stdout) == (0, b""), ended.stderr
        hits = [json.loads(line) for line in target.read_bytes().splitlines()]
        assert [hit["_id"] for hit in hits] == [activation(number).id for number in range(20)]
        assert hits[0]["_source"]["path"] == "guest/hello"


def test_damaged_file_ends_with_exit_code_12(tmp_path: Path) -> None:
    """It is named, with the byte; what stood before is in the target's temporary file, and nothing has its name."""
    source = tmp_path / "acts.ndjson.gz"
    source.write_bytes(gzip.compress(BODIES)[:-9])
    ended = migrator(tmp_path, "copy", str(source), str(tmp_path / "out.ndjson"))
    assert ended.returncode == 12
    assert b"acts.ndjson.gz: cut off at byte" in ended.stderr
    assert not (tmp_path / "out.ndjson").exists()
