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

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from typing_extensions import override

from migrator.activations.document import Document, Form
from migrator.activations.part import Part
from migrator.activations.selection import Selection, literal
from migrator.adapters.base import (
    Abilities,
    Batch,
    Description,
    News,
    Plan,
    Reader,
    Slice,
    SupportsCatchUp,
    SupportsCensus,
    SupportsCount,
    SupportsFetch,
    SupportsFollow,
    SupportsNamespaces,
    SupportsParts,
    SupportsRepeats,
    SupportsVerificationPlan,
    Token,
)
from migrator.adapters.elasticsearch import absence
from migrator.adapters.elasticsearch.client import Client, index_paths
from migrator.adapters.elasticsearch.counting import (
    ShardQuery,
    ask_shards,
    highest_above,
    numbers,
    routed,
    without_numbers,
)
from migrator.adapters.elasticsearch.fetching import fetch_pages
from migrator.adapters.elasticsearch.hits import Window, start_query
from migrator.adapters.elasticsearch.indices import (
    Index,
    Shard,
    Survey,
    aliases_of,
    check_identity,
    is_closed,
    refresh,
    resolve,
    select,
    shard_states,
    survey,
)
from migrator.adapters.elasticsearch.lookup import Lookup
from migrator.adapters.elasticsearch.mappings import find_changed_sources, start_is_long
from migrator.adapters.elasticsearch.names import expressions
from migrator.adapters.elasticsearch.probe import probe
from migrator.adapters.elasticsearch.rights import why_hidden
from migrator.adapters.elasticsearch.scroll import ScrollReader
from migrator.adapters.elasticsearch.volume import volume
from migrator.adapters.elasticsearch.windows import WindowReader
from migrator.adapters.questions import (
    Finding,
    Found,
    Probe,
    SupportsLookup,
    SupportsNewest,
    SupportsProbe,
    SupportsReasons,
    SupportsVolume,
    Volume,
    WantedId,
)
from migrator.adapters.shared.http import TooLarge, Undecodable
from migrator.adapters.shared.paging import PageSize
from migrator.errors import AccessDenied, AnswerLost, NotFound, Unavailable
from migrator.events.watching import Stop
from migrator.text.decoding import convert
from migrator.text.units import counted

_COUNTED = 50  # namespaces, by a few requests each
_NONE = -1  # the number before the first


class _IndexSnapshot(msgspec.Struct, frozen=True):
    uuid: str
    shards: dict[str, tuple[str, int]]  # number: history, checkpoint


class _Snapshot(msgspec.Struct, frozen=True):
    indices: dict[str, _IndexSnapshot]


class _Warnings:
    """What the operator must be told of a plan, and whether some of it speaks of documents that are left out."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.incomplete = False

    def lose(self, warning: str) -> None:
        self.told.append(warning)
        self.incomplete = True


class _Count(msgspec.Struct):
    count: int


class ElasticsearchReader(
    Reader,
    SupportsCatchUp,
    SupportsFollow,
    SupportsVerificationPlan,
    SupportsCensus,
    SupportsRepeats,
    SupportsFetch,
    SupportsNamespaces,
    SupportsCount,
    SupportsParts,
    SupportsProbe,
    SupportsLookup,
    SupportsNewest,
    SupportsReasons,
    SupportsVolume,
):
    """Reads the activations behind an index pattern."""

    form = Form.ELASTICSEARCH

    abilities = Abilities(unique_ids=True, looks_up=True)

    def __init__(self, client: Client, pattern: str, *, page_bytes: int, part: Part | None = None) -> None:
        self._client = client
        self._part = part
        self._page_bytes = page_bytes
        self._pattern = pattern
        self._page_size = PageSize(aim_bytes=page_bytes)
        self._windows = WindowReader(client, self._page_size)
        self._scrolls = ScrollReader(client, self._page_size)
        self._seen: dict[tuple[str, str, int], int] = {}  # numbers above a checkpoint, until that has passed them
        self._unscrolled: set[str] = set()  # keys of slices that a scroll can't give
        if part is not None:
            self.abilities = msgspec.structs.replace(self.abilities, partial=True)

    def in_part(self, part: Part) -> ElasticsearchReader:
        """Some of the shards.

        A shard isn't cut: a document that changes moves to a higher number, so parts that were cut by numbers would
        lose it, or have it twice. In which shard it is doesn't change.
        """
        return ElasticsearchReader(self._client, self._pattern, page_bytes=self._page_bytes, part=part)

    def _shards(self, found: Survey, name: str) -> dict[int, Shard]:
        """The shards of an index that are read."""
        shards, part = found.shards[name], self._part
        return {number: shard for number, shard in shards.items() if part is None or part.takes_piece(name, number)}

    def describe(self) -> Description:
        server = self._client.server()
        self._found_or_raise(resolve(self._client, expressions(self._pattern, Selection()))[0], Selection())
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
            for number, shard in self._shards(found, name).items()
            for piece in self._cut(index, number, shard, _NONE, slice_documents)
        ]
        return self._as_plan(found, self._with_start(slices, selection), warnings)

    def plan_verification(self, selection: Selection, *, slice_documents: int) -> Plan:
        """The same windows, each read by a scroll."""
        plan = self.plan(selection, slice_documents=slice_documents)
        slices = tuple(
            msgspec.structs.replace(slice, spec={**slice.spec, "scroll": True}, whole=True) for slice in plan.slices
        )
        return msgspec.structs.replace(plan, slices=slices)

    def catch_up(self, snapshot: Token, selection: Selection, *, slice_documents: int) -> Plan:
        before = convert(snapshot, _Snapshot).indices
        found, warnings = self._survey(selection)
        slices: list[Slice] = []
        for name, index in found.indices.items():
            known = before.get(name)
            recreated = False
            for number, shard in self._shards(found, name).items():
                above = _continue_from(known, index, number, shard)
                recreated = recreated or (known is not None and above is None)
                above = _NONE if above is None else above
                slices += self._cut(index, number, shard, above, slice_documents, replaces=True)
            if recreated:
                warnings.told.append(f"index {name} was recreated or restored; reading all of it again")
        warnings.told += [
            f"index {name} no longer exists; what it held was read before"
            for name in before
            if name not in found.indices and name not in found.closed
        ]
        # A closed index keeps the place it had, so that it is caught up once it is open again.
        kept = {name: before[name] for name in found.closed if name in before}
        return self._as_plan(found, self._with_start(slices, selection), warnings, kept)

    def news(self, snapshot: Token, selection: Selection, *, wait_s: float, stop: Stop) -> News:
        """By the numbers of the primaries, of the indices that there are now; the wait is a pause."""
        if wait_s > 0:
            stop.sleep(wait_s)
        before = convert(snapshot, _Snapshot).indices
        indices, missing = select(self._client, self._pattern, selection)
        found = survey(self._client, indices, missing)
        self._found_or_raise([*found.indices, *found.closed], selection)
        pending = 0
        for name, index in found.indices.items():
            for number, shard in self._shards(found, name).items():
                above = _continue_from(before.get(name), index, number, shard)
                pending += shard.max_seq_no - (_NONE if above is None else above)
        unseen = [f"index {name} is closed" for name in found.closed]
        if told := why_hidden(self._client, expressions(self._pattern, selection)):
            unseen.append(told)
        return News(pending=pending, unseen=tuple(unseen))

    @override
    def read_up_to(self, snapshot: Token, positions: Sequence[Token]) -> Token:
        """The windows of a round end where its snapshot stands."""
        return snapshot

    def _survey(self, selection: Selection) -> tuple[Survey, _Warnings]:
        """Where everything stands, with the checkpoints taken before the refresh that makes them readable."""
        found = self._settle(self._look(selection))
        warnings = _Warnings()
        for name in found.closed:
            warnings.lose(f"index {name} is closed and can't be read; open it and run again")
        warnings.told += [f"index {name} doesn't exist; there is nothing to read" for name in found.missing]
        for name, documents in without_numbers(self._client, found.indices).items():
            warnings.lose(
                f"index {name} has {counted(documents, 'document')} that Elasticsearch 5 stored, without a sequence "
                "number, so they can't be read; POST /_reindex them into a new index and read that"
            )
        for name, told in find_changed_sources(self._client, found.indices).items():
            warnings.lose(
                f"index {name} doesn't keep whole documents: its mapping has _source with {told}; "
                "what it left out can't be read"
            )
        if unseen := why_hidden(self._client, expressions(self._pattern, selection)):
            warnings.lose(unseen)
        by_name = [name for name, index in found.indices.items() if index.behind]
        for name, aliases in aliases_of(self._client, by_name).items() if by_name else ():
            warnings.told += [
                f"alias {alias} shows only a part of index {name}; the whole index is searched for the selection"
                for alias, filtered in aliases.items()
                if filtered and alias in found.indices[name].behind
            ]
        return found, warnings

    def _look(self, selection: Selection) -> Survey:
        indices, missing = select(self._client, self._pattern, selection)
        found = survey(self._client, indices, missing)
        self._found_or_raise([*found.indices, *found.closed], selection)
        refresh(self._client, found.indices)
        return found

    def _settle(self, found: Survey) -> Survey:
        """A survey whose checkpoints are no lower than what the shards gave when they were first looked at.

        On an index in use there is always something above them; a checkpoint that it doesn't pass would leave out
        whatever is stored from then on.
        """
        for key, highest in highest_above(self._client, _checkpoints(found)).items():
            self._seen.setdefault(_identity(found, *key), highest)
        if not self._behind(found):
            return found
        again = survey(self._client, found.indices, found.missing)
        found = msgspec.structs.replace(again, closed=(*found.closed, *again.closed))
        if behind := self._behind(found):
            (name, number), checkpoint, highest = behind[0]
            raise Unavailable(
                f"{self._client.location}: shard {number} of index {name} says that it is complete up to number "
                f"{checkpoint}, and gives documents up to {highest}"
            )
        refresh(self._client, found.indices)
        return found

    def _behind(self, found: Survey) -> list[tuple[tuple[str, int], int, int]]:
        """The shards whose checkpoint hasn't passed what was seen; what has been passed is forgotten."""
        behind: list[tuple[tuple[str, int], int, int]] = []
        for key, checkpoint in _checkpoints(found).items():
            identity = _identity(found, *key)
            if (highest := self._seen.get(identity, _NONE)) > checkpoint:
                behind.append((key, checkpoint, highest))
            else:
                self._seen.pop(identity, None)
        return behind

    def _found_or_raise(self, names: Collection[str], selection: Selection) -> None:
        one_by_one = "%s" in self._pattern and selection.exact_namespaces() is not None
        if not (names or one_by_one):
            names = expressions(self._pattern, selection)
            none = f"{self._client.location}: no index matches {', '.join(names)}"
            if told := why_hidden(self._client, names):
                raise AccessDenied(f"{none} that the login can see: {told}")
            raise NotFound(f"{none}; check the index pattern")

    def _as_plan(
        self, found: Survey, slices: list[Slice], warnings: _Warnings, kept: Mapping[str, _IndexSnapshot] | None = None
    ) -> Plan:
        snapshot = {
            name: _IndexSnapshot(
                index.uuid,
                {str(number): (shard.history, shard.checkpoint) for number, shard in self._shards(found, name).items()},
            )
            for name, index in found.indices.items()
        }
        return Plan(
            slices=tuple(slices),
            snapshot=_plain(_Snapshot({**snapshot, **(kept or {})})),
            warnings=tuple(warnings.told),
            incomplete=warnings.incomplete,
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
            window = Window(index.name, index.uuid, shard.history, number, above, last)
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
        long = start_is_long(self._client, {slice.spec["index"] for slice in slices})
        return [
            msgspec.structs.replace(slice, spec={**slice.spec, "start_is_long": slice.spec["index"] in long})
            for slice in slices
        ]

    # -- reading ------------------------------------------------------------------------------------------------

    def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
        window = convert(slice.spec, Window)
        if window.scroll and slice.key not in self._unscrolled:
            yield from self._scroll(slice.key, window, selection)
        else:
            done = window.above if after is None else convert(after, int)
            yield from self._windows.read(window, done, selection)
        check_identity(self._client, window.index, window.uuid, window.shard, window.history)

    def _scroll(self, key: str, window: Window, selection: Selection) -> Iterator[Batch]:
        try:
            yield from self._scrolls.read(window, selection)
        except (TooLarge, Undecodable, AnswerLost) as error:
            # Its pages can't be made smaller; another look at the slice reads it by windows.
            self._unscrolled.add(key)
            raise Unavailable(
                f"{self._client.location}: a scroll of {key} can't be read to its end: {error}"
            ) from error

    # -- counts -------------------------------------------------------------------------------------------------

    def census(self, selection: Selection, snapshot: Token) -> int | None:
        """What the shards count up to the snapshot's numbers; an index that isn't the snapshot's any more has none."""
        known = convert(snapshot, _Snapshot).indices
        states = shard_states(self._client, known)
        spans = selection.since_ms is not None or selection.until_ms is not None
        long = start_is_long(self._client, states) if spans else frozenset()
        asked: list[ShardQuery] = []
        for name, before in known.items():
            uuid, shards = states.get(name, ("", {}))
            if uuid not in ("", before.uuid) or (not uuid and self._is_gone(name)):
                continue
            for number, (history, checkpoint) in before.shards.items():
                if (shard := shards.get(int(number))) is None:
                    raise Unavailable(f"{self._client.location}: shard {number} of index {name} can't be counted now")
                if shard.history == history:
                    query = numbers(_NONE, checkpoint)
                    if name in long:
                        query = {"bool": {"filter": [query, start_query(selection)]}}
                    asked.append(ShardQuery(name, int(number), query))
        return sum(told.documents for told in ask_shards(self._client, asked))

    def repeats_ids(self, snapshot: Token) -> bool:
        """Where documents were stored with custom routing, which OpenWhisk doesn't use."""
        return bool(routed(self._client, convert(snapshot, _Snapshot).indices))

    def _is_gone(self, name: str) -> bool:
        return name not in resolve(self._client, [name])[0] or is_closed(self._client, name)

    def namespaces(self) -> Mapping[str, int | None]:
        """By the names of the indices, which are in lower case; none where all namespaces share an index."""
        head, placeholder, tail = self._pattern.partition("%s")
        if not placeholder:
            return {}
        indices = select(self._client, self._pattern, Selection())[0]
        known = {name for index in indices.values() for name in (index.name, *index.behind) if name.startswith(head)}
        names = sorted(name[len(head) : len(name) - len(tail)] for name in known if name.endswith(tail))
        counts = len(names) <= _COUNTED
        return {name: self.count(Selection(namespaces=(literal(name),))) if counts else None for name in names if name}

    def count(self, selection: Selection) -> int | None:
        if selection.names or (selection.namespaces and "%s" not in self._pattern):
            return None
        found = self._look(selection)
        if self._part is not None:
            shards = [(name, number) for name in found.indices for number in self._shards(found, name)]
            query: dict[str, Any] = {"match_all": {}}
            return sum(
                told.documents for told in ask_shards(self._client, [ShardQuery(*each, query) for each in shards])
            )
        names = set(found.indices)
        body = None
        if selection.since_ms is not None or selection.until_ms is not None:
            if start_is_long(self._client, names) != names:
                return None
            body = {"query": start_query(selection)}
        right = "the index privilege read"
        paths = index_paths(sorted(names))
        return sum(self._client.ask("POST", f"/{path}/_count", _Count, body=body, right=right).count for path in paths)

    # -- by id --------------------------------------------------------------------------------------------------

    def fetch(self, ids: Sequence[str], after: Token, selection: Selection) -> Iterator[Batch]:
        done = 0 if after is None else convert(after, int)
        indices = self._look(selection).indices
        yield from fetch_pages(self._client, indices, ids, done, selection, self._page_size)

    # -- questions ----------------------------------------------------------------------------------------------

    @override
    def probe(self, *, exact: bool, stop: Stop | None = None) -> Probe:
        return probe(self._client, self._pattern)

    def look_up(self, wanted: Sequence[WantedId]) -> Iterator[Found]:
        return Lookup(self._client, self._pattern).look_up(wanted)

    def reasons(self, wanted: Sequence[WantedId]) -> Sequence[Finding]:
        return absence.reasons(self._client, self._pattern, wanted)

    def newest(self, selection: Selection, limit: int) -> Iterator[Document]:
        return Lookup(self._client, self._pattern).newest(selection, limit, self)

    def volume(self, selection: Selection, *, exact: bool, stop: Stop) -> Volume:
        return volume(self._client, self._pattern, selection, exact=exact, stop=stop)

    def close(self) -> None:
        self._client.close()


def _plain(snapshot: _Snapshot) -> Token:
    """As it comes back from a checkpoint: JSON knows no tuples."""
    plain: Token = msgspec.json.decode(msgspec.json.encode(snapshot))
    return plain


def _continue_from(known: _IndexSnapshot | None, index: Index, number: int, shard: Shard) -> int | None:
    """The number that a shard was read up to; None where that doesn't hold any more and all of it must be read."""
    if known is None or known.uuid != index.uuid or str(number) not in known.shards:
        return None
    history, checkpoint = known.shards[str(number)]
    return checkpoint if history == shard.history and checkpoint <= shard.max_seq_no else None


def _checkpoints(found: Survey) -> dict[tuple[str, int], int]:
    return {
        (name, number): shard.checkpoint for name, shards in found.shards.items() for number, shard in shards.items()
    }


def _identity(found: Survey, name: str, number: int) -> tuple[str, str, int]:
    return found.indices[name].uuid, found.shards[name][number].history, number
