"""Whether an archive still holds what was read from it, told by one listing of its pieces.

A place and a chain enter, the end of a sentence leaves. Parts are written once and never changed, so that one which has
its name and its size is the one that was read; whether its bytes are intact was seen when they were.
"""

from __future__ import annotations

from collections.abc import Sequence

from migrator.adapters.archive.catalog import pieces
from migrator.adapters.archive.manifest import ARCHIVE, MANIFEST, SUMS, Manifest, read_head
from migrator.adapters.archive.places import Place
from migrator.errors import NotFound


def lost(place: Place, archive: str, chain: Sequence[Manifest]) -> str | None:
    """What of a chain isn't there any more; None where all of it is."""
    try:
        head = read_head(place.read(ARCHIVE), f"{place.printed}: {ARCHIVE}")
    except NotFound:
        return "the archive was deleted"
    if head.archive != archive:
        return "the archive was replaced by another"
    there = pieces(place)
    for manifest in chain:
        found = there.get(manifest.backup, {})
        if MANIFEST not in found or SUMS not in found:
            return f"backup {manifest.backup} was deleted"
        for part in manifest.parts:
            if found.get(part.name) != part.size_bytes:
                return f"{part.name} of backup {manifest.backup} was deleted or cut off"
    return None


def busy(place: Place) -> str | None:
    """The backup that is being written, was interrupted, or is being deleted; None where there is none."""
    unfinished = sorted(backup for backup, found in pieces(place).items() if MANIFEST not in found)
    if not unfinished:
        return None
    return (
        f"backup {unfinished[0]} is being written, or was left unfinished: wait for it, resume it, or delete it with "
        "`migrator archive prune`"
    )
