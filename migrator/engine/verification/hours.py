"""Buckets: the activations of one side as counts and order-free sums of digests, by namespace and hour of `start`.

Documents and digests enter; what can be compared without keeping a single id leaves. Equal sums of 128-bit digests
mean equal documents, but for a chance of 1 in 2^128 for each bucket that differs. Knows no store.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from hashlib import blake2b

from migrator.activations import comparing
from migrator.activations.document import Document

HOUR_MS = 3_600_000
WHOLE = -1
"""The part of a bucket that isn't divided."""
PARTS = 256
"""Into how many parts, by the hash of the id, a bucket is divided that holds much."""
MODULUS = 1 << 128

Bucket = tuple[str, int, int]
"""Namespace, hour counted from 1970, part."""


def hour_of(document: Document) -> int:
    return document.start_ms // HOUR_MS


def part_of(id: str) -> int:
    return _hash(id) % PARTS


def in_sample(id: str, share: float) -> bool:
    """Whether an id belongs to a sample of a share of all ids; the same ids on both sides, and at every time."""
    return _hash(id) < share * 2**32


def _hash(id: str) -> int:
    return zlib.crc32(id.encode())


def digest(document: Document, *, doubles: bool) -> bytes:
    """Sixteen bytes of a document with its id, equal for equal activations in the same form."""
    return _digest(document.id, comparing.canonical(document, doubles=doubles))


def spelled_digest(document: Document) -> bytes:
    """The same of the bytes as they are: equal digests mean equal activations, different ones mean nothing."""
    return _digest(document.id, comparing.spelling(document))


def _digest(id: str, content: bytes) -> bytes:
    return blake2b(b"%s\0%s" % (id.encode(), content), digest_size=16).digest()


class Sums:
    """Counts and sums that grow document by document."""

    def __init__(self) -> None:
        self.buckets: dict[Bucket, tuple[int, int]] = {}

    def add(self, bucket: Bucket, digest: bytes | None) -> None:
        """Count a document; without a digest it is only counted."""
        count, sum = self.buckets.get(bucket, (0, 0))
        self.buckets[bucket] = count + 1, sum + int.from_bytes(digest) if digest else sum


class Marks:
    """A set of buckets in fixed memory. It may seem to hold a few more than were added, never fewer."""

    def __init__(self, buckets: Iterable[Bucket] = (), *, bits: int = 1 << 23) -> None:
        self._bits = bits
        self._bytes = bytearray(bits // 8)
        for bucket in buckets:
            self.add(bucket)

    def add(self, bucket: Bucket) -> None:
        slot = hash(bucket) % self._bits
        self._bytes[slot >> 3] |= 1 << (slot & 7)

    def __contains__(self, bucket: Bucket) -> bool:
        slot = hash(bucket) % self._bits
        return bool(self._bytes[slot >> 3] & 1 << (slot & 7))
