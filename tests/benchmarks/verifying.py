"""How much memory does a verification of 1,000,000 activations take, and how much time beside reading them?

Both sides are made while they are read, A in CouchDB's form and B in Elasticsearch's, so that the memory is that of
the verification alone. Three times: a few faults, equal sides, and (with --all-different) a B in which every document
differs. Each in a process of its own; the goal is a peak below 150 MB. Ends with 1 where it isn't reached, or where
something else is found than was made.

usage: python -m tests.benchmarks.verifying [--documents 1000000] [--jobs 4] [--all-different]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from migrator.activations import forms
from migrator.activations.document import Document, Form, read_document
from migrator.activations.requests import JobRequest
from migrator.activations.selection import Selection
from migrator.adapters.base import (
    Abilities,
    Batch,
    Description,
    Plan,
    Reader,
    Slice,
    SupportsCount,
    SupportsFetch,
    Token,
)
from migrator.adapters.shared.paging import Page
from migrator.demo import samples
from migrator.engine.verification.compare import VerifyOptions, run_verify
from migrator.engine.verification.evidence import Evidence
from migrator.engine.verification.values import VerifySpec
from migrator.events.watching import Stop

GOAL_MB = 150
_SLICE = 5_000
_PAGE = 1_000
_FAULT_EVERY = 7_919  # in the run with a few faults


class MadeReader(Reader, SupportsFetch, SupportsCount):
    """A side of `documents` activations, recreated at each reading; of B some are missing, added or changed."""

    abilities = Abilities(doubles=True)
    form = Form.COUCHDB

    def __init__(self, form: Form, documents: int, faults: str = "none") -> None:
        self.form = form
        self._documents = documents
        self._faults = faults
        self._everyday = [*_everyday(form)]

    def describe(self) -> Description:
        return Description(location=f"made:{self.form}", product="made", version="1", identity=self.form)

    def plan(self, selection: Selection, *, slice_documents: int) -> Plan:
        firsts = range(0, self._documents, _SLICE)
        return Plan(
            slices=tuple(
                Slice(key=str(first), spec={"first": first}, documents=min(_SLICE, self._documents - first))
                for first in firsts
            )
        )

    def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
        done = 0 if after is None else msgspec.convert(after, int)
        made = self._made(slice.spec["first"])
        page, size_bytes = Page(self.form, selection), 0
        for at, (id, body) in enumerate(made):
            if at >= done and body is not None:
                page.take(id, body)
                size_bytes += len(body)
            if (at + 1) % _PAGE == 0 and at >= done:
                yield page.batch(at + 1, size_bytes=size_bytes)
                page, size_bytes = Page(self.form, selection), 0
        yield page.batch(_SLICE, size_bytes=size_bytes)

    def fetch(self, ids: Sequence[str], after: Token, selection: Selection) -> Iterator[Batch]:
        wanted: defaultdict[int, set[str]] = defaultdict(set)
        for id in ids:
            wanted[int(id.rpartition("/")[2][:8], 16)].add(id)
        page = Page(self.form, selection)
        for first, some in wanted.items():
            for id, body in self._made(first):
                if id in some and body is not None:
                    page.take(id, body)
        yield page.batch(len(ids), size_bytes=0)

    def _made(self, first: int) -> Iterator[tuple[str, bytes | None]]:
        """The documents of a slice: everyday ones under ids of their own, which tell slice and number."""
        for number, (namespace, old, pieces) in enumerate(self._everyday[: self._documents - first]):
            kind = self._kind(first + number)
            id = f"{first:08x}{number:08x}{old[16:]}"
            body = id.encode().join(pieces)
            if kind == "different":
                body = body.replace(b'"version":"0.0.', b'"version":"0.1.')
            yield f"{namespace}/{id}", None if kind == "missing" else body
            if kind == "extra":
                id = f"{first:08x}{number:08x}{'e' * 16}"
                yield f"{namespace}/{id}", id.encode().join(pieces)

    def _kind(self, number: int) -> str:
        if self._faults == "few" and number % _FAULT_EVERY == 0:
            return ("missing", "extra", "different")[number // _FAULT_EVERY % 3]
        return "different" if self._faults == "all" else "none"

    def count(self, selection: Selection) -> int | None:
        return self._documents

    def close(self) -> None:
        pass


def _everyday(form: Form) -> Iterator[tuple[str, str, list[bytes]]]:
    """Namespace, activation id, and what stands around the id in the body."""
    for sample in samples.everyday(_SLICE):
        namespace, _, id = json.loads(sample)["_id"].partition("/")
        document = read_document(f"{namespace}/{id}", sample, Form.COUCHDB)
        assert isinstance(document, Document)
        converted = forms.convert(document, form)
        assert isinstance(converted, Document)
        yield namespace, id, converted.body.split(id.encode())


def once(documents: int, jobs: int, faults: str) -> bool:
    """Read B without more, verify, and print; whether it was as it should be."""
    a, b = MadeReader(Form.COUCHDB, documents), MadeReader(Form.ELASTICSEARCH, documents, faults)
    began_s = time.process_time()
    some = b.plan(Selection(), slice_documents=_SLICE).slices[:10]
    read = sum(len(batch.documents) for slice in some for batch in b.read(slice, None, Selection()))
    reading_s = (time.process_time() - began_s) / read
    before_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    sides: dict[str, Reader] = {"a": a, "b": b}
    began_s = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        evidence = Evidence(Path(folder) / "evidence.sqlite")
        request = JobRequest(verb="verify", source="memory:a", target="memory:b")
        spec = VerifySpec(id="memory", request=request, listing=request)
        found = run_verify(sides, evidence, spec, Selection(), VerifyOptions(jobs=jobs), stop=Stop())
        evidence.close()
        size_mb = sum(file.stat().st_size for file in Path(folder).iterdir()) / 1e6
    took_s = time.process_time() - began_s
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    totals = found.totals
    kinds = [b._kind(number) for number in range(documents)]
    expected = kinds.count("missing"), kinds.count("extra"), kinds.count("different")
    good = (totals.missing, totals.extra, totals.different) == expected and peak_mb < GOAL_MB
    result = "as made" if good else f"expected {expected}"
    print(
        f"faults {faults}: {totals.a:,} and {totals.b:,} documents, "
        f"{totals.missing:,} missing, {totals.extra:,} extra, {totals.different:,} different: {result}; "
        f"peak {peak_mb:.0f} MB (goal {GOAL_MB}; {before_mb:.0f} before it began), evidence on disk {size_mb:.1f} MB, "
        f"processor {took_s:.0f} s, of which making the documents {reading_s * found.run_read:.0f} s",
        flush=True,
    )
    return good


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--documents", type=int, default=1_000_000)
    options.add_argument("--jobs", type=int, default=4)
    options.add_argument("--all-different", action="store_true")
    options.add_argument("--faults", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.faults:
        return 0 if once(chosen.documents, chosen.jobs, chosen.faults) else 1
    again = [sys.executable, "-m", "tests.benchmarks.verifying", "--jobs", str(chosen.jobs)]
    again += ["--documents", str(chosen.documents)]
    return max(
        subprocess.run([*again, "--faults", faults]).returncode
        for faults in ("few", "none", *(["all"] if chosen.all_different else []))
    )


if __name__ == "__main__":
    sys.exit(main())
