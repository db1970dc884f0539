"""What each stage of a verification takes from the documents it reads: sums of digests, or ids with their digests.

Documents of a side enter, page by page; a `Taken` grows. A document of A counts as it would stand in B. Knows no
slices and no memory of a verification.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from migrator.activations.document import Document, Rejection
from migrator.adapters.base import Token
from migrator.engine.verification.confirm import Pair, refusal
from migrator.engine.verification.evidence import Added, OpenSlice
from migrator.engine.verification.hours import (
    WHOLE,
    Bucket,
    Marks,
    Sums,
    digest,
    hour_of,
    in_sample,
    part_of,
    spelled_digest,
)
from migrator.engine.verification.listed import REFUSED, Seen
from migrator.engine.verification.values import Refused


class Taken:
    """What a worker has read of a slice and not committed yet."""

    def __init__(self, lists: bool) -> None:
        self.lists = lists
        self.documents = 0
        self.read = 0  # with what doesn't count
        self.sums = Sums()
        self.seen: list[Seen] = []
        self.refused: list[Refused] = []
        self.remarks: Counter[str] = Counter()
        self.compared = 0

    def added(self, open: OpenSlice, position: Token, *, done: bool) -> Added:
        return Added(
            slice=open.number,
            side=open.side,
            position=position,
            done=done,
            sums=self.sums.buckets,
            seen=self.seen,
            refused=self.refused,
            remarks=self.remarks,
            compared=self.compared,
            read=self.read,
            lists=self.lists,
        )


Take = Callable[[str, Sequence[Document], Taken], None]
"""What a stage does with the documents of a page of a side."""


class Passes:
    """The stages that read, for the two sides of a pair."""

    def __init__(self, pair: Pair, sample: float | None) -> None:
        self._pair = pair
        self._sample = sample

    def in_sample(self, id: str) -> bool:
        return self._sample is None or in_sample(id, self._sample)

    def compare(self, *, spelled: bool) -> Take:
        """Sums by namespace and hour; with `spelled` of the bytes as they are, which costs a fraction."""

        def take(side: str, documents: Sequence[Document], taken: Taken) -> None:
            add, sample = taken.sums.add, self._sample
            for document in documents:
                if document.remarks:
                    taken.remarks.update(document.remarks)
                bucket = document.namespace, hour_of(document), WHOLE
                if sample is not None and not in_sample(document.id, sample):
                    add(bucket, None)
                elif found := self._digest(side, document, taken, spelled=spelled):
                    add(bucket, found)
                    taken.compared += 1

        return take

    def respell(self, hours: Marks) -> Take:
        """Sums as `compare` has them, by value, of the hours that differ by their bytes.

        What isn't in the sample is counted, also where it can't be compared: the other side counts it as well, and
        where it lacks another document instead, the hour would seem to agree.
        """

        def take(side: str, documents: Sequence[Document], taken: Taken) -> None:
            for document in documents:
                bucket = document.namespace, hour_of(document), WHOLE
                if bucket not in hours:
                    continue
                if not self.in_sample(document.id):
                    taken.sums.add(bucket, None)
                elif found := self._digest(side, document, taken):
                    taken.sums.add(bucket, found)

        return take

    def narrow(self, hours: Marks) -> Take:
        """Sums by the hash of the id, of the hours that differ."""

        def take(side: str, documents: Sequence[Document], taken: Taken) -> None:
            for (namespace, hour, _), found, document in self._digests(side, documents, taken, hours, whole=True):
                if found is not None:
                    taken.sums.add((namespace, hour, part_of(document.id)), found)

        return take

    def list_hours(self, marks: Marks, *, relists: bool) -> Take:
        """Ids and digests of what differs; of hours that are listed as a whole (`relists`) their sums as well."""

        def take(side: str, documents: Sequence[Document], taken: Taken) -> None:
            for bucket, found, document in self._digests(side, documents, taken, marks, whole=relists):
                namespace, hour, _ = bucket
                if found is not None:
                    taken.seen.append(Seen(id=document.id, namespace=namespace, hour=hour, digest=found))
                if relists:
                    self._sum(taken, bucket, found, document)

        return take

    def _sum(self, taken: Taken, bucket: Bucket, found: bytes | None, document: Document) -> None:
        """Add a document as `compare` does, but apart what it counts though it can't be compared."""
        weighed = self.in_sample(document.id)
        if found is not None:
            taken.sums.add(bucket, found if weighed else None)
        elif not weighed:
            taken.sums.add((*bucket[:2], REFUSED), None)

    def _digests(
        self, side: str, documents: Sequence[Document], taken: Taken, marks: Marks, *, whole: bool
    ) -> list[tuple[Bucket, bytes | None, Document]]:
        """The documents of the marked buckets, undivided ones or parts, with their digests by value."""
        chosen: list[tuple[Bucket, bytes | None, Document]] = []
        for document in documents:
            bucket = document.namespace, hour_of(document), WHOLE if whole else part_of(document.id)
            if bucket in marks:
                chosen.append((bucket, self._digest(side, document, taken), document))
        return chosen

    def _digest(self, side: str, document: Document, taken: Taken, *, spelled: bool = False) -> bytes | None:
        """The digest of a document as it would stand in B; None, and a note, where it couldn't stand there."""
        expected = self._pair.expected(document) if side == "a" else document
        if isinstance(expected, Rejection):
            taken.refused.append(refusal(side, expected))
            return None
        return spelled_digest(expected) if spelled else digest(expected, doubles=self._pair.doubles)
