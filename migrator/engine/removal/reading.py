"""What a purge reads: all that the proof holds, then what is old enough in the store.

Readers enter; the digests of the proof leave, and a file of candidates: documents of the store that the proof holds as
they are. Nothing is removed while the store is read, so that its pages can be proven.
"""

from __future__ import annotations

import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import IO

import msgspec

from migrator.activations import forms
from migrator.activations.accounts import Counts
from migrator.activations.document import LOSSES, Document, Rejection
from migrator.activations.selection import Selection
from migrator.adapters.base import Batch, Reader
from migrator.adapters.removal import Address
from migrator.engine.removal.proofs import Proofs
from migrator.engine.removal.values import EXAMPLES, Kept, NamespacePurge
from migrator.engine.verification.hours import digest
from migrator.engine.workers import next_of, run_workers
from migrator.events.watching import Observer, Progress, Stop
from migrator.text.decoding import decoder

_LENGTH_BYTES = 4
_fields = decoder(dict[str, msgspec.Raw])
_encode = msgspec.json.Encoder().encode


class Candidate(msgspec.Struct, frozen=True, array_like=True):
    """A document of the store that the proof holds."""

    id: str
    index: str | None
    namespace: str

    @property
    def address(self) -> Address:
        return Address(self.id, self.index)


class Candidates:
    """Candidates in a temporary file, in the order in which they were found."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="migrator-")  # noqa: SIM115  closed by `close`
        self._encoder, self._decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(Candidate)
        self.documents = 0

    def add(self, candidate: Candidate) -> None:
        data = self._encoder.encode(candidate)
        self._file.write(len(data).to_bytes(_LENGTH_BYTES, "little") + data)
        self.documents += 1

    def batches(self, size: int, *, first: int | None = None) -> Iterator[list[Candidate]]:
        """All of them in batches of a size; the first batch may have another one."""
        self._file.seek(0)
        following, size = size, first or size
        batch: list[Candidate] = []
        while length := self._file.read(_LENGTH_BYTES):
            batch.append(self._decoder.decode(self._file.read(int.from_bytes(length, "little"))))
            if len(batch) == size:
                yield batch
                batch, size = [], following
        if batch:
            yield batch

    def close(self) -> None:
        self._file.close()


class Comparison:
    """How documents of the store are compared with the proof."""

    def __init__(self, store: Reader, proof: Reader, *, logs_only: bool) -> None:
        self._form = proof.form
        # Numbers count as doubles only where the store itself keeps no more of them: a proof that does has lost digits.
        self.doubles = store.abilities.doubles
        self.logs_only = logs_only

    def digest(self, document: Document) -> bytes | Rejection:
        """The digest that the proof must have, or why it can't hold the document."""
        expected = forms.convert(document, self._form)
        return expected if isinstance(expected, Rejection) else digest(expected, doubles=self.doubles)

    def proof_digest(self, document: Document) -> bytes:
        return digest(document, doubles=self.doubles)

    def verdict(self, document: Document, proofs: Proofs) -> tuple[str, str]:
        """Tell `proven` or a kind of `KEPT`, with a note."""
        losses = sorted(LOSSES.intersection(document.remarks))
        if losses:
            return losses[0], ""
        found = self.digest(document)
        if isinstance(found, Rejection):
            return "differs", found.reason
        return proofs.verdict(document.id, found), ""

    def replacement(self, document: Document) -> bytes | None:
        """The document with empty logs, where that is what is wanted."""
        if not self.logs_only:
            return None
        return _encode({**_fields.decode(document.body), "logs": msgspec.Raw(b"[]")})

    def has_work(self, document: Document) -> bool:
        """Whether anything would be removed of a document."""
        if not self.logs_only:
            return True
        logs = _fields.decode(document.body).get("logs")
        return logs is not None and bytes(logs).translate(None, b" \t\r\n") != b"[]"


class Ledger:
    """The accounts of a purge, and the documents that stay."""

    def __init__(self, keep: Callable[[Sequence[Kept]], None]) -> None:
        self.namespaces: dict[str, NamespacePurge] = {}
        self.kinds: Counter[str] = Counter()
        self.examples: list[Kept] = []
        self._keep = keep
        self._unsaved: list[Kept] = []

    def of(self, namespace: str) -> NamespacePurge:
        return self.namespaces.setdefault(namespace, NamespacePurge())

    def keep(self, kept: Kept) -> None:
        self.of(kept.namespace).kept += 1
        self.kinds[kept.kind] += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(kept)
        self._unsaved.append(kept)
        if len(self._unsaved) >= 1000:
            self.save()

    def save(self) -> None:
        """Hand on what stays, to be logged."""
        if self._unsaved:
            self._keep(self._unsaved)
            self._unsaved = []


class Reading:
    """Reads a store to its end, with several threads."""

    def __init__(self, *, jobs: int, slice_documents: int, stop: Stop, observe: Observer) -> None:
        self._jobs = jobs
        self._slice_documents = slice_documents
        self._stop = stop
        self._observe = observe
        self.progress = Progress()

    def read(self, reader: Reader, selection: Selection, phase: str, take: Callable[[Batch], None]) -> tuple[str, ...]:
        """Hand every batch to `take`, from several threads; the warnings of the plan."""
        plan = reader.plan(selection, slice_documents=self._slice_documents)
        waiting, progress = deque(plan.slices), self.progress
        progress.phase = phase
        expected = [slice.documents for slice in plan.slices]
        progress.documents = None if None in expected else progress.counts.read + sum(each or 0 for each in expected)

        def work() -> None:
            while not self._stop.asked and (slice := next_of(waiting)):
                for batch in reader.read(slice, None, selection):
                    take(batch)
                    read = len(batch.documents) + len(batch.rejections) + sum(batch.filtered.values())
                    progress.add({"": Counts(read=read, size_bytes=batch.size_bytes)})
                    self._stop.check()

        run_workers(
            work,
            max(1, min(self._jobs, len(waiting))),
            name="purge",
            stop=self._stop,
            look=lambda: self._observe(progress),
        )
        return plan.warnings
