"""`migrator config`: what it shows, what it finds wrong, and that it shows no secret."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from migrator.adapters.memory import memory_store
from migrator.commands.main import migrator
from migrator.demo.servers import Server
from tests.support.servers import request

CANARY = "kanarienvogel"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "migrator.toml"
    path.touch(mode=0o600)
    return path


def run(*words: str, environ: dict[str, str] | None = None) -> Result:
    result = CliRunner().invoke(migrator, ["config", *words], env=environ)
    assert CANARY not in result.output
    return result


# -- show -------------------------------------------------------------------------------------------------------


def test_show_tells_where_each_value_comes_from(file: Path) -> None:
    """Flag, environment, file, default, as a copy would take them."""
    file.write_text("[defaults]\nstate = '/file'\njobs = 2\nmax_rate = 2\n")
    words = ["show", "--config", str(file), "--state", "/flag", "--json"]
    result = run(*words, environ={"MIGRATOR_JOBS": "3"})
    assert result.exit_code == 0
    shown = json.loads(result.stdout)
    assert shown["file"] == str(file)
    assert shown["settings"] == {
        "state": {"value": "/flag", "origin": "flag --state"},
        "jobs": {"value": 3, "origin": "environment MIGRATOR_JOBS"},
        "max_rate": {"value": 2.0, "origin": "file"},
        "max_rejects": {"value": 10_000, "origin": "default"},
        "retry_for": {"value": 300.0, "origin": "default"},
        "log_format": {"value": "text", "origin": "default"},
    }


def test_show_tells_of_secrets_only_whether_they_are_set(file: Path, tmp_path: Path) -> None:
    """And where they come from; nothing is fetched, no command is run."""
    ran = tmp_path / "ran"
    (tmp_path / "secret").write_text(CANARY)
    file.write_text(
        f"[stores.a]\nlocation = 'couchdb://u:{CANARY}@h/d'\n"
        f"[stores.b]\nlocation = 'couchdb://u@h/d'\npassword = '{CANARY}'\n"
        "[stores.c]\nlocation = 'elasticsearch://h'\napi_key_env = 'KEY'\n"
        "[stores.d]\nlocation = 'elasticsearch://h'\ntoken_env = 'NONE'\n"
        "[stores.e]\nlocation = 'couchdb://u@h/d'\npassword_file = 'secret'\n"
        f"[stores.f]\nlocation = 'couchdb://u@h/d'\nlogin = 'session'\npassword_command = ['touch', '{ran}']\n"
        "[stores.g]\nlocation = 'couchdb://h'\n"
        "[stores.h]\nlocation = 'couchdbs://h/d'\nverify = false\n"
    )
    environ = {"KEY": CANARY, "MIGRATOR_TARGET_API_KEY": CANARY}
    shown = json.loads(run("show", "--config", str(file), "--json", environ=environ).stdout)
    secrets = {name: store.get("secrets") for name, store in shown["stores"].items()}
    assert secrets == {
        "a": {"password": {"set": True, "origin": "location"}},
        "b": {"password": {"set": True, "origin": "file"}},
        "c": {"api_key": {"set": True, "origin": "environment KEY"}},
        "d": {"token": {"set": False, "origin": "environment NONE"}},
        "e": {"password": {"set": True, "origin": f"file {tmp_path / 'secret'}"}},
        "f": {"password": {"set": None, "origin": "command touch"}},
        "g": None,
        "h": {},
    }
    assert not ran.exists()
    assert shown["stores"]["a"]["location"] == "couchdb://h:5984/d"
    assert shown["stores"]["f"]["login"] == "session"
    assert "the database is missing" in shown["stores"]["g"]["problem"]
    assert shown["stores"]["h"]["verify"] is False
    assert shown["environment"] == {"target api_key": {"set": True, "origin": "environment MIGRATOR_TARGET_API_KEY"}}

    text = run("show", "--config", str(file), environ=environ).stdout
    for line in (
        "password     set (location)",
        "token        NOT SET (environment NONE)",
        "not fetched (command touch)",
    ):
        assert line in text


def test_show_needs_no_file() -> None:
    """It says that there is none, and what holds then."""
    result = run("show", "--config", "/dev/null", "--json")
    assert json.loads(result.stdout)["stores"] == {}
    assert result.exit_code == 0


def test_show_warns_of_a_file_that_others_can_read(file: Path) -> None:
    file.write_text(f"[stores.b]\nlocation = 'couchdb://u@h/d'\npassword = '{CANARY}'\n")
    file.chmod(0o644)
    for command in ("show", "check"):
        assert run(command, "--config", str(file)).stderr == (
            f"warning: {file} contains a secret and is readable by others; run chmod 600 on it\n"
        )


# -- check ------------------------------------------------------------------------------------------------------


def test_check_tells_of_each_store_whether_it_is_in_order(file: Path) -> None:
    """One line each; the exit code is that of the worst."""
    file.write_text(
        "[stores.good]\nlocation = 'couchdb://u@h/d'\npassword_env = 'PW'\n[stores.bad]\nlocation = 'couchdb://h'\n"
    )
    result = run("check", "--config", str(file), environ={"PW": CANARY})
    assert result.exit_code == 2
    good, bad = result.stdout.splitlines()
    assert good == "good: couchdb://h:5984/d, login basic: OK"
    assert bad.startswith(f"bad: {file}: stores.bad.location: couchdb://h: the database is missing")
    assert run("check", "good", "--config", str(file), environ={"PW": CANARY}).exit_code == 0
    assert run("check", "good", "--config", str(file), environ={"PW": ""}).exit_code == 2
    quiet = run("check", "--config", str(file), "--quiet", environ={"PW": CANARY})
    assert [line.partition(":")[0] for line in quiet.stdout.splitlines()] == ["bad"]


def test_check_refuses_a_file_that_is_wrong_or_missing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With file and line, exit code 2."""
    file.write_text("[stores.a]\nlocaton = 'x'")
    result = run("check", "--config", str(file))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"migrator: {file}:2: stores.a.locaton: unknown; did you mean location?")
    assert run("check", "--config", "/none.toml").exit_code == 2
    monkeypatch.setattr("migrator.settings.config.places", tuple)
    result = run("check")
    assert (result.exit_code, result.stderr.partition(";")[0]) == (2, "migrator: there is no migrator.toml to check")


def test_check_takes_names_of_the_file_only(file: Path) -> None:
    """A misspelled name isn't in order."""
    file.write_text("[stores.prod]\nlocation = 'memory:a'")
    result = run("check", "prd", "--config", str(file))
    assert (result.exit_code, result.stderr) == (2, f"migrator: {file}: there is no store prd; did you mean prod?\n")
    result = run("check", f"couchdb://u:{CANARY}@h/d", "--config", str(file))
    assert result.exit_code == 2


def test_check_warns_once_of_what_is_not_verified(file: Path) -> None:
    """The warning is loud, not endless."""
    file.write_text("[stores.prod]\nlocation = 'couchdbs://h/d'\nverify = false")
    result = run("check", "--config", str(file))
    assert result.exit_code == 0
    assert result.stderr.count("is NOT verified") == 1


@pytest.fixture
def refusing_port() -> Iterator[int]:
    """A server that answers every request with 401."""

    class Refusal(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(401)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Refusal) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_check_connects_where_it_is_asked_to(file: Path, refusing_port: int) -> None:
    """Reachable, not reachable, not let in: each says so, and the highest exit code is that of the command."""
    with socket.socket() as taken:  # bound, not listening: nobody answers there
        taken.bind(("127.0.0.1", 0))
        memory_store("check")
        file.write_text(
            "[stores.there]\nlocation = 'memory:check'\n"
            f"[stores.away]\nlocation = 'elasticsearch://127.0.0.1:{taken.getsockname()[1]}'\n"
            f"[stores.shut]\nlocation = 'elasticsearch://u@127.0.0.1:{refusing_port}'\npassword = '{CANARY}'\n"
        )
        result = run("check", "--connect", "--json", "--config", str(file))
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        assert [(line["store"], line["exit_code"]) for line in lines] == [("there", 0), ("away", 5), ("shut", 6)]
        assert "reachable, memory" in lines[0]["message"]
        assert result.exit_code == 6
        assert run("check", "--connect", "there", "away", "--config", str(file)).exit_code == 5


def test_check_connects_to_a_real_server(file: Path, elasticsearch_server: Server, index_prefix: str) -> None:
    """Product and version are those of the server; a pattern without any index is reported as that."""
    request("PUT", f"{elasticsearch_server.url}/{index_prefix}guest/_doc/1", {"a": 1})
    location = f"elasticsearch://127.0.0.1:{elasticsearch_server.port}/?index-pattern={index_prefix}"
    file.write_text(f"[stores.there]\nlocation = '{location}%s'\n[stores.none]\nlocation = '{location}none-%s'\n")
    result = run("check", "--connect", "--config", str(file))
    there, none = result.stdout.splitlines()
    assert there.endswith("login none: reachable, Elasticsearch 6.7.2")
    assert none.startswith("none: ")
    assert result.exit_code == 10
