"""Reads Elasticsearch and OpenSearch exactly: every shard by its sequence numbers, window by window.

A window (index, shard, first, last] enters, batches leave. Nothing stays open on the server, no page costs more than
the first. A document that changes while it is read moves to a higher number, beyond the window; the catch-up rounds
give it then. Sends nothing that changes the source; a `_refresh` only makes visible what is stored.

Time: `since` and `until` are put into the query where the index maps `start` as `long`, which OpenWhisk's do; then
what lies outside isn't read and isn't counted as filtered. Elsewhere everything is read and filtered here.

Source: https://www.elastic.co/guide/en/elasticsearch/reference/6.7/docs-index_.html (sequence numbers); the rules of
each request below were measured on 6.7.2, 7.17, 8.19, 9.2 and OpenSearch 1.3 and 2.17.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from migrator.adapters.base import Abilities, Batch, Description, Plan, Slice, Token
from migrator.adapters.elasticsearch.client import Client, index_paths
from migrator.adapters.elasticsearch.fetching import Place, UndecodableError, fetch_source, get, locate
from migrator.adapters.elasticsearch.indices import (
    Index,
    Shard,
    Survey,
    check_identity,
    deleted,
    expressions,
    may_hold,
    refresh,
    resolve,
    survey,
)
from migrator.adapters.elasticsearch.transport import TooLarge
from migrator.adapters.pages import Page, PageSize
from migrator.errors import NotFound, Unavailable
from migrator.records import Form, Rejection, Selection

_NONE = -1  # the number before the first
_WINDOW_LIMIT = re.compile(r"Result window is too large.* less than or equal to: \[(\d+)\]")
"""Source: the refusal of `index.max_result_window`, the same on all versions."""


class _Window(msgspec.Struct, frozen=True):
    """The `spec` of a slice: the sequence numbers (above, last] of one shard of one index."""

    index: str
    uuid: str
    history: str
    shard: int
    above: int
    last: int
    start_is_long: bool = False


class _IndexSnapshot(msgspec.Struct, frozen=True):
    uuid: str
    shards: dict[str, tuple[str, int]]  # number: history, checkpoint


class _Snapshot(msgspec.Struct, frozen=True):
    indices: dict[str, _IndexSnapshot]


class _Hit(msgspec.Struct, gc=False):
    id: str = msgspec.field(name="_id")
    sort: tuple[int]
    source: msgspec.Raw = msgspec.field(name="_source", default=msgspec.Raw(b""))


class _Shards(msgspec.Struct):
    total: int
    successful: int


class _Hits(msgspec.Struct):
    hits: list[_Hit]


class _Found(msgspec.Struct):
    timed_out: bool
    shards: _Shards = msgspec.field(name="_shards")
    hits: _Hits


class _Count(msgspec.Struct):
    count: int


_found = msgspec.json.Decoder(_Found)


class ElasticsearchReader:
    """Reads the activations behind an index pattern."""

    form = Form.ELASTICSEARCH
    abilities = Abilities(catches_up=True)

    def __init__(self, client: Client, pattern: str, *, page_bytes: int) -> None:
        self._client = client
        self._pattern = pattern
        self._page_size = PageSize(aim_bytes=page_bytes)

    def describe(self) -> Description:
        server = self._client.server()
        self._found_or_raise(Survey(resolve(self._client, expressions(self._pattern, Selection()))[0], {}), Selection())
        return Description(
            location=self._client.location,
            product=server.product,
            version=server.version,
            identity={"cluster": server.cluster_uuid},
        )

    # -- plans --------------------------------------------------------------------------------------------------

    def plan(self, selection: Selection, *, slice_documents: int) -> Plan:
        found, warnings = self._survey(selection)
        slices = [
            piece
            for name, index in found.indices.items()
            for number, shard in found.shards[name].items()
            for piece in self._cut(index, number, shard, _NONE, slice_documents)
        ]
        return self._as_plan(found, self._with_start(slices, selection), warnings)

    def catch_up(self, snapshot: Token, selection: Selection, *, slice_documents: int) -> Plan:
        before = msgspec.convert(snapshot, _Snapshot).indices
        found, warnings = self._survey(selection)
        slices: list[Slice] = []
        for name, index in found.indices.items():
            known = before.get(name)
            anew = False
            for number, shard in found.shards[name].items():
                above = _continued(known, index, number, shard)
                anew = anew or (known is not None and above is None)
                above = _NONE if above is None else above
                slices += self._cut(index, number, shard, above, slice_documents, replaces=True)
            if anew:
                warnings.append(f"index {name} was created anew or restored since; it is read as a whole again")
        warnings += [
            f"index {name} is gone; what it held was read before"
            for name in before
            if name not in found.indices and name not in found.closed
        ]
        # A closed index keeps the place it had, so that it is caught up once it is open again.
        kept = {name: before[name] for name in found.closed if name in before}
        return self._as_plan(found, self._with_start(slices, selection), warnings, kept)

    def _survey(self, selection: Selection) -> tuple[Survey, list[str]]:
        """Where everything stands, with the checkpoints taken before the refresh that makes them readable."""
        found = self._found_or_raise(survey(self._client, expressions(self._pattern, selection)), selection)
        found = msgspec.structs.replace(
            found,
            indices={name: index for name, index in found.indices.items() if may_hold(self._pattern, name, selection)},
            closed=tuple(name for name in found.closed if may_hold(self._pattern, name, selection)),
        )
        refresh(self._client, found.indices)
        warnings = [f"index {name} is closed and can't be read; open it and run again" for name in found.closed]
        warnings += [f"index {name} isn't there; it has no activations to read" for name in found.missing]
        return found, warnings

    def _found_or_raise(self, found: Survey, selection: Selection) -> Survey:
        one_by_one = "%s" in self._pattern and selection.exact_namespaces() is not None
        if not (found.indices or found.closed or one_by_one):
            pattern = ", ".join(expressions(self._pattern, selection))
            raise NotFound(f"{self._client.location}: no index matches {pattern}; check the index pattern")
        return found

    @staticmethod
    def _as_plan(
        found: Survey, slices: list[Slice], warnings: list[str], kept: Mapping[str, _IndexSnapshot] | None = None
    ) -> Plan:
        snapshot = {
            name: _IndexSnapshot(
                index.uuid,
                {str(number): (shard.history, shard.checkpoint) for number, shard in found.shards[name].items()},
            )
            for name, index in found.indices.items()
        }
        return Plan(
            slices=tuple(slices),
            snapshot=_plain(_Snapshot({**snapshot, **(kept or {})})),
            warnings=tuple(warnings),
            incomplete=bool(found.closed),
        )

    def _cut(
        self,
        index: Index,
        number: int,
        shard: Shard,
        above: int,
        slice_documents: int,
        *,
        replaces: bool = False,
    ) -> Iterator[Slice]:
        """Windows of `slice_documents` numbers; they may hold fewer documents: what is overwritten leaves a gap."""
        while above < shard.checkpoint:
            last = min(above + slice_documents, shard.checkpoint)
            window = _Window(index.name, index.uuid, shard.history, number, above, last)
            yield Slice(
                # The history tells an index from a later one of its name, also within one job.
                key=f"{index.name}[{number}] {above + 1}..{last} of {shard.history[:8]}",
                spec=msgspec.to_builtins(window),
                documents=last - above,
                replaces=replaces,
            )
            above = last

    def _with_start(self, slices: list[Slice], selection: Selection) -> list[Slice]:
        """Mark the windows whose index can be asked for a span of `start`."""
        if selection.since_ms is None and selection.until_ms is None:
            return slices
        long = self._start_is_long({slice.spec["index"] for slice in slices})
        return [
            msgspec.structs.replace(slice, spec={**slice.spec, "start_is_long": slice.spec["index"] in long})
            for slice in slices
        ]

    def _start_is_long(self, names: set[str]) -> frozenset[str]:
        found: set[str] = set()
        for path in index_paths(sorted(names)):
            where = f"/{path}/_mapping/field/start"
            answer = self._client.call("GET", where, accept=(404,), right="the index privilege view_index_metadata")
            mappings = self._client.understand(answer, dict[str, Any], where) if answer.status == 200 else {}
            found |= {name for name, mapping in mappings.items() if _types_of_start(mapping) == {"long"}}
        return frozenset(found)

    # -- reading ------------------------------------------------------------------------------------------------

    def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
        window = msgspec.convert(slice.spec, _Window)
        done = window.above if after is None else msgspec.convert(after, int)
        spread = 1.0  # numbers for each document that is asked for: gaps and narrow selections spread them out
        most: int | None = None  # bounds a page after one that was too large or couldn't be decoded
        while done < window.last:
            size = self._page_size.of(window.last - done)
            size = size if most is None else min(size, most)
            last = min(done + max(size, int(size * spread)), window.last)
            try:
                body = self._search(window, done, last, size, selection)
                found = self._decode(window, body)
            except TooLarge:
                most = self._page_size.shrink(size)
                continue
            except UndecodableError:
                if size > 1:
                    # The documents are told apart by asking again for half of them, down to the one that is the cause.
                    most = max(1, min(size, body.count(b'"_source"')) // 2)
                    continue
                found = self._alone(window, done, last, selection, body)
            whole = len(found) < size or last - done <= size
            batch = self._batch(window, found, last if whole else found[-1].sort[0], selection, body)
            self._page_size.saw(len(found), len(body))
            position = batch.position
            assert isinstance(position, int)
            if len(found) == size:
                gaps = (position - done) / size
                spread = gaps * 1.1 if gaps > 1 else 1.0
            elif 2 * len(found) < size:
                spread *= 4 if not found else 2
            if most is not None:
                most = most * 2 if most < self._page_size.documents else None
            yield batch
            done = position
        check_identity(self._client, window.index, window.uuid, window.shard, window.history)

    def _search(self, window: _Window, above: int, last: int, size: int, selection: Selection, **more: Any) -> bytes:
        """One page; raises `TooLarge` where it grows too large, or the index gives no so many documents at once.

        A single document is taken at any size.
        """
        query: dict[str, Any] = {"range": {"_seq_no": {"gt": above, "lte": last}}}
        if window.start_is_long:
            query = {"bool": {"filter": [query, _start_query(selection)]}}
        # Where the page holds all there can be, their order doesn't matter, and that of the disk is the cheapest.
        order = "_doc" if 1 < last - above <= size else "_seq_no"
        asked = {"query": query, "sort": [{order: "asc"}], "size": size, "track_total_hits": False, **more}
        try:
            answer = self._client.call(
                "POST",
                f"/{quote(window.index, safe='')}/_search?preference=_shards:{window.shard}"
                "&allow_partial_search_results=false&request_cache=false",
                body=msgspec.json.encode(asked),
                accept=(404,),
                bound_bytes=self._page_size.bound_bytes if size > 1 else None,
                right="the index privilege read",
            )
        except Unavailable as error:
            if (limit := _WINDOW_LIMIT.search(str(error))) is None or size <= int(limit[1]):
                raise
            self._page_size.limit(int(limit[1]))
            raise TooLarge(str(error)) from error
        if answer.status == 404:
            raise deleted(self._client, window.index)
        return answer.body

    def _decode(self, window: _Window, body: bytes) -> list[_Hit]:
        try:
            found = _found.decode(body)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise UndecodableError(str(error)) from error
        if found.timed_out or not found.shards.total == found.shards.successful == 1:
            raise Unavailable(
                f"{self._client.location}: a page of {window.index}[{window.shard}] is incomplete "
                f"(timed_out {found.timed_out}, shards {found.shards.successful} of {found.shards.total})"
            )
        return found.hits.hits

    def _batch(self, window: _Window, hits: list[_Hit], position: int, selection: Selection, body: bytes) -> Batch:
        page = Page(self.form, selection)
        for hit in hits:
            self._take(page, window.index, hit.id, bytes(hit.source))
        return page.batch(position, size_bytes=len(body))

    def _take(self, page: Page, index: str, id: str, source: bytes) -> None:
        if source:
            page.take(id, source, index=index)
        else:
            reason = "the index keeps no _source, so the document can't be read"
            page.reject(Rejection(id, reason, b"", namespace=id.partition("/")[0], form=self.form, index=index))

    def _alone(self, window: _Window, above: int, last: int, selection: Selection, body: bytes) -> list[_Hit]:
        """The hit of a page of one document whose JSON can't be decoded, with its bytes cut out of the page."""
        path = f"/{window.index}/_search"
        try:
            hits = self._decode(window, self._search(window, above, last, 1, selection, _source=False))
        except UndecodableError as error:
            raise self._client.garbled(path, error) from error
        # Quotes inside a string are escaped, so the first `"_source":` is the name, and after the last `"sort":` come
        # only digits and brackets.
        source, _, rest = body.partition(b'"_source":')[2].rpartition(b',"sort":[')
        if not hits or rest.partition(b"]")[0] != str(hits[0].sort[0]).encode():
            raise Unavailable(f"{self._client.location}: {path}: the answer was cut, or changed while it was looked at")
        return [_Hit(id=hits[0].id, sort=hits[0].sort, source=msgspec.Raw(source))]

    # -- by id --------------------------------------------------------------------------------------------------

    def fetch(self, ids: Sequence[str], after: Token, selection: Selection) -> Iterator[Batch]:
        done = 0 if after is None else msgspec.convert(after, int)
        indices = self._survey(selection)[0].indices
        most: int | None = None  # as in `read`
        while done < len(ids):
            asked = min(self._page_size.documents, most or self._page_size.documents)
            chosen = ids[done : done + asked]
            places = list(locate(self._client, indices, chosen))
            try:
                sources, size_bytes = self._get(places)
            except TooLarge:
                most = self._page_size.shrink(len(chosen))
                continue
            except UndecodableError:
                most = len(chosen) // 2
                continue
            self._page_size.saw(len(chosen), size_bytes)
            if most is not None:
                most = most * 2 if most < self._page_size.documents else None
            page = Page(self.form, selection)
            for place, source in zip(places, sources, strict=True):
                if source is not None:
                    self._take(page, place.index, place.id, source)
            done += len(chosen)
            yield page.batch(done, size_bytes=size_bytes)

    def _get(self, places: Sequence[Place]) -> tuple[list[bytes | None], int]:
        """The bytes of documents; one that stands for itself is taken at any size and whatever it is."""
        if not places:
            return [], 0
        alone = len({place.id for place in places}) == 1
        try:
            return get(self._client, places, bound_bytes=None if alone else self._page_size.bound_bytes)
        except UndecodableError:
            if not alone:
                raise
        sources = [fetch_source(self._client, place.index, place.id, type=place.type) for place in places]
        return sources, sum(len(source or b"") for source in sources)

    def plan_verification(self, selection: Selection, *, slice_documents: int) -> Plan:
        return self.plan(selection, slice_documents=slice_documents)

    def census(self, selection: Selection, snapshot: Token) -> int | None:  # noqa: ARG002  the contract's
        return None

    def count(self, selection: Selection) -> int | None:
        if selection.names or (selection.namespaces and "%s" not in self._pattern):
            return None
        names = set(self._survey(selection)[0].indices)
        body = None
        if selection.since_ms is not None or selection.until_ms is not None:
            if self._start_is_long(names) != names:
                return None
            body = {"query": _start_query(selection)}
        return sum(
            self._client.ask("POST", f"/{path}/_count", _Count, body=body, right="the index privilege read").count
            for path in index_paths(sorted(names))
        )

    def close(self) -> None:
        self._client.close()


def _plain(snapshot: _Snapshot) -> Token:
    """As it comes back from a checkpoint: JSON knows no tuples."""
    plain: Token = msgspec.json.decode(msgspec.json.encode(snapshot))
    return plain


def _continued(known: _IndexSnapshot | None, index: Index, number: int, shard: Shard) -> int | None:
    """The number that a shard was read up to; None where that doesn't hold any more and all of it must be read."""
    if known is None or known.uuid != index.uuid or str(number) not in known.shards:
        return None
    history, checkpoint = known.shards[str(number)]
    return checkpoint if history == shard.history and checkpoint <= shard.max_seq_no else None


def _start_query(selection: Selection) -> dict[str, Any]:
    """A span of `start`, and what has no `start` that was indexed: what that is, the page finds out."""
    span = {"gte": selection.since_ms, "lt": selection.until_ms}
    given = {name: moment for name, moment in span.items() if moment is not None}
    return {
        "bool": {
            "should": [{"range": {"start": given}}, {"bool": {"must_not": [{"exists": {"field": "start"}}]}}],
            "minimum_should_match": 1,
        }
    }


def _types_of_start(mapping: Any) -> set[str]:
    """The types of the field `start` in an answer of `_mapping/field`, below a document type on 6.x."""
    if not isinstance(mapping, dict):
        return set()
    field = mapping.get("mapping", {}).get("start") if isinstance(mapping.get("mapping"), dict) else None
    if isinstance(field, dict):
        return {str(field.get("type")) if field.get("index", True) else "not indexed"}
    return set().union(*(_types_of_start(inner) for inner in mapping.values()))
