"""The connections to the hosts of a store: login, TLS, pools, and answers that are given up while they arrive.

An answer is given up when it grows too large, and when it arrives too slowly: a stall ends by the timeout of the
connection, a trickle by the time that its size allows.

A `Store` enters, a `Transport` of the `elasticsearch` package leaves. Knows nothing of what is asked and answered.

Of the `elasticsearch` package only its transport is used: nodes, their life and death, connection pools. The calls of
the package itself refuse 6.7, OpenSearch, or servers of another major version than its own; plain JSON headers are
taken by all of them. Source: measured with elasticsearch 8.19 and 9.5 against six servers.
"""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any, NamedTuple

from typing_extensions import override

from migrator.adapters.shared.http import read_bounded
from migrator.adapters.shared.tls import ssl_context
from migrator.errors import UsageError
from migrator.settings.stores import Login, LoginKind, Store
from migrator.text.units import counted

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from elastic_transport import ApiResponseMeta, BaseNode, NodeConfig, Transport
    from urllib3 import BaseHTTPResponse

_PIECE_BYTES = 256 * 1024
_WHOLE_BYTES = 64 << 20  # an answer that announces no more is read in one piece, without copying it together
_ARRIVING_S = 60.0  # that any answer may take to arrive, once its first byte is there
_BYTES_PER_S = 100_000  # and so many bytes earn it a second more


class Arrival(io.RawIOBase):
    """The bytes of one answer as they arrive; raises `TimeoutError` once they take longer than so many may take.

    The timeout of a connection only ends a stall: a byte every two seconds would pass it for ever.
    """

    def __init__(self, raw: io.RawIOBase, clock: Callable[[], float] = time.monotonic) -> None:
        self._raw = raw
        self._clock = clock
        self._began_s: float | None = None
        self._size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        count = self._raw.readinto(buffer)
        now_s = self._clock()
        if self._began_s is None:
            self._began_s = now_s
        self._size += count or 0
        if (took_s := now_s - self._began_s) > _ARRIVING_S + self._size / _BYTES_PER_S:
            raise TimeoutError(f"only {counted(self._size, 'byte')} of the answer arrived in {took_s:.0f} s")
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(HTTPResponse):
    """An answer read through an `Arrival`, from its status line on."""

    def __init__(self, sock: Any, *args: Any, **more: Any) -> None:
        super().__init__(sock, *args, **more)
        self.fp: io.BufferedReader = io.BufferedReader(Arrival(self.fp.detach()))


class _NodeAnswer(NamedTuple):
    meta: ApiResponseMeta
    body: bytes


_bound_bytes: ContextVar[int | None] = ContextVar("bound_bytes", default=None)


@contextmanager
def answer_bound(bound_bytes: int | None) -> Iterator[None]:
    """Within it, answers that this thread waits for and that grow beyond the bound raise `TooLarge`.

    The transport has no place for it in a request.
    """
    token = _bound_bytes.set(bound_bytes)
    try:
        yield
    finally:
        _bound_bytes.reset(token)


def open_transport(store: Store, *, timeout_s: float, connections: int) -> Transport:
    """The transport to the hosts of a store; opens no connection yet. Raises `UsageError`.

    It gives bodies as bytes, whatever they are, and asks each host once at most.
    """
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
            # A proxy that keeps answers would say for ever that nothing is new.
            headers={"cache-control": "no-cache", **_login_headers(store.login)},
            connections_per_node=connections,
            request_timeout=timeout_s,
            ssl_context=ssl_context(store.tls) if location.secure else None,
        )
        for host, port in location.hosts
    ]
    return Transport(
        configs,
        node_class=_node_class(),
        serializers={"application/json": PassThrough(), "application/x-ndjson": PassThrough()},
        # Not a retry but the next host, once each, where one doesn't answer; nothing is waited for or tried twice.
        max_retries=len(configs) - 1,
        retry_on_status=(),
        meta_header=False,
    )


def _node_class() -> type[BaseNode]:
    """The class of a node that gives an answer up while it arrives; made here so that nothing heavy is imported."""
    import urllib3
    from elastic_transport import (
        ApiResponseMeta,
        BaseNode,
        ConnectionError,  # noqa: A004  the transport's own name
        ConnectionTimeout,
        HttpHeaders,
    )

    # Both names are looked up on the connection: http.client has no other way to say how an answer is read.
    class Plain(urllib3.connection.HTTPConnection):
        response_class = _Response

    class Secure(urllib3.connection.HTTPSConnection):
        response_class = _Response

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
            self._pool.ConnectionCls = Secure if secure else Plain

        @override
        def perform_request(
            self,
            method: str,
            target: str,
            body: bytes | None = None,
            headers: HttpHeaders | None = None,
            request_timeout: Any = None,  # the pool has it
        ) -> Any:  # the transport takes whatever has `meta` and `body`
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
            except urllib3.exceptions.ReadTimeoutError as error:
                raise ConnectionTimeout(str(error), errors=(error,)) from error
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise ConnectionError(str(error), errors=(error,)) from error
            # Every answer is handed on as bytes: the transport must not choose a serializer by what a proxy calls it.
            kept = {name: response.headers.get(name, "") for name in ("retry-after", "x-opaque-id")}
            told = HttpHeaders({"content-type": "application/json", **kept})
            meta = ApiResponseMeta(response.status, "1.1", told, 0.0, self.config)
            return _NodeAnswer(meta, data)

        def close(self) -> None:
            self._pool.close()

    return Node


def was_reached(error: BaseException) -> bool:
    """Whether a failure came after a connection stood: then it may be the size of the answer that it failed at."""
    import urllib3.exceptions as failures

    unreached = (failures.NewConnectionError, failures.ConnectTimeoutError, failures.SSLError, failures.ProxyError)
    while error.__cause__ is not None and not isinstance(error, unreached):
        error = error.__cause__
    return not isinstance(error, unreached)


def _read(response: BaseHTTPResponse, bound_bytes: int | None) -> bytes:
    """The whole body; a body that is cut raises, one beyond the bound is dropped with its connection."""
    try:
        size_bytes = response.length_remaining
        most_bytes = _WHOLE_BYTES if bound_bytes is None else min(bound_bytes, _WHOLE_BYTES)
        if size_bytes is not None and size_bytes <= most_bytes and "content-encoding" not in response.headers:
            return response.read()
        return read_bounded(response.stream(_PIECE_BYTES), bound_bytes)
    except BaseException:
        response.close()
        raise
    finally:
        response.release_conn()


def _login_headers(login: Login) -> dict[str, str]:
    if login.kind is LoginKind.NONE:
        return {}
    secret = login.secret.reveal() if login.secret else ""
    if login.kind is LoginKind.BASIC:
        return {"authorization": "Basic " + _base64(f"{login.user or ''}:{secret}")}
    if login.kind is LoginKind.API_KEY:
        # The base64 that Kibana shows is that of ID:KEY, and base64 has no colon.
        return {"authorization": f"ApiKey {_base64(secret) if ':' in secret else secret}"}
    if login.kind is LoginKind.BEARER:
        return {"authorization": f"Bearer {secret}"}
    raise UsageError(f"Elasticsearch has no login of kind {login.kind}; use basic, api-key or bearer")


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
