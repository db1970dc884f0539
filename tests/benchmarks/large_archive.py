"""A large archive: how much memory does restoring it take, and how much of it is read for one hour?

Generates an archive of so many gigabytes, in the form and order in which Elasticsearch gives activations (their starts
rise), restores it whole into a file and one hour of it into another, and prints peak memory, time, and bytes read.

usage: python -m tests.benchmarks.large_archive [--gigabytes 3] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from migrator.activations.document import Document, Form
from migrator.activations.selection import Selection
from migrator.adapters.archive import ArchiveReader, ArchiveWriter
from migrator.adapters.archive.folder import Folder
from migrator.adapters.base import Token
from tests.benchmarks.copying import wait_for
from tests.support.archives import completion

FIRST_MS = 1_767_225_600_000
DAY_MS = 86_400_000
INDEX = "openwhisk-guest"
DOCUMENT_BYTES = 12_000  # most of it is text that compresses to half


class CountingFolder(Folder):
    """A folder that counts what is read from it."""

    read_bytes = 0

    def read(self, name: str) -> bytes:
        data = super().read(name)
        self.read_bytes += len(data)
        return data

    def read_range(self, name: str, offset: int, size_bytes: int) -> bytes:
        self.read_bytes += size_bytes
        return super().read_range(name, offset, size_bytes)


def documents(count: int) -> Iterator[list[Document]]:
    """Batches of activations over 30 days, in the order of their starts up to a minute."""
    chance = random.Random(1)
    for first in range(0, count, 200):
        batch = []
        for number in range(first, min(first + 200, count)):
            start_ms = FIRST_MS + number * 30 * DAY_MS // count + chance.randrange(60_000)
            id = f"{chance.getrandbits(128):032x}"
            result = json.dumps({"data": os.urandom(DOCUMENT_BYTES // 2 - 300).hex()})
            body = (
                f'{{"activationId":"{id}","namespace":"guest","name":"hello","subject":"guest","start":{start_ms},'
                f'"end":{start_ms + 5},"logs":[],"publish":false,"version":"0.0.1","annotations":{{}},'
                f'"response":{{"statusCode":0,"result":{json.dumps(result)}}},"path":"guest/hello",'
                f'"@timestamp":"2026-01-01T00:00:00Z"}}'
            )
            source = body.encode()
            batch.append(Document(f"guest/{id}", Form.ELASTICSEARCH, source, "guest", "hello", start_ms, index=INDEX))
        yield batch


def generate(folder: Path, gigabytes: float) -> int:
    """Write the archive; returns how many documents it has."""
    writer = ArchiveWriter(Folder(str(folder)))
    writer.prepare()
    receipts: list[tuple[int, Token]] = []
    count = int(gigabytes * 1e9 / (DOCUMENT_BYTES // 2))
    for batch in documents(count):
        writer.write(batch, replace=False)
        if writer.due():
            receipts.append((0, writer.flush()))
    receipts.append((0, writer.flush()))
    writer.finish(completion(Form.ELASTICSEARCH, [each for each in receipts if each[1] is not None]))
    return count


def restore(archive: Path, target: Path, state: Path, *more: str) -> tuple[int, float, float]:
    """The documents that a restore wrote, its seconds and its peak memory in MB."""
    began_s = time.monotonic()
    words = ["restore", f"archive:{archive}", str(target), "--state", str(state), "--json", "--quiet", *more]
    with subprocess.Popen([sys.executable, "-m", "migrator", *words], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        printed = process.stdout.read()
        status, usage = wait_for(process)
    if status:
        raise SystemExit(f"restore ended with exit code {status}")
    return json.loads(printed)["totals"]["written"], time.monotonic() - began_s, usage.ru_maxrss / 1000


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--gigabytes", type=float, default=3)
    options.add_argument("--folder", type=Path)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        folder = Path(name)
        archive = folder / "archive"
        count = generate(archive, chosen.gigabytes)
        size = sum(each.stat().st_size for each in archive.rglob("*") if each.is_file())
        print(f"archive: {count:,} documents, {size / 1e9:.2f} GB", flush=True)
        written, took_s, peak_mb = restore(archive, folder / "all.ndjson", folder / "state")
        assert written == count
        print(f"restored whole in {took_s:.0f} s, peak memory {peak_mb:.0f} MB (goal 150 or less)", flush=True)
        (folder / "all.ndjson").unlink()

        since_ms = FIRST_MS + 15 * DAY_MS
        hour = Selection(since_ms=since_ms, until_ms=since_ms + 3_600_000)
        span = ("--since", str(hour.since_ms), "--until", str(hour.until_ms))
        written, took_s, peak_mb = restore(archive, folder / "hour.ndjson", folder / "state", *span)
        place = CountingFolder(str(archive))
        reader = ArchiveReader(place)
        slices = reader.plan(hour, slice_documents=1).slices
        given = sum(len(batch.documents) for each in slices for batch in reader.read(each, None, hour))
        assert given == written > 0
        fitting = sum(
            frame.size_bytes
            for each in slices
            for frame in reader.part_of(each).index.frames
            if frame.note.last_ms >= since_ms and frame.note.first_ms < since_ms + 3_600_000
        )
        print(f"one hour: {written:,} documents in {took_s:.1f} s, peak memory {peak_mb:.0f} MB")
        print(
            f"{place.read_bytes:,} bytes were read of {size:,}: {fitting:,} are the frames that can hold the hour, "
            "the rest manifests and indices"
        )


if __name__ == "__main__":
    main()
