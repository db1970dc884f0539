"""The one place where HTTP is spoken with CouchDB, and where what goes wrong there is named.

What to ask enters; the bytes of an answer leave, or one of our errors. Knows nothing of activations.

The requests go through the `ibmcloudant` SDK as streams. Those to `_all_docs` are put together here, since the SDK
puts the options into the body of a POST, which CouchDB 2.3 passes over: it would answer with the whole database.
Source: `chttpd_db.erl` of CouchDB 2.3.1, `all_docs_view`.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import quote

import msgspec

from migrator.adapters.couchdb.login import open_service, token_manager
from migrator.errors import AccessDenied, MigratorError, NotFound, RequestRefused, Unavailable
from migrator.locations import Store

if TYPE_CHECKING:
    from requests import Response

T = TypeVar("T")

_PIECE_BYTES = 256 * 1024


class TooLarge(Exception):
    """An answer grew beyond its bound and was given up while it arrived; ask for less."""


class Undecodable(Exception):
    """A page arrived whole but isn't JSON that can be read; a document in it may be the cause."""


class Refusal(msgspec.Struct, frozen=True):
    """What a server says of a failure."""

    error: str = ""
    reason: str | None = None

    def __str__(self) -> str:
        text = f"{self.error}: {self.reason}" if self.reason else self.error or "without a reason"
        return text.rstrip(".")


class _Answer(NamedTuple):
    status: int
    body: bytes


class _Vendor(msgspec.Struct, frozen=True):
    name: str = ""


class Server(msgspec.Struct, frozen=True):
    """What `GET /` says."""

    version: str = "unknown"
    uuid: str | None = None
    vendor: _Vendor = _Vendor()
    couchdb: str | None = None
    pouchdb: str | None = msgspec.field(name="express-pouchdb", default=None)

    @property
    def product(self) -> str:
        if self.pouchdb is not None:
            return "PouchDB"
        return "Cloudant" if "Cloudant" in self.vendor.name else "CouchDB"


class _Properties(msgspec.Struct, frozen=True):
    partitioned: bool = False


class _Sizes(msgspec.Struct, frozen=True):
    file: int | None = None  # on disk


class Database(msgspec.Struct, frozen=True):
    """What `GET /DATABASE` says."""

    doc_count: int
    sizes: _Sizes = _Sizes()
    disk_size: int | None = None  # the same before CouchDB 2, and of PouchDB
    instance_start_time: str = "0"
    props: _Properties = _Properties()

    @property
    def size_bytes(self) -> int | None:
        """On disk, None where the server doesn't tell."""
        return self.disk_size if self.sizes.file is None else self.sizes.file


class _Position(msgspec.Struct, frozen=True):
    last_seq: str | int


class Client:
    """A database and its server; used by several threads at once."""

    def __init__(self, store: Store, *, connect_s: float = 10, answer_s: float = 120, connections: int = 32) -> None:
        self.database = store.location.database
        self.location = printed(store)
        self._path = f"/{quote(self.database, safe='')}"
        self._service = open_service(store, connect_s=connect_s, answer_s=answer_s, connections=connections)
        self._tokens = token_manager(self._service)

    # -- documents ----------------------------------------------------------------------------------------------

    def all_docs(
        self, *, low: str, high: str | None, limit: int, with_docs: bool, bound_bytes: int | None = None
    ) -> bytes:
        """The documents with low <= id < high by id, up to `limit`; `high` None means no end.

        Ids are in the order of their UTF-8 bytes, which is that of Python's strings, whatever the view collation.
        """
        options: dict[str, Any] = {"limit": limit}
        if low:
            options["startkey"] = json_text(low)
        if high is not None:
            options |= {"endkey": json_text(high), "inclusive_end": "false"}
        if with_docs:
            options |= {"include_docs": "true", "conflicts": "true"}
        return self._send("GET", "/_all_docs", params=options, bound_bytes=bound_bytes)

    def docs_by_id(
        self, ids: Sequence[str], *, with_docs: bool, conflicts: bool = False, bound_bytes: int | None = None
    ) -> bytes:
        """One row for each of the ids, in their order; with `conflicts` the documents name their losing revisions."""
        options = {"include_docs": "true"} if with_docs else {}
        if conflicts:
            options["conflicts"] = "true"
        body = json_text({"keys": list(ids)})
        return self._send("POST", "/_all_docs", params=options, data=body, bound_bytes=bound_bytes)

    def document(self, id: str) -> bytes | None:
        """One document by itself; None where it isn't there any more."""
        path = f"/{quote(id, safe='')}"
        answer = self._call(
            path,
            lambda: self._service.get_document_as_stream(self.database, id, conflicts=True),
            accept=(404,),
        )
        if answer.status == 404:
            refusal = _refusal(answer.body)
            if refusal.reason not in ("missing", "deleted"):
                raise NotFound(f"{self.location}: 404 on {path}: {refusal}")
            return None
        return answer.body

    def bulk_docs(self, body: bytes) -> bytes:
        """Store documents; the answer has a result for each."""
        # The header makes CouchDB 2 answer when all is on disk, whatever its `delayed_commits`; later ones always do.
        return self._call(
            "_bulk_docs",
            lambda: self._service.post_bulk_docs(
                self.database, body, headers={"X-Couch-Full-Commit": "true"}, stream=True
            ),
            holds_documents=True,
        ).body

    def changes(
        self,
        since: str | int,
        *,
        limit: int,
        with_docs: bool = False,
        ids: Sequence[str] | None = None,
        bound_bytes: int | None = None,
    ) -> bytes:
        """What was stored or deleted since a sequence, up to `limit`; with `ids` only what concerns those."""
        options: dict[str, Any] = {"style": "main_only", "limit": limit}
        if with_docs:
            options |= {"include_docs": True, "conflicts": True}
        if ids is not None:
            options |= {"filter": "_doc_ids", "doc_ids": list(ids)}
        return self._call(
            "_changes",
            lambda: self._service.post_changes_as_stream(self.database, since=str(since), **options),
            bound_bytes=bound_bytes,
        ).body

    def sequence(self) -> str | int:
        """Where the database stands now; an opaque token (a number on PouchDB)."""
        return self.understand(self.changes("now", limit=0), _Position, "_changes").last_seq

    # -- the server and the database ----------------------------------------------------------------------------

    @cached_property
    def server(self) -> Server:
        """Which server this is; asked once."""
        # A proxy may keep `GET /` to itself; the database is what counts.
        answer = self._call("/", lambda: self._service.get_server_information(stream=True), accept=(403, 404, 405))
        if answer.status != 200:
            return Server()
        another = NotFound(f"{self.location}: what answers there isn't CouchDB; check host and port")
        try:
            server = msgspec.json.decode(answer.body, type=Server)
        except msgspec.ValidationError as error:  # Elasticsearch's `version` is an object
            raise another from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self.garbled("/", error) from error
        if server.couchdb is None and server.pouchdb is None:
            raise another
        return server

    def about(self) -> Database:
        """The database itself. Raises `NotFound`, with the databases that it may have been mistaken for."""
        answer = self._call(
            "the database",
            lambda: self._service.get_database_information(self.database, stream=True),
            accept=(404,),
        )
        if answer.status == 404:
            raise NotFound(f"{self.location}: there is no such database{self._others()}")
        return self.understand(answer.body, Database, "the database")

    def databases(self) -> list[str] | None:
        """The databases of the server; None where this user may not list them."""
        try:
            answer = self._call("_all_dbs", lambda: self._service.get_all_dbs(stream=True))
            return self.understand(answer.body, list[str], "_all_dbs")
        except MigratorError:  # only administrators may list databases
            return None

    def _others(self) -> str:
        names = self.databases()
        if names is None:
            return "; check its name"
        likely = [name for name in names if "activation" in name][:5]
        return f"; there is {', '.join(likely)}" if likely else "; none there is named like activations"

    def ask(self, what: str, operation: str, type: type[T]) -> T | None:
        """Ask the SDK's operation that takes just the database, or nothing; None where that isn't allowed."""
        arguments = () if operation == "get_session_information" else (self.database,)
        send = getattr(self._service, operation)
        answer = self._call(what, lambda: send(*arguments, stream=True), accept=(401, 403, 404, 405))
        return self.understand(answer.body, type, what) if answer.status == 200 else None

    # -- answers ------------------------------------------------------------------------------------------------

    def understand(self, body: bytes, type: type[T], what: str) -> T:
        """Decode an answer that holds no document; raises `Unavailable` where it isn't what was asked for."""
        try:
            return msgspec.json.decode(body, type=type)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise self.garbled(what, error) from error

    def decode_page(self, decoder: msgspec.json.Decoder[T], body: bytes, what: str) -> T:
        """Decode an answer with documents; raises `Undecodable` where one of them may be the cause."""
        try:
            return decoder.decode(body)
        except msgspec.ValidationError as error:
            raise self.garbled(what, error) from error
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            # An answer that was cut off is no riddle about a document: it is asked for again as it was.
            if not body.rstrip().endswith((b"]}", b"}")) or not body.startswith(b"{"):
                raise self.garbled(what, "it isn't JSON, or was cut off") from error
            raise Undecodable(str(error)) from error

    def garbled(self, what: str, reason: object) -> Unavailable:
        return Unavailable(f"{self.location}: the answer of {what} can't be used: {reason}")

    def close(self) -> None:
        self._service.get_http_client().close()

    # -- one request --------------------------------------------------------------------------------------------

    def _send(
        self, method: str, path: str, *, params: dict[str, Any], data: str | None = None, bound_bytes: int | None
    ) -> bytes:
        """A request to the database that isn't among the SDK's operations."""

        def send() -> Any:
            headers = {"Accept": "application/json"} | ({"content-type": "application/json"} if data else {})
            request = self._service.prepare_request(
                method, f"{self._path}{path}", headers=headers, params=params, data=data
            )
            return self._service.send(request, stream=True)

        return self._call(path[1:], send, bound_bytes=bound_bytes).body

    def _call(
        self,
        what: str,
        send: Callable[[], Any],
        *,
        accept: Collection[int] = (),
        bound_bytes: int | None = None,
        holds_documents: bool = False,
    ) -> _Answer:
        """Send one request, once; after a 401 once more with a new token, since tokens end early when idle.

        `accept` are statuses besides 2xx that the caller deals with. `bound_bytes` gives an answer up with `TooLarge`
        when it grows beyond. `holds_documents` makes 400, 413 and 500 a `RequestRefused`, since a document in the
        body may be the cause.
        """
        from ibm_cloud_sdk_core import ApiException

        self._log_in()
        with self._translated(what):
            for renewed in (False, True):
                try:
                    response = send().get_result()
                except ApiException as error:
                    status, body = error.status_code, error.http_response.content
                    if status == 401 and self._tokens is not None and not renewed:
                        self._tokens.expire_time = 0
                        self._log_in()
                        continue
                    if status in accept:
                        return _Answer(status, body)
                    raise self._refused(what, error, holds_documents=holds_documents) from error
                return _Answer(200, _read(response, bound_bytes))
        raise AssertionError("the second round returns or raises")

    def _log_in(self) -> None:
        """Fetch a cookie or token where there is none that is good; the request itself then finds it."""
        if self._tokens is None:
            return
        from ibm_cloud_sdk_core import ApiException

        what = "the login"
        try:
            with self._translated(what):
                self._tokens.get_token()
        except ApiException as error:
            # IBM's token service says 400 to a wrong key.
            if error.status_code in (400, 401, 403):
                refusal = _refusal(error.http_response.content)
                raise AccessDenied(
                    f"{self.location}: {error.status_code} on {what}: {refusal}; check user and password, or the key"
                ) from error
            raise self._refused(what, error) from error
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            StopIteration,
            TypeError,
            ValueError,
            _jwt_error(),
        ) as error:
            raise self.garbled(what, "it holds no token that can be read") from error
        finally:
            # The SDK lets everyone wait for a minute after a login that failed.
            self._tokens.request_time = 0

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        """Name what kept an answer from arriving whole."""
        import requests
        import urllib3

        try:
            yield
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            cause = _innermost(error)
            text = f"{self.location}: no answer to {what}: {cause or type(cause).__name__}"
            if isinstance(cause, ssl.SSLCertVerificationError):
                # Trying again doesn't make a certificate better, and the login must not be sent to a stranger.
                raise AccessDenied(
                    f"{text}; name the authority that signed the server's certificate (CA file)"
                ) from error
            raise Unavailable(f"{text}; is the server up, and are address, port and TLS right?") from error

    def _refused(self, what: str, error: Any, *, holds_documents: bool = False) -> MigratorError:
        """Name an answer that isn't a success."""
        status, response = error.status_code, error.http_response
        text = f"{self.location}: {status} on {what}: {_refusal(response.content)}"
        if status == 401:
            return AccessDenied(f"{text}; check the user of the store")
        if status == 403:
            return AccessDenied(f"{text}; the user needs the right to do this")
        if status == 404:
            return NotFound(text)
        if 300 <= status < 400:
            text += "; the server sends us elsewhere: give the address that it names, or that behind the proxy"
        if holds_documents and status in (400, 413, 500):
            return RequestRefused(text, status=status, passing=status == 500)
        return Unavailable(text, retry_after_s=_seconds(response.headers.get("Retry-After")))


def printed(store: Store) -> str:
    """The location for messages, without login."""
    location = store.location
    host, port = location.hosts[0]
    scheme = "couchdbs" if location.secure else "couchdb"
    name = f"[{host}]" if ":" in host else host
    return f"{scheme}://{name}:{port}{location.path_prefix}/{quote(location.database, safe='')}"


def json_text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _read(response: Response, bound_bytes: int | None) -> bytes:
    """The whole body in large pieces: `requests` would take it in small ones and look for its encoding."""
    pieces: list[bytes] = []
    size_bytes = 0
    try:
        while piece := response.raw.read(_PIECE_BYTES, decode_content=True):
            pieces.append(piece)
            size_bytes += len(piece)
            if bound_bytes is not None and size_bytes > bound_bytes:
                raise TooLarge
    finally:
        response.close()  # what wasn't read to its end can't be used for another request
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _refusal(body: bytes) -> Refusal:
    try:
        return msgspec.json.decode(body, type=Refusal)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return Refusal(body[:300].decode(errors="replace").strip())  # what a proxy says


def _seconds(retry_after: str | None) -> float | None:
    """`Retry-After` as seconds; a date there is rare and not worth its parsing."""
    try:
        return max(0.0, float(retry_after)) if retry_after else None
    except ValueError:
        return None


def _jwt_error() -> type[Exception]:
    import jwt

    return jwt.PyJWTError


def _innermost(error: BaseException) -> BaseException:
    """The error below the wrappings of `requests` and urllib3, which says it most plainly."""
    while True:
        first = error.args[0] if error.args else None
        inner = getattr(error, "reason", None) or error.__cause__ or error.__context__ or first
        if not isinstance(inner, BaseException):
            return error
        error = inner
