"""A server that repeats the request in its error page: no command prints, keeps or sends on what was in it."""

from __future__ import annotations

import html
import json
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import msgspec
import pytest
from click.testing import CliRunner

from migrator.adapters.shared import whole
from migrator.commands.main import migrator
from migrator.operations import detect, find
from migrator.operations.find import absence
from migrator.testing.documents import activation
from tests.support.daemons import hearing
from tests.support.profiles import stride
from tests.support.scripted import Request, answer, serve

SECRET = "kanarien/vögel+1"
KEY = "kanarienkey_0123456789"

ECHOES: dict[str, Callable[[str], bytes]] = {
    "json": lambda told: json.dumps({"error": "denied", "reason": told}).encode(),
    "elasticsearch": lambda told: json.dumps({"error": {"type": "denied", "reason": told}}).encode(),
    "html": lambda told: f"<html><pre>{html.escape(told)}</pre></html>".encode(),
    "text": lambda told: told.encode(),
    "long": lambda told: (("x" * 240) + told).encode(),  # cut in the middle of the secret
    "percent": lambda told: quote(told).encode(),
}


def echoing(status: int, how: str) -> Callable[[Request], bytes]:
    def script(request: Request) -> bytes:
        names = ("authorization", "cookie")
        told = " ".join(value for name, value in request.headers.items() if name.lower() in names)
        return answer(ECHOES[how](f"{told} {request.body.decode()}"), status)

    return script


LOGINS = {
    "couchdb basic": ("couchdb://admin@127.0.0.1:{port}/acts", {"PASSWORD": SECRET}),
    "couchdb session": ("couchdb://admin@127.0.0.1:{port}/acts?login=session", {"PASSWORD": SECRET}),
    "couchdb iam": ("couchdb://127.0.0.1:{port}/acts?login=iam", {"API_KEY": KEY}),
    "elasticsearch basic": ("elasticsearch://admin@127.0.0.1:{port}/", {"PASSWORD": SECRET}),
    "elasticsearch key": ("elasticsearch://127.0.0.1:{port}/", {"API_KEY": f"id:{KEY}"}),
    "elasticsearch base64": ("elasticsearch://127.0.0.1:{port}/", {"API_KEY": b64encode(f"i:{KEY}".encode()).decode()}),
    "elasticsearch token": ("elasticsearch://127.0.0.1:{port}/", {"TOKEN": KEY}),
}


def spellings() -> list[str]:
    found = [SECRET, KEY, quote(SECRET, safe=""), quote(SECRET), json.dumps(SECRET)[1:-1], html.escape(SECRET)]
    found += [
        b64encode(f"{before}{secret}".encode()).decode()[4:-4]
        for before in ("", "admin:", "id:", "i:")
        for secret in (SECRET, KEY)
    ]
    return [*found, "kanarien"]


CASES = [
    (login, status, how)
    for number, login in enumerate(LOGINS)
    for place, how in enumerate(ECHOES)
    for status in ((400, 401, 403, 500)[(number + place) // 2 % 4],)
    if (number + place) % 2 and (number + place // 2) % min(3, stride()) == 0  # each with each would take minutes
]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Operations that only read don't wait for a server that refuses."""
    hasty = msgspec.structs.replace(whole.LOOK_AGAIN, patience_s=0.0)
    for module in (whole, detect, find, absence):
        monkeypatch.setattr(module, "LOOK_AGAIN", hasty)


@pytest.mark.parametrize(("login", "status", "how"), CASES)
def test_echo_of_a_login_is_reported_and_kept_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, login: str, status: int, how: str
) -> None:
    """By any command, with the traceback that MIGRATOR_DEBUG asks for, in text and as JSON."""
    location, given = LOGINS[login]
    lines = tmp_path / "acts.ndjson"
    lines.write_bytes(activation(1).body + b"\n")
    monkeypatch.setenv("MIGRATOR_DEBUG", "1")
    monkeypatch.setenv("MIGRATOR_STATE", str(tmp_path / "state"))
    for role in ("SOURCE", "TARGET"):
        for name, value in given.items():
            monkeypatch.setenv(f"MIGRATOR_{role}_{name}", value)
    schedules = tmp_path / "schedules"
    schedules.mkdir()
    told: list[str] = []
    with serve(echoing(status, how)) as server, hearing() as (address, heard):
        store = location.format(port=server.port)
        if login == "couchdb iam":
            config = tmp_path / "migrator.toml"
            config.write_text(
                f'[stores.store]\nlocation = "{store}"\napi_key_env = "MIGRATOR_SOURCE_API_KEY"\n'
                f'iam_url = "http://127.0.0.1:{server.port}"\n'
            )
            monkeypatch.setenv("MIGRATOR_CONFIG", str(config))
            store = "store"
        (schedules / "nightly.toml").write_text(
            f'source = "{store}"\ntarget = "archive:{tmp_path / "archive"}"\n[when]\nevery = "1d"\n'
            f'[failure]\nretries = 0\nretry_for = "0s"\n[notify]\nping = "{address}/uuid"\n'
        )
        for words in (
            ["copy", store, "memory:target", "--retry-for", "0"],
            ["copy", f"file:{lines}", store, "--retry-for", "0", "--json", "--log-format", "json"],
            ["backup", store, f"archive:{tmp_path / 'archive'}", "--retry-for", "0"],
            ["verify", store, f"file:{lines}", "--retry-for", "0"],
            ["detect", store],
            ["detect", store, "--json"],
            ["find", "0" * 32, "--in", store],
            ["stats", store],
            ["schedule", "run", "nightly", "--once", "--schedules", str(schedules)],
            ["schedule", "list", "--schedules", str(schedules), "--json"],
            ["status"],
            ["status", "--json"],
        ):
            result = CliRunner().invoke(migrator, words)
            assert "Traceback" not in result.stdout
            told += [result.stdout, result.stderr]
    told += [text for _, text in heard]
    told += [
        path.read_bytes().decode("latin-1").encode("latin-1").decode(errors="replace")
        for path in (tmp_path / "state").rglob("*")
        if path.is_file()
    ]
    assert heard
    for spelled in spellings():
        assert [text for text in told if spelled in text] == []
