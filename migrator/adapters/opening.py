"""Which adapter opens which kind of location; each is imported when the first of its stores is opened.

An adapter is a module, or any object, with `open_reader(store, *, page_bytes)`, `open_writer(store)`,
`open_remover(store)`, or some of them. Those of
other packages are entry points of the group `migrator.adapters`, named as the scheme of their locations.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from migrator.adapters.base import Reader, Writer
from migrator.adapters.removal import Remover
from migrator.errors import UsageError
from migrator.settings.added_stores import GROUP, find_added_stores
from migrator.settings.stores import Store
from migrator.text.arguments import argument

if TYPE_CHECKING:
    from migrator.adapters.elasticsearch import TemplateOptions

_BUILT_IN = {
    "couchdb": "migrator.adapters.couchdb",
    "elasticsearch": "migrator.adapters.elasticsearch",
    "archive": "migrator.adapters.archive",
    "file": "migrator.adapters.files",
    "memory": "migrator.adapters.memory",
}


def open_reader(store: Store, *, page_bytes: int = 4_000_000) -> Reader:
    """Open a store to read from; nothing is asked of it yet. Pages aim at `page_bytes`."""
    opener: Callable[..., Reader] | None = getattr(_adapter(store), "open_reader", None)
    if opener is None:
        raise UsageError(f"{store.location.kind}: activations can't be read from this kind of store")
    return opener(store, page_bytes=page_bytes)


def open_writer(store: Store, *, template: TemplateOptions | None = None, keep_revisions: bool = False) -> Writer:
    """Open a store to write to; nothing is asked of it yet.

    `template` is for Elasticsearch only, `keep_revisions` for CouchDB. An archive is written by backups alone.
    """
    kind = store.location.kind
    if kind != "elasticsearch" and template is not None:
        raise UsageError(f"{argument('template')} is for an Elasticsearch target")
    if kind != "couchdb" and keep_revisions:
        raise UsageError(f"{argument('keep_revisions')} is for a CouchDB target; no other store has revisions")
    options = {"template": template} if template else {"keep_revisions": True} if keep_revisions else {}
    opener: Callable[..., Writer] | None = getattr(_adapter(store), "open_writer", None)
    if opener is None or kind == "archive":
        raise UsageError(f"{kind}: activations can't be written to this kind of store")
    return opener(store, **options)


def open_remover(store: Store) -> Remover:
    """Open a store to remove documents from it; nothing is asked of it yet."""
    opener: Callable[..., Remover] | None = getattr(_adapter(store), "open_remover", None)
    if opener is None:
        raise UsageError(f"{store.location.printed}: activations can't be removed from this kind of store")
    return opener(store)


def _adapter(store: Store) -> Any:
    kind = store.location.kind
    if kind in _BUILT_IN:
        return import_module(_BUILT_IN[kind])
    added = find_added_stores().get(kind)
    if added is None:
        raise UsageError(f"{kind}: no installed package opens this kind of store (entry points {GROUP})")
    try:
        return added.load()
    except (ImportError, AttributeError) as error:
        raise UsageError(f"{kind}: {added.value}, which opens this kind of store, can't be loaded: {error}") from error
