"""Elasticsearch and OpenSearch, from 6.7 on, as a source and as a target.

The index pattern and the login of a `Store` enter, a reader or a writer leaves. One code path for all versions.
"""

from __future__ import annotations

from migrator.adapters.elasticsearch.client import Client
from migrator.adapters.elasticsearch.names import check_pattern, check_writable
from migrator.adapters.elasticsearch.reader import ElasticsearchReader
from migrator.adapters.elasticsearch.removal import ElasticsearchRemover
from migrator.adapters.elasticsearch.template import TemplateOptions
from migrator.adapters.elasticsearch.writer import ElasticsearchWriter
from migrator.settings.stores import Store

__all__ = ["TemplateOptions", "open_reader", "open_remover", "open_writer"]


def open_reader(store: Store, *, page_bytes: int = 4_000_000) -> ElasticsearchReader:
    """Open a store to read from; nothing is asked of it yet. Pages aim at `page_bytes`."""
    pattern = check_pattern(store.location.index_pattern)
    return ElasticsearchReader(Client(store), pattern, page_bytes=page_bytes)


def open_writer(
    store: Store, *, template: TemplateOptions | None = None, bulk_bytes: int = 5_000_000, bulks: int = 8
) -> ElasticsearchWriter:
    """Open a store to write to; nothing is asked of it yet.

    Bulks have up to `bulk_bytes`, up to `bulks` of them are under way at once; both follow what the server bears.
    With `template` an index template is installed before the first write.
    """
    pattern = check_writable(check_pattern(store.location.index_pattern))
    return ElasticsearchWriter(Client(store), pattern, template=template, bulk_bytes=bulk_bytes, bulks=bulks)


def open_remover(store: Store) -> ElasticsearchRemover:
    """Open a store to remove documents from it; nothing is asked of it yet."""
    return ElasticsearchRemover(Client(store), check_pattern(store.location.index_pattern))
