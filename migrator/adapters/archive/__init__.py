"""Archives: folders and buckets with compressed, write-once backups, as a source and as a target.

The path of a `Store`'s location enters, a reader or a writer leaves. The format is described in
`docs/archive-format.md`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from migrator.activations.selection import parse_moment
from migrator.adapters.archive.encrypted import AGE, Encrypted
from migrator.adapters.archive.opening import open_contents, open_place
from migrator.adapters.archive.places import Place
from migrator.adapters.archive.reader import ArchiveReader
from migrator.adapters.archive.writer import LEVEL, PART_BYTES, ArchiveWriter
from migrator.settings.stores import Store

__all__ = ["LEVEL", "PART_BYTES", "ArchiveReader", "ArchiveWriter", "open_reader", "open_writer"]


def open_reader(store: Store, *, page_bytes: int = 4_000_000) -> ArchiveReader:
    """Open an archive to read from; nothing is asked of it yet."""
    location = store.location
    at_ms = parse_moment(location.at, now_ms=int(time.time() * 1000)) if location.at else None
    place = open_contents(location.path, store.identity_file)
    folder = None if "://" in location.path else location.path
    return ArchiveReader(place, backup=location.backup, at_ms=at_ms, page_bytes=page_bytes, folder=folder)


def open_writer(
    store: Store,
    *,
    place: Place | None = None,
    level: int = LEVEL,
    part_bytes: int = PART_BYTES,
    file_mode: int | None = None,
    clock: Callable[[], float] = time.time,
) -> ArchiveWriter:
    """Open an archive to write a backup into, encrypted where the store has recipients; nothing is asked of it yet.

    `place` is where it lies, by default where the store's location says; there new files have the mode `file_mode`.
    """
    place = place or open_place(store.location.path, file_mode=file_mode)
    if store.encrypt_to:
        encrypted = Encrypted(place, recipients=store.encrypt_to)
        return ArchiveWriter(encrypted, encryption=AGE, level=level, part_bytes=part_bytes, clock=clock)
    return ArchiveWriter(place, level=level, part_bytes=part_bytes, clock=clock)
