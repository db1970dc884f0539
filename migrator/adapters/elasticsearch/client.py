"""The one place where HTTP is spoken with Elasticsearch and OpenSearch, and where what goes wrong there is named.

A method, a path and bytes enter; the bytes of an answer leave, or one of our errors. Knows nothing of activations.

Of the `elasticsearch` package only its transport is used: nodes, their life and death, connection pools. The calls of
the package itself refuse 6.7, OpenSearch, or servers of another major version than its own; plain JSON headers are
taken by all of them. Source: measured with elasticsearch 8.19 and 9.5 against six servers.
"""

from __future__ import annotations

import base64
import ssl
from collections.abc import Collection
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import quote

import msgspec

from migrator.errors import AccessDenied, MigratorError, NotFound, RequestRefused, Unavailable, UsageError
from migrator.locations import Login, LoginKind, Store, Tls

if TYPE_CHECKING:
    from elastic_transport import BaseNode, NodeConfig, Transport
    from urllib3 import BaseHTTPResponse

T = TypeVar("T")

_URL_BYTES = 2500  # of index names in one path; servers take 4,096 bytes for the whole request line
_PIECE_BYTES = 256 * 1024


class TooLarge(Exception):
    """An answer grew beyond its bound and was given up while it arrived; ask for less."""


class Undecodable(Exception):
    """An answer is whole, but its JSON can't be decoded; one of the documents in it may be the cause."""

    def __init__(self, body: bytes, reason: str) -> None:
        super().__init__(reason)
        self.body = body
        self.reason = reason


class Cause(msgspec.Struct, frozen=True):
    """What a server says of a failure, for a request or for one item of a bulk."""

    type: str = ""
    reason: str | None = None
    caused_by: Cause | None = None

    def __str__(self) -> str:
        text = f"{self.type}: {self.reason}" if self.reason else self.type
        return f"{text} (caused by {self.caused_by})" if self.caused_by else text


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


class Client:
    """A store's servers, spoken to as one; used by several threads at once."""

    def __init__(self, store: Store, *, timeout_s: float = 120, connections: int = 32) -> None:
        self.location = printed(store)
        self._transport = _transport(store, timeout_s=timeout_s, connections=connections)
        self._server: Server | None = None

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
        right: str = "",
    ) -> Answer:
        """Send one request, once.

        `accept` are statuses besides 2xx that the caller deals with. `bound_bytes` gives an answer up with `TooLarge`
        when it grows beyond. `holds_documents` makes 400, 413 and 500 a `RequestRefused`, since a document in the body
        may be the cause. `right` is what the login must be allowed, told where that is refused.
        """
        from elastic_transport import TransportError

        headers = {"accept": "application/json"}
        if body is not None:
            headers["content-type"] = "application/x-ndjson" if ndjson else "application/json"
        token = _bound_bytes.set(bound_bytes)
        try:
            meta, data = self._transport.perform_request(method, path, body=body, headers=headers)
        except TransportError as error:
            raise self._unreachable(error, method, path) from error
        finally:
            _bound_bytes.reset(token)
        if 200 <= meta.status < 300 or meta.status in accept:
            return Answer(meta.status, data)
        raise self._refusal(method, path, meta.status, data, meta.headers.get("retry-after"), holds_documents, right)

    def ask(self, method: str, path: str, type: type[T], *, body: Any = None, right: str = "") -> T:
        """Send one request about the server's state and decode its answer."""
        answer = self.call(method, path, body=None if body is None else msgspec.json.encode(body), right=right)
        try:
            return self.decode(answer.body, msgspec.json.Decoder(type))
        except Undecodable as error:
            raise self.garbled(method, path, error.reason) from error

    def decode(self, body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
        """Raises `Undecodable`."""
        try:
            return decoder.decode(body)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise Undecodable(body, str(error)) from error

    def garbled(self, method: str, path: str, reason: str) -> Unavailable:
        return Unavailable(f"{self._where(method, path)}: the answer can't be read: {reason}")

    def server(self) -> Server:
        """Which server this is; asked once."""
        if self._server is None:
            self._server = self._recognise()
        return self._server

    def _recognise(self) -> Server:
        # The test builds of 8 and 9 lack the module that answers `GET /`; they say 405, and older ones 400.
        answer = self.call("GET", "/", accept=(400, 405), right="the cluster privilege monitor")
        root = _Root()
        if answer.status == 200:
            try:
                root = self.decode(answer.body, msgspec.json.Decoder(_Root))
            except Undecodable as error:
                raise self.garbled("GET", "/", error.reason) from error
        number, uuid = root.version.number, root.cluster_uuid
        if not number:
            found = self.ask("GET", "/_nodes/_local?filter_path=nodes.*.version", _Nodes)
            number = next(iter(found.nodes.values())).version
        if not uuid or uuid == "_na_":
            uuid = self.ask("GET", "/_cluster/state/version?filter_path=cluster_uuid", _Root).cluster_uuid
        product = "OpenSearch" if root.version.distribution == "opensearch" else "Elasticsearch"
        return Server(product, number, uuid)

    def close(self) -> None:
        self._transport.close()

    def _where(self, method: str, path: str) -> str:
        return f"{self.location}: {method} {path.partition('?')[0]}"

    def _unreachable(self, error: Exception, method: str, path: str) -> MigratorError:
        """Name what kept an answer from arriving."""
        cause = error.__cause__ or error
        text = f"{self._where(method, path)}: no answer: {_innermost(cause)}"
        if isinstance(_innermost(cause), ssl.SSLCertVerificationError):
            # Trying again doesn't make a certificate better, and the login must not be sent to a stranger.
            return AccessDenied(f"{text}; name the authority that signed the server's certificate (CA file)")
        return Unavailable(f"{text}; is the server up, and are address, port and TLS right?")

    def _refusal(
        self, method: str, path: str, status: int, body: bytes, retry_after: str | None, documents: bool, right: str
    ) -> MigratorError:
        """Name an answer that isn't a success."""
        cause = _cause(body)
        text = f"{self._where(method, path)}: {status} {cause}"
        if status == 401:
            return AccessDenied(f"{text}; check user and password, key or token of this store")
        if status == 403 and cause.type != "cluster_block_exception":
            return AccessDenied(f"{text}; the login needs {right or 'the right to do this'}")
        if status == 404:
            return NotFound(text)
        if documents and status in (400, 413, 500):
            return RequestRefused(text, status=status, passing=status == 500)
        return Unavailable(f"{text}{what_now(cause)}", retry_after_s=_seconds(retry_after))


def what_now(cause: Cause) -> str:
    """How to end a condition of the server, as the end of a sentence; empty where that isn't known."""
    text = str(cause)
    for mark, advice in _ADVICE.items():
        if mark in text:
            return f"; {advice}"
    return ""


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
    "pipeline with id": "create that pipeline, or take index.default_pipeline off the index",
    "more than 1 type": "the index has documents of another type than _doc; OpenWhisk can't use it either",
    "no write index is defined": "name a write index for the alias",
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


def printed(store: Store) -> str:
    """The location for messages, without login."""
    location = store.location
    hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in location.hosts)
    scheme = "elasticsearchs" if location.secure else "elasticsearch"
    pattern = quote(location.index_pattern, safe="*")
    return f"{scheme}://{hosts}{location.path_prefix}/?index-pattern={pattern}"


def _cause(body: bytes) -> Cause:
    try:
        error = msgspec.json.decode(body, type=_Failure).error
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        error = body[:300].decode(errors="replace").strip()  # what a proxy says
    return error if isinstance(error, Cause) else Cause(type=error or "without a reason")


def _seconds(retry_after: str | None) -> float | None:
    """`Retry-After` as seconds; a date there is rare and not worth its parsing."""
    try:
        return max(0.0, float(retry_after)) if retry_after else None
    except ValueError:
        return None


def _innermost(error: BaseException) -> BaseException:
    """The error below the wrappings of urllib3, which says it most plainly."""
    while True:
        inner = getattr(error, "reason", None) or error.__cause__ or error.__context__
        if not isinstance(inner, BaseException):
            return error
        error = inner


_bound_bytes: ContextVar[int | None] = ContextVar("bound_bytes", default=None)
"""The bound of the answer that this thread waits for; the transport has no place for it in a request."""


def _transport(store: Store, *, timeout_s: float, connections: int) -> Transport:
    from elastic_transport import NodeConfig, Serializer, Transport

    class PassThrough(Serializer):
        mimetype = "application/json"

        def loads(self, data: bytes) -> bytes:
            return data

        def dumps(self, data: bytes) -> bytes:
            return data

    location = store.location
    configs = [
        NodeConfig(
            "https" if location.secure else "http",
            host,
            port,
            path_prefix=location.path_prefix,
            headers=_login_headers(store.login),
            connections_per_node=connections,
            request_timeout=timeout_s,
            ssl_context=_ssl_context(store.tls) if location.secure else None,
        )
        for host, port in location.hosts
    ]
    return Transport(
        configs,
        node_class=_node_class(),
        serializers={"application/json": PassThrough(), "application/x-ndjson": PassThrough()},
        max_retries=0,
        meta_header=False,
    )


def _node_class() -> type[BaseNode]:
    """The class of a node that gives an answer up while it arrives; made here so that nothing heavy is imported."""
    import urllib3
    from elastic_transport import ApiResponseMeta, BaseNode, ConnectionError, HttpHeaders, NodeApiResponse  # noqa: A004

    class Node(BaseNode):
        def __init__(self, config: NodeConfig) -> None:
            super().__init__(config)
            secure: dict[str, Any] = {"ssl_context": config.ssl_context} if config.ssl_context else {}
            self._pool = (urllib3.HTTPSConnectionPool if secure else urllib3.HTTPConnectionPool)(
                config.host,
                port=config.port,
                timeout=urllib3.Timeout(connect=10, read=config.request_timeout),
                maxsize=config.connections_per_node,
                block=True,
                **secure,
            )

        def perform_request(
            self,
            method: str,
            target: str,
            body: bytes | None = None,
            headers: HttpHeaders | None = None,
            request_timeout: Any = None,  # noqa: ARG002  part of the transport's call; the pool has it
        ) -> NodeApiResponse:
            try:
                response = self._pool.urlopen(
                    method,
                    self.path_prefix + target,
                    body=body,
                    headers={**self.headers, **(headers or {})},
                    retries=False,
                    preload_content=False,
                )
                data = _read(response, _bound_bytes.get())
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise ConnectionError(str(error), errors=(error,)) from error
            # Every answer is handed on as bytes: the transport must not choose a serializer by what a proxy calls it.
            kept = {"content-type": "application/json", "retry-after": response.headers.get("retry-after", "")}
            meta = ApiResponseMeta(response.status, "1.1", HttpHeaders(kept), 0.0, self.config)
            return NodeApiResponse(meta, data)

        def close(self) -> None:
            self._pool.close()

    return Node


def _read(response: BaseHTTPResponse, bound_bytes: int | None) -> bytes:
    """The whole body; a body that is cut raises, one beyond the bound is dropped with its connection."""
    pieces: list[bytes] = []
    size = 0
    try:
        for piece in response.stream(_PIECE_BYTES):
            pieces.append(piece)
            size += len(piece)
            if bound_bytes is not None and size > bound_bytes:
                raise TooLarge(f"more than {bound_bytes} bytes")
    except BaseException:
        response.close()
        raise
    finally:
        response.release_conn()
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _login_headers(login: Login) -> dict[str, str]:
    if login.kind is LoginKind.NONE:
        return {}
    secret = login.secret.reveal() if login.secret else ""
    if login.kind is LoginKind.BASIC:
        return {"authorization": f"Basic {_base64(f'{login.user or ""}:{secret}')}"}
    if login.kind is LoginKind.API_KEY:
        # The base64 that Kibana shows is that of ID:KEY, and base64 has no colon.
        return {"authorization": f"ApiKey {_base64(secret) if ':' in secret else secret}"}
    if login.kind is LoginKind.BEARER:
        return {"authorization": f"Bearer {secret}"}
    raise UsageError(f"Elasticsearch has no login of kind {login.kind}; use basic, api-key or bearer")


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _ssl_context(tls: Tls) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        if tls.client_cert:
            context.load_cert_chain(tls.client_cert, tls.client_key)
    except OSError as error:  # ssl.SSLError is one
        raise UsageError(f"a certificate file can't be read ({tls.ca_file or tls.client_cert}): {error}") from error
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
