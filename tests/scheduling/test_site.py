"""What is served while something runs: a page that a browser shows, metrics, health. Read only."""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from migrator.activations.accounts import Counts
from migrator.activations.document import Form
from migrator.activations.requests import JobRequest
from migrator.adapters.memory import memory_store
from migrator.api.copy import copy
from migrator.commands.main import migrator
from migrator.commands.messages import Messages
from migrator.engine.state.checkpoint import Checkpoint
from migrator.engine.state.jobs import JobView, forget_job, lock_folder, view_checkpoint
from migrator.engine.state.live import FILE, Watched, read_live
from migrator.errors import UsageError
from migrator.events import Listening, Retrying
from migrator.events.watching import Progress, Stop
from migrator.rendering import job_status
from migrator.rendering.events import sentence
from migrator.scheduling.files import read_folder
from migrator.scheduling.health import parse_address, serve
from migrator.scheduling.overview import ScheduleStatus, overview
from migrator.scheduling.running import run_schedule
from migrator.scheduling.site import Site
from migrator.settings.config import resolve
from migrator.settings.stores import Store
from migrator.testing.documents import activation
from tests.support import browser
from tests.support.pages import assert_stands_alone

SAMPLES = Path(__file__).parents[2] / "samples/activations-couchdb.ndjson"


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as tried:
            tried.bind(("::1", 0))
    except OSError:
        return False
    return True


HAS_IPV6 = socket.has_ipv6 and _has_ipv6()
SCHEDULE = """
source = "{source}"
target = "archive:{archive}"
[when]
every = "1h"
[verification]
check = "quick"
[retention]
last = 3
daily = 14
"""


class World:
    """A state folder with a complete copy, a running one that waits, a schedule that ran, and one that is broken."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.archive = folder / "backups"
        self.schedules = folder / "schedules"
        self.schedules.mkdir()
        source = memory_store("site", Form.COUCHDB)
        source.clear()
        memory_store("site-target", Form.ELASTICSEARCH).clear()
        for number in range(30):
            document = activation(number)
            source.put(document.id, document.body)
        source.put("guest/odd", b'{"_id":"guest/odd","activationId":"odd","namespace":"guest","name":"<b>x"}')
        self.job = copy("memory:site", "memory:site-target", state=self.state).job
        schedule = SCHEDULE.format(source=SAMPLES, archive=self.archive)
        (self.schedules / "nightly.toml").write_text(schedule)
        (self.schedules / "torn.toml").write_text("source = ")
        (found,) = [each for each in read_folder(self.schedules) if each.name == "nightly"]
        ran = run_schedule(found, state=self.state, config=None, textfile=None, stop=Stop(), tell=lambda _: None)  # type: ignore[arg-type]
        assert ran is not None
        assert ran.succeeded, ran.message

    def statuses(self) -> list[ScheduleStatus]:
        return list(overview(read_folder(self.schedules), self.state, time.time()))

    def site(self) -> Site:
        def store() -> Store:
            return resolve(f"archive:{self.archive}", "target")[0]

        return Site(self.state, schedules=self.statuses, archives=lambda: {f"archive:{self.archive}": store})

    @contextmanager
    def running(self) -> Iterator[None]:
        """A copy that another process seems to run: its lock is held, and its note is kept up to date."""
        folder, lock = lock_folder(self.state, "job", self.job)
        watched = Watched(lambda _: None, lambda _: None)
        request = JobRequest(verb="copy", source="memory:site", target="memory:site-target")
        progress = Progress()
        progress.phase, progress.documents = "copying", 20_000
        with watched.noted(folder, "job", self.job, request):
            watched._written_s = 0
            progress.counts = Counts(read=12_200, written=12_200)
            watched.observe(progress)
            watched.tell(Retrying(reason="couchdb://db1:5984/acts: connection refused <b>", pause_s=9.0))
            live = read_live(folder)
            assert live is not None
            rates = tuple((1_790_000_000.0 + 2 * at, 1000.0 + at % 7 * 100) for at in range(100))
            watched._path = None  # what follows isn't overwritten
            (folder / FILE).write_bytes(
                msgspec.json.encode(msgspec.structs.replace(live, rates=rates, per_second=900.0))
            )
            yield
        os.close(lock)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def get(
    port: int, path: str, accept: str = "*/*", method: str = "GET", *, host: str | None = None, at: str = "127.0.0.1"
) -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection(at, port, timeout=30)
    connection.request(method, path, headers={"Accept": accept, **({} if host is None else {"Host": host})})
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read().decode()
    connection.close()
    return found


def test_the_page_tells_what_runs_schedules_and_archives(world: World) -> None:
    """All of it in one file that fetches nothing and runs nothing; what stores say is escaped."""
    with world.running():
        page = world.site().page()
    text = assert_stands_alone(page)
    assert f"copy {world.job} 60 %" not in text
    for words in (
        f"copy {world.job}",
        "memory:site → memory:site-target",
        "couchdb://db1:5984/acts: connection refused <b>",
        "of 20,000",
        "Documents a second, up to 1,600",
        "rejected because",
        "nightly",
        "verified (quick)",
        "3 last, 14 daily",
        "1 complete, 0 failed, 0 interrupted",
        f"archive:{world.archive}",
        "1 chain, the newest",
        "torn: ",
    ):
        assert words in text, words


def test_only_get_is_answered_and_nothing_may_be_fetched_by_the_page(world: World) -> None:
    with serve(("127.0.0.1", 0), world.site()) as port:
        status, headers, page = get(port, "/", "text/html,*/*")
        assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert headers["Cache-Control"] == "no-store"
        assert "<h1>OpenWhisk activations: trouble</h1>" in page
        assert get(port, "/", "text/html", "POST")[0] == 501
        assert get(port, "/etc/passwd")[0] == 404
        status, _, body = get(port, "/")
        assert status == 503  # a schedule is broken
        assert {each["schedule"] for each in json.loads(body)["schedules"]} == {"nightly", "torn"}


def test_metrics_have_the_jobs_and_what_they_wait_for(world: World) -> None:
    with world.running(), serve(("127.0.0.1", 0), world.site()) as port:
        _, _, text = get(port, "/metrics")
    label = f'{{job="{world.job}",source="memory:site",target="memory:site-target",verb="copy"}}'
    for line in (
        f"migrator_job_running{label} 1.0",
        f"migrator_job_waiting{label} 1.0",
        f"migrator_job_expected_documents{label} 20000.0",
        f"migrator_job_rejected_documents{label} 1.0",
        'migrator_schedule_last_run_success{schedule="nightly"} 1.0',
    ):
        assert line in text.splitlines(), line


def test_a_scrape_opens_only_the_jobs_that_changed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are: of a job that isn't running and whose files are as they were, the last look holds."""
    opened: list[str] = []

    def counting(job: JobView) -> Checkpoint:
        opened.append(job.id)
        return view_checkpoint(job)

    monkeypatch.setattr(job_status, "view_checkpoint", counting)
    site = world.site()
    first = site.metrics()
    assert len(opened) == len({*opened}) >= 2
    assert site.metrics() == first
    assert site.page()
    assert len(opened) == len({*opened})
    opened.clear()
    memory_store("site", Form.COUCHDB).put(activation(99).id, activation(99).body)
    copy("memory:site", "memory:site-target", state=world.state)
    read = (
        f'migrator_job_read_documents{{job="{world.job}",source="memory:site",target="memory:site-target",verb="copy"}}'
    )
    assert f"{read} 31.0\n" in first.decode()
    assert f"{read} 32.0\n" in site.metrics().decode()
    assert opened == [world.job]
    opened.clear()
    with world.running():
        assert b"migrator_job_running" in site.metrics()
        site.metrics()
    assert opened == [world.job, world.job]


def test_a_job_that_was_forgotten_is_no_longer_told(world: World) -> None:
    site = world.site()
    assert world.job in {each.job for each in site.jobs()}
    forget_job(world.state, world.job, discard=True)
    assert world.job not in {each.job for each in site.jobs()}


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:9464", 200),
        ("localhost:9464", 200),
        ("LOCALHOST", 200),
        ("migrator.localhost:80", 200),
        ("[::1]:9464", 200),
        ("10.0.0.7:9464", 200),  # through a forwarded port
        ("evil.example:9464", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("[::1", 421),
        ("", 421),
    ],
)
def test_on_this_machine_only_its_own_names_are_answered(world: World, host: str, status: int) -> None:
    """A page from elsewhere whose name leads here asks for its own name, and must not read along."""
    with serve(("127.0.0.1", 0), world.site()) as port:
        for path in ("/", "/metrics", "/health", "/live"):
            found, _, body = get(port, path, host=host)
            assert (found == 421) is (status == 421)
            assert "nightly" not in body or status == 200


def test_two_hosts_in_a_request_must_both_be_this_machine(world: World) -> None:
    with serve(("127.0.0.1", 0), world.site()) as port, socket.create_connection(("127.0.0.1", port), 10) as sent:
        sent.sendall(b"GET /live HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        assert sent.recv(1000).startswith(b"HTTP/1.0 421")


def test_a_request_without_a_host_is_no_browsers(world: World) -> None:
    """HTTP/1.0, as of simple probes."""
    with serve(("127.0.0.1", 0), world.site()) as port, socket.create_connection(("127.0.0.1", port), 10) as sent:
        sent.sendall(b"GET /live HTTP/1.0\r\n\r\n")
        assert sent.recv(1000).startswith(b"HTTP/1.0 200")


def test_where_everybody_may_ask_every_name_is_answered(world: World) -> None:
    """In a cluster a service is asked by its name."""
    with serve(("0.0.0.0", 0), world.site()) as port:
        assert get(port, "/metrics", host="migrator.openwhisk.svc:9464")[0] == 200


@pytest.mark.skipif(not HAS_IPV6, reason="this machine has no IPv6")
@pytest.mark.parametrize("address", ["[::1]:0", "[::]:0"])
def test_it_listens_on_ipv6(world: World, address: str) -> None:
    with serve(parse_address(address), world.site()) as port:
        assert get(port, "/live", at="::1")[0] == 200
    assert f"listening on [::1]:{port}" == sentence(Listening("::1", port))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9464", ("127.0.0.1", 9464)),
        (":9464", ("127.0.0.1", 9464)),
        ("0.0.0.0:9464", ("0.0.0.0", 9464)),
        ("localhost:9464", ("localhost", 9464)),
        ("[::1]:9464", ("::1", 9464)),
        ("[fe80::1%eth0]:9464", ("fe80::1%eth0", 9464)),
    ],
)
def test_an_address_is_understood(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("::1", "write an IPv6 address in brackets"),
        ("::1:9464", "write an IPv6 address in brackets"),
        ("[localhost]:9464", "write an IPv6 address in brackets"),
        ("[]:9464", "write an IPv6 address in brackets"),
        ("9464x", "give a port"),
        ("", "give a port"),
        ("host:", "give a port"),
        ("host:70000", "give a port"),
        ("host:٣", "give a port"),
    ],
)
def test_what_is_no_address_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_address(text)


@pytest.mark.parametrize("address", [("256.1.1.1", 0), ("no such host", 0), ("a" * 70, 0), ("192.0.2.1", 0), ("\0", 0)])
def test_an_address_that_is_not_here_is_one_line(world: World, address: tuple[str, int]) -> None:
    with pytest.raises(UsageError, match="can't listen there: "), serve(address, world.site()):
        pass


def test_a_command_serves_while_it_runs_and_no_longer(world: World, tmp_path: Path) -> None:
    """The port that it tells answers, with the job that runs."""
    seen: list[str] = []
    with watching_for("listening on 127.0.0.1:", seen) as run:
        ended = run("copy", "memory:site", "memory:site-target", "--state", str(tmp_path / "s"), "--listen", "0")
    assert "listening on 127.0.0.1:" in ended
    (page,) = seen
    assert "<h1>OpenWhisk activations</h1>" in page
    with pytest.raises(ConnectionRefusedError):
        get(int(ended.partition("listening on 127.0.0.1:")[2].split()[0]), "/")


@pytest.mark.parametrize(
    "words",
    [
        ("backup", str(SAMPLES), "archive:{archive}"),
        ("restore", "archive:{archive}", "memory:restored"),
        ("verify", str(SAMPLES), "archive:{archive}"),
    ],
    ids=lambda words: words[0],
)
def test_each_command_that_takes_long_serves(world: World, words: tuple[str, ...]) -> None:
    memory_store("restored", Form.COUCHDB).clear()
    seen: list[str] = []
    placed = [word.format(archive=world.archive) for word in words]
    with watching_for("listening on 127.0.0.1:", seen) as run:
        run(*placed, "--state", str(world.state), "--listen", "0")
    (page,) = seen
    assert "OpenWhisk activations" in page
    assert f"archive:{world.archive}" in page  # as a job's, or in the list of archives


@contextmanager
def watching_for(text: str, seen: list[str]) -> Iterator[Callable[..., str]]:
    """Runs a command, and fetches the page as soon as its address is printed."""
    told: list[str] = []
    before = Messages._print

    def printing(messages: Messages, line: str) -> None:
        told.append(line)
        if text in line:
            port = int(line.partition(text)[2].split()[0])
            thread = threading.Thread(target=lambda: seen.append(get(port, "/", "text/html")[2]))
            thread.start()
            thread.join(30)
        before(messages, line)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Messages, "_print", printing)
        yield lambda *words: (CliRunner().invoke(migrator, words), "\n".join(told))[1]


@pytest.mark.slow
@pytest.mark.skipif(browser.PROGRAM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("size", [browser.PHONE, browser.DESK], ids=["phone", "desk"])
def test_a_browser_shows_it_on_a_phone_and_a_desk_in_light_and_dark(
    world: World, tmp_path: Path, size: tuple[int, int]
) -> None:
    """Nothing is wider than the screen, curves and bars are drawn, and ink and paper change places in the dark."""
    with world.running():
        page = world.site().page()
        light = browser.measure(page, tmp_path, size)
        dark = browser.measure(page, tmp_path, size, dark=True)
        with serve(("127.0.0.1", 0), world.site()) as port:
            url = f"http://127.0.0.1:{port}/"
            pictures = [browser.picture(url, tmp_path / f"{each}.png", size, dark=each) for each in (False, True)]
    for each in (light, dark):
        assert each["room"] == size[0]
        assert each["wide"] <= each["room"]
        assert each["beyond"] == []
        assert each["curves"] == [pytest.approx(100, abs=1)]
        assert all(0 < width < size[0] for width in each["bars"])
        assert {"OpenWhisk activations: trouble", "Running", "Schedules", "Archives", "nightly"} <= {*each["titles"]}
    assert light["paper"] != dark["paper"]
    assert brightness(light["paper"]) - brightness(light["ink"]) > 100
    assert brightness(dark["ink"]) - brightness(dark["paper"]) > 100
    assert all(each.startswith(b"\x89PNG") for each in pictures)
    assert pictures[0] != pictures[1]


def brightness(colour: str) -> float:
    numbers = [float(each) for each in colour.partition("(")[2].rstrip(")").split(",")[:3]]
    return sum(numbers) / 3
