"""Names every request that the migrator sends to CouchDB and Elasticsearch, so that one kind can be given a fault."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit


class Asked(NamedTuple):
    """A request as it came; `target` is its path and query as they were sent, names of headers are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        found = parse_qs(urlsplit(self.target).query, keep_blank_values=True)
        return {name: values[-1] for name, values in found.items()}

    @property
    def plain(self) -> bytes:
        """The body without its compression."""
        return gzip.decompress(self.body) if self.headers.get("content-encoding") == "gzip" else self.body

    @property
    def json(self) -> Any:
        """The body, an empty object where there is none."""
        return json.loads(self.plain or b"{}")


# Kinds by what an answer holds: rows in an order, entries by name, or neither.
COUCHDB_ROWS = ("_all_docs-page", "_all_docs-look", "_all_docs-keys", "_changes-page", "_changes-ids", "_bulk_docs")
COUCHDB_OTHER = ("_changes-now", "database", "welcome", "document", "_session", "_security", "_all_dbs")
SEARCH_ROWS = ("_search-page", "_search-ids", "_scroll", "_mget", "_bulk")
SEARCH_ENTRIES = ("_settings", "_alias", "_mapping", "_stats", "index")
_SEARCH_STATE = ("_count", "_refresh", "_cluster", "_nodes", "_security", "_resolve")
SEARCH_OTHER = ("_search-count", "welcome", "document", *_SEARCH_STATE)
COUCHDB = (*COUCHDB_ROWS, *COUCHDB_OTHER)
PAGES = ("_all_docs-page", "_all_docs-look", "_changes-page", "_search-page", "_search-ids", "_scroll")
SEARCHES = ("_search-page", "_search-ids", "_search-count", "_scroll", "_count", "_refresh", "_stats")
COUNTED = (*PAGES, "_search-count", "_count", "_stats", "database")
BULKS = ("_bulk", "_bulk_docs")
ROWS = frozenset((*COUCHDB_ROWS, *SEARCH_ROWS))
LISTS = frozenset((*ROWS, *SEARCH_ENTRIES))
SEARCH = (*SEARCH_ROWS, *SEARCH_ENTRIES, *SEARCH_OTHER)


def couchdb_kind(asked: Asked) -> str:
    """What a request to CouchDB is; a name that isn't among `COUCHDB` for what nobody foresaw."""
    parts = [part for part in asked.path.split("/") if part]
    if not parts:
        return "welcome"
    if parts[0].startswith("_"):
        return parts[0]
    if len(parts) == 1:
        return "database"
    if parts[1] == "_all_docs":
        if asked.method == "POST" and "keys" in asked.json:
            return "_all_docs-keys"
        return "_all_docs-page" if asked.query.get("include_docs") == "true" else "_all_docs-look"
    if parts[1] == "_changes":
        options = {**asked.query, **(asked.json if asked.method == "POST" else {})}
        if "doc_ids" in options:
            return "_changes-ids"
        return "_changes-now" if options.get("since") == "now" else "_changes-page"
    return parts[1] if parts[1].startswith("_") and parts[1] != "_design" else "document"


def search_kind(asked: Asked) -> str:
    """What a request to Elasticsearch is; a name that isn't among `SEARCH` for what nobody foresaw."""
    parts = [part for part in asked.path.split("/") if part]
    if not parts:
        return "welcome"
    if parts[0] == "_search" or parts[-1] == "scroll" or "scroll" in asked.query:
        return "_scroll"
    if parts[-1] == "_search":
        body = asked.json
        if body.get("size") == 0:
            return "_search-count"
        return "_search-ids" if '"ids"' in json.dumps(body.get("query", {})) else "_search-page"
    if parts[0] == "_xpack":
        return "_security"
    operations = [part for part in parts if part.startswith("_")]
    if not operations:
        return "index"
    if operations[0] in ("_source", "_doc") or operations[-1] == "_source":
        return "document"
    return operations[0]
