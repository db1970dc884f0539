"""How much smaller an archive is than what is in it. The chain that is read enters, a `Volume` leaves."""

from __future__ import annotations

from collections.abc import Sequence

from migrator.adapters.archive.manifest import Manifest
from migrator.adapters.questions import Volume
from migrator.adapters.shared.room import room_of_folder


def volume(chain: Sequence[Manifest], folder: str | None) -> Volume:
    """Compressed, any selection is about as small as the parts of the chain altogether; a bucket has no end."""
    raw_bytes = sum(manifest.raw_bytes for manifest in chain)
    return Volume(
        stored_each_byte=sum(manifest.size_bytes for manifest in chain) / raw_bytes if raw_bytes else 0.0,
        rooms=room_of_folder(folder) if folder else (),
    )
