"""The one place where HTTP is spoken with Elasticsearch and OpenSearch, and where what goes wrong there is named.

A method, a path and bytes enter; the bytes of an answer leave, or one of our errors. Knows nothing of activations.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, unquote

import msgspec

from migrator.adapters.elasticsearch.answers import Shards, check_shards
from migrator.adapters.elasticsearch.transport import answer_bound, open_transport, was_reached
from migrator.adapters.shared.http import TooLarge, no_answer, retry_after_s
from migrator.errors import AccessDenied, Incomplete, MigratorError, NotFound, RequestRefused, Unavailable
from migrator.settings.stores import Store
from migrator.text.decoding import UNREADABLE, decode
from migrator.text.secrets import redact
from migrator.text.units import counted

T = TypeVar("T")

WHOLE = "allow_partial_search_results=false&request_cache=false"
"""How a search asks for all or nothing. What a server makes of it is checked all the same (`check_searched`)."""

_ERROR_BYTES = 10_000  # of an error page; a secret that is cut is not found
_URL_BYTES = 2500  # of index names in one path; servers take 4,096 bytes for the whole request line


class Cause(msgspec.Struct, frozen=True):
    """What a server says of a failure, for a request or for one item of a bulk."""

    type: str = ""
    reason: str | None = None
    caused_by: Cause | None = None
    root_cause: tuple[Cause, ...] = ()  # what each shard says, where the request as a whole says only "all shards"

    def __str__(self) -> str:
        text = f"{self.type}: {self.reason}" if self.reason else self.type
        causes = [self.caused_by] if self.caused_by else [each for each in self.root_cause if each.type != self.type]
        return redact(f"{text} (caused by {causes[0]})" if causes else text)


class _Whole(msgspec.Struct, frozen=True):
    """What an answer says of its own completeness."""

    timed_out: bool = False
    terminated_early: bool = False
    shards: Shards | None = msgspec.field(name="_shards", default=None)


class _Failure(msgspec.Struct, frozen=True):
    error: Cause | str | None = None


class Answer(NamedTuple):
    status: int
    body: bytes


class Server(msgspec.Struct, frozen=True):
    """Which server this is."""

    product: str  # "Elasticsearch" or "OpenSearch"
    version: str
    cluster_uuid: str

    @property
    def is_typed(self) -> bool:
        """Whether documents have a `_type`, which bulk, mget and get must name (6.x)."""
        return self.product == "Elasticsearch" and self.version.startswith(("5.", "6."))


class _Version(msgspec.Struct, frozen=True):
    number: str = ""
    distribution: str = "elasticsearch"


class _Root(msgspec.Struct, frozen=True):
    cluster_uuid: str = ""
    version: _Version = _Version()


class _Node(msgspec.Struct, frozen=True):
    version: str


class _Nodes(msgspec.Struct, frozen=True):
    nodes: dict[str, _Node]


class _Total(msgspec.Struct, frozen=True):
    value: int  # a lower bound where there are many


class _Hits(msgspec.Struct, frozen=True):
    hits: list[msgspec.Raw]
    total: int | _Total = 0  # a bare number before 7.0


class _Searched(msgspec.Struct, frozen=True):
    timed_out: bool
    shards: Shards = msgspec.field(name="_shards")
    hits: _Hits
    terminated_early: bool = False


class Client:
    """A store's servers, spoken to as one; used by several threads at once."""

    def __init__(self, store: Store, *, timeout_s: float = 120, connections: int = 32) -> None:
        self._store = store
        self.location = store.location.printed
        self.typed = store.typed  # how it is named in a command
        self._path = store.location.path_prefix
        self._transport = open_transport(store, timeout_s=timeout_s, connections=connections)
        self._server: Server | None = None
        self._run = uuid.uuid4().hex[:12]
        self._numbers = itertools.count()
        self._echoing: set[tuple[str, int]] = set()  # hosts of which an answer has named its request

    def hasty(self, *, timeout_s: float) -> Client:
        """Another client of the same server, that gives up sooner."""
        return Client(self._store, timeout_s=timeout_s)

    def call(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        ndjson: bool = False,
        accept: Collection[int] = (),
        bound_bytes: int | None = None,
        holds_documents: bool = False,
        splits: bool = False,
        right: str = "",
    ) -> Answer:
        """Send one request, once.

        `accept` are statuses besides 2xx that the caller deals with. `bound_bytes` gives an answer up with `TooLarge`
        when it grows beyond. `holds_documents` makes 400, 413 and 500 a `RequestRefused`, since a document in the body
        may be the cause. `splits` says that the caller can ask for less: 413 is a `TooLarge` then, and an answer that
        breaks off an `AnswerLost`. `right` is what the login must be allowed, told where that is refused.

        Every request has an id of its own, which servers put into the answer (Source: `X-Opaque-Id`, since 6.2). So an
        answer that a cache or a confused proxy kept from another request isn't taken for this one's.
        """
        from elastic_transport import TransportError

        id = f"{self._run}-{next(self._numbers)}"
        headers = {"accept": "application/json", "x-opaque-id": id}
        if body is not None:
            headers["content-type"] = "application/x-ndjson" if ndjson else "application/json"
        try:
            with answer_bound(bound_bytes):
                meta, data = self._transport.perform_request(method, path, body=body, headers=headers)
        except TransportError as error:
            raise self._unreachable(error, method, path, smaller=splits or not holds_documents) from error
        expected = 200 <= meta.status < 300 or meta.status in accept
        host = meta.node.host, meta.node.port
        self._check_request(method, path, id, meta.headers.get("x-opaque-id"), host, expected=expected)
        if expected:
            return Answer(meta.status, data)
        if splits and meta.status == 413:
            raise TooLarge(f"{self._where(method, path)}: 413 {cause_of(data)}")
        raise self._refusal(method, path, meta.status, data, meta.headers.get("retry-after"), holds_documents, right)

    def _check_request(
        self, method: str, path: str, id: str, answered: str | None, host: tuple[str, int], *, expected: bool
    ) -> None:
        """Raises `Unavailable` where an answer isn't the one to this request.

        Some proxies strip the header, so its absence counts only once it was seen from the same host, and not in a
        refusal, which may be a proxy's own.
        """
        if answered == id:
            self._echoing.add(host)
        elif answered or (host in self._echoing and expected):
            raise Unavailable(
                f"{self._where(method, path)}: the answer belongs to "
                f"{'another request' if answered else 'no request of ours'}; is there a cache in between?"
            )

    def ask(self, method: str, path: str, type: type[T], *, body: Any = None, right: str = "") -> T:
        """Send one request about the server's state and decode its answer."""
        answer = self.call(method, path, body=None if body is None else msgspec.json.encode(body), right=right)
        return self.understand(answer, type, path)

    def understand(self, answer: Answer, type: type[T], path: str) -> T:
        """Decode an answer that holds no document; raises `Unavailable` where it isn't what was requested.

        Nor is one of which shards failed, or are missing, or that timed out: it says nothing of what isn't in it.
        """
        try:
            self.check_whole(answer, path)
            return decode(answer.body, type)
        except UNREADABLE as error:
            raise self.malformed_answer(path, error) from error

    def search(self, path: str, type: type[T], *, shards: int, body: Mapping[str, Any], right: str = "") -> T:
        """Search concrete indices with `shards` shards in all, and decode an answer that leaves nothing out.

        Raises `Incomplete` as `check_searched`. `body` holds `size`.
        """
        where = f"/{path}/_search?{WHOLE}"
        answer = self.call("POST", where, body=msgspec.json.encode(body), right=right or "the index privilege read")
        self.check_searched(answer, path, shards=shards, size=body["size"], first=body.get("from", 0))
        return self.understand(answer, type, where)

    def check_searched(self, answer: Answer, path: str, *, shards: int, size: int, first: int = 0) -> None:
        """Raise `Incomplete` unless every shard answered in time, and all hits came that were requested.

        A server leaves out shards that aren't up, a server or a gateway what takes too long or is too much, and the
        status is 200 all the same. `shards` are those of the indices themselves, since a closed index has none.
        """
        found = self.understand(answer, _Searched, f"/{path}/_search")
        where = f"{self.location}: search in {printable_path(path)}"
        check_shards(
            where,
            found.shards,
            expected=shards,
            timed_out=found.timed_out,
            terminated_early=found.terminated_early,
        )
        total = found.hits.total if isinstance(found.hits.total, int) else found.hits.total.value
        if len(found.hits.hits) < (expected := min(size, total - first)):
            raise Incomplete(
                f"{where}: {counted(len(found.hits.hits), 'hit')} came where {counted(expected, 'is', 'are')} there"
            )

    def check_whole(self, answer: Answer, path: str) -> None:
        """Raises `Incomplete` where a part of an answer is missing."""
        if answer.body.lstrip()[:1] != b"{":
            return
        found = decode(answer.body, _Whole)
        shards = found.shards or Shards()
        what = path.partition("?")[0]
        where = f"{self.location}: {printable_path(what)}"
        if what.endswith(("/_search", "/_count")):
            late, early = found.timed_out, found.terminated_early
            check_shards(where, shards, expected=shards.total, timed_out=late, terminated_early=early)
        else:
            # What goes to every copy (a refresh) counts those that no node has among the total.
            there = msgspec.structs.replace(shards, total=shards.successful)
            check_shards(where, there, expected=there.total)

    def malformed_answer(self, path: str, reason: object) -> Unavailable:
        return Unavailable(f"{self.location}: {path.partition('?')[0]}: the answer can't be read: {reason}")

    def server(self) -> Server:
        """Which server this is; asked once."""
        if self._server is None:
            self._server = self._recognise()
        return self._server

    def _recognise(self) -> Server:
        # The test builds of 8 and 9 lack the module that answers `GET /`; they say 405, and older ones 400.
        # Below a path, such as the name of an index, 404 and an answer without a version mean that it isn't a server's.
        accept = (400, 404, 405) if self._path else (400, 405)
        right = "the cluster privilege monitor"
        answer = self.call("GET", "/", accept=accept, right=right)
        root = _Root()
        if answer.status == 200:
            root = self.understand(answer, _Root, "/")
        number, uuid = root.version.number, root.cluster_uuid
        if self._path and not number and answer.status != 405:
            raise NotFound(
                f"{self.location}: no Elasticsearch answers below the path {self._path}; a path is for a server behind "
                "a proxy, and indices are selected with ?index-pattern="
            )
        if not number:
            found = self.ask("GET", "/_nodes/_local?filter_path=nodes.*.version", _Nodes, right=right)
            number = next(iter(found.nodes.values())).version
        if not uuid or uuid == "_na_":
            uuid = self.ask("GET", "/_cluster/state/version?filter_path=cluster_uuid", _Root, right=right).cluster_uuid
        product = "OpenSearch" if root.version.distribution == "opensearch" else "Elasticsearch"
        return Server(product, number, uuid)

    def close(self) -> None:
        self._transport.close()

    def _where(self, method: str, path: str) -> str:
        return f"{self.location}: {method} {path.partition('?')[0]}"

    def _unreachable(self, error: Exception, method: str, path: str, *, smaller: bool) -> MigratorError:
        """Name what kept an answer from arriving."""
        began = was_reached(error) and smaller
        return no_answer(f"{self._where(method, path)}: no answer", error.__cause__ or error, began=began)

    def _refusal(
        self, method: str, path: str, status: int, body: bytes, retry_after: str | None, documents: bool, right: str
    ) -> MigratorError:
        """Name an answer that isn't a success."""
        cause = cause_of(body)
        text = f"{self._where(method, path)}: {status} {cause}"
        if status == 401:
            return AccessDenied(f"{text}; check user and password, key or token of this store")
        if status == 403 and cause.type != "cluster_block_exception":
            return AccessDenied(f"{text}; the login needs {right or 'the right to do this'}")
        if status == 404:
            return NotFound(text)
        hint = advice(cause)
        if documents and status in (400, 413, 500) and not hint:
            return RequestRefused(text, status=status, passing=status == 500)
        return Unavailable(text + hint, retry_after_s=retry_after_s(retry_after))


def advice(cause: Cause) -> str:
    """How to end a condition of the server, as the end of a sentence; empty where that isn't known."""
    text = str(cause)
    for mark, found in _ADVICE.items():
        if mark in text:
            return f"; {found}"
    return ""


_FORM = "the server doesn't accept this form of request: does a proxy alter it, or is the server of another version?"
_ADVICE = {
    "read-only / allow delete": (
        "free disk space below the flood-stage watermark, then PUT /INDEX/_settings "
        '{"index.blocks.read_only_allow_delete": null}'
    ),
    "disk usage exceeded flood-stage": (
        'free disk space, then PUT /INDEX/_settings {"index.blocks.read_only_allow_delete": null}'
    ),
    "cluster_block_exception": "remove the block from the index or the cluster",
    "index_closed_exception": "open the index with POST /INDEX/_open",
    "maximum shards open": "raise cluster.max_shards_per_node, or install a template with fewer shards",
    "maximum normal shards open": "raise cluster.max_shards_per_node, or install a template with fewer shards",
    "auto_create_index": "create the index, or allow its name in action.auto_create_index",
    "index_not_found_exception": "create the index, or allow its name in action.auto_create_index",
    "pipeline with id": "create that pipeline, or remove index.default_pipeline from the index",
    "more than 1 type": "the index has documents of another type than _doc; OpenWhisk can't use it either",
    "no write index is defined": "name a write index for the alias",
    "Result window is too large": "raise index.max_result_window of the index to 1000 or more",
    "unknown parameter [": _FORM,
    "unrecognized parameter": _FORM,
    "Malformed action/metadata line": _FORM,
    "number of documents in the": "the shard is full; the index needs more shards",
}
"""What ends a condition, by what its text holds; the first that fits. Source: texts seen on the six servers."""


def index_paths(names: Collection[str]) -> list[str]:
    """Index names as URL path parts, as many in one as a request line takes."""
    paths: list[str] = []
    for name in names:
        part = quote(name, safe="*")
        if paths and len(paths[-1]) + len(part) < _URL_BYTES:
            paths[-1] += f",{part}"
        else:
            paths.append(part)
    return paths


def printable_path(path: str) -> str:
    """A path of `index_paths` as messages name it."""
    names = unquote(path).split(",")
    if len(names) <= 3:
        return ", ".join(names)
    return f"{', '.join(names[:3])} and {counted(len(names) - 3, 'more index', 'more indices')}"


def cause_of(body: bytes) -> Cause:
    """What an answer that isn't a success says, be it the server's own or a proxy's."""
    try:
        error = decode(body, _Failure).error
    except UNREADABLE:
        error = redact(body[:_ERROR_BYTES].decode(errors="replace"))[:300].strip()
    return error if isinstance(error, Cause) else Cause(type=error or "without a reason")
