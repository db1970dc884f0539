"""The connections to the hosts of a store: login, TLS, pools, and answers that are given up while they arrive.

An answer is given up when it grows too large, and when it arrives too slowly: a stall ends by the timeout of the
connection, a trickle by the time that its size allows.

A `Store` enters, a `Transport` leaves: bytes are sent, bytes arrive. Knows nothing of what is asked and answered.

The `elasticsearch` package isn't used: its calls refuse 6.7, OpenSearch, or servers of another major version than its
own, and its transport by itself imports every HTTP client that it could use, which takes a third of the start of a run.
Plain JSON headers are taken by all servers. Source: measured with elasticsearch 8.19 and 9.5 against six servers.
"""

from __future__ import annotations

import base64
import io
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any, NamedTuple

from migrator.adapters.shared.http import read_bounded
from migrator.adapters.shared.tls import ssl_context
from migrator.errors import UsageError
from migrator.settings.stores import Login, LoginKind, Store
from migrator.text.units import counted

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from urllib3 import BaseHTTPResponse, HTTPConnectionPool

_AGENT = "openwhisk-activation-migrator"
_PIECE_BYTES = 256 * 1024
_ARRIVING_S = 60.0  # that any answer may take to arrive, once its first byte is there
_BYTES_PER_S = 100_000  # and so many bytes earn it a second more
_LONGEST_REST_S = 30.0
_AILING = frozenset({502, 503, 504})
"""Statuses of a host, or of a proxy before it, that can't do its work now."""


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


class NoAnswer(Exception):
    """None of the hosts that were asked gave an answer; the cause is why the last one didn't."""


class Arrived(NamedTuple):
    """An answer, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    host: tuple[str, int]


class _Host:
    """One host: its connections, and whether it is left in peace for a while after it didn't answer."""

    def __init__(self, address: tuple[str, int], pool: HTTPConnectionPool, clock: Callable[[], float]) -> None:
        self.address = address
        self.pool = pool
        self._clock = clock
        self._failures = 0  # in a row
        self._rests_until_s = 0.0

    @property
    def rests(self) -> bool:
        return bool(self._failures) and self._clock() < self._rests_until_s

    def did(self, *, well: bool) -> None:
        if well:
            self._failures = 0
        else:
            self._rests_until_s = self._clock() + min(2.0 ** min(self._failures, 10), _LONGEST_REST_S)
            self._failures += 1


class Transport:
    """The hosts of a store, asked in turn, each once at most; used by several threads at once.

    Not a retry but the next host, where one can't be reached; nothing is waited for or tried twice.
    """

    def __init__(self, hosts: Sequence[_Host], path_prefix: str, headers: Mapping[str, str]) -> None:
        self._hosts = hosts
        self._path_prefix = path_prefix
        self._headers = headers
        self._turns = itertools.count(time.monotonic_ns())  # clients that start together ask different ones first

    def perform(
        self, method: str, path: str, *, body: bytes | None, headers: Mapping[str, str], bound_bytes: int | None
    ) -> Arrived:
        """Send a request. Raises `NoAnswer`, and `TooLarge` where the answer grows beyond its bound."""
        import urllib3

        hosts = self._in_turn()
        for host in hosts:
            try:
                response = host.pool.urlopen(
                    method,
                    self._path_prefix + path,
                    body=body,
                    headers={**self._headers, **headers},
                    retries=False,
                    preload_content=False,
                )
                data = _read(response, bound_bytes)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                host.did(well=False)
                # What took too long there would take as long at the next one.
                if host is hosts[-1] or isinstance(error, urllib3.exceptions.ReadTimeoutError):
                    raise NoAnswer(str(error)) from error
            else:
                host.did(well=response.status not in _AILING)
                return Arrived(response.status, response.headers, data, host.address)
        raise AssertionError("a store without a host")

    def _in_turn(self) -> list[_Host]:
        """All hosts, those that rest last."""
        first = next(self._turns) % len(self._hosts)
        return sorted([*self._hosts[first:], *self._hosts[:first]], key=lambda host: host.rests)

    def close(self) -> None:
        for host in self._hosts:
            host.pool.close()


def open_transport(
    store: Store, *, timeout_s: float, connections: int, clock: Callable[[], float] = time.monotonic
) -> Transport:
    """The transport to the hosts of a store; opens no connection yet. Raises `UsageError`."""
    import urllib3

    # Both names are looked up on the connection: http.client has no other way to say how an answer is read.
    class Plain(urllib3.connection.HTTPConnection):
        response_class = _Response

    class Secure(urllib3.connection.HTTPSConnection):
        response_class = _Response

    location = store.location
    how: dict[str, Any] = {
        "timeout": urllib3.Timeout(connect=10, read=timeout_s),
        "maxsize": connections,
        "block": True,
    }
    if location.secure:
        how["ssl_context"] = ssl_context(store.tls)

    def pool(host: str, port: int) -> HTTPConnectionPool:
        made = (urllib3.HTTPSConnectionPool if location.secure else urllib3.HTTPConnectionPool)(host, port=port, **how)
        made.ConnectionCls = Secure if location.secure else Plain
        return made

    hosts = [_Host((host, port), pool(host, port), clock) for host, port in location.hosts]
    # A proxy that keeps answers would say for ever that nothing is new.
    headers = {"cache-control": "no-cache", "user-agent": _AGENT, **_login_headers(store.login)}
    prefix = location.path_prefix.strip("/")
    return Transport(hosts, f"/{prefix}" if prefix else "", headers)


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
