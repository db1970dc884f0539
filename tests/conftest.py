"""Real servers for the tests: started when the first test asks, stopped at the end of the session."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import uuid
from collections.abc import Collection, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from migrator.demo import servers
from migrator.demo.servers import JavaMissing, Server
from migrator.engine.state import statefile
from migrator.text import secrets
from tests.support.profiles import load_profile
from tests.support.servers import couchdb_url, delete_indices
from tests.support.servers import request as request_json

SEARCH_SERVERS = [
    *(
        pytest.param((servers.elasticsearch, version), id=f"elasticsearch-{version}")
        for version in servers.ELASTICSEARCH
    ),
    *(pytest.param((servers.opensearch, version), id=f"opensearch-{version}") for version in servers.OPENSEARCH),
]
STARTING = {
    "couchdb_address",
    "couchdb_server",
    "elasticsearch_server",
    "fault_stores",
    "search_server",
    "secured_couchdb",
    "secured_elasticsearch",
}

load_profile()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need real servers, so that `-m 'not servers'` leaves them out.

    Where several processes share the tests, each takes a group at a time: a file, or all tests of the same servers, so
    that few are started twice.
    """
    for item in items:
        fixtures = item.fixturenames if isinstance(item, pytest.Function) else ()
        servers_needed = STARTING.intersection(fixtures)
        if servers_needed or "open_folder" in fixtures:  # where a test keeps a server of its own
            item.add_marker(pytest.mark.servers)
        item.add_marker(pytest.mark.xdist_group(_group(servers_needed) if servers_needed else str(item.path)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let no test start a server that isn't marked: `make check` would start it too."""
    start = Server.start

    def start_if_marked(server: Server) -> None:
        assert item.get_closest_marker("servers"), "mark this test with pytest.mark.servers: it starts one"
        start(server)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Server, "start", start_if_marked)
        return (yield)


def _group(servers_needed: Collection[str]) -> str:
    for name in ("secured", "couchdb"):
        if all(name in each for each in servers_needed):
            return name
    return "servers"


@pytest.fixture(autouse=True)
def no_secrets() -> Iterator[None]:
    """What one test has for a secret is an everyday word in another."""
    yield
    secrets.forget()


@pytest.fixture(autouse=True)
def state_files_closed() -> Iterator[None]:
    """SQLite keeps what has functions of ours open until it is closed, and an ordinary user has 1,024 open files."""
    opened: list[sqlite3.Connection] = []
    connect = statefile._connect

    def connected(name: str, *, uri: bool = False) -> sqlite3.Connection:
        opened.append(connect(name, uri=uri))
        return opened[-1]

    statefile._connect = connected
    yield
    statefile._connect = connect
    for each in opened:
        each.close()


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter: pytest's own are closed to the user that search servers run as under root."""
    with tempfile.TemporaryDirectory(prefix="migrator-tests-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture
def server_folder(open_folder: Path) -> Path:
    """A fresh folder for a server of one test."""
    folder = open_folder / uuid.uuid4().hex
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def search_servers() -> list[Server]:
    """The Elasticsearch and OpenSearch servers that were started so far."""
    return []


@pytest.fixture(scope="session")
def couchdb_server(open_folder: Path) -> Iterator[Server]:
    with servers.couchdb(folder=open_folder / "couchdb") as server:
        yield server


@pytest.fixture(scope="session")
def secured_couchdb(open_folder: Path) -> Iterator[Server]:
    """A CouchDB server with an administrator; its database `secured` can be entered by nobody else."""
    with servers.couchdb(folder=open_folder / "secured-couchdb", security=True) as server:
        assert server.access
        members = {"names": [server.access.user], "roles": []}
        request_json("PUT", f"{server.url}/secured", access=server.access)
        request_json(
            "PUT", f"{server.url}/secured/_security", {"admins": members, "members": members}, access=server.access
        )
        yield server


@pytest.fixture(scope="session")
def elasticsearch_server(open_folder: Path, search_servers: list[Server]) -> Iterator[Server]:
    """Elasticsearch 6.7.2, which OpenWhisk deploys."""
    with servers.elasticsearch("6.7.2", folder=open_folder / "elasticsearch") as server:
        search_servers.append(server)
        yield server


@pytest.fixture(scope="session")
def secured_elasticsearch(open_folder: Path, search_servers: list[Server]) -> Iterator[Server]:
    """Elasticsearch 7.17 with HTTPS of its own authority, and a login; a client's certificate may be shown."""
    with servers.elasticsearch("7.17.29", folder=open_folder / "secured-elasticsearch", tls=True) as server:
        search_servers.append(server)
        yield server


@pytest.fixture(scope="session", params=SEARCH_SERVERS)
def search_server(request: pytest.FixtureRequest, open_folder: Path, search_servers: list[Server]) -> Iterator[Server]:
    """Each version in turn; those that no Java of this machine can run are skipped."""
    make, version = request.param
    if version == "6.7.2":
        yield request.getfixturevalue("elasticsearch_server")
        return
    try:
        server = make(version, folder=open_folder / f"{make.__name__}-{version}")
    except JavaMissing as missing:
        pytest.skip(str(missing))
    with server:
        search_servers.append(server)
        yield server


@pytest.fixture(scope="session")
def couchdb_address(request: pytest.FixtureRequest) -> str:
    """The location of the CouchDB server, that which COUCHDB_URL names (`http://user:password@host:5984`) if any."""
    server = os.environ.get("COUCHDB_URL") or request.getfixturevalue("couchdb_server").url
    return str(server).rstrip("/").replace("http", "couchdb", 1)


@pytest.fixture
def couchdb_database(couchdb_address: str) -> Iterator[str]:
    """The location of a fresh database."""
    with fresh_database(couchdb_address) as location:
        yield location


@contextmanager
def fresh_database(address: str) -> Iterator[str]:
    """The location of a database that is there inside the block."""
    location = f"{address}/test-{uuid.uuid4().hex}"
    request_json("PUT", couchdb_url(location))
    yield location
    request_json("DELETE", couchdb_url(location))


@pytest.fixture
def index_prefix(search_servers: list[Server]) -> Iterator[str]:
    """A prefix for the indices of one test; they are deleted after it on every server that runs."""
    prefix = f"test-{uuid.uuid4().hex}-"
    yield prefix
    for server in search_servers:
        if server.pid:
            delete_indices(server, prefix)
