"""Removes documents from Elasticsearch, each by the version that was looked at: sequence number and primary term.

One bulk request for each index, by the concrete name of the index and never through an alias. Nothing is deleted by a
query: what a query finds isn't what was proven.

Source: `if_seq_no` and `if_primary_term` of bulk requests, from 6.7 on; the items of a document that isn't there any
more say 404, those of another version 409.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec

from migrator.activations.document import Document, Form, read_document
from migrator.activations.selection import Selection
from migrator.adapters.base import Description
from migrator.adapters.elasticsearch.bulk import ANSWER_PATHS, Item
from migrator.adapters.elasticsearch.client import Cause, Client, index_paths
from migrator.adapters.elasticsearch.fetching import Place, locate, multi_get
from migrator.adapters.elasticsearch.indices import resolve, shard_states
from migrator.adapters.elasticsearch.names import expressions
from migrator.adapters.removal import Address, Change, ChangeOutcome, Held, Remover, Space, SupportsWholeRemoval
from migrator.adapters.shared.http import TooLarge
from migrator.errors import AccessDenied, MigratorError, NotFound, Unavailable
from migrator.text.decoding import UNREADABLE, convert, decode, decoder
from migrator.text.units import counted

_MOST_BYTES = 20_000_000  # of an answer with several documents
_encode = msgspec.json.Encoder().encode


class _Got(msgspec.Struct, gc=False):
    index: str = msgspec.field(name="_index", default="")
    id: str = msgspec.field(name="_id", default="")
    found: bool = False
    source: msgspec.Raw = msgspec.field(name="_source", default=msgspec.Raw(b""))
    number: int | None = msgspec.field(name="_seq_no", default=None)
    term: int | None = msgspec.field(name="_primary_term", default=None)
    error: Cause | None = None


class _GotAll(msgspec.Struct):
    docs: list[_Got]


class _Answer(msgspec.Struct):
    items: list[dict[str, Item]] = []


class _Docs(msgspec.Struct, frozen=True):
    count: int = 0
    deleted: int = 0


class _Stored(msgspec.Struct, frozen=True):
    size_in_bytes: int = 0


class _Copies(msgspec.Struct, frozen=True):
    docs: _Docs = _Docs()
    store: _Stored = _Stored()


class _All(msgspec.Struct, frozen=True):
    primaries: _Copies = _Copies()
    total: _Copies = _Copies()


class _Stats(msgspec.Struct):
    all: _All = msgspec.field(name="_all", default_factory=_All)


class _Epoch(msgspec.Struct):
    epoch: str


_got_all = decoder(_GotAll)


class _Acknowledged(msgspec.Struct):
    acknowledged: bool = False


class _Counted(msgspec.Struct):
    count: int


class ElasticsearchRemover(Remover, SupportsWholeRemoval):
    """Removes activations behind an index pattern."""

    form = Form.ELASTICSEARCH

    def __init__(self, client: Client, pattern: str) -> None:
        self._client = client
        self._pattern = pattern

    def describe(self) -> Description:
        """As the reader's, with the uuid of every index: one that was deleted and made again has another."""
        server = self._client.server()
        return Description(
            location=self._client.location,
            product=server.product,
            version=server.version,
            identity={"cluster": server.cluster_uuid, "indices": self._indices()},
        )

    def _indices(self) -> dict[str, str]:
        found, _ = resolve(self._client, expressions(self._pattern, Selection()))
        if not found:
            raise NotFound(f"{self._client.location}: there is no index behind {self._pattern}")
        return {name: index.uuid for name, index in sorted(found.items())}

    def preflight(self) -> Sequence[str]:
        return ()

    def clock_ms(self) -> int | None:
        """The time of the node that answers. Source: the columns of `_cat/count`."""
        path = f"/_cat/count/{index_paths([next(iter(self._indices()))])[0]}?format=json&h=epoch"
        answer = self._client.call("GET", path, right="the index privilege read")
        try:
            (told,) = decode(answer.body, list[_Epoch])
            return 1000 * int(told.epoch)
        except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
            raise self._client.malformed_answer(path, error) from error

    # -- looking ------------------------------------------------------------------------------------------------

    def look(self, addresses: Sequence[Address]) -> Sequence[Held]:
        held: list[Held] = []
        for index, ids in _by_index(addresses).items():
            places = [Place(index, "_doc", id) for id in ids]
            found = self._get(places)
            known = {each.document.id for each in found}
            if absent := [id for id in ids if id not in known]:
                # One with a routing isn't found by its id alone; what isn't there is looked for twice.
                places = [each for each in locate(self._client, [index], absent) if each.index == index]
                located = {each.id for each in places}
                places += [Place(index, "_doc", id) for id in absent if id not in located]
                found += self._get(places)
            held += found
        return held

    def _get(self, places: Sequence[Place]) -> list[Held]:
        if not places:
            return []
        path, body = multi_get(self._client, places, names_indices=False)
        try:
            answer = self._client.call(
                "POST",
                path,
                body=body,
                bound_bytes=_MOST_BYTES if len(places) > 1 else None,
                splits=len(places) > 1,
                right="the index privilege read",
            )
        except TooLarge:
            half = len(places) // 2
            return self._get(places[:half]) + self._get(places[half:])
        except NotFound:  # the index
            return []
        try:
            docs = _got_all.decode(answer.body).docs
        except UNREADABLE:
            if len(places) == 1:
                return []  # it can't be understood, so it is none that was proven
            half = len(places) // 2
            return self._get(places[:half]) + self._get(places[half:])
        if [(got.index, got.id) for got in docs] != [(place.index, place.id) for place in places]:
            raise self._client.malformed_answer(path, "it isn't about the documents that were asked for")
        return [
            held for place, got in zip(places, docs, strict=True) if (held := self._held(place, got, path)) is not None
        ]

    def _held(self, place: Place, got: _Got, path: str) -> Held | None:
        if got.error is not None:
            raise Unavailable(f"{self._client.location}: index {place.index}: {got.error}")
        if not got.found:
            return None
        if got.number is None or got.term is None:
            raise self._client.malformed_answer(path, f"{got.id} comes without its sequence number")
        document = read_document(got.id, bytes(got.source), self.form, index=got.index)
        if not isinstance(document, Document):
            return None
        return Held(document=document, version=[got.number, got.term, place.type, place.routing])

    # -- changing -----------------------------------------------------------------------------------------------

    def change(self, changes: Sequence[Change]) -> ChangeOutcome:
        outcome = ChangeOutcome()
        by_index: dict[str, list[Change]] = defaultdict(list)
        for change in changes:
            by_index[change.held.document.index or ""].append(change)
        for index, some in by_index.items():
            try:
                outcome += self._change(index, some)
            except MigratorError as condition:
                if outcome == ChangeOutcome():
                    raise
                outcome += ChangeOutcome(unknown=tuple(some), condition=condition)
        return outcome

    def _change(self, index: str, changes: Sequence[Change]) -> ChangeOutcome:
        path = f"/{index_paths([index])[0]}/_bulk"
        answer = self._client.call(
            "POST",
            f"{path}?{ANSWER_PATHS}",
            body=b"".join(map(self._lines, changes)),
            ndjson=True,
            right="the index privileges delete and index",
        )
        items = self._client.understand(answer, _Answer, path).items
        named: dict[str, Item] = {}
        for item in items:
            for each in item.values():
                named[each.id] = each
        if len(named) != len(changes) or any(each.index != index for each in named.values()):
            wrong = f"{counted(len(named), 'item')} for {counted(len(changes), 'document')}"
            raise self._client.malformed_answer(path, f"it has {wrong}")
        outcome = ChangeOutcome()
        for change in changes:
            outcome += self._sort(change, named.get(change.held.document.id))
        return outcome

    def _sort(self, change: Change, item: Item | None) -> ChangeOutcome:
        where = f"{self._client.location}: {change.held.document.id}"
        if item is None:
            return ChangeOutcome(unknown=(change,), condition=Unavailable(f"{where}: the answer doesn't mention it"))
        if item.status == 200 and item.error is None:
            return ChangeOutcome(done=(change,))
        if item.status == 409 or (item.status == 404 and item.error is None):
            return ChangeOutcome(outdated=(change,))
        if item.error is not None and item.error.type == "security_exception":
            denied = AccessDenied(f"{where}: {item.error}; the login needs the index privileges delete and index")
            return ChangeOutcome(unknown=(change,), condition=denied)
        if item.refuses_document:
            return ChangeOutcome(refused=((change, str(item.error)),))
        return ChangeOutcome(unknown=(change,), condition=Unavailable(f"{where}: {item.status} {item.error}"))

    def _lines(self, change: Change) -> bytes:
        version = convert(change.held.version, tuple[int, int, str, str | None])
        number, term, type, routing = version
        action: dict[str, Any] = {"_id": change.held.document.id, "if_seq_no": number, "if_primary_term": term}
        if self._client.server().is_typed:
            action["_type"] = type
        if routing is not None:
            action["routing"] = routing
        if change.body is None:
            return _encode({"delete": action}) + b"\n"
        return _encode({"index": action}) + b"\n" + change.body.replace(b"\n", b" ") + b"\n"

    # -- whole indices ------------------------------------------------------------------------------------------

    def freeze(self, index: str) -> None:
        self._block(index, True)

    def thaw(self, index: str) -> None:
        with suppress(NotFound):
            self._block(index, None)

    def _block(self, index: str, value: bool | None) -> None:
        path = f"/{index_paths([index])[0]}/_settings"
        self._acknowledge("PUT", path, {"index.blocks.write": value})

    def count(self, index: str) -> tuple[int, int]:
        """The number is the sum of the highest sequence numbers of its shards."""
        path = index_paths([index])[0]
        self._client.call("POST", f"/{path}/_refresh", right="the index privilege maintenance")
        counted = self._client.ask("GET", f"/{path}/_count", _Counted, right="the index privilege read").count
        _, shards = shard_states(self._client, [index])[index]
        return counted, sum(shard.max_seq_no for shard in shards.values())

    def drop(self, index: str) -> None:
        self._acknowledge("DELETE", f"/{index_paths([index])[0]}", None)

    def _acknowledge(self, method: str, path: str, body: Any) -> None:
        said = self._client.ask(
            method, path, _Acknowledged, body=body, right="the index privileges manage and delete_index"
        )
        if not said.acknowledged:
            raise Unavailable(f"{self._client.location}: {method} {path} wasn't acknowledged")

    # -- space --------------------------------------------------------------------------------------------------

    def space(self) -> Space:
        """Documents by the primaries, bytes with all copies; segments free what was removed when they are merged."""
        documents = deleted = size_bytes = 0
        for path in index_paths(tuple(self._indices())):
            with suppress(AccessDenied):  # then it counts what the last refresh showed
                self._client.call("POST", f"/{path}/_refresh")
            where = f"/{path}/_stats/docs,store?filter_path=_shards.failed,_all"
            stats = self._client.ask("GET", where, _Stats, right="the index privilege monitor").all
            documents += stats.primaries.docs.count
            deleted += stats.primaries.docs.deleted
            size_bytes += stats.total.store.size_in_bytes
        return Space(documents=documents, deleted=deleted, size_bytes=size_bytes)

    def close(self) -> None:
        self._client.close()


def _by_index(addresses: Sequence[Address]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for address in addresses:
        if address.index is not None:
            found[address.index].append(address.id)
    return found
