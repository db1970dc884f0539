"""One request and its answer: where HTTP is spoken with CouchDB, and where what goes wrong there is named.

What to send enters; the bytes of an answer leave, or one of our errors. Knows no operation of CouchDB's.
The requests go through the `ibmcloudant` SDK as streams.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from migrator.adapters.couchdb.about import is_list, refusal_of
from migrator.adapters.couchdb.login import open_service, token_manager
from migrator.adapters.couchdb.waiting import Watch, Watchdog
from migrator.adapters.shared.http import TooLarge, no_answer, read_bounded, retry_after_s
from migrator.errors import AccessDenied, AnswerLost, MigratorError, NotFound, RequestRefused, Unavailable
from migrator.settings.stores import Store
from migrator.text import secrets

if TYPE_CHECKING:
    from requests import Response

_PIECE_BYTES = 64 * 1024
_ANSWERS = (200, 201, 202)  # with a body; what a proxy makes of it (204, 206) is none
_BY_ITEM = (417, 500)  # `_bulk_docs` where not every document could be stored, such as on a full disk


class Answer(NamedTuple):
    status: int
    body: bytes
    date: str | None = None  # when it was given, by the server's clock; only of one that succeeded


class Wire:
    """The connections to a server, and the login; used by several threads at once."""

    def __init__(self, store: Store, *, connect_s: float, answer_s: float, connections: int) -> None:
        self.location = print_location(store)
        self.service = open_service(store, connect_s=connect_s, answer_s=answer_s, connections=connections)
        self._tokens = token_manager(self.service)
        self._watchdog = Watchdog(answer_s)

    def close(self) -> None:
        self.service.get_http_client().close()
        self._watchdog.close()

    def malformed_answer(self, what: str, reason: object) -> Unavailable:
        return Unavailable(f"{self.location}: the answer of {what} can't be used: {reason}")

    def send(
        self,
        what: str,
        method: str,
        path: str,
        *,
        params: dict[str, Any],
        data: str | None = None,
        bound_bytes: int | None = None,
        splits: bool = False,
    ) -> bytes:
        """A request that isn't among the SDK's operations; `what` names it in messages."""

        def send() -> Any:
            headers = {"Accept": "application/json"} | ({"content-type": "application/json"} if data else {})
            request = self.service.prepare_request(method, path, headers=headers, params=params, data=data)
            return self.service.send(request, stream=True)

        return self.call(what, send, bound_bytes=bound_bytes, splits=splits).body

    def call(
        self,
        what: str,
        send: Callable[[], Any],
        *,
        accept: Collection[int] = (),
        bound_bytes: int | None = None,
        holds_documents: bool = False,
        splits: bool = False,
        given_up: Callable[[], bool] | None = None,
    ) -> Answer:
        """Send one request, once; after a 401 once more with a new token, since tokens end early when idle.

        `accept` are statuses besides 2xx that the caller deals with. `bound_bytes` gives an answer up with `TooLarge`
        when it grows beyond, and with `splits` 413 does. `holds_documents` makes 400, 413 and 500 a `RequestRefused`,
        since a document in the body may be the cause; an answer with results by item is one whatever its status.
        `given_up` is asked with every piece of an answer that comes bit by bit, and ends it.
        """
        from ibm_cloud_sdk_core import ApiException

        with self._watchdog.watch() as watch:
            self._log_in()
            for renewed in (False, True):
                try:
                    with self._translate_errors(what, watch):
                        answer = send()
                except ApiException as error:
                    status, body = error.status_code, error.http_response.content
                    if watch.is_over:
                        raise self._too_slow(what) from error
                    if status == 401 and self._tokens is not None and not renewed:
                        self._tokens.expire_time = 0
                        self._log_in()
                        continue
                    if status == 413 and splits:
                        raise TooLarge from error
                    if status in accept or (holds_documents and status in _BY_ITEM and is_list(body)):
                        return Answer(status, body)
                    raise self._refusal(what, error, holds_documents=holds_documents) from error
                if answer.get_status_code() not in _ANSWERS:
                    raise self.malformed_answer(what, f"its status is {answer.get_status_code()}")
                with self._translate_errors(what, watch, began=True):
                    body = _read(answer.get_result(), bound_bytes, watch, given_up)
                    return Answer(200, body, answer.get_headers().get("Date"))
        raise AssertionError("the second round returns or raises")

    def _log_in(self) -> None:
        """Fetch a cookie or token where there is none that is good; the request itself then finds it."""
        if self._tokens is None:
            return
        from ibm_cloud_sdk_core import ApiException

        what = "the login"
        try:
            with self._translate_errors(what):
                token = self._tokens.get_token()
                for each in [token] if isinstance(token, str) else token:  # a cookie jar
                    secrets.know_token(getattr(each, "value", None) or str(each))
        except ApiException as error:
            # IBM's token service says 400 to a wrong key.
            if error.status_code in (400, 401, 403):
                refusal = refusal_of(error.http_response.content)
                raise AccessDenied(
                    f"{self.location}: {error.status_code} on {what}: {refusal}; check user and password, or the key"
                ) from error
            raise self._refusal(what, error) from error
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            StopIteration,
            TypeError,
            ValueError,
            _jwt_error(),
        ) as error:
            raise self.malformed_answer(what, "it holds no token that can be read") from error
        finally:
            # The SDK lets everyone wait for a minute after a login that failed.
            self._tokens.request_time = 0

    @contextmanager
    def _translate_errors(self, what: str, watch: Watch | None = None, *, began: bool = False) -> Iterator[None]:
        """Name what kept an answer from arriving whole; `began` where its headers did."""
        import requests
        import urllib3

        try:
            yield
            if watch is not None and watch.is_over:  # what was cut off may look like an end
                raise TimeoutError
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            if watch is not None and watch.is_over:
                raise self._too_slow(what) from error
            reached = began or isinstance(error, requests.ReadTimeout)
            raise no_answer(f"{self.location}: no answer to {what}", error, began=reached) from error

    def _too_slow(self, what: str) -> AnswerLost:
        return AnswerLost(
            f"{self.location}: the answer to {what} arrives too slowly, or not at all; given up after "
            f"{self._watchdog.limit_s:g} s without {_PIECE_BYTES // 1024} KB more of it"
        )

    def _refusal(self, what: str, error: Any, *, holds_documents: bool = False) -> MigratorError:
        """Name an answer that isn't a success."""
        status, response = error.status_code, error.http_response
        text = f"{self.location}: {status} on {what}: {refusal_of(response.content)}"
        if status == 401:
            return AccessDenied(f"{text}; check the user of the store")
        if status == 403:
            return AccessDenied(f"{text}; make the user a member of the database, in its _security")
        if status == 404:
            return NotFound(text)
        if 300 <= status < 400:
            text += "; the server redirects: give the address that it names, or the one behind the proxy"
        if status == 504:
            return AnswerLost(text, retry_after_s=retry_after_s(response.headers.get("Retry-After")))
        if holds_documents and status in (400, 413, 500):
            return RequestRefused(text, status=status, passing=status == 500)
        return Unavailable(text, retry_after_s=retry_after_s(response.headers.get("Retry-After")))


def print_location(store: Store) -> str:
    """The location for messages, without login."""
    location = store.location
    host, port = location.hosts[0]
    scheme = "couchdbs" if location.secure else "couchdb"
    name = f"[{host}]" if ":" in host else host
    return f"{scheme}://{name}:{port}{location.path_prefix}/{quote(location.database, safe='')}"


def _read(
    response: Response, bound_bytes: int | None, watch: Watch, given_up: Callable[[], bool] | None = None
) -> bytes:
    """The whole body in large pieces: `requests` would take it in small ones and look for its encoding."""

    def pieces() -> Iterator[bytes]:
        if given_up is not None:
            for piece in response.raw.stream(_PIECE_BYTES, decode_content=True):
                watch.extend()
                yield piece
                if given_up():
                    return
            return
        while piece := response.raw.read(_PIECE_BYTES, decode_content=True):
            watch.extend()
            yield piece

    try:
        return read_bounded(pieces(), bound_bytes)
    finally:
        response.close()  # what wasn't read to its end can't be used for another request


def _jwt_error() -> type[Exception]:
    import jwt

    return jwt.PyJWTError
