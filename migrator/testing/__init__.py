"""What every adapter must do, as suites of tests; for adapters in this package and in others.

A test of an adapter subclasses `ReaderConformance` and `WriterConformance`, or `StoreWriterConformance` where a store
keeps one version of each document under its id, and `RemoverConformance` where it removes documents, and gives their
hooks. Needs pytest, which the extra `testing` installs.
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    *(f"migrator.testing.{name}" for name in ("asking", "readers", "removers", "source", "writers"))
)

from migrator.testing.documents import activation, activation_id  # noqa: E402  after the asserts are registered
from migrator.testing.readers import ReaderConformance  # noqa: E402
from migrator.testing.removers import RemoverConformance  # noqa: E402
from migrator.testing.writers import COMPLETION, StoreWriterConformance, WriterConformance  # noqa: E402

__all__ = [
    "COMPLETION",
    "ReaderConformance",
    "RemoverConformance",
    "StoreWriterConformance",
    "WriterConformance",
    "activation",
    "activation_id",
]
