"""Writes Elasticsearch and OpenSearch as OpenWhisk would have: its index names, its ids, nothing else set up.

Documents in Elasticsearch form enter as bulks of their own bytes; what became of each leaves. `create` leaves alone
what is there: what the server says is there already is fetched and compared. Knows nothing of retries: what the
server puts off is handed back as `deferred`.

About the document, or about the server? Only an item's 400 of a kind that speaks of the document rejects it
(`bulk.Item.refuses_document`). A full disk, a closed index, a missing right or a limit of the cluster never does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from urllib.parse import quote

import msgspec

from migrator import forms
from migrator.adapters.base import Abilities, Completion, Description, Token, WriteOutcome
from migrator.adapters.elasticsearch import preflight
from migrator.adapters.elasticsearch.bulk import ANSWER_PATHS, Bodies, Flow, Item, read_answer
from migrator.adapters.elasticsearch.client import Cause, Client, what_now
from migrator.adapters.elasticsearch.fetching import fetch_source
from migrator.adapters.elasticsearch.indices import (
    expressions,
    index_name,
    name_refusal,
    refresh,
    resolve,
    shard_states,
)
from migrator.adapters.elasticsearch.template import TemplateOptions, install_template
from migrator.adapters.elasticsearch.transport import TooLarge
from migrator.adapters.tally import Tally
from migrator.errors import AccessDenied, MigratorError, RequestRefused, Unavailable
from migrator.records import Document, Form, Selection, read_document

_IDS = 1000  # looked for with one search

Addressed = tuple[str, Document]  # the index and the document


class _IndexMark(msgspec.Struct, frozen=True):
    uuid: str
    shards: dict[int, int]  # the highest sequence number of each


class _Mark(msgspec.Struct, frozen=True):
    indices: dict[str, _IndexMark]


class _Got(msgspec.Struct, gc=False):
    found: bool = False
    source: msgspec.Raw = msgspec.field(name="_source", default=msgspec.Raw(b""))
    error: Cause | None = None


class _GotAll(msgspec.Struct):
    docs: list[_Got]


class _Id(msgspec.Struct):
    id: str = msgspec.field(name="_id")


class _Ids(msgspec.Struct):
    hits: list[_Id]


class _ShardCounts(msgspec.Struct):
    total: int
    successful: int


class _IdsFound(msgspec.Struct):
    timed_out: bool
    hits: _Ids
    shards: _ShardCounts = msgspec.field(name="_shards")


_got_all = msgspec.json.Decoder(_GotAll)


class ElasticsearchWriter:
    """Writes activations behind an index pattern."""

    abilities = Abilities()

    def __init__(
        self, client: Client, pattern: str, *, template: TemplateOptions | None, bulk_bytes: int, bulks: int
    ) -> None:
        self.form: Form | None = Form.ELASTICSEARCH
        self._client = client
        self._pattern = pattern
        self._template = template
        self._flow = Flow(bulk_bytes=bulk_bytes, bulks=bulks)
        self._indices: dict[str, tuple[str, str | None]] = {}  # namespace: index, and why it can't be

    def describe(self) -> Description:
        server = self._client.server()
        indices = resolve(self._client, expressions(self._pattern, Selection()))[0]
        return Description(
            location=self._client.location,
            product=server.product,
            version=server.version,
            identity={
                "cluster": server.cluster_uuid,
                "indices": {name: index.uuid for name, index in indices.items()},
            },
        )

    def preflight(self, namespaces: Sequence[str]) -> Sequence[str]:
        return preflight.findings(self._client, self._pattern, namespaces, self._template)

    def prepare(self) -> Token:
        if self._template is not None:
            install_template(self._client, self._pattern, self._template)
        return None

    def resume(self, prepared: Token, receipts: Sequence[tuple[int, Token]]) -> bool:  # noqa: ARG002  the contract's
        return True

    # -- writing ------------------------------------------------------------------------------------------------

    def write(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
        tally = Tally()
        addressed: list[Addressed] = []
        for document in documents:
            index, refusal = self._index_of(document.namespace)
            if refusal is None:
                addressed.append((index, document))
            else:
                tally.reject(document, refusal)
        there = self._send("create", addressed, tally)
        newer = self._compare(there, tally, replace=replace) if there else []
        self._send("index", newer, tally)
        return tally.outcome()

    def _index_of(self, namespace: str) -> tuple[str, str | None]:
        known = self._indices.get(namespace)
        if known is None:
            index = index_name(self._pattern, namespace)
            known = self._indices[namespace] = index, name_refusal(index)
        return known

    def _send(self, operation: str, addressed: Sequence[Addressed], tally: Tally) -> list[Addressed]:
        """Send bulks; returns what the server says is there already."""
        conflicts: list[Addressed] = []
        waiting = [addressed]
        while waiting:
            for part, body in self._bodies.split(operation, waiting.pop(), self._flow.bulk_bytes):
                try:
                    items = self._bulk(body, len(part))
                except RequestRefused as refusal:
                    if refusal.status != 413 or len(part) == 1:
                        raise
                    self._flow.too_large(len(body))
                    waiting.append(part)
                    continue
                if items is None:
                    tally.written += [document for _, document in part]
                    continue
                for (index, document), item in zip(part, items, strict=True):
                    if 200 <= item.status < 300:
                        tally.written.append(document)
                    elif item.status == 409 and operation == "create":
                        conflicts.append((index, document))
                    elif item.refuses_document:
                        tally.reject(document, str(item.error))
                    else:
                        tally.defer(document, self._condition(index, item))
        return conflicts

    def _bulk(self, body: bytes, count: int) -> list[Item] | None:
        """Send one bulk of `count` documents; None where all were stored."""
        with self._flow.turn() as falls:
            try:
                answer = self._client.call(
                    "POST",
                    f"/_bulk?{ANSWER_PATHS}",
                    body=body,
                    ndjson=True,
                    holds_documents=True,
                    right=_RIGHTS,
                )
                items = read_answer(answer.body, count)
            except RequestRefused:
                raise
            except Unavailable:
                self._flow.pushed_back(falls)
                raise
            except ValueError as error:
                raise self._client.garbled("/_bulk", error) from error
            if items is not None and any(item.status in (429, 503) for item in items):
                self._flow.pushed_back(falls)
            else:
                self._flow.went_through()
            return items

    def _condition(self, index: str, item: Item) -> MigratorError:
        """What keeps the server from storing a document that it has nothing against."""
        cause = item.error or Cause("without a reason")
        text = f"{self._client.location}: index {index}: {item.status} {cause}"
        if item.status in (401, 403) and cause.type != "cluster_block_exception":
            return AccessDenied(f"{text}; the login needs {_RIGHTS}")
        return Unavailable(text + what_now(cause))

    def _compare(self, addressed: list[Addressed], tally: Tally, *, replace: bool) -> list[Addressed]:
        """Sort documents by what is stored in their place; returns those that shall replace it."""
        newer: list[Addressed] = []
        for (index, document), there in zip(addressed, self._fetch(addressed), strict=True):
            if there is None:
                gone = f"{self._client.location}: {document.id} was in index {index} and is gone; it is written again"
                tally.defer(document, Unavailable(gone))
            elif forms.same(document, there, doubles=False):
                tally.present.append(document)
            elif replace:
                newer.append((index, document))
            else:
                tally.differing.append(document)
        return newer

    @cached_property
    def _bodies(self) -> Bodies:
        return Bodies(typed=self._client.server().is_typed)

    # -- what is there ------------------------------------------------------------------------------------------

    def stored(self, documents: Sequence[Document]) -> Mapping[str, Document]:
        addressed = [
            (index, document)
            for document in documents
            for index, refusal in [self._index_of(document.namespace)]
            if refusal is None
        ]
        found = zip(addressed, self._fetch(addressed), strict=True)
        return {document.id: there for (_, document), there in found if there is not None}

    def _fetch(self, addressed: Sequence[Addressed]) -> list[Document | None]:
        """What is stored under the ids, in their order. Reads what isn't refreshed yet as well."""
        if not addressed:
            return []
        typed = {"_type": "_doc"} if self._client.server().is_typed else {}
        wanted = [{"_index": index, **typed, "_id": document.id} for index, document in addressed]
        # What is there may be larger than what shall come; the answer is bounded all the same.
        bound_bytes = 4 * sum(document.size_bytes for _, document in addressed) + 1_000_000
        try:
            answer = self._client.call(
                "POST",
                "/_mget",
                body=msgspec.json.encode({"docs": wanted}),
                bound_bytes=bound_bytes if len(addressed) > 1 else None,
                right="the index privilege read",
            )
            found = _got_all.decode(answer.body).docs
        except (TooLarge, msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            # One of them can't be decoded, or they are too many: as with pages, ask for half.
            if len(addressed) > 1:
                half = len(addressed) // 2
                return self._fetch(addressed[:half]) + self._fetch(addressed[half:])
            ((index, document),) = addressed
            source = fetch_source(self._client, index, document.id)
            return [None if source is None else _as_stored(index, document, source)]
        if len(found) != len(addressed):
            raise self._client.garbled("/_mget", f"{len(found)} documents where {len(addressed)} were asked for")
        return [self._stored(index, document, got) for (index, document), got in zip(addressed, found, strict=True)]

    def _stored(self, index: str, document: Document, got: _Got) -> Document | None:
        if got.error is not None and got.error.type != "index_not_found_exception":
            raise self._condition(index, Item(status=503, error=got.error))
        return _as_stored(index, document, bytes(got.source)) if got.found else None

    def mark(self) -> Token:
        indices = resolve(self._client, expressions(self._pattern, Selection()))[0]
        states = shard_states(self._client, indices)
        mark = _Mark(
            {
                name: _IndexMark(
                    index.uuid,
                    {number: shard.max_seq_no for number, shard in states.get(name, ("", {}))[1].items()},
                )
                for name, index in indices.items()
            }
        )
        plain: Token = msgspec.json.decode(msgspec.json.encode(mark))
        return plain

    def stored_since(self, mark: Token, documents: Sequence[Document]) -> frozenset[str]:
        before = msgspec.convert(mark, _Mark, strict=False).indices
        by_index: dict[str, list[str]] = defaultdict(list)
        for document in documents:
            index, refusal = self._index_of(document.namespace)
            if refusal is None:
                by_index[index].append(document.id)
        found: set[str] = set()
        for wanted, ids in by_index.items():
            for name, (uuid, shards) in shard_states(self._client, resolve(self._client, [wanted])[0]).items():
                refresh(self._client, [name])
                known = before.get(name)
                for number, shard in shards.items():
                    above: int | None = -1
                    if known is not None and known.uuid == uuid:
                        # A shard that wasn't up at the mark: what is in it may have been there, so it is left alone.
                        above = known.shards.get(number)
                    if above is not None and above < shard.max_seq_no:
                        found.update(self._stored_above(name, number, above, ids))
        return frozenset(found)

    def _stored_above(self, index: str, shard: int, above: int, ids: Sequence[str]) -> Iterator[str]:
        """Those of the ids that a shard holds with a higher sequence number."""
        path = f"/{quote(index, safe='')}/_search?preference=_shards:{shard}&allow_partial_search_results=false"
        for first in range(0, len(ids), _IDS):
            some = ids[first : first + _IDS]
            query = {"bool": {"filter": [{"ids": {"values": some}}, {"range": {"_seq_no": {"gt": above}}}]}}
            body = {"query": query, "size": len(some), "_source": False, "sort": ["_doc"]}
            found = self._client.ask("POST", path, _IdsFound, body=body, right="the index privilege read")
            if found.timed_out or not found.shards.total == found.shards.successful == 1:
                raise Unavailable(f"{self._client.location}: a search of {index}[{shard}] is incomplete")
            yield from (hit.id for hit in found.hits.hits)

    # -- the end ------------------------------------------------------------------------------------------------

    def census(self) -> int | None:
        return None

    def due(self) -> bool:
        return True

    def flush(self) -> Token:
        """Nothing to wait for: what a bulk's answer says was stored is in the translog of every copy."""
        return None

    def finish(self, completion: Completion) -> None:  # noqa: ARG002  the contract's
        indices = resolve(self._client, expressions(self._pattern, Selection()))[0]
        refresh(self._client, shard_states(self._client, indices))

    def close(self) -> None:
        self._client.close()


_RIGHTS = "the index privileges create_index, index and auto_configure"


def _as_stored(index: str, document: Document, source: bytes) -> Document:
    """What is stored in the place of a document, whatever it is."""
    read = read_document(document.id, source, Form.ELASTICSEARCH, index=index)
    return read if isinstance(read, Document) else msgspec.structs.replace(document, body=source, index=index)
