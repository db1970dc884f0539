"""What is served while something runs: a page that a browser shows, metrics, health. Read only."""

from __future__ import annotations

import http.client
import json
import os
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
from migrator.engine.state.jobs import lock_folder
from migrator.engine.state.live import FILE, Watched, read_live
from migrator.events import Retrying
from migrator.scheduling.files import read_folder
from migrator.scheduling.health import serve
from migrator.scheduling.overview import ScheduleStatus, overview
from migrator.scheduling.running import run_schedule
from migrator.scheduling.site import Site
from migrator.settings.config import resolve
from migrator.settings.stores import Store
from migrator.testing.documents import activation
from migrator.watching import Progress, Stop
from tests.support import browser
from tests.support.pages import assert_stands_alone

SAMPLES = Path(__file__).parents[2] / "samples/activations-couchdb.ndjson"

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


def get(port: int, path: str, accept: str = "*/*", method: str = "GET") -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, headers={"Accept": accept})
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
