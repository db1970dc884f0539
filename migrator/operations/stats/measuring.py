"""Looks into one store in the way that its kind allows: by reading, by aggregation, by a sample.

A `Store` enters, a `Measured` leaves. Only reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import msgspec

from migrator.activations.selection import Selection
from migrator.adapters.archive import ArchiveReader
from migrator.adapters.base import Reader
from migrator.adapters.elasticsearch.volume import room_of_cluster
from migrator.adapters.opening import open_reader
from migrator.adapters.questions import Room
from migrator.adapters.shared.patience import Policy, persist
from migrator.adapters.shared.room import room_of_folder
from migrator.adapters.shared.volume import Tally
from migrator.adapters.shared.whole import briefly
from migrator.adapters.wrappers.retrying import RetryingReader
from migrator.engine.matching import check_nothing, is_narrow
from migrator.errors import AccessDenied, NotFound
from migrator.operations.stats.reading import read_all, read_sample
from migrator.operations.stats.values import Method
from migrator.settings.stores import Store
from migrator.watching import Observer, Stop

_FEW = 5_000  # documents that are read at once rather than sampled
_PAGE_BYTES = 250_000  # a page of each slice is the sample


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What a store has of what is selected, and what it is on."""

    product: str
    version: str
    method: Method
    tally: Tally
    stored_bytes: float | None  # as the store keeps what is selected
    rooms: tuple[Room, ...] = ()
    indices: Mapping[str, tuple[float, int | None]] = {}  # bytes and primary shards of each
    notes: tuple[str, ...] = ()


def measure(
    store: Store, selection: Selection, *, exact: bool, policy: Policy, stop: Stop, observe: Observer
) -> Measured:
    """Look into a store; raises what its adapter raises. `policy` is for reading; questions are asked again briefly.

    Raises `NotFound` where what is selected by name is nowhere in it.
    """
    measured = _measure(store, selection, exact=exact, policy=policy, stop=stop, observe=observe)
    knows = measured.method != "sampled" or not selection.names
    if knows and is_narrow(selection) and not (measured.tally.total.activations or measured.tally.unreadable):
        with closing(RetryingReader(open_reader(store, page_bytes=_PAGE_BYTES), policy)) as reader:
            check_nothing(reader, selection, {})
    return measured


def _measure(
    store: Store, selection: Selection, *, exact: bool, policy: Policy, stop: Stop, observe: Observer
) -> Measured:
    if store.location.kind == "elasticsearch":
        return _elasticsearch(store, selection, exact, policy, stop, observe)
    inner = open_reader(store, page_bytes=_PAGE_BYTES)
    with closing(RetryingReader(inner, policy)) as reader:
        about = reader.describe()
        if store.location.kind == "couchdb":
            measured = _couchdb(store, reader, selection, exact, policy, stop, observe)
        else:
            tally, warnings = read_all(reader, selection, stop=stop, observe=observe)
            measured = Measured(product="", version="", method="read", tally=tally, stored_bytes=None, notes=warnings)
        if isinstance(inner, ArchiveReader):
            measured = _of_archive(inner, measured)
        elif store.location.kind == "file" and selection.is_all:
            measured = msgspec.structs.replace(measured, stored_bytes=_size_of_file(store.location.path))
        if store.location.kind in ("archive", "file") and "://" not in store.location.path:
            measured = msgspec.structs.replace(measured, rooms=room_of_folder(store.location.path))
        return msgspec.structs.replace(measured, product=about.product, version=about.version)


def _size_of_file(path: str) -> int | None:
    try:
        return Path(path).stat().st_size
    except OSError:  # it is a pipe
        return None


def _of_archive(reader: ArchiveReader, measured: Measured) -> Measured:
    """Compressed, all is about as small as the parts of the chain are altogether."""
    raw_bytes = sum(manifest.raw_bytes for manifest in reader.chain)
    share = sum(manifest.size_bytes for manifest in reader.chain) / raw_bytes if raw_bytes else 0.0
    return msgspec.structs.replace(measured, stored_bytes=measured.tally.total.size_bytes * share)


def _couchdb(
    store: Store, reader: Reader, selection: Selection, exact: bool, policy: Policy, stop: Stop, observe: Observer
) -> Measured:
    from migrator.adapters.couchdb.client import Client

    with closing(Client(store)) as client:
        about = persist(briefly(policy), client.about)
    if exact or about.doc_count <= _FEW:
        method: Method = "read"
        tally, warnings = read_all(reader, selection, stop=stop, observe=observe)
    else:
        method = "sampled"
        tally, warnings = read_sample(reader, selection, documents=about.doc_count, stop=stop)
    share = min(1.0, tally.total.activations / max(about.doc_count, 1))
    return Measured(
        product="",
        version="",
        method=method,
        tally=tally,
        stored_bytes=None if about.size_bytes is None else about.size_bytes * share,
        notes=warnings,
    )


def _elasticsearch(
    store: Store, selection: Selection, exact: bool, policy: Policy, stop: Stop, observe: Observer
) -> Measured:
    from migrator.adapters.elasticsearch.client import Client
    from migrator.adapters.elasticsearch.health import Look
    from migrator.adapters.elasticsearch.indices import check_pattern, expressions, select
    from migrator.adapters.elasticsearch.rights import hidden
    from migrator.adapters.elasticsearch.volume import aggregate

    pattern = check_pattern(store.location.index_pattern)
    with closing(Client(store)) as client:
        server = client.server()
        indices, _ = persist(briefly(policy), lambda: select(client, pattern, selection))
        told = persist(briefly(policy), lambda: hidden(client, expressions(pattern, selection)))
        if not indices and told:
            raise AccessDenied(f"{client.location}: {told}")
        if not indices:
            raise NotFound(f"{client.location}: no index matches {', '.join(expressions(pattern, selection))}")
        look = persist(briefly(policy), lambda: Look.at(client, pattern, indices))
        notes = [*([told] if told else []), *(f"index {name} is closed and was skipped" for name in look.closed)]
        found = None if exact else persist(briefly(policy), lambda: aggregate(look, selection, stop=stop))
        if found is None:
            with closing(RetryingReader(open_reader(store), policy)) as reader:
                tally, _ = read_all(reader, selection, stop=stop, observe=observe)
            shares = dict.fromkeys(
                look.documents, min(1, tally.total.activations / max(sum(look.documents.values()), 1))
            )
        else:
            tally = found.tally
            shares = {name: found.by_index.get(name, 0) / max(each, 1) for name, each in look.documents.items()}
            if not found.is_complete:
                notes.append("there are more namespaces or actions than can be listed; the rest isn't shown")
        of_index = {name: look.sizes_bytes[name] * min(1.0, share) for name, share in shares.items()}
        rooms, refused = persist(briefly(policy), lambda: room_of_cluster(client))
        return Measured(
            product=server.product,
            version=server.version,
            method="read" if found is None else "aggregated",
            tally=tally,
            stored_bytes=sum(each * (1 + look.replicas.get(name, 0)) for name, each in of_index.items()),
            rooms=rooms,
            indices={name: (each, indices[name].shards) for name, each in of_index.items()},
            notes=(*notes, *filter(None, [refused])),
        )
