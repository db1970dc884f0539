"""Looks into what isn't a server: archives by their manifests, files and stores in memory by reading them.

A `Store` enters, a `Probe` leaves. Of an archive no part is read unless that is requested.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from migrator.adapters.archive import ArchiveReader
from migrator.adapters.opening import open_reader
from migrator.adapters.questions import Place, Probe
from migrator.adapters.shared.tally import read_all
from migrator.settings.stores import Store


def probe(store: Store, empty: Probe, *, exact: bool) -> Probe:
    """Look into it; raises what the adapter raises."""
    reader = open_reader(store)
    try:
        about = reader.describe()
        found = msgspec.structs.replace(empty, product=about.product, version=about.version)
        if isinstance(reader, ArchiveReader):
            found = _by_manifests(reader, found)
            if not exact:
                return found
        tally = read_all(reader)
        return msgspec.structs.replace(
            found,
            activations=tally.activations,
            is_exact=True,
            first_ms=tally.first_ms,
            last_ms=tally.last_ms,
            namespaces=dict(sorted(tally.namespaces.items())),
            unreadable=tally.unreadable,
        )
    finally:
        reader.close()


def _by_manifests(reader: ArchiveReader, found: Probe) -> Probe:
    """Counts include older versions of documents that an increment replaces, so they aren't exact in a chain."""
    chain = reader.chain
    parts = [part for manifest in chain for part in manifest.parts if part.documents]
    namespaces: Counter[str] = Counter()
    for part in parts:
        namespaces.update(part.namespaces)
    documents = sum(manifest.documents for manifest in chain)
    return msgspec.structs.replace(
        found,
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
