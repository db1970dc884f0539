"""Which adapter opens which kind of location; the heavy client libraries are imported here and nowhere earlier."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migrator.adapters.base import Reader, Writer
from migrator.errors import UsageError
from migrator.settings.stores import Store

if TYPE_CHECKING:
    from migrator.adapters.elasticsearch import TemplateOptions


def open_reader(store: Store, *, page_bytes: int = 4_000_000) -> Reader:
    """Open a store to read from; nothing is asked of it yet. Pages aim at `page_bytes`."""
    kind = store.location.kind
    if kind == "couchdb":
        from migrator.adapters import couchdb

        return couchdb.open_reader(store, page_bytes=page_bytes)
    if kind == "elasticsearch":
        from migrator.adapters import elasticsearch

        return elasticsearch.open_reader(store, page_bytes=page_bytes)
    if kind == "archive":
        from migrator.adapters import archive

        return archive.open_reader(store, page_bytes=page_bytes)
    if kind == "file":
        from migrator.adapters import files

        return files.open_reader(store, page_bytes=page_bytes)
    if kind == "memory":
        from migrator.adapters import memory

        return memory.open_reader(store)
    raise UsageError(f"{kind}: activations can't be read from this kind of store")


def open_writer(store: Store, *, template: TemplateOptions | None = None, keep_revisions: bool = False) -> Writer:
    """Open a store to write to; nothing is asked of it yet.

    `template` is for Elasticsearch only, `keep_revisions` for CouchDB.
    """
    kind = store.location.kind
    if kind != "elasticsearch" and template is not None:
        raise UsageError("--index-template is for an Elasticsearch target")
    if kind != "couchdb" and keep_revisions:
        raise UsageError("--keep-revisions is for a CouchDB target; no other store has revisions")
    if kind == "couchdb":
        from migrator.adapters import couchdb

        return couchdb.open_writer(store, keep_revisions=keep_revisions)
    if kind == "elasticsearch":
        from migrator.adapters import elasticsearch

        return elasticsearch.open_writer(store, template=template)
    if kind == "file":
        from migrator.adapters import files

        return files.open_writer(store)
    if kind == "memory":
        from migrator.adapters import memory

        return memory.open_writer(store)
    raise UsageError(f"{kind}: activations can't be written to this kind of store")
