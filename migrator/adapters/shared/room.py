"""How much a store can still grow: the disks below it, as far as they can be determined.

A `Store` enters, disks leave. Only looks; a bucket has no end, and CouchDB doesn't tell of its disk.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from migrator.adapters.elasticsearch.client import Client
from migrator.adapters.elasticsearch.disks import disks
from migrator.adapters.elasticsearch.preflight import cluster_settings
from migrator.errors import AccessDenied
from migrator.operations.stats.values import Room

FULL = "the disk is full"


def given_room(free_bytes: int) -> tuple[Room, ...]:
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


def room_of_cluster(client: Client) -> tuple[tuple[Room, ...], str | None]:
    """The disk of each node that has data, and why there is none where the login may not look."""
    try:
        settings = cluster_settings(client)
        found = tuple(
            Room(
                name=f"node {disk.node}",
                free_bytes=disk.free_bytes,
                room_bytes=disk.room_bytes,
                limit="the server makes indices read-only (flood stage)" if disk.room_bytes < disk.free_bytes else FULL,
            )
            for disk in disks(client, settings)
        )
    except AccessDenied as denied:
        return (), f"disks were not checked: {denied}; give what is free with --disk-free"
    return found, None
