"""The table of docs/permissions.md for CouchDB: what each kind of user may do, and how the commands end.

Runs on the server that COUCHDB_URL names with its administrator, if any, else on the secured PouchDB Server.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from click.testing import CliRunner, Result

from migrator.commands.main import migrator
from migrator.demo.servers import Access, Server
from migrator.testing.documents import activation, activation_id
from tests.docs.test_permissions import PAGE, table
from tests.support.servers import request

pytestmark = pytest.mark.servers

PASSWORD = "pw-of-everyone"
READING, WRITING = list(table("## CouchDB")[0])[1:]
ROWS = {row["user"]: row for row in table("## CouchDB")}
USERS = dict(
    zip(ROWS, ("nobody", "stranger", "member", "forbidden-reader", "unauthorized-reader", "admin"), strict=True)
)
VALIDATION = json.loads(PAGE.partition("/_design/read-only\n")[2].partition("\n```")[0])["validate_doc_update"]
ENDS = {"complete": 0, "401": 6, "403": 6, "each document rejected": 3}


class Database:
    """A database with those users, and how to run a command as one of them."""

    def __init__(self, url: str, access: Access, folder: Path) -> None:
        self._url, self._access, self._folder = url, access, folder
        self._mark = uuid.uuid4().hex[:8]
        self.name = f"permissions-{self._mark}"
        self.is_real = "express-pouchdb" not in self.ask("GET", "")

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        return request(method, f"{self._url}/{path}", body, access=self._access)

    def make(self) -> None:
        self.ask("PUT", self.name)
        for user in USERS.values():
            roles = [user] if user.endswith("-reader") else []
            fields = {"name": self._user(user), "password": PASSWORD, "roles": roles, "type": "user"}
            self.ask("PUT", self._user_document(user), fields)
        members = [self._user(user) for user in ("member", "forbidden-reader", "unauthorized-reader")]
        admins = {"names": [self._user("admin")], "roles": ["_admin"]}
        self.ask("PUT", f"{self.name}/_security", {"admins": admins, "members": {"names": members, "roles": []}})
        documents = [json.loads(activation(number).body) for number in range(3)]
        self.ask("POST", f"{self.name}/_bulk_docs", {"docs": documents})

    def make_read_only(self) -> None:
        """The page's design document, and the same with the other word."""
        for word in ("unauthorized", "forbidden"):
            function = VALIDATION.replace("'reader'", f"'{word}-reader'").replace("unauthorized:", f"{word}:")
            self.ask("PUT", f"{self.name}/_design/{word}", {"validate_doc_update": function})

    def remove(self) -> None:
        self.ask("DELETE", self.name)
        for user in USERS.values():
            there = self.ask("GET", self._user_document(user))
            self.ask("DELETE", f"{self._user_document(user)}?rev={there['_rev']}")

    def _user(self, name: str) -> str:
        return f"{name}-{self._mark}"

    def _user_document(self, name: str) -> str:
        return f"_users/org.couchdb.user:{self._user(name)}"

    def run(self, user: str, *words: str) -> Result:
        """Words in which `{db}` is the database, as the user knows it."""
        parts = urlsplit(self._url)
        login = "" if user == "nobody" else f"{self._user(user)}@"
        place = f"couchdb://{login}{parts.hostname}:{parts.port}/{self.name}"
        environ = {"MIGRATOR_STATE": str(self._folder / uuid.uuid4().hex), "MIGRATOR_CONFIG": os.devnull}
        if login:
            environ |= {"MIGRATOR_SOURCE_PASSWORD": PASSWORD, "MIGRATOR_TARGET_PASSWORD": PASSWORD}
        return CliRunner().invoke(migrator, [word.replace("{db}", place) for word in words], env=environ)

    def count(self) -> int:
        """The activations in it."""
        rows = self.ask("GET", f"{self.name}/_all_docs")["rows"]
        return sum(not row["id"].startswith("_design/") for row in rows)


@pytest.fixture
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if named := os.environ.get("COUCHDB_URL"):
        parts = urlsplit(named)
        url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        access = Access(unquote(parts.username or ""), unquote(parts.password or ""))
    else:
        server: Server = request.getfixturevalue("secured_couchdb")
        assert server.access
        url, access = server.url, server.access
    database = Database(url, access, tmp_path)
    database.make()
    try:
        yield database
    finally:
        database.remove()


@pytest.mark.servers
@pytest.mark.parametrize("row", USERS)
def test_who_may_read(database: Database, tmp_path: Path, row: str) -> None:
    """Each command that reads ends as the page has it."""
    database.make_read_only()
    lines = tmp_path / "acts.ndjson"
    lines.write_bytes(b"\n".join(activation(number).body for number in range(3)) + b"\n")
    told = ROWS[row][READING]
    for words in (
        ["copy", "{db}", str(tmp_path / "out.ndjson"), "--retry-for", "0"],
        ["backup", "{db}", f"archive:{tmp_path / 'archive'}", "--retry-for", "0"],
        ["verify", "{db}", str(lines), "--retry-for", "0"],
        ["find", activation_id(1), "--in", "{db}"],
        ["detect", "{db}"],
        ["stats", "{db}"],
    ):
        ended = database.run(USERS[row], *words)
        assert ended.exit_code == ENDS[told], (words, ended.output)
        if told != "complete":
            # PouchDB Server says 401 to anybody who isn't let in.
            assert told in ended.output or (not database.is_real and "401" in ended.output)
            assert "_security" in ended.output or "check the user" in ended.output


@pytest.mark.servers
@pytest.mark.parametrize("row", USERS)
def test_who_may_write(database: Database, tmp_path: Path, row: str) -> None:
    """`copy` and `restore` end as the page has it, and nothing is stored where it says so."""
    database.make_read_only()
    lines = tmp_path / "acts.ndjson"
    told = ROWS[row][WRITING]
    ended_at = 3
    for number, source in ((4, str(lines)), (5, f"archive:{tmp_path / 'archive'}")):
        lines.write_bytes(b"\n".join(activation(each).body for each in range(number)) + b"\n")
        if source != str(lines):
            assert database.run("admin", "backup", str(lines), source).exit_code == 0
        command = "copy" if source == str(lines) else "restore"
        ended = database.run(USERS[row], command, source, "{db}", "--retry-for", "0")
        assert ended.exit_code == ENDS[told], ended.output
        ended_at = number if told == "complete" else ended_at
        assert database.count() == ended_at
        if row.startswith("member, refused"):
            assert "this user may only read" in ended.output or "rejected" in ended.output
