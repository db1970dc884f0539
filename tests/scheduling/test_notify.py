"""Pings and the command: what is sent to whom, and that nobody's silence fails a run."""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import pytest
import trustme

from migrator.adapters.memory import _stores, memory_store
from migrator.errors import UsageError
from migrator.scheduling import notify
from migrator.scheduling.files import read_schedule
from migrator.scheduling.notify import ping, run_command
from migrator.scheduling.running import run_schedule
from migrator.scheduling.schema import Notify
from migrator.settings.stores import SecretAddress
from tests.support.daemons import hearing
from tests.support.said import into

REPORT = {"schedule": "nightly", "outcome": "complete"}


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "_POLICY", msgspec.structs.replace(notify._POLICY, sleep=lambda _: None))


@pytest.fixture
def told() -> list[str]:
    return []


def test_pings_go_where_healthchecks_has_them(tmp_path: Path, told: list[str]) -> None:
    """The address itself means success; a query stays where it is; other addresses are taken as they are."""
    with hearing() as (address, heard):
        settings = Notify(ping=SecretAddress(f"{address}/uuid/?rid=1"), failure=SecretAddress(f"{address}/other"))
        for event in ("start", "success", "failure"):
            ping(settings, event, "nightly: well", tmp_path, into(told))
    assert [path for path, _ in heard] == ["/uuid/start?rid=1", "/uuid?rid=1", "/other"]
    assert {text for _, text in heard} == {"nightly: well"}
    assert told == []


def test_the_address_comes_from_a_file_or_the_environment(
    tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with hearing() as (address, heard):
        (tmp_path / "url").write_text(f"{address}/file\n")
        (tmp_path / "url").chmod(0o600)
        monkeypatch.setenv("PING_URL", f"{address}/environment")
        ping(Notify(ping_file="url"), "success", "", tmp_path, into(told))
        ping(Notify(ping_env="PING_URL"), "failure", "", tmp_path, into(told))
    assert [path for path, _ in heard] == ["/file", "/environment/fail"]


def test_who_can_not_be_reached_is_named_without_the_address(tmp_path: Path, told: list[str]) -> None:
    """After three tries, and without an exception."""
    ping(Notify(ping=SecretAddress("http://127.0.0.1:9/kanarienvogel")), "failure", "", tmp_path, into(told))
    ping(Notify(ping_file="nothing"), "failure", "", tmp_path, into(told))
    (tmp_path / "wrong").write_text("kanarienvogel")
    (tmp_path / "wrong").chmod(0o600)
    ping(Notify(ping_file="wrong"), "failure", "", tmp_path, into(told))
    assert len(told) == 3
    assert told[0].startswith("the failure notification to 127.0.0.1 failed: ")
    assert "No such file" in told[1]
    assert "doesn't begin with https://" in told[2]
    assert "kanarienvogel" not in "".join(told)


def test_the_command_gets_the_report(tmp_path: Path, told: list[str]) -> None:
    """On its stdin, in the folder of the schedule, with the schedule and the event in its environment."""
    script = (
        "import json, os, sys; json.dump([json.load(sys.stdin), os.environ['MIGRATOR_SCHEDULE'], "
        "os.environ['MIGRATOR_EVENT']], open('heard', 'w'))"
    )
    settings = Notify(command=(sys.executable, "-c", script), command_on=("failure",))
    run_command(settings, "success", REPORT, tmp_path, into(told))
    assert not (tmp_path / "heard").exists()
    run_command(settings, "failure", REPORT, tmp_path, into(told))
    assert json.loads((tmp_path / "heard").read_text()) == [REPORT, "nightly", "failure"]
    assert told == []


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (("/nowhere/notify",), "couldn't be started: No such file or directory"),
        ((sys.executable, "-c", "raise SystemExit(7)"), "ended with exit code 7"),
        ((sys.executable, "-c", "import time; time.sleep(60)"), "was stopped: it took longer than 1 s"),
        ((sys.executable, "-c", "import sys; sys.stdin.close()"), None),
    ],
)
def test_a_command_that_fails_is_reported(
    tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], expected: str | None
) -> None:
    monkeypatch.setattr(notify, "_COMMAND_S", 1.0 if "time" in command[-1] else 60.0)
    run_command(Notify(command=command), "success", {**REPORT, "long": "x" * 1_000_000}, tmp_path, into(told))
    assert len(told) == (expected is not None)
    assert expected is None or expected in told[0]


# -- answers of all kinds ---------------------------------------------------------------------------------------


@contextmanager
def answering(*pieces: bytes, pause_s: float = 0.0) -> Iterator[str]:
    """A server that says the same to everybody, whatever was asked; its address."""
    server = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                connection.recv(65_536)
                for piece in pieces:
                    connection.sendall(piece)
                    if ended.wait(pause_s):
                        return

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
    finally:
        ended.set()
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"kanarienvogel\r\n\r\n", "isn't HTTP (BadStatusLine)"),
        (b"", "closed the connection without an answer"),
        (b"HTTP/1.1 999999 kanarienvogel\r\n\r\n", "isn't HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n", "isn't HTTP"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000 + b"\r\n\r\n", "isn't HTTP"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://kanarienvogel/\r\n\r\n", "it answered 302, a redirect"),
        (b"HTTP/1.1 307 Moved\r\nLocation: file:///etc/passwd\r\n\r\n", "it answered 307, a redirect"),
        (b"HTTP/1.1 503 kanarienvogel\r\nContent-Length: 99999999999\r\n\r\nx", "it answered 503"),
        (b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: kanarienvogel\r\n\r\n", "it answered 401"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "isn't HTTP"),
    ],
)
def test_no_answer_is_more_than_one_line(tmp_path: Path, told: list[str], answer: bytes, expected: str) -> None:
    """It names the host alone, and never what the answer says."""
    with answering(answer) as address:
        ping(Notify(ping=SecretAddress(f"{address}/kanarienvogel")), "success", "", tmp_path, into(told))
    assert len(told) == 1
    assert told[0].startswith("the success notification to 127.0.0.1 failed: ")
    assert expected in told[0]
    assert "kanarienvogel" not in told[0]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\nx",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzz",
        b"HTTP/0.9 200\r\n\r\n" + b"x" * 1_000_000,
    ],
)
def test_of_a_success_no_more_than_the_status_is_read(tmp_path: Path, told: list[str], answer: bytes) -> None:
    with answering(answer) as address:
        ping(Notify(ping=SecretAddress(address)), "success", "", tmp_path, into(told))
    assert told == []


def test_answer_that_never_ends_is_given_up(tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte begins a socket's timeout again; the whole try is bounded."""
    monkeypatch.setattr(notify, "_TRY_S", 0.2)
    with answering(b"HTTP/1.1 200 OK\r\n", *[b"a: b\r\n"] * 50, pause_s=0.1) as address:
        ping(Notify(ping=SecretAddress(address)), "success", "", tmp_path, into(told))
    assert told == ["the success notification to 127.0.0.1 failed: no answer within 0.2 s; check [notify]"]


@pytest.mark.parametrize(
    "address",
    [
        "https://hc-ping.com/kanarien vogel",
        "https://hc-ping.com/kanarien\nvogel",
        "https://hc-ping.com/kanarien\x00vogel",
        "https://kanarien vogel/",
        "https://bücher.example/kanarienvogel",
        f"https://{'kanarienvogel' * 20}.example/",
        "https://[::1/kanarienvogel",
        "https://host:kanarienvogel/",
        "https://host:99999999/kanarienvogel",
        "https://host:0/kanarienvogel",
        "https://user:kanarienvogel@127.0.0.1/",
        "https:///kanarienvogel",
        "file:///etc/kanarienvogel",
        "kanarienvogel",
    ],
)
def test_address_that_can_not_be_used_is_refused_without_being_repeated(
    tmp_path: Path, told: list[str], address: str
) -> None:
    """In the schedule's check, and where it comes from a file or the environment in one line when it is used."""
    text = 'source = "memory:a"\ntarget = "archive:/x"\n[when]\nevery = "1h"\n[notify]\n'
    escaped = "".join(f"\\U{ord(char):08x}" for char in address)
    for key in ("ping", "failure"):
        with pytest.raises(UsageError, match=rf"nightly\.toml:6: notify\.{key}: it ") as refused:
            read_schedule(Path("nightly.toml"), f'{text}{key} = "{escaped}"\n'.encode())
        assert "kanarien" not in str(refused.value)
    ping(Notify(ping=SecretAddress(address)), "failure", "", tmp_path, into(told))
    assert len(told) == 1
    assert told[0].startswith("the failure notification failed: the address ")
    assert "kanarien" not in told[0]


def test_certificate_that_nobody_vouches_for_is_reported(tmp_path: Path, told: list[str]) -> None:
    """And plain HTTP on the port of an https address."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with hearing() as (address, _):
        ping(Notify(ping=SecretAddress(address.replace("http", "https"))), "success", "", tmp_path, into(told))
    with hearing(context) as (address, heard):
        ping(Notify(ping=SecretAddress(address.replace("http", "https"))), "success", "", tmp_path, into(told))
    assert heard == []
    assert len(told) == 2
    assert "CERTIFICATE_VERIFY_FAILED" in told[1]


def test_command_that_can_not_be_run_is_reported(tmp_path: Path, told: list[str]) -> None:
    """Whatever is wrong with it."""
    run_command(Notify(command=("a\0b",)), "success", REPORT, tmp_path, into(told))
    run_command(Notify(command=("true",)), "success", {**REPORT, "schedule": "\ud800"}, tmp_path, into(told))
    run_command(Notify(command=("true",)), "success", REPORT, tmp_path / "gone", into(told))
    assert len(told) == 3


def _fail(*_: object) -> None:
    raise KeyError("kanarienvogel")


@pytest.mark.parametrize("event", ["start", "success"])
def test_notification_that_fails_in_an_unknown_way_fails_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, event: str
) -> None:
    """The backup is made, and its own outcome stays."""
    memory_store("source").put("guest/1", b"{}")
    monkeypatch.setattr(notify, "_post_patiently", _fail)
    told: list[str] = []
    text = (
        f'source = "memory:source"\ntarget = "archive:{tmp_path / "archive"}"\n[when]\nevery = "1d"\n'
        f'[notify]\n{event} = "https://127.0.0.1:9/"\ncommand = ["true"]\n'
    )
    schedule = read_schedule(tmp_path / "nightly.toml", text.encode())
    ended = run_schedule(schedule, state=tmp_path / "state", tell=into(told))
    _stores.clear()
    assert ended is not None
    assert ended.outcome == "complete"
    assert f"the {event} notification failed: unexpected KeyError; check [notify]" in told
