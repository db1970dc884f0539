"""What is asked of CouchDB: one method for each operation.

What to ask enters; the bytes of an answer leave, or one of our errors. Knows nothing of activations.

Requests to `_all_docs` are put together here, since the SDK
puts the options into the body of a POST, which CouchDB 2.3 skips: it would answer with the whole database.
Source: `chttpd_db.erl` of CouchDB 2.3.1, `all_docs_view`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from migrator.adapters.couchdb import rows
from migrator.adapters.couchdb.about import Database, Server
from migrator.adapters.couchdb.ceiling import Ceiling
from migrator.adapters.couchdb.wire import Wire
from migrator.adapters.shared.http import TooLarge, Undecodable
from migrator.errors import AnswerLost, MigratorError, NotFound, Unavailable
from migrator.events.watching import Stop
from migrator.settings.stores import Store
from migrator.text.arguments import argument
from migrator.text.decoding import UNREADABLE, decode
from migrator.text.units import counted

T = TypeVar("T")

_CONFIG = "/_node/_local/_config"


class _Position(msgspec.Struct, frozen=True):
    last_seq: str | int


class Client:
    """A database and its server; used by several threads at once."""

    def __init__(self, store: Store, *, connect_s: float = 10, answer_s: float = 120, connections: int = 32) -> None:
        self._store = store
        self.database = store.location.database
        self._path = f"/{quote(self.database, safe='')}"
        self._wire = Wire(store, connect_s=connect_s, answer_s=answer_s, connections=connections)
        self.location = self._wire.location
        self._by_ids = Ceiling()

    def hasty(self, *, connect_s: float, answer_s: float) -> Client:
        """Another client of the same database, that gives up sooner."""
        return Client(self._store, connect_s=connect_s, answer_s=answer_s)

    def beside(self, database: str, *, connect_s: float, answer_s: float) -> Client:
        """A client of another database of the same server, with the same login."""
        location = msgspec.structs.replace(self._store.location, database=database)
        store = msgspec.structs.replace(self._store, location=location)
        return Client(store, connect_s=connect_s, answer_s=answer_s)

    # -- documents ----------------------------------------------------------------------------------------------

    def all_docs(
        self,
        *,
        low: str,
        high: str | None,
        limit: int,
        with_docs: bool,
        descending: bool = False,
        skip: int = 0,
        bound_bytes: int | None = None,
    ) -> bytes:
        """The documents with low <= id < high by id, up to `limit`; `high` None means no end.

        With `descending` from the end on, and then `high` itself may be among them. Ids are in the order of their
        UTF-8 bytes, which is that of Python's strings, whatever the view collation.
        """
        options: dict[str, Any] = {"limit": limit}
        if low:
            options["endkey" if descending else "startkey"] = json_text(low)
        if high is not None:
            options["startkey" if descending else "endkey"] = json_text(high)
        if descending:
            options["descending"] = "true"
        elif high is not None:
            options["inclusive_end"] = "false"
        if skip:
            options["skip"] = skip
        if with_docs:
            options |= {"include_docs": "true", "conflicts": "true"}
        return self._wire.send("_all_docs", "GET", f"{self._path}/_all_docs", params=options, bound_bytes=bound_bytes)

    def docs_by_id(
        self, ids: Sequence[str], *, with_docs: bool, conflicts: bool = False, bound_bytes: int | None = None
    ) -> bytes:
        """One row for each of the ids, in their order; with `conflicts` the documents name their losing revisions.

        Raises `TooLarge` where the answer is, or where a proxy takes no request with so many ids.
        """
        options = {"include_docs": "true"} if with_docs else {}
        if conflicts:
            options["conflicts"] = "true"
        body = json_text({"keys": list(ids)})
        with self._about(ids):
            return self._wire.send(
                "_all_docs",
                "POST",
                f"{self._path}/_all_docs",
                params=options,
                data=body,
                bound_bytes=bound_bytes,
                splits=len(ids) > 1,
            )

    def _about(self, ids: Sequence[str]) -> AbstractContextManager[None]:
        """Around a request about ids; raises `TooLarge` where answers to fewer of them broke off."""
        if not self._by_ids.allows(len(ids)):
            raise TooLarge(f"{self.location}: answers were cut off even with fewer than {counted(len(ids), 'id')}")
        return self._by_ids.watch(len(ids))

    def revisions(self, ids: Sequence[str]) -> list[rows.KeyRow]:
        """One row for each of the ids, in their order, without the documents."""
        if not ids:
            return []
        body = None
        with suppress(TooLarge):
            body = self.docs_by_id(ids, with_docs=False)
        if body is None:
            half = len(ids) // 2
            return self.revisions(ids[:half]) + self.revisions(ids[half:])
        found = self.understand(body, rows.KeyRows, "_all_docs").rows
        if [row.key for row in found] != list(ids):
            rows_for = f"{counted(len(found), 'row')} for {counted(len(ids), 'key')}"
            raise self.malformed_answer("_all_docs", f"it has {rows_for}, or for others")
        for row in found:
            if (row.value is None and row.error != "not_found") or (row.value is not None and row.id != row.key):
                raise self.malformed_answer("_all_docs", f"{row.key}: {row.error or f'it is about {row.id}'}")
        return found

    def document(self, id: str) -> rows.Alone | None:
        """One document by itself, as bytes that needn't be decodable; None where it isn't there any more.

        Asked for in a body: a proxy that decodes `%2F` in paths makes any document look deleted. One look that finds
        nothing isn't believed.
        """
        for _ in range(2):
            body = self.docs_by_id([id], with_docs=True, conflicts=True)
            try:
                found = rows.alone(body, id)
            except ValueError as error:
                raise self.malformed_answer("_all_docs", error) from error
            if found is not None:
                return found
        return None

    def bulk_docs(self, body: bytes) -> bytes:
        """Store documents; the answer has a result for each."""
        # The header makes CouchDB 2 answer when all is on disk, whatever its `delayed_commits`; later ones always do.
        return self._wire.call(
            "_bulk_docs",
            lambda: self._wire.service.post_bulk_docs(
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
        descending: bool = False,
        bound_bytes: int | None = None,
    ) -> bytes:
        """What was stored or deleted since a sequence, up to `limit`; with `ids` only what concerns those.

        With `descending` the newest first, whatever `since` is. Raises `TooLarge` as `docs_by_id`.
        """
        options: dict[str, Any] = {"style": "main_only", "limit": limit}
        if with_docs:
            options |= {"include_docs": True, "conflicts": True}
        if ids is not None:
            options |= {"filter": "_doc_ids", "doc_ids": list(ids)}
        if descending:
            options["descending"] = True
        else:
            options["since"] = str(since)
        with nullcontext() if ids is None else self._about(ids):
            return self._wire.call(
                "_changes",
                lambda: self._wire.service.post_changes_as_stream(self.database, **options),
                bound_bytes=bound_bytes,
                splits=ids is not None and len(ids) > 1,
            ).body

    def wait_for_change(self, since: str | int, *, wait_s: float, stop: Stop) -> None:
        """Return once something is stored after a sequence, after `wait_s`, or soon after `stop` was asked to.

        What is in the answer doesn't matter: who waited looks. CouchDB's heartbeat, a line a second, shows that it is
        still there; in place of the `timeout` that it rules out, the answer is given up.
        """
        until_s = time.monotonic() + wait_s
        options: dict[str, Any] = {"since": str(since), "limit": 1, "feed": "longpoll", "heartbeat": 1000}
        self._wire.call(
            "_changes",
            lambda: self._wire.service.post_changes_as_stream(self.database, **options),
            given_up=lambda: stop.asked or time.monotonic() >= until_s,
        )

    def knows(self, since: str | int) -> bool:
        """Whether the database takes a sequence as one of its own."""
        answer = self._wire.call(
            "_changes",
            lambda: self._wire.service.post_changes_as_stream(self.database, since=str(since), limit=1),
            accept=(400,),
        )
        return answer.status != 400

    def sequence(self) -> str | int:
        """Where the database stands now; an opaque token (a number on PouchDB)."""
        return self.understand(self.changes("now", limit=0), _Position, "_changes").last_seq

    # -- the server and the database ----------------------------------------------------------------------------

    @cached_property
    def server(self) -> Server:
        """Which server this is; asked once."""
        # A proxy may keep `GET /` to itself; the database is what counts.
        answer = self._wire.call(
            "/", lambda: self._wire.service.get_server_information(stream=True), accept=(403, 404, 405)
        )
        if answer.status != 200:
            return Server()
        another = NotFound(f"{self.location}: the server there isn't CouchDB; check host and port")
        try:
            server = decode(answer.body, Server)
        except msgspec.ValidationError as error:  # Elasticsearch's `version` is an object
            raise another from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self.malformed_answer("/", error) from error
        if server.couchdb is None and server.pouchdb is None:
            raise another
        return server

    def about(self, *, writes: bool = False) -> Database:
        """The database itself. Raises `NotFound`, with the databases that it may have been mistaken for.

        Where it is to be written to, none is named: the one that is like it may be in production.
        """
        answer = self._wire.call(
            "the database",
            lambda: self._wire.service.get_database_information(self.database, stream=True),
            accept=(404,),
        )
        if answer.status == 404:
            others = f"; check its name, or create it with {argument('create')}" if writes else self._others()
            raise NotFound(f"{self.location}: there is no such database{others}")
        return self.understand(answer.body, Database, "the database")

    def create(self) -> bool:
        """Create the database; False where it is there already."""
        answer = self._wire.call(
            "creating the database",
            lambda: self._wire.service.put_database(self.database, stream=True),
            accept=(412,),
        )
        return answer.status != 412

    def databases(self) -> list[str] | None:
        """The databases of the server; None where this user may not list them."""
        try:
            answer = self._wire.call("_all_dbs", lambda: self._wire.service.get_all_dbs(stream=True))
            return self.understand(answer.body, list[str], "_all_dbs")
        except MigratorError:  # only administrators may list databases
            return None

    def date(self) -> str | None:
        """The server's clock, as its answers have it; None where they don't."""
        what = "the database"
        return self._wire.call(
            what, lambda: self._wire.service.get_database_information(self.database, stream=True)
        ).date

    def tombstone_ttl(self) -> str | None:
        """After how long the server drops tombstones by itself, as it spells it; None where it isn't known to.

        Source: `couch_auto_purge_plugin` of CouchDB from 3.6 on; the setting of a database goes before the server's.
        """
        if (self.settings("couch_scanner_plugins") or {}).get("couch_auto_purge_plugin") != "true":
            return None
        for path in (f"{self._path}/_auto_purge", f"{_CONFIG}/couch_auto_purge_plugin"):
            found = (self._asked(path) or {}).get("deleted_document_ttl")
            if found is not None:
                return None if found == "infinity" else str(found)
        return None

    def settings(self, section: str) -> dict[str, Any] | None:
        """What a section of the configuration of the node that answers sets; None where this user may not read it."""
        return self._asked(f"{_CONFIG}/{section}")

    def _asked(self, path: str) -> dict[str, Any] | None:
        """An object that a path of the server gives; None where it gives none, or not to this user.

        Only for what is reported: hosted servers and proxies refuse such paths in ways of their own.
        """
        try:
            body = self._wire.send(path, "GET", path, params={})
            return self.understand(body, dict[str, Any], path)
        except MigratorError:
            return None

    def post(self, path: str, value: object) -> bytes:
        """Ask the database for something by a POST: `_compact`, `_purge`."""
        return self._wire.send(path, "POST", f"{self._path}/{path}", params={}, data=json_text(value))

    def _others(self) -> str:
        names = self.databases()
        if names is None:
            return "; check its name"
        likely = [name for name in names if "activation" in name][:5]
        return f"; there is {', '.join(likely)}" if likely else "; no database there has a name like activations"

    def ask(self, what: str, operation: str, type: type[T]) -> T | None:
        """Ask the SDK's operation that takes just the database, or nothing; None where that isn't allowed."""
        arguments = () if operation == "get_session_information" else (self.database,)
        send = getattr(self._wire.service, operation)
        answer = self._wire.call(what, lambda: send(*arguments, stream=True), accept=(401, 403, 404, 405))
        return self.understand(answer.body, type, what) if answer.status == 200 else None

    # -- answers ------------------------------------------------------------------------------------------------

    def understand(self, body: bytes, type: type[T], what: str) -> T:
        """Decode an answer that holds no document; raises `Unavailable` where it isn't what was requested."""
        try:
            return decode(body, type)
        except UNREADABLE as error:
            raise self.malformed_answer(what, error) from error

    def decode_page(self, decoder: msgspec.json.Decoder[T], body: bytes, what: str) -> T:
        """Decode an answer with documents; raises `Undecodable` where one of them may be the cause."""
        try:
            return decoder.decode(body)
        except msgspec.ValidationError as error:
            raise self.malformed_answer(what, error) from error
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            # An answer that was cut off is no riddle about a document: it is requested again as it was.
            if not body.rstrip().endswith((b"]}", b"}")) or not body.startswith(b"{"):
                raise AnswerLost(str(self.malformed_answer(what, "it isn't JSON, or was cut off"))) from error
            raise Undecodable(str(error)) from error

    def malformed_answer(self, what: str, reason: object) -> Unavailable:
        return self._wire.malformed_answer(what, reason)

    def close(self) -> None:
        self._wire.close()


def json_text(value: object) -> str:
    return msgspec.json.encode(value).decode()
