"""A password given in every way there is is in nothing that the commands print or keep."""

from __future__ import annotations

import subprocess
from base64 import b64encode
from pathlib import Path
from urllib.parse import quote

import pytest

from migrator.demo.servers import Access, Server
from migrator.testing.documents import activation
from tests.commands.test_main import run_process
from tests.support.servers import request


class Secured:
    """A CouchDB and an Elasticsearch that ask for a login, a configuration, and all that commands print and keep."""

    def __init__(self, couchdb: Server, search: Server, prefix: str, folder: Path) -> None:
        assert couchdb.access
        assert search.access
        self.couchdb, self.access = couchdb, couchdb.access
        self.state = folder / "state"
        self.told: list[str] = []
        (folder / "password").write_text(f"{self.access.password}\n")
        (folder / "password").chmod(0o600)
        pattern = f"?index-pattern={prefix}%25s"
        host = f"operator@127.0.0.1:{search.port}"
        self.config = folder / "migrator.toml"
        self.config.write_text(
            f"""
[stores.by-value]
location = "couchdb://operator@127.0.0.1:{couchdb.port}/secured"
password = "{self.access.password}"
[stores.by-command]
location = "elasticsearchs://{host}/{pattern}"
password_command = ["cat", "{folder / "password"}"]
ca_file = "{search.access.ca}"
[stores.by-file]
location = "elasticsearchs://{host}/{pattern}"
password_file = "{folder / "password"}"
ca_file = "{search.access.ca}"
"""
        )
        self.config.chmod(0o600)

    def run(self, *words: str, code: int, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command with everything told that can be determined, and keep what it prints."""
        environ = {"MIGRATOR_CONFIG": str(self.config), "MIGRATOR_STATE": str(self.state), **environ}
        ended = run_process(*words, environ={"MIGRATOR_DEBUG": "1", **environ})
        assert ended.returncode == code, ended.stderr
        self.told += [ended.stdout, ended.stderr]
        return ended

    def leaks(self, password: str) -> list[str]:
        """Where the password stands, as it is, as in a URL or as in a header."""
        login = b64encode(f"{self.access.user}:{password}".encode()).decode()
        spellings = [password, quote(password, safe=""), login]
        kept = {str(path): path.read_bytes() for path in self.state.rglob("*") if path.is_file()}
        found = [text for text in self.told if any(spelled in text for spelled in spellings)]
        return found + [
            path for path, content in kept.items() if any(spelled.encode() in content for spelled in spellings)
        ]


@pytest.fixture
def secured(secured_couchdb: Server, secured_elasticsearch: Server, index_prefix: str, tmp_path: Path) -> Secured:
    secured = Secured(secured_couchdb, secured_elasticsearch, index_prefix, tmp_path)
    documents = [activation(number).body.decode() for number in range(20)]
    body = f'{{"docs":[{",".join(documents)}]}}'.encode()
    request("POST", f"{secured_couchdb.url}/secured/_bulk_docs", body, access=secured_couchdb.access)
    return secured


def test_good_password_stands_nowhere(secured: Secured) -> None:
    """Given by configuration, file, command, environment and URL, through copies, status, retries and the config."""
    access = secured.access
    plain = f"couchdb://operator@127.0.0.1:{secured.couchdb.port}/secured"
    typed = plain.replace("operator", f"operator:{access.password}")
    secured.run("copy", "by-value", "by-command", code=0)
    secured.run("copy", "by-value", "by-command", "--log-format", "json", "--json", code=0)
    secured.run("copy", "by-value", "by-file", "--dry-run", code=0)
    secured.run("copy", plain, "by-file", code=0, MIGRATOR_SOURCE_PASSWORD=access.password)
    warned = secured.run("copy", typed, "by-file", "--restart", code=0)
    assert "the password in the location is visible" in warned.stderr
    secured.run("copy", f"{typed}-missing", "by-file", code=10)
    secured.run("copy", typed.replace(f":{secured.couchdb.port}", ":9"), "by-file", code=5)
    status = secured.run("status", code=0)
    job = status.stdout.split()[0]
    secured.run("status", job, "--json", code=0)
    secured.run("status", job, "--rejected", code=0)
    secured.run("retry-rejected", job, code=0)
    secured.run("config", "show", code=0)
    secured.run("config", "check", code=0)
    assert secured.state.is_dir()
    assert secured.leaks(access.password) == []


def test_wrong_password_stands_nowhere(secured: Secured) -> None:
    """Not in the refusal either, whichever server it comes from."""
    wrong = "kanarien:vogel/ü@1"
    typed = f"couchdb://operator:{quote(wrong, safe='')}@127.0.0.1:{secured.couchdb.port}/secured"
    secured.run("copy", typed, "by-file", code=6)
    secured.run("copy", "by-value", typed, code=2)
    place = "elasticsearchs://operator@127.0.0.1:9/"
    secured.run("copy", "by-value", place, code=5, MIGRATOR_TARGET_PASSWORD=wrong)
    assert secured.leaks(wrong) == []


def test_the_search_for_leaks_finds_one(secured: Secured) -> None:
    """As it is or in a header, printed or kept."""
    access = Access()
    secured.told.append(f"Authorization: {access.basic}")
    secured.state.mkdir()
    (secured.state / "log").write_bytes(b"\0" + access.password.encode())
    assert len(secured.leaks(access.password)) == 2
