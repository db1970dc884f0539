"""How a copy goes about it."""

from __future__ import annotations

import msgspec


class CopyOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a copy goes about it."""

    jobs: int = 4  # slices at once
    slice_documents: int = 20_000
    on_conflict: str = "skip"  # "skip", "overwrite", "fail"
    max_rejects: int = 10_000
    small_round: int = 1_000  # a catch-up round that read fewer documents is the last
    most_rounds: int = 20
