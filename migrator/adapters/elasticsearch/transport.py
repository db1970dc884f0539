"""The connections to the hosts of a store: login, TLS, pools, and answers that are given up while they arrive.

A `Store` enters, a `Transport` of the `elasticsearch` package leaves. Knows nothing of what is asked and answered.

Of the `elasticsearch` package only its transport is used: nodes, their life and death, connection pools. The calls of
the package itself refuse 6.7, OpenSearch, or servers of another major version than its own; plain JSON headers are
taken by all of them. Source: measured with elasticsearch 8.19 and 9.5 against six servers.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from migrator.adapters.trust import ssl_context
from migrator.errors import UsageError
from migrator.locations import Login, LoginKind, Store

if TYPE_CHECKING:
    from elastic_transport import ApiResponseMeta, BaseNode, NodeConfig, Transport
    from urllib3 import BaseHTTPResponse

_PIECE_BYTES = 256 * 1024


class TooLarge(Exception):
    """An answer grew beyond its bound and was given up while it arrived; ask for less."""


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
            headers=_login_headers(store.login),
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
            kept = {"content-type": "application/json", "retry-after": response.headers.get("retry-after", "")}
            meta = ApiResponseMeta(response.status, "1.1", HttpHeaders(kept), 0.0, self.config)
            return _NodeAnswer(meta, data)

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
        return {"authorization": "Basic " + _base64(f"{login.user or ''}:{secret}")}
    if login.kind is LoginKind.API_KEY:
        # The base64 that Kibana shows is that of ID:KEY, and base64 has no colon.
        return {"authorization": f"ApiKey {_base64(secret) if ':' in secret else secret}"}
    if login.kind is LoginKind.BEARER:
        return {"authorization": f"Bearer {secret}"}
    raise UsageError(f"Elasticsearch has no login of kind {login.kind}; use basic, api-key or bearer")


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
