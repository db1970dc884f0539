"""Looks into an archive by its manifests.

The chain that is read enters, a `Probe` leaves. No part is read.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from migrator.activations.forms import instant
from migrator.adapters.archive.manifest import Manifest
from migrator.adapters.base import Description
from migrator.adapters.questions import Finding, Place, Probe


def probe_by_manifests(chain: Sequence[Manifest], about: Description) -> Probe:
    """Counts include older versions of documents that an increment replaces, so they aren't exact in a chain."""
    parts = [part for manifest in chain for part in manifest.parts if part.documents]
    namespaces: Counter[str] = Counter()
    for part in parts:
        namespaces.update(part.namespaces)
    documents = sum(manifest.documents for manifest in chain)
    return Probe(
        product=about.product,
        version=about.version,
        places=tuple(
            Place(name=manifest.backup, documents=manifest.documents, size_bytes=manifest.size_bytes)
            for manifest in chain
        ),
        activations=documents,
        is_exact=len(chain) == 1 and all(part.layer == 0 for part in parts),
        sampled=documents,
        first_ms=min((part.first_ms for part in parts), default=None),
        last_ms=max((part.last_ms for part in parts), default=None),
        namespaces=dict(sorted(namespaces.items())),
        newest_backup_ms=chain[-1].ended_ms,
    )


def reasons_by_manifests(chain: Sequence[Manifest]) -> tuple[Finding, ...]:
    """Why an activation may not be in the newest state of an archive."""
    newest = chain[-1]
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(newest.ended_ms / 1000))
    found = [
        Finding(
            kind="newer-than-backup",
            level="note",
            text=f"the newest backup here, {newest.backup}, was complete at {when}: what was stored later isn't in it",
            advice="look in the store that it was made of",
        )
    ]
    first_ms = min((part.first_ms for manifest in chain for part in manifest.parts if part.documents), default=None)
    if first_ms is not None:
        found.append(
            Finding(
                kind="retention",
                level="note",
                text=f"the oldest activation in it started {instant(first_ms)}: one from before that wasn't in the "
                "store any more when the backup was made",
                advice="look in an older archive",
            )
        )
    return tuple(found)
