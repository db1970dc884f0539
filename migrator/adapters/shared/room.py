"""How much a store can still grow: the disks below it, as far as they can be determined.

A `Store` enters, disks leave. Only looks; a bucket has no end, and CouchDB doesn't tell of its disk.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from migrator.adapters.questions import Room

FULL = "the disk is full"


def disk_free(free_bytes: int) -> tuple[Room, ...]:
    """What an operator says that is free."""
    return (Room(name="the disk", free_bytes=free_bytes, room_bytes=free_bytes, limit=FULL),)


def room_of_folder(path: str) -> tuple[Room, ...]:
    """The disk that a folder, or the folder of a file, is on; none where that can't be determined."""
    place = Path(path)
    try:
        free_bytes = shutil.disk_usage(place if place.is_dir() else place.parent).free
    except OSError:
        return ()
    return (Room(name=f"the disk of {path}", free_bytes=free_bytes, room_bytes=free_bytes, limit=FULL),)
