"""Writes Elasticsearch and OpenSearch as OpenWhisk would have: its index names, its ids, nothing else set up.

Documents in Elasticsearch form enter as bulks of their own bytes; the outcome of each leaves. `create` leaves alone
what is there: what the server says is there already is fetched and compared. Knows nothing of retries: what the
server puts off is handed back as `deferred`.

About the document, or about the server? Only an item's 400 of a kind that speaks of the document rejects it
(`bulk.Item.refuses_document`). A full disk, a closed index, a missing right or a limit of the cluster never does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property

import msgspec
from typing_extensions import override

from migrator.activations import comparing
from migrator.activations.document import Document, Form
from migrator.activations.forms import index_name
from migrator.activations.selection import Selection
from migrator.adapters.base import (
    Abilities,
    Completion,
    Description,
    SupportsFence,
    SupportsLimitations,
    SupportsPlaces,
    SupportsPreflight,
    SupportsStock,
    SupportsStored,
    SupportsTargetCensus,
    Token,
    WriteOutcome,
    Writer,
)
from migrator.adapters.elasticsearch import preflight
from migrator.adapters.elasticsearch.addressed import Addressed, Lookup, Versions, by_index
from migrator.adapters.elasticsearch.bulk import ANSWER_PATHS, Bodies, Flow, Item, read_answer
from migrator.adapters.elasticsearch.client import Cause, Client, advice, index_paths
from migrator.adapters.elasticsearch.counting import names_index
from migrator.adapters.elasticsearch.destinations import Address, Destination, Destinations
from migrator.adapters.elasticsearch.indices import Index, deletions, look_up_uuids, refresh, resolve, shard_states
from migrator.adapters.elasticsearch.names import expressions, name_refusal
from migrator.adapters.elasticsearch.openwhisk import limitation
from migrator.adapters.elasticsearch.template import TemplateOptions, install_template
from migrator.adapters.shared.outcome import Outcome
from migrator.errors import AccessDenied, MigratorError, NotFound, RequestRefused, Unavailable
from migrator.text.decoding import convert

_MOSTLY = 0.9  # of a write that were there already: then the next are looked up before they are sent


class _IndexMark(msgspec.Struct, frozen=True):
    uuid: str
    shards: dict[int, int]  # the highest sequence number of each


class _Mark(msgspec.Struct, frozen=True):
    indices: dict[str, _IndexMark]


class _Stock(msgspec.Struct, frozen=True):
    documents: int
    removed: dict[str, tuple[str, int]]


class _Counted(msgspec.Struct):
    count: int
    shards: msgspec.Raw = msgspec.field(name="_shards")  # of which `ask` sees that all answered


class ElasticsearchWriter(
    Writer,
    SupportsStored,
    SupportsFence,
    SupportsTargetCensus,
    SupportsStock,
    SupportsPlaces,
    SupportsPreflight,
    SupportsLimitations,
):
    """Writes activations behind an index pattern."""

    # By default a shard is refreshed every second; looking up what was stored since refreshes it once more.
    abilities = Abilities(visible_after_s=1.5)

    def __init__(
        self, client: Client, pattern: str, *, template: TemplateOptions | None, bulk_bytes: int, bulks: int
    ) -> None:
        self.form: Form | None = Form.ELASTICSEARCH
        self._client = client
        self._pattern = pattern
        self._template = template
        self._flow = Flow(bulk_bytes=bulk_bytes, bulks=bulks)
        self._destinations = Destinations(client, pattern)
        self._lookup = Lookup(client)
        self._expects_present = False  # whether nearly all that was written last was there already
        self._described: set[str] = set()  # indices whose identity was given

    def describe(self) -> Description:
        server = self._client.server()
        wanted = expressions(self._pattern, Selection())
        # At every commit: one small request, and more only where an index seems to be gone.
        identities = look_up_uuids(self._client, wanted) if self._described else {}
        if not identities or not self._described <= identities.keys():
            identities = {name: index.uuid for name, index in resolve(self._client, wanted)[0].items()}
        # The first time, an index is the one that was written to, which a caller holds against what is there the next
        # time: one that was deleted and recreated in between is noticed like one that is replaced later.
        written = self._destinations.identities(identities)
        identities |= {name: written[name] for name in written.keys() & identities.keys() - self._described}
        self._described |= identities.keys()
        return Description(
            location=self._client.location,
            product=server.product,
            version=server.version,
            identity={"cluster": server.cluster_uuid, "indices": identities},
        )

    def concerned(self, identity: Token, namespaces: Collection[str]) -> Token:
        if not isinstance(identity, dict) or not isinstance(indices := identity.get("indices"), dict):
            return identity
        names = self._destinations.places(namespaces)
        return {**identity, "indices": {name: uuid for name, uuid in indices.items() if name in names}}

    def preflight(self, namespaces: Sequence[str]) -> Sequence[str]:
        return preflight.findings(self._client, self._pattern, namespaces, self._template)

    def limitations(self) -> Sequence[str]:
        sentence = limitation(self._client.server())
        return [sentence] if sentence else []

    def prepare(self) -> Token:
        if self._template is not None:
            install_template(self._client, self._pattern, self._template)
        return None

    # -- writing ------------------------------------------------------------------------------------------------

    def write(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
        return self._write(documents, replace=replace)

    def replace_before(self, documents: Sequence[Document], mark: Token) -> WriteOutcome:
        """As in the contract: what is replaced is named by its sequence number, which was looked up before the mark's.

        So whatever is stored in between makes a conflict, and stays.
        """
        return self._write(documents, replace=True, fence=mark)

    def _write(self, documents: Sequence[Document], *, replace: bool, fence: Token = None) -> WriteOutcome:
        outcome = Outcome()
        try:
            self._write_into(outcome, documents, replace=replace, fence=fence)
        except MigratorError:
            self._expects_present = False  # what may have been stored all the same is sent again, as ever
            raise
        self._expects_present = len(outcome.present) >= _MOSTLY * len(documents)
        return outcome.result()

    def _write_into(self, outcome: Outcome, documents: Sequence[Document], *, replace: bool, fence: Token) -> None:
        found = self._destinations.of(document.namespace for document in documents)
        taken = self._place(documents, found, outcome)
        new, there = self._apart(taken, found)
        if self._expects_present and fence is None:
            new = self._take_present(new, found, outcome)
        there += self._send("create", new, outcome)
        versions: Versions | None = None if fence is None else {}
        newer = self._compare(there, outcome, replace=replace, versions=versions) if there else []
        if versions is not None and newer:
            newer = self._keep_newer(newer, fence, versions, outcome)
        unsettled = self._send("index", newer, outcome, versions=versions)
        self._settle(unsettled, outcome, fenced=fence is not None)
        self._look_at_new(found, taken)

    def _take_present(
        self, new: Sequence[Addressed], found: Mapping[str, Destination], outcome: Outcome
    ) -> list[Addressed]:
        """Sort out what stands there already, compared as after a conflict; returns all else, to be created.

        A server parses a whole document before it refuses to create it again, which costs more than this look.
        """
        looked_at = [each for each in new if found[each[1].namespace].uuids]
        left = [each for each in new if not found[each[1].namespace].uuids]
        for each, there in zip(looked_at, self._lookup.fetch(looked_at), strict=True):
            if there is not None and comparing.same(each[1], there, doubles=False):
                outcome.present.append(each[1])
            else:
                left.append(each)
        return left

    def _place(
        self, documents: Sequence[Document], found: Mapping[str, Destination], outcome: Outcome
    ) -> list[Addressed]:
        """Where each document goes; those that can go nowhere are rejected, or put off."""
        placed: list[Addressed] = []
        for document in documents:
            destination = found[document.namespace]
            if destination.rejection is not None:
                outcome.reject(document, destination.rejection)
            elif destination.obstacle is not None:
                outcome.defer(document, Unavailable(f"{self._client.location}: {destination.obstacle}"))
            else:
                placed.append((destination.address, document))
        return placed

    def _apart(
        self, placed: list[Addressed], found: Mapping[str, Destination]
    ) -> tuple[list[Addressed], list[Addressed]]:
        """What may be new, and what stands already where `create` wouldn't notice it."""
        if not any(destination.beside for destination in found.values()):
            return placed, []
        aside: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for _, document in placed:
            if beside := found[document.namespace].beside:
                aside[beside].append(document.id)
        places: dict[str, list[Address]] = {}
        try:
            for beside, ids in aside.items():
                places |= self._lookup.locate(beside, ids)
        except NotFound as error:  # one of the indices was deleted: what stands behind the alias is looked at again
            for _, document in placed:
                self._destinations.forget(document.namespace)
            raise Unavailable(str(error)) from error
        new: list[Addressed] = []
        there: list[Addressed] = []
        for address, document in placed:
            stands = places.get(document.id) if found[document.namespace].beside else None
            if stands:
                # Of several, that in which OpenWhisk's own would stand, else the newest by its name.
                best = max(stands, key=lambda each: (each.index == address.index, each.index))
                there.append((best, document))
            else:
                new.append((address, document))
        return new, there

    def _look_at_new(self, found: Mapping[str, Destination], placed: Sequence[Addressed]) -> None:
        """Look at the indices that this write created: templates made them, and nothing is known of them yet."""
        written = {document.namespace for _, document in placed}
        created = {name for name in written if not found[name].uuids}
        for destination in self._destinations.of(created).values():
            if destination.obstacle is not None:
                raise Unavailable(f"{self._client.location}: {destination.obstacle}")

    def _keep_newer(
        self, newer: list[Addressed], fence: Token, versions: Versions, outcome: Outcome
    ) -> list[Addressed]:
        """Leave what was stored after a mark, and what can't be named by its version; returns the rest."""
        since = self.stored_since(fence, [document for _, document in newer])
        replaced: list[Addressed] = []
        for address, document in newer:
            if document.id in since or (address.index, document.id) not in versions:
                outcome.differing.append(document)
            else:
                replaced.append((address, document))
        return replaced

    def _send(
        self,
        operation: str,
        addressed: Sequence[Addressed],
        outcome: Outcome,
        *,
        versions: Versions | None = None,
    ) -> list[Addressed]:
        """Send bulks; returns what must be looked up: what is there already, and what the answers don't tell of."""
        unsettled: list[Addressed] = []
        waiting = self._requests(addressed)
        while waiting:
            for part, body in self._bodies.split(operation, waiting.pop(), self._flow.bulk_bytes, versions):
                try:
                    items = self._bulk(operation, body, part)
                except RequestRefused as refusal:
                    if self._bodies.names_indices and names_index(refusal):
                        self._bodies.name_no_indices()
                        waiting += self._requests(part)
                        continue
                    if refusal.status != 413 or len(part) == 1:
                        raise
                    self._flow.too_large(len(body))
                    waiting.append(part)
                    continue
                if items is None:
                    outcome.written += [document for _, document in part]
                    continue
                for (address, document), item in zip(part, items, strict=True):
                    if item is not None and item.stored(operation):
                        outcome.written.append(document)
                    elif (
                        item is None
                        or item.status < 300
                        or (item.status == 409 and (operation == "create" or versions is not None))
                    ):
                        unsettled.append((address, document))
                    elif item.refuses_document:
                        outcome.reject(document, str(item.error))
                    else:
                        outcome.defer(document, self._condition(address.index, item))
                        if item.status != 429:  # another index may be the one to write to by now
                            self._destinations.forget(document.namespace)
        return unsettled

    def _requests(self, addressed: Sequence[Addressed]) -> list[Sequence[Addressed]]:
        """What may go into one request: all of it, unless requests are for one index each."""
        if self._bodies.names_indices:
            return [addressed]
        return [[addressed[at] for at in positions] for positions in by_index(addressed).values()]

    def _bulk(self, operation: str, body: bytes, sent: Sequence[Addressed]) -> list[Item | None] | None:
        """Send one bulk; None where all documents were stored."""
        path = "/_bulk" if self._bodies.names_indices else f"/{index_paths([sent[0][0].index])[0]}/_bulk"
        with self._flow.turn() as falls:
            try:
                answer = self._client.call(
                    "POST",
                    f"{path}?{ANSWER_PATHS}",
                    body=body,
                    ndjson=True,
                    holds_documents=True,
                    right=_RIGHTS,
                )
                items = read_answer(answer.body, operation, sent)
            except RequestRefused:
                raise
            except Unavailable:
                self._flow.pushed_back(falls)
                raise
            except ValueError as error:
                raise self._client.malformed_answer("/_bulk", error) from error
            if items is not None and any(item is not None and item.status in (429, 503) for item in items):
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
        return Unavailable(text + advice(cause))

    def _compare(
        self, addressed: list[Addressed], outcome: Outcome, *, replace: bool, versions: Versions | None = None
    ) -> list[Addressed]:
        """Sort documents by what is stored in their place; returns those that shall replace it."""
        newer: list[Addressed] = []
        for (address, document), there in zip(addressed, self._lookup.fetch(addressed, versions), strict=True):
            if there is None:
                self._defer_unsettled(address, document, outcome)
            elif comparing.same(document, there, doubles=False):
                outcome.present.append(document)
            elif replace:
                newer.append((address, document))
            else:
                outcome.differing.append(document)
        return newer

    def _settle(self, addressed: list[Addressed], outcome: Outcome, *, fenced: bool = False) -> None:
        """Look at documents that were to replace others, and of which the answer didn't tell."""
        for (address, document), there in zip(addressed, self._lookup.fetch(addressed), strict=True):
            if there is not None and comparing.same(document, there, doubles=False):
                outcome.written.append(document)
            elif there is not None and fenced:
                outcome.differing.append(document)  # something else was stored in between
            else:
                self._defer_unsettled(address, document, outcome)

    def _defer_unsettled(self, address: Address, document: Document, outcome: Outcome) -> None:
        self._destinations.forget(document.namespace)
        reason = f"{document.id} isn't in index {address.index} as it was sent: it was deleted, or a bulk answer"
        reason += " was altered in transit; writing it again"
        outcome.defer(document, Unavailable(f"{self._client.location}: {reason}"))

    @cached_property
    def _bodies(self) -> Bodies:
        return Bodies(typed=self._client.server().is_typed)

    # -- what is there ------------------------------------------------------------------------------------------

    def stored(self, documents: Sequence[Document]) -> Mapping[str, Document]:
        found = self._destinations.of(document.namespace for document in documents)
        placed = [
            (found[document.namespace].address, document)
            for document in documents
            if found[document.namespace].uuids and found[document.namespace].rejection is None
        ]
        new, there = self._apart(placed, found)
        addressed = [*new, *there]
        stored = zip(addressed, self._lookup.fetch(addressed), strict=True)
        return {document.id: each for (_, document), each in stored if each is not None}

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
        before = convert(mark, _Mark, strict=False).indices
        by_name: dict[str, list[str]] = defaultdict(list)
        for document in documents:
            name = index_name(self._pattern, document.namespace)
            if name_refusal(name) is None:
                by_name[name].append(document.id)
        found: set[str] = set()
        for wanted, ids in by_name.items():
            indices = resolve(self._client, [wanted])[0]
            states = shard_states(self._client, indices)
            for name, index in indices.items():
                uuid, shards = states.get(name, ("", {}))
                if uuid != index.uuid or len(shards) != index.shards:
                    raise Unavailable(f"{self._client.location}: not every shard of index {name} is up")
                refresh(self._client, [name])
                known = before.get(name)
                for number, shard in shards.items():
                    above: int | None = -1
                    if known is not None and known.uuid == uuid:
                        # A shard that wasn't up at the mark: what is in it may have been there, so it is left alone.
                        above = known.shards.get(number)
                    if above is not None and above < shard.max_seq_no:
                        query = {"range": {"_seq_no": {"gt": above}}}
                        path, names = index_paths([name])[0], frozenset({name})
                        hits = self._lookup.search(path, ids, names, query=query, shard=number)
                        found.update(hit.id for hit in hits)
        return frozenset(found)

    # -- the end ------------------------------------------------------------------------------------------------

    def census(self) -> int | None:
        return self._count_in(self._indices())

    def _indices(self) -> dict[str, Index]:
        return resolve(self._client, expressions(self._pattern, Selection()))[0]

    def _count_in(self, indices: Mapping[str, Index]) -> int | None:
        states = shard_states(self._client, indices)
        if any(len(states.get(name, ("", {}))[1]) != index.shards for name, index in indices.items()):
            return None  # one is closed, or a shard of it isn't up
        refresh(self._client, indices)
        return sum(self._count(path) for path in index_paths(indices))

    def stock(self) -> Token:
        indices = self._indices()
        removed = deletions(self._client, indices)  # before the count: what goes in between is missing from neither
        documents = self._count_in(indices) if removed.keys() == indices.keys() else None
        return None if documents is None else {"documents": documents, "removed": removed}

    def left_of(self, stock: Token) -> int:
        before = convert(stock, _Stock)
        if not before.documents:
            return 0
        return before.documents if deletions(self._client, before.removed) == before.removed else 0

    def _count(self, path: str) -> int:
        return self._client.ask("GET", f"/{path}/_count", _Counted, right="the index privilege read").count

    def flush(self) -> Token:
        """Nothing to wait for: what a bulk's answer says was stored is in the translog of every copy."""
        return None

    @override
    def finish(self, completion: Completion) -> None:
        refresh(self._client, shard_states(self._client, self._indices()))

    def close(self) -> None:
        self._client.close()


_RIGHTS = "the index privileges index and auto_configure (before 7.9 create_index)"
