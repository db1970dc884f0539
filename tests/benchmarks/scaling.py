"""What a copy of billions of activations asks of its coordinator: the real engine, simulated stores and workers.

Plan, coordinator and checkpoint are those of the product, on a real disk; reading and writing take no time here, but
move a clock that is turned by hand: each of the workers carries documents at a given rate. So what is measured is the
coordinator's own processor time for a slice, its memory, the size of the checkpoint and of a backup's manifest; what is
computed is how long the copy takes.

usage: python -m tests.benchmarks.scaling [--documents 100_000_000 10_000_000_000] [--workers 64] [--rate 2500]
"""

from __future__ import annotations

import argparse
import heapq
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from migrator.activations.accounts import Counts
from migrator.activations.document import Document, Form
from migrator.activations.selection import Selection
from migrator.adapters.archive.lane import Receipt
from migrator.adapters.archive.manifest import Manifest, SourceNote, part_name
from migrator.adapters.base import (
    Batch,
    Completion,
    Description,
    Plan,
    Reader,
    Refusal,
    Slice,
    SupportsCatchUp,
    SupportsReceipts,
    Token,
    WriteOutcome,
    Writer,
)
from migrator.adapters.elasticsearch.hits import Window
from migrator.engine.coordinating import Coordinator
from migrator.engine.copy import run_copy
from migrator.engine.executors.assigning import Assigning, knowledge_for
from migrator.engine.executors.dask import SLICE_DOCUMENTS
from migrator.engine.held import Flushed
from migrator.engine.options import CopyOptions
from migrator.engine.state.checkpoint import Checkpoint, Commit, OpenSlice
from migrator.events.watching import Stop
from tests.support.worlds import SPEC

NAMESPACES = [f"team-{number}" for number in range(20)]
BODY_BYTES, STORED_BYTES = 1_000, 180  # of a document, and of what a backup stores of it
PART_BYTES = 32 << 20
DESCRIPTION = Description(location="simulated", product="simulated", version="1", identity={"cluster": "x"})


class SimulatedReader(Reader, SupportsCatchUp):
    """An index of so many documents in shards of 50 million, cut as the reader of Elasticsearch cuts it."""

    form = Form.ELASTICSEARCH

    def __init__(self, documents: int) -> None:
        self._documents = documents

    def describe(self) -> Description:
        return DESCRIPTION

    def plan(self, selection: Selection, *, slice_documents: int) -> Plan:
        slices: list[Slice] = []
        left, shard = self._documents, 0
        while left > 0:
            highest = min(left, 50_000_000) - 1
            above = -1
            while above < highest:
                last = min(above + slice_documents, highest)
                window = Window("openwhisk-guest", "u" * 22, "h" * 22, shard, above, last)
                key = f"openwhisk-guest[{shard}] {above + 1}..{last} of hhhhhhhh"
                slices.append(Slice(key=key, spec=msgspec.to_builtins(window), documents=last - above))
                above = last
            left, shard = left - highest - 1, shard + 1
        return Plan(slices=tuple(slices), snapshot={"indices": {}})

    def catch_up(self, snapshot: Token, selection: Selection, *, slice_documents: int) -> Plan:
        return Plan(slices=(), snapshot=snapshot)

    def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
        raise NotImplementedError("simulated workers read nothing")

    def close(self) -> None:
        """Nothing is open."""


class SimulatedWriter(Writer):
    """A store that takes everything."""

    form: Form | None = Form.ELASTICSEARCH

    def describe(self) -> Description:
        return DESCRIPTION

    def prepare(self) -> Token:
        return None

    def write(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
        raise NotImplementedError("simulated workers write nothing")

    def flush(self) -> Token:
        return None

    def finish(self, completion: Completion) -> None:
        """Nothing to complete."""

    def close(self) -> None:
        """Nothing is open."""


class SimulatedBackup(SimulatedWriter, SupportsReceipts):
    """A backup, whose manifest is made as the product makes it."""

    manifest_bytes = 0

    def resume(self, prepared: Token, receipts: Sequence[tuple[int, Token]]) -> Refusal | None:
        return None

    def finish(self, completion: Completion) -> None:
        parts = [msgspec.convert(receipt, Receipt).note(round) for round, receipt in completion.receipts]
        source = SourceNote(location="simulated", product="simulated", version="1", identity=None)
        manifest = Manifest(
            archive="a" * 32,
            backup="20260101T000000Z-000000",
            mode="full",
            parent=None,
            form=Form.ELASTICSEARCH,
            source=source,
            selection=completion.selection,
            began_ms=0,
            ended_ms=0,
            snapshot_ms=None,
            snapshot=None,
            encryption=None,
            counts=completion.counts,
            deleted=0,
            warnings=(),
            unread=0,
            number=1,
            parts=parts,
        )
        self.manifest_bytes = len(manifest.encode())


class SimulatedWorkers:
    """So many workers at a given rate, on a clock that jumps from one finished slice to the next."""

    slice_documents = SLICE_DOCUMENTS

    def __init__(self, workers: int, rate: float, *, backs_up: bool) -> None:
        self.threads = workers
        self._rate = rate
        self._backs_up = backs_up
        self._part = 0
        self.now_s = 0.0
        self.slices = 0
        self.processor_s = 0.0

    def run(self, slices: Sequence[OpenSlice], coordinator: Coordinator) -> None:
        began_s = time.process_time()
        assigning = Assigning(slices, coordinator)
        busy: list[tuple[float, int, OpenSlice]] = []
        while True:
            while len(busy) < self.threads and (open := assigning.next()) is not None:
                begun = coordinator.begin(open)
                knowledge_for(begun, coordinator)
                assert begun.slice.documents is not None
                heapq.heappush(busy, (self.now_s + begun.slice.documents / self._rate, begun.number, begun))
            if not busy:
                break
            self.now_s, _, done = heapq.heappop(busy)
            for flushed in self._durable(done):
                coordinator.flushed(flushed)
                assert coordinator.commit(flushed)
                for commit in flushed.commits:
                    coordinator.carried(commit)
            assigning.done([done.number])
            self.slices += 1
        self.processor_s += time.process_time() - began_s

    def _durable(self, open: OpenSlice) -> Iterator[Flushed]:
        """What comes back of a slice: one commit; of a backup one for each part."""
        documents = open.slice.documents or 0
        parts = -(-documents * STORED_BYTES // PART_BYTES) if self._backs_up else 1
        for part in range(parts):
            some = documents // parts + (documents % parts if part == 0 else 0)
            counts = {name: Counts() for name in NAMESPACES}
            for at, each in enumerate(counts.values()):
                each.read = each.written = some // len(NAMESPACES) + (some % len(NAMESPACES) if at == 0 else 0)
                each.size_bytes = each.read * BODY_BYTES
            commit = Commit(slice=open.number, position=open.slice.spec["above"] + some, counts=counts)
            yield Flushed(
                commits=[commit],
                ended=[open.number] if part == parts - 1 else [],
                receipt=self._receipt(counts) if self._backs_up else None,
                samples=(),
                attempts={open.number: open.attempt},
            )

    def _receipt(self, counts: dict[str, Counts]) -> Token:
        self._part += 1
        documents = sum(each.written for each in counts.values())
        receipt = Receipt(
            name=part_name(self._part, None),
            documents=documents,
            size_bytes=documents * STORED_BYTES,
            raw_bytes=documents * BODY_BYTES,
            sha256="0" * 64,
            first_ms=1_700_000_000_000,
            last_ms=1_700_000_000_000,
            namespaces={name: each.written for name, each in counts.items()},
        )
        token: Token = msgspec.to_builtins(receipt)
        return token


def peak_mb() -> float:
    """The highest memory of this process; of what it started from nothing is inherited."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1000


def simulate(documents: int, workers: int, rate: float, *, backs_up: bool, folder: Path) -> dict[str, Any]:
    """One copy or backup of so many documents; figures for a table."""
    before_mb = peak_mb()
    executor = SimulatedWorkers(workers, rate, backs_up=backs_up)
    writer = SimulatedBackup() if backs_up else SimulatedWriter()
    path = folder / "job.sqlite"
    checkpoint = Checkpoint(path)
    began_s = time.process_time()
    report = run_copy(
        SimulatedReader(documents),
        writer,
        checkpoint,
        SPEC,
        Selection(),
        CopyOptions(jobs=workers, slice_documents=executor.slice_documents),
        stop=Stop(),
        clock=lambda: executor.now_s,
        executor=executor,
    )
    total_s = time.process_time() - began_s
    checkpoint.close()
    assert report.totals.read == report.totals.written == documents
    workers_s = executor.now_s * workers
    return {
        "what": "backup" if backs_up else "copy",
        "documents": documents,
        "workers": workers,
        "hours": round(executor.now_s / 3600, 2),
        "slices": executor.slices,
        "coordinator_s": round(total_s, 2),
        "slices_per_s": round(executor.slices / executor.processor_s),
        "share_of_workers": total_s / workers_s,
        "peak_mb": round(peak_mb()),
        "grown_mb": round(peak_mb() - before_mb),
        "checkpoint_mb": round(sum(each.stat().st_size for each in folder.iterdir()) / 1e6, 1),
        "manifest_mb": round(writer.manifest_bytes / 1e6, 1) if isinstance(writer, SimulatedBackup) else None,
    }


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--documents", type=int, nargs="*", default=[100_000_000, 1_000_000_000, 10_000_000_000])
    options.add_argument("--workers", type=int, default=64)
    options.add_argument("--rate", type=float, default=2500, help="documents a second of each worker")
    options.add_argument("--one", choices=["copy", "backup"], help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.one:
        with tempfile.TemporaryDirectory() as name:
            backs_up = chosen.one == "backup"
            (documents,) = chosen.documents
            print(json.dumps(simulate(documents, chosen.workers, chosen.rate, backs_up=backs_up, folder=Path(name))))
        return
    print(f"{chosen.workers} workers at {chosen.rate:,.0f} documents/s each, slices of {SLICE_DOCUMENTS:,} documents")
    for documents in chosen.documents:
        for what in ("copy", "backup"):  # each in a process of its own, so that memory is its own
            words = [sys.executable, "-m", "tests.benchmarks.scaling", "--documents", str(documents), "--one", what]
            words += ["--workers", str(chosen.workers), "--rate", str(chosen.rate)]
            print(subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip(), flush=True)


if __name__ == "__main__":
    main()
