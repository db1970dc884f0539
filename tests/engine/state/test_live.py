"""What a run notes of itself for those who look on, by a clock that stands until it is moved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from migrator.activations.accounts import Counts
from migrator.activations.requests import JobRequest
from migrator.engine.state import live
from migrator.engine.state.live import FILE, Live, Watched, read_live
from migrator.errors import Interrupted
from migrator.events import Controlled, Event, Recovered, Retrying, Waiting
from migrator.events.watching import Progress

REQUEST = JobRequest(verb="copy", source="memory:a", target="memory:b")
BEGAN_S = 1_790_000_000.0


class Run:
    """A run that is watched, and the clock by which it is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now_s = 1000.0
        self.seen: list[int] = []
        self.told: list[Event] = []
        self.progress = Progress()
        self.progress.phase, self.progress.documents = "copying", 400
        self.watched = Watched(
            lambda progress: self.seen.append(progress.run_read),
            self.told.append,
            clock=lambda: BEGAN_S + self.now_s - 1000,
        )

    def read(self, documents: int, seconds: float) -> Live:
        """Read so many more, in so long."""
        self.now_s += seconds
        self.progress.add({"guest": Counts(read=documents, written=documents, size_bytes=100 * documents)})
        self.watched.observe(self.progress)
        return self.noted

    def tell(self, event: Event) -> Live:
        self.watched.tell(event)
        return self.noted

    @property
    def noted(self) -> Live:
        noted = read_live(self.folder)
        assert noted is not None
        return noted


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    run = Run(tmp_path)
    monkeypatch.setattr(live, "time", SimpleNamespace(monotonic=lambda: run.now_s))
    with run.watched.noted(tmp_path, "job", "abc", REQUEST):
        yield run


def test_a_run_that_has_begun_is_noted_before_it_read_anything(run: Run) -> None:
    assert run.noted == Live(what="job", id="abc", request=REQUEST, began_s=BEGAN_S, updated_s=BEGAN_S)


def test_progress_is_noted_once_a_second_and_always_handed_on(run: Run) -> None:
    assert run.read(10, 0.5).read == 0
    noted = run.read(10, 0.5)
    assert (noted.read, noted.documents, noted.size_bytes, noted.phase) == (20, 400, 2000, "copying")
    assert noted.updated_s == BEGAN_S + 1
    assert run.read(10, 0.9).read == 20
    assert run.seen == [10, 20, 30]


def test_the_curve_has_a_point_every_two_seconds_until_it_is_long(run: Run) -> None:
    """Then every other point goes, and the next ones are twice as far apart."""
    for _ in range(479):
        noted = run.read(10, 1.0)
    assert len(noted.rates) == 240
    assert [after - before for (before, _), (after, _) in zip(noted.rates, noted.rates[1:], strict=False)] == [2] * 239
    assert noted.rates[0] == (BEGAN_S + 1, 0)  # too little was seen
    assert {rate for _, rate in noted.rates[1:]} == {10}
    for _ in range(6):
        noted = run.read(10, 1.0)
    assert [moment - BEGAN_S for moment, _ in noted.rates[-4:]] == [473, 477, 481, 485]
    assert len(noted.rates) == 122


def test_share_is_complete_only_with_the_run() -> None:
    """However much was read: catching up reads some again."""

    def percent(read: int, documents: int | None, outcome: str = "") -> int | None:
        noted = Live(what="job", id="abc", request=REQUEST, began_s=0, updated_s=0)
        return msgspec.structs.replace(noted, read=read, documents=documents, outcome=outcome).percent

    assert percent(150, 400) == 37
    assert percent(500, 400) == 99
    assert percent(500, 400, "complete") == 100
    assert percent(500, None) is None
    assert percent(500, None, "interrupted") is None
    assert percent(0, 0, "complete") == 100


def test_an_outage_is_waited_for_since_its_first_failure(run: Run) -> None:
    run.tell(Retrying(reason="b: refused", pause_s=1.0))
    run.now_s += 5
    noted = run.tell(Retrying(reason="b: cut off", pause_s=1.0))
    assert (noted.waiting, noted.waiting_since_s) == ("b: cut off", BEGAN_S)
    assert (noted.last_error, noted.last_error_s) == ("b: cut off", BEGAN_S + 5)


def test_the_same_failure_is_reported_again_after_a_minute_only(run: Run) -> None:
    """Numbers in it make it no other, such as a port or a count."""
    for seconds, reason in ((0, "b:1: refused"), (30, "b:2: refused"), (0, "c: refused"), (29.5, "b:3: refused")):
        run.now_s += seconds
        run.tell(Retrying(reason=reason, pause_s=1.0))
    run.now_s += 0.5
    run.tell(Retrying(reason="b:4: refused", pause_s=1.0))
    assert [each.repeated for each in run.told if isinstance(each, Retrying)] == [False, True, False, True, False]


def test_an_outage_is_over_once_documents_move_and_no_request_waits(run: Run) -> None:
    """It is summed up then, and nothing is waited for any more; what went wrong last stays."""
    run.read(10, 1.0)
    run.tell(Retrying(reason="b: refused", pause_s=4.0))
    run.tell(Retrying(reason="b: refused", pause_s=9.0))
    assert run.read(10, 8.9).waiting == "b: refused"
    assert run.read(0, 0.1).waiting == ""  # those read before the request was sent again
    assert run.told[-1] == Recovered(waited_s=9.0, retries=2)
    run.tell(Retrying(reason="b: refused", pause_s=1.0))
    assert run.read(0, 5.0).waiting == "b: refused"
    noted = run.read(1, 1.0)
    assert (noted.waiting, noted.waiting_since_s, noted.last_error) == ("", None, "b: refused")
    assert run.told[-1] == Recovered(waited_s=6.0, retries=1)


def test_a_pause_is_noted_until_the_run_goes_on(run: Run) -> None:
    run.now_s += 3
    noted = run.tell(Controlled(max_rate=None, paused=True))
    assert (noted.waiting, noted.waiting_since_s) == ("paused by `migrator control`", BEGAN_S + 3)
    noted = run.tell(Controlled(max_rate=None, paused=False))
    assert (noted.waiting, noted.waiting_since_s) == ("", None)


def test_a_slow_answer_is_waited_for_until_documents_move(run: Run) -> None:
    run.now_s += 40
    noted = run.tell(Waiting(request="a: GET /_search", waited_s=30.0))
    assert (noted.waiting, noted.waiting_since_s) == ("a: GET /_search", BEGAN_S + 10)
    assert run.read(0, 0.1).waiting == "a: GET /_search"
    noted = run.read(1, 0.1)
    assert (noted.waiting, noted.waiting_since_s) == ("", None)


@pytest.mark.parametrize(
    ("raised", "outcome", "error"),
    [
        (Interrupted("interrupted", exit_code=130), "interrupted", ""),
        (ValueError("b: damaged"), "b: damaged", "b: damaged"),
        (ValueError(), "ValueError", "ValueError"),
    ],
)
def test_how_a_run_ended_stays_noted(tmp_path: Path, raised: Exception, outcome: str, error: str) -> None:
    watched = Watched(lambda _: None, lambda _: None, clock=lambda: BEGAN_S)
    with pytest.raises(type(raised)), watched.noted(tmp_path, "job", "abc", REQUEST):
        watched.tell(Waiting(request="a: GET /", waited_s=1.0))
        raise raised
    watched.tell(Waiting(request="a: GET /", waited_s=1.0))  # of a run that ended
    noted = read_live(tmp_path)
    assert noted is not None
    assert (noted.outcome, noted.last_error, noted.waiting, noted.waiting_since_s) == (outcome, error, "", None)
    assert noted.last_error_s == (BEGAN_S if error else None)


def test_a_run_that_ended_well_is_noted_as_complete(tmp_path: Path) -> None:
    watched = Watched(lambda _: None, lambda _: None)
    with watched.noted(tmp_path, "job", "abc", REQUEST):
        pass
    noted = read_live(tmp_path)
    assert noted is not None
    assert (noted.outcome, noted.percent, noted.last_error) == ("complete", 100, "")


def test_a_note_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    assert read_live(tmp_path) is None
    for damaged in (b"", b"{", b"\xff\xfe", b'{"what":"job"}', b"[" * 100_000):
        (tmp_path / FILE).write_bytes(damaged)
        assert read_live(tmp_path) is None


def test_a_run_goes_on_where_nothing_can_be_noted(tmp_path: Path) -> None:
    """A folder that isn't there stands for a disk that is full."""
    watched = Watched(lambda _: None, lambda _: None)
    with watched.noted(tmp_path / "gone", "job", "abc", REQUEST):
        watched.observe(Progress())
    assert read_live(tmp_path / "gone") is None
